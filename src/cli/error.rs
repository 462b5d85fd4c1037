//! Every error a command can end with, and its cure.

use std::io;
use std::path::PathBuf;

use i2kit_contract::runtime;

use crate::{assemble, cache, inspect, layer, manifest, oci, output, push, run, sign};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each wraps the error of its floor")]
pub enum Error {
    #[error("read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Control(#[from] run::ControlError),
    #[error("configure the Pod: {0}")]
    RuntimeConfig(runtime::Error),
    #[error("read {path}: {source}")]
    RuntimeConfigFile {
        path: PathBuf,
        source: runtime::Error,
    },
    #[error("use {path}: {source}")]
    Profile {
        path: PathBuf,
        source: manifest::profile::Error,
    },
    #[error("learn what container {container} needs: the guest has told nothing of it")]
    NotLearned { container: String },
    #[error(transparent)]
    Beside(#[from] output::BesideError),
    #[error(transparent)]
    Defaults(#[from] super::defaults::DefaultsError),
    #[error("{0}")]
    Manifest(#[from] manifest::Errors),
    #[error("find image {image:?} in {lock}: it is not there")]
    NotLocked { image: String, lock: PathBuf },
    #[error("find image {image:?} for {platform} in {lock}: it is not there")]
    PlatformNotLocked {
        image: String,
        platform: String,
        lock: PathBuf,
    },
    #[error("read {path}: there is no lock")]
    NoLock { path: PathBuf },
    #[error("parse {path}: {source}")]
    Lock {
        path: PathBuf,
        source: oci::LockError,
    },
    #[error("build for {platform}: this i2kit builds for linux/amd64")]
    Architecture { platform: String },
    #[error(transparent)]
    Settings(#[from] oci::registry::SettingsError),
    #[error(transparent)]
    Policy(#[from] oci::policy::Error),
    #[error(transparent)]
    Bundle(#[from] oci::bundle::BundleError),
    #[error(transparent)]
    Shared(#[from] crate::pipeline::shared::Error),
    #[error("{path}: {source}")]
    Sign { path: PathBuf, source: sign::Error },
    #[error(transparent)]
    Resign(#[from] assemble::resign::Error),
    #[error("{path}: {source}")]
    Variables {
        path: PathBuf,
        source: i2kit_format::efi::store::Error,
    },
    #[error("write {path}: it is there already")]
    Exists { path: PathBuf },
    #[error("read key {path}: {source}")]
    Key {
        path: PathBuf,
        source: oci::KeyError,
    },
    #[error("parse {argument:?}: {reason}")]
    Argument {
        argument: String,
        reason: &'static str,
    },
    #[error(transparent)]
    KernelArg(#[from] assemble::cmdline::Error),
    #[error("find the base image: there is none at {path}")]
    NoBase { path: PathBuf },
    #[error("find a mirror: apt's sources name none of the base's release over HTTP")]
    NoMirror,
    #[error(transparent)]
    Mirror { source: oci::registry::Error },
    #[error("read {url}: {source}")]
    Index { url: String, source: io::Error },
    #[error("find a cache folder: neither --cache-dir, XDG_CACHE_HOME nor HOME is set")]
    NoCache,
    #[error("image {image}: {source}")]
    Image { image: String, source: oci::Error },
    #[error(transparent)]
    Cache(#[from] cache::Error),
    #[error(transparent)]
    Layer(#[from] layer::Error),
    #[error(transparent)]
    Assemble(#[from] assemble::Error),
    #[error(transparent)]
    Raw(#[from] output::RawError),
    #[error(transparent)]
    Record(#[from] output::RecordError),
    #[error(transparent)]
    Disk(#[from] crate::disk::OpenError),
    #[error(transparent)]
    Inspect(#[from] inspect::Error),
    #[error(transparent)]
    Port(#[from] run::PortError),
    #[error(transparent)]
    Run(#[from] run::Error),
    #[error("place layers like those of {path}: {reason}")]
    PlaceLike { path: PathBuf, reason: String },
    #[error("read the planned disk: {0}")]
    Planned(io::Error),
    #[error("read inputs record: {reason}")]
    Recorded { reason: String },
    #[error("read inputs record: it holds no manifests, since one of them holds a Secret")]
    NoManifest,
    #[error("build again: the manifests' digest is {found}, the record's {recorded}")]
    OtherManifest { found: String, recorded: String },
    #[error("compare: {0}")]
    Unlike(Box<inspect::Fault>),
    #[error("verify provenance {path}: {reason}")]
    Provenance { path: PathBuf, reason: String },
    #[error("start threads: {0}")]
    Runtime(io::Error),
    #[error("find a region: no --region is given, and AWS_REGION and the profile name none")]
    NoRegion,
    #[error("find a folder for ledgers: neither XDG_STATE_HOME nor HOME is set")]
    NoState,
    #[error(transparent)]
    Push(#[from] push::Error),
    #[error("see what is in use: {0}")]
    InUse(push::cloud::CallError),
    #[error("read {path}: no UefiData of EC2's")]
    UefiData { path: PathBuf },
    #[error("make the AMI public: nobody has agreed to it")]
    NotAsked,
    #[error("compare {one} and {other}: one is a disk, the other an AMI or a snapshot")]
    Unalike { one: PathBuf, other: PathBuf },
    #[error("write to standard output: {0}")]
    Print(io::Error),
    #[error("write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// An image that is not to be had.
    pub fn image(name: &str, source: oci::Error) -> Self {
        Self::Image {
            image: name.to_owned(),
            source,
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotLocked { .. } | Self::PlatformNotLocked { .. } | Self::NoLock { .. } => {
                Some("i2kit lock -f MANIFEST writes it; --platform names what it is for".to_owned())
            }
            Self::Lock { .. } => Some("write it again with i2kit lock -f MANIFEST".to_owned()),
            Self::Profile { .. } => {
                Some("i2kit run --learn FILE writes a profile, and adds to one".to_owned())
            }
            Self::NotLearned { .. } => Some(
                "a container is told of when it has run for 5 s or has ended; the console says if                  the kernel cannot"
                    .to_owned(),
            ),
            Self::Settings(error) => error.hint(),
            Self::Policy(error) => error.hint(),
            Self::Bundle(error) => bundle_hint(error),
            Self::Shared(error) => error.hint(),
            Self::Key { source, .. } => Some(source.hint()),
            Self::Sign { source, .. } => source.hint(),
            Self::Variables { source, .. } => source.hint(),
            Self::Exists { .. } => {
                Some("keys are never overwritten: name another folder".to_owned())
            }
            Self::Inspect(error) => error.hint(),
            Self::PlaceLike { .. } => Some(
                "it must be a raw disk that this i2kit has built, or the record beside one \
                 (NAME.i2kit.json)"
                    .to_owned(),
            ),
            Self::NoBase { .. } => Some(
                "make it with scripts/build-base.sh, or name one with --base oci:DIR".to_owned(),
            ),
            Self::NoMirror => Some(
                "name one, as in: --source 'deb http://MIRROR/debian bookworm main'".to_owned(),
            ),
            Self::Mirror { .. } | Self::Index { .. } => Some(
                "check the mirror's URL, suite and component, and the proxy variables".to_owned(),
            ),
            Self::Manifest(errors) => errors.hint(),
            Self::Defaults(error) => error.hint(),
            Self::Image { source, .. } => source.hint(),
            Self::Cache(error) => error.hint(),
            Self::Layer(error) => error.hint().or_else(|| source_hint(error)),
            Self::Assemble(error) => error.hint(),
            Self::Raw(error) => error.hint(),
            Self::Port(error) => error.hint(),
            Self::Run(error) => error.hint(),
            Self::Control(error) => error.hint(),
            Self::KernelArg(error) => error.hint(),
            Self::NoRegion => Some("as in: --region eu-central-1".to_owned()),
            Self::Push(error) => error.hint(),
            Self::InUse(_) => Some(
                "nothing was removed: i2kit prune --print-iam-policy prints what it must be allowed"
                    .to_owned(),
            ),
            Self::UefiData { .. } => {
                Some("i2kit keys enrol KEYS --ec2 FILE writes it".to_owned())
            }
            Self::NotAsked => Some("add --yes where nobody can be asked".to_owned()),
            Self::Unalike { .. } => Some("i2kit fetch AMI -o FILE makes a disk of it".to_owned()),
            Self::NoManifest => Some("name the manifests with -f".to_owned()),
            Self::Unlike(fault) => unlike_hint(fault),
            _ => None,
        }
    }
}

fn unlike_hint(fault: &inspect::Fault) -> Option<String> {
    let structure = fault.structure.as_deref()?;
    matches!(structure, "/i2kit" | "/init").then(|| {
        "another i2kit may write other bytes: build again with the one that the record names"
            .to_owned()
    })
}

/// The cure that an image's source knows, where it is the one that failed under a layer.
fn source_hint(error: &layer::Error) -> Option<String> {
    match error {
        layer::Error::Read { source, .. } => io_hint(source),
        _ => None,
    }
}

fn bundle_hint(error: &oci::bundle::BundleError) -> Option<String> {
    match error {
        oci::bundle::BundleError::Layer { source, .. } => io_hint(source),
        _ => None,
    }
}

fn io_hint(error: &io::Error) -> Option<String> {
    error.get_ref()?.downcast_ref::<oci::Error>()?.hint()
}

/// What a push's parts answer is a push's error.
macro_rules! of_push {
    ($($part:ty),*) => {
        $(impl From<$part> for Error {
            fn from(error: $part) -> Self {
                Self::Push(error.into())
            }
        })*
    };
}

of_push!(
    push::cloud::CloudError,
    push::cloud::CallError,
    push::download::FetchError,
    push::snapshot_disk::DiskError
);
