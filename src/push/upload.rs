//! Blocks on their way: each is read once, hashed where its digest is not known, and put.
//!
//! Threads of their own read, since a file's bytes may have to come from a slow device; they wait
//! while nothing can be sent. So what is in memory is the blocks under way, and a few more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use i2kit_format::SLAB;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::Instant;

use super::checksum::Linear;
use super::cloud::{CallError, Ebs, Retry};
use super::ledger::BlockLog;
use super::limiter::{Limiter, Permit};
use super::progress::Progress;
use super::source::{Block, Source, SourceError};
use crate::disk::SlabDigest;

/// Threads that read and hash.
const READERS: usize = 2;
/// Blocks that were read and wait to be sent: 8 MiB.
const WAITING: usize = 16;
/// How long one block is tried.
const DEADLINE: Duration = Duration::from_secs(180);
/// How often the log of blocks is made durable. What is lost is only put again.
const SYNC: Duration = Duration::from_secs(2);

/// Blocks that were not all put.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// A call failed for good.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The disk cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The log of blocks cannot be written.
    #[error("note which blocks were put: {0}")]
    Log(std::io::Error),
    /// The program is about to end.
    #[error("put blocks: interrupted")]
    Interrupted,
}

/// One snapshot's upload.
pub(super) struct Upload<'a> {
    pub ebs: &'a Ebs,
    pub snapshot: &'a str,
    pub source: &'a Arc<dyn Source>,
    /// The blocks to put, ascending.
    pub blocks: &'a [u32],
    /// Those of them that an interrupted push put already.
    pub done: Vec<(u32, SlabDigest)>,
    pub log: &'a BlockLog,
    pub limiter: &'a Arc<Limiter>,
    pub progress: &'a dyn Progress,
}

impl Upload<'_> {
    /// Puts all that were not put yet; answers the digests of all. Dropped, it stops at once.
    ///
    /// # Errors
    /// [`UploadError`], the first.
    pub async fn run(&self) -> Result<Linear, UploadError> {
        let wanted: BTreeSet<u32> = self.blocks.iter().copied().collect();
        let mut linear = Linear::default();
        linear.extend(
            self.done
                .iter()
                .copied()
                .filter(|(index, _)| wanted.contains(index)),
        );
        self.progress.begin(wanted.len() as u64 * SLAB);
        self.progress.advance(u64::from(linear.count()) * SLAB);
        let left = wanted
            .into_iter()
            .filter(|index| linear.get(*index).is_none());
        let mut read = readers(self.source, left.collect());
        self.put_all(&mut read, &mut linear).await?;
        // Fewer come only from readers that were ended.
        if (linear.count() as usize) < self.blocks.len() {
            return Err(UploadError::Interrupted);
        }
        Ok(linear)
    }

    async fn put_all(
        &self,
        read: &mut Receiver<Result<Block, SourceError>>,
        linear: &mut Linear,
    ) -> Result<(), UploadError> {
        let mut under_way = JoinSet::new();
        let mut is_read = false;
        let mut synced = Instant::now();
        while !is_read || !under_way.is_empty() {
            // Both branches can be given up half-way: nothing is taken before they are done.
            tokio::select! {
                biased;
                Some(done) = under_way.join_next() => {
                    self.done(done, linear)?;
                    if synced.elapsed() > SYNC {
                        synced = Instant::now();
                        self.sync();
                    }
                }
                (block, permit) = self.next(read), if !is_read => match block {
                    None => is_read = true,
                    Some(block) => {
                        let put = self.put(block?, permit);
                        under_way.spawn(put);
                    }
                },
            }
        }
        Ok(())
    }

    /// The next block, once one more may be under way.
    async fn next(
        &self,
        read: &mut Receiver<Result<Block, SourceError>>,
    ) -> (Option<Result<Block, SourceError>>, Permit) {
        let permit = self.limiter.acquire().await;
        (read.recv().await, permit)
    }

    fn put(
        &self,
        block: Block,
        permit: Permit,
    ) -> impl Future<Output = Result<(u32, SlabDigest), CallError>> + Send + use<> {
        let (ebs, snapshot) = (self.ebs.clone(), self.snapshot.to_owned());
        let limiter = Arc::clone(self.limiter);
        async move {
            put(&ebs, &snapshot, &block, &limiter).await?;
            drop(permit);
            Ok((block.index, block.sha256))
        }
    }

    fn done(
        &self,
        done: Result<Result<(u32, SlabDigest), CallError>, JoinError>,
        linear: &mut Linear,
    ) -> Result<(), UploadError> {
        let (index, sha256) = done.map_err(|_| UploadError::Interrupted)??;
        self.log.append(index, &sha256).map_err(UploadError::Log)?;
        linear.insert(index, sha256);
        self.progress.advance(SLAB);
        Ok(())
    }

    /// Makes the log durable, while blocks go on. That it fails costs only time later.
    fn sync(&self) {
        let log = self.log.clone();
        spawn_blocking(move || log.sync());
    }
}

/// Puts one block, as often as it takes.
async fn put(ebs: &Ebs, snapshot: &str, block: &Block, limiter: &Limiter) -> Result<(), CallError> {
    let call = async || {
        limiter.begin().await;
        let began = Instant::now();
        let answer = ebs
            .put(snapshot, block.index, block.data.clone(), &block.sha256)
            .await;
        if answer.is_ok() {
            limiter.succeeded(began.elapsed());
        }
        answer
    };
    // A snapshot that was begun a moment ago is not known to every server yet.
    let retry = Retry::new(DEADLINE).not_found_is_transient(true);
    retry.run(call, |error| limiter.failed(error)).await
}

/// Starts the threads that read the blocks. They end when nobody listens any more.
fn readers(source: &Arc<dyn Source>, blocks: Vec<u32>) -> Receiver<Result<Block, SourceError>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let blocks = Arc::new((blocks, AtomicUsize::new(0)));
    for _ in 0..READERS {
        let (source, blocks, sender) = (Arc::clone(source), Arc::clone(&blocks), sender.clone());
        spawn_blocking(move || read(&*source, &blocks.0, &blocks.1, &sender));
    }
    receiver
}

fn read(
    source: &dyn Source,
    blocks: &[u32],
    next: &AtomicUsize,
    sender: &Sender<Result<Block, SourceError>>,
) {
    while let Some(index) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
        let block = Block::read(source, *index);
        let is_last = block.is_err();
        if sender.blocking_send(block).is_err() || is_last {
            break;
        }
    }
}
