//! Writes what the plan laid out.

use zerocopy::IntoBytes as _;

use super::chunk::{self, ExtentError};
use super::codec::{MAX_CLUSTER, MAX_PHYSICAL_CLUSTER};
use super::dir;
use super::format::{
    self, BLOCK, BLOCK_BITS, COMPAT_MTIME, COMPAT_SB_CHKSUM, INCOMPAT_CHUNKED_FILE,
    INCOMPAT_COMPR_CFGS, INCOMPAT_FRAGMENTS, INCOMPAT_ZERO_PADDING, InodeExtended, Lz4Cfgs, MAGIC,
    NULL_ADDR, SUPER_OFFSET, SuperBlock, ZstdCfgs, layout, mode,
};
use super::plan::{Data, Plan, Planned};
use super::xattr::XattrError;
use super::{Algorithm, Compression, Content, InodeId, Tree};

/// What the tree does not say about the file system.
#[derive(Clone, Debug)]
pub struct Options {
    /// First block of the metadata, 1..; data lies before it.
    pub meta_start_block: u64,
    /// The file system's UUID.
    pub uuid: [u8; 16],
    /// Its label, zero-filled.
    pub volume_name: [u8; 16],
}

/// What is written around the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Block 0: zeros, the superblock at byte 1024, zeros.
    pub first_block: [u8; 4096],
    /// A whole number of blocks, from block [`Options::meta_start_block`] on.
    pub metadata: Vec<u8>,
}

/// Why a tree can't be written. Paths are inside the tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tree's first inode is not a directory.
    #[error("EROFS: the tree has no root directory")]
    NoRoot,
    /// A name is empty, `.` or `..`, longer than 255 bytes, or has a slash or a NUL.
    #[error("EROFS: {path:?}: not a valid file name")]
    Name {
        /// Where.
        path: String,
    },
    /// A name of no inode.
    #[error("EROFS: {path:?}: names an inode that is not in the tree")]
    Dangling {
        /// Where.
        path: String,
    },
    /// A directory with two names, or one that contains itself.
    #[error("EROFS: {path:?}: a second name for a directory")]
    DirectoryTwice {
        /// Where.
        path: String,
    },
    /// A value out of the field's range.
    #[error("EROFS: {path:?}: {field} {value} is out of range")]
    Field {
        /// Where.
        path: String,
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// An extended attribute that has no place.
    #[error("EROFS: {path:?}: attribute {name:?}: {source}")]
    Xattr {
        /// Where.
        path: String,
        /// The attribute's name.
        name: String,
        /// Why.
        source: XattrError,
    },
    /// A file's extent that can't be.
    #[error("EROFS: {path:?}: extent at byte {offset}: {source}")]
    Extent {
        /// Where.
        path: String,
        /// The extent's offset in the file.
        offset: u64,
        /// Why.
        source: ExtentError,
    },
    /// The packed inode can't be.
    #[error("EROFS: packed inode: at byte {offset}: {source}")]
    Packed {
        /// Its byte.
        offset: u64,
        /// Why.
        source: ExtentError,
    },
    /// Clusters of that size can't be.
    #[error("EROFS: cluster size {size}: not a power of 2 from 4096 to 1048576")]
    ClusterSize {
        /// Bytes.
        size: u32,
    },
    /// Too much metadata.
    #[error("EROFS: {path:?}: from here on metadata would exceed {limit} bytes")]
    Metadata {
        /// Where.
        path: String,
        /// Bytes.
        limit: usize,
    },
    /// Block addresses are u32, and metadata can't start in the superblock's block.
    #[error(
        "EROFS: metadata of {blocks} blocks from block {start}: not within blocks 1 to 4294967294"
    )]
    Blocks {
        /// First block of the metadata.
        start: u64,
        /// Blocks of metadata.
        blocks: u64,
    },
}

/// Writes the tree: superblock and metadata.
///
/// Inodes are extended, since compact ones have no modification time of their own. The output
/// depends on the arguments alone, and memory is proportional to the metadata.
///
/// # Errors
/// What the format has no place for, with the path that has it.
pub fn write(tree: &Tree, options: &Options) -> Result<Image, Error> {
    if let Some(Compression {
        cluster_size: size, ..
    }) = tree.compression
        && !(size.is_power_of_two() && (BLOCK..=MAX_CLUSTER).contains(&(size as usize)))
    {
        return Err(Error::ClusterSize { size });
    }
    let plan = Plan::new(tree, options.meta_start_block)?;
    let start = options.meta_start_block;
    let bytes = plan
        .xattr_part
        .saturating_add(plan.shared.len())
        .next_multiple_of(BLOCK);
    let blocks = (bytes / BLOCK) as u64;
    let fits = |&end: &u32| start > 0 && end < NULL_ADDR;
    let end = start
        .checked_add(blocks)
        .and_then(|end| u32::try_from(end).ok())
        .filter(fits);
    let (Some(end), Ok(start)) = (end, u32::try_from(start)) else {
        return Err(Error::Blocks { start, blocks });
    };
    let writer = Writer {
        plan: &plan,
        tree,
        meta_start_block: start,
    };
    Ok(Image {
        first_block: first_block(&plan, tree.compression.as_ref(), options, start, end),
        metadata: writer.metadata(bytes),
    })
}

fn first_block(
    plan: &Plan<'_>,
    compression: Option<&Compression>,
    options: &Options,
    start: u32,
    end: u32,
) -> [u8; BLOCK] {
    let is_used = |inode: &Planned<'_>| matches!(inode.data, Data::Compressed { .. });
    let compression = compression.filter(|_| plan.inodes.iter().any(is_used));
    let root = plan.nids.first().copied().unwrap_or(0);
    let superblock = SuperBlock {
        magic: MAGIC.into(),
        checksum: 0.into(),
        feature_compat: (COMPAT_SB_CHKSUM | COMPAT_MTIME).into(),
        blkszbits: BLOCK_BITS,
        sb_extslots: 0,
        // The root is placed first.
        root_nid: u16::try_from(root).unwrap_or(u16::MAX).into(),
        inos: (plan.inodes.len() as u64).into(),
        epoch: 0.into(),
        fixed_nsec: 0.into(),
        blocks: end.into(),
        meta_blkaddr: start.into(),
        xattr_blkaddr: if plan.shared.is_empty() {
            0
        } else {
            block_address(start, plan.xattr_part, 0)
        }
        .into(),
        uuid: options.uuid,
        volume_name: options.volume_name,
        feature_incompat: feature_incompat(plan, compression).into(),
        available_compr_algs: compression.map_or(0, |one| 1 << one.algorithm.id()).into(),
        extra_devices: 0.into(),
        devt_slotoff: 0.into(),
        dirblkbits: 0,
        xattr_prefix_count: 0,
        xattr_prefix_start: 0.into(),
        packed_nid: plan.packed_nid.into(),
        xattr_filter_reserved: 0,
        reserved2: [0; 23],
    };
    let mut block = [0; BLOCK];
    put(&mut block, SUPER_OFFSET, superblock.as_bytes());
    if let Some(compression) = compression {
        let config = config(compression);
        let at = SUPER_OFFSET.saturating_add(size_of::<SuperBlock>());
        put(&mut block, at, &config);
    }
    let checksum = format::checksum(&block);
    put(&mut block, SUPER_OFFSET + 4, &checksum.to_le_bytes());
    block
}

fn feature_incompat(plan: &Plan<'_>, compression: Option<&Compression>) -> u32 {
    let is_chunked = |inode: &Planned<'_>| matches!(inode.data, Data::Chunks { .. });
    let mut features = 0;
    if plan.inodes.iter().any(is_chunked) {
        features |= INCOMPAT_CHUNKED_FILE;
    }
    if compression.is_some() {
        features |= INCOMPAT_ZERO_PADDING | INCOMPAT_COMPR_CFGS;
    }
    // The bit says that clusters are shared, too, which only full indexes can do.
    let may_share = |inode: &Planned<'_>| matches!(&inode.data, Data::Compressed(map) if map.layout == layout::COMPRESSED_FULL);
    if plan.packed_nid > 0 || plan.inodes.iter().any(may_share) {
        features |= INCOMPAT_FRAGMENTS;
    }
    features
}

/// The algorithm's settings, after their length.
fn config(compression: &Compression) -> Vec<u8> {
    let size = compression.cluster_size;
    let record = match compression.algorithm {
        Algorithm::Lz4 => Lz4Cfgs {
            max_distance: 0.into(),
            // It sizes a buffer of each processor.
            max_pclusterblks: physical_blocks(size).into(),
            reserved: [0; 10],
        }
        .as_bytes()
        .to_vec(),
        Algorithm::Zstd => ZstdCfgs {
            format: 0,
            windowlog: window_log(size),
            reserved: [0; 4],
        }
        .as_bytes()
        .to_vec(),
    };
    let mut out = u16::try_from(record.len())
        .unwrap_or(0)
        .to_le_bytes()
        .to_vec();
    out.extend(record);
    out
}

/// Blocks that a compressed cluster of this size takes at most.
fn physical_blocks(size: u32) -> u16 {
    let bytes = (size as usize).min(MAX_PHYSICAL_CLUSTER);
    u16::try_from(bytes / BLOCK).unwrap_or(u16::MAX)
}

/// The window that a cluster of this size needs, as the format has it: log2, less 10.
fn window_log(size: u32) -> u8 {
    let log = size.ilog2().min(MAX_PHYSICAL_CLUSTER.ilog2());
    u8::try_from(log.saturating_sub(10)).unwrap_or(u8::MAX)
}

fn put(block: &mut [u8; BLOCK], offset: usize, bytes: &[u8]) {
    for (to, from) in block.iter_mut().skip(offset).zip(bytes) {
        *to = *from;
    }
}

/// A block of the image: `block` blocks after byte `offset` of the metadata, which starts at block
/// `start`. Fits: the image's end was checked.
fn block_address(start: u32, offset: usize, block: u64) -> u32 {
    let address = u64::from(start)
        .saturating_add((offset / BLOCK) as u64)
        .saturating_add(block);
    u32::try_from(address).unwrap_or(NULL_ADDR)
}

struct Writer<'a, 't> {
    plan: &'a Plan<'t>,
    tree: &'t Tree,
    meta_start_block: u32,
}

impl Writer<'_, '_> {
    fn metadata(&self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len);
        for (planned, ino) in self.plan.inodes.iter().zip(1..) {
            pad(&mut out, planned.offset);
            self.inode(&mut out, planned, ino);
        }
        pad(&mut out, self.plan.block_part);
        for planned in &self.plan.inodes {
            self.blocks(&mut out, planned);
        }
        pad(&mut out, self.plan.xattr_part);
        out.extend_from_slice(&self.plan.shared);
        pad(&mut out, len);
        out
    }

    fn inode(&self, out: &mut Vec<u8>, planned: &Planned<'_>, ino: u32) {
        out.extend_from_slice(self.header(planned, ino).as_bytes());
        out.extend_from_slice(&planned.xattrs);
        match &planned.data {
            Data::Chunks { bits, runs } => {
                out.extend(chunk::addresses(runs, *bits).flat_map(u32::to_le_bytes));
            }
            Data::Compressed(map) => out.extend_from_slice(&map.bytes),
            Data::Own { tail, .. } if *tail > 0 => {
                let bytes = self.own_bytes(planned);
                let from = bytes.len().saturating_sub(*tail);
                out.extend(bytes.get(from..).unwrap_or_default());
            }
            _ => {}
        }
    }

    fn header(&self, planned: &Planned<'_>, ino: u32) -> InodeExtended {
        let metadata = &planned.inode.metadata;
        let (data_layout, i_u) = match &planned.data {
            Data::None => (
                layout::FLAT_PLAIN,
                if is_regular(planned) { NULL_ADDR } else { 0 },
            ),
            Data::Device(rdev) => (layout::FLAT_PLAIN, *rdev),
            Data::Flat(start) => (layout::FLAT_PLAIN, *start),
            Data::Chunks { bits, .. } => (layout::CHUNK_BASED, u32::from(*bits)),
            Data::Compressed(map) => (map.layout, map.blocks),
            Data::Own {
                first_block,
                blocks,
                tail,
            } => {
                let data_layout = if *tail > 0 {
                    layout::FLAT_INLINE
                } else {
                    layout::FLAT_PLAIN
                };
                let address =
                    block_address(self.meta_start_block, self.plan.block_part, *first_block);
                (data_layout, if *blocks > 0 { address } else { NULL_ADDR })
            }
        };
        InodeExtended {
            i_format: (1 | (data_layout << 1)).into(),
            i_xattr_icount: xattr_icount(planned.xattrs.len()).into(),
            i_mode: (type_bits(&planned.inode.content) | metadata.mode).into(),
            i_reserved: 0.into(),
            i_size: planned.size.into(),
            i_u: i_u.into(),
            i_ino: ino.into(),
            i_uid: metadata.uid.into(),
            i_gid: metadata.gid.into(),
            i_mtime: metadata.mtime.cast_unsigned().into(),
            i_mtime_nsec: metadata.mtime_nsec.into(),
            i_nlink: planned.links.into(),
            i_reserved2: [0; 16],
        }
    }

    /// The whole blocks of a directory or symlink.
    fn blocks(&self, out: &mut Vec<u8>, planned: &Planned<'_>) {
        let Data::Own {
            blocks: 1.., tail, ..
        } = &planned.data
        else {
            return;
        };
        let bytes = self.own_bytes(planned);
        let until = bytes.len().saturating_sub(*tail);
        out.extend(bytes.get(..until).unwrap_or_default());
        pad_block(out);
    }

    /// All bytes of a directory or symlink.
    fn own_bytes(&self, planned: &Planned<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        match &planned.inode.content {
            Content::Symlink(target) => out.extend_from_slice(target),
            Content::Directory(directory) => {
                let entries = dir::entries(directory, planned.id, planned.parent);
                for block in dir::blocks(&entries) {
                    pad_block(&mut out);
                    dir::encode(&mut out, block, |id| self.nid_and_type(id));
                }
            }
            _ => {}
        }
        out
    }

    fn nid_and_type(&self, id: InodeId) -> (u64, u8) {
        let nid = self.plan.nids.get(id.0 as usize).copied().unwrap_or(0);
        let file_type = self
            .tree
            .get(id)
            .map_or(0, |inode| dir::file_type(&inode.content));
        (nid, file_type)
    }
}

fn is_regular(planned: &Planned<'_>) -> bool {
    matches!(
        planned.inode.content,
        Content::Regular(_) | Content::Compressed(_)
    )
}

/// 0, or the header as 1 and each 4 bytes after it; the size was checked.
fn xattr_icount(size: usize) -> u16 {
    let words = size.saturating_sub(size_of::<format::XattrIbodyHeader>()) / 4;
    if size == 0 {
        0
    } else {
        u16::try_from(words.saturating_add(1)).unwrap_or(u16::MAX)
    }
}

fn type_bits(content: &Content) -> u16 {
    match content {
        Content::Directory(_) => mode::DIRECTORY,
        Content::Regular(_) | Content::Compressed(_) => mode::REGULAR,
        Content::Symlink(_) => mode::SYMLINK,
        Content::CharDevice { .. } => mode::CHAR,
        Content::BlockDevice { .. } => mode::BLOCK,
        Content::Fifo => mode::FIFO,
        Content::Socket => mode::SOCKET,
    }
}

/// Zeros up to byte `offset`.
fn pad(out: &mut Vec<u8>, offset: usize) {
    debug_assert!(out.len() <= offset);
    out.resize(offset, 0);
}

/// Zeros up to the next block.
fn pad_block(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}
