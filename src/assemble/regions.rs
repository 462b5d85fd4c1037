//! What each stretch of a disk is for.

use i2kit_contract::{LABEL_ESP, LABEL_STORE, LABEL_STORE_VERITY};
use i2kit_format::gpt::Partition;
use i2kit_format::{BLOCK, SLAB};

use super::merged::PlacedLayer;

/// A stretch of the disk with one purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its purpose.
    pub part: Part,
    /// Where it begins, bytes from the start of the disk.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// Purposes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The partition table, either copy.
    Table,
    /// The UKI's partition.
    Esp,
    /// The store's first slab: the superblock, and files made for this build.
    Superblock,
    /// A layer's data, by its diffID.
    Layer(String),
    /// Nothing: layers keep the places that they had.
    Hole,
    /// The store's metadata, behind such files as did not fit into its first slab.
    Metadata,
    /// The store's hash tree.
    Verity,
    /// Another partition, by its name.
    Other(String),
}

impl std::fmt::Display for Part {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Table => "partition table",
            Self::Esp => "esp",
            Self::Superblock => "superblock and records",
            Self::Layer(diff_id) => return write!(formatter, "layer {diff_id}"),
            Self::Hole => "hole",
            Self::Metadata => "metadata",
            Self::Verity => "hash tree",
            Self::Other(name) => name,
        })
    }
}

/// The regions, ascending; what none of them has is the partition table's, or nothing. The store's
/// metadata begins `metadata_at` bytes from its start.
#[must_use]
pub fn regions(partitions: &[Partition], metadata_at: u64, layers: &[PlacedLayer]) -> Vec<Region> {
    let mut out = Vec::new();
    for partition in partitions {
        let (offset, len) = (partition.offset(), partition.size());
        let part = match &*partition.name {
            LABEL_ESP => Part::Esp,
            LABEL_STORE_VERITY => Part::Verity,
            LABEL_STORE => {
                out.extend(store_regions(offset, len, metadata_at, layers));
                continue;
            }
            name => Part::Other(name.to_owned()),
        };
        out.push(Region { part, offset, len });
    }
    out
}

fn store_regions(
    start: u64,
    len: u64,
    metadata_at: u64,
    layers: &[PlacedLayer],
) -> impl Iterator<Item = Region> {
    let region = move |part, offset: u64, len| Region {
        part,
        offset: start + offset,
        len,
    };
    let mut end = SLAB;
    let layers = layers.iter().flat_map(move |placed| {
        let (from, hole) = (placed.start_block * BLOCK, end);
        end = from + placed.data.len();
        let part = Part::Layer(placed.diff_id.clone());
        let layer = region(part, from, placed.data.len());
        [region(Part::Hole, hole, from - hole), layer]
    });
    let metadata = region(Part::Metadata, metadata_at, len - metadata_at);
    std::iter::once(region(Part::Superblock, 0, SLAB))
        .chain(layers.collect::<Vec<_>>())
        .chain([metadata])
        .filter(|region| region.len > 0)
}
