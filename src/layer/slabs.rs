//! The last stage: slabs of the data blob are hashed twice and written, on a thread of their own.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use i2kit_format::{SLAB, verity};

use super::buffers::Receiver;
use crate::disk::SlabDigests;

/// Slabs that are hashed together.
pub(super) const BATCH: usize = 4;

/// What is known of the blob once it is written.
#[derive(Default)]
pub(super) struct Hashed {
    /// Of each slab.
    pub(super) digests: Vec<SlabDigests>,
    /// Level-0 verity hash block of each slab, 4 KiB each.
    pub(super) hash_blocks: Vec<u8>,
}

/// Writes the slabs that come, in order, to the new file `data`; hands the buffers back.
pub(super) fn run(data: &Path, slabs: &Receiver<Vec<u8>>) -> io::Result<Hashed> {
    let file = File::create_new(data)?;
    let mut hashed = Hashed::default();
    let mut offset = 0;
    loop {
        let batch = slabs.iter().take(BATCH);
        let batch = batch.collect::<io::Result<Vec<_>>>()?;
        if batch.is_empty() {
            break;
        }
        let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        hashed.digests.extend(SlabDigests::of_each(&slices));
        for slab in slices {
            let hash_block = verity::hash_slab(slab);
            hashed.hash_blocks.extend_from_slice(&hash_block);
            write(&file, slab, offset)?;
            offset += SLAB;
        }
        for slab in batch {
            slabs.give_back(slab);
        }
    }
    file.set_len(offset)?;
    Ok(hashed)
}

/// Writes a slab at `offset`; what follows its last byte that is not zero stays a hole.
pub(super) fn write(file: &File, slab: &[u8], offset: u64) -> io::Result<()> {
    let used = slab
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    file.write_all_at(slab.get(..used).unwrap_or_default(), offset)
}
