//! Signature lists: what `PK`, `KEK`, `db` and `dbx` hold.

use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::disk::SignatureList;
use super::{
    BOOTSERVICE_ACCESS, GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE, NON_VOLATILE, RUNTIME_ACCESS,
    SECURE_BOOT_ENABLE, TIME_BASED_AUTHENTICATED, Time, Variable,
};
use crate::Guid;

/// `EFI_CERT_X509_GUID`.
const CERT_X509: Guid = Guid::from_u128(0xa5c059a1_94e4_4aa7_87b5_ab155c2bf072);
/// `EFI_CERT_SHA256_GUID`.
const CERT_SHA256: Guid = Guid::from_u128(0xc1c41626_504c_4092_aca9_41f936934328);

/// What an image is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// A certificate, DER.
    X509(Vec<u8>),
    /// An Authenticode digest.
    Sha256([u8; 32]),
}

/// `EFI_SIGNATURE_LIST`s of `owner`, one for each certificate, since all signatures of a list have
/// one length, and one for all digests.
#[must_use]
pub fn signature_lists(owner: Guid, signatures: &[Signature]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut digests = Vec::new();
    for signature in signatures {
        match signature {
            Signature::X509(der) => out.extend(list(owner, CERT_X509, &[der])),
            Signature::Sha256(digest) => digests.push(digest.as_slice()),
        }
    }
    if !digests.is_empty() {
        out.extend(list(owner, CERT_SHA256, &digests));
    }
    out
}

/// All of `data` have one length.
fn list(owner: Guid, kind: Guid, data: &[&[u8]]) -> Vec<u8> {
    let size = size_of::<Guid>() + data.first().map_or(0, |one| one.len());
    let whole = size_of::<SignatureList>() + size * data.len();
    let field = |value: usize| U32::new(u32::try_from(value).unwrap_or(u32::MAX));
    let header = SignatureList {
        signature_type: kind.to_mixed_endian(),
        signature_list_size: field(whole),
        signature_header_size: U32::ZERO,
        signature_size: field(size),
    };
    let mut out = header.as_bytes().to_vec();
    for one in data {
        out.extend(owner.to_mixed_endian());
        out.extend(*one);
    }
    out
}

/// What firmware is to trust. Certificates are DER.
#[derive(Clone, Debug)]
pub struct SecureBoot {
    /// Who the entries are said to come from; nothing is decided by it.
    pub owner: Guid,
    /// The platform key: changes the others.
    pub platform_key: Vec<u8>,
    /// Key exchange keys: change `db` and `dbx`.
    pub key_exchange_keys: Vec<Vec<u8>>,
    /// What may boot.
    pub allowed: Vec<Signature>,
    /// What may not, whatever else says so.
    pub forbidden: Vec<Signature>,
    /// When the variables are said to have been written. Firmware takes later updates only.
    pub time: Time,
}

impl SecureBoot {
    /// `PK`, `KEK`, `db` and, when something is forbidden, `dbx`.
    #[must_use]
    pub fn variables(&self) -> Vec<Variable> {
        let certificate = |der: &Vec<u8>| Signature::X509(der.clone());
        let keys: Vec<_> = self.key_exchange_keys.iter().map(certificate).collect();
        let mut out = vec![
            self.variable(GLOBAL_VARIABLE, "PK", &[certificate(&self.platform_key)]),
            self.variable(GLOBAL_VARIABLE, "KEK", &keys),
            self.variable(IMAGE_SECURITY_DATABASE, "db", &self.allowed),
        ];
        if !self.forbidden.is_empty() {
            out.push(self.variable(IMAGE_SECURITY_DATABASE, "dbx", &self.forbidden));
        }
        out
    }

    /// The same, and EDK II's own switch.
    #[must_use]
    pub fn edk2_variables(&self) -> Vec<Variable> {
        let mut out = self.variables();
        out.push(Variable {
            name: "SecureBootEnable".to_owned(),
            vendor: SECURE_BOOT_ENABLE,
            attributes: NON_VOLATILE | BOOTSERVICE_ACCESS,
            time: Time::default(),
            data: vec![1],
        });
        out
    }

    fn variable(&self, vendor: Guid, name: &str, signatures: &[Signature]) -> Variable {
        Variable {
            name: name.to_owned(),
            vendor,
            attributes: NON_VOLATILE
                | BOOTSERVICE_ACCESS
                | RUNTIME_ACCESS
                | TIME_BASED_AUTHENTICATED,
            time: self.time,
            data: signature_lists(self.owner, signatures),
        }
    }
}
