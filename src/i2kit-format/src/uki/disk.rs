//! On-disk records, with the field names of the PE/COFF specification.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Offset of `e_lfanew` in the MS-DOS header.
pub(super) const E_LFANEW: usize = 0x3c;
pub(super) const DOS_MAGIC: &[u8; 2] = b"MZ";
pub(super) const PE_MAGIC: &[u8; 4] = b"PE\0\0";
pub(super) const PE32_PLUS: u16 = 0x020b;
/// `IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ`.
pub(super) const READ_ONLY_DATA: u32 = 0x4000_0040;
/// Index of the certificate table in the data directories.
pub(crate) const CERTIFICATE_TABLE: usize = 4;

/// Bytes of a data directory.
pub(crate) const DATA_DIRECTORY: usize = 8;

/// COFF file header (section 3.3).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct CoffHeader {
    pub machine: U16,
    pub number_of_sections: U16,
    pub time_date_stamp: U32,
    pub pointer_to_symbol_table: U32,
    pub number_of_symbols: U32,
    pub size_of_optional_header: U16,
    pub characteristics: U16,
}

/// Optional header of PE32+, without its data directories (section 3.4).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct OptionalHeader {
    pub magic: U16,
    pub major_linker_version: u8,
    pub minor_linker_version: u8,
    pub size_of_code: U32,
    pub size_of_initialized_data: U32,
    pub size_of_uninitialized_data: U32,
    pub address_of_entry_point: U32,
    pub base_of_code: U32,
    pub image_base: U64,
    pub section_alignment: U32,
    pub file_alignment: U32,
    pub major_operating_system_version: U16,
    pub minor_operating_system_version: U16,
    pub major_image_version: U16,
    pub minor_image_version: U16,
    pub major_subsystem_version: U16,
    pub minor_subsystem_version: U16,
    pub win32_version_value: U32,
    pub size_of_image: U32,
    pub size_of_headers: U32,
    pub check_sum: U32,
    pub subsystem: U16,
    pub dll_characteristics: U16,
    pub size_of_stack_reserve: U64,
    pub size_of_stack_commit: U64,
    pub size_of_heap_reserve: U64,
    pub size_of_heap_commit: U64,
    pub loader_flags: U32,
    pub number_of_rva_and_sizes: U32,
}

/// Section header (section 4).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct SectionHeader {
    pub name: [u8; 8],
    pub virtual_size: U32,
    pub virtual_address: U32,
    pub size_of_raw_data: U32,
    pub pointer_to_raw_data: U32,
    pub pointer_to_relocations: U32,
    pub pointer_to_linenumbers: U32,
    pub number_of_relocations: U16,
    pub number_of_linenumbers: U16,
    pub characteristics: U32,
}

const _: () = assert!(size_of::<CoffHeader>() == 20);
const _: () = assert!(size_of::<OptionalHeader>() == 112);
const _: () = assert!(size_of::<SectionHeader>() == 40);
