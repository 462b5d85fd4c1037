//! The content-addressed cache: entries appear whole or not at all.
//!
//! ```text
//! DIR/v1/layers/KEY/   a converted layer
//! DIR/v1/pieces/KEY    a small result that costs time, its BLAKE3 hash behind it
//! DIR/v1/tmp/NAME/     being written; its writer holds a lock on the folder's file `lock`
//! DIR/v1/locks/KEY     held while KEY is made, so that two builds share the work
//! DIR/v1/sweep         shared while a draft begins, exclusive while dead ones are removed
//! ```
//!
//! Small files in an entry are checked by whoever loads them; a large blob's slabs are checked when
//! they are copied. So an entry that a power cut left torn is found, removed and made again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// Versions that differ share a folder without meeting.
const FORMAT: &str = "v1";

/// The cache failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} cache {path}: {source}")]
pub struct Error {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self.source.kind() {
            io::ErrorKind::StorageFull => Some("free some room there".to_owned()),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some("choose another folder with --cache-dir".to_owned())
            }
            _ => None,
        }
    }
}

fn context(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// A cache folder, open.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// Held while an entry is made; released when dropped or when the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// An entry being written. Dropped before [`Draft::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Draft {
    folder: PathBuf,
    target: PathBuf,
    _lock: File,
}

impl Cache {
    /// Opens the cache at `folder`, making what is missing and removing what dead writers left.
    ///
    /// # Errors
    /// [`Error`] when the folder cannot be made or read.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let cache = Self {
            root: folder.join(FORMAT),
        };
        for name in ["layers", "pieces", "tmp", "locks"] {
            let path = cache.root.join(name);
            fs::create_dir_all(&path).map_err(context("open", &path))?;
        }
        cache.sweep()?;
        Ok(cache)
    }

    /// Removes drafts whose writers are gone; left to another time while a draft begins.
    fn sweep(&self) -> Result<(), Error> {
        let path = self.root.join("sweep");
        let sweep = lock_file(&path)?;
        if rustix::fs::flock(&sweep, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(());
        }
        let tmp = self.root.join("tmp");
        let entries = fs::read_dir(&tmp).map_err(context("read", &tmp))?;
        for entry in entries.filter_map(Result::ok) {
            // A writer that died before it had a lock left a folder without one.
            let lock = File::open(entry.path().join("lock"));
            let is_dead = lock.map_or(true, |lock| {
                rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
            });
            if is_dead {
                // What cannot be removed stands in nobody's way.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }

    fn entry(&self, key: &str) -> PathBuf {
        self.root.join("layers").join(key)
    }

    /// The folder of a finished entry, if there is one.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<PathBuf> {
        Some(self.entry(key)).filter(|path| path.is_dir())
    }

    /// The piece `key`, as it was kept; a damaged one is as good as none.
    #[must_use]
    pub fn piece(&self, key: &str) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.root.join("pieces").join(key)).ok()?;
        let body = bytes.len().checked_sub(blake3::OUT_LEN)?;
        let checksum = bytes.split_off(body);
        (*blake3::hash(&bytes).as_bytes() == *checksum).then_some(bytes)
    }

    /// Keeps a piece. Two writers of one key write the same bytes.
    ///
    /// # Errors
    /// [`Error`] when it cannot be written.
    pub fn keep_piece(&self, key: &str, bytes: &[u8]) -> Result<(), Error> {
        let draft = self.draft(key)?;
        let (from, to) = (
            draft.folder.join("piece"),
            self.root.join("pieces").join(key),
        );
        let written = File::create(&from).and_then(|mut file| {
            file.write_all(bytes)?;
            file.write_all(blake3::hash(bytes).as_bytes())
        });
        written.map_err(context("write to", &from))?;
        fs::rename(&from, &to).map_err(context("write to", &to))
    }

    /// Waits until nobody else makes `key`.
    ///
    /// # Errors
    /// [`Error`] when the lock file cannot be opened or locked.
    pub fn lock(&self, key: &str) -> Result<Lock, Error> {
        let path = self.root.join("locks").join(key);
        let file = lock_file(&path)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| context("lock", &path)(error.into()))?;
        Ok(Lock { _file: file })
    }

    /// Starts writing the entry `key`, whose [`Lock`] the caller holds.
    ///
    /// # Errors
    /// [`Error`] when the draft's folder cannot be made.
    pub fn draft(&self, key: &str) -> Result<Draft, Error> {
        let sweep_path = self.root.join("sweep");
        let sweep = lock_file(&sweep_path)?;
        rustix::fs::flock(&sweep, FlockOperation::LockShared)
            .map_err(|error| context("lock", &sweep_path)(error.into()))?;
        let tmp = self.root.join("tmp");
        let folder = tempfile::Builder::new()
            .prefix("draft-")
            .tempdir_in(&tmp)
            .map_err(context("write to", &tmp))?
            .keep();
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(context("write to", &path))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)
            .map_err(|error| context("lock", &path)(error.into()))?;
        Ok(Draft {
            folder,
            target: self.entry(key),
            _lock: lock,
        })
    }

    /// Removes the entry that `path` is or lies in, so that it is made again.
    ///
    /// # Errors
    /// [`Error`] when the entry is there and cannot be removed.
    pub fn evict(&self, path: &Path) -> Result<(), Error> {
        let layers = self.root.join("layers");
        let name = path
            .strip_prefix(&layers)
            .ok()
            .and_then(|rest| rest.components().next());
        let Some(name) = name else { return Ok(()) };
        let entry = layers.join(name);
        match fs::remove_dir_all(&entry) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(context("remove from", &entry)(error))
            }
            _ => Ok(()),
        }
    }
}

/// A file that is there to be locked.
fn lock_file(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(context("lock", path))
}

impl Draft {
    /// Where the entry's files are to be written.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the draft the entry; answers its folder.
    ///
    /// # Errors
    /// [`Error`] when the rename fails.
    pub fn commit(self) -> Result<PathBuf, Error> {
        let lock = self.folder.join("lock");
        fs::remove_file(&lock).map_err(context("write to", &lock))?;
        if self.target.exists() {
            fs::remove_dir_all(&self.target).map_err(context("replace in", &self.target))?;
        }
        fs::rename(&self.folder, &self.target).map_err(context("write to", &self.target))?;
        Ok(self.target.clone())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a commit the folder is gone; before one it must go.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_appears_only_by_commit() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let _lock = cache.lock("k").unwrap();
        let draft = cache.draft("k").unwrap();
        fs::write(draft.folder().join("data"), "x").unwrap();
        assert_eq!(cache.find("k"), None);
        drop(draft);
        assert_eq!(
            fs::read_dir(folder.path().join("v1/tmp")).unwrap().count(),
            0
        );
        let draft = cache.draft("k").unwrap();
        fs::write(draft.folder().join("data"), "x").unwrap();
        let entry = draft.commit().unwrap();
        assert_eq!(cache.find("k").unwrap(), entry);
        assert_eq!(fs::read_dir(&entry).unwrap().count(), 1);
        cache.evict(&entry.join("data")).unwrap();
        assert_eq!(cache.find("k"), None);
    }

    #[test]
    fn opening_removes_the_drafts_of_dead_writers_only() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let alive = cache.draft("k").unwrap();
        let dead = folder.path().join("v1/tmp/9-9");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("lock"), "").unwrap();
        let unlocked = folder.path().join("v1/tmp/8-8");
        fs::create_dir(&unlocked).unwrap();
        Cache::open(folder.path()).unwrap();
        assert!(alive.folder().exists() && !dead.exists() && !unlocked.exists());
    }

    #[test]
    fn a_piece_is_what_was_kept_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        assert_eq!(cache.piece("k"), None);
        cache.keep_piece("k", b"bytes").unwrap();
        assert_eq!(cache.piece("k").unwrap(), b"bytes");
        assert_eq!(
            fs::read_dir(folder.path().join("v1/tmp")).unwrap().count(),
            0
        );
        let path = folder.path().join("v1/pieces/k");
        for damaged in [&b"short"[..], &[b"Bytes", &[7; 32][..]].concat()] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(cache.piece("k"), None);
        }
    }

    #[test]
    fn a_second_writer_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let lock = cache.lock("k").unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _second = cache.lock("k").unwrap();
                tell.send(cache.find("k").is_some()).unwrap();
            });
            cache.draft("k").unwrap().commit().unwrap();
            drop(lock);
            assert!(told.recv().unwrap());
        });
    }
}
