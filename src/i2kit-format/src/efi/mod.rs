//! UEFI variables: the lists of certificates and hashes that Secure Boot compares with, the store
//! in which EDK II's firmware keeps variables, and the one in which Amazon EC2 takes them.

mod disk;
pub mod ec2;
mod signatures;
pub mod store;

pub use signatures::{SecureBoot, Signature, signature_lists};

use crate::Guid;

/// `EFI_GLOBAL_VARIABLE`, the vendor of `PK` and `KEK` (UEFI 2.10, section 3.3).
pub const GLOBAL_VARIABLE: Guid = Guid::from_u128(0x8be4df61_93ca_11d2_aa0d_00e098032b8c);
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`, the vendor of `db` and `dbx` (UEFI 2.10, section 32.6.1).
pub const IMAGE_SECURITY_DATABASE: Guid = Guid::from_u128(0xd719b2cb_3d3a_4596_a3bc_dad00e67656f);
/// `gEfiSecureBootEnableDisableGuid`, the vendor of EDK II's switch `SecureBootEnable`.
pub const SECURE_BOOT_ENABLE: Guid = Guid::from_u128(0xf0a30bc7_af08_4556_99c4_001009c93a44);

/// Kept over a reset (UEFI 2.10, section 8.2, as the next three).
pub const NON_VOLATILE: u32 = 0x01;
/// Readable before the operating system runs.
pub const BOOTSERVICE_ACCESS: u32 = 0x02;
/// Readable by the operating system.
pub const RUNTIME_ACCESS: u32 = 0x04;
/// Written only with a signature and a later time.
pub const TIME_BASED_AUTHENTICATED: u32 = 0x20;

/// `EFI_TIME`, in UTC, to the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// 1900 to 9999.
    pub year: u16,
    /// From 1.
    pub month: u8,
    /// From 1.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name; without NUL.
    pub name: String,
    /// Whose it is.
    pub vendor: Guid,
    /// `EFI_VARIABLE_*`.
    pub attributes: u32,
    /// When it was written, for one with [`TIME_BASED_AUTHENTICATED`]; else all zeros.
    pub time: Time,
    /// Its value.
    pub data: Vec<u8>,
}
