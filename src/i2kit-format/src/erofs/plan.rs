//! The first pass: which inodes are written in which order, and where each lies.

use std::ops::Bound;

use super::dirents;
use super::format::{CHUNK_BITS_MASK, NID_UNIT};
use super::tree::{Content, Directory, FileData, FileExtent, InodeId, Tree};
use super::writer::Error;
use super::xattrs::Shared;

const BLOCK: u64 = 4096;
const INODE: u64 = 64;
/// The largest chunk we write, as `log2(bytes)`: far below where the kernel's `int` shifts end.
const MAX_CHUNK_BITS: u32 = 30;

/// Where everything of the metadata area lies. Offsets are bytes from its start.
pub(super) struct Plan<'a> {
    /// Inodes in the order in which they are written.
    pub(super) inodes: Vec<Planned<'a>>,
    /// Position in `inodes` by [`InodeId`].
    by_id: Vec<Option<usize>>,
    /// Attributes stored once.
    pub(super) shared: Shared<'a>,
    /// Where the shared attributes start, a multiple of 4 KiB.
    pub(super) shared_offset: u64,
    /// Length of the metadata area, a multiple of 4 KiB.
    pub(super) len: u64,
}

/// One inode and its place.
pub(super) struct Planned<'a> {
    pub(super) id: InodeId,
    pub(super) parent: InodeId,
    pub(super) nlink: u32,
    pub(super) offset: u64,
    pub(super) xattrs: Vec<u8>,
    pub(super) data: Data<'a>,
}

/// How an inode's data is stored.
pub(super) enum Data<'a> {
    /// Nothing, or a device number.
    None,
    /// A directory or symlink of `size` bytes. The last `tail` bytes follow the inode, the rest
    /// lies in whole blocks at `blocks_offset`.
    Meta { size: u64, tail: u64, blocks_offset: u64, dirents: Vec<usize> },
    /// A regular file in one run.
    Plain { size: u64, start_block: u32 },
    /// A regular file with holes or several runs.
    Chunks { file: &'a FileData, runs: Vec<FileExtent>, bits: u32 },
}

impl<'a> Plan<'a> {
    pub(super) fn new(tree: &'a Tree) -> Result<Self, Error> {
        let mut plan = Self::walk(tree)?;
        plan.shared = Shared::collect(plan.inodes.iter().filter_map(|one| tree.get(one.id)))?;
        // nid 0 is left out: some C libraries skip directory entries whose inode number is 0.
        let mut at = 2 * NID_UNIT;
        for planned in &mut plan.inodes {
            let inode = tree.get(planned.id).ok_or(Error::Dangling { id: planned.id.0 })?;
            planned.xattrs = plan.shared.body(&inode.metadata)?;
            planned.data = data(&inode.content)?;
            planned.place(&mut at);
        }
        plan.shared_offset = at.next_multiple_of(BLOCK);
        at = plan.shared_offset + (plan.shared.bytes.len() as u64).next_multiple_of(BLOCK);
        for planned in &mut plan.inodes {
            planned.place_blocks(&mut at);
        }
        plan.len = at;
        Ok(plan)
    }

    /// Directory by directory, depth first, the inodes that a directory names side by side: so
    /// that listing a directory with its files' attributes reads neighbouring blocks.
    fn walk(tree: &Tree) -> Result<Self, Error> {
        let mut plan = Self {
            inodes: Vec::new(),
            by_id: vec![None; tree.len()],
            shared: Shared::default(),
            shared_offset: 0,
            len: 0,
        };
        plan.visit(tree, Tree::ROOT, Tree::ROOT)?;
        let mut stack = vec![Tree::ROOT];
        while let Some(parent) = stack.pop() {
            let entries = tree.directory(parent).ok_or(Error::RootNotADirectory)?;
            let mut below = Vec::new();
            for (name, id) in entries {
                check_name(name)?;
                if plan.visit(tree, *id, parent)? {
                    below.push(*id);
                }
            }
            stack.extend(below.into_iter().rev());
        }
        Ok(plan)
    }

    /// Counts one name of an inode; answers true for a directory, which may have but one.
    fn visit(&mut self, tree: &Tree, id: InodeId, parent: InodeId) -> Result<bool, Error> {
        let dangling = Error::Dangling { id: id.0 };
        let inode = tree.get(id).ok_or(dangling)?;
        let directory = match &inode.content {
            Content::Directory(entries) => Some(entries),
            _ => None,
        };
        let slot = self.by_id.get_mut(id.0 as usize).ok_or(Error::Dangling { id: id.0 })?;
        if let Some(position) = *slot {
            if directory.is_some() {
                return Err(Error::DirectoryLinkedTwice { id: id.0 });
            }
            if let Some(planned) = self.inodes.get_mut(position) {
                planned.nlink = planned.nlink.saturating_add(1);
            }
            return Ok(false);
        }
        *slot = Some(self.inodes.len());
        let nlink = directory.map_or(1, |entries| 2 + subdirectories(tree, entries));
        let data = Data::None;
        self.inodes.push(Planned { id, parent, nlink, offset: 0, xattrs: Vec::new(), data });
        Ok(directory.is_some())
    }

    /// The nid of an inode that the tree names.
    pub(super) fn nid(&self, id: InodeId) -> Option<u64> {
        let position = (*self.by_id.get(id.0 as usize)?)?;
        Some(self.inodes.get(position)?.offset / NID_UNIT)
    }
}

impl Planned<'_> {
    /// Places the inode, its attributes and what follows it at the next fitting offset.
    fn place(&mut self, at: &mut u64) {
        *at = at.next_multiple_of(NID_UNIT);
        let head = INODE + self.xattrs.len() as u64;
        let mut len = head;
        match &mut self.data {
            Data::Meta { tail, .. } if *tail > 0 => {
                // A tail must lie within one block (`erofs_map_blocks`); one that no multiple of
                // 32 can make fit goes into a block of its own.
                if head % NID_UNIT + *tail > BLOCK {
                    *tail = 0;
                } else {
                    while (*at + head) % BLOCK + *tail > BLOCK {
                        *at += NID_UNIT;
                    }
                }
                len += *tail;
            }
            Data::Chunks { file, bits, .. } => len += 4 * file.size.div_ceil(1 << *bits),
            _ => {}
        }
        self.offset = *at;
        *at += len;
    }

    fn place_blocks(&mut self, at: &mut u64) {
        if let Data::Meta { size, tail, blocks_offset, .. } = &mut self.data {
            *blocks_offset = *at;
            *at += (*size - *tail).next_multiple_of(BLOCK);
        }
    }
}

fn check_name(name: &[u8]) -> Result<(), Error> {
    let bad = name.is_empty() || name.len() > 255 || name == b"." || name == b"..";
    if bad || name.contains(&b'/') || name.contains(&0) {
        return Err(Error::Name { name: String::from_utf8_lossy(name).into_owned() });
    }
    Ok(())
}

fn subdirectories(tree: &Tree, entries: &Directory) -> u32 {
    let count = entries.values().filter(|id| tree.directory(**id).is_some()).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn data(content: &Content) -> Result<Data<'_>, Error> {
    Ok(match content {
        Content::Directory(entries) => {
            let (dirents, last) = dirents::split(with_dots(entries).map(|(name, _)| name));
            let full = dirents.len().saturating_sub(1) as u64 * BLOCK;
            let tail = last as u64;
            Data::Meta { size: full + tail, tail: tail % BLOCK, blocks_offset: 0, dirents }
        }
        Content::Symlink(target) => {
            if target.is_empty() || target.len() as u64 >= BLOCK {
                return Err(Error::SymlinkTarget { bytes: target.len() });
            }
            let size = target.len() as u64;
            Data::Meta { size, tail: size, blocks_offset: 0, dirents: Vec::new() }
        }
        Content::Regular(file) => regular(file)?,
        _ => Data::None,
    })
}

/// A directory's names in byte order; `.` and `..` (as `None`s) sort among the rest.
pub(super) fn with_dots(entries: &Directory) -> impl Iterator<Item = (&[u8], Option<InodeId>)> {
    let range = |from, to| entries.range::<[u8], (Bound<&[u8]>, Bound<&[u8]>)>((from, to));
    let (dot, dotdot) = (&b"."[..], &b".."[..]);
    let before = range(Bound::Unbounded, Bound::Excluded(dot));
    let between = range(Bound::Excluded(dot), Bound::Excluded(dotdot));
    let after = range(Bound::Excluded(dotdot), Bound::Unbounded);
    before
        .map(|(name, id)| (&**name, Some(*id)))
        .chain([(dot, None)])
        .chain(between.map(|(name, id)| (&**name, Some(*id))))
        .chain([(dotdot, None)])
        .chain(after.map(|(name, id)| (&**name, Some(*id))))
}

fn regular(file: &FileData) -> Result<Data<'_>, Error> {
    let runs = merged(file)?;
    match runs.as_slice() {
        [] if file.size == 0 => Ok(Data::Plain { size: 0, start_block: 0 }),
        [one] if one.offset == 0 && one.len == file.size => {
            Ok(Data::Plain { size: file.size, start_block: address(one.start_block)? })
        }
        _ => {
            let bits = chunk_bits(file.size, &runs);
            Ok(Data::Chunks { file, runs, bits })
        }
    }
}

/// The extents, with neighbours joined, checked.
fn merged(file: &FileData) -> Result<Vec<FileExtent>, Error> {
    let bad = || Error::Extents { size: file.size };
    let mut runs: Vec<FileExtent> = Vec::new();
    let mut end = 0;
    for extent in &file.extents {
        let after = extent.offset.checked_add(extent.len).ok_or_else(bad)?;
        let whole = extent.len.is_multiple_of(BLOCK) || after == file.size;
        let aligned = extent.offset.is_multiple_of(BLOCK) && whole && extent.len > 0;
        if !aligned || extent.offset < end || after > file.size {
            return Err(bad());
        }
        end = after;
        address(extent.start_block.saturating_add(extent.len.div_ceil(BLOCK)))?;
        match runs.last_mut() {
            Some(last)
                if last.offset + last.len == extent.offset
                    && last.start_block + last.len / BLOCK == extent.start_block =>
            {
                last.len += extent.len;
            }
            _ => runs.push(*extent),
        }
    }
    Ok(runs)
}

/// The largest chunk that no run starts or ends within, as `log2(bytes)`.
fn chunk_bits(size: u64, runs: &[FileExtent]) -> u32 {
    let ends = runs.iter().map(|run| run.offset + run.len).filter(|end| *end < size);
    let edges = runs.iter().map(|run| run.offset).chain(ends);
    let bits = edges.map(u64::trailing_zeros).min().unwrap_or(u64::BITS);
    let needed = u64::BITS - size.saturating_sub(1).leading_zeros();
    bits.min(needed.max(12)).min(MAX_CHUNK_BITS).min(12 + CHUNK_BITS_MASK)
}

/// A block address as 32 bits, of which the largest means a hole.
pub(super) fn address(block: u64) -> Result<u32, Error> {
    match u32::try_from(block) {
        Ok(address) if address < u32::MAX => Ok(address),
        _ => Err(Error::TooLarge { block }),
    }
}
