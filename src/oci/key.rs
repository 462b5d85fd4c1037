//! Ed25519 keys that sign converted layers for shared caches (RFC 8032; PEM as `openssl genpkey
//! -algorithm ed25519` and `openssl pkey -pubout` write it).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::signature::{Key, KeyError as PublicKeyError};

/// Between the lines of a private key.
const PRIVATE: &str = "PRIVATE KEY";
/// What precedes the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// Signs.
pub struct SigningKey(Ed25519KeyPair);

/// Verifies.
pub struct VerifyingKey(Key);

/// Not a key that i2kit uses.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Other PEM, or none.
    #[error("no PEM with an unencrypted Ed25519 PRIVATE KEY")]
    Private,
    /// A public key that is none.
    #[error(transparent)]
    Public(#[from] PublicKeyError),
}

impl KeyError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        "make one with openssl genpkey -algorithm ed25519 -out cache.key, and its public half with \
         openssl pkey -in cache.key -pubout -out cache.pub"
            .to_owned()
    }
}

impl SigningKey {
    /// True for a file that holds a private key.
    #[must_use]
    pub fn is_in(pem: &[u8]) -> bool {
        String::from_utf8_lossy(pem).contains(PRIVATE)
    }

    /// Reads a private key.
    ///
    /// # Errors
    /// [`KeyError::Private`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = body(pem).ok_or(KeyError::Private)?;
        // OpenSSL writes the first version of PKCS #8, without the public half.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der);
        Ok(Self(pair.map_err(|_| KeyError::Private)?))
    }

    /// Its public half.
    ///
    /// # Errors
    /// None that a sound key gives.
    pub fn verifying(&self) -> Result<VerifyingKey, KeyError> {
        let der = [&SPKI[..], self.0.public_key().as_ref()].concat();
        let text = BASE64_STANDARD.encode(der);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
        VerifyingKey::from_pem(pem.as_bytes())
    }

    /// The signature of `message`, base64.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> String {
        BASE64_STANDARD.encode(self.0.sign(message))
    }
}

impl VerifyingKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`KeyError::Public`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        Ok(Self(Key::from_pem(pem)?))
    }

    /// True when the key made `signature` (base64) of `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let signature = BASE64_STANDARD.decode(signature);
        signature.is_ok_and(|signature| self.0.made(&signature, message))
    }
}

/// The DER between the lines of the private key.
fn body(pem: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let body: String = body.split_whitespace().collect();
    BASE64_STANDARD.decode(body).ok()
}
