//! RSA keys that sign.

use getrandom::SysRng;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::{Pkcs1v15Sign, PublicKey};

use super::certificate::check_bits;
use super::{Error, pem};

/// A private key. It is never printed.
#[derive(Clone)]
pub struct PrivateKey(Box<rsa::PrivateKey>);

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey")
    }
}

impl PrivateKey {
    /// Reads PEM: PKCS #8 or PKCS #1.
    ///
    /// # Errors
    /// [`Error`] when there is none, it is encrypted, or not RSA of 2048 or 3072 bits.
    pub fn from_pem(file: &[u8]) -> Result<Self, Error> {
        let first = |label| pem::blocks(file, label).next();
        let key = if let Some(text) = first("PRIVATE KEY") {
            rsa::PrivateKey::from_pkcs8_pem(text).map_err(|_| Error::Key)?
        } else if let Some(text) = first("RSA PRIVATE KEY") {
            if text.contains("ENCRYPTED") {
                return Err(Error::Encrypted);
            }
            rsa::PrivateKey::from_pkcs1_pem(text).map_err(|_| Error::Key)?
        } else if first("ENCRYPTED PRIVATE KEY").is_some() {
            return Err(Error::Encrypted);
        } else {
            return Err(Error::NoKey);
        };
        check_bits(key.as_public_key())?;
        Ok(Self(Box::new(key)))
    }

    pub(super) fn new(key: rsa::PrivateKey) -> Self {
        Self(Box::new(key))
    }

    pub(super) fn inner(&self) -> &rsa::PrivateKey {
        &self.0
    }

    pub(super) fn public(&self) -> &PublicKey {
        self.0.as_public_key()
    }

    /// The PKCS #1 v1.5 signature of a DigestInfo. Blinded with random numbers, which do not show
    /// in it.
    pub(super) fn sign(&self, digest_info: &[u8]) -> Result<Vec<u8>, Error> {
        self.0
            .sign_with_rng(&mut SysRng, Pkcs1v15Sign::new_unprefixed(), digest_info)
            .map_err(|error| Error::Rsa(error.to_string()))
    }
}
