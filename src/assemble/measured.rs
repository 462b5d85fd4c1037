//! What is told of a disk's UKI: its sections, and what a TPM will hold once it has run (the expected
//! PCRs).

use i2kit_format::pcr::{self, Bank, Stub};
use i2kit_format::uki;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::{self, Cache};

/// Changes whenever the same parts make another UKI or other values.
const VERSION: &str = "i2kit UKI facts 1";

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

/// A section of a UKI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectionDigest {
    /// Its name.
    pub name: String,
    /// SHA-256 of its bytes in the file, hex.
    pub sha256: String,
}

/// What is told of a UKI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UkiFacts {
    /// Its sections, in the file's order: the stub's own first.
    pub sections: Vec<SectionDigest>,
    /// The PCRs to expect; `None` where the stub's measuring is not known.
    pub measured_boot: Option<MeasuredBoot>,
}

impl UkiFacts {
    /// As [`UkiFacts::of`], computed once for all builds of the same UKI, which `parts` decide.
    ///
    /// # Errors
    /// [`cache::Error`] when they cannot be kept.
    pub fn kept(uki: &[u8], parts: &[&str], cache: &Cache) -> Result<Self, cache::Error> {
        let mut hash = Sha256::new_with_prefix(VERSION);
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let key = format!("uki-{}", hex::encode(hash.finalize()));
        let kept = cache.piece(&key);
        if let Some(found) = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(found);
        }
        let found = Self::of(uki);
        if let Ok(json) = serde_json::to_vec(&found) {
            cache.keep_piece(&key, &json)?;
        }
        Ok(found)
    }

    /// What there is to tell; of what is no UKI, nothing.
    #[must_use]
    pub fn of(uki: &[u8]) -> Self {
        Self {
            sections: sections(uki).unwrap_or_default(),
            measured_boot: MeasuredBoot::of(uki),
        }
    }
}

fn sections(file: &[u8]) -> Result<Vec<SectionDigest>, uki::Error> {
    let sections = uki::read(file)?.sections.into_iter();
    let digests = sections.map(|section| {
        let bytes = section.bytes(file).unwrap_or_default();
        SectionDigest {
            sha256: hex::encode(Sha256::digest(bytes)),
            name: section.name,
        }
    });
    Ok(digests.collect())
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
    let with_kernel = |secure_boot| pcr::kernel_is_measured(stub.major, secure_boot);
    let code = pcr::boot_manager_code(uki, with_kernel(false) || with_kernel(true), bank)?;
    let pcr4 = |secure_boot| match &code.and_kernel {
        Some(and_kernel) if with_kernel(secure_boot) => hex::encode(and_kernel.value()),
        _ => hex::encode(code.uki.value()),
    };
    let registers = Registers {
        pcr4: pcr4(false),
        pcr4_secure_boot: pcr4(true),
        pcr11: hex::encode(pcr11.value()),
    };
    Ok((registers, sections))
}
