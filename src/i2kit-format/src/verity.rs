//! dm-verity hash trees, as `veritysetup format` lays them out: SHA-256, 4 KiB data and hash
//! blocks, hash type 1, no salt (kernel `Documentation/admin-guide/device-mapper/verity.rst`,
//! cryptsetup `lib/verity/verity_hash.c`).
//!
//! The salt is empty so that equal slabs have equal hash blocks in every image.

use std::io;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{BLOCK, ReadAt, SLAB};

/// Bytes of a data block and of a hash block.
pub const HASH_BLOCK: usize = 4096;
/// Digests in one hash block.
pub const DIGESTS_PER_BLOCK: usize = 128;
const DIGEST: usize = 32;

/// One block of the tree: 128 digests of the blocks below it.
pub type HashBlock = [u8; HASH_BLOCK];

/// Why a store does not verify, or cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The superblock is not one, or of a kind that i2kit does not write.
    #[error("parse verity superblock: {0}")]
    Superblock(&'static str),
    /// The data or the tree cannot be read.
    #[error("read {what} block {block}: {source}")]
    Read {
        /// `data` or `hash`.
        what: &'static str,
        /// Block index in its partition.
        block: u64,
        /// What the source answered.
        source: io::Error,
    },
    /// A block's digest is not the one that the level above holds.
    #[error("verify {what} block {block}: its digest is not the one in the tree")]
    Mismatch {
        /// `data` or `hash`.
        what: &'static str,
        /// Block index in its partition.
        block: u64,
    },
    /// The tree would need more blocks than the partition has.
    #[error("verify store: {0}")]
    Size(&'static str),
}

static ZERO_DIGEST: LazyLock<[u8; DIGEST]> =
    LazyLock::new(|| Sha256::digest([0; HASH_BLOCK]).into());
static ZERO_SLAB: LazyLock<HashBlock> = LazyLock::new(|| {
    let mut block = [0; HASH_BLOCK];
    block.chunks_exact_mut(DIGEST).for_each(|digest| digest.copy_from_slice(&*ZERO_DIGEST));
    block
});

/// The level-0 hash block of a slab: the digests of its 128 blocks. A slab shorter than 512 KiB
/// leaves the digests of the blocks that it lacks zero, as the kernel's tree does past its end; a
/// last block shorter than 4 KiB counts as filled up with zeros.
#[must_use]
pub fn hash_slab(slab: &[u8]) -> HashBlock {
    let mut out = [0; HASH_BLOCK];
    for (block, digest) in slab.chunks(HASH_BLOCK).zip(out.chunks_exact_mut(DIGEST)) {
        digest.copy_from_slice(&hash_block(block));
    }
    out
}

fn hash_block(block: &[u8]) -> [u8; DIGEST] {
    if is_zero(block) {
        return *ZERO_DIGEST;
    }
    if block.len() == HASH_BLOCK {
        return Sha256::digest(block).into();
    }
    let mut padded = [0; HASH_BLOCK];
    padded.iter_mut().zip(block).for_each(|(to, from)| *to = *from);
    Sha256::digest(padded).into()
}

/// Leaves at the first byte that is not zero; most blocks show one in their first bytes.
fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

/// The hash block of a slab of zeros.
#[must_use]
pub fn zero_slab() -> &'static HashBlock {
    &ZERO_SLAB
}

/// Builds the levels above level 0 from level-0 blocks pushed in order. Its memory is the upper
/// levels': a 16,384th of the data.
#[derive(Clone, Debug, Default)]
pub struct TreeBuilder {
    /// Digests of level-0 blocks.
    digests: Vec<u8>,
}

/// The tree without its level 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upper {
    /// SHA-256 of the top block.
    pub root_hash: [u8; DIGEST],
    /// The levels above level 0 as they lie on disk, the top one first; level 0 follows them.
    pub blocks: Vec<u8>,
}

impl TreeBuilder {
    /// A tree of no blocks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next level-0 block.
    pub fn push(&mut self, level0: &HashBlock) {
        let digest: [u8; DIGEST] =
            if level0 == zero_slab() { *ZERO_SLAB_DIGEST } else { Sha256::digest(level0).into() };
        self.digests.extend_from_slice(&digest);
    }

    /// The levels above and the root hash.
    #[must_use]
    pub fn finish(self) -> Upper {
        let mut levels = Vec::new();
        let mut digests = self.digests;
        while digests.len() > DIGEST {
            digests.resize(digests.len().next_multiple_of(HASH_BLOCK), 0);
            let above = digests.chunks_exact(HASH_BLOCK).flat_map(Sha256::digest).collect();
            levels.push(std::mem::replace(&mut digests, above));
        }
        let mut root_hash = [0; DIGEST];
        root_hash.iter_mut().zip(digests).for_each(|(to, from)| *to = from);
        Upper { root_hash, blocks: levels.into_iter().rev().flatten().collect() }
    }
}

static ZERO_SLAB_DIGEST: LazyLock<[u8; DIGEST]> =
    LazyLock::new(|| Sha256::digest(zero_slab()).into());

/// The superblock in the hash partition's first 512 bytes (cryptsetup `lib/verity/verity.c`,
/// `struct verity_sb`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Superblock {
    signature: [u8; 8],
    version: U32,
    hash_type: U32,
    uuid: [u8; 16],
    algorithm: [u8; 32],
    data_block_size: U32,
    hash_block_size: U32,
    data_blocks: U64,
    salt_size: U16,
    pad1: [u8; 6],
    salt: [u8; 256],
    pad2: [u8; 168],
}

const SIGNATURE: [u8; 8] = *b"verity\0\0";
const SHA256_NAME: &[u8] = b"sha256";

impl Superblock {
    /// The superblock of a tree over `data_blocks` blocks of 4 KiB.
    #[must_use]
    pub fn new(uuid: [u8; 16], data_blocks: u64) -> Self {
        let mut algorithm = [0; 32];
        algorithm.iter_mut().zip(SHA256_NAME).for_each(|(to, from)| *to = *from);
        let block = U32::new(4096);
        Self {
            signature: SIGNATURE,
            version: U32::new(1),
            hash_type: U32::new(1),
            uuid,
            algorithm,
            data_block_size: block,
            hash_block_size: block,
            data_blocks: U64::new(data_blocks),
            salt_size: U16::new(0),
            pad1: [0; 6],
            salt: [0; 256],
            pad2: [0; 168],
        }
    }

    /// The hash partition's block 0.
    #[must_use]
    pub fn to_block(&self) -> HashBlock {
        let mut block = [0; HASH_BLOCK];
        block.iter_mut().zip(self.as_bytes()).for_each(|(to, from)| *to = *from);
        block
    }

    /// Reads a superblock of the only kind that i2kit writes.
    ///
    /// # Errors
    /// [`Error::Superblock`] for anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (found, _) =
            Self::read_from_prefix(bytes).map_err(|_| Error::Superblock("too short"))?;
        if found.signature != SIGNATURE {
            return Err(Error::Superblock("no signature"));
        }
        if found != Self::new(found.uuid, found.data_blocks.get()) {
            return Err(Error::Superblock("not SHA-256 of 4 KiB blocks without salt, type 1"));
        }
        Ok(found)
    }

    /// How many 4 KiB blocks of data the tree covers.
    #[must_use]
    pub fn data_blocks(&self) -> u64 {
        self.data_blocks.get()
    }
}

/// Checks a whole store against its tree and root hash, in one streaming pass.
///
/// # Errors
/// [`Error`] naming the first bad block.
pub fn verify<D, H>(data: &D, hash: &H, root: &[u8; DIGEST]) -> Result<(), Error>
where
    D: ReadAt + ?Sized,
    H: ReadAt + ?Sized,
{
    let mut block = [0; HASH_BLOCK];
    read("hash", hash, 0, &mut block)?;
    let data_blocks = Superblock::parse(&block)?.data_blocks();
    if data_blocks == 0 || data_blocks > data.len() / BLOCK {
        return Err(Error::Size("the tree covers more blocks than the data has"));
    }
    let mut expected: Vec<u8> = root.to_vec();
    let mut first = 1;
    for count in level_sizes(data_blocks).into_iter().rev() {
        if first + count > hash.len() / BLOCK {
            return Err(Error::Size("the tree is longer than its partition"));
        }
        let mut level = Vec::new();
        for (index, digest) in (first..first + count).zip(expected.chunks_exact(DIGEST)) {
            read("hash", hash, index, &mut block)?;
            if Sha256::digest(block).as_slice() != digest {
                return Err(Error::Mismatch { what: "hash", block: index });
            }
            level.extend_from_slice(&block);
        }
        first += count;
        expected = level;
    }
    verify_data(data, data_blocks, &expected)
}

fn verify_data<D: ReadAt + ?Sized>(data: &D, blocks: u64, level0: &[u8]) -> Result<(), Error> {
    let mut slab = vec![0; usize::try_from(SLAB).unwrap_or(0)];
    for (index, expected) in (0u64..).zip(level0.chunks_exact(HASH_BLOCK)) {
        let first = index * DIGESTS_PER_BLOCK as u64;
        let len = (blocks - first).min(DIGESTS_PER_BLOCK as u64) * BLOCK;
        let part = slab.get_mut(..usize::try_from(len).unwrap_or(0)).unwrap_or_default();
        read("data", data, first, part)?;
        let found = hash_slab(part);
        let pairs = found.chunks_exact(DIGEST).zip(expected.chunks_exact(DIGEST));
        if let Some(bad) = (0u64..).zip(pairs).find(|(_, (a, b))| a != b) {
            return Err(Error::Mismatch { what: "data", block: first + bad.0 });
        }
    }
    Ok(())
}

/// Blocks of each level, level 0 first.
#[must_use]
pub fn level_sizes(data_blocks: u64) -> Vec<u64> {
    let mut sizes = Vec::new();
    let mut count = data_blocks;
    loop {
        count = count.div_ceil(DIGESTS_PER_BLOCK as u64);
        sizes.push(count);
        if count <= 1 {
            return sizes;
        }
    }
}

fn read<R: ReadAt + ?Sized>(
    what: &'static str,
    from: &R,
    block: u64,
    buf: &mut [u8],
) -> Result<(), Error> {
    let offset = block.checked_mul(BLOCK).ok_or(Error::Size("offset overflows"))?;
    from.read_exact_at(buf, offset).map_err(|source| Error::Read { what, block, source })
}
