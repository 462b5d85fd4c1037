//! The commands that deal with images alone: pull, resolve, lock, bundle.

use std::path::PathBuf;

use clap::Args;

use super::{CacheArgs, ExtensionArgs, FileArgs, ImageArgs, ProgressArgs, platform};
use crate::oci::Platform;

/// Images by name and from manifests.
#[derive(Debug, Args)]
pub struct Wanted {
    /// Images by name (nginx:1.27) or TRANSPORT:REFERENCE
    #[arg(value_name = "IMAGE", required_unless_present_any = ["files", "bundle"])]
    pub names: Vec<String>,
    /// Manifests whose images are meant.
    #[command(flatten)]
    pub files: FileArgs,
    /// What the images are for
    #[arg(long, value_name = "PLATFORM", value_parser = platform, default_value = "linux/amd64")]
    pub platform: Platform,
    /// Where images come from.
    #[command(flatten)]
    pub images: ImageArgs,
}

/// `i2kit pull`.
#[derive(Debug, Args)]
pub struct Pull {
    /// Which images.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Print what was pulled as JSON
    #[arg(long)]
    pub json: bool,
    /// Where they are kept.
    #[command(flatten)]
    pub cache: CacheArgs,
    /// What is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// `i2kit resolve`.
#[derive(Debug, Args)]
pub struct Resolve {
    /// Which images.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The cache's folder (default: $XDG_CACHE_HOME/i2kit)
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
}

/// `i2kit lock`.
#[derive(Debug, Args)]
pub struct Lock {
    /// The manifests.
    #[command(flatten)]
    pub files: FileArgs,
    /// What is added to the guest's own system.
    #[command(flatten)]
    pub extensions: ExtensionArgs,
    /// What the images are for; several, separated by commas
    #[arg(
        long,
        value_name = "PLATFORM",
        value_parser = platform,
        value_delimiter = ',',
        default_value = "linux/amd64"
    )]
    pub platform: Vec<Platform>,
    /// Also convert every layer and note the results, so that a shared cache can be checked
    #[arg(long)]
    pub convert: bool,
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

/// `i2kit bundle`.
#[derive(Debug, Args)]
pub struct Bundle {
    /// The manifests.
    #[command(flatten)]
    pub files: FileArgs,
    /// What is added to the guest's own system.
    #[command(flatten)]
    pub extensions: ExtensionArgs,
    /// The bundle to write; with several platforms, {platform} in it becomes each one's name
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// What the images are for; several, separated by commas, make a bundle each
    #[arg(
        long,
        value_name = "PLATFORM",
        value_parser = platform,
        value_delimiter = ',',
        default_value = "linux/amd64"
    )]
    pub platform: Vec<Platform>,
    /// Put the values of the manifests' Secrets into the bundle, readable to whoever has it;
    /// without, the bundle has their keys alone
    #[arg(long)]
    pub bake_secrets: bool,
    /// Where images come from.
    #[command(flatten)]
    pub images: ImageArgs,
    /// The cache's folder (default: $XDG_CACHE_HOME/i2kit)
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// What is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
}
