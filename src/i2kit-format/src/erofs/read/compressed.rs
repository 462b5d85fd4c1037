//! Compressed inodes: their clusters, and reading them.
//!
//! Clusters that begin within a block, which this writer never makes, are not supported.

use super::super::codec::{Algorithm, MAX_CLUSTER, MAX_PHYSICAL_CLUSTER};
use super::super::format::{
    ADVISE_BIG_PCLUSTER_1, ADVISE_BIG_PCLUSTER_2, ADVISE_COMPACTED_2B, ADVISE_FRAGMENT_PCLUSTER,
    BLOCK, D0_CBLKCNT, FRAGMENT_INODE, LclusterIndex, Lz4Cfgs, MapHeader, SUPER_OFFSET, SuperBlock,
    ZstdCfgs, layout, lcluster,
};
use super::super::{Cluster, CompressedFile, Compression};
use super::{BLOCK_BYTES, FileType, ReadError, ReadInode, Reader};
use crate::ReadAt;

const KNOWN_ADVISE: u16 =
    ADVISE_COMPACTED_2B | ADVISE_BIG_PCLUSTER_1 | ADVISE_BIG_PCLUSTER_2 | ADVISE_FRAGMENT_PCLUSTER;
/// Logical clusters of the largest cluster.
const MAX_LCLUSTERS: u64 = (MAX_CLUSTER / BLOCK) as u64;

/// What a map's header says, and where its indexes are.
#[derive(Clone, Copy, Debug)]
struct Header {
    algorithm: Algorithm,
    /// Logical clusters of the file.
    count: u64,
    indexes: Indexes,
    /// The low half of a tail's offset in the packed inode.
    fragment: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Indexes {
    /// All of the file is a fragment.
    None {
        fragment: u64,
    },
    Full {
        at: u64,
    },
    Compact {
        at: u64,
        has_2b: bool,
    },
}

/// A logical cluster's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Index {
    Plain(u32),
    Head(u32),
    /// With the blocks of its head.
    Second(u16),
    Further,
}

/// Indexes that are packed together: where, how many, and bytes for each.
#[derive(Clone, Copy, Debug)]
struct Pack {
    at: u64,
    /// Number of its first logical cluster.
    first: u64,
    capacity: usize,
    bytes: usize,
}

impl<R: ReadAt + ?Sized> Reader<'_, R> {
    /// The clusters of a compressed regular file, or of the packed inode, and its fragment.
    /// Neighbouring plain clusters come as one of up to 1 MiB.
    ///
    /// Memory is bounded by the file's map, which lies in the image.
    ///
    /// # Errors
    /// When the inode is none, or its map is not valid.
    pub fn clusters(&self, inode: &ReadInode) -> Result<CompressedFile, ReadError> {
        inode.require(FileType::Regular, "regular file")?;
        if !is_compressed(inode) {
            return Err(inode.corrupt("not compressed"));
        }
        let mut file = CompressedFile {
            size: inode.size,
            ..CompressedFile::default()
        };
        let header = self.header(inode)?;
        if let Indexes::None { fragment } = header.indexes {
            file.fragment = Some(fragment);
            return Ok(file);
        }
        let mut number = 0;
        while number < header.count {
            let until = number.saturating_add(2 * MAX_LCLUSTERS).min(header.count);
            let window = self.indexes(inode, &header, number, until)?;
            let mut rest = window.as_slice();
            while !rest.is_empty() {
                let len = part_len(rest);
                if len == rest.len() && until < header.count && len < window.len() {
                    break;
                }
                match header.part(inode, rest, number)? {
                    Part::Cluster { cluster, .. } => push(&mut file.clusters, cluster),
                    Part::Fragment { offset, .. } => file.fragment = Some(offset),
                }
                rest = rest.get(len..).unwrap_or_default();
                number = number.saturating_add(len as u64);
            }
        }
        Ok(file)
    }

    /// What the compressed files of the image share; None when none is compressed.
    ///
    /// # Errors
    /// When they are compressed in several ways or in one that is not supported, or the packed
    /// inode's map is not valid.
    pub fn compression(&self) -> Result<Option<Compression>, ReadError> {
        let algorithms = self.superblock.algorithms;
        if algorithms == 0 {
            return Ok(None);
        }
        let at = (SUPER_OFFSET + size_of::<SuperBlock>() + 2) as u64;
        let (algorithm, cluster_size) = match algorithms {
            1 => {
                let settings: Lz4Cfgs = self.record("LZ4 settings", at)?;
                let blocks = u32::from(settings.max_pclusterblks.get());
                (Algorithm::Lz4, blocks.checked_mul(4096))
            }
            8 => {
                let settings: ZstdCfgs = self.record("ZSTD settings", at)?;
                (Algorithm::Zstd, largest_of_window(settings.windowlog))
            }
            _ => {
                return Err(ReadError::Unsupported {
                    what: "set of compressions",
                    value: algorithms.into(),
                });
            }
        };
        let packed = match self.superblock.packed_nid {
            0 => Vec::new(),
            nid => self.clusters(&self.inode(nid)?)?.clusters,
        };
        Ok(Some(Compression {
            algorithm,
            cluster_size: cluster_size.unwrap_or(u32::MAX),
            packed,
        }))
    }

    /// Reads up to `buf`'s length from `offset`, which lies below the size: the rest of a cluster.
    pub(super) fn read_compressed(
        &self,
        inode: &ReadInode,
        buf: &mut [u8],
        offset: u64,
    ) -> Result<usize, ReadError> {
        let header = self.header(inode)?;
        match self.part(inode, &header, offset)? {
            Part::Fragment { start, offset: at } => {
                let packed = self.packed_inode(inode)?;
                let from = offset.saturating_sub(start).checked_add(at);
                let from = from.ok_or_else(|| inode.corrupt("fragment out of range"))?;
                let left = packed.size.saturating_sub(from);
                let wanted = inode.size.saturating_sub(offset).min(buf.len() as u64);
                let len = usize::try_from(wanted.min(left)).unwrap_or(0);
                let part = buf.get_mut(..len).unwrap_or_default();
                if part.is_empty() {
                    return Err(inode.corrupt("fragment out of range"));
                }
                self.read_data(&packed, part, from)
            }
            Part::Cluster { start, cluster } => {
                let bytes = self.decompressed(inode, header.algorithm, &cluster)?;
                let within = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
                let bytes = bytes.get(within..).unwrap_or_default();
                let len = bytes.len().min(buf.len());
                let (to, from) = (buf.get_mut(..len), bytes.get(..len));
                if let (Some(to), Some(from)) = (to, from) {
                    to.copy_from_slice(from);
                }
                Ok(len)
            }
        }
    }

    fn decompressed(
        &self,
        inode: &ReadInode,
        algorithm: Algorithm,
        cluster: &Cluster,
    ) -> Result<Vec<u8>, ReadError> {
        let at = cluster.start_block.saturating_mul(BLOCK_BYTES);
        let len = cluster.len as usize;
        let on_disk = if cluster.is_plain() {
            len
        } else {
            (cluster.blocks as usize).saturating_mul(BLOCK)
        };
        let mut blocks = vec![0; on_disk];
        self.read("cluster", &mut blocks, at)?;
        if cluster.is_plain() {
            return Ok(blocks);
        }
        let bytes = algorithm.decompress(&blocks, len);
        bytes.ok_or_else(|| inode.corrupt("cluster does not decompress"))
    }

    fn packed_inode(&self, of: &ReadInode) -> Result<ReadInode, ReadError> {
        let nid = self.superblock.packed_nid;
        if nid == 0 || nid == of.nid {
            return Err(of.corrupt("fragment without a packed inode"));
        }
        let packed = self.inode(nid)?;
        // Its own fragment would lead back here.
        if is_compressed(&packed) {
            let header = self.header(&packed)?;
            if header.fragment.is_some() || matches!(header.indexes, Indexes::None { .. }) {
                return Err(packed.corrupt("packed inode has a fragment"));
            }
        }
        packed.require(FileType::Regular, "regular file")?;
        Ok(packed)
    }

    fn header(&self, inode: &ReadInode) -> Result<Header, ReadError> {
        let outside = || inode.corrupt("map out of range");
        let end = inode.body.checked_add(inode.xattr_size);
        let at = end.and_then(|end| end.checked_next_multiple_of(8));
        let at = at.ok_or_else(outside)?;
        let raw: MapHeader = self.record("map header", at)?;
        let count = inode.size.div_ceil(BLOCK_BYTES);
        let bits: u64 = zerocopy::transmute!(raw);
        let bits = u64::from_le(bits);
        if bits & FRAGMENT_INODE != 0 {
            let fragment = bits & !FRAGMENT_INODE;
            let (algorithm, indexes) = (Algorithm::Zstd, Indexes::None { fragment });
            return Ok(Header {
                algorithm,
                count,
                indexes,
                fragment: None,
            });
        }
        let advise = raw.h_advise.get();
        let algorithm = match raw.h_algorithmtype {
            0 => Some(Algorithm::Lz4),
            3 => Some(Algorithm::Zstd),
            _ => None,
        };
        let unsupported = |what, value| ReadError::Unsupported { what, value };
        let algorithm =
            algorithm.ok_or_else(|| unsupported("compression", raw.h_algorithmtype.into()))?;
        if advise & !KNOWN_ADVISE != 0 || advise & ADVISE_BIG_PCLUSTER_1 == 0 {
            return Err(unsupported("map advice", advise.into()));
        }
        if raw.h_clusterbits != 0 {
            return Err(unsupported(
                "logical cluster size",
                raw.h_clusterbits.into(),
            ));
        }
        let skip = |len| at.checked_add(len).ok_or_else(outside);
        let indexes = match inode.layout {
            layout::COMPRESSED_FULL => Indexes::Full { at: skip(16)? },
            _ => Indexes::Compact {
                at: skip(8)?,
                has_2b: advise & ADVISE_COMPACTED_2B != 0,
            },
        };
        let has_fragment = advise & ADVISE_FRAGMENT_PCLUSTER != 0;
        let fragment = has_fragment.then(|| raw.h_fragmentoff.get());
        Ok(Header {
            algorithm,
            count,
            indexes,
            fragment,
        })
    }

    /// The cluster or the fragment that has the byte at `offset`, which lies below the size.
    fn part(&self, inode: &ReadInode, header: &Header, offset: u64) -> Result<Part, ReadError> {
        if let Indexes::None { fragment } = header.indexes {
            return Ok(Part::Fragment {
                start: 0,
                offset: fragment,
            });
        }
        let number = offset / BLOCK_BYTES;
        let from = number.saturating_sub(MAX_LCLUSTERS - 1);
        let until = number.saturating_add(MAX_LCLUSTERS).min(header.count);
        let window = self.indexes(inode, header, from, until)?;
        let here = usize::try_from(number - from).unwrap_or(usize::MAX);
        let (before, _) = window
            .split_at_checked(here.saturating_add(1))
            .unwrap_or_default();
        let is_head = |index: &Index| matches!(index, Index::Plain(_) | Index::Head(_));
        let head = before.iter().rposition(is_head);
        let head = head.ok_or_else(|| inode.corrupt("index without a head"))?;
        let rest = window.get(head..).unwrap_or_default();
        header.part(inode, rest, from.saturating_add(head as u64))
    }

    /// The indexes `from..until`.
    fn indexes(
        &self,
        inode: &ReadInode,
        header: &Header,
        from: u64,
        until: u64,
    ) -> Result<Vec<Index>, ReadError> {
        let mut out = Vec::new();
        let mut number = from;
        while number < until {
            let (first, indexes) = match header.indexes {
                Indexes::Compact { at, has_2b } => {
                    let pack = pack(at, has_2b, header.count, number);
                    let pack = pack.ok_or_else(|| inode.corrupt("map out of range"))?;
                    (pack.first, self.unpack(inode, &pack)?)
                }
                Indexes::Full { at } => (number, self.full(inode, at, number, until)?),
                Indexes::None { .. } => return Err(inode.corrupt("no indexes")),
            };
            let skip = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
            let before = out.len();
            let room = usize::try_from(until.saturating_sub(number)).unwrap_or(usize::MAX);
            out.extend(indexes.into_iter().skip(skip).take(room));
            number = number.saturating_add(out.len().saturating_sub(before) as u64);
        }
        Ok(out)
    }

    fn full(
        &self,
        inode: &ReadInode,
        at: u64,
        from: u64,
        until: u64,
    ) -> Result<Vec<Index>, ReadError> {
        let outside = || inode.corrupt("map out of range");
        let at = from.checked_mul(8).and_then(|skip| at.checked_add(skip));
        // At most a window of them.
        let len = until.saturating_sub(from).checked_mul(8);
        let len = len.and_then(|len| usize::try_from(len).ok());
        let mut bytes = vec![0; len.ok_or_else(outside)?];
        self.read("indexes", &mut bytes, at.ok_or_else(outside)?)?;
        let records = bytes.as_chunks::<8>().0.iter();
        records
            .map(|bytes| full(inode, &zerocopy::transmute!(*bytes)))
            .collect()
    }

    fn unpack(&self, inode: &ReadInode, pack: &Pack) -> Result<Vec<Index>, ReadError> {
        let mut bytes = [0; 32];
        let len = pack.capacity.saturating_mul(pack.bytes);
        let bytes = bytes.get_mut(..len).unwrap_or_default();
        self.read("indexes", bytes, pack.at)?;
        let (packed, address) = bytes
            .split_last_chunk()
            .ok_or_else(|| inode.corrupt("map out of range"))?;
        let mut address = u32::from_le_bytes(*address);
        let values = unpacked(packed, pack.capacity);
        let mut out = Vec::with_capacity(pack.capacity);
        for (at, (kind, low)) in values.iter().enumerate() {
            let next_is_head = values
                .get(at.saturating_add(1))
                .is_some_and(|(kind, _)| *kind != lcluster::NONHEAD);
            let (index, blocks) = match *kind {
                lcluster::PLAIN | lcluster::HEAD1 if *low != 0 => {
                    return Err(ReadError::Unsupported {
                        what: "cluster that begins within a block, at byte",
                        value: (*low).into(),
                    });
                }
                lcluster::PLAIN => (Index::Plain(address), 1),
                lcluster::HEAD1 => (Index::Head(address), u32::from(next_is_head)),
                lcluster::NONHEAD if low & D0_CBLKCNT != 0 => {
                    let blocks = low & !D0_CBLKCNT;
                    (Index::Second(blocks), u32::from(blocks))
                }
                lcluster::NONHEAD => (Index::Further, 0),
                _ => return Err(inode.corrupt("index of no known kind")),
            };
            address = address.saturating_add(blocks);
            out.push(index);
        }
        Ok(out)
    }
}

impl Header {
    /// What the indexes `rest`, the first of which is number `start`, begin with.
    fn part(&self, inode: &ReadInode, rest: &[Index], start: u64) -> Result<Part, ReadError> {
        let lclusters = part_len(rest) as u64;
        let is_last = start.saturating_add(lclusters) == self.count;
        let start = start.saturating_mul(BLOCK_BYTES);
        if is_last
            && let (Some(low), Some(Index::Head(high) | Index::Plain(high))) =
                (self.fragment, rest.first())
        {
            let is_full = matches!(self.indexes, Indexes::Full { .. });
            let high = if is_full { u64::from(*high) << 32 } else { 0 };
            let offset = high | u64::from(low);
            return Ok(Part::Fragment { start, offset });
        }
        let left = inode.size.saturating_sub(start);
        let len = lclusters.saturating_mul(BLOCK_BYTES).min(left);
        let (address, blocks) = match (rest.first(), rest.get(1)) {
            (Some(Index::Plain(address)), _) if lclusters == 1 => (*address, 1),
            (Some(Index::Head(address)), Some(Index::Second(blocks))) => {
                (*address, u32::from(*blocks))
            }
            _ => return Err(inode.corrupt("index of no known kind")),
        };
        let cluster = Cluster {
            len: u32::try_from(len).unwrap_or(u32::MAX),
            blocks,
            start_block: address.into(),
        };
        let is_compressed = lclusters > 1;
        let is_long = cluster.len as usize > MAX_CLUSTER
            || is_compressed && blocks as usize > MAX_PHYSICAL_CLUSTER / BLOCK;
        if blocks == 0 || is_long || is_compressed == cluster.is_plain() {
            return Err(inode.corrupt("cluster of an impossible length"));
        }
        Ok(Part::Cluster { start, cluster })
    }
}

/// The largest cluster with a window of 2 to the power of `log` + 10 bytes: as large as the window,
/// or any where that is as large as it can be.
fn largest_of_window(log: u8) -> Option<u32> {
    let size = 1u32.checked_shl(u32::from(log).saturating_add(10))?;
    match size as usize == MAX_PHYSICAL_CLUSTER {
        true => u32::try_from(MAX_CLUSTER).ok(),
        false => Some(size),
    }
}

/// How many indexes belong to the one that `rest` begins with, itself included.
fn part_len(rest: &[Index]) -> usize {
    let belongs = |index: &&Index| matches!(index, Index::Second(_) | Index::Further);
    rest.iter()
        .skip(1)
        .take_while(belongs)
        .count()
        .saturating_add(1)
}

fn full(inode: &ReadInode, raw: &LclusterIndex) -> Result<Index, ReadError> {
    let value = raw.di_u.get();
    let first = (value & 0xffff) as u16;
    let kind = raw.di_advise.get();
    if kind != lcluster::NONHEAD && raw.di_clusterofs.get() != 0 {
        return Err(ReadError::Unsupported {
            what: "cluster that begins within a block, at byte",
            value: raw.di_clusterofs.get().into(),
        });
    }
    match kind {
        lcluster::PLAIN => Ok(Index::Plain(value)),
        lcluster::HEAD1 => Ok(Index::Head(value)),
        lcluster::NONHEAD if first & D0_CBLKCNT != 0 => Ok(Index::Second(first & !D0_CBLKCNT)),
        lcluster::NONHEAD => Ok(Index::Further),
        _ => Err(inode.corrupt("index of no known kind")),
    }
}

enum Part {
    Cluster { start: u64, cluster: Cluster },
    Fragment { start: u64, offset: u64 },
}

pub(super) fn is_compressed(inode: &ReadInode) -> bool {
    matches!(
        inode.layout,
        layout::COMPRESSED_FULL | layout::COMPRESSED_COMPACT
    )
}

/// The pack that has index `number` of `count`, as `z_erofs_load_compact_lcluster` finds it.
fn pack(at: u64, has_2b: bool, count: u64, number: u64) -> Option<Pack> {
    let lead = at.checked_next_multiple_of(32)?.checked_sub(at)? / 4;
    let lead = lead.min(count);
    let wide = if has_2b { (count - lead) / 16 * 16 } else { 0 };
    let (at, first, within, capacity, bytes) = if number < lead {
        (at, 0, number, 2, 4)
    } else if number < lead + wide {
        (at.checked_add(lead * 4)?, lead, number - lead, 16, 2)
    } else {
        let at = at.checked_add(lead * 4)?.checked_add(wide * 2)?;
        (at, lead + wide, number - lead - wide, 2, 4)
    };
    let begin = within / capacity * capacity;
    Some(Pack {
        at: at.checked_add(begin * bytes)?,
        first: first + begin,
        capacity: usize::try_from(capacity).ok()?,
        bytes: usize::try_from(bytes).ok()?,
    })
}

/// Types and low bits of the indexes in `bytes`.
fn unpacked(bytes: &[u8], count: usize) -> Vec<(u16, u16)> {
    let bits = bytes
        .len()
        .saturating_mul(8)
        .checked_div(count)
        .unwrap_or(0);
    let value = |at: usize| {
        let bit = at.saturating_mul(bits);
        let from = bytes.get(bit / 8..).unwrap_or_default();
        let window = from
            .iter()
            .take(4)
            .rev()
            .fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        let value = window >> (bit % 8);
        (((value >> 12) & 3) as u16, (value & 0xfff) as u16)
    };
    (0..count).map(value).collect()
}

/// Adds a cluster, or lengthens a plain one that it goes on.
fn push(clusters: &mut Vec<Cluster>, next: Cluster) {
    if let Some(last) = clusters.last_mut()
        && last.is_plain()
        && next.is_plain()
        && last.len.is_multiple_of(4096)
        && last.start_block.saturating_add(last.blocks.into()) == next.start_block
        && last.len.saturating_add(next.len) as usize <= MAX_CLUSTER
    {
        last.len = last.len.saturating_add(next.len);
        last.blocks = last.blocks.saturating_add(next.blocks);
    } else {
        clusters.push(next);
    }
}
