//! Finds the signatures of an image, one place after the other, no further than is asked for.

use std::borrow::Cow;
use std::collections::VecDeque;

use oci_spec::image::{Descriptor, ImageManifest, MediaType};

use super::claim::{Claim, ClaimError};
use super::{Key, Signatures, base64, bundle};
use crate::oci::document::{self, Document};
use crate::oci::{Digest, Error};

const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The signature itself, on the descriptor of its payload.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// The referrer that cosign 2 writes with `--registry-referrers-mode=oci-1-1`.
const COSIGN_REFERRER: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// What clients that know no artifact type make of it in an index they keep themselves.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Of a signature that no key made.
pub(super) const WITH_CERTIFICATE: &str =
    "; it was made with a certificate, and keys alone are supported";
/// Payloads and bundles are some KiB; all that are found are kept while an image is checked.
const MAX_PAYLOAD: u64 = 256 << 10;
/// Signatures that are looked at for one image: a registry could list any number.
const MAX_SIGNATURES: usize = 100;
/// Referrers' manifests that are read for one image.
const MAX_REFERRERS: usize = 100;

/// Bytes and a signature of them: nothing to be believed yet.
#[derive(Debug)]
pub(in crate::oci) struct Signed<'a> {
    /// For messages: the tag or the referrer, and which of its layers.
    pub place: String,
    pub message: Cow<'a, [u8]>,
    pub signature: Vec<u8>,
    pub content: Content,
    /// Who signed, as the signature itself says without proof: the end of a message.
    pub by: String,
}

/// How to read what was signed.
#[derive(Debug)]
pub(in crate::oci) enum Content {
    /// The message is a simple signing payload.
    SimpleSigning,
    /// The message ends with an in-toto statement, which begins there.
    Statement { at: usize },
    /// The message is the image's own manifest or index.
    Document(Digest),
}

/// Why a signature is not accepted.
#[derive(Debug, thiserror::Error)]
pub(in crate::oci) enum Doubt {
    #[error("{0}")]
    Fetch(#[from] Error),
    #[error("{0}")]
    Unusable(String),
    #[error("made by none of the keys{0}")]
    Key(String),
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error("of {}, not of this image", .0.join(", "))]
    Digest(Vec<String>),
    #[error("of {signed:?}, and {wanted} is wanted")]
    Identity { signed: String, wanted: String },
    #[error("it claims no name, and {wanted} is wanted")]
    Nameless { wanted: String },
    #[error("{0}")]
    Unnamed(String),
}

impl Signed<'_> {
    /// Which of `keys` made it, and what it claims.
    pub fn verify<'k, T>(
        &self,
        keys: &'k [T],
        key: impl Fn(&T) -> &Key,
    ) -> Result<(&'k T, Claim), Doubt> {
        let by = keys
            .iter()
            .find(|one| key(one).made(&self.signature, &self.message))
            .ok_or_else(|| Doubt::Key(self.by.clone()))?;
        let claim = match &self.content {
            Content::SimpleSigning => Claim::simple_signing(&self.message)?,
            Content::Statement { at } => {
                Claim::statement(self.message.get(*at..).unwrap_or_default())?
            }
            Content::Document(digest) => Claim {
                images: vec![(*digest, None)],
            },
        };
        Ok((by, claim))
    }
}

/// Something found where signatures lie, or why it could not be read.
pub(in crate::oci) type Found<'a> = (String, Result<Signed<'a>, Doubt>);

/// A search for the signatures of one image.
pub(in crate::oci) struct Search<'a> {
    from: &'a dyn Signatures,
    /// The index that led to the manifest, if any, and the manifest: a signature of either will do.
    documents: Vec<&'a Document>,
    ahead: VecDeque<Place>,
    found: Vec<Found<'a>>,
    referrers: usize,
}

enum Place {
    Tag(Digest),
    Referrers(Digest),
    Referrer(Box<Descriptor>),
}

impl<'a> Search<'a> {
    pub fn new(from: &'a dyn Signatures, documents: Vec<&'a Document>) -> Self {
        let places = documents.iter().flat_map(|document| {
            [
                Place::Tag(document.digest),
                Place::Referrers(document.digest),
            ]
        });
        Self {
            ahead: places.collect(),
            from,
            documents,
            found: Vec::new(),
            referrers: 0,
        }
    }

    /// The signature of that number, from 0; `None` after the last.
    pub fn get(&mut self, number: usize) -> Option<&Found<'a>> {
        while self.found.len() <= number {
            let place = self.ahead.pop_front()?;
            self.look(place);
        }
        self.found.get(number)
    }

    fn look(&mut self, place: Place) {
        let (name, result) = match place {
            Place::Tag(digest) => {
                let tag = format!("sha256-{}.sig", digest.hex());
                let result = self.tag(&tag);
                (format!("tag {tag}"), result)
            }
            Place::Referrers(digest) => {
                let result = self.list(&digest);
                (format!("referrers of {digest}"), result)
            }
            Place::Referrer(descriptor) => {
                let name = format!("referrer {}", descriptor.digest());
                let result = self.referrer(&descriptor, &name);
                (name, result)
            }
        };
        if let Err(doubt) = result {
            self.found.push((name, Err(doubt)));
        }
        if self.found.len() > MAX_SIGNATURES {
            self.ahead.clear();
            self.found.truncate(MAX_SIGNATURES);
            let reason = format!("no more than {MAX_SIGNATURES} signatures are looked at");
            self.found
                .push(("the rest".to_owned(), Err(Doubt::Unusable(reason))));
        }
    }

    fn tag(&mut self, tag: &str) -> Result<(), Doubt> {
        if let Some(manifest) = self.from.tagged(tag)? {
            self.layers(&manifest, &format!("tag {tag}"))?;
        }
        Ok(())
    }

    fn list(&mut self, digest: &Digest) -> Result<(), Doubt> {
        let listed = self.from.referrers(digest)?;
        let mut these: Vec<_> = listed.into_iter().filter(may_sign).collect();
        let room = MAX_REFERRERS.saturating_sub(self.referrers);
        let is_cut = these.len() > room;
        these.truncate(room);
        self.referrers += these.len();
        // Next, before the other places: they are the rest of this one.
        for descriptor in these.into_iter().rev() {
            self.ahead.push_front(Place::Referrer(Box::new(descriptor)));
        }
        match is_cut {
            false => Ok(()),
            true => Err(Doubt::Unusable(format!(
                "no more than {MAX_REFERRERS} referrers are looked at"
            ))),
        }
    }

    fn referrer(&mut self, descriptor: &Descriptor, name: &str) -> Result<(), Doubt> {
        let bytes = self.from.manifest(descriptor)?;
        let manifest = document::checked("manifest", descriptor, bytes)?;
        self.layers(&manifest.bytes, name)
    }

    /// Signatures are the layers of an image manifest. Other layers are other things.
    fn layers(&mut self, manifest: &[u8], name: &str) -> Result<(), Doubt> {
        let manifest: ImageManifest = document::parse("manifest", name, manifest)?;
        for (number, layer) in manifest.layers().iter().enumerate() {
            let place = format!("{name}, layer {number}");
            let media_type = layer.media_type().to_string();
            let signed = if media_type == SIMPLE_SIGNING {
                self.simple_signing(layer, &place)
            } else if media_type.starts_with(bundle::MEDIA_TYPES) {
                self.blob(layer)
                    .and_then(|bytes| bundle::parse(&bytes, &place, &self.documents))
            } else {
                continue;
            };
            self.found.push((place, signed));
            if self.found.len() > MAX_SIGNATURES {
                break;
            }
        }
        Ok(())
    }

    fn simple_signing(&self, layer: &Descriptor, place: &str) -> Result<Signed<'a>, Doubt> {
        let annotation = |name: &str| layer.annotations().as_ref()?.get(name);
        let unusable = |reason: &str| Doubt::Unusable(reason.to_owned());
        let signature = annotation(SIGNATURE).ok_or_else(|| unusable("no signature beside it"))?;
        let signature = base64(signature).ok_or_else(|| unusable("its signature is not base64"))?;
        Ok(Signed {
            place: place.to_owned(),
            message: self.blob(layer)?.into(),
            signature,
            content: Content::SimpleSigning,
            by: match annotation(CERTIFICATE) {
                Some(_) => WITH_CERTIFICATE.to_owned(),
                None => String::new(),
            },
        })
    }

    /// The bytes that `layer` names, checked.
    fn blob(&self, layer: &Descriptor) -> Result<Vec<u8>, Doubt> {
        if layer.size() > MAX_PAYLOAD {
            let reason = format!("{} bytes, more than {MAX_PAYLOAD}", layer.size());
            return Err(Doubt::Unusable(reason));
        }
        let bytes = self.from.blob(layer)?;
        Ok(document::checked("signature", layer, bytes)?.bytes)
    }
}

/// True for a referrer that is a signature, or may be one by what its descriptor leaves open.
fn may_sign(descriptor: &Descriptor) -> bool {
    match descriptor.artifact_type() {
        None => matches!(
            descriptor.media_type(),
            MediaType::ImageManifest | MediaType::ArtifactManifest
        ),
        Some(artifact_type) => {
            let name = artifact_type.to_string();
            name.starts_with(bundle::MEDIA_TYPES) || name == COSIGN_REFERRER || name == EMPTY
        }
    }
}
