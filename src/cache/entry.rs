//! An entry in use.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::lock::{flock, is_at, open_folder, touch};

/// A finished entry that its holder uses: a shared lock on its folder, which eviction would need
/// alone. Released when dropped, or when the process ends.
#[derive(Debug)]
pub struct Entry {
    folder: PathBuf,
    hold: File,
}

impl Entry {
    /// The entry at `folder`; None when there is none.
    pub(super) fn hold(folder: PathBuf) -> io::Result<Option<Self>> {
        let hold = match open_folder(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        // Where folders cannot be locked nothing is evicted either.
        let _ = flock(&hold, FlockOperation::LockShared);
        // It may have been evicted before it was held.
        Ok(is_at(&hold, &folder).then(|| Self::at(folder, hold)))
    }

    /// Notes that it is used now.
    pub(super) fn touch(&self) {
        touch(&self.hold);
    }

    pub(super) fn at(folder: PathBuf, hold: File) -> Self {
        Self { folder, hold }
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// True while the folder is this entry and not one that was made after it.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        is_at(&self.hold, &self.folder)
    }
}
