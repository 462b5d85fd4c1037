//! flock(2) on files and folders: the kernel releases it when its holder ends, however that ends.
//!
//! A file of another user serves as a lock as long as it is readable. One that is not costs shared
//! work, never a wrong entry.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::error::{Error, context, is_denied};

/// Held while an entry is made or removed; released when dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// None where there is none, or another user's modes forbid it: then nothing is waited for.
    file: Option<File>,
}

impl Lock {
    /// Waits until nobody else has the lock at `path`.
    pub(super) fn wait(path: &Path) -> Result<Self, Error> {
        loop {
            let file = match lock_file(path) {
                Err(error) if is_denied(&error) => None,
                opened => Some(opened.map_err(context("lock", path))?),
            };
            if let Some(file) = &file {
                flock(file, FlockOperation::LockExclusive).map_err(context("lock", path))?;
                // Whoever had it may have removed it.
                if !is_at(file, path) {
                    continue;
                }
            }
            let path = path.to_owned();
            return Ok(Self { path, file });
        }
    }

    /// The lock at `path`, unless somebody else has it or it cannot be had. Where there is no file,
    /// nobody can have it, and none is made.
    pub(super) fn try_now(path: &Path) -> Option<Self> {
        let file = match open_to_lock(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => {
                let file = opened.ok()?;
                flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
                Some(file).filter(|file| is_at(file, path))
            }
        };
        let path = path.to_owned();
        Some(Self { path, file })
    }

    /// Removes the file; those who wait for it notice.
    pub(super) fn remove(self) {
        if self.file.is_some() {
            // One that stays is in nobody's way.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    // Linux refuses O_CREAT for another user's file in a sticky folder, though it is there.
    open_to_lock(path).or_else(|_| {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(rustix::fs::open(path, flags, Mode::from_raw_mode(0o666))?.into())
    })
}

/// Opens a file to lock it alone: for writing where that is allowed, since NFS asks for it.
pub(super) fn open_to_lock(path: &Path) -> io::Result<File> {
    let open = |access| {
        let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::open(path, flags, Mode::empty())
    };
    Ok(open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY))?.into())
}

/// Opens a folder, and nothing else, to lock it.
pub(super) fn open_folder(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

pub(super) fn flock(file: &File, operation: FlockOperation) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| {
        rustix::fs::flock(file, operation)
    })?)
}

/// True when `path` still names what is open.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}

/// Notes that an entry was used: its modification time is when.
pub(super) fn touch(file: &File) {
    let now = rustix::fs::Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    // Both times, and both now: that much is allowed to whoever may write, not only to the owner
    // (utimensat(2)). Where it is not allowed, the entry ages; nothing depends on it.
    let _ = rustix::fs::futimens(
        file,
        &rustix::fs::Timestamps {
            last_access: now,
            last_modification: now,
        },
    );
}
