//! Keys and signatures made by openssl.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::contents::Contents;
use crate::support::output_of;

pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
pub const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";

/// How `openssl dgst` and `openssl pkeyutl` are asked to sign.
#[derive(Clone, Copy)]
pub enum Scheme {
    Digest(&'static str),
    Pss,
    Raw,
}

pub struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    /// A key by `openssl genpkey`, as in `EC -pkeyopt ec_paramgen_curve:P-256`.
    pub fn new(algorithm: &str) -> Self {
        let pair = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let private = pair.path("key.pem");
        let mut generate = vec!["genpkey", "-quiet", "-out", &private, "-algorithm"];
        generate.extend(algorithm.split(' '));
        output_of("openssl", &generate);
        let public = pair.public();
        output_of(
            "openssl",
            &["pkey", "-in", &private, "-pubout", "-out", &public],
        );
        pair
    }

    pub fn p256() -> Self {
        Self::new("EC -pkeyopt ec_paramgen_curve:P-256")
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The public key's file.
    pub fn public(&self) -> String {
        self.path("key.pub")
    }

    /// The public key's file in base64, as `keyData` wants it.
    pub fn data(&self) -> String {
        BASE64_STANDARD.encode(fs::read(self.public()).unwrap())
    }

    /// `sha256:…` of the public key's DER, by openssl.
    pub fn fingerprint(&self) -> String {
        let (public, der) = (self.public(), self.path("key.der"));
        let arguments = [
            "pkey", "-pubin", "-in", &public, "-outform", "DER", "-out", &der,
        ];
        output_of("openssl", &arguments);
        let line = output_of("openssl", &["dgst", "-sha256", "-r", &der]);
        format!("sha256:{}", line.split(' ').next().unwrap())
    }

    /// The same key in PKCS #1's form.
    pub fn public_pkcs1(&self) -> PathBuf {
        let (public, out) = (self.public(), self.path("key.pkcs1"));
        let arguments = [
            "rsa",
            "-pubin",
            "-in",
            &public,
            "-RSAPublicKey_out",
            "-out",
            &out,
        ];
        output_of("openssl", &arguments);
        out.into()
    }

    pub fn sign(&self, scheme: Scheme, message: &[u8]) -> Vec<u8> {
        let (input, private, out) = (self.path("in"), self.path("key.pem"), self.path("out"));
        fs::write(&input, message).unwrap();
        let mut arguments = match scheme {
            Scheme::Raw => vec![
                "pkeyutl", "-sign", "-rawin", "-inkey", &private, "-in", &input,
            ],
            Scheme::Digest(digest) => vec!["dgst", digest, "-sign", &private],
            Scheme::Pss => {
                let padding = [
                    "-sigopt",
                    "rsa_padding_mode:pss",
                    "-sigopt",
                    "rsa_pss_saltlen:32",
                ];
                [&["dgst", "-sha256", "-sign", &private], &padding[..]].concat()
            }
        };
        arguments.extend(["-out", &out]);
        if !matches!(scheme, Scheme::Raw) {
            arguments.push(&input);
        }
        output_of("openssl", &arguments);
        fs::read(Path::new(&out)).unwrap()
    }

    /// Base64 of a signature by ECDSA with SHA-256.
    pub fn sign_base64(&self, message: &[u8]) -> String {
        BASE64_STANDARD.encode(self.sign(Scheme::Digest("-sha256"), message))
    }
}

/// The payload that cosign signs, byte for byte.
pub fn payload(reference: &str, digest: &str) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"{reference}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
    )
}

/// A layer with a payload and its signature in base64.
pub fn layer(contents: &mut Contents, payload: &str, signature: &str) -> Value {
    let mut layer = contents.blob(payload.as_bytes(), SIMPLE_SIGNING);
    layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
    layer
}

/// The tag of the signatures of the manifest `digest`.
pub fn tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

/// The statement that cosign 3 signs, in the order of its fields.
pub fn statement(digest: &str, predicate: &str) -> String {
    let hex = digest.strip_prefix("sha256:").unwrap();
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{hex}"}},"annotations":{{}}}}],"predicateType":"{predicate}","predicate":{{}}}}"#
    )
}

/// A bundle of cosign 3 around a statement.
pub fn bundle(pair: &Pair, statement: &str) -> Value {
    let payload_type = "application/vnd.in-toto+json";
    let message = format!(
        "DSSEv1 {} {payload_type} {} {statement}",
        payload_type.len(),
        statement.len()
    );
    json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": "the hint is not believed"}},
        "dsseEnvelope": {
            "payload": BASE64_STANDARD.encode(statement.as_bytes()),
            "payloadType": payload_type,
            "signatures": [{"sig": pair.sign_base64(message.as_bytes())}],
        },
    })
}

/// A referrer of `subject` that carries `bundle`, as cosign 3 writes it.
pub fn refer(contents: &mut Contents, subject: &Value, bundle: &Value) -> Value {
    let layer = contents.blob(bundle.to_string().as_bytes(), BUNDLE);
    let config = contents.blob(b"{}", "application/vnd.oci.empty.v1+json");
    let fields = json!({
        "artifactType": BUNDLE,
        "config": config,
        "layers": [layer],
        "subject": subject,
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": SIGNS,
        },
    });
    contents.manifest(None, &fields)
}
