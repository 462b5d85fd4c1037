//! An image that is already known by its digest, or was seen before: taken from the cache's
//! documents where they are there, so that a locked build with a full cache asks nobody, and one
//! without a network still finds what it pulled.

use std::io::{self, Read};
use std::sync::Arc;

use oci_spec::image::{Descriptor, DescriptorBuilder, MediaType};
use sha2::Digest as _;

use super::document::{self, Documents};
use super::{Digest, Error, Image, LayerDescriptor, Platform, Source, image};
use crate::cache::Cache;

/// How an image may be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The manifest, or the index that leads to it, that the image must be of.
    pub pinned: Option<Digest>,
    /// The source lies across a network.
    pub is_remote: bool,
    /// No source across a network is to be asked.
    pub offline: bool,
}

/// A source behind the cache's documents.
pub struct PinnedSource {
    cache: Cache,
    /// The full reference: under it the cache remembers what a tag last was.
    reference: String,
    terms: Terms,
    inner: Arc<dyn Source>,
}

impl PinnedSource {
    /// `inner` under `terms`; nothing is read yet.
    #[must_use]
    pub fn new(cache: Cache, reference: String, terms: Terms, inner: Arc<dyn Source>) -> Self {
        Self {
            cache,
            reference,
            terms,
            inner,
        }
    }

    /// The image whose index or manifest has that digest, when the cache has all its documents.
    fn cached(&self, digest: Digest, platform: &Platform) -> Option<Image> {
        let bytes = self.cache.document(&digest.to_string())?;
        let descriptor = DescriptorBuilder::default()
            .media_type(media_type(&bytes))
            .digest(digest.to_string().parse::<oci_spec::image::Digest>().ok()?)
            .size(bytes.len() as u64)
            .build()
            .ok()?;
        image::image(&Cached(&self.cache), &descriptor, platform).ok()
    }

    /// The cache's name for what the reference last was on a platform.
    fn memory(&self, platform: &Platform) -> String {
        let text = format!("{}\0{platform}", self.reference);
        format!("resolved-{}", hex::encode(sha2::Sha256::digest(text)))
    }

    fn remembered(&self, platform: &Platform) -> Option<Image> {
        let digest = self.cache.piece(&self.memory(platform))?;
        let digest = std::str::from_utf8(&digest).ok()?.parse().ok()?;
        self.cached(digest, platform)
    }

    /// Keeps the documents, and what a reference across a network was; a cache that takes nothing
    /// hinders no build.
    fn remember(&self, image: &Image, platform: &Platform) {
        let documents = [&image.manifest, &image.config_document];
        for document in documents.into_iter().chain(&image.index) {
            let _ = self.cache.keep_document(&document.bytes);
        }
        if !self.terms.is_remote {
            return;
        }
        let top = image.index.as_ref().unwrap_or(&image.manifest);
        let (key, digest) = (self.memory(platform), top.digest.to_string());
        if self.cache.piece(&key).as_deref() != Some(digest.as_bytes()) {
            let _ = self.cache.keep_piece(&key, digest.as_bytes());
        }
    }

    fn offline(&self) -> Error {
        Error::Offline {
            reference: self.reference.clone(),
        }
    }
}

impl Source for PinnedSource {
    fn image(&self, platform: &Platform) -> Result<Image, Error> {
        let known = self
            .terms
            .pinned
            .and_then(|digest| self.cached(digest, platform));
        if let Some(image) = known {
            return Ok(image);
        }
        if self.terms.forbid_asking() {
            let seen = self
                .remembered(platform)
                .filter(|image| self.terms.allow(image));
            return seen.ok_or_else(|| self.offline());
        }
        let image = self.inner.image(platform)?;
        if !self.terms.allow(&image) {
            return Err(Error::NotPinned {
                reference: self.reference.clone(),
                pinned: self
                    .terms
                    .pinned
                    .map(|digest| digest.to_string())
                    .unwrap_or_default(),
                found: image.manifest.digest,
            });
        }
        self.remember(&image, platform);
        Ok(image)
    }

    fn open(&self, layer: &LayerDescriptor) -> io::Result<Box<dyn Read + Send>> {
        if self.terms.forbid_asking() {
            return Err(io::Error::other(self.offline()));
        }
        self.inner.open(layer)
    }
}

impl Terms {
    fn forbid_asking(&self) -> bool {
        self.offline && self.is_remote
    }

    fn allow(&self, image: &Image) -> bool {
        self.pinned.is_none_or(|pinned| {
            let index = image.index.as_ref().map(|index| index.digest);
            image.manifest.digest == pinned || index == Some(pinned)
        })
    }
}

/// The cache's documents.
struct Cached<'a>(&'a Cache);

impl Documents for Cached<'_> {
    fn read(&self, what: &'static str, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let digest = document::digest(what, descriptor)?;
        let found = self.0.document(&digest.to_string());
        found.ok_or_else(|| Error::Blob {
            what,
            digest,
            reason: "not in the cache".to_owned(),
        })
    }
}

/// What the document says that it is; the resolver looks into one that says nothing.
fn media_type(bytes: &[u8]) -> MediaType {
    let value: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    let named = value
        .as_ref()
        .and_then(|value| value.get("mediaType")?.as_str());
    MediaType::from(named.unwrap_or("application/octet-stream"))
}
