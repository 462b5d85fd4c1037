//! Signatures that lie in the image's own OCI layout, as `oras copy -r`, `regctl` and
//! `skopeo copy docker://…:sha256-….sig oci:…` put them there.

use oci_spec::image::{Descriptor, ImageIndex, MediaType};
use serde::Deserialize;

use super::Signatures;
use crate::oci::document::{Documents as _, fetch, parse};
use crate::oci::layout::{LayoutSource, tag};
use crate::oci::{Digest, Error};

/// Manifests of a layout's index that are read to see what they refer to.
const MAX_LOOKS: usize = 1000;
/// How `cosign save` marks an image's signatures in place of a tag.
const KIND: (&str, &str) = ("kind", "dev.cosignproject.cosign/sigs");

/// What a manifest refers to, whatever else it is.
#[derive(Deserialize)]
struct Referrer {
    subject: Option<Descriptor>,
}

impl Signatures for LayoutSource {
    fn tagged(&self, wanted: &str) -> Result<Option<Vec<u8>>, Error> {
        let index = self.index()?;
        let entries = index.manifests();
        let found = entries
            .iter()
            .find(|one| tag(one).is_some_and(|tag| tag == wanted));
        let saved = || entries.iter().find(|one| is_saved(one));
        match found.or_else(|| wanted.ends_with(".sig").then(saved).flatten()) {
            Some(descriptor) => Ok(Some(fetch(self, "manifest", descriptor)?.bytes)),
            None => Ok(None),
        }
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        let index = self.index()?;
        let tag_of_index = format!("sha256-{}", subject.hex());
        let mut out = Vec::new();
        let mut looks = 0;
        for entry in index.manifests() {
            if tag(entry).is_some_and(|tag| *tag == tag_of_index) {
                let list = fetch(self, "index", entry)?;
                let object = list.digest.to_string();
                let list: ImageIndex = parse("index", &object, &list.bytes)?;
                out.extend(list.manifests().iter().cloned());
            } else if *entry.media_type() == MediaType::ImageManifest && looks < MAX_LOOKS {
                looks += 1;
                if self.refers(entry, subject)? {
                    out.push(entry.clone());
                }
            }
        }
        Ok(out)
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.read("manifest", descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.read("signature", descriptor)
    }
}

impl LayoutSource {
    fn refers(&self, entry: &Descriptor, subject: &Digest) -> Result<bool, Error> {
        let manifest = fetch(self, "manifest", entry)?;
        let object = manifest.digest.to_string();
        let referrer: Referrer = parse("manifest", &object, &manifest.bytes)?;
        let wanted = subject.to_string();
        Ok(referrer
            .subject
            .is_some_and(|one| one.digest().to_string() == wanted))
    }
}

fn is_saved(descriptor: &Descriptor) -> bool {
    let annotations = descriptor.annotations().as_ref();
    annotations
        .and_then(|all| all.get(KIND.0))
        .is_some_and(|kind| kind == KIND.1)
}
