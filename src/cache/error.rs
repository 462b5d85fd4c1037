//! Why the cache failed.

use std::io;
use std::path::{Path, PathBuf};

/// The cure for a file system that is full.
pub const NO_ROOM: &str =
    "free some room there (i2kit cache gc), or choose another folder with --cache-dir";

/// The cache failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} cache {path}: {source}")]
pub struct Error {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Error {
    /// True when another user's modes, or a read-only file system, stand in the way.
    pub(super) fn is_denied(&self) -> bool {
        is_denied(&self.source)
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(NO_ROOM.to_owned()),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some("choose another folder with --cache-dir".to_owned())
            }
            _ => None,
        }
    }
}

pub(super) fn context(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// As [`Error::is_denied`].
pub(super) fn is_denied(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}
