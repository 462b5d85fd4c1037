//! Where an extent's bytes come from: memory, or a file in the cache.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use i2kit_format::ReadAt;

use super::SlabDigests;

/// Bytes that extents point to, with what is already known of their slabs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blob {
    bytes: Bytes,
    start: u64,
    len: u64,
    digests: Arc<[SlabDigests]>,
}

#[derive(Clone, Debug)]
enum Bytes {
    Memory(Arc<[u8]>),
    File(Arc<CachedFile>),
}

#[derive(Debug)]
struct CachedFile {
    file: File,
    path: PathBuf,
}

/// A file that cannot be opened as a blob.
#[derive(Debug, thiserror::Error)]
#[error("open {path}: {source}")]
pub struct BlobError {
    path: PathBuf,
    source: io::Error,
}

impl From<BlobError> for io::Error {
    /// The system's answer.
    fn from(error: BlobError) -> Self {
        error.source
    }
}

impl Blob {
    /// Bytes in memory of which nothing is known.
    #[must_use]
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::bytes_with_digests(bytes, Vec::new())
    }

    /// Bytes in memory whose slabs' digests are known.
    #[must_use]
    pub fn bytes_with_digests(bytes: impl Into<Arc<[u8]>>, digests: Vec<SlabDigests>) -> Self {
        let bytes = bytes.into();
        Self {
            len: bytes.len() as u64,
            bytes: Bytes::Memory(bytes),
            start: 0,
            digests: digests.into(),
        }
    }

    /// A file, whole, with the digests of each of its slabs (or none).
    ///
    /// # Errors
    /// [`BlobError`] when the file cannot be opened.
    pub fn file(path: &Path, digests: Vec<SlabDigests>) -> Result<Self, BlobError> {
        let context = |source| BlobError {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(context)?;
        let len = file.metadata().map_err(context)?.len();
        let cached = CachedFile {
            file,
            path: path.to_owned(),
        };
        Ok(Self {
            bytes: Bytes::File(Arc::new(cached)),
            start: 0,
            len,
            digests: digests.into(),
        })
    }

    /// The bytes `start..start + len`, or `None` when they run past the end. What is known of
    /// slabs is not taken along.
    #[must_use]
    pub fn part(&self, start: u64, len: u64) -> Option<Self> {
        let end = start.checked_add(len)?;
        (end <= self.len).then(|| Self {
            bytes: self.bytes.clone(),
            start: self.start + start,
            len,
            digests: Arc::new([]),
        })
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True when there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Digests of the blob's slab `index`, when known.
    #[must_use]
    pub fn slab_digests(&self, index: u64) -> Option<SlabDigests> {
        self.digests.get(usize::try_from(index).ok()?).copied()
    }

    /// The file behind the blob, when there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.bytes {
            Bytes::Memory(_) => None,
            Bytes::File(cached) => Some(&cached.path),
        }
    }
}

impl ReadAt for Blob {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if offset
            .checked_add(buf.len() as u64)
            .is_none_or(|end| end > self.len)
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let offset = self.start + offset;
        match &self.bytes {
            Bytes::Memory(bytes) => ReadAt::read_exact_at(&**bytes, buf, offset),
            Bytes::File(cached) => cached.file.read_exact_at(buf, offset).map_err(|error| {
                let path = cached.path.display();
                io::Error::new(error.kind(), format!("read {path} at {offset}: {error}"))
            }),
        }
    }
}
