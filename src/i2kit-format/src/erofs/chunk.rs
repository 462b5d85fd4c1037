//! From a file's extents to one contiguous run, or to chunks.

use super::format::{BLOCK, NULL_ADDR};
use super::{FileData, FileExtent};

const BLOCK_BYTES: u64 = BLOCK as u64;
/// Chunks of 1 GiB: the format has 5 bits for this, but readers shift an `int` by it.
const MAX_BITS: u32 = 18;

/// A stretch of a file, in blocks, that lies contiguously or is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Blocks.
    pub blocks: u64,
    /// First block of the image; `None` for a hole.
    pub start: Option<u32>,
}

/// Why a file's extents can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtentError {
    /// Extents overlap, are not ascending or reach past the file's size.
    #[error("extents out of order or past the file's size")]
    Order,
    /// An extent does not start or end at a block.
    #[error("not aligned to 4 KiB")]
    Alignment,
    /// A cluster has no bytes or blocks, or more of them than is allowed.
    #[error("not a valid cluster")]
    Cluster,
    /// An extent's blocks are not between block 1 and the metadata.
    #[error("blocks outside the image's data area")]
    Outside,
}

/// The file's stretches from its start to its end, adjacent ones merged.
pub(super) fn runs(
    data: &FileData,
    meta_start_block: u64,
) -> Result<Vec<Run>, (FileExtent, ExtentError)> {
    let mut runs = Runs::default();
    for extent in data.extents.iter().filter(|extent| extent.len > 0) {
        runs.add(extent, data.size, meta_start_block)
            .map_err(|error| (*extent, error))?;
    }
    runs.hole_until(data.size.div_ceil(BLOCK_BYTES));
    Ok(runs.list)
}

#[derive(Default)]
struct Runs {
    list: Vec<Run>,
    /// Blocks of the file covered so far.
    covered: u64,
    /// The last extent ended within a block: no other may follow.
    ended: bool,
}

impl Runs {
    fn add(&mut self, extent: &FileExtent, size: u64, meta_start: u64) -> Result<(), ExtentError> {
        let end = extent
            .offset
            .checked_add(extent.len)
            .ok_or(ExtentError::Order)?;
        if self.ended || !extent.offset.is_multiple_of(BLOCK_BYTES) {
            return Err(ExtentError::Alignment);
        }
        self.ended = !end.is_multiple_of(BLOCK_BYTES);
        let first = extent.offset / BLOCK_BYTES;
        if end > size || first < self.covered {
            return Err(ExtentError::Order);
        }
        let blocks = extent.len.div_ceil(BLOCK_BYTES);
        let last = extent
            .start_block
            .checked_add(blocks)
            .ok_or(ExtentError::Outside)?;
        if extent.start_block == 0 || last > meta_start {
            return Err(ExtentError::Outside);
        }
        let start = u32::try_from(extent.start_block).map_err(|_| ExtentError::Outside)?;
        self.hole_until(first);
        self.push(Run {
            blocks,
            start: Some(start),
        });
        Ok(())
    }

    fn hole_until(&mut self, block: u64) {
        let blocks = block.saturating_sub(self.covered);
        if blocks > 0 {
            self.push(Run {
                blocks,
                start: None,
            });
        }
    }

    fn push(&mut self, run: Run) {
        self.covered = self.covered.saturating_add(run.blocks);
        if let (Some(last), Some(start)) = (self.list.last_mut(), run.start)
            && last.start.is_some_and(|first| {
                u64::from(first).saturating_add(last.blocks) == u64::from(start)
            })
        {
            last.blocks = last.blocks.saturating_add(run.blocks);
            return;
        }
        self.list.push(run);
    }
}

/// log2 of the largest chunk, in blocks, at whose multiples all runs begin.
pub(super) fn chunk_bits(runs: &[Run]) -> u8 {
    let total = runs
        .iter()
        .map(|run| run.blocks)
        .fold(0, u64::saturating_add);
    let whole = u64::BITS - total.saturating_sub(1).leading_zeros();
    let mut bits = whole.min(MAX_BITS);
    let mut at = 0u64;
    for run in runs {
        if at > 0 {
            bits = bits.min(at.trailing_zeros());
        }
        at = at.saturating_add(run.blocks);
    }
    u8::try_from(bits).unwrap_or(0)
}

/// How many chunks of `1 << bits` blocks the runs take.
pub(super) fn chunk_count(runs: &[Run], bits: u8) -> u64 {
    runs.iter()
        .map(|run| run.blocks.div_ceil(1 << bits))
        .fold(0, u64::saturating_add)
}

/// The block map: each chunk's first block, [`NULL_ADDR`] for a hole.
pub(super) fn addresses(runs: &[Run], bits: u8) -> impl Iterator<Item = u32> {
    runs.iter().flat_map(move |run| {
        (0..run.blocks.div_ceil(1 << bits)).map(move |chunk| match run.start {
            None => NULL_ADDR,
            // Within the run, whose end was checked to be a u32.
            Some(start) => u32::try_from(u64::from(start) + (chunk << bits)).unwrap_or(NULL_ADDR),
        })
    })
}
