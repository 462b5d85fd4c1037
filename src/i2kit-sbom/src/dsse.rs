//! DSSE, the envelope in which a statement is signed (secure-systems-lab/dsse, `envelope.md` and
//! `protocol.md` 1.0).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

/// A payload and its signatures, in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// An envelope that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum OpenError {
    #[error("parse DSSE envelope: {0}")]
    Json(#[from] serde_json::Error),
    #[error("parse DSSE envelope: {0} is no base64")]
    Base64(&'static str),
    #[error("open DSSE envelope: it holds {found}, {expected} is wanted")]
    Type {
        found: String,
        expected: &'static str,
    },
    #[error("open DSSE envelope: none of its signatures is by the key")]
    Signature,
}

impl Envelope {
    /// Its bytes, a line of JSON.
    ///
    /// # Errors
    /// None in practice; serialising these types cannot fail.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = serde_json::to_vec(self)?;
        json.push(b'\n');
        Ok(json)
    }

    /// The payload of the envelope that `json` is, when it is of that type and `verify`, which gets what
    /// was signed and a signature, takes one of its signatures. What names the keys is not looked at.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        json: &[u8],
        payload_type: &'static str,
        verify: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Result<Vec<u8>, OpenError> {
        let envelope: Self = serde_json::from_slice(json)?;
        let payload = decode(&envelope.payload, "its payload")?;
        if envelope.payload_type != payload_type {
            return Err(OpenError::Type {
                found: envelope.payload_type,
                expected: payload_type,
            });
        }
        let signed = pre_authentication_encoding(payload_type, &payload);
        for signature in &envelope.signatures {
            if verify(&signed, &decode(&signature.sig, "a signature")?) {
                return Ok(payload);
            }
        }
        Err(OpenError::Signature)
    }
}

/// Either alphabet: the protocol leaves it to who seals.
fn decode(text: &str, what: &'static str) -> Result<Vec<u8>, OpenError> {
    let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
    decoded.map_err(|_| OpenError::Base64(what))
}

/// What is signed: the pre-authentication encoding of type and payload.
#[must_use]
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let (type_len, len) = (payload_type.len(), payload.len());
    let mut out = format!("DSSEv1 {type_len} {payload_type} {len} ").into_bytes();
    out.extend(payload);
    out
}

/// Signs a payload: `sign` gets the bytes to sign and answers the signature, `key_id` names the
/// key for those who have several.
///
/// # Errors
/// What `sign` answers.
pub fn seal<E>(
    payload_type: &str,
    payload: &[u8],
    key_id: &str,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<Envelope, E> {
    let signature = sign(&pre_authentication_encoding(payload_type, payload))?;
    Ok(Envelope {
        payload: base64(payload),
        payload_type: payload_type.to_owned(),
        signatures: vec![Signature {
            keyid: key_id.to_owned(),
            sig: base64(&signature),
        }],
    })
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of `protocol.md`.
    #[test]
    fn the_protocols_example() {
        let encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(
            encoded,
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        let mut signed = Vec::new();
        let envelope = seal("t", b"hello world", "k", |bytes| {
            signed = bytes.to_vec();
            Ok::<_, ()>(b"sig".to_vec())
        });
        assert_eq!(signed, b"DSSEv1 1 t 11 hello world");
        let json = envelope.unwrap().to_json().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&json),
            "{\"payload\":\"aGVsbG8gd29ybGQ=\",\"payloadType\":\"t\",\"signatures\":[{\"keyid\":\"k\",\"sig\":\"c2ln\"}]}\n"
        );
        let by_key = |bytes: &[u8], signature: &[u8]| bytes == signed && signature == b"sig";
        assert_eq!(Envelope::open(&json, "t", by_key).unwrap(), b"hello world");
    }

    #[test]
    fn what_is_not_signed_by_the_key_is_not_opened() {
        let open = |json: &str| {
            let opened = Envelope::open(json.as_bytes(), "t", |_, signature| signature == [0xfb]);
            opened.map_err(|error| error.to_string())
        };
        let sealed = |kind: &str, payload: &str, signatures: &str| {
            open(&format!(
                r#"{{"payload":"{payload}","payloadType":"{kind}","signatures":[{signatures}]}}"#
            ))
        };
        // Either alphabet of base64, a signature after another one, and none that names its key.
        let second = r#"{"keyid":"a","sig":"AAAA"},{"sig":"-w=="}"#;
        assert_eq!(sealed("t", "aGk=", second).unwrap(), b"hi");
        assert_eq!(sealed("t", "aGk=", r#"{"sig":"+w=="}"#).unwrap(), b"hi");
        for (kind, payload, signatures, why) in [
            ("u", "aGk=", second, "it holds u, t is wanted"),
            ("t", "aGk=", "", "none of its signatures is by the key"),
            (
                "t",
                "aGk=",
                r#"{"sig":"AAAA"}"#,
                "none of its signatures is by the key",
            ),
            ("t", "a", second, "its payload is no base64"),
            ("t", "aGk=", r#"{"sig":"?"}"#, "a signature is no base64"),
            ("t", "aGk=", r#"{"keyid":"a"}"#, "missing field `sig`"),
        ] {
            let error = sealed(kind, payload, signatures).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(open("[]").is_err());
    }
}
