//! What lies in each block of a disk, as its partition table and its hash tree tell.

use std::collections::BTreeMap;
use std::ops::Range;

use i2kit_contract::{LABEL_STORE, LABEL_STORE_VERITY};
use i2kit_format::read_at::Window;
use i2kit_format::{ReadAt, SLAB, gpt, sha256, verity};

use super::esp;
use super::source::BLOCK_LEN;
use super::tree::{HashDigest, HashTree, TreeError};
use crate::disk::SlabDigest;

/// Where the table's first copy ends, bytes.
const PRIMARY: u64 = gpt::PRIMARY_SECTORS * gpt::SECTOR;
/// Bytes of its second copy.
const BACKUP: u64 = gpt::BACKUP_SECTORS * gpt::SECTOR;
/// 4 KiB blocks of a slab.
const BLOCKS_PER_SLAB: u64 = verity::DIGESTS_PER_BLOCK as u64;

/// A disk that has not the parts of one of i2kit's, or not sound.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// No partition table.
    #[error(transparent)]
    Gpt(#[from] gpt::Error),
    /// A partition is missing.
    #[error("find partition {0}: the disk has none of that name")]
    NoPartition(&'static str),
    /// A partition that the disk is too short for.
    #[error("read partition {0}: it runs past the disk's end")]
    Short(&'static str),
    /// The hash tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The table's own block.
    #[error("read block 0: {0}")]
    Read(std::io::Error),
    /// More blocks than a snapshot can have.
    #[error("number the blocks of a disk of {0} bytes: there are too many")]
    TooLarge(u64),
}

/// What a block is to whoever reads the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Nobody reads it: no partition has it, nor the partition table, or the store's tree ends before.
    Unread,
    /// A slab of the store that is zeros by the tree: the store is opened with `ignore_zero_blocks`,
    /// so nobody reads it either.
    ZeroSlab,
    /// A slab of the store, by its hash block.
    Slab(&'a HashDigest),
    /// Read as it is: the partition table, the ESP, the hash tree, error correction. The digest of its
    /// bytes where it was read for the index.
    Plain(Option<&'a SlabDigest>),
}

/// The blocks of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Bytes of the disk; its volume may be larger.
    pub len: u64,
    /// Where the store lies, bytes.
    pub store: Range<u64>,
    /// The ESP's blocks; none where they are not whole.
    pub esp: Range<u32>,
    tree: HashTree,
    /// Bytes that are read as they are, in no order.
    plain: Vec<Range<u64>>,
    /// Digests of blocks that were read, or told.
    bytes: BTreeMap<u32, SlabDigest>,
    /// The hash block of a slab of zeros.
    zero: HashDigest,
}

impl Index {
    /// Reads the partition table and the hash tree, some 0.8 % of the store, and checks the tree
    /// against the root hash. `disk` may be longer than the disk is: a volume.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn read(disk: &dyn ReadAt, root: &[u8; 32]) -> Result<Self, IndexError> {
        let table = gpt::read(disk)?;
        let len = table.disk_lbas.saturating_mul(gpt::SECTOR).min(disk.len());
        u32::try_from(len.div_ceil(SLAB)).map_err(|_| IndexError::TooLarge(len))?;
        let store = place(&table, LABEL_STORE)?;
        let hash = place(&table, LABEL_STORE_VERITY)?;
        Window::new(disk, store.start, length(&store)).ok_or(IndexError::Short(LABEL_STORE))?;
        let window = Window::new(disk, hash.start, length(&hash));
        let window = window.ok_or(IndexError::Short(LABEL_STORE_VERITY))?;
        let mut bytes = BTreeMap::new();
        note(&mut bytes, 0, &first_block(disk).map_err(IndexError::Read)?);
        let mut each = |number: u64, piece: &[u8]| {
            note(&mut bytes, hash.start.saturating_add(number * SLAB), piece);
        };
        let tree = HashTree::read(&window, length(&store), root, &mut each)?;
        let others = table
            .partitions
            .iter()
            .filter(|one| one.name != LABEL_STORE);
        let mut plain: Vec<_> = others.map(range).collect();
        plain.extend([0..PRIMARY, len.saturating_sub(BACKUP)..len]);
        Ok(Self {
            len,
            store,
            esp: esp::range(&table).unwrap_or_default(),
            tree,
            plain,
            bytes,
            zero: sha256_of(verity::zero_slab()),
        })
    }

    /// Takes a word for what blocks of the ESP hold, if it lies where that is said of: at `esp`.
    pub(super) fn tell(
        &mut self,
        esp: &Range<u32>,
        blocks: impl IntoIterator<Item = (u32, SlabDigest)>,
    ) {
        if self.esp == *esp {
            self.bytes.extend(blocks);
        }
    }

    /// The blocks that are read whole for the index, ascending.
    pub(super) fn digested(&self) -> impl Iterator<Item = u32> + '_ {
        let blocks = self.bytes.keys().copied();
        blocks.filter(|block| !self.esp.contains(block))
    }

    /// How many blocks the disk has, the last one perhaps short.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        u32::try_from(self.len.div_ceil(SLAB)).unwrap_or(u32::MAX)
    }

    /// What block `number` holds; past the disk's end, nothing.
    #[must_use]
    pub fn content(&self, number: u32) -> Content<'_> {
        let block = u64::from(number) * SLAB..(u64::from(number) + 1) * SLAB;
        let meets = |range: &Range<u64>| range.start < block.end && block.start < range.end;
        if self.plain.iter().any(meets) {
            return Content::Plain(self.bytes.get(&number));
        }
        if !meets(&self.store) {
            return Content::Unread;
        }
        let Some(slab) = self.slab(block.start) else {
            return Content::Plain(None);
        };
        match usize::try_from(slab)
            .ok()
            .and_then(|slab| self.tree.digests.get(slab))
        {
            None => Content::Unread,
            // Part of it may be past the tree's end.
            Some(_) if (slab + 1) * BLOCKS_PER_SLAB > self.tree.data_blocks => Content::Plain(None),
            Some(digest) if *digest == self.zero => Content::ZeroSlab,
            Some(digest) => Content::Slab(digest),
        }
    }

    /// Which slab of the store lies at a byte of the disk, if just one does.
    fn slab(&self, offset: u64) -> Option<u64> {
        let within = offset.checked_sub(self.store.start)?;
        within.is_multiple_of(SLAB).then_some(within / SLAB)
    }

    /// True when a block that was read may be what the index tells of it. What it does not tell may be
    /// anything.
    #[must_use]
    pub fn matches(&self, number: u32, bytes: &[u8]) -> bool {
        match self.content(number) {
            Content::Slab(digest) => sha256_of(&verity::hash_slab(bytes)) == *digest,
            Content::Plain(Some(digest)) => sha256_of(bytes) == *digest,
            Content::Unread | Content::ZeroSlab | Content::Plain(None) => true,
        }
    }
}

fn sha256_of(bytes: &[u8]) -> [u8; 32] {
    sha256::digests(&[bytes])
        .first()
        .copied()
        .unwrap_or_default()
}

/// Notes a whole block that was read at `offset`.
fn note(bytes: &mut BTreeMap<u32, SlabDigest>, offset: u64, block: &[u8]) {
    if let Ok(number) = u32::try_from(offset / SLAB)
        && offset.is_multiple_of(SLAB)
        && block.len() == BLOCK_LEN
    {
        bytes.insert(number, sha256_of(block));
    }
}

fn first_block(disk: &dyn ReadAt) -> std::io::Result<Vec<u8>> {
    let len = usize::try_from(disk.len()).unwrap_or(usize::MAX);
    let mut block = vec![0; len.min(BLOCK_LEN)];
    disk.read_exact_at(&mut block, 0)?;
    Ok(block)
}

fn place(table: &gpt::Table, name: &'static str) -> Result<Range<u64>, IndexError> {
    let found = table.named(name).ok_or(IndexError::NoPartition(name))?;
    Ok(range(found))
}

fn range(partition: &gpt::Partition) -> Range<u64> {
    let start = partition.offset();
    start..start.saturating_add(partition.size())
}

fn length(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    #[test]
    fn each_block_is_what_the_table_and_the_tree_say() {
        let sample = Sample::new(&[1, 0, 2], 3);
        let index = Index::read(&sample.bytes, &sample.root).unwrap();
        assert_eq!(index.len, sample.bytes.len() as u64);
        assert!(matches!(index.content(0), Content::Plain(Some(_))));
        // No partition begins before 1 MiB.
        assert_eq!(index.content(1), Content::Unread);
        let esp = sample.esp();
        assert!(matches!(index.content(esp), Content::Plain(None)));
        let store = sample.store();
        assert!(matches!(index.content(store), Content::Slab(_)));
        assert_eq!(index.content(store + 1), Content::ZeroSlab);
        assert_ne!(index.content(store), index.content(store + 2));
        // The partition is longer than what the tree covers.
        assert_eq!(index.content(store + 3), Content::Unread);
        let hash = sample.hash();
        assert!(matches!(index.content(hash), Content::Plain(Some(_))));
        assert!(matches!(index.content(hash + 1), Content::Plain(None)));
        let last = index.blocks() - 1;
        assert!(matches!(index.content(last), Content::Plain(None)));
        assert_eq!(index.content(last - 1), Content::Unread);
        assert_eq!(index.content(last + 1), Content::Unread);
        assert_eq!(index.content(u32::MAX), Content::Unread);
    }

    #[test]
    fn blocks_match_what_they_were_indexed_as() {
        let sample = Sample::new(&[1, 0, 2], 3);
        let index = Index::read(&sample.bytes, &sample.root).unwrap();
        for number in 0..index.blocks() {
            let mut block = sample.block(number).to_vec();
            assert!(index.matches(number, &block), "{number}");
            block[4096] ^= 1;
            let is_told = !matches!(
                index.content(number),
                Content::Unread | Content::ZeroSlab | Content::Plain(None)
            );
            assert_eq!(index.matches(number, &block), !is_told, "{number}");
        }
    }

    #[test]
    fn another_root_hash_or_table_is_refused() {
        let sample = Sample::new(&[1, 0, 2], 3);
        let error = Index::read(&sample.bytes, &[7; 32]).unwrap_err();
        assert!(matches!(error, IndexError::Tree(_)), "{error}");
        let error = Index::read(&vec![0; 1 << 20], &sample.root).unwrap_err();
        assert!(matches!(error, IndexError::Gpt(_)), "{error}");
    }
}
