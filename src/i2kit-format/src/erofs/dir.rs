//! Directory blocks: dirents, then the names, in strict byte order.

use zerocopy::IntoBytes as _;

use super::format::{BLOCK, Dirent};
use super::{Content, Directory, InodeId};

const DIRENT: usize = size_of::<Dirent>();

/// A directory entry before it has a nid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'t> {
    pub name: &'t [u8],
    pub id: InodeId,
}

/// All entries, `.` and `..` in their place in byte order, as the kernel's binary search wants.
pub(super) fn entries(directory: &Directory, this: InodeId, parent: InodeId) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = directory
        .iter()
        .map(|(name, &id)| Entry { name, id })
        .collect();
    entries.push(Entry {
        name: b".",
        id: this,
    });
    entries.push(Entry {
        name: b"..",
        id: parent,
    });
    entries.sort_unstable_by_key(|entry| entry.name);
    entries
}

/// The entries of each block, as many as fit.
pub(super) fn blocks<'a, 't>(mut rest: &'a [Entry<'t>]) -> Vec<&'a [Entry<'t>]> {
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let mut used = 0usize;
        let fits = |entry: &&Entry<'_>| {
            used = used.saturating_add(DIRENT).saturating_add(entry.name.len());
            used <= BLOCK
        };
        // At least one: names have 255 bytes at most.
        let count = rest.iter().take_while(fits).count().max(1);
        let Some((block, after)) = rest.split_at_checked(count) else {
            break;
        };
        blocks.push(block);
        rest = after;
    }
    blocks
}

/// Bytes of a block that are in use.
pub(super) fn used(block: &[Entry<'_>]) -> usize {
    block
        .iter()
        .map(|entry| DIRENT.saturating_add(entry.name.len()))
        .fold(0, usize::saturating_add)
}

/// Appends a block's bytes, without the zeros that fill it. `nid_and_type` gives an inode's nid
/// and `FT_*` type.
pub(super) fn encode(
    out: &mut Vec<u8>,
    block: &[Entry<'_>],
    nid_and_type: impl Fn(InodeId) -> (u64, u8),
) {
    let mut nameoff = block.len().saturating_mul(DIRENT);
    for entry in block {
        let (nid, file_type) = nid_and_type(entry.id);
        let dirent = Dirent {
            nid: nid.into(),
            // Below 4096, since the block fits.
            nameoff: u16::try_from(nameoff).unwrap_or(u16::MAX).into(),
            file_type,
            reserved: 0,
        };
        out.extend_from_slice(dirent.as_bytes());
        nameoff = nameoff.saturating_add(entry.name.len());
    }
    for entry in block {
        out.extend_from_slice(entry.name);
    }
}

/// The `FT_*` type in a dirent.
pub(super) fn file_type(content: &Content) -> u8 {
    match content {
        Content::Regular(_) | Content::Compressed(_) => 1,
        Content::Directory(_) => 2,
        Content::CharDevice { .. } => 3,
        Content::BlockDevice { .. } => 4,
        Content::Fifo => 5,
        Content::Socket => 6,
        Content::Symlink(_) => 7,
    }
}
