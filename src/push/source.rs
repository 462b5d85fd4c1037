//! What is pushed: a disk's blocks, and what is known of them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use i2kit_format::{ReadAt, SLAB};
use rustix::fs::SeekFrom;
use sha2::{Digest as _, Sha256};

use crate::disk::{Disk, SlabDigest, Slabs};

/// Bytes of a block, in memory.
pub(super) const BLOCK_LEN: usize = 512 * 1024;
const _: () = assert!(BLOCK_LEN as u64 == SLAB);

/// A disk that can be pushed. Its slabs are the snapshot's blocks.
pub trait Source: ReadAt {
    /// The slabs that may hold something, ascending: all others are zeros.
    ///
    /// # Errors
    /// [`SourceError`] when that cannot be told.
    fn written_slabs(&self) -> Result<Vec<u64>, SourceError>;

    /// The SHA-256 of a slab whose `bytes` were just read, zeros behind a short last one. What is
    /// known already is not computed again, but checked.
    ///
    /// # Errors
    /// [`SourceError::Altered`] when the bytes are not those that are known.
    fn digest(&self, slab: u64, bytes: &[u8]) -> Result<SlabDigest, SourceError>;
}

/// A disk that cannot be read as it was built.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be opened or searched for holes.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A block cannot be read.
    #[error("read block {block} of the disk: {source}")]
    Read {
        /// Its number.
        block: u32,
        /// The system's answer.
        source: io::Error,
    },
    /// A block's bytes are not those that were hashed when it was made.
    #[error("check slab {slab} of the disk: {path} was altered since it was written")]
    Altered {
        /// Slab index on the disk.
        slab: u64,
        /// The file that holds it.
        path: PathBuf,
    },
}

impl SourceError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Altered { .. } => Some(
                "build the disk again; for a file of the cache, i2kit cache verify removes it first"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl Source for Disk {
    fn written_slabs(&self) -> Result<Vec<u64>, SourceError> {
        Ok(Self::written_slabs(self).collect())
    }

    fn digest(&self, slab: u64, bytes: &[u8]) -> Result<SlabDigest, SourceError> {
        match self.known_digests(slab) {
            None => Ok(Sha256::digest(bytes).into()),
            Some(known) if known.match_bytes(bytes) => Ok(known.sha256),
            Some(_) => Err(SourceError::Altered {
                slab,
                path: self
                    .file_at(slab * SLAB)
                    .unwrap_or(Path::new("memory"))
                    .to_owned(),
            }),
        }
    }
}

/// A raw file, perhaps with its record's digests.
#[derive(Debug)]
pub struct RawDisk {
    file: File,
    path: PathBuf,
    len: u64,
    record: Option<Slabs>,
}

impl RawDisk {
    /// Opens the file at `path`. `record` has the digests of all its slabs that are not zero.
    ///
    /// # Errors
    /// [`SourceError::File`].
    pub fn open(path: &Path, record: Option<Slabs>) -> Result<Self, SourceError> {
        let failed = |source| failed("open", path, source);
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let path = path.to_owned();
        Ok(Self {
            file,
            path,
            len,
            record,
        })
    }

    /// The slabs in which the file has no hole.
    fn data_slabs(&self) -> io::Result<Vec<u64>> {
        let mut slabs = Vec::new();
        let (mut at, mut next) = (0, 0);
        while at < self.len {
            let data = match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
                // Nothing but a hole follows.
                Err(rustix::io::Errno::NXIO) => break,
                found => found?,
            };
            let hole = rustix::fs::seek(&self.file, SeekFrom::Hole(data))?;
            next = (data / SLAB).max(next);
            let end = hole.div_ceil(SLAB);
            slabs.extend(next..end);
            next = end.max(next);
            at = hole.max(data + 1);
        }
        Ok(slabs)
    }
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> SourceError {
    SourceError::File {
        operation,
        path: path.to_owned(),
        source,
    }
}

impl ReadAt for RawDisk {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

impl Source for RawDisk {
    fn written_slabs(&self) -> Result<Vec<u64>, SourceError> {
        match &self.record {
            Some(slabs) => Ok(slabs.keys().copied().collect()),
            None => {
                let slabs = self.data_slabs();
                slabs.map_err(|source| failed("find the holes of", &self.path, source))
            }
        }
    }

    fn digest(&self, slab: u64, bytes: &[u8]) -> Result<SlabDigest, SourceError> {
        let digest: SlabDigest = Sha256::digest(bytes).into();
        let is_known = match self.record.as_ref().map(|slabs| slabs.get(&slab)) {
            None => true,
            Some(Some(known)) => *known == digest,
            Some(None) => bytes.iter().all(|byte| *byte == 0),
        };
        is_known
            .then_some(digest)
            .ok_or_else(|| SourceError::Altered {
                slab,
                path: self.path.clone(),
            })
    }
}

/// A block that was read, whole: zeros follow the disk's end.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub index: u32,
    pub data: Bytes,
    pub sha256: SlabDigest,
}

impl Block {
    /// Reads and hashes it.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn read(source: &dyn Source, index: u32) -> Result<Self, SourceError> {
        let data = bytes_of(source, index)?;
        let sha256 = source.digest(index.into(), &data)?;
        let data = Bytes::from(data);
        Ok(Self {
            index,
            data,
            sha256,
        })
    }
}

/// The bytes of a block, whole: zeros follow the disk's end.
///
/// # Errors
/// [`SourceError::Read`].
fn bytes_of(disk: &dyn ReadAt, block: u32) -> Result<Vec<u8>, SourceError> {
    let mut data = vec![0; BLOCK_LEN];
    let offset = u64::from(block) * SLAB;
    let there = usize::try_from(disk.len().saturating_sub(offset)).unwrap_or(usize::MAX);
    let there = data.get_mut(..there.min(BLOCK_LEN)).unwrap_or_default();
    if !there.is_empty() {
        let read = disk.read_exact_at(there, offset);
        read.map_err(|source| SourceError::Read { block, source })?;
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Blob, Builder, SlabDigests};

    #[test]
    fn what_the_cache_knows_is_checked_and_not_computed() {
        let mut known = SlabDigests::of(&[3; BLOCK_LEN]);
        known.sha256 = [9; 32];
        let other = SlabDigests::of(&[4; BLOCK_LEN]);
        let blob = Blob::bytes_with_digests(vec![3; 2 * BLOCK_LEN], vec![known, other]);
        let mut builder = Builder::new();
        builder.place(SLAB, blob).unwrap();
        builder.place(3 * SLAB, Blob::bytes(vec![7; 10])).unwrap();
        let disk = builder.finish(0);
        assert_eq!(Block::read(&disk, 1).unwrap().sha256, [9; 32]);
        let error = Block::read(&disk, 2).unwrap_err();
        assert!(
            matches!(error, SourceError::Altered { slab: 2, .. }),
            "{error}"
        );
        let short = Block::read(&disk, 3).unwrap();
        assert_eq!(
            (short.data.len(), short.data[9], short.data[10]),
            (BLOCK_LEN, 7, 0)
        );
        assert_eq!(short.sha256, <[u8; 32]>::from(Sha256::digest(&short.data)));
        assert!(
            Block::read(&disk, 9)
                .unwrap()
                .data
                .iter()
                .all(|byte| *byte == 0)
        );
    }

    #[test]
    fn a_raw_file_is_what_its_record_says_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.raw");
        let file = File::create(&path).unwrap();
        file.set_len(10 * SLAB + 5).unwrap();
        file.write_all_at(&[1; 3], 4 * SLAB - 1).unwrap();
        let plain = RawDisk::open(&path, None).unwrap();
        assert_eq!(plain.written_slabs().unwrap(), [3, 4]);
        let digest = Block::read(&plain, 3).unwrap().sha256;
        let raw = RawDisk::open(&path, Some(Slabs::from([(3, digest)]))).unwrap();
        assert_eq!(raw.written_slabs().unwrap(), [3]);
        assert_eq!(Block::read(&raw, 3).unwrap().sha256, digest);
        assert!(Block::read(&raw, 10).is_ok());
        assert!(Block::read(&raw, 4).unwrap_err().hint().is_some());
    }
}
