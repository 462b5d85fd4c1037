//! Images in an OCI image layout: a folder with `oci-layout`, `index.json` and `blobs/`
//! (image-spec `image-layout.md`).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci_spec::image::{Descriptor, ImageIndex};

use super::document::{self, Documents};
use super::{Digest, Error, Image, LayerDescriptor, Platform, Source, image};

/// What messages call it.
const WHAT: &str = "OCI layout";
/// The annotation that carries a layout's tags.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// `DIR`, `DIR:TAG` or `DIR@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutReference {
    folder: PathBuf,
    wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Only,
    Tag(String),
    Digest(Digest),
}

impl FromStr for LayoutReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let error = |reason| Error::Reference {
            reference: text.to_owned(),
            reason,
        };
        let (folder, wanted) = if let Some((folder, digest)) = text.split_once('@') {
            let digest = digest
                .parse()
                .map_err(|_| error("not a sha256 digest after @"))?;
            (folder, Wanted::Digest(digest))
        } else {
            match text.rsplit_once(':') {
                Some((folder, tag)) if !tag.contains('/') => (folder, Wanted::Tag(tag.to_owned())),
                _ => (text, Wanted::Only),
            }
        };
        match (folder, &wanted) {
            ("", _) => Err(error("no folder before the tag")),
            (_, Wanted::Tag(tag)) if tag.is_empty() => Err(error("empty tag")),
            _ => Ok(Self {
                folder: folder.into(),
                wanted,
            }),
        }
    }
}

/// One image of a layout.
#[derive(Clone, Debug)]
pub struct LayoutSource {
    reference: LayoutReference,
}

impl LayoutSource {
    /// The image that `reference` names; nothing is read yet.
    #[must_use]
    pub fn new(reference: LayoutReference) -> Self {
        Self { reference }
    }

    fn folder(&self) -> &Path {
        &self.reference.folder
    }

    pub(super) fn index(&self) -> Result<ImageIndex, Error> {
        let not = |reason: String| Error::NotA {
            what: WHAT,
            path: self.folder().to_owned(),
            reason,
        };
        if !self.folder().join("oci-layout").is_file() {
            return Err(not("no file oci-layout in it".to_owned()));
        }
        let path = self.folder().join("index.json");
        let file = File::open(&path).map_err(|error| not(format!("index.json: {error}")))?;
        let bytes = document::read_bounded(file).map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })?;
        document::parse("index", &path.display().to_string(), &bytes)
    }

    /// The descriptor that the reference names.
    fn choose(&self, index: &ImageIndex) -> Result<Descriptor, Error> {
        let path = || self.folder().to_owned();
        let manifests = index.manifests();
        let missing = |wanted: &dyn std::fmt::Display| Error::NoSuchImage {
            what: WHAT,
            path: path(),
            wanted: wanted.to_string(),
            tags: tags(manifests),
        };
        match &self.reference.wanted {
            Wanted::Tag(wanted) => {
                let found = manifests.iter().find(|one| tag(one) == Some(wanted));
                found.cloned().ok_or_else(|| missing(wanted))
            }
            Wanted::Digest(wanted) => {
                let wanted = wanted.to_string();
                let found = manifests
                    .iter()
                    .find(|one| one.digest().to_string() == wanted);
                found.cloned().ok_or_else(|| missing(&wanted))
            }
            Wanted::Only => match manifests.as_slice() {
                [one] => Ok(one.clone()),
                [] => Err(missing(&"any image")),
                _ => Err(Error::Ambiguous {
                    what: WHAT,
                    path: path(),
                    tags: tags(manifests),
                }),
            },
        }
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder().join("blobs/sha256").join(digest.hex())
    }
}

impl Documents for LayoutSource {
    fn read(&self, what: &'static str, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let digest = document::digest(what, descriptor)?;
        let file = File::open(self.blob(&digest));
        file.and_then(document::read_bounded)
            .map_err(|error| Error::Blob {
                what,
                digest,
                reason: error.to_string(),
            })
    }
}

impl Source for LayoutSource {
    fn image(&self, platform: &Platform) -> Result<Image, Error> {
        let descriptor = self.choose(&self.index()?)?;
        image::image(self, &descriptor, platform)
    }

    fn open(&self, layer: &LayerDescriptor) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(self.blob(&layer.digest))?))
    }
}

pub(super) fn tag(descriptor: &Descriptor) -> Option<&String> {
    descriptor.annotations().as_ref()?.get(REF_NAME)
}

fn tags(manifests: &[Descriptor]) -> Vec<String> {
    let mut tags: Vec<_> = manifests.iter().filter_map(tag).cloned().collect();
    tags.sort();
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let parse = |text: &str| text.parse::<LayoutReference>();
        assert_eq!(parse("a/b").unwrap().wanted, Wanted::Only);
        assert_eq!(
            parse("a/b:1.2").unwrap().wanted,
            Wanted::Tag("1.2".to_owned())
        );
        assert_eq!(parse("a:b/c").unwrap().folder, Path::new("a:b/c"));
        let digest = Digest::of(b"x");
        assert_eq!(
            parse(&format!("a@{digest}")).unwrap().wanted,
            Wanted::Digest(digest)
        );
        for bad in ["", ":x", "a:", "a@sha256:12", "@"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
