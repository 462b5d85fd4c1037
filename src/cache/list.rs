//! What the cache holds.

use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::error::{Error, context, is_denied};
use super::{Cache, Entry, FORMAT, file};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A converted layer.
    Layer,
    /// A layer's compressed bytes.
    Blob,
    /// An index, a manifest, a config.
    Document,
    /// A small result that costs time.
    Piece,
    /// The whole folder of another format of the cache.
    Format,
}

/// An entry, as it was when it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What it is.
    pub kind: Kind,
    /// Its key; `sha256:…` of what is named by its digest.
    pub key: String,
    /// Bytes that it takes on the file system.
    pub size: u64,
    /// When it was last used.
    pub last_used: SystemTime,
    /// Where it lies.
    pub path: PathBuf,
}

impl Cache {
    /// All entries, those that went meanwhile left out, by kind and key.
    ///
    /// # Errors
    /// [`Error`] when a folder cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let folders = self.folders();
        let mut out = Vec::new();
        for (kind, folder) in [
            (Kind::Layer, &folders.layers),
            (Kind::Blob, &folders.blobs),
            (Kind::Document, &folders.documents),
            (Kind::Piece, &folders.pieces),
        ] {
            out.extend(read(folder)?.iter().filter_map(|one| listed(kind, one)));
        }
        let others = read(&self.top)?;
        out.extend(others.iter().filter_map(other_format));
        out.sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
        Ok(out)
    }

    /// Bytes that are being written, or that dead writers left.
    ///
    /// # Errors
    /// [`Error`] when the folder cannot be read.
    pub fn unfinished(&self) -> Result<u64, Error> {
        let drafts = read(&self.folders().tmp)?;
        Ok(drafts.iter().map(|one| tree(&one.path(), 2).0).sum())
    }

    /// Holds a listed layer without noting a use; None when it is gone.
    ///
    /// # Errors
    /// What opening its folder answers.
    pub fn hold(&self, layer: &Listed) -> io::Result<Option<Entry>> {
        Entry::hold(layer.path.clone())
    }

    /// Reads all of a listed entry that is one file; answers whether it is what was kept.
    ///
    /// # Errors
    /// What reading it answers.
    pub fn file_is_sound(&self, listed: &Listed) -> io::Result<bool> {
        match listed.kind {
            Kind::Piece => file::piece_is_sound(&listed.path),
            _ => file::digest_is_right(&listed.path),
        }
    }

    /// Removes a listed entry of one file that was found damaged; answers whether it could be.
    #[must_use]
    pub fn discard_file(&self, listed: &Listed) -> bool {
        fs::remove_file(&listed.path).is_ok()
    }
}

/// A folder's entries; none where there is no folder or it is another user's.
fn read(folder: &Path) -> Result<Vec<DirEntry>, Error> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound || is_denied(&error) => {
            Ok(Vec::new())
        }
        entries => Ok(entries
            .map_err(context("read", folder))?
            .filter_map(Result::ok)
            .collect()),
    }
}

fn listed(kind: Kind, entry: &DirEntry) -> Option<Listed> {
    let (path, metadata) = (entry.path(), entry.metadata().ok()?);
    let name = entry.file_name().to_string_lossy().into_owned();
    let (is_folder, key) = match kind {
        Kind::Layer => (true, name),
        Kind::Blob | Kind::Document => (false, format!("sha256:{name}")),
        Kind::Piece | Kind::Format => (false, name),
    };
    (metadata.is_dir() == is_folder).then(|| Listed {
        kind,
        key,
        size: tree(&path, 1).0,
        last_used: modified(&metadata),
        path,
    })
}

/// The folder `vN` of another format.
fn other_format(entry: &DirEntry) -> Option<Listed> {
    let key = entry.file_name().to_str()?.to_owned();
    let version: u32 = key.strip_prefix('v')?.parse().ok()?;
    let path = entry.path();
    (version != FORMAT && path.is_dir()).then(|| {
        let (size, last_used) = tree(&path, usize::MAX);
        Listed {
            kind: Kind::Format,
            key,
            size,
            last_used,
            path,
        }
    })
}

/// The version of a format's folder.
pub(super) fn version(format: &Listed) -> Option<u32> {
    format.key.strip_prefix('v')?.parse().ok()
}

/// Bytes that a tree takes, and its latest modification; what cannot be read counts nothing.
fn tree(path: &Path, depth: usize) -> (u64, SystemTime) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return (0, SystemTime::UNIX_EPOCH);
    };
    // Some file systems keep a small file in its inode, in no block.
    let size = (metadata.blocks() * 512).max(metadata.len().min(4096));
    let mut total = (size, modified(&metadata));
    if metadata.is_dir() && depth > 0 {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let (size, last) = tree(&entry.path(), depth - 1);
            total = (total.0 + size, total.1.max(last));
        }
    }
    total
}

fn modified(metadata: &Metadata) -> SystemTime {
    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}
