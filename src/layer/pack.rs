//! Packs files' data, plain: in the order of the tar, at multiples of 4 KiB.

use i2kit_format::BLOCK;
use i2kit_format::erofs::{FileData, FileExtent};

use super::EntryKind;
use super::buffers::Sender;
use super::run::{Candidates, Gone, Slabs};

/// Holes lie at multiples of this, so that few chunks of a file name them.
pub(super) const HOLE: usize = 64 * 1024;

/// Takes files' bytes, one file after another.
pub(super) trait Pack {
    /// Starts a file.
    fn begin(&mut self, file: NewFile<'_>) -> Result<(), Gone>;

    /// The file's next bytes: a multiple of [`HOLE`], but for its last.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Gone>;

    /// Leaves out `len` bytes of the file, a multiple of [`HOLE`], which read as zeros.
    fn skip(&mut self, len: u64);

    /// Ends the file; what was not appended of it reads as zeros.
    fn end(&mut self) -> Result<EntryKind, Gone>;
}

/// A file that is to be packed.
#[derive(Clone, Copy)]
pub(super) struct NewFile<'a> {
    /// Bytes.
    pub(super) size: u64,
    /// Whether the archive says that parts of it are holes.
    pub(super) is_sparse: bool,
    /// Its first bytes.
    pub(super) head: &'a [u8],
}

/// Packs plain files into slabs. An aligned run of zeros of [`HOLE`] bytes becomes a hole.
pub(super) struct Packer {
    slabs: Slabs,
    candidates: Candidates,
    file: FileData,
    /// Bytes of the file so far, holes included.
    at: u64,
}

impl Packer {
    pub(super) fn new(slabs: Sender<Vec<u8>>) -> Self {
        Self {
            slabs: Slabs::new(slabs),
            candidates: Candidates::default(),
            file: FileData::default(),
            at: 0,
        }
    }

    /// Sends the last slab.
    pub(super) fn finish(self) -> Result<(), Gone> {
        self.slabs.finish()
    }
}

impl Pack for Packer {
    fn begin(&mut self, file: NewFile<'_>) -> Result<(), Gone> {
        if self.candidates.is_next(file.size, file.head) {
            self.slabs.cut()?;
        }
        self.slabs.next_block()?;
        self.file.size = file.size;
        self.at = 0;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        for chunk in bytes.chunks(HOLE) {
            if is_hole(chunk, self.at) {
                self.at += chunk.len() as u64;
                continue;
            }
            let start_block = self.slabs.position() / BLOCK;
            extend(
                &mut self.file.extents,
                self.at,
                chunk.len() as u64,
                start_block,
            );
            self.at += chunk.len() as u64;
            self.slabs.append(chunk)?;
        }
        Ok(())
    }

    fn skip(&mut self, len: u64) {
        self.at += len;
    }

    fn end(&mut self) -> Result<EntryKind, Gone> {
        Ok(EntryKind::Regular(std::mem::take(&mut self.file)))
    }
}

/// Whether the bytes at `offset` of a file need no room.
pub(super) fn is_hole(chunk: &[u8], offset: u64) -> bool {
    (chunk.len() == HOLE || offset > 0) && chunk.iter().all(|byte| *byte == 0)
}

/// Adds bytes that lie from `start_block` on, or lengthens the last extent, which they follow.
fn extend(extents: &mut Vec<FileExtent>, offset: u64, len: u64, start_block: u64) {
    match extents.last_mut() {
        Some(last) if last.offset + last.len == offset => last.len += len,
        _ => extents.push(FileExtent {
            offset,
            len,
            start_block,
        }),
    }
}
