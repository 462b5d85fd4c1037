//! Where an inode's bytes lie, and reading them.

use zerocopy::FromBytes as _;

use super::super::FileExtent;
use super::super::format::{
    BLOCK, CHUNK_BLKBITS_MASK, CHUNK_INDEXES, ChunkIndex, NULL_ADDR, layout,
};
use super::compressed::is_compressed;
use super::{BLOCK_BYTES, FileType, ReadError, ReadInode, Reader};
use crate::ReadAt;

pub(super) const KNOWN_LAYOUTS: [u16; 5] = [
    layout::FLAT_PLAIN,
    layout::COMPRESSED_FULL,
    layout::FLAT_INLINE,
    layout::COMPRESSED_COMPACT,
    layout::CHUNK_BASED,
];
/// Chunk map entries read at once.
const MAP_WINDOW: u64 = 512;
/// The kernel reads a link's target as one page, with its NUL.
const MAX_TARGET: u64 = 4095;

/// Bytes of a file that lie together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Byte of the image; `None` for a hole.
    pub at: Option<u64>,
    /// Bytes.
    pub len: u64,
}

/// A chunk map.
#[derive(Clone, Copy, Debug)]
struct Chunks {
    /// Byte of the image at which the map begins.
    map: u64,
    /// Bytes of an entry: 4 or 8.
    entry: usize,
    /// Bytes of a chunk.
    size: u64,
}

impl<R: ReadAt + ?Sized> Reader<'_, R> {
    /// Reads a regular file's bytes from `offset`: as many as there are, up to `buf`'s length.
    ///
    /// # Errors
    /// When the inode is no regular file, or points outside the image.
    pub fn read_file_at(
        &self,
        inode: &ReadInode,
        buf: &mut [u8],
        offset: u64,
    ) -> Result<usize, ReadError> {
        inode.require(FileType::Regular, "regular file")?;
        self.read_data(inode, buf, offset)
    }

    /// A symbolic link's target.
    ///
    /// # Errors
    /// When the inode is no symbolic link, or its target is longer than 4095 bytes.
    pub fn read_link(&self, inode: &ReadInode) -> Result<Vec<u8>, ReadError> {
        inode.require(FileType::Symlink, "symbolic link")?;
        let len = usize::try_from(inode.size)
            .ok()
            .filter(|_| inode.size <= MAX_TARGET);
        let mut target = vec![0; len.ok_or_else(|| inode.corrupt("link target too long"))?];
        self.read_data(inode, &mut target, 0)?;
        Ok(target)
    }

    /// Where a regular file's bytes lie, ascending, adjacent ones merged; holes are left out.
    ///
    /// Memory is bounded by the size of the file's chunk map, which lies in the image.
    ///
    /// # Errors
    /// When the inode is no regular file, has inline data (which has no block of its own), or its
    /// map reaches past the image. That the blocks are inside the image is not checked.
    pub fn extents(&self, inode: &ReadInode) -> Result<Vec<FileExtent>, ReadError> {
        inode.require(FileType::Regular, "regular file")?;
        match inode.layout {
            _ if inode.size == 0 => Ok(Vec::new()),
            layout::FLAT_PLAIN => Ok(vec![FileExtent {
                offset: 0,
                len: inode.size,
                start_block: inode.i_u.into(),
            }]),
            layout::CHUNK_BASED => self.chunk_extents(inode),
            _ if is_compressed(inode) => Err(inode.corrupt("compressed")),
            _ => Err(ReadError::Unsupported {
                what: "inline data of inode",
                value: inode.nid,
            }),
        }
    }

    /// Fills `buf` from `offset`, up to the end of the data.
    pub(super) fn read_data(
        &self,
        inode: &ReadInode,
        buf: &mut [u8],
        offset: u64,
    ) -> Result<usize, ReadError> {
        let left = inode.size.saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let mut rest = buf.get_mut(..len).unwrap_or_default();
        let mut at = offset;
        while !rest.is_empty() {
            if is_compressed(inode) {
                let got = self.read_compressed(inode, rest, at)?;
                let after = std::mem::take(&mut rest).get_mut(got..).filter(|_| got > 0);
                rest = after.ok_or_else(|| inode.corrupt("empty cluster"))?;
                at = at.saturating_add(got as u64);
                continue;
            }
            let piece = self.piece(inode, at)?;
            let take = usize::try_from(piece.len)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let (now, after) = std::mem::take(&mut rest)
                .split_at_mut_checked(take)
                .filter(|_| take > 0)
                .ok_or_else(|| inode.corrupt("empty extent"))?;
            match piece.at {
                None => now.fill(0),
                Some(start) => self.read("file data", now, start)?,
            }
            rest = after;
            at = at.saturating_add(take as u64);
        }
        Ok(len)
    }

    /// What lies at `offset`, which is below the size.
    pub(super) fn piece(&self, inode: &ReadInode, offset: u64) -> Result<Piece, ReadError> {
        let left = inode.size.saturating_sub(offset);
        match inode.layout {
            layout::FLAT_PLAIN => Ok(Piece {
                at: Some(flat(inode, offset)?),
                len: left,
            }),
            layout::FLAT_INLINE => inline(inode, offset),
            _ => {
                let chunks = chunks(inode)?;
                let (index, within) = (offset / chunks.size, offset % chunks.size);
                let len = chunks.size.saturating_sub(within).min(left);
                let address = self
                    .chunk_addresses(inode, &chunks, index, 1)?
                    .first()
                    .copied()
                    .flatten();
                let at = address.map(|start| start.saturating_add(within));
                Ok(Piece { at, len })
            }
        }
    }

    /// The bytes of the image at which `count` chunks begin, from number `index`.
    fn chunk_addresses(
        &self,
        inode: &ReadInode,
        chunks: &Chunks,
        index: u64,
        count: u64,
    ) -> Result<Vec<Option<u64>>, ReadError> {
        let outside = || inode.corrupt("chunk map out of range");
        let skip = index.checked_mul(chunks.entry as u64);
        let at = skip
            .and_then(|skip| chunks.map.checked_add(skip))
            .ok_or_else(outside)?;
        let len = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(chunks.entry));
        let mut bytes = vec![0; len.ok_or_else(outside)?];
        self.read("chunk map", &mut bytes, at)?;
        let address = |entry: &[u8]| {
            let blkaddr = match ChunkIndex::read_from_bytes(entry) {
                Ok(index) if index.device_id.get() != 0 => {
                    return Err(ReadError::Unsupported {
                        what: "device",
                        value: index.device_id.get().into(),
                    });
                }
                Ok(index) => index.blkaddr.get(),
                Err(_) => entry
                    .first_chunk()
                    .map_or(NULL_ADDR, |four| u32::from_le_bytes(*four)),
            };
            Ok((blkaddr != NULL_ADDR).then(|| u64::from(blkaddr) * BLOCK_BYTES))
        };
        bytes.chunks_exact(chunks.entry).map(address).collect()
    }

    fn chunk_extents(&self, inode: &ReadInode) -> Result<Vec<FileExtent>, ReadError> {
        let chunks = chunks(inode)?;
        let total = inode.size.div_ceil(chunks.size);
        let mut extents: Vec<FileExtent> = Vec::new();
        let mut index = 0;
        while index < total {
            let count = MAP_WINDOW.min(total.saturating_sub(index));
            for address in self.chunk_addresses(inode, &chunks, index, count)? {
                let offset = index.saturating_mul(chunks.size);
                let len = chunks.size.min(inode.size.saturating_sub(offset));
                if let Some(address) = address {
                    append(
                        &mut extents,
                        FileExtent {
                            offset,
                            len,
                            start_block: address / BLOCK_BYTES,
                        },
                    );
                }
                index = index.saturating_add(1);
            }
        }
        Ok(extents)
    }
}

/// Adds an extent, or lengthens the last if it goes on where that ends.
fn append(extents: &mut Vec<FileExtent>, next: FileExtent) {
    if let Some(last) = extents.last_mut()
        && last.offset.saturating_add(last.len) == next.offset
        && last.start_block.saturating_add(last.len / BLOCK_BYTES) == next.start_block
    {
        last.len = last.len.saturating_add(next.len);
    } else {
        extents.push(next);
    }
}

fn flat(inode: &ReadInode, offset: u64) -> Result<u64, ReadError> {
    let start = u64::from(inode.i_u) * BLOCK_BYTES;
    start
        .checked_add(offset)
        .ok_or_else(|| inode.corrupt("size out of range"))
}

/// Whole blocks lie flat; the last block follows inode and attributes.
fn inline(inode: &ReadInode, offset: u64) -> Result<Piece, ReadError> {
    let last = inode
        .size
        .div_ceil(BLOCK_BYTES)
        .saturating_sub(1)
        .saturating_mul(BLOCK_BYTES);
    if offset < last {
        return Ok(Piece {
            at: Some(flat(inode, offset)?),
            len: last.saturating_sub(offset),
        });
    }
    let (within, len) = (offset % BLOCK_BYTES, inode.size.saturating_sub(offset));
    let at = inode
        .body
        .checked_add(inode.xattr_size)
        .and_then(|at| at.checked_add(within));
    let at = at.filter(|at| at % BLOCK_BYTES + len <= BLOCK_BYTES);
    Ok(Piece {
        at: Some(at.ok_or_else(|| inode.corrupt("inline data crosses a block"))?),
        len,
    })
}

fn chunks(inode: &ReadInode) -> Result<Chunks, ReadError> {
    // The low half of the union; the high half is reserved.
    let format = u16::try_from(inode.i_u & 0xffff).unwrap_or(u16::MAX);
    if format & !(CHUNK_BLKBITS_MASK | CHUNK_INDEXES) != 0 {
        return Err(ReadError::Unsupported {
            what: "chunk format",
            value: format.into(),
        });
    }
    let entry = if format & CHUNK_INDEXES == 0 {
        size_of::<u32>()
    } else {
        size_of::<ChunkIndex>()
    };
    let map = inode
        .body
        .checked_add(inode.xattr_size)
        .and_then(|at| at.checked_next_multiple_of(entry as u64));
    Ok(Chunks {
        map: map.ok_or_else(|| inode.corrupt("chunk map out of range"))?,
        entry,
        size: (BLOCK as u64) << (format & CHUNK_BLKBITS_MASK),
    })
}
