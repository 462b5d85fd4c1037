//! On-disk records, with the specification's field names in snake case.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a sector; the only size that is written or read.
pub(super) const SECTOR: u64 = 512;
/// The same, as it stands in the boot sector.
pub(super) const SECTOR_U16: u16 = 512;
/// The same, as a length in memory.
pub(super) const SECTOR_LEN: usize = 512;
/// Bytes of a directory entry.
pub(super) const ENTRY: usize = size_of::<DirEntry>();
/// The first cluster of the data region.
pub(super) const FIRST_CLUSTER: u16 = 2;
/// The least value that ends a cluster chain.
pub(super) const END_OF_CHAIN: u16 = 0xfff8;
/// The value that this writer ends cluster chains with.
pub(super) const LAST: u16 = 0xffff;
/// Media descriptor of a fixed disk.
pub(super) const FIXED_DISK: u8 = 0xf8;
/// Signature at the end of the boot sector.
pub(super) const SIGNATURE: u16 = 0xaa55;

pub(super) const ATTR_VOLUME_ID: u8 = 0x08;
pub(super) const ATTR_DIRECTORY: u8 = 0x10;
pub(super) const ATTR_ARCHIVE: u8 = 0x20;
pub(super) const ATTR_LONG_NAME: u8 = 0x0f;
/// Bits of `DIR_NTRes` that Windows NT and others set: the base, the extension is in lower case.
pub(super) const LOWER_BASE: u8 = 0x08;
pub(super) const LOWER_EXTENSION: u8 = 0x10;
/// Marks a free entry.
pub(super) const FREE: u8 = 0xe5;
/// Stands for a first byte 0xe5.
pub(super) const KANJI: u8 = 0x05;
/// Set in the order of a long name's last part, which comes first.
pub(super) const LAST_LONG_ENTRY: u8 = 0x40;
/// 1980-01-01, the epoch of FAT.
pub(super) const EPOCH_DATE: u16 = 1 << 5 | 1;

/// Boot sector with the BPB of FAT12 and FAT16.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct BootSector {
    pub bs_jmp_boot: [u8; 3],
    pub bs_oem_name: [u8; 8],
    pub bpb_byts_per_sec: U16,
    pub bpb_sec_per_clus: u8,
    pub bpb_rsvd_sec_cnt: U16,
    pub bpb_num_fats: u8,
    pub bpb_root_ent_cnt: U16,
    pub bpb_tot_sec_16: U16,
    pub bpb_media: u8,
    pub bpb_fat_sz_16: U16,
    pub bpb_sec_per_trk: U16,
    pub bpb_num_heads: U16,
    pub bpb_hidd_sec: U32,
    pub bpb_tot_sec_32: U32,
    pub bs_drv_num: u8,
    pub bs_reserved1: u8,
    pub bs_boot_sig: u8,
    pub bs_vol_id: U32,
    pub bs_vol_lab: [u8; 11],
    pub bs_fil_sys_type: [u8; 8],
    pub boot_code: [u8; 448],
    pub signature_word: U16,
}

/// Directory entry.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct DirEntry {
    pub dir_name: [u8; 11],
    pub dir_attr: u8,
    pub dir_nt_res: u8,
    pub dir_crt_time_tenth: u8,
    pub dir_crt_time: U16,
    pub dir_crt_date: U16,
    pub dir_lst_acc_date: U16,
    pub dir_fst_clus_hi: U16,
    pub dir_wrt_time: U16,
    pub dir_wrt_date: U16,
    pub dir_fst_clus_lo: U16,
    pub dir_file_size: U32,
}

/// Long-name directory entry.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct LongEntry {
    pub ldir_ord: u8,
    pub ldir_name1: [U16; 5],
    pub ldir_attr: u8,
    pub ldir_type: u8,
    pub ldir_chksum: u8,
    pub ldir_name2: [U16; 6],
    pub ldir_fst_clus_lo: U16,
    pub ldir_name3: [U16; 2],
}

const _: () = assert!(size_of::<BootSector>() == SECTOR_LEN);
const _: () = assert!(size_of::<DirEntry>() == 32);
const _: () = assert!(size_of::<LongEntry>() == 32);
