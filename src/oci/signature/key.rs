//! Public keys that sign images, as cosign writes them: PEM, a SubjectPublicKeyInfo (RFC 5280) or
//! PKCS #1's own form of an RSA key.

use der::asn1::{AnyRef, BitStringRef, UintRef};
use der::{Decode as _, Encode as _, Reader as _, SliceReader, pem};
use ring::signature as ring;
use spki::{AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef};

use crate::oci::Digest;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The signatures that a key may make. Sigstore hashes with SHA-256, newer programs with SHA-384 for
/// P-384, and write an ECDSA signature in ASN.1 or as the two numbers alone.
type Schemes = &'static [&'static (dyn ring::VerificationAlgorithm + Sync)];
const P256_SCHEMES: Schemes = &[
    &ring::ECDSA_P256_SHA256_ASN1,
    &ring::ECDSA_P256_SHA256_FIXED,
];
const P384_SCHEMES: Schemes = &[
    &ring::ECDSA_P384_SHA256_ASN1,
    &ring::ECDSA_P384_SHA384_ASN1,
    &ring::ECDSA_P384_SHA384_FIXED,
];
const ED25519_SCHEMES: Schemes = &[&ring::ED25519];
/// PSS with a salt as long as the hash, as key management services make it.
const RSA_SCHEMES: Schemes = &[
    &ring::RSA_PKCS1_2048_8192_SHA256,
    &ring::RSA_PSS_2048_8192_SHA256,
];

/// A public key.
#[derive(Clone)]
pub struct Key {
    fingerprint: Digest,
    schemes: Schemes,
    /// As `ring` takes it: a point, 32 bytes, or an `RSAPublicKey`.
    bytes: Vec<u8>,
}

/// Not a key that i2kit can check signatures with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No PEM, or bad DER in it.
    #[error("no public key in PEM: {0}")]
    Pem(String),
    /// A private key, a certificate, …
    #[error("PEM of type {0:?} where a PUBLIC KEY should be")]
    Label(String),
    /// More than one.
    #[error("more than one PEM block: each key must have its own file")]
    Several,
    /// An algorithm or size that nothing here checks.
    #[error("not supported: {0}; ECDSA P-256 and P-384, Ed25519 and RSA of 2048 to 8192 bits are")]
    Algorithm(String),
}

impl Key {
    /// The key in `text`, which must hold no other.
    ///
    /// # Errors
    /// [`KeyError`] for what is no such key.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let blocks = text.windows(11).filter(|at| *at == b"-----BEGIN ").count();
        if blocks > 1 {
            return Err(KeyError::Several);
        }
        let (label, der) =
            pem::decode_vec(text).map_err(|error| KeyError::Pem(error.to_string()))?;
        match label {
            "PUBLIC KEY" => Self::from_spki(&der),
            "RSA PUBLIC KEY" => Self::from_spki(&wrapped(&der).map_err(bad_der)?),
            other => Err(KeyError::Label(other.to_owned())),
        }
    }

    fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(bad_der)?;
        let bytes = info.subject_public_key.as_bytes().unwrap_or_default();
        Ok(Self {
            fingerprint: Digest::of(der),
            schemes: schemes(&info.algorithm, bytes)?,
            bytes: bytes.to_vec(),
        })
    }

    /// The SHA-256 of the key's DER, by which sigstore's bundles hint at it too.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// True when this key made `signature` of `message`.
    #[must_use]
    pub fn made(&self, signature: &[u8], message: &[u8]) -> bool {
        self.schemes.iter().any(|scheme| {
            ring::UnparsedPublicKey::new(*scheme, &self.bytes)
                .verify(message, signature)
                .is_ok()
        })
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Key({})", self.fingerprint)
    }
}

fn bad_der(error: der::Error) -> KeyError {
    KeyError::Pem(error.to_string())
}

/// An `RSAPublicKey` as a SubjectPublicKeyInfo, so that both forms have one fingerprint.
fn wrapped(rsa: &[u8]) -> der::Result<Vec<u8>> {
    let info = SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef {
            oid: RSA,
            parameters: Some(AnyRef::NULL),
        },
        subject_public_key: BitStringRef::from_bytes(rsa)?,
    };
    info.to_der()
}

fn schemes(algorithm: &AlgorithmIdentifierRef<'_>, bytes: &[u8]) -> Result<Schemes, KeyError> {
    let unknown = |what: String| Err(KeyError::Algorithm(what));
    match algorithm.oid {
        ED25519 if bytes.len() == 32 => Ok(ED25519_SCHEMES),
        RSA => match rsa_bits(bytes).map_err(bad_der)? {
            2048..=8192 => Ok(RSA_SCHEMES),
            bits => unknown(format!("RSA of {bits} bits")),
        },
        EC => match (algorithm.parameters_oid(), bytes.first()) {
            (_, Some(2 | 3)) => unknown("a compressed curve point".to_owned()),
            (Ok(P256), Some(4)) if bytes.len() == 65 => Ok(P256_SCHEMES),
            (Ok(P384), Some(4)) if bytes.len() == 97 => Ok(P384_SCHEMES),
            (Ok(curve), _) => unknown(format!("ECDSA on curve {curve}")),
            (Err(_), _) => unknown("ECDSA on a curve without a name".to_owned()),
        },
        other => unknown(format!("algorithm {other}")),
    }
}

/// The size of the modulus, rounded up to whole bytes (RFC 8017 A.1.1).
fn rsa_bits(key: &[u8]) -> der::Result<usize> {
    SliceReader::new(key)?.sequence(|reader| {
        let modulus = UintRef::decode(reader)?;
        UintRef::decode(reader)?;
        Ok(modulus.as_bytes().len() * 8)
    })
}
