//! `i2kit sbom` and `i2kit base`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{CacheArgs, ImageArgs, ProgressArgs, platform};
use crate::oci::Platform;

/// `i2kit sbom`.
#[derive(Debug, Args)]
pub struct Sbom {
    /// The disk
    pub disk: PathBuf,
    /// Which format
    #[arg(long, value_enum, default_value_t)]
    pub format: SbomFormat,
}

/// `--format`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum SbomFormat {
    /// SPDX 2.3 in JSON.
    #[default]
    Spdx,
    /// CycloneDX 1.6 in JSON.
    Cyclonedx,
}

/// `i2kit base`.
#[derive(Debug, Args)]
pub struct Base {
    /// What to do with it.
    #[command(subcommand)]
    pub command: BaseCommand,
}

/// The commands about a base image.
#[derive(Debug, Subcommand)]
pub enum BaseCommand {
    /// List its packages with their licences and source packages
    Licenses(Licenses),
    /// Compare its packages with what a Debian mirror has now
    ///
    /// Only tells: scripts/build-base.sh --update makes a base of what is there. The mirror's index is
    /// taken as it comes, without looking at its signature.
    Outdated(Outdated),
}

/// Which base image.
#[derive(Debug, Args)]
pub struct BaseImage {
    /// What it is for
    #[arg(long, value_name = "PLATFORM", value_parser = platform, default_value = "linux/amd64")]
    pub platform: Platform,
    /// Where images come from.
    #[command(flatten)]
    pub images: ImageArgs,
    /// Where they are kept.
    #[command(flatten)]
    pub cache: CacheArgs,
    /// What is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// `i2kit base licenses`.
#[derive(Debug, Args)]
pub struct Licenses {
    /// Which base image.
    #[command(flatten)]
    pub base: BaseImage,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `i2kit base outdated`.
#[derive(Debug, Args)]
pub struct Outdated {
    /// Which base image.
    #[command(flatten)]
    pub base: BaseImage,
    /// Where to look, as a line of apt's sources.list (default: this machine's own for the base's
    /// release): 'deb http://MIRROR/debian bookworm main'
    #[arg(long = "source", value_name = "LINE")]
    pub sources: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
