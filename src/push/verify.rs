//! Reading a snapshot back, and checking it against the disk's hash tree.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use super::checksum::Linear;
use super::index::{Content, Index};
use super::progress::Progress;
use super::remote::{Remote, RemoteError};
use super::snapshot::Order;
use super::source::{Block, Source, SourceError};

/// Blocks under way at once: 32 MiB.
const UNDER_WAY: usize = 64;
/// Blocks of a sample.
const SAMPLE: usize = 64;

/// How much of a snapshot is read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Nothing: EBS checked each block's SHA-256 and that of the whole as they came in.
    #[default]
    None,
    /// Some 64 blocks, evenly spread, the first and the last among them.
    Sample,
    /// Every block that anybody reads.
    Full,
}

/// A snapshot that is not what was put.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A block cannot be read back.
    #[error("verify: {0}")]
    Remote(#[from] RemoteError),
    /// The disk cannot be read to compare.
    #[error("verify: {0}")]
    Source(#[from] SourceError),
    /// A block has other bytes.
    #[error("verify {snapshot}: block {block} is not the disk's")]
    Differs {
        /// The snapshot.
        snapshot: String,
        /// The block.
        block: u32,
    },
}

/// What a block is to be.
#[derive(Clone, Copy)]
enum Expected {
    /// These bytes, by their SHA-256.
    Put([u8; 32]),
    /// What the disk's hash tree says, or its bytes where it says nothing.
    Disk,
}

/// Reads back what `order.verify` asks for; answers how many blocks that were.
///
/// # Errors
/// [`VerifyError`].
pub(super) async fn verify(
    order: &Order,
    index: &Index,
    snapshot: &str,
    put: &Linear,
    progress: &dyn Progress,
) -> Result<u64, VerifyError> {
    let blocks = match order.verify {
        Verify::None => return Ok(0),
        Verify::Sample => spread(&read_by_somebody(index), SAMPLE),
        Verify::Full => read_by_somebody(index),
    };
    let remote = Remote::list(&order.region, snapshot, true).await?;
    let index = Arc::new(index.clone());
    let task = |block| {
        let expected = put
            .get(block)
            .map_or(Expected::Disk, |digest| Expected::Put(*digest));
        let (remote, index) = (Arc::clone(&remote), Arc::clone(&index));
        let source = Arc::clone(&order.source);
        async move {
            let bytes = remote.get(block).await?;
            let check = move || is_same(&*source, &index, block, &bytes, expected);
            match spawn_blocking(check).await {
                Ok(Ok(true)) => Ok(()),
                Ok(Ok(false)) => Err(VerifyError::Differs {
                    snapshot: remote.snapshot().to_owned(),
                    block,
                }),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(remote.interrupted().into()),
            }
        }
    };
    remote.each(&blocks, UNDER_WAY, progress, task).await?;
    Ok(blocks.len() as u64)
}

fn is_same(
    source: &dyn Source,
    index: &Index,
    block: u32,
    bytes: &Bytes,
    expected: Expected,
) -> Result<bool, SourceError> {
    let sha256 = || <[u8; 32]>::from(Sha256::digest(bytes));
    if !index.matches(block, bytes) {
        return Ok(false);
    }
    match (expected, index.content(block)) {
        (_, Content::Slab(_)) => Ok(true),
        (Expected::Put(digest), _) => Ok(sha256() == digest),
        (Expected::Disk, _) => Ok(Block::read(source, block)?.sha256 == sha256()),
    }
}

/// The blocks of a disk that anybody reads, ascending.
fn read_by_somebody(index: &Index) -> Vec<u32> {
    let is_read = |block: &u32| match index.content(*block) {
        Content::Slab(_) | Content::Plain(_) => true,
        Content::Unread | Content::ZeroSlab => false,
    };
    (0..index.blocks()).filter(is_read).collect()
}

/// At most `most` of them, evenly spread, the first and the last among them.
fn spread(blocks: &[u32], most: usize) -> Vec<u32> {
    let last = blocks.len().saturating_sub(1);
    let steps = most.saturating_sub(1).max(1);
    if last < most {
        return blocks.to_vec();
    }
    let places = (0..=steps).map(|step| last * step / steps);
    places
        .filter_map(|place| blocks.get(place))
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;
    use crate::disk::{Blob, Builder, Disk};

    fn disk(sample: &Sample) -> Disk {
        let mut builder = Builder::new();
        builder.place(0, Blob::bytes(sample.bytes.clone())).unwrap();
        builder.finish(0)
    }

    #[test]
    fn a_sample_is_spread_evenly() {
        let all: Vec<u32> = (10..1010).collect();
        assert_eq!(spread(&all, 3), [10, 509, 1009]);
        assert_eq!(spread(&all, 64).len(), 64);
        assert_eq!(spread(&all[..64], 64), all[..64]);
        assert_eq!(spread(&all[..65], 64).len(), 64);
        assert!(spread(&[], 64).is_empty());
    }

    #[test]
    fn any_other_byte_is_noticed_wherever_somebody_reads() {
        let sample = Sample::new(&[1, 0, 2], 3);
        let index = Index::read(&sample.bytes, &sample.root).unwrap();
        let disk = disk(&sample);
        let blocks = read_by_somebody(&index);
        assert!(blocks.contains(&0) && !blocks.contains(&(sample.store() + 1)));
        for block in blocks {
            let good = Bytes::copy_from_slice(sample.block(block));
            let digest = Expected::Put(Sha256::digest(&good).into());
            let mut bad = good.to_vec();
            bad[70_000] ^= 1;
            let bad = Bytes::from(bad);
            for expected in [digest, Expected::Disk] {
                assert!(is_same(&disk, &index, block, &good, expected).unwrap());
                assert!(
                    !is_same(&disk, &index, block, &bad, expected).unwrap(),
                    "{block}"
                );
            }
        }
    }
}
