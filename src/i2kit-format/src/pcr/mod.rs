//! Expected values of a TPM's Platform Configuration Registers: PCR 4 (boot manager code), PCR 7
//! (Secure Boot policy) and PCR 11 (the UKI's sections).
//!
//! Sources: TCG PC Client Platform Firmware Profile Specification, revision 1.06, sections 3.3.4.5,
//! 3.3.4.8 and 10; systemd `src/boot/stub.c`, `src/fundamental/uki.c` (`src/boot/efi/` and
//! `tpm-pcr.c` before version 255).

mod boot;
mod secure_boot;
mod stub;

pub use boot::{BootManagerCode, boot_manager_code, kernel_is_measured};
pub use secure_boot::{SecureBoot, secure_boot_policy};
pub use stub::{Stub, kernel_image};

use sha2::{Sha256, Sha384};

/// What `EV_SEPARATOR` measures before the first boot attempt: four zero bytes.
const SEPARATOR: [u8; 4] = [0; 4];

/// A TPM's bank: the hash of all its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bank {
    /// SHA-256: what Linux and systemd read first.
    Sha256,
    /// SHA-384: what NitroTPM's attestation documents hold.
    Sha384,
}

impl Bank {
    /// Both, the shorter first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha384];

    /// Bytes of a digest.
    #[must_use]
    pub fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    /// The digest of the parts, one after another.
    #[must_use]
    pub fn digest<'a>(self, parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        match self {
            Self::Sha256 => digest::<Sha256>(parts),
            Self::Sha384 => digest::<Sha384>(parts),
        }
    }
}

fn digest<'a, D: sha2::Digest>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut hash = D::new();
    parts.into_iter().for_each(|part| hash.update(part));
    hash.finalize().to_vec()
}

/// One register, all zero at power-on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pcr {
    bank: Bank,
    value: Vec<u8>,
}

impl Pcr {
    /// As it is at power-on.
    #[must_use]
    pub fn new(bank: Bank) -> Self {
        Self {
            bank,
            value: vec![0; bank.digest_len()],
        }
    }

    /// The register's bytes.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// `TPM2_PCR_Extend`: the digest of the old value and of the event's digest.
    pub fn extend(&mut self, digest: &[u8]) {
        self.value = self.bank.digest([&*self.value, digest]);
    }

    /// Extends with the digest of the parts, one after another.
    pub fn measure<'a>(&mut self, parts: impl IntoIterator<Item = &'a [u8]>) {
        let digest = self.bank.digest(parts);
        self.extend(&digest);
    }
}
