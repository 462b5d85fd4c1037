//! New keys with certificates that they sign themselves.

use std::time::Duration;

use der::EncodePem as _;
use der::asn1::GeneralizedTime;
use der::pem::LineEnding;
use getrandom::SysRng;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _};
use sha2::Sha256;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder as _, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension as _};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};

use super::{Error, PrivateKey};

/// Bytes of a serial number: with the first bit 0, 20 is what RFC 5280 allows.
const SERIAL: usize = 16;

/// How long a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// RSA-2048: what every firmware takes.
    Rsa2048,
    /// RSA-3072.
    Rsa3072,
}

/// A key and its certificate.
pub struct KeyPair {
    /// PKCS #8, PEM.
    pub key: String,
    /// PEM.
    pub certificate: String,
}

/// Makes a key, and a certificate in the name of `common_name` that counts from `now` (seconds since
/// 1970) for so many days.
///
/// # Errors
/// [`Error::Generate`] when there are no random numbers, or the times are past the year 9999.
pub fn generate(common_name: &str, bits: Bits, now: Duration, days: u32) -> Result<KeyPair, Error> {
    let bits = match bits {
        Bits::Rsa2048 => 2048,
        Bits::Rsa3072 => 3072,
    };
    let key = rsa::PrivateKey::new(&mut SysRng, bits).map_err(failed)?;
    let key = PrivateKey::new(key);
    let certificate = certificate(common_name, &key, now, days)?;
    let pem = key.inner().to_pkcs8_pem(LineEnding::LF).map_err(failed)?;
    Ok(KeyPair {
        key: pem.to_string(),
        certificate: certificate.to_pem(LineEnding::LF)?,
    })
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Generate(error.to_string())
}

fn certificate(
    common_name: &str,
    key: &PrivateKey,
    now: Duration,
    days: u32,
) -> Result<x509_cert::Certificate, Error> {
    let time = |at| Ok::<_, Error>(Time::GeneralTime(GeneralizedTime::from_unix_duration(at)?));
    let end = now + Duration::from_secs(u64::from(days) * 24 * 60 * 60);
    let validity = Validity::new(time(now)?, time(end)?);
    let mut serial = [0; SERIAL];
    getrandom::fill(&mut serial).map_err(failed)?;
    // Positive, and never short.
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    let public = key.public().to_public_key_der().map_err(failed)?;
    let profile = SelfSigned {
        subject: name(common_name)?,
    };
    let builder = CertificateBuilder::new(
        profile,
        SerialNumber::new(&serial)?,
        validity,
        SubjectPublicKeyInfo::try_from(public.as_bytes()).map_err(failed)?,
    );
    let signer = SigningKey::<Sha256>::new(key.inner().clone());
    builder.map_err(failed)?.build(&signer).map_err(failed)
}

/// `CN=…`, with what RFC 4514 gives a meaning escaped.
fn name(common_name: &str) -> Result<Name, Error> {
    let mut text = String::from("CN=");
    for c in common_name.chars() {
        if "\"+,;<>\\=# ".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text.parse()
        .map_err(|_| Error::Generate(format!("{common_name:?} cannot be a certificate's name")))
}

/// Nobody's certificate but its own: firmware holds it itself, so it signs images and variables,
/// and no other certificates.
struct SelfSigned {
    subject: Name,
}

impl BuilderProfile for SelfSigned {
    fn get_issuer(&self, subject: &Name) -> Name {
        subject.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        key: SubjectPublicKeyInfoRef<'_>,
        _issuer: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let constraints = BasicConstraints {
            ca: false,
            path_len_constraint: None,
        };
        let usage = KeyUsage(KeyUsages::DigitalSignature.into());
        let purpose = ExtendedKeyUsage(vec![const_oid::db::rfc5280::ID_KP_CODE_SIGNING]);
        let identifier = SubjectKeyIdentifier::try_from(key)?;
        let subject = tbs.subject();
        Ok(vec![
            constraints.to_extension(subject, &[])?,
            usage.to_extension(subject, &[])?,
            purpose.to_extension(subject, &[])?,
            identifier.to_extension(subject, &[])?,
        ])
    }
}
