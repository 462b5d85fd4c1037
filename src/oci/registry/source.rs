//! One image of a registry.

use std::io::{self, Read};
use std::sync::Arc;

use oci_spec::image::Descriptor;

use super::client::{Client, Repository, Wanted, descriptor};
use super::transfer::BlobSpec;
use crate::oci::document::{self, Documents, MAX_DOCUMENT};
use crate::oci::signature::Signatures;
use crate::oci::{Digest, Document, Error, Image, LayerDescriptor, Platform, Source, image};

/// An image behind `docker://`.
#[derive(Clone, Debug)]
pub struct RegistrySource {
    client: Client,
    repository: Arc<Repository>,
    wanted: Wanted,
}

impl RegistrySource {
    /// The image that `wanted` names; nothing is asked yet.
    #[must_use]
    pub fn new(client: Client, repository: Repository, wanted: Wanted) -> Self {
        Self {
            client,
            repository: Arc::new(repository),
            wanted,
        }
    }
}

impl RegistrySource {
    /// A small blob, whole.
    fn document(&self, what: &'static str, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let digest = document::digest(what, descriptor)?;
        let blob = BlobSpec {
            digest,
            size: Some(descriptor.size()),
            urls: Vec::new(),
        };
        let mut bytes = Vec::new();
        let mut reader = self
            .client
            .blob(&self.repository, &blob)?
            .take(MAX_DOCUMENT);
        reader
            .read_to_end(&mut bytes)
            .map_err(|error| match error.downcast::<Error>() {
                Ok(error) => error,
                Err(error) => Error::Blob {
                    what,
                    digest,
                    reason: error.to_string(),
                },
            })?;
        Ok(bytes)
    }
}

/// The documents of an image whose first one is here.
struct Fetched<'a> {
    source: &'a RegistrySource,
    top: &'a Document,
}

impl Documents for Fetched<'_> {
    fn read(&self, what: &'static str, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let digest = document::digest(what, descriptor)?;
        if digest == self.top.digest {
            return Ok(self.top.bytes.clone());
        }
        let RegistrySource {
            client, repository, ..
        } = self.source;
        if what != "config" {
            let wanted = Wanted::Digest(digest);
            return Ok(client.manifest(repository, &wanted)?.bytes);
        }
        self.source.document(what, descriptor)
    }
}

impl Signatures for RegistrySource {
    fn tagged(&self, tag: &str) -> Result<Option<Vec<u8>>, Error> {
        let wanted = Wanted::Tag(tag.to_owned());
        match self.client.manifest(&self.repository, &wanted) {
            Ok(found) => Ok(Some(found.bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        Ok(self.client.referrers(&self.repository, subject, None)?)
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let wanted = Wanted::Digest(document::digest("manifest", descriptor)?);
        Ok(self.client.manifest(&self.repository, &wanted)?.bytes)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.document("signature", descriptor)
    }
}

impl Source for RegistrySource {
    fn image(&self, platform: &Platform) -> Result<Image, Error> {
        let top = self.client.manifest(&self.repository, &self.wanted)?;
        let size = top.bytes.len() as u64;
        let descriptor =
            descriptor(&top.digest, size, &top.media_type).map_err(|reason| Error::Malformed {
                what: "manifest",
                object: top.digest.to_string(),
                reason: reason.to_string(),
            })?;
        let documents = Fetched {
            source: self,
            top: &top,
        };
        image::image(&documents, &descriptor, platform)
    }

    fn open(&self, layer: &LayerDescriptor) -> io::Result<Box<dyn Read + Send>> {
        let blob = BlobSpec {
            digest: layer.digest,
            size: Some(layer.size),
            urls: layer.urls.clone(),
        };
        let opened = self.client.blob(&self.repository, &blob);
        Ok(Box::new(
            opened.map_err(|error| io::Error::other(Error::from(error)))?,
        ))
    }

    fn signatures(&self) -> Box<dyn Signatures + '_> {
        Box::new(self.clone())
    }
}
