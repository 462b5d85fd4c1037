//! Certificates that sign, or that firmware trusts.

use der::{Decode as _, DecodePem as _, Encode as _};
use i2kit_format::efi::Time;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use sha2::{Digest as _, Sha256};

use super::pkcs7::{DigestInfo, is_signature};
use super::{Error, pem};

/// A PEM file's first certificate, with the ones behind it.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Vec<u8>,
    parsed: x509_cert::Certificate,
    public: rsa::PublicKey,
    chain: Vec<Vec<u8>>,
}

impl Certificate {
    /// Reads PEM. More certificates may follow the signer's: the chain up to one that firmware
    /// knows.
    ///
    /// # Errors
    /// [`Error`] when there is none, or its key is not RSA of 2048 or 3072 bits.
    pub fn from_pem(file: &[u8]) -> Result<Self, Error> {
        let all = pem::blocks(file, "CERTIFICATE")
            .map(x509_cert::Certificate::from_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::Certificate)?;
        let (parsed, chain) = all.split_first().ok_or(Error::NoCertificate)?;
        let chain = chain.iter().map(der::Encode::to_der);
        let spki = parsed.tbs_certificate().subject_public_key_info();
        let public =
            rsa::PublicKey::from_public_key_der(&spki.to_der()?).map_err(|_| Error::NotRsa)?;
        check_bits(&public)?;
        Ok(Self {
            der: parsed.to_der()?,
            parsed: parsed.clone(),
            public,
            chain: chain.collect::<Result<_, _>>()?,
        })
    }

    /// Its DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The SHA-256 of its DER.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    /// Whom it names, as RFC 4514 writes it.
    #[must_use]
    pub fn subject(&self) -> String {
        self.parsed.tbs_certificate().subject().to_string()
    }

    /// From when it counts.
    #[must_use]
    pub fn not_before(&self) -> Time {
        let validity = self.parsed.tbs_certificate().validity();
        let time = validity.not_before.to_date_time();
        Time {
            year: time.year(),
            month: time.month(),
            day: time.day(),
            hour: time.hour(),
            minute: time.minutes(),
            second: time.seconds(),
        }
    }

    /// Why it is out of its time at `now`, seconds since 1970; none when it isn't.
    #[must_use]
    pub fn out_of_time(&self, now: u64) -> Option<String> {
        let validity = self.parsed.tbs_certificate().validity();
        let (start, end) = (&validity.not_before, &validity.not_after);
        if now < start.to_unix_duration().as_secs() {
            return Some(format!("counts from {start} on"));
        }
        (now > end.to_unix_duration().as_secs()).then(|| format!("ended at {end}"))
    }

    /// True when its key made the signature (RSA PKCS #1 v1.5, SHA-256) of `bytes`.
    #[must_use]
    pub fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let info = DigestInfo::of(bytes);
        info.is_ok_and(|info| is_signature(self, &info, signature))
    }

    pub(super) fn parsed(&self) -> &x509_cert::Certificate {
        &self.parsed
    }

    pub(super) fn public(&self) -> &rsa::PublicKey {
        &self.public
    }

    /// Every certificate of the file, the signer's first.
    pub(super) fn all(&self) -> impl Iterator<Item = &[u8]> {
        [self.der.as_slice()]
            .into_iter()
            .chain(self.chain.iter().map(Vec::as_slice))
    }
}

/// UEFI asks for RSA-2048 at least, and firmware knows few others (UEFI 2.10, section 32.4.1).
pub(super) fn check_bits(public: &rsa::PublicKey) -> Result<(), Error> {
    match public.n().bit_width() {
        2048 | 3072 => Ok(()),
        bits => Err(Error::Bits(bits)),
    }
}

/// The DER of a certificate, as records take it.
pub(super) fn any(der: &[u8]) -> Result<der::Any, Error> {
    Ok(der::Any::from_der(der)?)
}
