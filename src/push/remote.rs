//! A completed snapshot's blocks: which there are, and reading them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use i2kit_format::SLAB;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use super::GIB;
use super::cloud::{Block, CallError, Ebs, Kind, Region, Retry};
use super::progress::Progress;

/// How often a block's or a page's token may turn out to have expired.
const RENEWALS: u32 = 3;

/// A snapshot whose blocks cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The service has other blocks than we.
    #[error("read {snapshot}: its blocks have {found} bytes, i2kit's have {SLAB}")]
    BlockSize {
        /// The snapshot.
        snapshot: String,
        /// Bytes of its blocks.
        found: u32,
    },
    /// A block was never put.
    #[error("read block {block} of {snapshot}: it was never put")]
    Absent {
        /// The snapshot.
        snapshot: String,
        /// The block.
        block: u32,
    },
    /// The reading task ended early: the program is about to end.
    #[error("read blocks of {snapshot}: interrupted")]
    Interrupted {
        /// The snapshot.
        snapshot: String,
    },
}

/// Calls made so far, each counted once however often it was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Pages of lists.
    pub listed: u64,
    /// Blocks got.
    pub got: u64,
}

/// A snapshot's blocks. Cheap to share.
#[derive(Debug)]
pub struct Remote {
    ebs: Ebs,
    snapshot: String,
    volume_gib: u64,
    present: BTreeSet<u32>,
    /// What EBS wants to see; one that has expired is replaced.
    tokens: RwLock<BTreeMap<u32, String>>,
    listed: AtomicU64,
    got: AtomicU64,
}

impl Remote {
    /// Lists the blocks of a completed snapshot. One that was made a moment ago, `is_new`, may not be
    /// known to every server yet.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn list(
        region: &Region,
        snapshot: &str,
        is_new: bool,
    ) -> Result<Arc<Self>, RemoteError> {
        let mut listing = Listing::new(&region.ebs, snapshot, is_new);
        let mut tokens = BTreeMap::new();
        while let Some(blocks) = listing.page().await? {
            tokens.extend(blocks.into_iter().map(|block| (block.index, block.token)));
        }
        Ok(Arc::new(Self {
            ebs: region.ebs.clone(),
            snapshot: snapshot.to_owned(),
            volume_gib: listing.volume_gib,
            present: tokens.keys().copied().collect(),
            tokens: RwLock::new(tokens),
            listed: AtomicU64::new(listing.pages),
            got: AtomicU64::new(0),
        }))
    }

    /// The snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &str {
        &self.snapshot
    }

    /// Bytes of its volume.
    #[must_use]
    pub fn volume_len(&self) -> u64 {
        self.volume_gib.saturating_mul(GIB)
    }

    /// The blocks that were ever put, in it or in its parents.
    #[must_use]
    pub fn present(&self) -> &BTreeSet<u32> {
        &self.present
    }

    /// Calls made so far.
    #[must_use]
    pub fn reads(&self) -> Reads {
        Reads {
            listed: self.listed.load(Ordering::Relaxed),
            got: self.got.load(Ordering::Relaxed),
        }
    }

    /// One block. Its length and checksum were checked.
    ///
    /// # Errors
    /// [`RemoteError::Absent`] for one that was never put, or what the service answers.
    pub async fn get(&self, index: u32) -> Result<Bytes, RemoteError> {
        let mut renewals = 0;
        loop {
            let token = self.token(index).ok_or_else(|| self.absent(index))?;
            let block = Block { index, token };
            let size = u32::try_from(SLAB).unwrap_or(u32::MAX);
            let call = async || self.ebs.get(&self.snapshot, &block, size).await;
            match Retry::default().run(call, |_| {}).await {
                // EBS says so of a token that has expired.
                Err(error) if error.kind == Kind::Invalid && renewals < RENEWALS => {
                    renewals += 1;
                    self.renew(index).await?;
                }
                answer => {
                    self.got.fetch_add(1, Ordering::Relaxed);
                    return Ok(answer?);
                }
            }
        }
    }

    /// Several blocks, all at once.
    ///
    /// # Errors
    /// As [`Remote::get`], of the first that fails.
    pub async fn get_all(
        self: &Arc<Self>,
        blocks: impl IntoIterator<Item = u32>,
    ) -> Result<Vec<(u32, Bytes)>, RemoteError> {
        let mut tasks: JoinSet<Result<_, RemoteError>> = JoinSet::new();
        for block in blocks {
            let remote = Arc::clone(self);
            tasks.spawn(async move { Ok((block, remote.get(block).await?)) });
        }
        let mut read = Vec::with_capacity(tasks.len());
        while let Some(done) = tasks.join_next().await {
            read.push(done.unwrap_or_else(|_| Err(self.interrupted()))?);
        }
        Ok(read)
    }

    /// Does something with each of the blocks, `most` at once.
    ///
    /// # Errors
    /// The first failure; what is under way then stops.
    pub(super) async fn each<E, F>(
        &self,
        blocks: &[u32],
        most: usize,
        progress: &dyn Progress,
        task: impl Fn(u32) -> F,
    ) -> Result<(), E>
    where
        E: From<RemoteError> + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        progress.begin(blocks.len() as u64 * SLAB);
        let done = |done: Result<Result<(), E>, JoinError>| {
            done.map_err(|_| E::from(self.interrupted()))??;
            progress.advance(SLAB);
            Ok::<(), E>(())
        };
        let under_way = Arc::new(Semaphore::new(most));
        let mut tasks = JoinSet::new();
        for block in blocks {
            let permit = Arc::clone(&under_way).acquire_owned().await;
            while let Some(one) = tasks.try_join_next() {
                done(one)?;
            }
            let task = task(*block);
            tasks.spawn(async move {
                let answer = task.await;
                drop(permit);
                answer
            });
        }
        while let Some(one) = tasks.join_next().await {
            done(one)?;
        }
        Ok(())
    }

    fn token(&self, index: u32) -> Option<String> {
        let tokens = self.tokens.read();
        let tokens = tokens.unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.get(&index).cloned()
    }

    /// Asks for new tokens, from this block on.
    async fn renew(&self, index: u32) -> Result<(), RemoteError> {
        let mut listing = Listing::new(&self.ebs, &self.snapshot, false);
        listing.start = index;
        let mut found = Vec::new();
        while found.is_empty() {
            match listing.page().await? {
                Some(blocks) => found = blocks,
                None => break,
            }
        }
        self.listed.fetch_add(listing.pages, Ordering::Relaxed);
        let tokens = self.tokens.write();
        let mut tokens = tokens.unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.extend(found.into_iter().map(|block| (block.index, block.token)));
        Ok(())
    }

    fn absent(&self, block: u32) -> RemoteError {
        RemoteError::Absent {
            snapshot: self.snapshot.clone(),
            block,
        }
    }

    pub(super) fn interrupted(&self) -> RemoteError {
        RemoteError::Interrupted {
            snapshot: self.snapshot.clone(),
        }
    }
}

/// Goes through a snapshot's list, page by page.
struct Listing<'a> {
    ebs: &'a Ebs,
    snapshot: &'a str,
    is_new: bool,
    /// The first block that is wanted.
    start: u32,
    page: Option<String>,
    is_done: bool,
    pages: u64,
    renewals: u32,
    volume_gib: u64,
}

impl<'a> Listing<'a> {
    fn new(ebs: &'a Ebs, snapshot: &'a str, is_new: bool) -> Self {
        Self {
            ebs,
            snapshot,
            is_new,
            start: 0,
            page: None,
            is_done: false,
            pages: 0,
            renewals: 0,
            volume_gib: 0,
        }
    }

    /// The next page, perhaps empty; none after the last.
    async fn page(&mut self) -> Result<Option<Vec<Block>>, RemoteError> {
        while !self.is_done {
            let page = self.page.as_deref();
            let call = async || self.ebs.list(self.snapshot, self.start, page).await;
            let retry = Retry::default().not_found_is_transient(self.is_new);
            let answer = retry.run(call, |_| {}).await;
            self.pages += 1;
            let page = match answer {
                Ok(page) => page,
                // The page's token has expired: begin again behind what is known.
                Err(error) if self.is_expired(&error) => {
                    self.renewals += 1;
                    self.page = None;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if u64::from(page.block_size) != SLAB {
                return Err(RemoteError::BlockSize {
                    snapshot: self.snapshot.to_owned(),
                    found: page.block_size,
                });
            }
            self.volume_gib = page.volume_gib;
            self.is_done = page.next.is_none();
            self.page = page.next;
            if let Some(last) = page.items.last() {
                self.start = last.index.saturating_add(1);
            }
            return Ok(Some(page.items));
        }
        Ok(None)
    }

    fn is_expired(&self, error: &CallError) -> bool {
        error.kind == Kind::Invalid && self.page.is_some() && self.renewals < RENEWALS
    }
}
