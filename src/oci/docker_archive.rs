//! Images that `docker save` wrote: a tar with `manifest.json`, which names each image's config
//! and layers (moby's `image/spec`, "Combined Image JSON + Filesystem Changeset Format"). Until
//! Docker 24 the layers are `ID/layer.tar`, repeated ones symlinks; since Docker 25 they lie in an
//! OCI layout that the same tar holds. Podman, skopeo, crane and kaniko write the first kind.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use oci_spec::image::{Descriptor, ImageConfiguration, MediaType};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::archive::{Archive, Archives, Member};
use super::document::{self, Documents};
use super::{Digest, Error, Image, LayerDescriptor, Platform, Source, image, names};

/// What messages call it.
pub(super) const WHAT: &str = "docker archive";
const MANIFEST: &str = "manifest.json";

/// `FILE`, `FILE:NAME` or `FILE:@NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerArchiveReference {
    file: PathBuf,
    wanted: Wanted,
}

/// Which image of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Only,
    Name(String),
    /// Its place in `manifest.json`, from 0.
    Place(usize),
}

impl FromStr for DockerArchiveReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let error = |reason| Error::Reference {
            reference: text.to_owned(),
            reason,
        };
        let (file, wanted) = match text.split_once(':') {
            None => (text, Wanted::Only),
            Some((_, "")) => return Err(error("empty tag")),
            Some((file, name)) => match name.strip_prefix('@') {
                Some(place) => {
                    let place = place.parse();
                    let place = place.map_err(|_| error("not a number after :@"))?;
                    (file, Wanted::Place(place))
                }
                None => (file, Wanted::Name(name.to_owned())),
            },
        };
        if file.is_empty() {
            return Err(error("no file before the tag"));
        }
        Ok(Self {
            file: file.into(),
            wanted,
        })
    }
}

/// One image of such an archive.
#[derive(Debug)]
pub struct DockerArchiveSource {
    reference: DockerArchiveReference,
    archives: Arc<Archives>,
    saved: Mutex<Option<Arc<Saved>>>,
}

impl DockerArchiveSource {
    /// The image that `reference` names; nothing is read yet.
    pub(super) fn new(reference: DockerArchiveReference, archives: Arc<Archives>) -> Self {
        Self {
            reference,
            archives,
            saved: Mutex::default(),
        }
    }

    fn saved(&self) -> Result<Arc<Saved>, Error> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(saved) = saved.as_ref() {
            return Ok(Arc::clone(saved));
        }
        let file = &self.reference.file;
        let archive = self.archives.open(WHAT, file)?;
        let read = Arc::new(Saved::read(archive, file, &self.reference.wanted)?);
        Ok(Arc::clone(saved.insert(read)))
    }
}

impl Source for DockerArchiveSource {
    fn image(&self, platform: &Platform) -> Result<Image, Error> {
        self.saved()?.image(platform)
    }

    fn open(&self, layer: &LayerDescriptor) -> io::Result<Box<dyn Read + Send>> {
        self.saved().map_err(io::Error::other)?.open(layer)
    }
}

/// An entry of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

impl Entry {
    fn names(&self) -> Vec<&str> {
        let tags = self.repo_tags.iter().flatten();
        tags.map(String::as_str).collect()
    }
}

/// An image of an archive, with the manifest that the archive lacks: made of what is there, in
/// one way only, so that the same archive has the same digest always.
#[derive(Debug)]
pub(super) struct Saved {
    manifest: Vec<u8>,
    config: Vec<u8>,
    layers: BTreeMap<Digest, Member>,
}

/// An OCI manifest (image-spec `manifest.md`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: MediaType,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl Saved {
    /// The image of `archive`, which lies at `path`, that is `wanted`.
    pub(super) fn read(archive: Arc<Archive>, path: &Path, wanted: &Wanted) -> Result<Self, Error> {
        let reader = Reading {
            archive,
            path,
            object: path.join(MANIFEST).display().to_string(),
        };
        let entries = reader.entries()?;
        let entry = reader.choose(&entries, wanted)?;
        let config = reader.document(&entry.config)?;
        let parsed: ImageConfiguration = document::parse("config", &entry.config, &config)?;
        let (layers, descriptors) = reader.layers(entry, parsed.rootfs().diff_ids())?;
        let size = config.len() as u64;
        let manifest = Manifest {
            schema_version: 2,
            media_type: MediaType::ImageManifest,
            config: document::descriptor(MediaType::ImageConfig, Digest::of(&config), size)?,
            layers: descriptors,
        };
        let manifest = serde_json::to_vec(&manifest);
        Ok(Self {
            manifest: manifest.map_err(|error| reader.malformed(error.to_string()))?,
            config,
            layers,
        })
    }

    pub(super) fn image(&self, platform: &Platform) -> Result<Image, Error> {
        let (digest, size) = (Digest::of(&self.manifest), self.manifest.len() as u64);
        let descriptor = document::descriptor(MediaType::ImageManifest, digest, size)?;
        image::image(self, &descriptor, platform)
    }

    pub(super) fn open(&self, layer: &LayerDescriptor) -> io::Result<Box<dyn Read + Send>> {
        match self.layers.get(&layer.digest) {
            Some(member) => Ok(Box::new(member.clone())),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Documents for Saved {
    fn read(&self, what: &'static str, _: &Descriptor) -> Result<Vec<u8>, Error> {
        Ok(match what {
            "config" => self.config.clone(),
            _ => self.manifest.clone(),
        })
    }
}

/// Reads one archive.
struct Reading<'a> {
    archive: Arc<Archive>,
    path: &'a Path,
    /// `manifest.json`, for messages.
    object: String,
}

type Layers = (BTreeMap<Digest, Member>, Vec<Descriptor>);

impl Reading<'_> {
    fn malformed(&self, reason: String) -> Error {
        Error::Malformed {
            what: "manifest",
            object: self.object.clone(),
            reason,
        }
    }

    fn member(&self, name: &str) -> Result<Member, Error> {
        let member = self.archive.member(name);
        let member = member.map_err(|refused| refused.of(WHAT, self.path))?;
        member.ok_or_else(|| Error::NotA {
            what: WHAT,
            path: self.path.to_owned(),
            reason: format!("no file {name:?} in it"),
        })
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, Error> {
        let bytes = document::read_bounded(self.member(name)?);
        bytes.map_err(|source| Error::Read {
            path: self.path.join(name),
            source,
        })
    }

    fn entries(&self) -> Result<Vec<Entry>, Error> {
        document::parse("manifest", &self.object, &self.document(MANIFEST)?)
    }

    fn choose<'e>(&self, entries: &'e [Entry], wanted: &Wanted) -> Result<&'e Entry, Error> {
        let found: Vec<&Entry> = match wanted {
            Wanted::Only => entries.iter().collect(),
            Wanted::Name(name) => names::matching(entries, Entry::names, name),
            Wanted::Place(place) => entries.get(*place).into_iter().collect(),
        };
        let all_names = || {
            let names = entries.iter().enumerate().map(|(place, entry)| {
                let name = entry.names().first().map(|name| (*name).to_owned());
                name.unwrap_or_else(|| format!("@{place}"))
            });
            names.collect()
        };
        match found.as_slice() {
            [one] => Ok(one),
            [] => Err(Error::NoSuchImage {
                what: WHAT,
                path: self.path.to_owned(),
                wanted: match wanted {
                    Wanted::Only => "any image".to_owned(),
                    Wanted::Name(name) => name.clone(),
                    Wanted::Place(place) => format!("@{place}"),
                },
                tags: all_names(),
            }),
            _ => Err(Error::Ambiguous {
                what: WHAT,
                path: self.path.to_owned(),
                tags: all_names(),
            }),
        }
    }

    fn layers(&self, entry: &Entry, diff_ids: &[String]) -> Result<Layers, Error> {
        let names: Vec<&String> = entry.layers.iter().flatten().collect();
        if names.len() != diff_ids.len() {
            let (layers, diff_ids) = (names.len(), diff_ids.len());
            let reason = format!("{layers} layers, but {diff_ids} diff_ids in the config");
            return Err(self.malformed(reason));
        }
        let (mut members, mut descriptors) = (BTreeMap::new(), Vec::new());
        for (name, diff_id) in names.into_iter().zip(diff_ids) {
            let diff_id = diff_id.parse();
            let diff_id = diff_id.map_err(|error| self.malformed(format!("diff_id: {error}")))?;
            let member = self.member(name)?;
            let (media_type, digest) = self.identify(name, &member, diff_id)?;
            descriptors.push(document::descriptor(media_type, digest, member.len())?);
            members.insert(digest, member);
        }
        Ok((members, descriptors))
    }

    /// Type and digest of a layer as it is stored, by its first bytes. Whoever reads it checks
    /// both digests, so what the archive claims of them may be taken here.
    fn identify(
        &self,
        name: &str,
        member: &Member,
        diff_id: Digest,
    ) -> Result<(MediaType, Digest), Error> {
        let read = |source| Error::Read {
            path: self.path.join(name),
            source,
        };
        let mut head = Vec::new();
        let mut start = member.clone().take(4);
        start.read_to_end(&mut head).map_err(read)?;
        let media_type = match head.as_slice() {
            [0x1f, 0x8b, ..] => MediaType::ImageLayerGzip,
            [0x28, 0xb5, 0x2f, 0xfd] => MediaType::ImageLayerZstd,
            // Not compressed: what its diffID names are these very bytes.
            _ => return Ok((MediaType::ImageLayer, diff_id)),
        };
        let named = name.strip_prefix("blobs/sha256/");
        if let Some(digest) = named.and_then(|hex| format!("sha256:{hex}").parse().ok()) {
            return Ok((media_type, digest));
        }
        let mut hash = sha2::Sha256::new();
        let mut reader = BufReader::with_capacity(1 << 16, member.clone());
        loop {
            let piece = reader.fill_buf().map_err(read)?;
            if piece.is_empty() {
                break;
            }
            hash.update(piece);
            let len = piece.len();
            reader.consume(len);
        }
        let digest: [u8; 32] = hash.finalize().into();
        Ok((media_type, digest.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let parse = |text: &str| text.parse::<DockerArchiveReference>();
        assert_eq!(parse("a.tar").unwrap().wanted, Wanted::Only);
        let named = parse("a/b.tar:docker.io/c:d").unwrap();
        assert_eq!(named.file, Path::new("a/b.tar"));
        assert_eq!(named.wanted, Wanted::Name("docker.io/c:d".to_owned()));
        assert_eq!(parse("a.tar:@2").unwrap().wanted, Wanted::Place(2));
        for bad in ["", ":a", "a:", "a:@", "a:@-1", "a:@x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
