//! What of a layer goes into the store: all, or only what some file has (`--compact`).
//!
//! Compacting drops blocks: those of whole files, and those of packed clusters of which no file has
//! a byte. What follows moves up, so slabs are hashed anew, once their sources were checked. A
//! cluster of small files stays whole as long as one of them is alive.

use i2kit_format::erofs::Cluster;
use i2kit_format::verity::{self, HashBlock};
use i2kit_format::{BLOCK, ReadAt, SLAB};
use rayon::prelude::*;

use super::file::read_slab;
use super::live::{Live, Range, needed, overlap, stored_blocks, total};
use crate::disk::{Blob, SlabDigests};
use crate::layer::ConvertedLayer;

/// Slabs that are hashed together.
const BATCH: usize = 4;

/// A layer's part of a store, wherever that is placed.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Its data, whole slabs, with what is known of each.
    pub(super) data: Blob,
    /// Their level-0 hash blocks.
    pub(super) hash_blocks: Blob,
    /// Its packed stream, blocks counted from the start of `data`.
    pub(super) packed: Vec<Cluster>,
    /// Where its blocks went.
    pub(super) blocks: Moves,
    /// Where the bytes of its packed stream went.
    pub(super) stream: Moves,
    /// Bytes of `data` that no file has.
    pub(super) dead: u64,
    /// Bytes that were left out.
    pub(super) dropped: u64,
}

impl Kept {
    /// The layer of that number, whole.
    pub(super) fn whole(layer: &ConvertedLayer, live: &Live, number: usize) -> Self {
        let dead = stored_blocks(layer).saturating_sub(total(&live.blocks(number)));
        Self {
            data: layer.data.clone(),
            hash_blocks: layer.hash_blocks.clone(),
            packed: layer.packed.clone(),
            blocks: Moves::default(),
            stream: Moves::default(),
            dead: dead * BLOCK,
            dropped: 0,
        }
    }

    /// The layer of that number without what no file has; whole, when that takes as many slabs.
    ///
    /// # Errors
    /// When its data cannot be read, or was altered in the cache: [`super::file::Altered`].
    pub(super) fn compacted(
        layer: &ConvertedLayer,
        live: &Live,
        number: usize,
    ) -> std::io::Result<Self> {
        let ranges = live.blocks(number);
        let len = (total(&ranges) * BLOCK).next_multiple_of(SLAB);
        let whole = Self::whole(layer, live, number);
        if whole.dead == 0 || len >= layer.data.len() {
            return Ok(whole);
        }
        check(layer, &ranges)?;
        let part = |(from, until): &Range| layer.data.part(from * BLOCK, (until - from) * BLOCK);
        let parts: Option<Vec<Blob>> = ranges.iter().map(part).collect();
        let data = parts.and_then(|parts| Blob::joined(parts, len, Vec::new()));
        let data = data.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let (digests, hash_blocks) = hash(&data)?;
        let blocks = Moves::up(&ranges);
        Ok(Self {
            data: data.with_digests(digests),
            hash_blocks: Blob::bytes(hash_blocks),
            packed: packed(layer, live, number, &blocks),
            blocks,
            stream: Moves::up(&live.packed(number)),
            dead: 0,
            dropped: layer.data.len() - len,
        })
    }
}

/// The clusters of the packed stream that stay.
fn packed(layer: &ConvertedLayer, live: &Live, number: usize, blocks: &Moves) -> Vec<Cluster> {
    let stream = live.packed(number);
    let stay = needed(&layer.packed, 0, &stream);
    stay.map(|(_, cluster)| Cluster {
        start_block: blocks.of(cluster.start_block),
        ..*cluster
    })
    .collect()
}

/// That every slab of which something stays is what was hashed.
fn check(layer: &ConvertedLayer, blocks: &[Range]) -> std::io::Result<()> {
    let slabs = (0..layer.data.len() / SLAB).into_par_iter();
    slabs.try_for_each_init(empty_slab, |slab, number| {
        let first = number * (SLAB / BLOCK);
        match overlap(blocks, (first, first + SLAB / BLOCK)) {
            0 => Ok(()),
            _ => read_slab(&layer.data, number, slab),
        }
    })
}

fn empty_slab() -> Vec<u8> {
    vec![0; usize::try_from(SLAB).unwrap_or(0)]
}

/// Digests and hash block of each slab.
fn hash(data: &Blob) -> std::io::Result<(Vec<SlabDigests>, Vec<u8>)> {
    let slabs: Vec<u64> = (0..data.len() / SLAB).collect();
    let batches = slabs.par_chunks(BATCH).map(|batch| {
        let slabs = batch.iter().map(|number| {
            let mut slab = empty_slab();
            data.read_exact_at(&mut slab, number * SLAB).map(|()| slab)
        });
        let slabs = slabs.collect::<std::io::Result<Vec<_>>>()?;
        let slices: Vec<&[u8]> = slabs.iter().map(Vec::as_slice).collect();
        let hash_blocks = slices.iter().map(|slab| verity::hash_slab(slab));
        let hash_blocks: Vec<HashBlock> = hash_blocks.collect();
        Ok((SlabDigests::of_each(&slices), hash_blocks.concat()))
    });
    let batches: std::io::Result<Vec<_>> = batches.collect();
    let (digests, hash_blocks): (Vec<_>, Vec<_>) = batches?.into_iter().unzip();
    Ok((digests.concat(), hash_blocks.concat()))
}

/// Stretches that moved up to where one before them was dropped; of none, everything stays.
#[derive(Clone, Debug, Default)]
pub(super) struct Moves(Vec<(Range, u64)>);

impl Moves {
    /// The `kept` ranges, ascending, one behind the other.
    fn up(kept: &[Range]) -> Self {
        let mut next = 0;
        let moved = kept.iter().map(|range| {
            let to = next;
            next += range.1 - range.0;
            (*range, to)
        });
        Self(moved.collect())
    }

    /// Where what was at `at` is now.
    pub(super) fn of(&self, at: u64) -> u64 {
        let after = self.0.partition_point(|((from, _), _)| *from <= at);
        let range = after.checked_sub(1).and_then(|index| self.0.get(index));
        range.map_or(at, |((from, _), to)| to + (at - from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_moves_up() {
        let moves = Moves::up(&[(2, 4), (7, 8), (9, 12)]);
        let moved: Vec<_> = [2, 3, 7, 9, 11].map(|at| moves.of(at)).to_vec();
        assert_eq!(moved, [0, 1, 2, 3, 5]);
        assert_eq!(Moves::default().of(77), 77);
    }
}
