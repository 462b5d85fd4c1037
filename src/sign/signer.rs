//! Who signs: a key of ours, or another program.

use std::io::Write as _;
use std::process::{Command, Stdio};

use i2kit_format::authenticode;

use super::pkcs7::{DigestInfo, ToBeSigned, is_signature, signed_data};
use super::{Certificate, Error, PrivateKey};

/// What makes the raw signature.
#[derive(Clone, Debug)]
pub enum Signer {
    /// A key.
    Key(PrivateKey),
    /// A command for `sh`: reads a DigestInfo (DER) and writes the PKCS #1 v1.5 signature, as
    /// `openssl pkeyutl -sign` and PKCS #11's `CKM_RSA_PKCS` do.
    Command(String),
    /// A signature that was made elsewhere.
    Made(Vec<u8>),
}

/// A certificate and what signs for it.
#[derive(Clone, Debug)]
pub struct Identity {
    certificate: Certificate,
    signer: Signer,
}

impl Identity {
    /// Joins the two.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when a key is not the certificate's.
    pub fn new(certificate: Certificate, signer: Signer) -> Result<Self, Error> {
        match &signer {
            Signer::Key(key) if key.public() != certificate.public() => Err(Error::Mismatch),
            _ => Ok(Self {
                certificate,
                signer,
            }),
        }
    }

    /// Names everything that decides the signed bytes, and who makes them.
    #[must_use]
    pub fn name(&self) -> String {
        let certificates: Vec<String> = self.certificate.all().map(hex::encode).collect();
        let signer = match &self.signer {
            Signer::Key(_) => "key".to_owned(),
            Signer::Command(command) => format!("command {command}"),
            Signer::Made(signature) => format!("signature {}", hex::encode(signature)),
        };
        format!("{} by {signer}", certificates.join(" "))
    }

    /// Signs a PE image in place; signatures that it had are gone.
    ///
    /// # Errors
    /// [`Error`] when it is no PE image, the signer fails, or what it made is not the
    /// certificate's signature.
    pub fn sign(&self, image: &mut Vec<u8>) -> Result<(), Error> {
        authenticode::detach(image)?;
        let digest = authenticode::digest(image)?;
        let wanted = ToBeSigned::new(&digest)?;
        let signature = self.sign_digest(&wanted.digest_info()?)?;
        let signed = signed_data(&wanted, &self.certificate, &signature)?;
        Ok(authenticode::attach(image, &signed)?)
    }

    /// The raw signature (RSA PKCS #1 v1.5, SHA-256) of `bytes`.
    ///
    /// # Errors
    /// [`Error`] when the signer fails, or what it made is not the certificate's signature.
    pub fn sign_bytes(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        self.sign_digest(&DigestInfo::of(bytes)?)
    }

    /// The SHA-256 of its certificate, hex: what names the key in envelopes.
    #[must_use]
    pub fn key_id(&self) -> String {
        hex::encode(self.certificate.fingerprint())
    }

    fn sign_digest(&self, info: &DigestInfo) -> Result<Vec<u8>, Error> {
        let signature = match &self.signer {
            Signer::Key(key) => key.sign(info.as_bytes())?,
            Signer::Command(command) => run(command, info)?,
            Signer::Made(signature) => signature.clone(),
        };
        if is_signature(&self.certificate, info, &signature) {
            return Ok(signature);
        }
        Err(Error::Wrong)
    }
}

/// What the command writes when it is told the DigestInfo.
fn run(command: &str, info: &DigestInfo) -> Result<Vec<u8>, Error> {
    let error = |source| Error::Command {
        command: command.to_owned(),
        source,
    };
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(error)?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(info.as_bytes()) {
            // One that ends without reading says why by its exit.
            Err(broken) if broken.kind() == std::io::ErrorKind::BrokenPipe => {}
            other => other.map_err(error)?,
        }
    }
    let output = child.wait_with_output().map_err(error)?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Error::Failed {
            command: command.to_owned(),
            status: output.status.to_string(),
        })
    }
}
