//! Images in an OCI image layout: a folder with `oci-layout`, `index.json` and `blobs/`
//! (image-spec `image-layout.md`).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};

use super::{Digest, Error, Image, LayerDescriptor, Platform, Source};

/// Indexes, manifests and configs are read up to this size, as registries and containerd do.
const MAX_DOCUMENT: u64 = 8 << 20;
/// How deep indexes may nest.
const MAX_NESTING: usize = 4;
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

    fn index(&self) -> Result<ImageIndex, Error> {
        let not = |reason: String| Error::NotALayout {
            path: self.folder().to_owned(),
            reason,
        };
        if !self.folder().join("oci-layout").is_file() {
            return Err(not("no file oci-layout in it".to_owned()));
        }
        let path = self.folder().join("index.json");
        let file = File::open(&path).map_err(|error| not(format!("index.json: {error}")))?;
        let bytes = read_document(file).map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })?;
        parse("index", &path.display().to_string(), &bytes)
    }

    /// The descriptor that the reference names.
    fn choose(&self, index: &ImageIndex) -> Result<Descriptor, Error> {
        let path = || self.folder().to_owned();
        let manifests = index.manifests();
        let missing = |wanted: &dyn std::fmt::Display| Error::NoSuchImage {
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
                    path: path(),
                    tags: tags(manifests),
                }),
            },
        }
    }

    /// Follows indexes down to the manifest for `platform`.
    fn manifest(
        &self,
        mut descriptor: Descriptor,
        platform: &Platform,
    ) -> Result<(Digest, ImageManifest), Error> {
        for _ in 0..MAX_NESTING {
            let (digest, bytes) = self.document("manifest", &descriptor)?;
            if !is_index(&descriptor, &bytes) {
                return Ok((digest, parse("manifest", &digest.to_string(), &bytes)?));
            }
            let index: ImageIndex = parse("index", &digest.to_string(), &bytes)?;
            descriptor = for_platform(&index, platform, &digest)?;
        }
        Err(Error::Malformed {
            what: "index",
            object: descriptor.digest().to_string(),
            reason: format!("nested deeper than {MAX_NESTING}"),
        })
    }

    /// A small blob, whole, checked.
    fn document(&self, what: &'static str, of: &Descriptor) -> Result<(Digest, Vec<u8>), Error> {
        let digest = parse_digest(what, of)?;
        let bad = |reason: String| Error::Blob {
            what,
            digest,
            reason,
        };
        let file = File::open(self.blob(&digest)).map_err(|error| bad(error.to_string()))?;
        let bytes = read_document(file).map_err(|error| bad(error.to_string()))?;
        if bytes.len() as u64 != of.size() {
            return Err(bad(format!(
                "{} bytes where {} should be",
                bytes.len(),
                of.size()
            )));
        }
        match Digest::of(&bytes) {
            found if found == digest => Ok((digest, bytes)),
            found => Err(bad(format!("its bytes are {found}"))),
        }
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder().join("blobs/sha256").join(digest.hex())
    }
}

impl Source for LayoutSource {
    fn image(&self, platform: &Platform) -> Result<Image, Error> {
        let descriptor = self.choose(&self.index()?)?;
        let (manifest_digest, manifest) = self.manifest(descriptor, platform)?;
        let (config_digest, bytes) = self.document("config", manifest.config())?;
        let config: ImageConfiguration = parse("config", &config_digest.to_string(), &bytes)?;
        check_platform(&config, platform, &manifest_digest)?;
        let layers = layers(&manifest, &config, &manifest_digest)?;
        Ok(Image {
            manifest_digest,
            config_digest,
            config,
            layers,
        })
    }

    fn open(&self, layer: &LayerDescriptor) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(self.blob(&layer.digest))?))
    }
}

fn read_document(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(io::Error::other(format!(
            "larger than {MAX_DOCUMENT} bytes"
        )));
    }
    Ok(bytes)
}

fn parse<T: serde::de::DeserializeOwned>(
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

fn parse_digest(what: &'static str, descriptor: &Descriptor) -> Result<Digest, Error> {
    let text = descriptor.digest().to_string();
    text.parse()
        .map_err(|error: super::digest::ParseError| Error::Malformed {
            what,
            object: text.clone(),
            reason: error.to_string(),
        })
}

fn tag(descriptor: &Descriptor) -> Option<&String> {
    descriptor.annotations().as_ref()?.get(REF_NAME)
}

fn tags(manifests: &[Descriptor]) -> Vec<String> {
    let mut tags: Vec<_> = manifests.iter().filter_map(tag).cloned().collect();
    tags.sort();
    tags
}

/// An index by its media type, or, where the descriptor says nothing true, by what is in it.
fn is_index(descriptor: &Descriptor, bytes: &[u8]) -> bool {
    match descriptor.media_type() {
        MediaType::ImageIndex => true,
        MediaType::ImageManifest => false,
        MediaType::Other(other) if other.ends_with("manifest.list.v2+json") => true,
        _ => serde_json::from_slice::<serde_json::Value>(bytes)
            .is_ok_and(|value| value.get("manifests").is_some()),
    }
}

fn for_platform(index: &ImageIndex, wanted: &Platform, of: &Digest) -> Result<Descriptor, Error> {
    let platforms = || {
        index
            .manifests()
            .iter()
            .filter_map(|one| Some((one, one.platform().as_ref()?)))
    };
    let matches = platforms().find(|(_, platform)| {
        platform.os().to_string() == wanted.os
            && platform.architecture().to_string() == wanted.architecture
    });
    match (matches, index.manifests().as_slice()) {
        (Some((found, _)), _) => Ok(found.clone()),
        (None, [only]) if only.platform().is_none() => Ok(only.clone()),
        _ => Err(Error::Platform {
            object: of.to_string(),
            platform: wanted.to_string(),
            found: platforms()
                .map(|(_, platform)| format!("{}/{}", platform.os(), platform.architecture()))
                .collect(),
        }),
    }
}

fn check_platform(
    config: &ImageConfiguration,
    wanted: &Platform,
    manifest: &Digest,
) -> Result<(), Error> {
    let (os, architecture) = (config.os().to_string(), config.architecture().to_string());
    if os == wanted.os && architecture == wanted.architecture {
        return Ok(());
    }
    Err(Error::Platform {
        object: manifest.to_string(),
        platform: wanted.to_string(),
        found: vec![format!("{os}/{architecture}")],
    })
}

/// Pairs the manifest's layers with the config's diffIDs.
fn layers(
    manifest: &ImageManifest,
    config: &ImageConfiguration,
    digest: &Digest,
) -> Result<Vec<LayerDescriptor>, Error> {
    let malformed = |reason: String| Error::Malformed {
        what: "manifest",
        object: digest.to_string(),
        reason,
    };
    let diff_ids = config.rootfs().diff_ids();
    if diff_ids.len() != manifest.layers().len() {
        let (layers, diff_ids) = (manifest.layers().len(), diff_ids.len());
        return Err(malformed(format!(
            "{layers} layers, but {diff_ids} diff_ids in the config"
        )));
    }
    let pairs = manifest.layers().iter().zip(diff_ids);
    pairs
        .map(|(layer, diff_id)| {
            let diff_id = diff_id
                .parse()
                .map_err(|error| malformed(format!("diff_id: {error}")))?;
            Ok(LayerDescriptor {
                digest: parse_digest("manifest", layer)?,
                size: layer.size(),
                media_type: layer.media_type().to_string(),
                diff_id,
            })
        })
        .collect()
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
