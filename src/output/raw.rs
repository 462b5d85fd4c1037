//! The raw sink: a sparse file, written beside its target, fsynced, renamed.
//!
//! Every slab is hashed as it passes; one whose digests the cache knows must match them, so a
//! flipped bit in the cache never becomes a disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use i2kit_format::{BLOCK, ReadAt, SLAB};
use sha2::{Digest, Sha256};

use super::{Beside, BesideError};
use crate::disk::{Disk, SlabDigest, Slabs};

/// How many neighbouring slabs a worker takes at once, so that writes stay sequential.
const BATCH: usize = 8;

/// Why a raw disk was not written. Nothing is left at the target but what was there before.
#[derive(Debug, thiserror::Error)]
pub enum RawError {
    /// The target cannot be created, written or renamed.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The target exists and is no regular file.
    #[error("write {path}: exists and is not a regular file")]
    NotAFile {
        /// The target.
        path: PathBuf,
    },
    /// A source could not be read.
    #[error("read slab {slab} of the disk: {source}")]
    Read {
        /// Slab index on the disk.
        slab: u64,
        /// The system's answer.
        source: io::Error,
    },
    /// A cached file's bytes are not those that were hashed when it was made.
    #[error("check slab {slab} of the disk: {path} was altered in the cache")]
    Altered {
        /// Slab index on the disk.
        slab: u64,
        /// The cached file.
        path: PathBuf,
    },
}

impl From<BesideError> for RawError {
    fn from(error: BesideError) -> Self {
        Self::Io {
            operation: error.operation,
            path: error.path,
            source: error.source,
        }
    }
}

impl RawError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some room, or choose another folder with -o".to_owned())
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("make the folder first, or choose another with -o".to_owned())
            }
            Self::Altered { .. } => Some(
                "the owner of the cache removes it with i2kit cache verify; \
                 or choose another folder with --cache-dir"
                    .to_owned(),
            ),
            Self::NotAFile { .. } => Some("name a file that i2kit may create with -o".to_owned()),
            _ => None,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The plain SHA-256 of each slab that is not all zeros, by index.
    pub slabs: Slabs,
    /// Bytes that were not left as holes.
    pub data_bytes: u64,
}

/// Writes `disk` to `path` with `threads` workers.
///
/// # Errors
/// [`RawError`]; the target is then as it was.
pub fn write_raw(
    disk: &Disk,
    path: &Path,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written, RawError> {
    let io = |operation| {
        move |source| RawError::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    refuse_special(path)?;
    let beside = Beside::create(path)?;
    let file = beside.file();
    file.set_len(disk.len()).map_err(io("size a file beside"))?;
    let written = copy(disk, file, path, threads, progress)?;
    beside.commit()?;
    Ok(written)
}

fn refuse_special(path: &Path) -> Result<(), RawError> {
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(RawError::NotAFile {
            path: path.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// What the workers share.
struct Copy<'a> {
    disk: &'a Disk,
    file: &'a File,
    path: &'a Path,
    slabs: Vec<u64>,
    next: AtomicUsize,
    failed: AtomicBool,
    progress: &'a (dyn Fn(u64) + Sync),
    done: Mutex<Written>,
}

fn copy(
    disk: &Disk,
    file: &File,
    path: &Path,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written, RawError> {
    let copy = Copy {
        disk,
        file,
        path,
        slabs: disk.written_slabs().collect(),
        next: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        progress,
        done: Mutex::new(Written::default()),
    };
    let result = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1))
            .map(|_| scope.spawn(|| copy.work()))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    });
    result?;
    let written = copy.done.into_inner();
    Ok(written.unwrap_or_else(std::sync::PoisonError::into_inner))
}

impl Copy<'_> {
    fn work(&self) -> Result<(), RawError> {
        let mut buffer = vec![0; usize::try_from(SLAB).unwrap_or(usize::MAX)];
        let mut mine = Written::default();
        let result = self.batches(&mut buffer, &mut mine);
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        let mut done = self
            .done
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        done.slabs.append(&mut mine.slabs);
        done.data_bytes += mine.data_bytes;
        result
    }

    fn batches(&self, buffer: &mut [u8], mine: &mut Written) -> Result<(), RawError> {
        while !self.failed.load(Ordering::Relaxed) {
            let first = self.next.fetch_add(BATCH, Ordering::Relaxed);
            let batch: Vec<u64> = self.slabs.iter().copied().skip(first).take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            for slab in &batch {
                self.slab(*slab, buffer, mine)?;
            }
            if let (Some(first), Some(last)) = (batch.first(), batch.last()) {
                self.begin_writeback(first * SLAB, (last + 1) * SLAB);
            }
        }
        Ok(())
    }

    /// Starts writing the range to the device, so that little is left to wait for at the end.
    fn begin_writeback(&self, from: u64, to: u64) {
        // Linux starts writeback of dirty pages before it drops clean ones. It is advice: nothing
        // depends on it, so its answer does not matter.
        let _ = rustix::fs::fadvise(
            self.file,
            from,
            std::num::NonZeroU64::new(to - from),
            rustix::fs::Advice::DontNeed,
        );
    }

    fn slab(&self, slab: u64, buffer: &mut [u8], mine: &mut Written) -> Result<(), RawError> {
        let offset = slab * SLAB;
        let len = usize::try_from(SLAB.min(self.disk.len() - offset)).unwrap_or(0);
        let data = buffer.get_mut(..len).unwrap_or_default();
        self.disk
            .read_exact_at(data, offset)
            .map_err(|source| RawError::Read { slab, source })?;
        let digest = self.digest(slab, data)?;
        let bytes = self.write_blocks(data, offset)?;
        if bytes > 0 {
            mine.slabs.insert(slab, digest);
            mine.data_bytes += bytes;
        }
        (self.progress)(len as u64);
        Ok(())
    }

    /// The slab's SHA-256: the one that is known when the bytes are those it was computed of.
    fn digest(&self, slab: u64, data: &[u8]) -> Result<SlabDigest, RawError> {
        match self.disk.known_digests(slab) {
            None => Ok(Sha256::digest(data).into()),
            Some(known) if known.match_bytes(data) => Ok(known.sha256),
            Some(_) => {
                let path = self
                    .disk
                    .file_at(slab * SLAB)
                    .unwrap_or(self.path)
                    .to_owned();
                Err(RawError::Altered { slab, path })
            }
        }
    }

    /// Writes the runs of blocks that are not zero; answers how many bytes that were.
    fn write_blocks(&self, data: &[u8], offset: u64) -> Result<u64, RawError> {
        let mut written = 0;
        for (start, run) in nonzero_runs(data) {
            self.file
                .write_all_at(run, offset + start)
                .map_err(|source| RawError::Io {
                    operation: "write a file beside",
                    path: self.path.to_owned(),
                    source,
                })?;
            written += run.len() as u64;
        }
        Ok(written)
    }
}

/// The longest runs of 4 KiB blocks that are not all zeros, with their offsets.
#[must_use]
pub fn nonzero_runs(data: &[u8]) -> Vec<(u64, &[u8])> {
    let block = usize::try_from(BLOCK).unwrap_or(usize::MAX);
    let is_zero = |chunk: &[u8]| chunk.iter().all(|byte| *byte == 0);
    let mut runs = Vec::new();
    let mut start = None;
    let mut at = 0;
    for chunk in data.chunks(block) {
        match (is_zero(chunk), start) {
            (false, None) => start = Some(at),
            (true, Some(first)) => {
                runs.push((first, at));
                start = None;
            }
            _ => {}
        }
        at += chunk.len();
    }
    runs.extend(start.map(|first| (first, at)));
    runs.into_iter()
        .filter_map(|(from, to)| Some((from as u64, data.get(from..to)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::disk::{Blob, Builder, SlabDigests};

    const SLAB_LEN: usize = 512 * 1024;

    fn disk(digests: Vec<SlabDigests>) -> Disk {
        let mut builder = Builder::new();
        builder.place(100, Blob::bytes(vec![7; 5])).unwrap();
        let data = vec![3; 2 * SLAB_LEN];
        builder
            .place(2 * SLAB, Blob::bytes_with_digests(data, digests))
            .unwrap();
        builder.finish(100 * SLAB)
    }

    #[test]
    fn the_file_equals_the_disk_and_is_sparse() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.raw");
        let disk = disk(Vec::new());
        let written = write_raw(&disk, &path, 2, &|_| {}).unwrap();
        let mut expected = vec![0; usize::try_from(disk.len()).unwrap()];
        disk.read_exact_at(&mut expected, 0).unwrap();
        assert!(std::fs::read(&path).unwrap() == expected);
        assert_eq!(written.slabs.keys().copied().collect::<Vec<_>>(), [0, 2, 3]);
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 < 4 * SLAB);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_altered_slab_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.raw");
        std::fs::write(&path, "before").unwrap();
        let good = SlabDigests::of(&vec![3; SLAB_LEN]);
        let bad = SlabDigests::of(b"other");
        let error = write_raw(&disk(vec![good, bad]), &path, 2, &|_| {}).unwrap_err();
        assert!(
            matches!(error, RawError::Altered { slab: 3, .. }),
            "{error}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_and_a_directory_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_raw(&disk(Vec::new()), &folder.path().join("no/x"), 1, &|_| {});
        assert!(
            error
                .unwrap_err()
                .hint()
                .unwrap()
                .contains("make the folder")
        );
        let error = write_raw(&disk(Vec::new()), folder.path(), 1, &|_| {}).unwrap_err();
        assert!(matches!(error, RawError::NotAFile { .. }), "{error}");
    }

    #[test]
    fn runs_are_whole_blocks() {
        let mut data = vec![0; 3 * 4096 + 10];
        data[4096] = 1;
        data[3 * 4096] = 1;
        let runs: Vec<_> = nonzero_runs(&data)
            .iter()
            .map(|(at, run)| (*at, run.len()))
            .collect();
        assert_eq!(runs, [(4096, 4096), (3 * 4096, 10)]);
    }
}
