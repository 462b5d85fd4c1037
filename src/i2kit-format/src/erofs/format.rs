//! On-disk records (`fs/erofs/erofs_fs.h`). All numbers are little-endian.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `EROFS_SUPER_MAGIC_V1`.
pub const MAGIC: u32 = 0xE0F5_E1E2;
/// Where the superblock lies.
pub const SUPER_OFFSET: u64 = 1024;
/// Inodes start at multiples of this: a nid counts in it.
pub const NID_UNIT: u64 = 32;
/// `EROFS_FEATURE_COMPAT_SB_CHKSUM`.
pub const COMPAT_SB_CHKSUM: u32 = 1;
/// `EROFS_FEATURE_COMPAT_MTIME`: inodes' times are modification times.
pub const COMPAT_MTIME: u32 = 2;
/// `EROFS_FEATURE_INCOMPAT_CHUNKED_FILE`.
pub const INCOMPAT_CHUNKED_FILE: u32 = 4;
/// `EROFS_NULL_ADDR`: a chunk that is a hole.
pub const NULL_ADDR: u32 = u32::MAX;
/// `EROFS_CHUNK_FORMAT_BLKBITS_MASK`: log2(chunk) - 12.
pub const CHUNK_BITS_MASK: u32 = 0x1f;
/// `EROFS_CHUNK_FORMAT_INDEXES`: 8-byte indexes instead of 4-byte addresses.
pub const CHUNK_INDEXES: u32 = 0x20;

/// `i_format` bit 0: the extended, 64-byte inode.
pub const INODE_EXTENDED: u16 = 1;
/// `EROFS_INODE_FLAT_PLAIN`.
pub const LAYOUT_FLAT_PLAIN: u16 = 0;
/// `EROFS_INODE_FLAT_INLINE`.
pub const LAYOUT_FLAT_INLINE: u16 = 2;
/// `EROFS_INODE_CHUNK_BASED`.
pub const LAYOUT_CHUNK_BASED: u16 = 4;

/// `struct erofs_super_block`, at byte 1024.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub struct SuperBlock {
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

/// `struct erofs_inode_extended`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub struct InodeExtended {
    pub i_format: U16,
    pub i_xattr_icount: U16,
    pub i_mode: U16,
    pub i_nb: U16,
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

/// `struct erofs_inode_compact`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub struct InodeCompact {
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

/// `struct erofs_dirent`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub struct Dirent {
    pub nid: U64,
    pub nameoff: U16,
    pub file_type: u8,
    pub reserved: u8,
}

/// `struct erofs_xattr_ibody_header`: after an inode that has attributes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub struct XattrIbodyHeader {
    pub h_name_filter: U32,
    pub h_shared_count: u8,
    pub h_reserved2: [u8; 7],
}

/// `struct erofs_xattr_entry`: followed by the name without its prefix, and the value.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub struct XattrEntry {
    pub e_name_len: u8,
    pub e_name_index: u8,
    pub e_value_size: U16,
}

/// Attribute name prefixes and their indexes (`EROFS_XATTR_INDEX_*`).
pub const XATTR_PREFIXES: [(u8, &[u8]); 5] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
];

/// `EROFS_FT_*`, the kernel's generic directory entry types.
pub mod file_type {
    #![allow(missing_docs, reason = "the names are the kernel's")]
    pub const REG: u8 = 1;
    pub const DIR: u8 = 2;
    pub const CHR: u8 = 3;
    pub const BLK: u8 = 4;
    pub const FIFO: u8 = 5;
    pub const SOCK: u8 = 6;
    pub const SYMLINK: u8 = 7;
}

/// File type bits of `i_mode`.
pub mod mode {
    #![allow(missing_docs, reason = "the names are POSIX's")]
    pub const S_IFMT: u16 = 0o170_000;
    pub const S_IFSOCK: u16 = 0o140_000;
    pub const S_IFLNK: u16 = 0o120_000;
    pub const S_IFREG: u16 = 0o100_000;
    pub const S_IFBLK: u16 = 0o060_000;
    pub const S_IFDIR: u16 = 0o040_000;
    pub const S_IFCHR: u16 = 0o020_000;
    pub const S_IFIFO: u16 = 0o010_000;
}
