//! Which bytes of the layers some file still has: the others were deleted or replaced by layers
//! above, and lie in the store for nothing.

use i2kit_format::BLOCK;
use i2kit_format::erofs::{Cluster, Content, Tree};

use super::merged::PlacedLayer;
use crate::layer::{ConvertedLayer, EntryKind};

/// Blocks or bytes from one number up to another.
type Range = (u64, u64);

/// What the files of a placed tree have.
pub(super) struct Live {
    /// Blocks of the file system, merged and ascending.
    blocks: Vec<Range>,
}

impl Live {
    /// `contents` of everything that the tree's root reaches, extents absolute.
    pub(super) fn of<'t>(tree: &'t Tree, contents: impl Iterator<Item = &'t Content>) -> Self {
        let (mut blocks, mut fragments) = (Vec::new(), Vec::new());
        for content in contents {
            match content {
                Content::Regular(file) => blocks.extend(file.extents.iter().map(|extent| {
                    let len = extent.len.div_ceil(BLOCK);
                    (extent.start_block, extent.start_block + len)
                })),
                Content::Compressed(file) => {
                    blocks.extend(file.clusters.iter().map(cluster_blocks));
                    fragments.extend(file.fragment.map(|at| {
                        let len = file.size - file.clusters_len();
                        (at, at + len)
                    }));
                }
                _ => {}
            }
        }
        let fragments = merged(fragments);
        let packed = tree.compression.iter().flat_map(|one| &one.packed);
        let mut at = 0;
        for cluster in packed {
            let range = (at, at + u64::from(cluster.len));
            if overlap(&fragments, range) > 0 {
                blocks.push(cluster_blocks(cluster));
            }
            at = range.1;
        }
        Self {
            blocks: merged(blocks),
        }
    }

    /// Bytes of the layer's files that no file of the tree has.
    pub(super) fn dead_bytes(&self, placed: &PlacedLayer) -> u64 {
        let stored = stored_blocks(&placed.layer);
        let end = placed.start_block + placed.data.len() / BLOCK;
        let live = overlap(&self.blocks, (placed.start_block, end));
        stored.saturating_sub(live) * BLOCK
    }
}

/// Blocks that the layer's files and its packed stream have.
fn stored_blocks(layer: &ConvertedLayer) -> u64 {
    let packed = layer.packed.iter().map(cluster_blocks);
    let own = layer.entries.iter().flat_map(|entry| match &entry.kind {
        EntryKind::Regular(file) => {
            let extents = file.extents.iter();
            extents
                .map(|one| (one.start_block, one.start_block + one.len.div_ceil(BLOCK)))
                .collect()
        }
        EntryKind::Compressed(file) => file.clusters.iter().map(cluster_blocks).collect(),
        _ => Vec::new(),
    });
    let all = merged(packed.chain(own).collect());
    all.iter().map(|(from, until)| until - from).sum()
}

fn cluster_blocks(cluster: &Cluster) -> Range {
    (
        cluster.start_block,
        cluster.start_block + u64::from(cluster.blocks),
    )
}

/// Ascending, overlapping ones joined.
fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut out: Vec<Range> = Vec::with_capacity(ranges.len());
    for (from, until) in ranges {
        match out.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(until),
            _ => out.push((from, until)),
        }
    }
    out
}

/// How much of `range` the merged ranges cover.
fn overlap(ranges: &[Range], range: Range) -> u64 {
    let first = ranges.partition_point(|(_, until)| *until <= range.0);
    let some = ranges
        .iter()
        .skip(first)
        .take_while(|(from, _)| *from < range.1);
    some.map(|(from, until)| (*until).min(range.1) - (*from).max(range.0))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_overlap() {
        let ranges = merged(vec![(5, 7), (0, 2), (1, 3), (7, 8), (20, 21)]);
        assert_eq!(ranges, [(0, 3), (5, 8), (20, 21)]);
        assert_eq!(overlap(&ranges, (0, 100)), 7);
        assert_eq!(overlap(&ranges, (2, 6)), 2);
        assert_eq!(overlap(&ranges, (8, 20)), 0);
    }
}
