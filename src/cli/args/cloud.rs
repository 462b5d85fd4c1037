//! Flags of the commands that talk to Amazon.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::ProgressArgs;
use super::cache::duration;

/// How the account is reached: as with Amazon's own tools, by the environment, ~/.aws, web identity,
/// or the machine's role.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Account")]
pub struct CloudArgs {
    /// The profile in ~/.aws (default: AWS_PROFILE, or default)
    #[arg(long, value_name = "PROFILE")]
    pub aws_profile: Option<String>,
    /// Take on this role first
    #[arg(long, value_name = "ARN")]
    pub assume_role: Option<String>,
    /// Only endpoints whose cryptography is validated by FIPS 140
    #[arg(long)]
    pub fips: bool,
    /// Endpoints that have IPv6, too
    #[arg(long)]
    pub dual_stack: bool,
}

/// Which regions.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Regions")]
pub struct RegionsArgs {
    /// A region (default: AWS_REGION, or the profile's); may be repeated
    #[arg(long = "region", value_name = "REGION", value_parser = region)]
    pub regions: Vec<String>,
}

/// Which region.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Region")]
pub struct RegionArgs {
    /// Where the AMI or snapshot is (default: AWS_REGION, or the profile's)
    #[arg(long, value_name = "REGION", value_parser = region)]
    pub region: Option<String>,
}

/// `i2kit images`.
#[derive(Debug, Args)]
pub struct CloudImages {
    /// Only those of this name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where.
    #[command(flatten)]
    pub regions: RegionsArgs,
    /// How the account is reached.
    #[command(flatten)]
    pub cloud: CloudArgs,
    /// Print the least IAM policy for the commands that only read (images, fetch, and verify and diff
    /// of AMIs), and read nothing. Encrypted snapshots ask for kms:Decrypt with their keys besides
    #[arg(long)]
    pub print_iam_policy: bool,
    /// Print JSON: an array of {name, version, root_hash, disk_digest, size, images: [{region, ami,
    /// snapshot, state, created, public, protected, deprecated, cost_a_month}]}
    #[arg(long)]
    pub json: bool,
}

/// `i2kit prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// How many stay of each name, in each region: the newest
    #[arg(long, value_name = "N", required_unless_present = "print_iam_policy")]
    pub keep: Option<usize>,
    /// Only those older than this: a number of s, m, h, d or w, as in 30d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub older_than: Option<Duration>,
    /// Only those of this name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where.
    #[command(flatten)]
    pub regions: RegionsArgs,
    /// How the account is reached.
    #[command(flatten)]
    pub cloud: CloudArgs,
    /// Only say what would be removed
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print the least IAM policy for it, and remove nothing
    #[arg(long)]
    pub print_iam_policy: bool,
    /// Print JSON: {removed: [{region, ami, name, snapshot}], kept: [{region, ami, name, why}]}
    #[arg(long)]
    pub json: bool,
}

/// `i2kit fetch`.
#[derive(Debug, Args)]
pub struct Fetch {
    /// What to download
    #[arg(value_name = "AMI|SNAPSHOT")]
    pub what: String,
    /// The disk to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Where it is.
    #[command(flatten)]
    pub region: RegionArgs,
    /// How the account is reached.
    #[command(flatten)]
    pub cloud: CloudArgs,
    /// What is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `i2kit ledger`.
#[derive(Debug, Args)]
pub struct Ledger {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A region becomes part of a host's name.
fn region(text: &str) -> Result<String, String> {
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_region = !text.is_empty() && text.len() <= 63 && text.bytes().all(letters);
    is_region
        .then(|| text.to_owned())
        .ok_or_else(|| "not a region such as eu-central-1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_cannot_name_another_host() {
        assert!(region("eu-central-1").is_ok());
        for bad in ["", "EU", "a.b", "a/b", "a@b"] {
            assert!(region(bad).is_err(), "{bad}");
        }
    }
}
