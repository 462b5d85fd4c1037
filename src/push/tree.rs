//! A hash tree as the index of a store's content: one digest for each slab.
//!
//! The digest of a level-0 hash block stands for the block, and that for the slab under it. Only the
//! digests are kept: 1 MiB for 16 GiB of store, whose tree is 128 MiB.

use i2kit_format::verity::{self, HASH_BLOCK, Level, Superblock};
use i2kit_format::{BLOCK, ReadAt, SLAB, sha256};

use super::source::BLOCK_LEN;

/// SHA-256 of a slab's level-0 hash block.
pub type HashDigest = [u8; 32];

/// The tree cannot be trusted, or not be compared with another.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The superblock is none, or a hash block is corrupt.
    #[error(transparent)]
    Verity(#[from] verity::Error),
    /// The tree has a salt.
    #[error("dm-verity superblock: a salt of {0} bytes, i2kit's trees have none")]
    Salt(u16),
    /// The superblock asks for more than the partitions have.
    #[error("dm-verity superblock: {blocks} data blocks do not fit the partitions")]
    Size {
        /// Data blocks it tells of.
        blocks: u64,
    },
    /// A read failed.
    #[error("read hash tree at byte {offset}: {source}")]
    Read {
        /// Where in the hash partition.
        offset: u64,
        /// Why.
        source: std::io::Error,
    },
}

/// The digests of a tree's level-0 hash blocks, by slab, checked up to the root hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashTree {
    /// One for each slab, of which the last may be short.
    pub digests: Vec<HashDigest>,
    /// Data blocks of 4 KiB that the tree covers.
    pub data_blocks: u64,
}

impl HashTree {
    /// Reads and checks the tree in the partition `hash`, over a store of `store_len` bytes, once and
    /// in pieces of 512 KiB, each of which `each` sees by its number.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn read(
        hash: &dyn ReadAt,
        store_len: u64,
        root: &[u8; 32],
        each: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<Self, TreeError> {
        let mut piece = vec![0; BLOCK_LEN];
        let first = read(hash, 0, &mut piece)?;
        let superblock = Superblock::parse(first)?;
        if superblock.salt_size != 0 {
            return Err(TreeError::Salt(superblock.salt_size));
        }
        let blocks = superblock.data_blocks;
        let fits = blocks > 1 && blocks <= store_len / BLOCK;
        let hash_blocks = if fits { verity::hash_blocks(blocks) } else { 0 };
        if !fits || hash_blocks > hash.len() / BLOCK {
            return Err(TreeError::Size { blocks });
        }
        let mut walk = Walk::new(blocks, root);
        for number in 0..(hash_blocks * BLOCK).div_ceil(SLAB) {
            let bytes = read(hash, number * SLAB, &mut piece)?;
            each(number, bytes);
            walk.piece(bytes)?;
        }
        Ok(Self {
            digests: walk.above,
            data_blocks: blocks,
        })
    }
}

fn read<'a>(hash: &dyn ReadAt, offset: u64, piece: &'a mut [u8]) -> Result<&'a [u8], TreeError> {
    let len = usize::try_from(hash.len().saturating_sub(offset)).unwrap_or(usize::MAX);
    let len = len.min(piece.len());
    let bytes = piece.get_mut(..len).unwrap_or_default();
    let read = hash.read_exact_at(bytes, offset);
    read.map_err(|source| TreeError::Read { offset, source })?;
    Ok(bytes)
}

/// Goes through a hash device from its start: the levels lie top down, so that each block is checked
/// by the level before.
struct Walk {
    /// Where the levels lie, the topmost first.
    levels: Vec<Level>,
    /// Which of them is being read; past the last one when all were.
    at: usize,
    /// The block of it that is next.
    next: u64,
    /// The digests of the level's blocks.
    above: Vec<HashDigest>,
    /// The digests that it holds.
    below: Vec<HashDigest>,
    /// The superblock was passed.
    is_begun: bool,
}

impl Walk {
    fn new(data_blocks: u64, root: &[u8; 32]) -> Self {
        let mut levels = verity::levels(data_blocks);
        levels.reverse();
        Self {
            levels,
            at: 0,
            next: 0,
            above: vec![*root],
            below: Vec::new(),
            is_begun: false,
        }
    }

    /// The device's next blocks. What follows its last one is not looked at.
    fn piece(&mut self, bytes: &[u8]) -> Result<(), TreeError> {
        let skipped = usize::from(!self.is_begun);
        self.is_begun = true;
        let (blocks, _) = bytes.as_chunks::<HASH_BLOCK>();
        let blocks: Vec<&[u8]> = blocks
            .iter()
            .skip(skipped)
            .map(<[u8; HASH_BLOCK]>::as_slice)
            .collect();
        for (block, digest) in blocks.iter().zip(sha256::digests(&blocks)) {
            self.block(block, &digest)?;
        }
        Ok(())
    }

    fn block(&mut self, block: &[u8], digest: &HashDigest) -> Result<(), TreeError> {
        let Some(level) = self.levels.get(self.at).copied() else {
            return Ok(());
        };
        let wanted = usize::try_from(self.next)
            .ok()
            .and_then(|next| self.above.get(next));
        if wanted != Some(digest) {
            return Err(self.corrupt(level).into());
        }
        self.next += 1;
        let lower = self.levels.get(self.at + 1).copied();
        if lower.is_some() {
            self.below.extend_from_slice(block.as_chunks().0);
        }
        if self.next < level.blocks {
            return Ok(());
        }
        self.at += 1;
        self.next = 0;
        if let Some(lower) = lower {
            // Behind the last digest, the block is filled up.
            self.below
                .truncate(usize::try_from(lower.blocks).unwrap_or(usize::MAX));
            self.above = std::mem::take(&mut self.below);
        }
        Ok(())
    }

    fn corrupt(&self, level: Level) -> verity::Error {
        verity::Error::CorruptHash {
            level: self.levels.len().saturating_sub(self.at + 1),
            block: self.next,
            offset: (level.first_block + self.next).saturating_mul(BLOCK),
        }
    }
}

#[cfg(test)]
mod tests {
    use i2kit_format::verity::{TreeBuilder, hash_slab};

    use super::*;

    /// A hash partition over the store, its root hash, and the digests wanted.
    fn made(store: &[u8]) -> (Vec<u8>, [u8; 32], Vec<HashDigest>) {
        let level0: Vec<_> = store.chunks(BLOCK_LEN).map(hash_slab).collect();
        let mut builder = TreeBuilder::new();
        level0.iter().for_each(|block| builder.push(block));
        let upper = builder.finish();
        let superblock = Superblock::new([1; 16], store.len() as u64 / BLOCK);
        let mut hash = superblock.to_block().to_vec();
        hash.extend(&upper.blocks);
        level0.iter().for_each(|block| hash.extend(block));
        hash.resize(hash.len().next_multiple_of(1 << 20), 0);
        let level0: Vec<&[u8]> = level0.iter().map(<[u8; HASH_BLOCK]>::as_slice).collect();
        (hash, upper.root_hash, sha256::digests(&level0))
    }

    /// A store of so many slabs, of which most are zeros; each thousandth block has its number.
    fn store(slabs: usize) -> Vec<u8> {
        let mut store = vec![0; slabs * BLOCK_LEN];
        for (number, block) in store.chunks_mut(HASH_BLOCK).enumerate().step_by(1000) {
            block[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        }
        store
    }

    #[test]
    fn digests_are_those_of_the_level_0_blocks() {
        for slabs in [1, 2, 127, 128, 129, 200] {
            let (hash, root, digests) = made(&store(slabs));
            let mut pieces = Vec::new();
            let mut each = |number, bytes: &[u8]| pieces.push((number, bytes.len()));
            let len = (slabs * BLOCK_LEN) as u64;
            let tree = HashTree::read(&hash, len, &root, &mut each).unwrap();
            assert_eq!(tree.digests, digests);
            assert_eq!(tree.data_blocks, slabs as u64 * 128);
            let expected = 0..verity::hash_blocks(tree.data_blocks).div_ceil(128);
            let expected: Vec<_> = expected.map(|number| (number, BLOCK_LEN)).collect();
            assert_eq!(pieces, expected);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let (hash, root, _) = made(&store(130));
        let len = 130 * SLAB;
        // Level 2 is block 1, level 1 are blocks 2 and 3, then level 0 from 4 on.
        for (block, level) in [(1, 2), (2, 1), (3, 1), (4, 0), (133, 0)] {
            let mut hash = hash.clone();
            hash[block * HASH_BLOCK + 5] ^= 1;
            let error = HashTree::read(&hash, len, &root, &mut |_, _| {}).unwrap_err();
            let expected = block as u64 * BLOCK;
            assert!(
                matches!(error, TreeError::Verity(verity::Error::CorruptHash { level: found, offset, .. })
                    if found == level && offset == expected),
                "{error}"
            );
        }
        assert!(HashTree::read(&hash, len, &[0; 32], &mut |_, _| {}).is_err());
    }

    #[test]
    fn a_superblock_that_lies_asks_for_no_memory() {
        let (mut hash, root, _) = made(&store(2));
        for blocks in [0, 1, 257, u64::MAX] {
            hash[..HASH_BLOCK].copy_from_slice(&Superblock::new([1; 16], blocks).to_block());
            let error = HashTree::read(&hash, 2 * SLAB, &root, &mut |_, _| {}).unwrap_err();
            assert!(matches!(error, TreeError::Size { .. }), "{error}");
        }
        // More hash blocks than the hash partition has.
        let superblock = Superblock::new([1; 16], 1 << 40).to_block();
        hash[..HASH_BLOCK].copy_from_slice(&superblock);
        let error = HashTree::read(&hash, u64::MAX, &root, &mut |_, _| {});
        assert!(matches!(error.unwrap_err(), TreeError::Size { .. }));
        let mut salted = Superblock::new([1; 16], 256);
        salted.salt_size = 4;
        hash[..HASH_BLOCK].copy_from_slice(&salted.to_block());
        let error = HashTree::read(&hash, 2 * SLAB, &root, &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, TreeError::Salt(4)), "{error}");
    }
}
