//! The on-disk records, with the names of `fs/erofs/erofs_fs.h`. All integers are little-endian.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a block.
pub(super) const BLOCK: usize = 4096;
/// log2 of [`BLOCK`].
pub(super) const BLOCK_BITS: u8 = 12;
/// Bytes of an inode slot: an inode lies at `nid * SLOT` in the metadata area.
pub(super) const SLOT: usize = 32;
/// `EROFS_SUPER_OFFSET`.
pub(super) const SUPER_OFFSET: usize = 1024;
/// `EROFS_SUPER_MAGIC_V1`.
pub(super) const MAGIC: u32 = 0xe0f5_e1e2;
/// `EROFS_FEATURE_COMPAT_SB_CHKSUM`.
pub(super) const COMPAT_SB_CHKSUM: u32 = 1;
/// `EROFS_FEATURE_COMPAT_MTIME`: inode times are modification times.
pub(super) const COMPAT_MTIME: u32 = 2;
/// `EROFS_FEATURE_INCOMPAT_ZERO_PADDING`: concerns compressed inodes alone.
pub(super) const INCOMPAT_ZERO_PADDING: u32 = 1;
/// `EROFS_FEATURE_INCOMPAT_COMPR_CFGS`, whose bit `EROFS_FEATURE_INCOMPAT_BIG_PCLUSTER` shares.
pub(super) const INCOMPAT_COMPR_CFGS: u32 = 2;
/// `EROFS_FEATURE_INCOMPAT_FRAGMENTS`, whose bit `EROFS_FEATURE_INCOMPAT_DEDUPE` shares.
pub(super) const INCOMPAT_FRAGMENTS: u32 = 0x20;
/// `EROFS_FEATURE_INCOMPAT_CHUNKED_FILE`.
pub(super) const INCOMPAT_CHUNKED_FILE: u32 = 4;
/// `EROFS_NULL_ADDR`: a hole in a chunk map, no data in an inode.
pub(super) const NULL_ADDR: u32 = u32::MAX;
/// `EROFS_NAME_LEN`.
pub(super) const NAME_LEN: usize = 255;
/// `EROFS_CHUNK_FORMAT_BLKBITS_MASK`.
pub(super) const CHUNK_BLKBITS_MASK: u16 = 0x1f;
/// `EROFS_CHUNK_FORMAT_INDEXES`: 8-byte indexes, not 4-byte addresses.
pub(super) const CHUNK_INDEXES: u16 = 0x20;

/// Data layouts, in bits 1..=3 of `i_format`.
pub(super) mod layout {
    pub(in super::super) const FLAT_PLAIN: u16 = 0;
    pub(in super::super) const COMPRESSED_FULL: u16 = 1;
    pub(in super::super) const FLAT_INLINE: u16 = 2;
    pub(in super::super) const COMPRESSED_COMPACT: u16 = 3;
    pub(in super::super) const CHUNK_BASED: u16 = 4;
}

/// `struct erofs_super_block`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SuperBlock {
    pub magic: U32,
    pub checksum: U32,
    pub feature_compat: U32,
    pub blkszbits: u8,
    pub sb_extslots: u8,
    pub root_nid: U16,
    pub inos: U64,
    pub epoch: U64,
    pub fixed_nsec: U32,
    pub blocks: U32,
    pub meta_blkaddr: U32,
    pub xattr_blkaddr: U32,
    pub uuid: [u8; 16],
    pub volume_name: [u8; 16],
    pub feature_incompat: U32,
    pub available_compr_algs: U16,
    pub extra_devices: U16,
    pub devt_slotoff: U16,
    pub dirblkbits: u8,
    pub xattr_prefix_count: u8,
    pub xattr_prefix_start: U32,
    pub packed_nid: U64,
    pub xattr_filter_reserved: u8,
    pub reserved2: [u8; 23],
}

/// `struct erofs_inode_compact`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct InodeCompact {
    pub i_format: U16,
    pub i_xattr_icount: U16,
    pub i_mode: U16,
    pub i_nlink: U16,
    pub i_size: U32,
    pub i_reserved: U32,
    pub i_u: U32,
    pub i_ino: U32,
    pub i_uid: U16,
    pub i_gid: U16,
    pub i_reserved2: U32,
}

/// `struct erofs_inode_extended`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct InodeExtended {
    pub i_format: U16,
    pub i_xattr_icount: U16,
    pub i_mode: U16,
    pub i_reserved: U16,
    pub i_size: U64,
    pub i_u: U32,
    pub i_ino: U32,
    pub i_uid: U32,
    pub i_gid: U32,
    pub i_mtime: U64,
    pub i_mtime_nsec: U32,
    pub i_nlink: U32,
    pub i_reserved2: [u8; 16],
}

/// `struct erofs_dirent`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Dirent {
    pub nid: U64,
    pub nameoff: U16,
    pub file_type: u8,
    pub reserved: u8,
}

/// `struct erofs_xattr_ibody_header`, before the ids of shared attributes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct XattrIbodyHeader {
    pub h_name_filter: U32,
    pub h_shared_count: u8,
    pub h_reserved2: [u8; 7],
}

/// `struct erofs_xattr_entry`, before name and value.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct XattrEntry {
    pub e_name_len: u8,
    pub e_name_index: u8,
    pub e_value_size: U16,
}

/// `struct erofs_inode_chunk_index`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ChunkIndex {
    pub advise: U16,
    pub device_id: U16,
    pub blkaddr: U32,
}

/// `struct z_erofs_lz4_cfgs`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Lz4Cfgs {
    pub max_distance: U16,
    pub max_pclusterblks: U16,
    pub reserved: [u8; 10],
}

/// `struct z_erofs_zstd_cfgs`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ZstdCfgs {
    pub format: u8,
    /// log2 of the window, less 10.
    pub windowlog: u8,
    pub reserved: [u8; 4],
}

/// `struct z_erofs_map_header`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct MapHeader {
    pub h_fragmentoff: U32,
    pub h_advise: U16,
    /// Bits 0..4: of head 1.
    pub h_algorithmtype: u8,
    /// Bits 0..4: log2 of a logical cluster, less the block's. Bit 7: see [`FRAGMENT_INODE`].
    pub h_clusterbits: u8,
}

/// `struct z_erofs_lcluster_index`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct LclusterIndex {
    /// Bits 0..2: the type.
    pub di_advise: U16,
    pub di_clusterofs: U16,
    /// Of a head: its block. Of others: the distances to their head and to the next.
    pub di_u: U32,
}

/// `Z_EROFS_ADVISE_COMPACTED_2B`.
pub(super) const ADVISE_COMPACTED_2B: u16 = 1;
/// `Z_EROFS_ADVISE_BIG_PCLUSTER_1`: the first index after a head has its physical length.
pub(super) const ADVISE_BIG_PCLUSTER_1: u16 = 2;
/// `Z_EROFS_ADVISE_BIG_PCLUSTER_2`: likewise for heads of the second kind.
pub(super) const ADVISE_BIG_PCLUSTER_2: u16 = 4;
/// `Z_EROFS_ADVISE_FRAGMENT_PCLUSTER`: what the last head begins lies in the packed inode.
pub(super) const ADVISE_FRAGMENT_PCLUSTER: u16 = 0x20;
/// `Z_EROFS_FRAGMENT_INODE_BIT` of a map header's 64 bits: all of the file lies in the packed inode,
/// at the offset that the other bits are.
pub(super) const FRAGMENT_INODE: u64 = 1 << 63;
/// `Z_EROFS_LI_D0_CBLKCNT`: the distance to the head is 1, and the other bits are its blocks.
pub(super) const D0_CBLKCNT: u16 = 1 << 11;

/// Types of a logical cluster.
pub(super) mod lcluster {
    pub(in super::super) const PLAIN: u16 = 0;
    pub(in super::super) const HEAD1: u16 = 1;
    pub(in super::super) const NONHEAD: u16 = 2;
}

const _: () = {
    assert!(size_of::<Lz4Cfgs>() == 14);
    assert!(size_of::<ZstdCfgs>() == 6);
    assert!(size_of::<MapHeader>() == 8);
    assert!(size_of::<LclusterIndex>() == 8);
    assert!(size_of::<SuperBlock>() == 128);
    assert!(size_of::<InodeCompact>() == 32);
    assert!(size_of::<InodeExtended>() == 64);
    assert!(size_of::<Dirent>() == 12);
    assert!(size_of::<XattrIbodyHeader>() == 12);
    assert!(size_of::<XattrEntry>() == 4);
    assert!(size_of::<ChunkIndex>() == 8);
};

/// The checksum of a superblock's block: CRC-32C from byte 1024 to the block's end with the
/// `checksum` field zero, without the final inversion.
pub(super) fn checksum(block: &[u8; BLOCK]) -> u32 {
    let mut covered = *block;
    let (_, from_super) = covered.split_at_mut(SUPER_OFFSET);
    if let Some(field) = from_super.get_mut(4..8) {
        field.fill(0);
    }
    !crc32c::crc32c(from_super)
}

/// The type bits of `st_mode`.
pub(super) mod mode {
    pub(in super::super) const TYPE: u16 = 0o170_000;
    pub(in super::super) const SOCKET: u16 = 0o140_000;
    pub(in super::super) const SYMLINK: u16 = 0o120_000;
    pub(in super::super) const REGULAR: u16 = 0o100_000;
    pub(in super::super) const BLOCK: u16 = 0o060_000;
    pub(in super::super) const DIRECTORY: u16 = 0o040_000;
    pub(in super::super) const CHAR: u16 = 0o020_000;
    pub(in super::super) const FIFO: u16 = 0o010_000;
}
