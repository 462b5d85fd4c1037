//! Packs files' data into the blob.
//!
//! Data lies in the order of the tar at multiples of 4 KiB. So that a file which grows shifts its
//! neighbours and not the whole rest of the layer, packing resynchronises: a file may *cut*, which
//! starts a new slab. Whether it does depends on nothing but itself (its size and first block), with
//! a probability that grows with its size, so that runs are [`RUN`] long on average whatever the
//! sizes are; half a slab of padding is lost at each cut, 2.5 % on average.

use i2kit_format::erofs::{FileData, FileExtent};
use i2kit_format::{BLOCK, SLAB};

use super::buffers::Sender;

/// Mean bytes between cuts. A file at least as long always cuts.
const RUN: u64 = 10 << 20;
/// Holes lie at multiples of this, so that few chunks of a file name them.
pub(super) const HOLE: usize = 64 * 1024;

/// Collects slabs and sends them off when they are full.
pub(super) struct Packer {
    slab: Vec<u8>,
    /// Bytes of the slabs sent before.
    sent: u64,
    slabs: Sender,
}

/// The stage behind is gone: it has failed, and its own error tells why.
#[derive(Debug)]
pub(super) struct Gone;

impl Packer {
    pub(super) fn new(slabs: Sender) -> Self {
        Self {
            slab: empty_slab(&slabs),
            sent: 0,
            slabs,
        }
    }

    /// Starts a file of `size` bytes whose first bytes are `head`.
    pub(super) fn file(&mut self, size: u64, head: &[u8]) -> Result<File<'_>, Gone> {
        self.pad_to(BLOCK)?;
        if !self.slab.is_empty() && cuts(size, head) {
            self.pad_to(SLAB)?;
        }
        Ok(File {
            packer: self,
            size,
            at: 0,
            extents: Vec::new(),
        })
    }

    /// Fills the last slab up and sends it.
    pub(super) fn finish(mut self) -> Result<(), Gone> {
        self.pad_to(SLAB)
    }

    fn position(&self) -> u64 {
        self.sent + self.slab.len() as u64
    }

    fn pad_to(&mut self, multiple: u64) -> Result<(), Gone> {
        let len = (self.slab.len() as u64).next_multiple_of(multiple);
        self.slab.resize(usize::try_from(len).unwrap_or(0), 0);
        self.send_if_full()
    }

    fn append(&mut self, mut bytes: &[u8]) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let room = usize::try_from(SLAB).unwrap_or(0) - self.slab.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.slab.extend_from_slice(now);
            bytes = later;
            self.send_if_full()?;
        }
        Ok(())
    }

    fn send_if_full(&mut self) -> Result<(), Gone> {
        if self.slab.len() as u64 == SLAB {
            let full = std::mem::replace(&mut self.slab, empty_slab(&self.slabs));
            self.sent += SLAB;
            return self.slabs.send(full).then_some(()).ok_or(Gone);
        }
        Ok(())
    }
}

fn empty_slab(slabs: &Sender) -> Vec<u8> {
    let mut slab = slabs.spare();
    slab.clear();
    slab.reserve_exact(usize::try_from(SLAB).unwrap_or(0));
    slab
}

fn cuts(size: u64, head: &[u8]) -> bool {
    let block = head.get(..4096).unwrap_or(head);
    let mut hash = blake3::Hasher::new();
    hash.update(&size.to_le_bytes()).update(block);
    let hash = hash.finalize();
    let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    u128::from(u64::from_le_bytes(first)) * u128::from(RUN) < u128::from(size) << 64
}

/// A file being packed.
pub(super) struct File<'a> {
    packer: &'a mut Packer,
    size: u64,
    /// Bytes of the file so far, holes included.
    at: u64,
    extents: Vec<FileExtent>,
}

impl File<'_> {
    /// Appends the next bytes: a multiple of [`HOLE`], but for the file's last. An aligned run of
    /// zeros of that length becomes a hole.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        for chunk in bytes.chunks(HOLE) {
            let whole = chunk.len() == HOLE || self.at > 0;
            if whole && chunk.iter().all(|byte| *byte == 0) {
                self.at += chunk.len() as u64;
                continue;
            }
            let start_block = self.packer.position() / BLOCK;
            self.extend(start_block, chunk.len() as u64);
            self.packer.append(chunk)?;
        }
        Ok(())
    }

    /// Leaves out `len` bytes, a multiple of [`HOLE`].
    pub(super) fn skip(&mut self, len: u64) {
        self.at += len;
    }

    fn extend(&mut self, start_block: u64, len: u64) {
        match self.extents.last_mut() {
            Some(last) if last.offset + last.len == self.at => last.len += len,
            _ => self.extents.push(FileExtent {
                offset: self.at,
                len,
                start_block,
            }),
        }
        self.at += len;
    }

    /// The file's data; what was not appended reads as zeros.
    pub(super) fn finish(self) -> FileData {
        FileData {
            size: self.size,
            extents: self.extents,
        }
    }
}
