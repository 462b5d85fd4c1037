//! The map of a compressed file: a header, and an index for each of its logical clusters of 4 KiB
//! (`fs/erofs/zmap.c`, `erofs_fs.h`).
//!
//! A cluster that is compressed is a head and the logical clusters after it; one that lies plain is
//! a head for each of its blocks, since kernels before 6.13 know no longer plain cluster. Compact
//! indexes have one block address for several clusters and count on; where clusters do not lie one
//! after another, or a fragment's offset takes more than 32 bits, each index has 8 bytes.

use zerocopy::IntoBytes as _;

use super::chunk::ExtentError;
use super::codec::{Algorithm, MAX_CLUSTER, MAX_PHYSICAL_CLUSTER};
use super::format::{
    ADVISE_BIG_PCLUSTER_1, ADVISE_BIG_PCLUSTER_2, ADVISE_COMPACTED_2B, ADVISE_FRAGMENT_PCLUSTER,
    BLOCK, D0_CBLKCNT, FRAGMENT_INODE, LclusterIndex, MapHeader, layout, lcluster,
};
use super::{Cluster, CompressedFile, Compression};

const BLOCK_BYTES: u64 = BLOCK as u64;
/// A map begins at a multiple of this.
const ALIGNMENT: usize = 8;
/// Bits of a compact index that are no type (`lobits` of `zmap.c`).
const LOW_BITS: u32 = 12;

/// A file's map, encoded.
#[derive(Clone, Debug)]
pub(super) struct Map {
    /// `COMPRESSED_FULL` or `COMPRESSED_COMPACT`.
    pub layout: u16,
    /// Blocks that the file has for itself.
    pub blocks: u32,
    /// What follows inode and attributes.
    pub bytes: Vec<u8>,
}

/// One logical cluster.
#[derive(Clone, Copy, Debug)]
enum Lcluster {
    Plain(u32),
    Head(u32),
    /// The one after a head: the blocks of both and of all that belong to them.
    Second {
        blocks: u16,
        to_next: u16,
    },
    Further {
        to_head: u16,
        to_next: u16,
    },
}

/// Checks what the format demands of a file's clusters. Answers the offset at which it does not.
pub(super) fn check(
    file: &CompressedFile,
    compression: &Compression,
    meta_start_block: u64,
) -> Result<(), (u64, ExtentError)> {
    let mut offset = 0u64;
    for cluster in &file.clusters {
        check_cluster(cluster, compression.cluster_size, meta_start_block)
            .map_err(|error| (offset, error))?;
        if !offset.is_multiple_of(BLOCK_BYTES) {
            return Err((offset, ExtentError::Alignment));
        }
        offset = offset.saturating_add(cluster.len.into());
    }
    if offset > file.size || (offset < file.size) != file.fragment.is_some() {
        return Err((offset, ExtentError::Order));
    }
    let Some(fragment) = file.fragment else {
        return Ok(());
    };
    let len = file.size.saturating_sub(offset);
    let packed: u64 = compression
        .packed
        .iter()
        .map(|one| u64::from(one.len))
        .sum();
    if fragment.checked_add(len).is_none_or(|end| end > packed) {
        return Err((offset, ExtentError::Outside));
    }
    let is_tail = !file.clusters.is_empty();
    if is_tail && (len > MAX_CLUSTER as u64 || !offset.is_multiple_of(BLOCK_BYTES)) {
        return Err((offset, ExtentError::Alignment));
    }
    Ok(())
}

fn check_cluster(cluster: &Cluster, size: u32, meta_start_block: u64) -> Result<(), ExtentError> {
    if cluster.len == 0 || cluster.len > size || cluster.len as usize > MAX_CLUSTER {
        return Err(ExtentError::Cluster);
    }
    if cluster.blocks == 0 || cluster.blocks > cluster.logical_blocks() || is_too_long(cluster) {
        return Err(ExtentError::Cluster);
    }
    let end = cluster.start_block.checked_add(cluster.blocks.into());
    let is_inside = cluster.start_block > 0 && end.is_some_and(|end| end <= meta_start_block);
    let fits = u32::try_from(cluster.start_block).is_ok();
    if is_inside && fits {
        Ok(())
    } else {
        Err(ExtentError::Outside)
    }
}

/// Blocks that lie plain are physical clusters of their own.
fn is_too_long(cluster: &Cluster) -> bool {
    !cluster.is_plain() && cluster.blocks as usize > MAX_PHYSICAL_CLUSTER / BLOCK
}

/// Encodes the map of a checked file whose inode and attributes take `before` bytes from a multiple
/// of 32.
pub(super) fn map(file: &CompressedFile, algorithm: Algorithm, before: usize) -> Map {
    let padding = before.next_multiple_of(ALIGNMENT).saturating_sub(before);
    let mut bytes = vec![0; padding];
    if file.clusters.is_empty()
        && let Some(fragment) = file.fragment
    {
        bytes.extend((fragment | FRAGMENT_INODE).to_le_bytes());
        let layout = layout::COMPRESSED_FULL;
        return Map {
            layout,
            blocks: 0,
            bytes,
        };
    }
    let is_compact = can_be_compact(file);
    bytes.extend_from_slice(header(file, algorithm, is_compact).as_bytes());
    let lclusters = lclusters(file);
    let layout = if is_compact {
        let at = before.saturating_add(bytes.len());
        let first = file
            .clusters
            .first()
            .map_or(0, |cluster| block(cluster.start_block));
        Compact {
            out: &mut bytes,
            address: first,
        }
        .all(&lclusters, at);
        layout::COMPRESSED_COMPACT
    } else {
        // `Z_EROFS_FULL_INDEX_START`.
        bytes.extend([0; 8]);
        bytes.extend(
            lclusters
                .iter()
                .flat_map(|one| full(*one).as_bytes().to_vec()),
        );
        layout::COMPRESSED_FULL
    };
    let blocks = file
        .clusters
        .iter()
        .map(|cluster| cluster.blocks)
        .fold(0, u32::saturating_add);
    Map {
        layout,
        blocks,
        bytes,
    }
}

fn can_be_compact(file: &CompressedFile) -> bool {
    let follows = |pair: &[Cluster]| match pair {
        [one, next] => one.start_block.saturating_add(one.blocks.into()) == next.start_block,
        _ => true,
    };
    file.clusters.windows(2).all(follows)
        && file
            .fragment
            .is_none_or(|fragment| u32::try_from(fragment).is_ok())
}

fn header(file: &CompressedFile, algorithm: Algorithm, is_compact: bool) -> MapHeader {
    let mut advise = ADVISE_BIG_PCLUSTER_1;
    if is_compact {
        // The kernel wants both heads to agree, though there is only one.
        advise |= ADVISE_BIG_PCLUSTER_2 | ADVISE_COMPACTED_2B;
    }
    if file.fragment.is_some() {
        advise |= ADVISE_FRAGMENT_PCLUSTER;
    }
    let low = file.fragment.unwrap_or(0) & u64::from(u32::MAX);
    MapHeader {
        h_fragmentoff: block(low).into(),
        h_advise: advise.into(),
        h_algorithmtype: algorithm.id(),
        h_clusterbits: 0,
    }
}

/// Fits: it was checked.
fn block(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn lclusters(file: &CompressedFile) -> Vec<Lcluster> {
    let mut out = Vec::new();
    for cluster in &file.clusters {
        let first = block(cluster.start_block);
        let count = cluster.logical_blocks();
        if cluster.is_plain() {
            out.extend((0..count).map(|at| Lcluster::Plain(first.saturating_add(at))));
        } else {
            compressed(&mut out, first, count, cluster.blocks);
        }
    }
    if let Some(fragment) = file.fragment {
        let len = file.size.saturating_sub(file.clusters_len());
        // Where indexes are full, the offset's upper half stands in the place of the block.
        let count = block(len.div_ceil(BLOCK_BYTES));
        compressed(&mut out, block(fragment >> 32), count, 0);
    }
    out
}

/// A head and the `count` - 1 logical clusters after it.
fn compressed(out: &mut Vec<Lcluster>, head: u32, count: u32, blocks: u32) {
    let narrow = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    out.push(Lcluster::Head(head));
    out.extend((1..count).map(|at| {
        let to_next = narrow(count.saturating_sub(at));
        match at {
            1 => Lcluster::Second {
                blocks: narrow(blocks),
                to_next,
            },
            _ => Lcluster::Further {
                to_head: narrow(at),
                to_next,
            },
        }
    }));
}

fn full(one: Lcluster) -> LclusterIndex {
    let distances = |first: u16, next: u16| u32::from(first) | u32::from(next) << 16;
    let (kind, value) = match one {
        Lcluster::Plain(block) => (lcluster::PLAIN, block),
        Lcluster::Head(block) => (lcluster::HEAD1, block),
        Lcluster::Second { blocks, to_next } => {
            (lcluster::NONHEAD, distances(blocks | D0_CBLKCNT, to_next))
        }
        Lcluster::Further { to_head, to_next } => (lcluster::NONHEAD, distances(to_head, to_next)),
    };
    LclusterIndex {
        di_advise: kind.into(),
        di_clusterofs: 0.into(),
        di_u: value.into(),
    }
}

/// Encodes compact indexes: packs of some of them and the block where those before them end.
struct Compact<'a> {
    out: &'a mut Vec<u8>,
    /// The first block that no index so far accounts for.
    address: u32,
}

impl Compact<'_> {
    /// `at` is where they begin, modulo 32: packs of 4 bytes for each index lead up to where packs
    /// of 2 bytes, which are 32 long, may begin; what those leave takes 4 bytes again.
    fn all(&mut self, lclusters: &[Lcluster], at: usize) {
        let lead = at.next_multiple_of(32).saturating_sub(at) / 4;
        let (lead, rest) = lclusters.split_at(lead.min(lclusters.len()));
        let (packs, last) = rest.as_chunks::<16>();
        lead.chunks(2).for_each(|pack| self.pack(pack, 2, 16));
        packs.iter().for_each(|pack| self.pack(pack, 16, 14));
        last.chunks(2).for_each(|pack| self.pack(pack, 2, 16));
    }

    /// A pack of up to `capacity` indexes of `bits` bits.
    fn pack(&mut self, lclusters: &[Lcluster], capacity: usize, bits: u32) {
        let start = self.address;
        let (mut pending, mut filled) = (0u64, 0u32);
        for at in 0..capacity {
            let is_last = at.saturating_add(1) == capacity;
            let value = lclusters.get(at).map_or(0, |one| self.index(*one, is_last));
            pending |= u64::from(value) << filled;
            filled = filled.saturating_add(bits);
            while filled >= 8 {
                self.out.push((pending & 0xff) as u8);
                pending >>= 8;
                filled = filled.saturating_sub(8);
            }
        }
        self.out.extend(start.to_le_bytes());
    }

    fn index(&mut self, one: Lcluster, is_last: bool) -> u32 {
        let (kind, low, blocks) = match one {
            Lcluster::Plain(_) => (lcluster::PLAIN, 0, 1),
            // Accounted for by the next.
            Lcluster::Head(_) => (lcluster::HEAD1, 0, 0),
            Lcluster::Second { blocks, .. } => {
                (lcluster::NONHEAD, blocks | D0_CBLKCNT, u32::from(blocks))
            }
            // The last one of a pack has the distance that its neighbours do not give away.
            Lcluster::Further { to_next, .. } if is_last => (lcluster::NONHEAD, to_next, 0),
            Lcluster::Further { to_head, .. } => (lcluster::NONHEAD, to_head, 0),
        };
        self.address = self.address.saturating_add(blocks);
        u32::from(kind) << LOW_BITS | u32::from(low)
    }
}
