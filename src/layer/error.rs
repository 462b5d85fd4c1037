//! Why a layer is not converted.

use std::io;

use super::tar;
use crate::cache;

/// A layer that cannot be used. Nothing of it is in the cache.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The blob cannot be opened or read.
    #[error("read layer {layer}: {source}")]
    Read {
        /// Digest of the compressed bytes.
        layer: String,
        /// The source's answer.
        source: io::Error,
    },
    /// The compressed bytes are not as many as the manifest says.
    #[error("check layer {layer}: {found} bytes where the manifest says {expected}")]
    Size {
        /// Digest of the compressed bytes.
        layer: String,
        /// Bytes that came.
        found: u64,
        /// The descriptor's size.
        expected: u64,
    },
    /// The compressed bytes are others than the manifest names.
    #[error("check layer {layer}: its bytes are {found}")]
    Digest {
        /// Digest that the manifest names.
        layer: String,
        /// Digest of the bytes that came.
        found: String,
    },
    /// The uncompressed bytes are others than the config names.
    #[error("check layer {layer}: its diffID is {found}, the config says {expected}")]
    DiffId {
        /// Digest of the compressed bytes.
        layer: String,
        /// Digest of the uncompressed bytes.
        found: String,
        /// The config's diffID.
        expected: String,
    },
    /// More uncompressed bytes than allowed.
    #[error("unpack layer {layer}: more than {limit} bytes")]
    TooLarge {
        /// Digest of the compressed bytes.
        layer: String,
        /// The bound.
        limit: u64,
    },
    /// The uncompressed bytes are no tar that i2kit unpacks.
    #[error("unpack layer {layer}: {source}")]
    Tar {
        /// Digest of the compressed bytes.
        layer: String,
        /// Where and why.
        source: tar::Error,
    },
    /// An entry that no honest layer has.
    #[error("unpack layer {layer}: entry {path:?}: {reason}")]
    Refused {
        /// Digest of the compressed bytes.
        layer: String,
        /// The entry's name.
        path: String,
        /// Why.
        reason: Refusal,
    },
    /// The cache cannot be written.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// A file of the cache cannot be written or read.
    #[error("{operation} layer {layer} in the cache: {source}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// Digest of the compressed bytes.
        layer: String,
        /// The system's answer.
        source: io::Error,
    },
}

/// Why an entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Refusal {
    #[error("its name has a .. component")]
    DotDot,
    #[error("its link target has a .. component")]
    LinkDotDot,
    #[error("a component of its name is longer than 255 bytes")]
    LongComponent,
    #[error("its name or target is longer than 4096 bytes")]
    LongPath,
    #[error("its name or target has a NUL byte")]
    Nul,
    #[error("a hard link or symlink without a target")]
    NoTarget,
    #[error("a device with a whiteout's name or number")]
    WhiteoutDevice,
    #[error("a device number past 12 and 20 bits")]
    DeviceNumber,
    #[error("it makes the root something else than a directory")]
    Root,
    #[error("the layer has too many entries")]
    TooMany,
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Size { .. } | Self::Digest { .. } => {
                Some("the blob is damaged: copy or pull the image again".to_owned())
            }
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("the layout lacks this blob: copy or pull the image again".to_owned())
            }
            Self::TooLarge { .. } => Some("raise --max-layer-size if that is right".to_owned()),
            Self::Cache(error) => error.hint(),
            Self::Store { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                ) =>
            {
                Some(cache::NO_ROOM.to_owned())
            }
            _ => None,
        }
    }
}
