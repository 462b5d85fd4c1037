//! On-disk records, with the field names of UEFI 2.10.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub(super) const SIGNATURE: [u8; 8] = *b"EFI PART";
pub(super) const REVISION_1_0: u32 = 0x0001_0000;
pub(super) const ENTRY_SIZE: u32 = 128;
pub(super) const HEADER_SIZE: u32 = 92;

/// GPT header (table 5-5).
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Header {
    pub signature: [u8; 8],
    pub revision: U32,
    pub header_size: U32,
    pub header_crc32: U32,
    pub reserved: U32,
    pub my_lba: U64,
    pub alternate_lba: U64,
    pub first_usable_lba: U64,
    pub last_usable_lba: U64,
    pub disk_guid: [u8; 16],
    pub partition_entry_lba: U64,
    pub number_of_partition_entries: U32,
    pub size_of_partition_entry: U32,
    pub partition_entry_array_crc32: U32,
}

/// GPT partition entry (table 5-6).
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Entry {
    pub partition_type_guid: [u8; 16],
    pub unique_partition_guid: [u8; 16],
    pub starting_lba: U64,
    pub ending_lba: U64,
    pub attributes: U64,
    pub partition_name: [U16; super::MAX_NAME],
}

/// Legacy MBR partition record (table 5-2).
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct MbrRecord {
    pub boot_indicator: u8,
    pub starting_chs: [u8; 3],
    pub os_type: u8,
    pub ending_chs: [u8; 3],
    pub starting_lba: U32,
    pub size_in_lba: U32,
}

/// Protective MBR (table 5-3).
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct ProtectiveMbr {
    pub boot_code: [u8; 440],
    pub unique_mbr_signature: U32,
    pub unknown: U16,
    pub partition_record: [MbrRecord; 4],
    pub signature: U16,
}

const _: () = assert!(size_of::<Header>() == HEADER_SIZE as usize);
const _: () = assert!(size_of::<Entry>() == ENTRY_SIZE as usize);
const _: () = assert!(size_of::<ProtectiveMbr>() == super::SECTOR_LEN);
