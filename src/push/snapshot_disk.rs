//! A snapshot as a disk that can be read at any place.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use bytes::Bytes;
use i2kit_format::{ReadAt, SLAB};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::cloud::Region;
use super::index::{Content, Index, IndexError};
use super::remote::{Remote, RemoteError};
use crate::inspect;

/// Blocks kept in memory: 32 MiB.
const CACHE: usize = 64;
/// Blocks read at once by whoever reads one behind the other.
const AHEAD: u32 = 16;

/// A snapshot that is no disk of i2kit's, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Its blocks cannot be read.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// It has no sound partition table or hash tree.
    #[error("open {snapshot} as a disk: {source}")]
    Index {
        /// The snapshot.
        snapshot: String,
        /// What is wrong.
        source: IndexError,
    },
    /// Its UKI names no root hash.
    #[error("open {snapshot} as a disk: {source}")]
    Uki {
        /// The snapshot.
        snapshot: String,
        /// What is wrong.
        source: Box<inspect::Error>,
    },
}

/// A snapshot's blocks as one disk. What nobody reads is zeros, whatever EBS would answer. A read
/// waits for the network: call it from a thread that may be blocked, `spawn_blocking`'s say.
#[derive(Debug)]
pub struct SnapshotDisk {
    remote: Arc<Remote>,
    runtime: Handle,
    cache: Mutex<Cache>,
    index: Option<Index>,
}

impl SnapshotDisk {
    /// Opens a completed snapshot of one of i2kit's disks: checks its hash tree against the root hash,
    /// the UKI's where none is given.
    ///
    /// # Errors
    /// [`DiskError`].
    pub async fn open(
        region: &Region,
        snapshot: &str,
        root_hash: Option<[u8; 32]>,
    ) -> Result<Self, DiskError> {
        let remote = Remote::list(region, snapshot, false).await?;
        Self::of(remote, root_hash, &[0]).await
    }

    /// As [`SnapshotDisk::open`], of a list of blocks that is there. `soon` will be read first, so they
    /// are asked for at once.
    pub(super) async fn of(
        remote: Arc<Remote>,
        root_hash: Option<[u8; 32]>,
        soon: &[u32],
    ) -> Result<Self, DiskError> {
        let present = |block: &u32| remote.present().contains(block);
        let soon = soon.iter().copied().filter(present).take(CACHE);
        let read = remote.get_all(soon).await?;
        let mut cache = Cache::default();
        read.into_iter()
            .for_each(|(block, bytes)| cache.insert(block, bytes));
        let disk = Self {
            remote: Arc::clone(&remote),
            runtime: Handle::current(),
            cache: Mutex::new(cache),
            index: None,
        };
        let opened = spawn_blocking(move || disk.indexed(root_hash)).await;
        opened.unwrap_or_else(|_| Err(remote.interrupted().into()))
    }

    fn indexed(mut self, root_hash: Option<[u8; 32]>) -> Result<Self, DiskError> {
        let snapshot = || self.remote.snapshot().to_owned();
        let root_hash = match root_hash {
            Some(root_hash) => root_hash,
            None => inspect::disk_root_hash(&self).map_err(|source| DiskError::Uki {
                snapshot: snapshot(),
                source: Box::new(source),
            })?,
        };
        let index = Index::read(&self, &root_hash).map_err(|source| DiskError::Index {
            snapshot: snapshot(),
            source,
        })?;
        self.index = Some(index);
        Ok(self)
    }

    /// What lies in its blocks.
    #[must_use]
    pub fn index(&self) -> Option<&Index> {
        self.index.as_ref()
    }

    /// What lies in its blocks, alone.
    pub(super) fn into_index(self) -> Option<Index> {
        self.index
    }

    /// Its blocks.
    #[must_use]
    pub fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of a block; none where nobody reads it, or it cannot be read since it is not there.
    fn block(&self, number: u32) -> Result<Option<Bytes>, RemoteError> {
        let content = self.index.as_ref().map(|index| index.content(number));
        let is_there = self.remote.present().contains(&number);
        match content {
            Some(Content::ZeroSlab) => return Ok(None),
            Some(Content::Unread) if !is_there => return Ok(None),
            _ => {}
        }
        let (cached, ahead) = self.cache().look(number);
        if cached.is_some() {
            return Ok(cached);
        }
        let last = number.saturating_add(ahead);
        let wanted = self.remote.present().range(number..=last).copied();
        let mut wanted: Vec<u32> = wanted.collect();
        if wanted.first() != Some(&number) {
            // Asked for all the same, so that the error says which.
            wanted = vec![number];
        }
        let read = self.fetch(wanted)?;
        let mut cache = self.cache();
        let found = read.iter().find(|(block, _)| *block == number);
        let found = found.map(|(_, bytes)| bytes.clone());
        read.into_iter()
            .for_each(|(block, bytes)| cache.insert(block, bytes));
        Ok(found)
    }

    /// Has the runtime read blocks, and waits.
    fn fetch(&self, wanted: Vec<u32>) -> Result<Vec<(u32, Bytes)>, RemoteError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let remote = Arc::clone(&self.remote);
        self.runtime.spawn(async move {
            // Nobody listens where the reader's thread has ended.
            let _ = answer.send(remote.get_all(wanted).await);
        });
        answered
            .recv()
            .unwrap_or_else(|_| Err(self.remote.interrupted()))
    }
}

impl ReadAt for SnapshotDisk {
    fn len(&self) -> u64 {
        let index = self.index.as_ref();
        index.map_or_else(|| self.remote.volume_len(), |index| index.len)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut rest, mut at) = (buf, offset);
        while !rest.is_empty() {
            let within = usize::try_from(at % SLAB).unwrap_or(0);
            let left = usize::try_from(SLAB - at % SLAB).unwrap_or(usize::MAX);
            let (part, others) = rest.split_at_mut(left.min(rest.len()));
            let number = u32::try_from(at / SLAB).map_err(io::Error::other)?;
            match self.block(number).map_err(io::Error::other)? {
                None => part.fill(0),
                Some(bytes) => {
                    let from = bytes.get(within..within + part.len());
                    part.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
                }
            }
            at += part.len() as u64;
            rest = others;
        }
        Ok(())
    }
}

/// The blocks read last.
#[derive(Debug, Default)]
struct Cache {
    blocks: BTreeMap<u32, Bytes>,
    /// Their numbers, the longest unused first.
    order: VecDeque<u32>,
    /// The block looked for last.
    last: Option<u32>,
}

impl Cache {
    /// The block if it is there, and how many behind it are likely to be wanted.
    fn look(&mut self, number: u32) -> (Option<Bytes>, u32) {
        let is_next = self
            .last
            .is_some_and(|last| last.checked_add(1) == Some(number));
        self.last = Some(number);
        let found = self.blocks.get(&number).cloned();
        if found.is_some() {
            self.order.retain(|block| *block != number);
            self.order.push_back(number);
        }
        (found, if is_next { AHEAD - 1 } else { 0 })
    }

    fn insert(&mut self, number: u32, bytes: Bytes) {
        if self.blocks.insert(number, bytes).is_none() {
            self.order.push_back(number);
        }
        while self.blocks.len() > CACHE {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.blocks.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_goes_first() {
        let mut cache = Cache::default();
        let cap = u32::try_from(CACHE).unwrap();
        (0..cap).for_each(|number| cache.insert(number, Bytes::new()));
        assert!(cache.look(0).0.is_some());
        cache.insert(cap, Bytes::new());
        cache.insert(cap, Bytes::new());
        assert!(cache.look(0).0.is_some());
        assert!(cache.look(1).0.is_none());
        assert_eq!(cache.blocks.len(), CACHE);
        assert_eq!(cache.order.len(), CACHE);
    }

    #[test]
    fn whoever_reads_on_gets_more() {
        let mut cache = Cache::default();
        assert_eq!(cache.look(5).1, 0);
        assert_eq!(cache.look(5).1, 0);
        assert_eq!(cache.look(6).1, AHEAD - 1);
        assert_eq!(cache.look(8).1, 0);
    }
}
