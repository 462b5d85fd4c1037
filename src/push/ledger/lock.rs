//! One push at a time has a ledger. The kernel releases the lock when its holder ends, however that
//! ends.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{LedgerError, failed};

#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    /// Locked as long as it is open.
    _file: File,
}

impl Lock {
    /// Takes the lock of a ledger.
    pub fn take(folder: &Path, id: &str) -> Result<Self, LedgerError> {
        let path = path(folder, id);
        loop {
            let options = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path);
            let file = options.map_err(|source| failed("lock", &path, source))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(LedgerError::Busy { path }),
                Err(TryLockError::Error(source)) => return Err(failed("lock", &path, source)),
            }
            // Whoever had it may have removed the file in between.
            if is_at(&file, &path) {
                return Ok(Self { path, _file: file });
            }
        }
    }

    /// Whether somebody has it.
    pub fn is_taken(folder: &Path, id: &str) -> bool {
        let Ok(file) = File::open(path(folder, id)) else {
            return false;
        };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Removes the file; who waits for it notices.
    pub fn remove(&self) {
        // One that stays is in nobody's way.
        let _ = fs::remove_file(&self.path);
    }
}

fn path(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.lock"))
}

/// True when `path` still names what is open.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: io::Result<fs::Metadata>| {
        metadata
            .ok()
            .map(|metadata| (metadata.dev(), metadata.ino()))
    };
    let open = identity(file.metadata());
    open.is_some() && open == identity(fs::symlink_metadata(path))
}
