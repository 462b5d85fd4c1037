//! Flags that say which images are meant, and how far they are trusted.

use std::path::PathBuf;

use clap::Args;

/// Where images come from.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Images")]
pub struct ImageArgs {
    /// Where an image comes from instead of its registry: NAME=TRANSPORT:REFERENCE, with
    /// oci:DIR[:TAG|@DIGEST], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG], dir:DIR,
    /// docker://NAME, containers-storage:NAME or docker-daemon:NAME
    #[arg(long = "image", value_name = "NAME=SOURCE")]
    pub images: Vec<String>,
    /// The base image, as --image has it (default: the one that scripts/build-base.sh makes)
    #[arg(long, value_name = "SOURCE")]
    pub base: Option<String>,
    /// Make no connection: take images from the cache, a bundle or local files only
    #[arg(long)]
    pub offline: bool,
    /// Take exactly what the lock holds, and refuse what it does not
    #[arg(long)]
    pub locked: bool,
    /// The lock
    #[arg(long, value_name = "FILE", default_value = DEFAULT_LOCK)]
    pub lock: PathBuf,
    /// Take manifests, images and base from a bundle that `i2kit bundle` wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["images", "base", "locked"])]
    pub bundle: Option<PathBuf>,
    /// Which images may be used: a policy.json as containers' tools read it
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Registries.
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// The lock's usual name.
pub const DEFAULT_LOCK: &str = "i2kit.lock";

/// How registries are spoken to.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Registries")]
pub struct RegistryArgs {
    /// The only file to look credentials up in (default: Podman's and Docker's)
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// A folder with containerd's HOST/hosts.toml, instead of registries.conf
    #[arg(long, value_name = "DIR")]
    pub registry_hosts: Option<PathBuf>,
    /// A PEM file with authorities to trust for registries
    #[arg(long, value_name = "FILE")]
    pub registry_ca: Vec<PathBuf>,
    /// A registry that is spoken to without TLS: HOST[:PORT]
    #[arg(long, value_name = "HOST")]
    pub plain_http: Vec<String>,
}
