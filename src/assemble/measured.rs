//! What a TPM will hold once this disk's UKI has run: the expected PCRs.

use i2kit_format::pcr::{self, Bank, Stub};
use i2kit_format::uki;
use serde::{Deserialize, Serialize};

/// Registers that follow from the UKI alone. PCR 7 does not: it depends on the keys enrolled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredBoot {
    /// The version of systemd-stub: what it measures depends on it.
    pub stub: String,
    /// The UKI's sections that PCR 11 holds, in the stub's order.
    pub sections: Vec<String>,
    /// In the SHA-256 bank.
    pub sha256: Registers,
    /// In the SHA-384 bank: NitroTPM's.
    pub sha384: Registers,
}

/// One bank's values, hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registers {
    /// Boot manager code, with Secure Boot off.
    pub pcr4: String,
    /// Boot manager code, with Secure Boot on: stubs from 252 on then load the kernel past the
    /// firmware's measuring.
    pub pcr4_secure_boot: String,
    /// The UKI's sections, before anything else extends the register.
    pub pcr11: String,
}

impl MeasuredBoot {
    /// The values for a UKI; `None` where its stub is not systemd's or older than 252, or its kernel
    /// no EFI program, which no firmware would start.
    #[must_use]
    pub fn of(uki: &[u8]) -> Option<Self> {
        let stub = Stub::of(uki).ok().flatten()?;
        let measured = stub.measured_sections()?;
        let registers = |bank| registers(uki, &stub, measured, bank).ok();
        let (sha256, sha384) = rayon::join(|| registers(Bank::Sha256), || registers(Bank::Sha384));
        let (sha256, sections) = sha256?;
        let (sha384, _) = sha384?;
        Some(Self {
            sections: sections.into_iter().map(str::to_owned).collect(),
            sha256,
            sha384,
            stub: stub.version,
        })
    }
}

fn registers(
    uki: &[u8],
    stub: &Stub,
    measured: &'static [&'static str],
    bank: Bank,
) -> Result<(Registers, Vec<&'static str>), uki::Error> {
    let (pcr11, sections) = pcr::kernel_image(uki, measured, bank)?;
    let pcr4 = |secure_boot| {
        let kernel = pcr::kernel_is_measured(stub.major, secure_boot);
        pcr::boot_manager_code(uki, kernel, bank)
    };
    let registers = Registers {
        pcr4: hex::encode(pcr4(false)?.value()),
        pcr4_secure_boot: hex::encode(pcr4(true)?.value()),
        pcr11: hex::encode(pcr11.value()),
    };
    Ok((registers, sections))
}
