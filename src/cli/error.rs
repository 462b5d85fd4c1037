//! Every error a command can end with, and its cure.

use std::io;
use std::path::PathBuf;

use crate::{assemble, cache, inspect, layer, manifest, oci, output, run};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each wraps the error of its floor")]
pub enum Error {
    #[error("read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Defaults(#[from] super::defaults::DefaultsError),
    #[error("{0}")]
    Manifest(#[from] manifest::Errors),
    #[error("find image {image:?}: not given")]
    ImageNotGiven { image: String },
    #[error("parse {argument:?}: {reason}")]
    Argument {
        argument: String,
        reason: &'static str,
    },
    #[error("find the base image: there is none at {path}")]
    NoBase { path: PathBuf },
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
    #[error("write to standard output: {0}")]
    Print(io::Error),
    #[error("write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ImageNotGiven { image } => Some(format!(
                "say where it is with --image {image}=oci:DIR[:TAG]"
            )),
            Self::NoBase { .. } => Some(
                "make it with scripts/build-base.sh, or name one with --base oci:DIR".to_owned(),
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
            _ => None,
        }
    }
}

/// The cure that an image's source knows, where it is the one that failed under a layer.
fn source_hint(error: &layer::Error) -> Option<String> {
    let layer::Error::Read { source, .. } = error else {
        return None;
    };
    let cause = source.get_ref()?.downcast_ref::<oci::Error>()?;
    cause.hint()
}
