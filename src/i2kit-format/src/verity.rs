//! dm-verity hash trees: hash type 1, SHA-256, 4 KiB data and hash blocks.
//!
//! On disk the hash device holds the superblock in block 0, then the levels from the top (one
//! block) down to level 0, whose blocks each hold the digests of [`DIGESTS_PER_BLOCK`] data
//! blocks. Sources: `Documentation/admin-guide/device-mapper/verity.rst` of Linux and
//! `lib/verity/` of cryptsetup.

use std::io;
use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{ReadAt, sha256};

/// Bytes of a hash block, and of a data block.
pub const HASH_BLOCK: usize = 4096;
/// Digests in a hash block: one describes 512 KiB, a slab.
pub const DIGESTS_PER_BLOCK: usize = 128;

/// One block of the tree: the digests of 128 blocks below it.
pub type HashBlock = [u8; HASH_BLOCK];

const DIGEST: usize = 32;
const SLAB_BYTES: usize = HASH_BLOCK * DIGESTS_PER_BLOCK;
const BLOCK_BYTES: u64 = HASH_BLOCK as u64;
const SIGNATURE: [u8; 8] = *b"verity\0\0";
const ZERO_BLOCK: &[u8; HASH_BLOCK] = &[0; HASH_BLOCK];

static ZERO_DIGEST: LazyLock<[u8; DIGEST]> = LazyLock::new(|| Sha256::digest(ZERO_BLOCK).into());
static ZERO_SLAB: LazyLock<HashBlock> = LazyLock::new(|| {
    let mut block = [0; HASH_BLOCK];
    let (digests, _) = block.as_chunks_mut::<DIGEST>();
    digests.fill(*ZERO_DIGEST);
    block
});

/// What can be wrong with a hash device or with the data under it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The superblock's block is shorter than its record.
    #[error("dm-verity superblock: {0} bytes, at least 512 are needed")]
    Short(usize),
    /// No `verity` signature.
    #[error("dm-verity superblock: no signature")]
    Signature,
    /// A value that this reader does not know.
    #[error("dm-verity superblock: {field} {value} is not supported")]
    Unsupported {
        /// The superblock's field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A device is too small for what the superblock says.
    #[error("dm-verity {device} device: {len} bytes, at least {needed} are needed")]
    TooSmall {
        /// `data` or `hash`.
        device: &'static str,
        /// Bytes there.
        len: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// A read failed.
    #[error("dm-verity {device} device: reading at byte {offset}")]
    Read {
        /// `data` or `hash`.
        device: &'static str,
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// A hash block does not match the digest above it.
    #[error(
        "dm-verity level {level}: hash block {block} is corrupt (byte {offset} of the hash device)"
    )]
    CorruptHash {
        /// 0 is the level just above the data.
        level: usize,
        /// Index within the level.
        block: u64,
        /// Where the block lies in the hash device.
        offset: u64,
    },
    /// A data block does not match its digest.
    #[error("dm-verity data: block {block} is corrupt (byte {})", .block.saturating_mul(BLOCK_BYTES))]
    CorruptData {
        /// Index of the 4 KiB block.
        block: u64,
    },
}

/// The level-0 hash block of up to 512 KiB of data.
///
/// A last block of less than 4 KiB is hashed as if zeros followed. Blocks that are not there leave
/// zero digests, which the kernel never reads. Bytes past 512 KiB belong to the next hash block
/// and are not looked at.
#[must_use]
pub fn hash_slab(slab: &[u8]) -> HashBlock {
    debug_assert!(slab.len() <= SLAB_BYTES);
    let mut out = [0; HASH_BLOCK];
    let (digests, _) = out.as_chunks_mut::<DIGEST>();
    let (blocks, rest) = slab.as_chunks::<HASH_BLOCK>();
    let (whole, last) = digests.split_at_mut(blocks.len().min(DIGESTS_PER_BLOCK));
    let (mut places, mut data) = (Vec::new(), Vec::<&[u8]>::new());
    for (digest, block) in whole.iter_mut().zip(blocks) {
        if block == ZERO_BLOCK {
            *digest = *ZERO_DIGEST;
        } else {
            places.push(digest);
            data.push(block);
        }
    }
    for (place, digest) in places.into_iter().zip(sha256::digests(&data)) {
        *place = digest;
    }
    if let ([_, ..], Some(digest)) = (rest, last.first_mut()) {
        *digest = hash_data_block(rest);
    }
    out
}

/// The hash block of an all-zero slab.
#[must_use]
pub fn zero_slab() -> &'static HashBlock {
    &ZERO_SLAB
}

fn hash_data_block(block: &[u8]) -> [u8; DIGEST] {
    if block == ZERO_BLOCK {
        return *ZERO_DIGEST;
    }
    let mut hasher = Sha256::new();
    hasher.update(block);
    let (_, padding) = ZERO_BLOCK.split_at(block.len().min(HASH_BLOCK));
    hasher.update(padding);
    hasher.finalize().into()
}

/// Builds the levels above level 0 from the level-0 blocks, in order.
///
/// Needs at least two data blocks: of a single one the kernel takes the block's own digest as root
/// hash and reads no hash block at all.
#[derive(Clone, Debug, Default)]
pub struct TreeBuilder {
    /// Digests of the level-0 blocks: level 1.
    level1: Vec<u8>,
}

/// The tree above level 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upper {
    /// The digest of the topmost block; all zero for a tree of no blocks, which dm-verity refuses.
    pub root_hash: [u8; 32],
    /// All levels above level 0 in on-disk order, the top first. The level-0 blocks follow them.
    pub blocks: Vec<u8>,
}

impl TreeBuilder {
    /// A tree of no blocks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next level-0 hash block.
    pub fn push(&mut self, level0: &HashBlock) {
        self.level1.extend_from_slice(&Sha256::digest(level0));
    }

    /// The levels above, and the root hash.
    #[must_use]
    pub fn finish(self) -> Upper {
        let mut levels: Vec<Vec<u8>> = Vec::new();
        let mut digests = self.level1;
        while digests.len() > DIGEST {
            digests.resize(digests.len().next_multiple_of(HASH_BLOCK), 0);
            let above = digests
                .chunks(HASH_BLOCK)
                .flat_map(Sha256::digest)
                .collect();
            levels.push(std::mem::replace(&mut digests, above));
        }
        let root_hash = digests.try_into().unwrap_or_default();
        let blocks = levels.into_iter().rev().flatten().collect();
        Upper { root_hash, blocks }
    }
}

/// The superblock in block 0 of a hash device (`struct verity_sb` in cryptsetup's
/// `lib/verity/verity.c`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// `verity\0\0`.
    pub signature: [u8; 8],
    /// Of the superblock: 1.
    pub version: u32,
    /// 1: the salt comes before the data. 0 is Chrome OS's.
    pub hash_type: u32,
    /// The hash device's UUID, its bytes in the order they are written.
    pub uuid: [u8; 16],
    /// `sha256`, zero-filled.
    pub algorithm: [u8; 32],
    /// Bytes: 4096.
    pub data_block_size: u32,
    /// Bytes: 4096.
    pub hash_block_size: u32,
    /// Data blocks that the tree covers.
    pub data_blocks: u64,
    /// Bytes of `salt` in use, 0..=256.
    pub salt_size: u16,
    /// The salt, zero-filled.
    pub salt: [u8; 256],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawSuperblock {
    signature: [u8; 8],
    version: U32,
    hash_type: U32,
    uuid: [u8; 16],
    algorithm: [u8; 32],
    data_block_size: U32,
    hash_block_size: U32,
    data_blocks: U64,
    salt_size: U16,
    _pad1: [u8; 6],
    salt: [u8; 256],
    _pad2: [u8; 168],
}

impl Superblock {
    /// SHA-256 over 4 KiB blocks with an empty salt.
    #[must_use]
    pub fn new(uuid: [u8; 16], data_blocks: u64) -> Self {
        let mut algorithm = [0; 32];
        for (to, from) in algorithm.iter_mut().zip(b"sha256") {
            *to = *from;
        }
        Self {
            signature: SIGNATURE,
            version: 1,
            hash_type: 1,
            uuid,
            algorithm,
            data_block_size: 4096,
            hash_block_size: 4096,
            data_blocks,
            salt_size: 0,
            salt: [0; 256],
        }
    }

    /// Block 0 of the hash device.
    #[must_use]
    pub fn to_block(&self) -> HashBlock {
        let raw = RawSuperblock {
            signature: self.signature,
            version: self.version.into(),
            hash_type: self.hash_type.into(),
            uuid: self.uuid,
            algorithm: self.algorithm,
            data_block_size: self.data_block_size.into(),
            hash_block_size: self.hash_block_size.into(),
            data_blocks: self.data_blocks.into(),
            salt_size: self.salt_size.into(),
            _pad1: [0; 6],
            salt: self.salt,
            _pad2: [0; 168],
        };
        let mut block = [0; HASH_BLOCK];
        for (to, from) in block.iter_mut().zip(raw.as_bytes()) {
            *to = *from;
        }
        block
    }

    /// Reads a superblock from the start of a hash device.
    ///
    /// # Errors
    /// When it is short, has no signature, or holds a version, hash type, algorithm, block size or
    /// salt size that [`verify`] does not know.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (raw, _) =
            RawSuperblock::read_from_prefix(bytes).map_err(|_| Error::Short(bytes.len()))?;
        let superblock = Self {
            signature: raw.signature,
            version: raw.version.get(),
            hash_type: raw.hash_type.get(),
            uuid: raw.uuid,
            algorithm: raw.algorithm,
            data_block_size: raw.data_block_size.get(),
            hash_block_size: raw.hash_block_size.get(),
            data_blocks: raw.data_blocks.get(),
            salt_size: raw.salt_size.get(),
            salt: raw.salt,
        };
        superblock.check()?;
        Ok(superblock)
    }

    fn check(&self) -> Result<(), Error> {
        if self.signature != SIGNATURE {
            return Err(Error::Signature);
        }
        let known = Self::new(self.uuid, self.data_blocks);
        for (field, value, wanted) in [
            ("version", self.version, known.version),
            ("hash type", self.hash_type, known.hash_type),
            (
                "data block size",
                self.data_block_size,
                known.data_block_size,
            ),
            (
                "hash block size",
                self.hash_block_size,
                known.hash_block_size,
            ),
        ] {
            if value != wanted {
                return Err(Error::Unsupported {
                    field,
                    value: value.to_string(),
                });
            }
        }
        if self.algorithm != known.algorithm {
            let value = self.algorithm.escape_ascii().to_string();
            return Err(Error::Unsupported {
                field: "algorithm",
                value,
            });
        }
        if usize::from(self.salt_size) > self.salt.len() {
            let value = self.salt_size.to_string();
            return Err(Error::Unsupported {
                field: "salt size",
                value,
            });
        }
        Ok(())
    }

    fn salt(&self) -> &[u8] {
        self.salt
            .get(..usize::from(self.salt_size))
            .unwrap_or(&self.salt)
    }
}

/// Where one level lies in the hash device, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Its first block; block 0 of the device is the superblock.
    pub first_block: u64,
    /// How many there are.
    pub blocks: u64,
}

/// The levels of a tree over so many data blocks, level 0 first; none over a single block.
#[must_use]
pub fn levels(data_blocks: u64) -> Vec<Level> {
    layout(data_blocks).0
}

/// The levels, level 0 first, and the hash device's length in blocks.
fn layout(data_blocks: u64) -> (Vec<Level>, u64) {
    let mut counts = Vec::new();
    let mut below = data_blocks;
    while below > 1 {
        below = below.div_ceil(DIGESTS_PER_BLOCK as u64);
        counts.push(below);
    }
    let mut next: u64 = 1;
    let mut levels: Vec<Level> = counts
        .into_iter()
        .rev()
        .map(|blocks| {
            let level = Level {
                first_block: next,
                blocks,
            };
            next = next.saturating_add(blocks);
            level
        })
        .collect();
    levels.reverse();
    (levels, next)
}

/// Blocks of a hash device over so many data blocks, its superblock among them.
#[must_use]
pub fn hash_blocks(data_blocks: u64) -> u64 {
    layout(data_blocks).1
}

/// Checks the hash device against the root hash, and the data against the hash device.
///
/// Reads both once, from the top down, and holds one slab and two hash blocks at a time. `hash`
/// starts with the superblock. [`Verifier`] does the same on several threads.
///
/// # Errors
/// The first block that is corrupt, by number; a superblock or a size that does not fit; a read
/// that fails.
pub fn verify(data: &dyn ReadAt, hash: &dyn ReadAt, root: &[u8; 32]) -> Result<(), Error> {
    let verifier = Verifier::new(data, hash, root)?;
    let mut buffer = Vec::new();
    (0..verifier.slabs()).try_for_each(|slab| verifier.check(slab, &mut buffer))
}

/// A hash device that matches its root hash, and data to check against it, slab by slab.
pub struct Verifier<'a> {
    data: &'a dyn ReadAt,
    hash: &'a dyn ReadAt,
    root: &'a [u8; 32],
    superblock: Superblock,
    level0: Option<Level>,
}

impl<'a> Verifier<'a> {
    /// Checks the hash device, which starts with the superblock.
    ///
    /// # Errors
    /// The first hash block that is corrupt; a superblock or a size that does not fit; a read that
    /// fails.
    pub fn new(
        data: &'a dyn ReadAt,
        hash: &'a dyn ReadAt,
        root: &'a [u8; 32],
    ) -> Result<Self, Error> {
        let mut block = [0; HASH_BLOCK];
        read(hash, "hash", &mut block, 0)?;
        let superblock = Superblock::parse(&block)?;
        let (levels, hash_blocks) = layout(superblock.data_blocks);
        require(hash, "hash", hash_blocks)?;
        require(data, "data", superblock.data_blocks)?;
        let salt = superblock.salt();
        let mut parent = None;
        for (number, &level) in levels.iter().enumerate().rev() {
            verify_level(hash, salt, root, (number, level), parent)?;
            parent = Some(level);
        }
        Ok(Self {
            data,
            hash,
            root,
            superblock,
            level0: parent,
        })
    }

    /// Slabs of data, the last of which may be short.
    #[must_use]
    pub fn slabs(&self) -> u64 {
        self.superblock
            .data_blocks
            .div_ceil(DIGESTS_PER_BLOCK as u64)
    }

    /// Checks one of them, which is read into `buffer`.
    ///
    /// # Errors
    /// The first of its blocks that is corrupt; a read that fails.
    pub fn check(&self, slab: u64, buffer: &mut Vec<u8>) -> Result<(), Error> {
        let first = slab.saturating_mul(DIGESTS_PER_BLOCK as u64);
        let blocks = self.superblock.data_blocks.saturating_sub(first);
        let blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
        buffer.resize(blocks.min(DIGESTS_PER_BLOCK).saturating_mul(HASH_BLOCK), 0);
        let offset = first.saturating_mul(BLOCK_BYTES);
        read(self.data, "data", buffer, offset)?;
        let wanted = wanted_digests(self.hash, self.root, self.level0, slab)?;
        let found = hash_slab_salted(buffer, self.superblock.salt());
        let pairs = found.as_chunks::<DIGEST>().0.iter();
        let pairs = pairs.zip(wanted.as_chunks::<DIGEST>().0);
        let of_data = (first..).zip(pairs).take(buffer.len() / HASH_BLOCK);
        for (block, (found, wanted)) in of_data {
            if found != wanted {
                return Err(Error::CorruptData { block });
            }
        }
        Ok(())
    }
}

/// As [`hash_slab`], with salt.
fn hash_slab_salted(slab: &[u8], salt: &[u8]) -> HashBlock {
    if salt.is_empty() {
        return hash_slab(slab);
    }
    let mut out = [0; HASH_BLOCK];
    let blocks = slab.chunks(HASH_BLOCK);
    for (digest, block) in out.as_chunks_mut::<DIGEST>().0.iter_mut().zip(blocks) {
        *digest = salted(salt, block);
    }
    out
}

fn require(device: &dyn ReadAt, name: &'static str, blocks: u64) -> Result<(), Error> {
    let needed = blocks.saturating_mul(BLOCK_BYTES);
    let len = device.len();
    if len < needed {
        return Err(Error::TooSmall {
            device: name,
            len,
            needed,
        });
    }
    Ok(())
}

fn read(device: &dyn ReadAt, name: &'static str, buf: &mut [u8], offset: u64) -> Result<(), Error> {
    device
        .read_exact_at(buf, offset)
        .map_err(|source| Error::Read {
            device: name,
            offset,
            source,
        })
}

fn salted(salt: &[u8], block: &[u8]) -> [u8; DIGEST] {
    Sha256::new()
        .chain_update(salt)
        .chain_update(block)
        .finalize()
        .into()
}

fn verify_level(
    hash: &dyn ReadAt,
    salt: &[u8],
    root: &[u8; 32],
    (number, level): (usize, Level),
    parent: Option<Level>,
) -> Result<(), Error> {
    let mut buf = [0; HASH_BLOCK];
    let groups = level.blocks.div_ceil(DIGESTS_PER_BLOCK as u64);
    for group in 0..groups {
        let digests = wanted_digests(hash, root, parent, group)?;
        let first = group.saturating_mul(DIGESTS_PER_BLOCK as u64);
        for (block, wanted) in (first..level.blocks).zip(digests.as_chunks::<DIGEST>().0) {
            let offset = level
                .first_block
                .saturating_add(block)
                .saturating_mul(BLOCK_BYTES);
            read(hash, "hash", &mut buf, offset)?;
            if salted(salt, &buf) != *wanted {
                return Err(Error::CorruptHash {
                    level: number,
                    block,
                    offset,
                });
            }
        }
    }
    Ok(())
}

/// The digests of the `group`-th 128 blocks below `parent`; of the topmost block, the root hash.
fn wanted_digests(
    hash: &dyn ReadAt,
    root: &[u8; 32],
    parent: Option<Level>,
    group: u64,
) -> Result<Vec<u8>, Error> {
    let Some(parent) = parent else {
        return Ok(root.to_vec());
    };
    let mut digests = vec![0; HASH_BLOCK];
    let offset = parent
        .first_block
        .saturating_add(group)
        .saturating_mul(BLOCK_BYTES);
    read(hash, "hash", &mut digests, offset)?;
    Ok(digests)
}
