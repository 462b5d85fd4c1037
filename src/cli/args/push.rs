//! `i2kit push`, as clap sees it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::cache::duration;
use super::cloud::{CloudArgs, RegionsArgs};
use super::{DiskArgs, SignArgs};
use crate::push::identity;
use crate::push::publish::Parent;
use crate::push::share::{Recipient, Share};

/// `i2kit push`.
#[derive(Debug, Args)]
#[command(mut_arg("name", |arg| arg.long("pod")))]
pub struct Push {
    /// A raw disk to push instead of one that is built of manifests and images
    #[arg(
        value_name = "DISK",
        conflicts_with_all = ["files", "bundle", "from", "sign_cert", "sign_key", "sign_command"]
    )]
    pub file: Option<PathBuf>,
    /// Only tell which blocks, bytes, calls, seconds and cents it would take
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Remove what interrupted pushes have left, and push nothing
    #[arg(
        long,
        conflicts_with_all = ["file", "files", "bundle", "from", "dry_run", "print_iam_policy"]
    )]
    pub abort: bool,
    /// Print the least IAM policy for what the other flags ask, and push nothing
    #[arg(long)]
    pub print_iam_policy: bool,
    /// Print JSON: for each region {region, snapshot, ami, name, parent, blocks_sent, blocks_total,
    /// bytes, requests, seconds, unchanged}
    #[arg(long)]
    pub json: bool,
    /// Read blocks back once the snapshot is complete, and check them against the tree: a sample, or
    /// all of them; EBS itself checks each block's SHA-256 and the whole's
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = Check::None,
        default_missing_value = "sample"
    )]
    pub verify: Check,
    /// What is on the disk.
    #[command(flatten)]
    pub disk: DiskArgs,
    /// What signs the UKI.
    #[command(flatten)]
    pub sign: SignArgs,
    /// What becomes of it at Amazon.
    #[command(flatten)]
    pub image: AmiArgs,
    /// Who may use it, and how long.
    #[command(flatten)]
    pub life: LifeArgs,
    /// Where to.
    #[command(flatten)]
    pub regions: RegionsArgs,
    /// Have Amazon copy the AMI from the first region to the others (CopyImage), instead of uploading
    /// to each; that takes many minutes and pays for traffic between regions, but none of yours
    #[arg(long)]
    pub copy: bool,
    /// How the account is reached.
    #[command(flatten)]
    pub cloud: CloudArgs,
}

/// The snapshot and the AMI.
#[derive(Debug, Args)]
#[command(next_help_heading = "AMI")]
pub struct AmiArgs {
    /// What versions of the image share (default: the Pod's name); the AMI is called NAME and the
    /// first digits of the disk's digest
    #[arg(long = "name", id = "image_name", value_name = "NAME", value_parser = name)]
    pub name: Option<String>,
    /// Send only blocks that differ from this one: the newest AMI of that name (auto), one that is
    /// named, or none
    #[arg(long, value_name = "auto|AMI|SNAPSHOT|none", value_parser = parent, default_value = "auto")]
    pub parent: Parent,
    /// Make a snapshot and no AMI
    #[arg(long, conflicts_with_all = ["share", "deprecate_after", "protect", "ssm_parameter", "secure_boot_vars", "tpm"])]
    pub snapshot_only: bool,
    /// Size of the root volume in GiB (default: the disk's, rounded up)
    #[arg(long, value_name = "GIB", value_parser = clap::value_parser!(u64).range(1..=16_384))]
    pub volume_size: Option<u64>,
    /// The Secure Boot variables of instances, as i2kit keys enrol --ec2 FILE writes them
    #[arg(long, value_name = "FILE")]
    pub secure_boot_vars: Option<PathBuf>,
    /// Give instances a TPM 2.0; instance types without NitroTPM then cannot run it
    #[arg(long)]
    pub tpm: bool,
    /// Encrypt with this KMS key (ARN, id or alias), in one region or in all; may be repeated
    #[arg(long = "kms-key", value_name = "[REGION=]KEY", value_parser = key)]
    pub kms_keys: Vec<(Option<String>, String)>,
}

/// What follows once the AMI is there.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sharing and life")]
pub struct LifeArgs {
    /// Let others launch it: an account's number, the ARN of an organization or an organizational
    /// unit, or public, which asks first; may be repeated
    #[arg(long, value_name = "ACCOUNT|ARN|public", value_parser = recipient)]
    pub share: Vec<Recipient>,
    /// Do not ask whether to make it public
    #[arg(long)]
    pub yes: bool,
    /// Have it deprecated after so long, as in 90d: new users no longer find it in lists
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub deprecate_after: Option<Duration>,
    /// Protect it from being deregistered; i2kit prune keeps it
    #[arg(long)]
    pub protect: bool,
    /// Publish the AMI's id as this parameter of Systems Manager, once it is available everywhere
    #[arg(long, value_name = "PATH", value_parser = parameter)]
    pub ssm_parameter: Option<String>,
}

impl LifeArgs {
    /// With whom it is shared.
    pub fn shared(&self) -> Share {
        Share::with(&self.share)
    }
}

/// `--verify`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Check {
    /// Nothing.
    #[default]
    None,
    /// Some of the blocks that were sent, and some that were not.
    Sample,
    /// Every block that a guest can read.
    Full,
}

fn name(text: &str) -> Result<String, String> {
    identity::check_name(text).map_err(|error| format!("{error}; {}", error.hint()))?;
    Ok(text.to_owned())
}

fn parent(text: &str) -> Result<Parent, String> {
    match text {
        "auto" => Ok(Parent::Auto),
        "none" => Ok(Parent::None),
        _ if text.starts_with("ami-") => Ok(Parent::Ami(text.to_owned())),
        _ if text.starts_with("snap-") => Ok(Parent::Snapshot(text.to_owned())),
        _ => Err("not auto, none, ami-… or snap-…".to_owned()),
    }
}

/// A key may contain `=` no more than a region does.
fn key(text: &str) -> Result<(Option<String>, String), String> {
    let (region, key) = match text.split_once('=') {
        Some((region, key)) => (Some(region), key),
        None => (None, text),
    };
    if key.is_empty() || region == Some("") {
        return Err("not [REGION=]KEY".to_owned());
    }
    Ok((region.map(str::to_owned), key.to_owned()))
}

fn recipient(text: &str) -> Result<Recipient, String> {
    Recipient::parse(text)
        .ok_or_else(|| "not 12 digits, arn:…:organization/…, arn:…:ou/… or public".to_owned())
}

fn parameter(text: &str) -> Result<String, String> {
    let letters = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let is_path = !text.is_empty() && text.len() <= 1011 && text.chars().all(letters);
    is_path
        .then(|| text.to_owned())
        .ok_or_else(|| "a parameter has letters, digits and ._-/ only".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_and_keys_are_told_apart() {
        assert_eq!(parent("auto"), Ok(Parent::Auto));
        assert_eq!(parent("ami-1"), Ok(Parent::Ami("ami-1".to_owned())));
        assert_eq!(parent("snap-1"), Ok(Parent::Snapshot("snap-1".to_owned())));
        assert!(parent("web").is_err());
        let alias = (None, "alias/images".to_owned());
        assert_eq!(key("alias/images"), Ok(alias));
        let one = (Some("us-east-1".to_owned()), "alias/a".to_owned());
        assert_eq!(key("us-east-1=alias/a"), Ok(one));
        assert!(key("=a").is_err() && key("us-east-1=").is_err());
    }

    #[test]
    fn parameters_are_paths() {
        assert!(parameter("/images/web-1.2_x").is_ok());
        assert!(parameter("").is_err() && parameter("a b").is_err());
    }
}
