//! The disk: a list of extents over cached files and small buffers.
//!
//! Every sink (a raw file, an uploader) reads the same [`Disk`]; nothing is ever assembled into a
//! temporary file first. What no extent covers reads as zeros.

mod blob;
mod builder;
mod digests;
mod file;
mod slabs;

use std::io;
use std::path::Path;

use i2kit_format::{ReadAt, SLAB};

pub use blob::{Blob, BlobError};
pub use builder::{Builder, OverlapError};
pub use digests::{SlabDigest, SlabDigests};
pub use file::{FileDisk, OpenError};
pub use slabs::{Slabs, slabs, zero_digest};

/// A disk image, not yet written anywhere.
#[derive(Clone, Debug)]
pub struct Disk {
    len: u64,
    extents: Vec<Extent>,
}

/// A run of the disk's bytes and where they come from.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Where on the disk, bytes.
    pub offset: u64,
    /// Bytes, at least 1.
    pub len: u64,
    /// The bytes' source.
    pub source: Blob,
    /// Where in the source.
    pub source_offset: u64,
}

impl Extent {
    fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// What the source knows of the disk's slab at `offset`, when a slab of the source lies there
    /// whole and aligned.
    #[must_use]
    pub fn slab_digests(&self, offset: u64) -> Option<SlabDigests> {
        let within = offset.checked_sub(self.offset)?;
        let at = self.source_offset + within;
        (at.is_multiple_of(SLAB) && within + SLAB <= self.len)
            .then(|| self.source.slab_digests(at / SLAB))
            .flatten()
    }
}

impl Disk {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True for a disk of no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The extents, ascending by offset, never overlapping.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// How many slabs the disk has, the last one perhaps short.
    #[must_use]
    pub fn slab_count(&self) -> u64 {
        self.len.div_ceil(SLAB)
    }

    /// The slabs that some extent touches, ascending: all others are zeros.
    pub fn written_slabs(&self) -> impl Iterator<Item = u64> + '_ {
        let mut next = 0;
        self.extents.iter().flat_map(move |extent| {
            let first = (extent.offset / SLAB).max(next);
            next = extent.end().div_ceil(SLAB).max(next);
            first..next
        })
    }

    /// The digests of slab `index`, when the cache knows them.
    #[must_use]
    pub fn known_digests(&self, index: u64) -> Option<SlabDigests> {
        let offset = index * SLAB;
        let extent = self.extents_from(offset).first()?;
        extent.slab_digests(offset)
    }

    /// The cached file whose bytes lie at `offset`, when a file's do.
    #[must_use]
    pub fn file_at(&self, offset: u64) -> Option<&Path> {
        let extent = self.extents_from(offset).first()?;
        (extent.offset <= offset)
            .then(|| extent.source.path())
            .flatten()
    }

    /// The extents that end after `offset`.
    fn extents_from(&self, offset: u64) -> &[Extent] {
        let first = self
            .extents
            .partition_point(|extent| extent.end() <= offset);
        self.extents.get(first..).unwrap_or_default()
    }

    /// Fills `buf` with the bytes at `offset`.
    fn fill(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + buf.len() as u64;
        buf.fill(0);
        for extent in self.extents_from(offset) {
            if extent.offset >= end {
                break;
            }
            let from = extent.offset.max(offset);
            let to = extent.end().min(end);
            let range = usize_range(from - offset, to - offset)?;
            let part = buf.get_mut(range).ok_or(io::ErrorKind::UnexpectedEof)?;
            let at = extent.source_offset + (from - extent.offset);
            extent.source.read_exact_at(part, at)?;
        }
        Ok(())
    }
}

fn usize_range(from: u64, to: u64) -> io::Result<std::ops::Range<usize>> {
    let convert = |value| usize::try_from(value).map_err(|_| io::ErrorKind::InvalidInput);
    Ok(convert(from)?..convert(to)?)
}

impl ReadAt for Disk {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match offset.checked_add(buf.len() as u64) {
            Some(end) if end <= self.len => self.fill(buf, offset),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Disk {
        let mut builder = Builder::new();
        builder.place(10, Blob::bytes(vec![1; 5])).unwrap();
        builder.place(15, Blob::bytes(vec![2; 5])).unwrap();
        builder
            .place(2 * SLAB - 1, Blob::bytes(vec![3; 2]))
            .unwrap();
        builder.finish(3 * SLAB)
    }

    #[test]
    fn gaps_read_as_zeros_and_extents_meet() {
        let mut buf = [9; 16];
        disk().read_exact_at(&mut buf, 8).unwrap();
        assert_eq!(buf, [0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn reads_past_the_end_are_refused() {
        let mut buf = [0; 2];
        assert!(disk().read_exact_at(&mut buf, 3 * SLAB - 2).is_ok());
        assert!(disk().read_exact_at(&mut buf, 3 * SLAB - 1).is_err());
        assert!(disk().read_exact_at(&mut buf, u64::MAX).is_err());
    }

    #[test]
    fn written_slabs_are_named_once() {
        let slabs: Vec<_> = disk().written_slabs().collect();
        assert_eq!(slabs, [0, 1, 2]);
    }

    #[test]
    fn overlapping_extents_are_refused() {
        let mut builder = Builder::new();
        builder.place(0, Blob::bytes(vec![1; 5])).unwrap();
        assert!(builder.place(4, Blob::bytes(vec![1; 5])).is_err());
    }

    #[test]
    fn a_slab_digest_is_known_only_for_a_whole_aligned_slab() {
        let data = vec![1; 2 * usize::try_from(SLAB).unwrap()];
        let digests = vec![SlabDigests::of(b"one"), SlabDigests::of(b"two")];
        let mut builder = Builder::new();
        builder
            .place(SLAB, Blob::bytes_with_digests(data, digests.clone()))
            .unwrap();
        let disk = builder.finish(4 * SLAB);
        let known: Vec<_> = (0..4).map(|slab| disk.known_digests(slab)).collect();
        assert_eq!(known, [None, Some(digests[0]), Some(digests[1]), None]);
    }
}
