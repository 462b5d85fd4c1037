//! What is being written: a folder in `tmp/`, locked by its writer, that becomes an entry by one
//! rename. One whose writer died is no longer locked, which is how it is told.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::entry::Entry;
use super::error::{Error, context, is_denied};
use super::lock::{flock, is_at, open_folder};

/// An entry being written. Dropped before [`Draft::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Draft {
    folder: PathBuf,
    target: PathBuf,
    /// Taken when the draft becomes an entry.
    lock: Option<File>,
}

impl Draft {
    /// Begins a draft in `tmp` of what is to lie at `target`.
    pub(super) fn begin(tmp: &Path, target: PathBuf) -> Result<Self, Error> {
        let write = || context("write to", tmp);
        loop {
            // With the mode that the user's umask leaves, as a private cache and a shared one ask.
            let folder = tempfile::Builder::new()
                .prefix("draft-")
                .permissions(Permissions::from_mode(0o777))
                .tempdir_in(tmp)
                .map_err(write())?
                .keep();
            let lock = match open_folder(&folder) {
                // Swept before it was locked.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(write())?,
            };
            flock(&lock, FlockOperation::LockExclusive).map_err(write())?;
            if is_at(&lock, &folder) {
                let lock = Some(lock);
                return Ok(Self {
                    folder,
                    target,
                    lock,
                });
            }
        }
    }

    /// Where the entry's files are to be written.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it is to lie.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Makes the draft the entry, in use by the caller. Where another user's entry lies in its
    /// place and may not be moved, the entry stays where it is, the caller's own: no longer held, it
    /// is swept.
    ///
    /// # Errors
    /// [`Error`] when the rename fails.
    pub fn commit(mut self) -> Result<Entry, Error> {
        let placed = self.place();
        let Some(lock) = self.lock.take() else {
            return Err(context("write to", &self.target)(
                io::ErrorKind::NotFound.into(),
            ));
        };
        match placed {
            Ok(()) => {
                // The caller has the key's lock, so nobody removes it between the two locks.
                flock(&lock, FlockOperation::LockShared).map_err(context("lock", &self.target))?;
                Ok(Entry::at(self.target.clone(), lock))
            }
            Err(error) if is_denied(&error) => Ok(Entry::at(self.folder.clone(), lock)),
            Err(error) => {
                self.lock = Some(lock);
                Err(context("write to", &self.target)(error))
            }
        }
    }

    fn place(&self) -> io::Result<()> {
        match self.folder.parent() {
            Some(tmp) => retire(&self.target, tmp)?,
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        fs::rename(&self.folder, &self.target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // What cannot be removed now is swept later.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Takes the folder `path` out of its place by one rename, then deletes it: readers that have its
/// files open keep them, and a process that dies meanwhile leaves only what is swept. Answers
/// whether there was anything. No folder is made for it, since the file system may be full.
pub(super) fn retire(path: &Path, tmp: &Path) -> io::Result<bool> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for number in 0..64 {
        let grave = tmp.join(format!("evicted-{number}-{name}"));
        match fs::rename(path, &grave) {
            Ok(()) => {
                let _ = fs::remove_dir_all(&grave);
                return Ok(true);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            // Somebody else is deleting one of the same name.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::DirectoryNotEmpty.into())
}

/// Removes from `tmp` what dead writers and dead removers left.
pub(super) fn sweep(tmp: &Path) -> io::Result<()> {
    for left in fs::read_dir(tmp)?.filter_map(Result::ok) {
        let path = left.path();
        let Ok(lock) = open_folder(&path) else {
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // What cannot be removed stands in nobody's way.
            let _ = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}
