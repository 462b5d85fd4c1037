//! Where an extent's bytes come from: memory, a file in the cache, or parts of these.

use std::fmt;
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

#[derive(Clone)]
enum Bytes {
    Memory(Arc<Vec<u8>>),
    File(Arc<CachedFile>),
    /// Parts and where each begins, ascending, never overlapping; the rest is zeros.
    Parts(Arc<[(u64, Blob)]>),
    /// Anything else that can be read.
    Other(Arc<dyn ReadAt>),
}

impl fmt::Debug for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(_) => formatter.write_str("Memory"),
            Self::File(file) => formatter.debug_tuple("File").field(&file.path).finish(),
            Self::Parts(parts) => formatter.debug_tuple("Parts").field(parts).finish(),
            Self::Other(_) => formatter.write_str("Other"),
        }
    }
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
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::bytes_with_digests(bytes, Vec::new())
    }

    /// Bytes in memory whose slabs' digests are known.
    #[must_use]
    pub fn bytes_with_digests(bytes: impl Into<Vec<u8>>, digests: Vec<SlabDigests>) -> Self {
        let bytes = Arc::new(bytes.into());
        Self {
            len: bytes.len() as u64,
            bytes: Bytes::Memory(bytes),
            start: 0,
            digests: digests.into(),
        }
    }

    /// Whatever can be read, whole, of which nothing is known.
    #[must_use]
    pub fn of(source: Arc<dyn ReadAt>) -> Self {
        Self {
            len: source.len(),
            bytes: Bytes::Other(source),
            start: 0,
            digests: Arc::new([]),
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

    /// `parts`, one behind the other, then zeros up to `len` bytes, with the digests of each of its
    /// slabs (or none). None when the parts are longer.
    #[must_use]
    pub fn joined(parts: Vec<Self>, len: u64, digests: Vec<SlabDigests>) -> Option<Self> {
        let mut end = 0u64;
        let mut placed = Vec::with_capacity(parts.len());
        for part in parts {
            let start = end;
            end = end.checked_add(part.len)?;
            placed.push((start, part));
        }
        (end <= len).then(|| Self {
            bytes: Bytes::Parts(placed.into()),
            start: 0,
            len,
            digests: digests.into(),
        })
    }

    /// The same bytes, of whose slabs these are the digests.
    #[must_use]
    pub fn with_digests(self, digests: Vec<SlabDigests>) -> Self {
        let digests = digests.into();
        Self { digests, ..self }
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

    /// The file behind the blob, or behind its first part, when there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.bytes {
            Bytes::Memory(_) | Bytes::Other(_) => None,
            Bytes::File(cached) => Some(&cached.path),
            Bytes::Parts(parts) => parts.first()?.1.path(),
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
            Bytes::Memory(bytes) => ReadAt::read_exact_at(bytes.as_slice(), buf, offset),
            Bytes::File(cached) => cached.file.read_exact_at(buf, offset).map_err(|error| {
                let path = cached.path.display();
                io::Error::new(error.kind(), format!("read {path} at {offset}: {error}"))
            }),
            Bytes::Parts(parts) => read_parts(parts, buf, offset),
            Bytes::Other(source) => source.read_exact_at(buf, offset),
        }
    }
}

fn read_parts(parts: &[(u64, Blob)], buf: &mut [u8], offset: u64) -> io::Result<()> {
    let end = offset + buf.len() as u64;
    buf.fill(0);
    let first = parts.partition_point(|(start, part)| start + part.len <= offset);
    for (start, part) in parts.get(first..).unwrap_or_default() {
        if *start >= end {
            break;
        }
        let from = offset.max(*start);
        let to = end.min(start + part.len);
        let range = super::usize_range(from - offset, to - offset)?;
        let here = buf.get_mut(range).ok_or(io::ErrorKind::UnexpectedEof)?;
        part.read_exact_at(here, from - start)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_parts_read_as_one_and_end_in_zeros() {
        let part = |bytes: &[u8]| Blob::bytes(bytes);
        let parts = vec![part(b"ab"), part(b"cdefg").part(1, 3).unwrap(), part(b"h")];
        assert!(Blob::joined(parts.clone(), 5, Vec::new()).is_none());
        let blob = Blob::joined(parts, 8, Vec::new()).unwrap();
        let expected = b"abdefh\0\0";
        for from in 0..8 {
            for to in from..=8 {
                let mut read = vec![9; to - from];
                blob.read_exact_at(&mut read, from as u64).unwrap();
                assert_eq!(read, expected[from..to]);
            }
        }
        assert!(blob.read_exact_at(&mut [0], 8).is_err());
    }
}
