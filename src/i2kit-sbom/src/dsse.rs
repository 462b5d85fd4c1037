//! DSSE, the envelope in which a statement is signed (secure-systems-lab/dsse, `envelope.md` and
//! `protocol.md` 1.0).

use serde::Serialize;

/// A payload and its signatures, in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Signature {
    keyid: String,
    sig: String,
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
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
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
        assert_eq!(
            serde_json::to_string(&envelope.unwrap()).unwrap(),
            r#"{"payload":"aGVsbG8gd29ybGQ=","payloadType":"t","signatures":[{"keyid":"k","sig":"c2ln"}]}"#
        );
    }
}
