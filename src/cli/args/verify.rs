//! `i2kit verify` and `i2kit rebuild`.

use std::path::PathBuf;

use clap::Args;

use super::{CacheArgs, CloudArgs, DiskArgs, ImageArgs, ProgressArgs, RegionArgs};

/// `i2kit verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The disk
    #[arg(value_name = "DISK|AMI|SNAPSHOT")]
    pub file: PathBuf,
    /// The UKI must be signed by the key of this certificate (PEM), and the provenance, if it is looked
    /// at
    #[arg(long, value_name = "CERT")]
    pub key: Option<PathBuf>,
    /// Refuse a disk that was built with a lower --image-version, or with none
    ///
    /// Firmware does not compare versions: what it must not boot any more, it is told with
    /// i2kit keys enrol --dbx.
    #[arg(long, value_name = "N", requires = "key")]
    pub min_version: Option<u64>,
    /// Also compare each figure of the outputs record: root hash, slabs, sections, PCRs, …
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Also check that this statement, or the DSSE envelope with it, is about the disk
    #[arg(long, value_name = "FILE")]
    pub provenance: Option<PathBuf>,
    /// What the disk should be, with the flags of `i2kit build`.
    #[command(flatten)]
    pub expected: DiskArgs,
    /// Where an AMI or a snapshot is.
    #[command(flatten)]
    pub region: RegionArgs,
    /// How the account is reached.
    #[command(flatten)]
    pub cloud: CloudArgs,
    /// Print JSON, the fault too
    #[arg(long)]
    pub json: bool,
}

/// `i2kit diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// A disk, an AMI or a snapshot
    pub one: PathBuf,
    /// Another of the kind
    pub other: PathBuf,
    /// Where AMIs or snapshots are.
    #[command(flatten)]
    pub region: RegionArgs,
    /// How the account is reached.
    #[command(flatten)]
    pub cloud: CloudArgs,
    /// Print JSON, the difference too
    #[arg(long)]
    pub json: bool,
}

/// `i2kit rebuild`.
#[derive(Debug, Args)]
#[command(mut_arg("compression", |arg| arg.hide(true)), mut_arg("locked", |arg| arg.hide(true)), mut_arg("lock", |arg| arg.hide(true)))]
pub struct Rebuild {
    /// The outputs record of a disk, or a disk
    #[arg(long, value_name = "FILE")]
    pub record: PathBuf,
    /// Write the disk, too
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The manifests, for a record that holds none since they hold Secrets
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where images come from.
    #[command(flatten)]
    pub images: ImageArgs,
    /// Where they are kept.
    #[command(flatten)]
    pub cache: CacheArgs,
    /// What is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
    /// Print JSON, the difference too
    #[arg(long)]
    pub json: bool,
}
