//! What a signature says of an image, read only after a key has proved it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::short;
use crate::oci::Digest;

/// `critical.type` of cosign's simple signing.
const SIMPLE_SIGNING: &str = "cosign container image signature";
/// The predicate by which cosign 3 signs an image; all others attest something about it.
const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";
const STATEMENTS: [&str; 2] = [
    "https://in-toto.io/Statement/v1",
    "https://in-toto.io/Statement/v0.1",
];

/// The images that a signature is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Digests of manifests or indexes, with the name that the signer gave each, if any.
    pub images: Vec<(Digest, Option<String>)>,
}

/// Why signed bytes claim nothing that i2kit understands.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Not the JSON it should be.
    #[error("signed, but malformed: {0}")]
    Malformed(String),
    /// It attests something about the image (a bill of materials, a scan); that is no approval.
    #[error("signed, but an attestation of {0:?}, not a signature of the image")]
    Attestation(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SimpleSigning {
    critical: Critical,
    /// The signer's own; cosign writes null for none.
    optional: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    #[serde(rename = "docker-reference")]
    docker_reference: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    docker_manifest_digest: String,
}

/// An in-toto statement (in-toto attestation framework, `statement.md`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    name: String,
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

impl Claim {
    /// What a simple signing payload claims (containers-signature(5), `SIGNATURE_SPEC.md`), as
    /// strictly as containers/image reads it: what is critical and unknown is not ignored.
    ///
    /// # Errors
    /// [`ClaimError`] for anything else.
    pub fn simple_signing(payload: &[u8]) -> Result<Self, ClaimError> {
        let bad = |reason: String| ClaimError::Malformed(reason);
        let parsed: SimpleSigning =
            serde_json::from_slice(payload).map_err(|error| bad(error.to_string()))?;
        let Critical {
            identity,
            image,
            kind,
        } = parsed.critical;
        if kind != SIMPLE_SIGNING {
            return Err(bad(format!("critical.type is {:?}", short(&kind))));
        }
        if !matches!(parsed.optional, Value::Null | Value::Object(_)) {
            return Err(bad("optional is no object".to_owned()));
        }
        let digest = image.docker_manifest_digest.parse();
        let digest =
            digest.map_err(|error: crate::oci::digest::ParseError| bad(error.to_string()))?;
        Ok(Self {
            images: vec![(digest, Some(identity.docker_reference))],
        })
    }

    /// What an in-toto statement claims. cosign names no repository in it; a subject's name counts
    /// as one where it has one. Subjects without SHA-256 are no images.
    ///
    /// # Errors
    /// [`ClaimError`] for anything else.
    pub fn statement(payload: &[u8]) -> Result<Self, ClaimError> {
        let parsed: Statement = serde_json::from_slice(payload)
            .map_err(|error| ClaimError::Malformed(error.to_string()))?;
        if !STATEMENTS.contains(&parsed.kind.as_str()) {
            let reason = format!("a statement of type {:?}", short(&parsed.kind));
            return Err(ClaimError::Malformed(reason));
        }
        if parsed.predicate_type != SIGNS {
            return Err(ClaimError::Attestation(short(&parsed.predicate_type)));
        }
        let images = parsed.subject.into_iter().filter_map(|subject| {
            let digest = subject.digest.get("sha256")?;
            let digest = format!("sha256:{digest}").parse().ok()?;
            Some((digest, (!subject.name.is_empty()).then_some(subject.name)))
        });
        Ok(Self {
            images: images.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest::of(b"image")
    }

    #[test]
    fn simple_signing_is_read_strictly() {
        let good = format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"a/b"}},"image":{{"docker-manifest-digest":"{}"}},"type":"cosign container image signature"}},"optional":null}}"#,
            digest()
        );
        let claim = Claim::simple_signing(good.as_bytes()).unwrap();
        assert_eq!(claim.images, [(digest(), Some("a/b".to_owned()))]);
        let with_creator = good.replace("null", r#"{"creator":"x","creator2":[1]}"#);
        assert!(Claim::simple_signing(with_creator.as_bytes()).is_ok());
        let bad = [
            ("cosign container", "atomic container"),
            ("sha256:", "sha512:"),
            (r#""optional":null"#, r#""optional":1"#),
            (r#","optional":null"#, ""),
            (r#""type":"#, r#""more":1,"type":"#),
            (r#""type":"#, r#""type":"","type":"#),
            (r#"{"docker-reference""#, r#"{"x":1,"docker-reference""#),
            (r#""optional":null"#, r#""optional":null,"x":1"#),
        ];
        for (from, to) in bad {
            assert_ne!(good.replace(from, to), good);
            let error = Claim::simple_signing(good.replace(from, to).as_bytes());
            assert!(error.is_err(), "{from} → {to}");
        }
        assert!(Claim::simple_signing(format!("{good} x").as_bytes()).is_err());
    }

    #[test]
    fn statements_sign_or_attest() {
        let good = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}},"annotations":{{}}}},{{"name":"n","digest":{{"sha1":"00"}}}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{{}}}}"#,
            digest().hex()
        );
        let claim = Claim::statement(good.as_bytes()).unwrap();
        assert_eq!(claim.images, [(digest(), None)]);
        let named = good.replace(r#"[{"digest""#, r#"[{"name":"a/b","digest""#);
        let claim = Claim::statement(named.as_bytes()).unwrap();
        assert_eq!(claim.images, [(digest(), Some("a/b".to_owned()))]);
        let attests = good.replace("sigstore.dev/cosign/sign/v1", "slsa.dev/provenance/v1");
        let error = Claim::statement(attests.as_bytes()).unwrap_err();
        assert!(matches!(error, ClaimError::Attestation(_)), "{error}");
        let other = good.replace("Statement/v1", "Statement/v9");
        assert!(Claim::statement(other.as_bytes()).is_err());
        assert!(Claim::statement(b"{}").is_err());
    }
}
