//! A snapshot to a raw file: sparse, written beside its target, each block of the store checked by the
//! hash tree.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use i2kit_format::SLAB;
use tokio::task::spawn_blocking;

use super::cloud::Region;
use super::index::{Content, Index};
use super::progress::Progress;
use super::remote::{Remote, RemoteError};

use crate::output::{Beside, BesideError, nonzero_runs};

pub use super::snapshot_disk::{DiskError, SnapshotDisk};

/// Blocks under way at once: 48 MiB.
const UNDER_WAY: usize = 96;

/// Why there is no file. Nothing is left at the target but what was there before.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The snapshot is no disk of i2kit's, or cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A block cannot be read.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A block is not what the hash tree says.
    #[error("fetch {snapshot}: block {block} does not match the hash tree")]
    Corrupt {
        /// The snapshot.
        snapshot: String,
        /// The block.
        block: u32,
    },
    /// A block that is read was never put.
    #[error("fetch {snapshot}: block {block} was never put, and the disk needs it")]
    Absent {
        /// The snapshot.
        snapshot: String,
        /// The block.
        block: u32,
    },
    /// The file cannot be written.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl From<BesideError> for FetchError {
    fn from(error: BesideError) -> Self {
        Self::File {
            operation: error.operation,
            path: error.path,
            source: error.source,
        }
    }
}

/// A file that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes of the disk.
    pub len: u64,
    /// Blocks that were read.
    pub blocks: u64,
}

/// Writes the disk in a completed snapshot to `path`. Its hash tree must match the root hash, the
/// UKI's where none is given. What nobody reads is zeros in the file, whatever EBS would answer.
///
/// # Errors
/// [`FetchError`]; the target is then as it was.
pub async fn fetch(
    region: &Region,
    snapshot: &str,
    root_hash: Option<[u8; 32]>,
    path: &Path,
    progress: &dyn Progress,
) -> Result<Fetched, FetchError> {
    let disk = SnapshotDisk::open(region, snapshot, root_hash).await?;
    let remote = Arc::clone(disk.remote());
    let index = disk.into_index();
    let index = Arc::new(index.ok_or_else(|| remote.interrupted())?);
    let blocks = needed(&index, &remote)?;
    let beside = Beside::create(path)?;
    let file = beside.file().try_clone();
    let file = file.map_err(|source| failed("open a file beside", path, source))?;
    let sized = file.set_len(index.len);
    sized.map_err(|source| failed("size a file beside", path, source))?;
    let fetch = Arc::new(Fetch {
        remote: Arc::clone(&remote),
        index: Arc::clone(&index),
        file,
        path: path.to_owned(),
    });
    let task = |block| Arc::clone(&fetch).block(block);
    remote.each(&blocks, UNDER_WAY, progress, task).await?;
    let committed = spawn_blocking(move || beside.commit()).await;
    committed.map_err(|_| remote.interrupted())??;
    Ok(Fetched {
        len: index.len,
        blocks: blocks.len() as u64,
    })
}

/// The blocks to read: all that somebody reads, and whatever else was put that may not be zeros.
fn needed(index: &Index, remote: &Remote) -> Result<Vec<u32>, FetchError> {
    let mut blocks = Vec::new();
    for block in 0..index.blocks() {
        let is_there = remote.present().contains(&block);
        match index.content(block) {
            Content::ZeroSlab => {}
            Content::Unread if !is_there => {}
            _ if is_there => blocks.push(block),
            _ => {
                return Err(FetchError::Absent {
                    snapshot: remote.snapshot().to_owned(),
                    block,
                });
            }
        }
    }
    Ok(blocks)
}

/// What the tasks share.
struct Fetch {
    remote: Arc<Remote>,
    index: Arc<Index>,
    file: File,
    path: PathBuf,
}

impl Fetch {
    /// Reads a block, and writes it.
    async fn block(self: Arc<Self>, block: u32) -> Result<(), FetchError> {
        let bytes = self.remote.get(block).await?;
        let remote = Arc::clone(&self.remote);
        let written = spawn_blocking(move || self.write(block, &bytes)).await;
        written.unwrap_or_else(|_| Err(remote.interrupted().into()))
    }

    /// Checks a block, and writes the runs of it that are not zeros.
    fn write(&self, block: u32, bytes: &Bytes) -> Result<(), FetchError> {
        if !self.index.matches(block, bytes) {
            return Err(FetchError::Corrupt {
                snapshot: self.remote.snapshot().to_owned(),
                block,
            });
        }
        let offset = u64::from(block) * SLAB;
        let len = self.index.len.saturating_sub(offset);
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(bytes.len());
        for (at, run) in nonzero_runs(bytes.get(..len).unwrap_or_default()) {
            let written = self.file.write_all_at(run, offset + at);
            written.map_err(|source| failed("write a file beside", &self.path, source))?;
        }
        Ok(())
    }
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> FetchError {
    FetchError::File {
        operation,
        path: path.to_owned(),
        source,
    }
}
