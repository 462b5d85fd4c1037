//! The small JSON documents of an image: indexes, manifests, configs. Each is bounded and checked
//! against the descriptor that names it before anything in it is believed.

use std::io::{self, Read};

use oci_spec::image::{Descriptor, MediaType};
use serde::Deserialize;

use super::{Digest, Error};

/// Documents are read up to this size, as containerd does.
pub(super) const MAX_DOCUMENT: u64 = 8 << 20;

/// Where documents come from.
pub(super) trait Documents {
    /// The bytes that `descriptor` names, as they are there: unchecked, but not more than
    /// [`MAX_DOCUMENT`]. `what` is `index`, `manifest` or `config`, for messages.
    fn read(&self, what: &'static str, descriptor: &Descriptor) -> Result<Vec<u8>, Error>;
}

/// A document, its bytes checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The media type that the descriptor gave it, or that it gives itself.
    pub media_type: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The bytes, as they were signed and stored.
    pub bytes: Vec<u8>,
}

/// Reads and checks the document that `descriptor` names.
pub(super) fn fetch(
    from: &dyn Documents,
    what: &'static str,
    descriptor: &Descriptor,
) -> Result<Document, Error> {
    let digest = digest(what, descriptor)?;
    if descriptor.size() > MAX_DOCUMENT {
        return Err(Error::Blob {
            what,
            digest,
            reason: format!(
                "{} bytes, more than {MAX_DOCUMENT} for a document",
                descriptor.size()
            ),
        });
    }
    let bytes = from.read(what, descriptor)?;
    checked(what, descriptor, bytes)
}

/// The bytes as the document of `descriptor`, when they are what it names.
pub(super) fn checked(
    what: &'static str,
    descriptor: &Descriptor,
    bytes: Vec<u8>,
) -> Result<Document, Error> {
    let digest = digest(what, descriptor)?;
    let bad = |reason| Error::Blob {
        what,
        digest,
        reason,
    };
    if bytes.len() as u64 != descriptor.size() {
        let (found, expected) = (bytes.len(), descriptor.size());
        return Err(bad(format!("{found} bytes where {expected} should be")));
    }
    match Digest::of(&bytes) {
        found if found == digest => Ok(Document {
            media_type: descriptor.media_type().to_string(),
            digest,
            bytes,
        }),
        found => Err(bad(format!("its bytes are {found}"))),
    }
}

/// The descriptor's digest, if it is one that i2kit can check.
pub(super) fn digest(what: &'static str, descriptor: &Descriptor) -> Result<Digest, Error> {
    let text = descriptor.digest().to_string();
    text.parse()
        .map_err(|error: super::digest::ParseError| Error::Malformed {
            what,
            object: text.clone(),
            reason: error.to_string(),
        })
}

/// The descriptor of a manifest or index that nothing describes: its bytes name it.
pub(super) fn describe(object: &str, bytes: &[u8]) -> Result<Descriptor, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Type {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let own: Type = parse("manifest", object, bytes)?;
    let media_type = match (own.media_type, own.manifests) {
        (Some(named), _) => MediaType::from(named.as_str()),
        (None, Some(_)) => MediaType::ImageIndex,
        (None, None) => MediaType::ImageManifest,
    };
    descriptor(media_type, Digest::of(bytes), bytes.len() as u64)
}

/// A descriptor of these parts.
pub(super) fn descriptor(
    media_type: MediaType,
    digest: Digest,
    size: u64,
) -> Result<Descriptor, Error> {
    let text = digest.to_string();
    let parsed = oci_spec::image::Digest::try_from(text.as_str());
    let parsed = parsed.map_err(|error| Error::Malformed {
        what: "digest",
        object: text.clone(),
        reason: error.to_string(),
    })?;
    Ok(Descriptor::new(media_type, size, parsed))
}

/// All of a reader that must not be longer than a document.
pub(super) fn read_bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(io::Error::other(format!(
            "larger than {MAX_DOCUMENT} bytes"
        )));
    }
    Ok(bytes)
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(
    what: &'static str,
    object: &str,
    bytes: &[u8],
) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Malformed {
        what,
        object: object.to_owned(),
        reason: error.to_string(),
    })
}
