//! Signatures for Secure Boot: keys, certificates, and the PKCS #7 SignedData that firmware checks.
//!
//! The records of PKCS #7 are written here with `der` instead of taken from `cms`, whose stable
//! release needs an older `der` than `x509-cert` and `rsa`; and Authenticode's are version 1.5, which
//! CMS has changed. Nothing reads a clock: the same image, key and certificate give the same bytes.

mod certificate;
mod enrol;
mod generate;
mod key;
mod pem;
mod pkcs7;
mod signer;

use std::io;

use i2kit_format::authenticode;

pub use certificate::Certificate;
pub use enrol::{ec2_data, owner};
pub use generate::{Bits, KeyPair, generate};
pub use key::PrivateKey;
pub use pkcs7::{DigestInfo, ToBeSigned, signed_data, verify};
pub use signer::{Identity, Signer};

/// Why nothing is signed, or a signature is no good.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("parse certificate: no PEM with a CERTIFICATE")]
    NoCertificate,
    #[error("parse certificate: {0}")]
    Certificate(der::Error),
    #[error("parse key: no PEM with a PRIVATE KEY or an RSA PRIVATE KEY")]
    NoKey,
    #[error("parse key: it is encrypted")]
    Encrypted,
    /// Nothing of the key is told.
    #[error("parse key: not a sound RSA key")]
    Key,
    #[error("use key: RSA of {0} bits, Secure Boot takes 2048 and 3072")]
    Bits(u32),
    #[error("use certificate: its key is not RSA")]
    NotRsa,
    #[error("sign: key and certificate do not belong together")]
    Mismatch,
    #[error("sign: the signature is not one of the certificate's key")]
    Wrong,
    #[error("sign: {0}")]
    Rsa(String),
    #[error("run {command:?}: {source}")]
    Command { command: String, source: io::Error },
    #[error("run {command:?}: {status}")]
    Failed { command: String, status: String },
    #[error("make key: {0}")]
    Generate(String),
    #[error("write DER: {0}")]
    Der(#[from] der::Error),
    #[error(transparent)]
    Image(#[from] authenticode::Error),
    #[error("verify UKI: it is not signed")]
    Unsigned,
    #[error("verify UKI: {0}")]
    SignedData(&'static str),
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoKey | Self::NoCertificate => "i2kit keys new DIR makes keys and certificates",
            Self::Encrypted => {
                "let another program sign: --sign-command 'openssl pkeyutl -sign -inkey db.key'"
            }
            Self::Mismatch => "i2kit keys new DIR writes db.key and db.crt, which do",
            Self::Wrong => {
                "the command gets a DigestInfo and answers the raw PKCS #1 v1.5 signature, as \
                 openssl pkeyutl -sign -inkey db.key does"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
