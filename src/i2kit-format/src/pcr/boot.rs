//! PCR 4: every boot manager and application that the firmware loads, and its attempts to boot.

use super::{Bank, Pcr, SEPARATOR};
use crate::uki::{self, Error};

/// `EV_EFI_ACTION` before the first boot option is started, without a terminating zero.
const CALLING: &[u8] = b"Calling EFI Application from Boot Option";

/// True when the firmware measures the kernel in the UKI too. A stub before 258 starts it with
/// `LoadImage`, which measures; from 252 on, with Secure Boot on, it replaces the firmware's check by
/// its own, and with the check the measurement falls away. Later ones load the kernel themselves.
#[must_use]
pub fn kernel_is_measured(stub_major: u32, secure_boot: bool) -> bool {
    stub_major < 258 && !(stub_major >= 252 && secure_boot)
}

/// PCR 4 when the firmware's first boot attempt starts a UKI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootManagerCode {
    /// When the UKI alone is measured.
    pub uki: Pcr,
    /// When the kernel in it is, too; see [`kernel_is_measured`].
    pub and_kernel: Option<Pcr>,
}

/// PCR 4 when the firmware's first boot attempt starts this UKI, and nothing ran before it that
/// the firmware measures here; with the kernel measured, too, where `with_kernel` asks for that.
///
/// # Errors
/// [`Error`] when the UKI, or the kernel in it, is no PE32+ file.
pub fn boot_manager_code(
    uki: &[u8],
    with_kernel: bool,
    bank: Bank,
) -> Result<BootManagerCode, Error> {
    let mut pcr = Pcr::new(bank);
    pcr.measure([CALLING]);
    pcr.measure([&SEPARATOR[..]]);
    pcr.measure(uki::signed_parts(uki)?);
    let alone = pcr.clone();
    if with_kernel && let Some(section) = uki::read(uki)?.section(".linux") {
        pcr.measure(uki::signed_parts(section.bytes(uki).unwrap_or_default())?);
    }
    Ok(BootManagerCode {
        uki: alone,
        and_kernel: with_kernel.then_some(pcr),
    })
}
