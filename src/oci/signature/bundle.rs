//! Sigstore's bundles (`sigstore_bundle.proto`, version 0.3 and the older ones), as far as keys go.

use std::borrow::Cow;

use serde::Deserialize;

use super::search::{Content, Doubt, Signed, WITH_CERTIFICATE};
use super::{base64, short};
use crate::oci::Document;

/// Media types of bundles begin so, whatever their version.
pub(super) const MEDIA_TYPES: &str = "application/vnd.dev.sigstore.bundle";
const VERSIONS: [&str; 4] = [
    ".v0.3+json",
    "+json;version=0.3",
    "+json;version=0.2",
    "+json;version=0.1",
];
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// What protobuf's JSON mapping writes; its readers take the fields' own names too.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    #[serde(alias = "media_type")]
    media_type: String,
    #[serde(alias = "verification_material")]
    verification_material: Material,
    #[serde(alias = "dsse_envelope")]
    dsse_envelope: Option<Envelope>,
    #[serde(alias = "message_signature")]
    message_signature: Option<MessageSignature>,
}

/// Who signed: only told apart for messages, since a key decides alone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(alias = "public_key")]
    public_key: Option<Hint>,
}

#[derive(Deserialize)]
struct Hint {
    #[serde(default)]
    hint: String,
}

/// A DSSE envelope (`dsse/envelope.md`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    #[serde(alias = "payload_type")]
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    #[serde(alias = "message_digest")]
    message_digest: MessageDigest,
    signature: String,
}

#[derive(Deserialize)]
struct MessageDigest {
    algorithm: String,
    digest: String,
}

/// The signature in a bundle at `place`. A message's signature is over the bytes of an image's
/// manifest or index, so those of `documents` are its message.
pub(super) fn parse<'a>(
    bytes: &[u8],
    place: &str,
    documents: &[&'a Document],
) -> Result<Signed<'a>, Doubt> {
    let bundle: Bundle = serde_json::from_slice(bytes)
        .map_err(|error| Doubt::Unusable(format!("not a bundle: {}", short(&error))))?;
    let version = bundle.media_type.strip_prefix(MEDIA_TYPES);
    if !version.is_some_and(|version| VERSIONS.contains(&version)) {
        let reason = format!("a bundle of unknown type {:?}", short(&bundle.media_type));
        return Err(Doubt::Unusable(reason));
    }
    let (message, signature, content) = match (bundle.dsse_envelope, bundle.message_signature) {
        (Some(envelope), None) => enveloped(&envelope)?,
        (None, Some(message)) => of_document(&message, documents)?,
        _ => return Err(unusable("neither an envelope nor a message")),
    };
    Ok(Signed {
        place: place.to_owned(),
        message,
        signature,
        content,
        by: match bundle.verification_material.public_key {
            Some(Hint { hint }) if hint.len() < 100 => format!("; it hints at key {hint:?}"),
            Some(_) => String::new(),
            None => WITH_CERTIFICATE.to_owned(),
        },
    })
}

type Parts<'a> = (Cow<'a, [u8]>, Vec<u8>, Content);

fn enveloped<'a>(envelope: &Envelope) -> Result<Parts<'a>, Doubt> {
    if envelope.payload_type != IN_TOTO {
        let reason = format!(
            "an envelope of unknown type {:?}",
            short(&envelope.payload_type)
        );
        return Err(Doubt::Unusable(reason));
    }
    let [EnvelopeSignature { sig }] = envelope.signatures.as_slice() else {
        return Err(unusable("an envelope must have one signature"));
    };
    let signature = base64(sig).ok_or_else(|| unusable("its signature is not base64"))?;
    let payload = base64(&envelope.payload).ok_or_else(|| unusable("its payload is not base64"))?;
    let message = pre_authentication(&envelope.payload_type, &payload);
    let at = message.len() - payload.len();
    Ok((message.into(), signature, Content::Statement { at }))
}

/// What an envelope's signature is over (`dsse/protocol.md`, PAE).
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let (type_len, len) = (payload_type.len(), payload.len());
    let mut out = format!("DSSEv1 {type_len} {payload_type} {len} ").into_bytes();
    out.extend(payload);
    out
}

fn of_document<'a>(
    message: &MessageSignature,
    documents: &[&'a Document],
) -> Result<Parts<'a>, Doubt> {
    let MessageDigest { algorithm, digest } = &message.message_digest;
    if algorithm != "SHA2_256" {
        let reason = format!("a message hashed by {:?}, not SHA2_256", short(algorithm));
        return Err(Doubt::Unusable(reason));
    }
    let bad = || unusable("its digest or signature is not base64");
    let digest = base64(digest).ok_or_else(bad)?;
    let signature = base64(&message.signature).ok_or_else(bad)?;
    let is_it = |document: &&&Document| hex::encode(&digest) == document.digest.hex();
    match documents.iter().find(is_it) {
        Some(document) => {
            let content = Content::Document(document.digest);
            Ok((document.bytes.as_slice().into(), signature, content))
        }
        None => Err(Doubt::Digest(vec![short(&format!(
            "sha256:{}",
            hex::encode(digest)
        ))])),
    }
}

fn unusable(reason: &str) -> Doubt {
    Doubt::Unusable(reason.to_owned())
}
