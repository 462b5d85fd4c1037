//! A bundle: one file with everything that a build needs where there is no network. It is an OCI
//! archive (an image layout in a tar), so other tools read it too, with three things more in it:
//! the lock, the manifests, and the base among the images.
//!
//! Same contents, same bytes: members in a fixed order, no times, no owners.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::Digest as _;

use super::layout::REF_NAME;
use super::{Digest, Error, Image, LayerDescriptor, Lock, LockError, Platform, Source};

/// The lock's name in a bundle.
const LOCK_MEMBER: &str = "i2kit.lock";
/// The manifests' folder in a bundle.
const MANIFESTS_FOLDER: &str = "manifests/";
/// The name by which a bundle's index knows the base.
pub const BASE_NAME: &str = "i2kit-base";
/// The annotation by which containerd names images that it imports.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// What goes into a bundle.
pub struct Bundle<'a> {
    /// What the names stand for.
    pub lock: &'a Lock,
    /// The manifests, in their order.
    pub manifests: Vec<&'a [u8]>,
    /// The images, the base among them.
    pub images: Vec<BundledImage>,
}

/// An image of a bundle.
pub struct BundledImage {
    /// Its name in the manifest, or [`BASE_NAME`].
    pub name: String,
    /// Its full reference, where it has one.
    pub reference: Option<String>,
    /// What it is for.
    pub platform: Platform,
    /// Its documents and layers.
    pub image: Image,
    /// Where its layers are read.
    pub source: Arc<dyn Source>,
}

/// What a bundle says of itself.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its lock.
    pub lock: Lock,
    /// Its manifests, in their order.
    pub manifests: Vec<Vec<u8>>,
}

/// Answers the bytes of the archive's member of that name, if there is one.
pub(super) type Member<'a> = dyn Fn(&str) -> Result<Option<Vec<u8>>, Error> + 'a;

/// Reads lock and manifests with `member`, which answers a member's bytes by its name.
///
/// # Errors
/// What `member` answers; [`Error::NotA`] where there is no lock.
pub(super) fn open(path: &std::path::Path, member: &Member<'_>) -> Result<Opened, Error> {
    let not = |reason: String| Error::NotA {
        what: "bundle",
        path: path.to_owned(),
        reason,
    };
    let lock = member(LOCK_MEMBER)?.ok_or_else(|| not(format!("it has no {LOCK_MEMBER}")))?;
    let lock = String::from_utf8(lock).map_err(|_| not(format!("{LOCK_MEMBER} is no text")))?;
    let lock = lock.parse();
    let lock = lock.map_err(|error: LockError| not(format!("{LOCK_MEMBER}: {error}")))?;
    let mut manifests = Vec::new();
    while let Some(manifest) = member(&manifest_member(manifests.len()))? {
        manifests.push(manifest);
    }
    Ok(Opened { lock, manifests })
}

/// The name of the manifest of that number.
fn manifest_member(number: usize) -> String {
    format!("{MANIFESTS_FOLDER}{number:04}.yaml")
}

/// A bundle that was not written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A layer cannot be read.
    #[error("read layer {digest} of {image}: {source}")]
    Layer {
        /// The image's name.
        image: String,
        /// Its compressed bytes' digest.
        digest: Digest,
        /// The source's answer.
        source: io::Error,
    },
    /// A layer's bytes are not those that its digest names.
    #[error("check layer {digest} of {image}: {reason}")]
    Altered {
        /// The image's name.
        image: String,
        /// The digest that the manifest names.
        digest: Digest,
        /// Length or digest of what came.
        reason: String,
    },
    /// The bundle's file cannot be written.
    #[error("write bundle: {0}")]
    Write(io::Error),
}

/// A blob of a bundle.
enum Blob<'a> {
    Document(&'a [u8]),
    Layer(&'a BundledImage, &'a LayerDescriptor),
}

impl Bundle<'_> {
    /// Writes the bundle; `progress` hears of bytes as they are written.
    ///
    /// # Errors
    /// [`BundleError`]; what was written is then worth nothing.
    pub fn write(&self, out: impl Write, progress: &dyn Fn(u64)) -> Result<(), BundleError> {
        let mut tar = Writer { out, progress };
        let index = serde_json::to_vec(&self.index()).map_err(|error| {
            BundleError::Write(io::Error::other(format!("index.json: {error}")))
        })?;
        let lock = self.lock.render();
        tar.member("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        tar.member("index.json", &index)?;
        tar.member(LOCK_MEMBER, lock.as_bytes())?;
        for (number, manifest) in self.manifests.iter().enumerate() {
            tar.member(&manifest_member(number), manifest)?;
        }
        for (digest, blob) in self.blobs() {
            let path = format!("blobs/sha256/{}", digest.hex());
            match blob {
                Blob::Document(bytes) => tar.member(&path, bytes)?,
                Blob::Layer(image, layer) => tar.layer(&path, image, layer)?,
            }
        }
        tar.end()
    }

    /// Bytes of the layers, which are most of a bundle.
    #[must_use]
    pub fn layers_len(&self) -> u64 {
        let blobs = self.blobs();
        let sizes = blobs.values().map(|blob| match blob {
            Blob::Document(_) => 0,
            Blob::Layer(_, layer) => layer.size,
        });
        sizes.sum()
    }

    /// Each blob once, by its digest.
    fn blobs(&self) -> BTreeMap<Digest, Blob<'_>> {
        let mut blobs = BTreeMap::new();
        for one in &self.images {
            for layer in &one.image.layers {
                blobs.insert(layer.digest, Blob::Layer(one, layer));
            }
            for document in [&one.image.manifest, &one.image.config_document] {
                blobs.insert(document.digest, Blob::Document(&document.bytes));
            }
        }
        blobs
    }

    fn index(&self) -> Value {
        let manifests: Vec<Value> = self.images.iter().map(descriptor).collect();
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        })
    }
}

fn descriptor(one: &BundledImage) -> Value {
    let mut annotations = json!({ REF_NAME: one.name });
    let mut platform = json!({
        "os": one.platform.os,
        "architecture": one.platform.architecture,
    });
    if let (Some(map), Some(reference)) = (annotations.as_object_mut(), &one.reference) {
        map.insert(CONTAINERD_NAME.to_owned(), reference.clone().into());
    }
    if let Some(map) = platform.as_object_mut()
        && !one.platform.variant.is_empty()
    {
        map.insert("variant".to_owned(), one.platform.variant.clone().into());
    }
    json!({
        "mediaType": one.image.manifest.media_type,
        "digest": one.image.manifest.digest.to_string(),
        "size": one.image.manifest.bytes.len(),
        "annotations": annotations,
        "platform": platform,
    })
}

struct Writer<'p, W> {
    out: W,
    progress: &'p dyn Fn(u64),
}

impl<W: Write> Writer<'_, W> {
    fn member(&mut self, path: &str, bytes: &[u8]) -> Result<(), BundleError> {
        self.header(path, bytes.len() as u64)?;
        self.out.write_all(bytes).map_err(BundleError::Write)?;
        self.pad(bytes.len() as u64)
    }

    /// Copies a layer, checking it on the way.
    fn layer(
        &mut self,
        path: &str,
        image: &BundledImage,
        layer: &LayerDescriptor,
    ) -> Result<(), BundleError> {
        let read = |source| BundleError::Layer {
            image: image.name.clone(),
            digest: layer.digest,
            source,
        };
        let altered = |reason| BundleError::Altered {
            image: image.name.clone(),
            digest: layer.digest,
            reason,
        };
        self.header(path, layer.size)?;
        // One byte more would show that the source has more than the manifest says.
        let mut source = image.source.open(layer).map_err(read)?.take(layer.size + 1);
        let mut hash = sha2::Sha256::new();
        let mut buffer = vec![0; 256 * 1024];
        let mut len = 0;
        loop {
            let got = source.read(&mut buffer).map_err(read)?;
            let Some(bytes) = buffer.get(..got).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            len += got as u64;
            if len > layer.size {
                break;
            }
            hash.update(bytes);
            self.out.write_all(bytes).map_err(BundleError::Write)?;
            (self.progress)(got as u64);
        }
        if len != layer.size {
            let expected = layer.size;
            return Err(altered(format!(
                "{} bytes where the manifest says {expected}",
                if len > expected {
                    "more".to_owned()
                } else {
                    len.to_string()
                }
            )));
        }
        let found = Digest::from(<[u8; 32]>::from(hash.finalize()));
        if found != layer.digest {
            return Err(altered(format!("its bytes are {found}")));
        }
        self.pad(len)
    }

    fn header(&mut self, path: &str, size: u64) -> Result<(), BundleError> {
        let mut header = tar::Header::new_gnu();
        header.set_path(path).map_err(BundleError::Write)?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        self.out
            .write_all(header.as_bytes())
            .map_err(BundleError::Write)
    }

    fn pad(&mut self, len: u64) -> Result<(), BundleError> {
        let rest = usize::try_from(len.next_multiple_of(512) - len).unwrap_or(0);
        let zeros = [0; 512];
        let padding = zeros.get(..rest).unwrap_or_default();
        self.out.write_all(padding).map_err(BundleError::Write)
    }

    fn end(mut self) -> Result<(), BundleError> {
        self.out.write_all(&[0; 1024]).map_err(BundleError::Write)?;
        self.out.flush().map_err(BundleError::Write)
    }
}
