//! The command line, as clap sees it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::run::Forward;

/// One Kubernetes Pod, one immutable virtual machine.
///
/// Exit codes: 0 success; 1 something failed; 2 wrong usage. `run` answers with the Pod's exit
/// code; 70 when the guest failed, 124 after --timeout, 125 when there was nothing to run.
#[derive(Debug, Parser)]
#[command(name = "i2kit", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a bootable disk from a Pod manifest or an image
    ///
    /// Example: i2kit build -f nginx.yaml --image nginx=oci:./nginx -o nginx.raw
    Build(Build),
    /// Boot a Pod, an image or a disk in a local virtual machine
    ///
    /// Ctrl-C presses the power button; twice ends the machine at once. Examples:
    ///   i2kit run -f nginx.yaml --image nginx=oci:./nginx -p 8080:80
    ///   i2kit run oci:./tiny -- echo hello
    ///   i2kit run nginx.raw
    #[command(verbatim_doc_comment)]
    Run(Run),
    /// Show what is on a disk: partitions, UKI, command line, contract, layers
    Inspect(Inspect),
    /// List files on a disk, as in: i2kit ls disk.raw:store/containers/web
    Ls(Ls),
    /// Print a shell's completion script
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Where the Pod and its images come from.
#[derive(Clone, Debug, Default, Args)]
pub struct PodArgs {
    /// A manifest (Pod, Deployment or List; YAML or JSON); - reads standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Which Pod, when the manifests hold several
    #[arg(long)]
    pub name: Option<String>,
    /// Where an image comes from: NAME=SOURCE, where SOURCE is one of oci:DIR[:TAG | @DIGEST],
    /// oci-archive:FILE[:TAG | @DIGEST], docker-archive:FILE[:TAG], dir:DIR,
    /// containers-storage:NAME, docker-daemon:NAME
    #[arg(long = "image", value_name = "NAME=SOURCE")]
    pub images: Vec<String>,
    /// The base image: oci:DIR[:TAG] (default: the one that scripts/build-base.sh makes)
    #[arg(long, value_name = "SOURCE")]
    pub base: Option<String>,
    /// Whose drivers the disk carries
    #[arg(
        long,
        value_name = "TARGET",
        value_delimiter = ',',
        default_value = "virtio,ec2"
    )]
    pub target: Vec<String>,
    /// What the guest does when it cannot go on
    #[arg(long, value_enum, default_value_t)]
    pub on_failure: OnFailure,
    /// Where converted layers are kept (default: $XDG_CACHE_HOME/i2kit)
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Layers converted at once (default: the number of processors)
    #[arg(short, long)]
    pub jobs: Option<usize>,
    /// Uncompressed bytes that a layer or a compressed archive may have, as in 64GiB
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "64GiB")]
    pub max_layer_size: u64,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// `i2kit build`.
#[derive(Debug, Args)]
pub struct Build {
    /// Where the Pod comes from.
    #[command(flatten)]
    pub pod: PodArgs,
    /// Build from an image without a manifest
    #[arg(long, value_name = "IMAGE", conflicts_with = "files")]
    pub from: Option<String>,
    /// The disk to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Room for the guest's scratch partition: SIZE or none
    #[arg(long, value_name = "SIZE", value_parser = scratch, default_value = "none")]
    pub scratch: u64,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// `i2kit run`.
#[derive(Debug, Args)]
pub struct Run {
    /// A disk, or an image to run without a manifest
    #[arg(
        value_name = "DISK|IMAGE",
        conflicts_with = "files",
        required_unless_present = "files"
    )]
    pub what: Option<String>,
    /// Arguments for the image instead of its own
    #[arg(last = true, requires = "what")]
    pub args: Vec<String>,
    /// Where the Pod comes from.
    #[command(flatten)]
    pub pod: PodArgs,
    /// Forward a port: [HOSTIP:]HOST:CONTAINER[/udp]; HOST 0 takes a free one (default: every
    /// containerPort, from the same port where it is free)
    #[arg(short, long = "publish", value_name = "PORTS", value_parser = forward)]
    pub publish: Vec<Forward>,
    /// Memory of the machine, as in 1GiB
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1GiB")]
    pub memory: u64,
    /// Processors of the machine
    #[arg(long, default_value_t = crate::run::Options::DEFAULT_CPUS)]
    pub cpus: u32,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// How the guest sees its disk
    #[arg(long, value_enum, default_value_t)]
    pub disk_bus: Bus,
    /// Room for the guest's scratch partition: SIZE or none
    #[arg(long, value_name = "SIZE", value_parser = scratch, default_value = "4GiB")]
    pub scratch: u64,
}

/// `i2kit inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The disk
    pub disk: PathBuf,
    /// Also check every block of the store against its hash tree
    #[arg(long)]
    pub verify: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `i2kit ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// DISK[:store[/PATH]]
    #[arg(value_name = "DISK:PATH")]
    pub path: String,
    /// List folders' contents too
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// `--on-failure`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum OnFailure {
    /// Power off.
    #[default]
    PowerOff,
    /// Reboot.
    Reboot,
}

/// `--disk-bus`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Bus {
    /// virtio-blk.
    #[default]
    Virtio,
    /// NVMe.
    Nvme,
    /// virtio-scsi.
    Scsi,
}

fn forward(text: &str) -> Result<Forward, String> {
    Forward::parse(text).map_err(|error| error.to_string())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: u64 = text
        .parse()
        .map_err(|_| "not a whole number of seconds".to_owned())?;
    Ok(Duration::from_secs(seconds))
}

fn scratch(text: &str) -> Result<u64, String> {
    if text == "none" { Ok(0) } else { size(text) }
}

/// A number of bytes with an optional unit: K, M, G, T (powers of 1024), or KiB … and kB ….
fn size(text: &str) -> Result<u64, String> {
    const BAD: &str = "not a size such as 512MiB";
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| BAD)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "K" | "KiB" | "Ki" => 1 << 10,
        "M" | "MiB" | "Mi" => 1 << 20,
        "G" | "GiB" | "Gi" => 1 << 30,
        "T" | "TiB" | "Ti" => 1 << 40,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(BAD.to_owned()),
    };
    number.checked_mul(factor).ok_or_else(|| BAD.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("1GB"), Ok(1_000_000_000));
        assert_eq!(scratch("none"), Ok(0));
        for bad in ["", "x", "1X", "-1", "99999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
