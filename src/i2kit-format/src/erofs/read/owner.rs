//! Which file a block of the image belongs to: for messages about damage.

use std::collections::BTreeSet;

use super::super::{Cluster, CompressedFile};
use super::compressed::is_compressed;
use super::{BLOCK_BYTES, FileType, ReadInode, Reader, SLOT};
use crate::ReadAt;

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The superblock.
    Superblock,
    /// Inodes, their attributes and maps.
    Inode,
    /// Names in a directory, or a link's target.
    Names,
    /// A file's bytes.
    Data,
}

impl std::fmt::Display for Role {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Superblock => "superblock",
            Self::Inode => "inode",
            Self::Names => "directory entries",
            Self::Data => "data",
        })
    }
}

/// Whose a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// What it is for.
    pub role: Role,
    /// From the root, with escapes; of several files that share the block, one.
    pub path: String,
}

/// Bytes of the packed inode.
type Range = (u64, u64);

impl<R: ReadAt + ?Sized> Reader<'_, R> {
    /// Whose the block is, as far as the image can still be read: what is damaged is passed over.
    /// `None` for one that no file has. Walks the whole tree.
    #[must_use]
    pub fn owner(&self, block: u64) -> Option<Owner> {
        let owner = |role, path: &[u8]| Owner {
            role,
            path: path.escape_ascii().to_string(),
        };
        if block == 0 {
            return Some(owner(Role::Superblock, b"/"));
        }
        let packed = self.packed_range(block);
        let in_metadata = block >= u64::from(self.superblock.meta_blkaddr);
        // Of the inodes that begin before the block's end, the last.
        let mut nearest: Option<(u64, Vec<u8>)> = None;
        let mut seen = BTreeSet::new();
        let mut pending = vec![(Vec::new(), self.root().ok()?)];
        while let Some((path, inode)) = pending.pop() {
            if !seen.insert(inode.nid) {
                continue;
            }
            let name: &[u8] = if path.is_empty() { b"/" } else { &path };
            if let Some(role) = self.role(&inode, block, packed) {
                return Some(owner(role, name));
            }
            let start = self.inode_offset(&inode) / BLOCK_BYTES;
            if in_metadata
                && start <= block
                && nearest.as_ref().is_none_or(|(at, _)| *at < inode.nid)
            {
                nearest = Some((inode.nid, name.to_vec()));
            }
            pending.extend(self.below(&path, &inode));
        }
        nearest.map(|(_, path)| owner(Role::Inode, &path))
    }

    /// What a directory names and can be read.
    fn below(&self, path: &[u8], inode: &ReadInode) -> Vec<(Vec<u8>, ReadInode)> {
        let entries = match inode.file_type {
            FileType::Directory => self.read_dir(inode).unwrap_or_default(),
            _ => Vec::new(),
        };
        let named = entries.into_iter().filter_map(|entry| {
            let inode = self.inode(entry.nid).ok()?;
            let is_dots = matches!(&*entry.name, b"." | b"..");
            (!is_dots).then(|| ([path, b"/", &*entry.name].concat(), inode))
        });
        named.collect()
    }

    fn inode_offset(&self, inode: &ReadInode) -> u64 {
        let meta = u64::from(self.superblock.meta_blkaddr) * BLOCK_BYTES;
        inode.nid.saturating_mul(SLOT as u64).saturating_add(meta)
    }

    /// What the block holds of the inode's contents.
    fn role(&self, inode: &ReadInode, block: u64, packed: Option<Range>) -> Option<Role> {
        match inode.file_type {
            FileType::Directory | FileType::Symlink => {
                self.has_names(inode, block).then_some(Role::Names)
            }
            FileType::Regular if is_compressed(inode) => {
                let file = self.clusters(inode).ok()?;
                let has = file.clusters.iter().any(|one| holds(one, block));
                (has || packed.is_some_and(|range| overlaps(&file, range))).then_some(Role::Data)
            }
            FileType::Regular => {
                let extents = self.extents(inode).ok()?;
                let mut blocks = extents.iter().map(|one| {
                    let end = one
                        .start_block
                        .saturating_add(one.len.div_ceil(BLOCK_BYTES));
                    one.start_block..end
                });
                blocks
                    .any(|range| range.contains(&block))
                    .then_some(Role::Data)
            }
            _ => None,
        }
    }

    /// Whole blocks of names; those that follow the inode count as the inode's.
    fn has_names(&self, inode: &ReadInode, block: u64) -> bool {
        let mut offset = 0;
        while offset < inode.size {
            let Ok(piece) = self.piece(inode, offset) else {
                return false;
            };
            let at = piece.at.unwrap_or(u64::MAX);
            let end = at.saturating_add(piece.len).div_ceil(BLOCK_BYTES);
            let is_apart = at.is_multiple_of(BLOCK_BYTES);
            if is_apart && (at / BLOCK_BYTES..end).contains(&block) {
                return true;
            }
            offset = offset.saturating_add(piece.len.max(1));
        }
        false
    }

    /// The bytes of the packed inode that the block is part of.
    fn packed_range(&self, block: u64) -> Option<Range> {
        let mut at = 0u64;
        for cluster in self.compression().ok()??.packed {
            let end = at.saturating_add(u64::from(cluster.len));
            if holds(&cluster, block) {
                return Some((at, end));
            }
            at = end;
        }
        None
    }
}

fn holds(cluster: &Cluster, block: u64) -> bool {
    let end = cluster
        .start_block
        .saturating_add(u64::from(cluster.blocks));
    (cluster.start_block..end).contains(&block)
}

/// True when the file's fragment lies at least partly in the range.
fn overlaps(file: &CompressedFile, (from, until): Range) -> bool {
    let len = file.size.saturating_sub(file.clusters_len());
    let fragment = file.fragment.filter(|_| len > 0);
    fragment.is_some_and(|at| at < until && from < at.saturating_add(len))
}
