//! Converted layers, shared between machines through a registry or a layout.
//!
//! Each is an OCI artifact whose tag is the writer's version and the layer's diffID; its one blob is
//! the packed layer. Whoever may write there can put anything, so an entry is used only when its
//! digest is the one that the lock names, or a trusted key signed it for that layer and writer. Else
//! the layer is converted anew: a poisoned cache costs time, and changes no disk.

use std::io::{self, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::cache::Cache;
use crate::layer::{self, ConvertedLayer, Counting, LayerSpec, UnpackError, unpack_into_cache};
use crate::oci::artifact::{Artifact, ArtifactStore};
use crate::oci::{self, Digest, Lock, SigningKey, VerifyingKey};

/// The artifact's type.
pub const ARTIFACT_TYPE: &str = "application/vnd.i2kit.converted-layer.v1";
/// The packed layer's.
const PACKED_TYPE: &str = "application/vnd.i2kit.converted-layer.v1+zstd";
/// The digest of the converted layer.
const DIGEST: &str = "dev.i2kit.converted.digest";
/// The layer's diffID.
const DIFF_ID: &str = "dev.i2kit.converted.diff-id";
/// The writer's version.
const WRITER: &str = "dev.i2kit.converted.writer";
/// The signature over all three, base64.
const SIGNATURE: &str = "dev.i2kit.converted.signature";

/// Where converted layers may come from, and which are believed.
pub struct SharedCache {
    /// Asked in order.
    pub stores: Vec<Arc<dyn ArtifactStore>>,
    /// What is believed.
    pub trust: Trust,
}

/// Which converted layers are believed.
pub struct Trust {
    /// Those that it names.
    pub lock: Lock,
    /// Those that it signed.
    pub key: Option<VerifyingKey>,
}

/// Where converted layers are put.
pub struct Target {
    /// The place.
    pub store: Arc<dyn ArtifactStore>,
    /// Signs them.
    pub key: Option<SigningKey>,
}

/// Why a converted layer is not shared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place does not answer, or not well.
    #[error("layer {diff_id} in the shared cache: {source}")]
    Store {
        /// The layer's diffID.
        diff_id: String,
        /// The place's answer.
        source: oci::Error,
    },
    /// The entry is there and not to be believed.
    #[error("layer {diff_id} in the shared cache: {reason}")]
    Untrusted {
        /// The layer's diffID.
        diff_id: String,
        /// Why not.
        reason: &'static str,
    },
    /// The entry is not what its digest says.
    #[error("layer {diff_id} in the shared cache: {source}")]
    Unpack {
        /// The layer's diffID.
        diff_id: String,
        /// What is wrong.
        source: UnpackError,
    },
    /// The layer cannot be packed.
    #[error("pack layer {diff_id}: {source}")]
    Pack {
        /// The layer's diffID.
        diff_id: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store { source, .. } => source.hint(),
            _ => None,
        }
    }
}

/// What is signed of a converted layer.
fn statement(diff_id: &str, writer: &str, digest: &Digest) -> Vec<u8> {
    format!("i2kit converted layer\n{writer}\n{diff_id}\n{digest}\n").into_bytes()
}

fn tag(diff_id: &str, writer: &str) -> String {
    let hex = diff_id.strip_prefix("sha256:").unwrap_or(diff_id);
    format!("{writer}-{hex}")
}

impl SharedCache {
    /// The layer, unpacked into the cache; None when nobody has it.
    ///
    /// # Errors
    /// [`Error`] when an entry is there and cannot be used.
    pub fn fetch(
        &self,
        cache: &Cache,
        spec: &LayerSpec,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Option<ConvertedLayer>, Error> {
        let writer = layer::writer(spec.compression);
        for store in &self.stores {
            let context = |source| Error::Store {
                diff_id: spec.diff_id.clone(),
                source,
            };
            let found = store.find(&tag(&spec.diff_id, &writer)).map_err(context)?;
            let Some(artifact) = found else { continue };
            let trusted = self.trust.digest(&artifact, spec, &writer)?;
            let blob = store.open(&artifact).map_err(context)?;
            let blob = Counting::new(blob, progress);
            let layer = unpack_into_cache(cache, spec, blob, &trusted);
            return layer.map(Some).map_err(|source| Error::Unpack {
                diff_id: spec.diff_id.clone(),
                source,
            });
        }
        Ok(None)
    }
}

impl Trust {
    /// The digest that the converted layer must have.
    fn digest(
        &self,
        artifact: &Artifact,
        spec: &LayerSpec,
        writer: &str,
    ) -> Result<[u8; 32], Error> {
        let untrusted = |reason| Error::Untrusted {
            diff_id: spec.diff_id.clone(),
            reason,
        };
        let diff_id = spec.diff_id.parse::<Digest>();
        let diff_id = diff_id.map_err(|_| untrusted("its diffID is no digest"))?;
        if let Some(digest) = self.lock.converted(&diff_id, writer) {
            return Ok(*digest.as_bytes());
        }
        let Some(key) = &self.key else {
            return Err(untrusted("the lock does not name it, and there is no key"));
        };
        let claimed = artifact
            .annotation(DIGEST)
            .and_then(|text| text.parse::<Digest>().ok());
        let claimed = claimed.ok_or_else(|| untrusted("it names no digest"))?;
        let signature = artifact.annotation(SIGNATURE);
        let signature = signature.ok_or_else(|| untrusted("it is not signed"))?;
        if !key.verifies(&statement(&spec.diff_id, writer, &claimed), signature) {
            return Err(untrusted("the key did not sign it"));
        }
        Ok(*claimed.as_bytes())
    }
}

impl Target {
    /// Puts the layers that are not there yet, `jobs` at once.
    ///
    /// # Errors
    /// The first layer's that cannot be put.
    pub fn put(&self, layers: &[&ConvertedLayer], jobs: usize) -> Result<(), Error> {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let work = || {
                while let Some(layer) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    self.one(layer)?;
                }
                Ok(())
            };
            let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .try_for_each(|worker| match worker.join() {
                    Ok(result) => result,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
        })
    }

    fn one(&self, layer: &ConvertedLayer) -> Result<(), Error> {
        let writer = layer::writer(layer.compression);
        let tag = tag(&layer.diff_id, &writer);
        let store = |source| Error::Store {
            diff_id: layer.diff_id.clone(),
            source,
        };
        let pack = |source| Error::Pack {
            diff_id: layer.diff_id.clone(),
            source,
        };
        let digest = Digest::from(layer.digest().map_err(pack)?);
        let signature = self
            .key
            .as_ref()
            .map(|key| key.sign(&statement(&layer.diff_id, &writer, &digest)));
        let there = self.store.find(&tag).map_err(store)?;
        let is_there = there.is_some_and(|there| {
            let is = |name, value: Option<&str>| there.annotation(name) == value;
            is(DIGEST, Some(&digest.to_string())) && is(SIGNATURE, signature.as_deref())
        });
        if is_there {
            return Ok(());
        }
        let mut packed = Packed::of(layer).map_err(pack)?;
        let open = || packed.file.try_clone();
        let blob = self.store.put_blob(&packed.digest, packed.len, &|| {
            let mut file = open()?;
            file.rewind()?;
            Ok(Box::new(file))
        });
        blob.map_err(store)?;
        packed.file.rewind().map_err(pack)?;
        let manifest = manifest(layer, &writer, &digest, signature.as_deref(), &packed);
        self.store.put_manifest(&tag, &manifest).map_err(store)
    }
}

/// A packed layer in an unlinked file.
struct Packed {
    file: std::fs::File,
    digest: Digest,
    len: u64,
}

impl Packed {
    fn of(layer: &ConvertedLayer) -> io::Result<Self> {
        let file = tempfile::tempfile()?;
        let mut out = Hashing {
            inner: io::BufWriter::new(file),
            hash: Sha256::new(),
            len: 0,
        };
        layer.pack(&mut out)?;
        Ok(Self {
            digest: Digest::from(<[u8; 32]>::from(out.hash.finalize())),
            len: out.len,
            file: out.inner.into_inner()?,
        })
    }
}

struct Hashing<W> {
    inner: W,
    hash: Sha256,
    len: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let done = self.inner.write(buf)?;
        self.hash.update(buf.get(..done).unwrap_or_default());
        self.len += done as u64;
        Ok(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The artifact's manifest (image-spec `manifest.md`, Guidelines for Artifact Usage).
fn manifest(
    layer: &ConvertedLayer,
    writer: &str,
    digest: &Digest,
    signature: Option<&str>,
    packed: &Packed,
) -> Vec<u8> {
    let mut annotations = json!({
        DIGEST: digest.to_string(),
        DIFF_ID: layer.diff_id,
        WRITER: writer,
    });
    if let (Some(map), Some(signature)) = (annotations.as_object_mut(), signature) {
        map.insert(SIGNATURE.to_owned(), signature.into());
    }
    let value = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": ARTIFACT_TYPE,
        "config": oci::artifact::empty_config(),
        "layers": [{
            "mediaType": PACKED_TYPE,
            "digest": packed.digest.to_string(),
            "size": packed.len,
        }],
        "annotations": annotations,
    });
    value.to_string().into_bytes()
}
