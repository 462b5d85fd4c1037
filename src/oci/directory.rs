//! Images in skopeo's `dir:` folders: `manifest.json`, each manifest of an index as
//! `HEX.manifest.json`, every other blob as `HEX` (containers-transports(5)). Signatures beside
//! them are not read.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use oci_spec::image::Descriptor;

use super::document::{self, Documents};
use super::{Digest, Error, Image, LayerDescriptor, Platform, Source, image};

/// What messages call it.
pub(super) const WHAT: &str = "image folder";
/// How the file `version` begins.
const VERSION: &str = "Directory Transport Version: 1.";

/// The image of such a folder.
#[derive(Clone, Debug)]
pub struct DirectorySource {
    folder: PathBuf,
}

impl DirectorySource {
    /// The image in `folder`; nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Reference`] for an empty name.
    pub fn new(folder: &str) -> Result<Self, Error> {
        if folder.is_empty() {
            return Err(Error::Reference {
                reference: folder.to_owned(),
                reason: "no folder",
            });
        }
        Ok(Self {
            folder: folder.into(),
        })
    }

    /// The manifest or index that the folder is about.
    fn top(&self) -> Result<Vec<u8>, Error> {
        let not = |reason: String| Error::NotA {
            what: WHAT,
            path: self.folder.clone(),
            reason,
        };
        // Early writers left `version` out.
        if let Ok(file) = File::open(self.folder.join("version")) {
            let mut version = String::new();
            let read = file.take(100).read_to_string(&mut version);
            if read.is_err() || !version.starts_with(VERSION) {
                return Err(not(format!("its version is {:?}", version.trim_end())));
            }
        }
        let file = File::open(self.folder.join("manifest.json"));
        let bytes = file.and_then(document::read_bounded);
        bytes.map_err(|error| not(format!("manifest.json: {error}")))
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }
}

/// A folder's documents, its top one read.
struct Folder<'a> {
    source: &'a DirectorySource,
    top: Vec<u8>,
}

impl Documents for Folder<'_> {
    fn read(&self, what: &'static str, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let digest = document::digest(what, descriptor)?;
        if digest == Digest::of(&self.top) {
            return Ok(self.top.clone());
        }
        let mut path = self.source.blob(&digest);
        if what == "manifest" {
            path.set_extension("manifest.json");
        }
        let bytes = File::open(path).and_then(document::read_bounded);
        bytes.map_err(|error| Error::Blob {
            what,
            digest,
            reason: error.to_string(),
        })
    }
}

impl Source for DirectorySource {
    fn image(&self, platform: &Platform) -> Result<Image, Error> {
        let top = self.top()?;
        let object = self.folder.join("manifest.json").display().to_string();
        let descriptor = document::describe(&object, &top)?;
        let folder = Folder { source: self, top };
        image::image(&folder, &descriptor, platform)
    }

    fn open(&self, layer: &LayerDescriptor) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(self.blob(&layer.digest))?))
    }
}
