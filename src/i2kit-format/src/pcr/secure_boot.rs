//! PCR 7: the Secure Boot variables, and which of their entries let an image run.

use super::{Bank, Pcr, SEPARATOR};

/// `EFI_GLOBAL_VARIABLE`, 8be4df61-93ca-11d2-aa0d-00e098032b8c, as it is stored.
const GLOBAL: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`, d719b2cb-3d3a-4596-a3bc-dad00e67656f, as it is stored.
const DATABASE: [u8; 16] = [
    0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f,
];

/// The contents of the variables, without the attributes that efivarfs puts before them; empty for
/// one that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecureBoot<'a> {
    /// `SecureBoot` is 1.
    pub enabled: bool,
    /// `PK`, signature lists.
    pub pk: &'a [u8],
    /// `KEK`, signature lists.
    pub kek: &'a [u8],
    /// `db`, signature lists.
    pub db: &'a [u8],
    /// `dbx`, signature lists.
    pub dbx: &'a [u8],
    /// The entries of `db` (`EFI_SIGNATURE_DATA`: the owner's GUID, then the certificate) that
    /// images were checked with, in the order of their first use. Measured only when enabled.
    pub authorities: &'a [&'a [u8]],
}

/// PCR 7 of firmware with Secure Boot support, in user mode or in setup mode, with neither audit nor
/// deployed mode's extra events, `dbt` nor `dbr`.
#[must_use]
pub fn secure_boot_policy(state: &SecureBoot<'_>, bank: Bank) -> Pcr {
    let mut pcr = Pcr::new(bank);
    let enabled = [u8::from(state.enabled)];
    for (vendor, name, data) in [
        (&GLOBAL, "SecureBoot", &enabled[..]),
        (&GLOBAL, "PK", state.pk),
        (&GLOBAL, "KEK", state.kek),
        (&DATABASE, "db", state.db),
        (&DATABASE, "dbx", state.dbx),
    ] {
        measure_variable(&mut pcr, vendor, name, data);
    }
    pcr.measure([&SEPARATOR[..]]);
    if state.enabled {
        let mut measured: Vec<&[u8]> = Vec::new();
        for authority in state.authorities {
            if !measured.contains(authority) {
                measure_variable(&mut pcr, &DATABASE, "db", authority);
                measured.push(authority);
            }
        }
    }
    pcr
}

/// `UEFI_VARIABLE_DATA`: vendor, characters of the name, bytes of the data, name in UTF-16, data.
fn measure_variable(pcr: &mut Pcr, vendor: &[u8; 16], name: &str, data: &[u8]) {
    let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let characters = (units.len() as u64 / 2).to_le_bytes();
    let len = (data.len() as u64).to_le_bytes();
    pcr.measure([&vendor[..], &characters, &len, &units, data]);
}
