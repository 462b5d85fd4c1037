//! The one trait behind which images come from anywhere.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;

use super::Digest;

/// Where one container image comes from.
pub trait Source: Send + Sync {
    /// The image for `platform`: manifest and config fetched, checked and parsed.
    ///
    /// # Errors
    /// [`Error`] naming the reference and what is wrong with it.
    fn image(&self, platform: &Platform) -> Result<Image, Error>;

    /// The compressed bytes of a layer, as they come: the reader must check size and digest.
    ///
    /// # Errors
    /// What opening the blob answers.
    fn open(&self, layer: &LayerDescriptor) -> io::Result<Box<dyn Read + Send>>;
}

/// A container image, its parts checked against their digests.
#[derive(Clone, Debug)]
pub struct Image {
    /// Digest of the manifest for the platform.
    pub manifest_digest: Digest,
    /// Digest of the config.
    pub config_digest: Digest,
    /// The config.
    pub config: ImageConfiguration,
    /// The layers, lowest first.
    pub layers: Vec<LayerDescriptor>,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerDescriptor {
    /// Digest of the compressed bytes.
    pub digest: Digest,
    /// Length of the compressed bytes.
    pub size: u64,
    /// OCI or Docker media type.
    pub media_type: String,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
}

/// What an image must run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// Go's name: `amd64`, `arm64`.
    pub architecture: String,
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)
    }
}

/// Why an image is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A reference that is none.
    #[error("parse image reference {reference:?}: {reason}")]
    Reference {
        /// As given.
        reference: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file cannot be read.
    #[error("read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder holds no OCI layout.
    #[error("open OCI layout {path}: {reason}")]
    NotALayout {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The layout has no such tag or digest.
    #[error("find {wanted} in OCI layout {path}: not there")]
    NoSuchImage {
        /// The folder.
        path: PathBuf,
        /// Tag or digest.
        wanted: String,
        /// The tags that are there.
        tags: Vec<String>,
    },
    /// Several images, and none was chosen.
    #[error("choose an image in OCI layout {path}: it holds {}", tags.len())]
    Ambiguous {
        /// The folder.
        path: PathBuf,
        /// The tags that are there.
        tags: Vec<String>,
    },
    /// No manifest of the index is for the platform.
    #[error("find platform {platform} in {object}: only {}", found.join(", "))]
    Platform {
        /// The index or image.
        object: String,
        /// What was wanted.
        platform: String,
        /// What is there.
        found: Vec<String>,
    },
    /// The bytes are not those that the digest names.
    #[error("check {what} {digest}: {reason}")]
    Blob {
        /// `manifest`, `config`.
        what: &'static str,
        /// The digest that named it.
        digest: Digest,
        /// Missing, short, other bytes.
        reason: String,
    },
    /// The bytes are right and make no sense.
    #[error("parse {what} {object}: {reason}")]
    Malformed {
        /// `index`, `manifest`, `config`.
        what: &'static str,
        /// Digest or path.
        object: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSuchImage { tags, .. } if !tags.is_empty() => {
                Some(format!("it has {}", tags.join(", ")))
            }
            Self::Ambiguous { tags, .. } => {
                Some(format!("add one of :{} to the reference", tags.join(", :")))
            }
            Self::Blob { .. } => Some("make or copy the layout again".to_owned()),
            Self::NotALayout { .. } => {
                Some("name a folder that has oci-layout and index.json in it".to_owned())
            }
            _ => None,
        }
    }
}
