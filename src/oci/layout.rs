//! Images in an OCI image layout: `oci-layout`, `index.json` and `blobs/` (image-spec
//! `image-layout.md`), in a folder or in a tar.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use oci_spec::image::{Descriptor, ImageIndex};

use super::archive::Archives;
use super::document::{self, Documents};
use super::signature::Signatures;
use super::{Digest, Error, Image, LayerDescriptor, Platform, Source, image, names};

/// What messages call the one and the other.
pub(super) const FOLDER: &str = "OCI layout";
pub(super) const ARCHIVE: &str = "OCI archive";
/// The annotation that carries a layout's tags (image-spec `annotations.md`).
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotations that carry a layout's tags, and the full names by which containerd and Docker
/// save images.
const NAMES: [&str; 2] = [REF_NAME, "io.containerd.image.name"];

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

/// `FILE`, `FILE:NAME` or `FILE@sha256:…`: as skopeo has it, the file's name ends at the first
/// colon, for a name may have colons and slashes (`podman save` keeps `docker.io/library/a:b`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveReference {
    file: PathBuf,
    wanted: Wanted,
}

impl FromStr for ArchiveReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let error = |reason| Error::Reference {
            reference: text.to_owned(),
            reason,
        };
        let (file, wanted) = match (text.split_once(':'), text.split_once("@sha256:")) {
            (Some((file, _)), Some((before, hex))) if before.len() < file.len() => {
                let digest = format!("sha256:{hex}").parse();
                let digest = digest.map_err(|_| error("not a sha256 digest after @"))?;
                (before, Wanted::Digest(digest))
            }
            (Some((_, "")), _) => return Err(error("empty tag")),
            (Some((file, name)), _) => (file, Wanted::Tag(name.to_owned())),
            (None, _) => (text, Wanted::Only),
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

/// Where a layout's files lie.
#[derive(Clone, Debug)]
enum Place {
    Folder(PathBuf),
    Archive(PathBuf, Arc<Archives>),
}

impl Place {
    fn what(&self) -> &'static str {
        match self {
            Self::Folder(_) => FOLDER,
            Self::Archive(..) => ARCHIVE,
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Archive(path, _) => path,
        }
    }

    /// A file of the layout; `None` where it is not there.
    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send>>, Error> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                match File::open(&path) {
                    Ok(file) => Ok(Some(Box::new(file))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(Error::Read { path, source }),
                }
            }
            Self::Archive(path, archives) => {
                let archive = archives.open(ARCHIVE, path)?;
                let member = archive.member(name);
                let member = member.map_err(|refused| refused.of(ARCHIVE, path))?;
                Ok(member.map(|member| Box::new(member) as _))
            }
        }
    }
}

/// One image of a layout.
#[derive(Clone, Debug)]
pub struct LayoutSource {
    place: Place,
    wanted: Wanted,
}

impl LayoutSource {
    /// The image that `reference` names in a folder; nothing is read yet.
    #[must_use]
    pub fn new(reference: LayoutReference) -> Self {
        Self {
            place: Place::Folder(reference.folder),
            wanted: reference.wanted,
        }
    }

    /// The image that `reference` names in a tar; nothing is read yet.
    pub(super) fn archive(reference: ArchiveReference, archives: Arc<Archives>) -> Self {
        Self {
            place: Place::Archive(reference.file, archives),
            wanted: reference.wanted,
        }
    }

    pub(super) fn index(&self) -> Result<ImageIndex, Error> {
        let missing = |name: &str| Error::NotA {
            what: self.place.what(),
            path: self.place.path().to_owned(),
            reason: format!("no file {name} in it"),
        };
        if self.place.open("oci-layout")?.is_none() {
            return Err(missing("oci-layout"));
        }
        let file = self.place.open("index.json")?;
        let file = file.ok_or_else(|| missing("index.json"))?;
        let path = self.place.path().join("index.json");
        let bytes = document::read_bounded(file).map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })?;
        document::parse("index", &path.display().to_string(), &bytes)
    }

    /// The descriptor that the reference names; of several that differ in their platform alone,
    /// the one that serves `platform` best.
    fn choose(&self, index: &ImageIndex, platform: &Platform) -> Result<Descriptor, Error> {
        let entries = index.manifests();
        let (found, wanted) = match &self.wanted {
            Wanted::Tag(tag) => (names::matching(entries, names_of, tag), tag.clone()),
            Wanted::Digest(digest) => {
                let digest = digest.to_string();
                let is_it = |one: &&Descriptor| one.digest().to_string() == digest;
                let found = entries.iter().find(is_it).into_iter().collect();
                (found, digest)
            }
            Wanted::Only => (entries.iter().collect(), "any image".to_owned()),
        };
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(Error::NoSuchImage {
                what: self.place.what(),
                path: self.place.path().to_owned(),
                wanted,
                tags: tags(entries),
            }),
            several => self.by_platform(several, platform),
        }
    }

    fn by_platform(&self, several: &[&Descriptor], wanted: &Platform) -> Result<Descriptor, Error> {
        let ambiguous = || Error::Ambiguous {
            what: self.place.what(),
            path: self.place.path().to_owned(),
            tags: tags(several.iter().copied()),
        };
        let platforms = several.iter().map(|one| image::named_platform(one));
        let platforms: Option<Vec<_>> = platforms.collect();
        let platforms = platforms.ok_or_else(ambiguous)?;
        let alike = |two: &[&Descriptor]| matches!(two, [a, b] if names_of(a) == names_of(b));
        let distinct: BTreeSet<_> = platforms.iter().collect();
        if !several.windows(2).all(alike) || distinct.len() < platforms.len() {
            return Err(ambiguous());
        }
        let ranked = several.iter().zip(&platforms);
        let best = ranked
            .filter_map(|(one, named)| Some((wanted.rank(named)?, *one)))
            .min_by_key(|(rank, _)| *rank);
        match best {
            Some((_, one)) => Ok(one.clone()),
            None => Err(Error::Platform {
                object: format!("{} {}", self.place.what(), self.place.path().display()),
                platform: wanted.to_string(),
                found: platforms.iter().map(Platform::to_string).collect(),
            }),
        }
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Box<dyn Read + Send>>, Error> {
        self.place.open(&format!("blobs/sha256/{}", digest.hex()))
    }
}

impl Documents for LayoutSource {
    fn read(&self, what: &'static str, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let digest = document::digest(what, descriptor)?;
        let bad = |reason: String| Error::Blob {
            what,
            digest,
            reason,
        };
        let blob = self.blob(&digest)?;
        let blob = blob.ok_or_else(|| bad("it is not there".to_owned()))?;
        document::read_bounded(blob).map_err(|error| bad(error.to_string()))
    }
}

impl Source for LayoutSource {
    fn image(&self, platform: &Platform) -> Result<Image, Error> {
        let descriptor = self.choose(&self.index()?, platform)?;
        image::image(self, &descriptor, platform)
    }

    fn open(&self, layer: &LayerDescriptor) -> io::Result<Box<dyn Read + Send>> {
        let blob = self.blob(&layer.digest).map_err(io::Error::other)?;
        blob.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it is not there"))
    }

    fn signatures(&self) -> Box<dyn Signatures + '_> {
        Box::new(self.clone())
    }
}

pub(super) fn tag(descriptor: &Descriptor) -> Option<&String> {
    descriptor.annotations().as_ref()?.get(REF_NAME)
}

fn names_of(descriptor: &Descriptor) -> Vec<&str> {
    let Some(annotations) = descriptor.annotations() else {
        return Vec::new();
    };
    let names = NAMES.iter().filter_map(|name| annotations.get(*name));
    names.map(String::as_str).collect()
}

fn tags<'a>(entries: impl IntoIterator<Item = &'a Descriptor>) -> Vec<String> {
    let first = |one| names_of(one).first().map(|name| (*name).to_owned());
    let mut tags: Vec<_> = entries.into_iter().filter_map(first).collect();
    tags.sort();
    tags.dedup();
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

    #[test]
    fn references_into_archives() {
        let parse = |text: &str| text.parse::<ArchiveReference>();
        assert_eq!(parse("a/b.tar").unwrap().wanted, Wanted::Only);
        let named = parse("a/b.tar:docker.io/library/c:d").unwrap();
        assert_eq!(named.file, Path::new("a/b.tar"));
        assert_eq!(
            named.wanted,
            Wanted::Tag("docker.io/library/c:d".to_owned())
        );
        let digest = Digest::of(b"x");
        let by_digest = parse(&format!("a@b.tar@{digest}"));
        assert!(by_digest.is_ok_and(|found| found.wanted == Wanted::Digest(digest)));
        for bad in ["", ":x", "a:", "a@sha256:12", "@sha256:12"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
