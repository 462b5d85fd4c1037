//! Placing blobs on a disk.

use super::{Blob, Disk, Extent};

/// Two extents would overlap, or one runs past the largest offset.
#[derive(Debug, thiserror::Error)]
#[error("place {len} bytes at disk offset {offset}: overlaps what is there")]
pub struct OverlapError {
    offset: u64,
    len: u64,
}

/// Collects extents in ascending order of their offsets.
#[derive(Debug, Default)]
pub struct Builder {
    extents: Vec<Extent>,
}

impl Builder {
    /// No extents yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Places the whole of `source` at `offset`.
    ///
    /// # Errors
    /// [`OverlapError`] when `offset` lies before the end of what was placed last.
    pub fn place(&mut self, offset: u64, source: Blob) -> Result<(), OverlapError> {
        let len = source.len();
        if len == 0 {
            return Ok(());
        }
        let end = self.extents.last().map_or(0, Extent::end);
        if offset < end || offset.checked_add(len).is_none() {
            return Err(OverlapError { offset, len });
        }
        self.extents.push(Extent {
            offset,
            len,
            source,
            source_offset: 0,
        });
        Ok(())
    }

    /// The disk, `len` bytes long or as long as its last extent needs.
    #[must_use]
    pub fn finish(self, len: u64) -> Disk {
        let len = len.max(self.extents.last().map_or(0, Extent::end));
        Disk {
            len,
            extents: self.extents,
        }
    }
}
