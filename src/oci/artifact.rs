//! Artifacts that are no images: one manifest under a tag, one blob behind it. They lie in a
//! registry's repository or in an OCI layout.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, ImageManifest};
use rustix::fs::FlockOperation;
use serde_json::{Value, json};

use super::document::{self, MAX_DOCUMENT};
use super::layout::REF_NAME;
use super::registry::{BlobSpec, Client, Repository, Upload, Wanted};
use super::{Digest, Error};

/// The bytes of a config that says nothing (image-spec `manifest.md`).
const EMPTY: &[u8] = b"{}";

/// Opens a blob at its first byte, for each try.
pub type OpenBlob<'a> = dyn Fn() -> io::Result<Box<dyn Read + Send>> + 'a;

/// A place with artifacts, by tag.
pub trait ArtifactStore: Send + Sync {
    /// The artifact with that tag; None where there is none.
    ///
    /// # Errors
    /// [`Error`] when that can't be found out, or its manifest is none.
    fn find(&self, tag: &str) -> Result<Option<Artifact>, Error>;

    /// The artifact's blob as it comes: the reader must check it.
    ///
    /// # Errors
    /// [`Error`] when it is not to be had.
    fn open(&self, artifact: &Artifact) -> Result<Box<dyn Read + Send>, Error>;

    /// Puts a blob, unless it is there.
    ///
    /// # Errors
    /// [`Error`] when the place does not take it.
    fn put_blob(&self, digest: &Digest, len: u64, open: &OpenBlob<'_>) -> Result<(), Error>;

    /// Puts a manifest whose blobs are there, and the empty config, under a tag.
    ///
    /// # Errors
    /// [`Error`] when the place does not take it.
    fn put_manifest(&self, tag: &str, manifest: &[u8]) -> Result<(), Error>;
}

/// A manifest with one blob.
#[derive(Clone, Debug)]
pub struct Artifact {
    manifest: ImageManifest,
    blob: Descriptor,
}

impl Artifact {
    fn parse(object: &str, bytes: &[u8]) -> Result<Self, Error> {
        let manifest: ImageManifest = document::parse("manifest", object, bytes)?;
        let [blob] = manifest.layers().as_slice() else {
            return Err(Error::Malformed {
                what: "manifest",
                object: object.to_owned(),
                reason: format!("{} blobs where one should be", manifest.layers().len()),
            });
        };
        Ok(Self {
            blob: blob.clone(),
            manifest,
        })
    }

    /// What the manifest says under that name.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        let annotations = self.manifest.annotations().as_ref()?;
        annotations.get(name).map(String::as_str)
    }
}

/// The descriptor of the empty config.
#[must_use]
pub fn empty_config() -> Value {
    json!({
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": Digest::of(EMPTY).to_string(),
        "size": EMPTY.len(),
    })
}

/// A repository of a registry.
pub struct RegistryStore {
    client: Client,
    repository: Repository,
}

impl RegistryStore {
    pub(super) fn new(client: Client, repository: Repository) -> Self {
        Self { client, repository }
    }
}

impl ArtifactStore for RegistryStore {
    fn find(&self, tag: &str) -> Result<Option<Artifact>, Error> {
        match self
            .client
            .manifest(&self.repository, &Wanted::Tag(tag.to_owned()))
        {
            Ok(found) => Artifact::parse(&found.digest.to_string(), &found.bytes).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open(&self, artifact: &Artifact) -> Result<Box<dyn Read + Send>, Error> {
        let blob = BlobSpec {
            digest: document::digest("manifest", &artifact.blob)?,
            size: Some(artifact.blob.size()),
            urls: Vec::new(),
        };
        Ok(Box::new(self.client.blob(&self.repository, &blob)?))
    }

    fn put_blob(&self, digest: &Digest, len: u64, open: &OpenBlob<'_>) -> Result<(), Error> {
        let upload = Upload {
            digest: *digest,
            size: len,
            open,
        };
        self.client.push_blob(&self.repository, &upload)?;
        Ok(())
    }

    fn put_manifest(&self, tag: &str, manifest: &[u8]) -> Result<(), Error> {
        let empty = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(EMPTY)) };
        self.put_blob(&Digest::of(EMPTY), EMPTY.len() as u64, &empty)?;
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let wanted = Wanted::Tag(tag.to_owned());
        self.client
            .push_manifest(&self.repository, &wanted, media_type, manifest)?;
        Ok(())
    }
}

/// An OCI layout, made when something is put. Writers of one layout take turns at its index.
#[derive(Debug)]
pub struct LayoutStore {
    folder: PathBuf,
}

impl LayoutStore {
    /// The layout in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.hex())
    }

    fn index(&self) -> Result<Value, Error> {
        let path = self.folder.join("index.json");
        match File::open(&path).and_then(document::read_bounded) {
            Ok(bytes) => document::parse("index", &path.display().to_string(), &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [],
            })),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    fn write(&self, path: &Path, mut bytes: impl Read) -> Result<u64, Error> {
        let context = |source| Error::Write {
            path: path.to_owned(),
            source,
        };
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(context)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(context)?;
        let len = io::copy(&mut bytes, &mut file).map_err(context)?;
        file.flush().map_err(context)?;
        file.as_file().sync_all().map_err(context)?;
        file.persist(path).map_err(|error| context(error.error))?;
        Ok(len)
    }
}

fn is_tagged(descriptor: &Value, tag: &str) -> bool {
    let named = descriptor
        .get("annotations")
        .and_then(|all| all.get(REF_NAME));
    named.and_then(Value::as_str) == Some(tag)
}

impl ArtifactStore for LayoutStore {
    fn find(&self, tag: &str) -> Result<Option<Artifact>, Error> {
        let index = self.index()?;
        let manifests = index.get("manifests").and_then(Value::as_array);
        let found = manifests.and_then(|all| all.iter().find(|one| is_tagged(one, tag)));
        let Some(found) = found else { return Ok(None) };
        let descriptor: Descriptor = document::parse("index", tag, found.to_string().as_bytes())?;
        let digest = document::digest("index", &descriptor)?;
        let path = self.blob(&digest);
        let bytes = File::open(&path).and_then(document::read_bounded);
        let bytes = bytes.map_err(|source| Error::Read { path, source })?;
        let checked = document::checked("manifest", &descriptor, bytes)?;
        Artifact::parse(&digest.to_string(), &checked.bytes).map(Some)
    }

    fn open(&self, artifact: &Artifact) -> Result<Box<dyn Read + Send>, Error> {
        let path = self.blob(&document::digest("manifest", &artifact.blob)?);
        match File::open(&path) {
            Ok(file) => Ok(Box::new(file)),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    fn put_blob(&self, digest: &Digest, len: u64, open: &OpenBlob<'_>) -> Result<(), Error> {
        let path = self.blob(digest);
        if fs::metadata(&path).is_ok_and(|there| there.len() == len) {
            return Ok(());
        }
        let bytes = open().map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })?;
        self.write(&path, bytes).map(drop)
    }

    fn put_manifest(&self, tag: &str, manifest: &[u8]) -> Result<(), Error> {
        if manifest.len() as u64 > MAX_DOCUMENT {
            return Err(Error::Malformed {
                what: "manifest",
                object: tag.to_owned(),
                reason: format!("larger than {MAX_DOCUMENT} bytes"),
            });
        }
        let digest = Digest::of(manifest);
        self.write(&self.blob(&Digest::of(EMPTY)), EMPTY)?;
        self.write(&self.blob(&digest), manifest)?;
        let layout = self.folder.join("oci-layout");
        if !layout.exists() {
            self.write(&layout, &br#"{"imageLayoutVersion":"1.0.0"}"#[..])?;
        }
        let _turn = self.turn()?;
        let mut index = self.index()?;
        if let Some(all) = index.get_mut("manifests").and_then(Value::as_array_mut) {
            all.retain(|one| !is_tagged(one, tag));
            all.push(json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest.to_string(),
                "size": manifest.len(),
                "annotations": { REF_NAME: tag },
            }));
        }
        let text = index.to_string();
        self.write(&self.folder.join("index.json"), text.as_bytes())
            .map(drop)
    }
}

impl LayoutStore {
    /// Waits until nobody else changes the index.
    fn turn(&self) -> Result<File, Error> {
        let path = self.folder.clone();
        let lock = File::open(&path).and_then(|folder| {
            rustix::fs::flock(&folder, FlockOperation::LockExclusive)?;
            Ok(folder)
        });
        lock.map_err(|source| Error::Write { path, source })
    }
}
