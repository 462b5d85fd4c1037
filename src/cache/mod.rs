//! The content-addressed cache: entries appear whole or not at all, and go the same way.
//!
//! ```text
//! DIR/v1/layers/KEY/              a converted layer
//! DIR/v1/blobs/sha256/HEX         a compressed layer, where the user wants them kept
//! DIR/v1/documents/sha256/HEX     an index, a manifest, a config
//! DIR/v1/pieces/KEY               a small result that costs time, its BLAKE3 hash behind it
//! DIR/v1/tmp/NAME/                being written or removed; a living writer holds its lock
//! DIR/v1/locks/KEY                held while KEY is made or removed: two builds share the work
//! ```
//!
//! The `v1` is this format's version: another one lies beside it, counted and never read.
//!
//! - A writer makes a [`Draft`] and renames it. Killed at any moment, it leaves a folder in `tmp/`
//!   whose lock is free, which the next one sweeps.
//! - A reader has a shared lock on what it uses ([`Entry`], an open blob). [`Cache::gc`] removes
//!   only what it can lock alone, and takes it out by one rename, so that even a reader whose
//!   file system knows no locks keeps the files that it has open.
//! - Small files are checked by whoever loads them, a layer's slabs when they are copied, a blob
//!   when it is converted. So what a power cut or a flipped bit left is found, removed and made
//!   again; [`Cache::discard`] does the removing.
//! - The modification time of a folder or file is when it was last used.
//! - Modes are what the user's umask leaves. What another user made and this one may not read is
//!   as good as absent, and what may not be replaced stays. Whoever may write here is trusted:
//!   the checks find damage, not malice.

mod draft;
mod entry;
mod error;
mod file;
mod gc;
mod list;
mod lock;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use draft::Draft;
pub use entry::Entry;
pub use error::{Error, NO_ROOM};
pub use file::BlobDraft;
pub use gc::{Collected, DEFAULT_LIMIT, Policy};
pub use list::{Kind, Listed};
pub use lock::Lock;

use error::{context, is_denied};

/// Versions that differ share a folder without meeting.
const FORMAT: u32 = 1;

/// A cache folder.
#[derive(Clone, Debug)]
pub struct Cache {
    top: PathBuf,
    folders: Folders,
}

/// The folders of this format.
#[derive(Clone, Debug)]
struct Folders {
    root: PathBuf,
    layers: PathBuf,
    pieces: PathBuf,
    documents: PathBuf,
    blobs: PathBuf,
    tmp: PathBuf,
    locks: PathBuf,
}

impl Folders {
    fn of(top: &Path) -> Self {
        let root = top.join(format!("v{FORMAT}"));
        Self {
            layers: root.join("layers"),
            pieces: root.join("pieces"),
            documents: root.join("documents/sha256"),
            blobs: root.join("blobs/sha256"),
            tmp: root.join("tmp"),
            locks: root.join("locks"),
            root,
        }
    }

    fn make(&self) -> Result<(), Error> {
        for path in [
            &self.layers,
            &self.pieces,
            &self.documents,
            &self.blobs,
            &self.tmp,
            &self.locks,
        ] {
            match fs::create_dir_all(path) {
                // A cache that may only be read still serves what it has.
                Err(error) if is_denied(&error) && self.root.is_dir() => {}
                made => made.map_err(context("open", path))?,
            }
        }
        Ok(())
    }
}

impl Cache {
    /// The cache at `folder`, as it is: to look at, or to use where it exists.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self {
            top: folder.to_owned(),
            folders: Folders::of(folder),
        }
    }

    /// Opens the cache at `folder`, making what is missing and removing what dead writers left.
    ///
    /// # Errors
    /// [`Error`] when the folder cannot be made or read.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let cache = Self::at(folder);
        cache.folders.make()?;
        cache.sweep()?;
        Ok(cache)
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.top
    }

    fn folders(&self) -> &Folders {
        &self.folders
    }

    fn sweep(&self) -> Result<(), Error> {
        match draft::sweep(&self.folders.tmp) {
            Err(error) if is_denied(&error) || error.kind() == io::ErrorKind::NotFound => Ok(()),
            swept => swept.map_err(context("read", &self.folders.tmp)),
        }
    }

    fn layer(&self, key: &str) -> PathBuf {
        self.folders.layers.join(key)
    }

    /// The finished layer `key`, if there is one that this user may read, in use from now on.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<Entry> {
        let entry = Entry::hold(self.layer(key)).ok()??;
        entry.touch();
        Some(entry)
    }

    /// Waits until nobody else makes or removes `key`.
    ///
    /// # Errors
    /// [`Error`] when the lock file cannot be opened or locked.
    pub fn lock(&self, key: &str) -> Result<Lock, Error> {
        Lock::wait(&self.folders.locks.join(key))
    }

    /// Starts writing the layer `key`, whose [`Lock`] the caller holds.
    ///
    /// # Errors
    /// [`Error`] when the draft's folder cannot be made.
    pub fn draft(&self, key: &str) -> Result<Draft, Error> {
        self.draft_at(self.layer(key))
    }

    fn draft_at(&self, target: PathBuf) -> Result<Draft, Error> {
        Draft::begin(&self.folders.tmp, target)
    }

    /// Removes a layer that was found damaged, whose [`Lock`] the caller holds, so that it is made
    /// again. Answers false when another one is in its place by now, or it is another user's and
    /// stays.
    ///
    /// # Errors
    /// [`Error`] when it cannot be removed.
    pub fn discard(&self, entry: &Entry, _lock: &Lock) -> Result<bool, Error> {
        if !entry.is_in_place() {
            return Ok(false);
        }
        match draft::retire(entry.folder(), &self.folders.tmp) {
            Err(error) if is_denied(&error) => Ok(false),
            retired => retired.map_err(context("remove from", entry.folder())),
        }
    }
}

#[cfg(test)]
mod tests;
