//! Records, with the field names of the UEFI and PI specifications and of EDK II's
//! `VariableFormat.h`.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Time;

/// `EFI_FIRMWARE_VOLUME_HEADER`, without its block map (PI 1.7, volume 3, section 3.2.1).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct FirmwareVolumeHeader {
    pub zero_vector: [u8; 16],
    pub file_system_guid: [u8; 16],
    pub fv_length: U64,
    pub signature: [u8; 4],
    pub attributes: U32,
    pub header_length: U16,
    pub checksum: U16,
    pub ext_header_offset: U16,
    pub reserved: u8,
    pub revision: u8,
}

/// `VARIABLE_STORE_HEADER`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct VariableStoreHeader {
    pub signature: [u8; 16],
    /// Of the whole store, this header included.
    pub size: U32,
    pub format: u8,
    pub state: u8,
    pub reserved: U16,
    pub reserved1: U32,
}

/// `EFI_TIME` (UEFI 2.10, section 8.3).
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct EfiTime {
    pub year: U16,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub pad1: u8,
    pub nanosecond: U32,
    pub time_zone: U16,
    pub daylight: u8,
    pub pad2: u8,
}

/// `AUTHENTICATED_VARIABLE_HEADER`; the name with its NUL and the data follow.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct AuthenticatedVariableHeader {
    pub start_id: U16,
    pub state: u8,
    pub reserved: u8,
    pub attributes: U32,
    pub monotonic_count: U64,
    pub time_stamp: EfiTime,
    pub pub_key_index: U32,
    pub name_size: U32,
    pub data_size: U32,
    pub vendor_guid: [u8; 16],
}

/// `EFI_SIGNATURE_LIST`; its signatures follow (UEFI 2.10, section 32.4.1).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct SignatureList {
    pub signature_type: [u8; 16],
    pub signature_list_size: U32,
    pub signature_header_size: U32,
    pub signature_size: U32,
}

const _: () = assert!(size_of::<FirmwareVolumeHeader>() == 56);
const _: () = assert!(size_of::<VariableStoreHeader>() == 28);
const _: () = assert!(size_of::<EfiTime>() == 16);
const _: () = assert!(size_of::<AuthenticatedVariableHeader>() == 60);
const _: () = assert!(size_of::<SignatureList>() == 28);

impl From<Time> for EfiTime {
    fn from(time: Time) -> Self {
        Self {
            year: U16::new(time.year),
            month: time.month,
            day: time.day,
            hour: time.hour,
            minute: time.minute,
            second: time.second,
            ..Self::default()
        }
    }
}

impl From<EfiTime> for Time {
    fn from(time: EfiTime) -> Self {
        Self {
            year: time.year.get(),
            month: time.month,
            day: time.day,
            hour: time.hour,
            minute: time.minute,
            second: time.second,
        }
    }
}
