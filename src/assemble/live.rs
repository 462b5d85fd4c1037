//! Which bytes of the layers some file still has: the others were deleted or replaced by layers
//! above, and would lie in the store for nothing.

use i2kit_format::BLOCK;
use i2kit_format::erofs::{Cluster, Content, FileExtent};

use super::merged::LAYER_SHIFT;
use crate::layer::{ConvertedLayer, EntryKind};

/// Blocks or bytes from one number up to another.
pub(super) type Range = (u64, u64);

/// What the files of a tree have, before its layers are placed.
pub(super) struct Live {
    /// Blocks, merged and ascending, each with its layer's number.
    blocks: Vec<Range>,
    /// Bytes of packed streams, merged and ascending, each with its layer's number: whole clusters
    /// of which some file has a byte.
    packed: Vec<Range>,
}

impl Live {
    /// `contents` of everything that the tree's root reaches, and the layers by their numbers.
    pub(super) fn of<'t>(
        contents: impl Iterator<Item = &'t Content>,
        layers: impl Iterator<Item = &'t ConvertedLayer>,
    ) -> Self {
        let (mut blocks, mut fragments) = (Vec::new(), Vec::new());
        for content in contents {
            match content {
                Content::Regular(file) => blocks.extend(file.extents.iter().map(extent_blocks)),
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
        let mut packed = Vec::new();
        for (number, layer) in (0u64..).zip(layers) {
            let base = number << LAYER_SHIFT;
            for (range, cluster) in needed(&layer.packed, base, &fragments) {
                let (from, until) = cluster_blocks(cluster);
                blocks.push((base + from, base + until));
                packed.push(range);
            }
        }
        Self {
            blocks: merged(blocks),
            packed: merged(packed),
        }
    }

    /// Blocks that some file has, counted from the first of the layer of that number.
    pub(super) fn blocks(&self, number: usize) -> Vec<Range> {
        within(&self.blocks, number)
    }

    /// Bytes of that layer's packed stream in clusters that some file needs.
    pub(super) fn packed(&self, number: usize) -> Vec<Range> {
        within(&self.packed, number)
    }
}

/// The clusters of which `ranges` have a byte, each with its own range of what they hold together,
/// counted from `start`.
pub(super) fn needed<'c>(
    clusters: &'c [Cluster],
    start: u64,
    ranges: &[Range],
) -> impl Iterator<Item = (Range, &'c Cluster)> {
    let mut at = start;
    let placed = clusters.iter().map(move |cluster| {
        let range = (at, at + u64::from(cluster.len));
        at = range.1;
        (range, cluster)
    });
    placed.filter(|(range, _)| overlap(ranges, *range) > 0)
}

fn within(ranges: &[Range], number: usize) -> Vec<Range> {
    let base = (number as u64) << LAYER_SHIFT;
    let first = ranges.partition_point(|(from, _)| *from < base);
    let some = ranges.iter().skip(first);
    some.map(|(from, until)| (from - base, until - base))
        .take_while(|(from, _)| from >> LAYER_SHIFT == 0)
        .collect()
}

/// Blocks that the layer's files and its packed stream have.
pub(super) fn stored_blocks(layer: &ConvertedLayer) -> u64 {
    let packed = layer.packed.iter().map(cluster_blocks);
    let own = layer.entries.iter().flat_map(|entry| match &entry.kind {
        EntryKind::Regular(file) => file.extents.iter().map(extent_blocks).collect(),
        EntryKind::Compressed(file) => file.clusters.iter().map(cluster_blocks).collect(),
        _ => Vec::new(),
    });
    total(&merged(packed.chain(own).collect()))
}

fn extent_blocks(extent: &FileExtent) -> Range {
    let len = extent.len.div_ceil(BLOCK);
    (extent.start_block, extent.start_block + len)
}

fn cluster_blocks(cluster: &Cluster) -> Range {
    (
        cluster.start_block,
        cluster.start_block + u64::from(cluster.blocks),
    )
}

/// What ranges that do not overlap have together.
pub(super) fn total(ranges: &[Range]) -> u64 {
    ranges.iter().map(|(from, until)| until - from).sum()
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
pub(super) fn overlap(ranges: &[Range], range: Range) -> u64 {
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
        assert_eq!(total(&ranges), 7);
    }

    #[test]
    fn ranges_of_a_layer_count_from_its_start() {
        let at = |layer: u64, block: u64| (layer << LAYER_SHIFT) + block;
        let ranges = [
            (at(0, 3), at(0, 5)),
            (at(2, 0), at(2, 1)),
            (at(2, 7), at(2, 9)),
            (at(3, 1), at(3, 2)),
        ];
        assert_eq!(within(&ranges, 0), [(3, 5)]);
        assert_eq!(within(&ranges, 1), []);
        assert_eq!(within(&ranges, 2), [(0, 1), (7, 9)]);
    }
}
