//! The files of one store (containers/storage `images.go`, `layers.go`, `store.go`):
//!
//! ```text
//! ROOT/DRIVER-images/images.json      what there is, by ID and names
//! ROOT/DRIVER-images/ID/KEY           manifests and config; a KEY with odd bytes in base64
//! ROOT/DRIVER-layers/layers.json      layers with their parents and digests
//! ROOT/DRIVER-layers/ID.tar-split.gz  a layer's tar without the files' contents
//! ROOT/overlay/ID/diff, ROOT/vfs/dir/ID   the files
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::document;
use super::tar_split::TarSplit;
use super::{Digest, Error, LAYER, LayerDescriptor, WHAT};

/// `images.json` and `layers.json` are read up to this size: some 50,000 layers.
const MAX_JSON: u64 = 64 << 20;
/// The drivers that keep a layer's files below one folder.
const DRIVERS: [&str; 2] = ["overlay", "vfs"];

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    /// The driver that the user named; else the one whose files are there.
    pub(super) driver: Option<String>,
}

/// An image, as `images.json` has it.
#[derive(Debug, Deserialize)]
pub(super) struct StoredImage {
    pub(super) id: String,
    #[serde(default)]
    pub(super) names: Vec<String>,
    /// The ID of the topmost layer.
    pub(super) layer: Option<String>,
    #[serde(default, rename = "big-data-digests")]
    digests: BTreeMap<String, String>,
}

impl StoredImage {
    /// True when `digest` is a manifest's or an index' of this image.
    pub(super) fn has_manifest(&self, digest: &Digest) -> bool {
        let digest = digest.to_string();
        let mut all = self.digests.iter();
        all.any(|(key, value)| key.starts_with("manifest") && *value == digest)
    }
}

/// A layer, as `layers.json` has it.
#[derive(Debug, Deserialize)]
pub(super) struct StoredLayer {
    pub(super) id: String,
    pub(super) parent: Option<String>,
    /// The diffID.
    #[serde(rename = "diff-digest")]
    pub(super) diff_digest: Option<String>,
    /// Bytes of the tar, known where the diffID is.
    #[serde(rename = "diff-size")]
    diff_size: Option<i64>,
}

/// A store, its lists read.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    driver: String,
    images: Vec<StoredImage>,
    layers: BTreeMap<String, StoredLayer>,
}

impl Store {
    /// The store at `place`, if there is one.
    pub(super) fn open(place: &Place) -> Result<Option<Self>, Error> {
        let Some(driver) = driver(place)? else {
            return Ok(None);
        };
        let root = place.root.clone();
        let images = list(&root.join(format!("{driver}-images/images.json")))?;
        let layers: Vec<StoredLayer> = list(&root.join(format!("{driver}-layers/layers.json")))?;
        let layers = layers.into_iter();
        Ok(Some(Self {
            root,
            driver,
            images,
            layers: layers.map(|layer| (layer.id.clone(), layer)).collect(),
        }))
    }

    pub(super) fn images(&self) -> &[StoredImage] {
        &self.images
    }

    pub(super) fn layers(&self) -> &BTreeMap<String, StoredLayer> {
        &self.layers
    }

    pub(super) fn layer(&self, id: &str) -> Option<&StoredLayer> {
        self.layers.get(id)
    }

    /// The file of the document `digest` of an image.
    pub(super) fn big_data(&self, image: &StoredImage, digest: &Digest) -> Option<PathBuf> {
        let digest = digest.to_string();
        let mut found = image.digests.iter().filter(|(_, value)| **value == digest);
        found.next().map(|(key, _)| self.item(image, key))
    }

    fn item(&self, image: &StoredImage, key: &str) -> PathBuf {
        let folder = self.root.join(format!("{}-images", self.driver));
        folder.join(&image.id).join(base_name(key))
    }

    /// The image's manifest, or the manifest or index `digest` of it, with its path.
    pub(super) fn manifest(
        &self,
        image: &StoredImage,
        digest: Option<&Digest>,
    ) -> Result<(String, Vec<u8>), Error> {
        let named = digest.and_then(|digest| self.big_data(image, digest));
        let path = named.unwrap_or_else(|| self.item(image, "manifest"));
        let bytes = File::open(&path).and_then(document::read_bounded);
        match bytes {
            Ok(bytes) => Ok((path.display().to_string(), bytes)),
            Err(source) => Err(Error::Stored { path, source }),
        }
    }

    /// The layer as it is read.
    pub(super) fn descriptor(
        &self,
        layer: &StoredLayer,
        diff_id: Digest,
    ) -> Result<LayerDescriptor, Error> {
        let fail = |reason: String| Error::Stored {
            path: self.root.clone(),
            source: io::Error::new(io::ErrorKind::InvalidData, reason),
        };
        let own = layer.diff_digest.as_deref().unwrap_or("unknown");
        if own != diff_id.to_string() {
            return Err(fail(format!("the diffID of layer {} is {own}", layer.id)));
        }
        let size = layer.diff_size.and_then(|size| u64::try_from(size).ok());
        let size =
            size.ok_or_else(|| fail(format!("the size of layer {} is unknown", layer.id)))?;
        Ok(LayerDescriptor {
            digest: diff_id,
            size,
            media_type: LAYER.to_owned(),
            diff_id,
            urls: Vec::new(),
        })
    }

    /// The layer's tar, put together as it is read.
    pub(super) fn open_layer(&self, layer: &StoredLayer) -> Result<TarSplit, Error> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Stored { path, source }
        };
        let folder = self.root.join(format!("{}-layers", self.driver));
        let split = folder.join(format!("{}.tar-split.gz", layer.id));
        let lines = File::open(&split).map_err(fail(&split))?;
        let files = match self.driver.as_str() {
            "vfs" => self.root.join("vfs/dir").join(&layer.id),
            driver => self.root.join(driver).join(&layer.id).join("diff"),
        };
        let lines = flate2::bufread::MultiGzDecoder::new(BufReader::new(lines));
        TarSplit::new(Box::new(lines), &files).map_err(fail(&files))
    }
}

/// The driver of the store at `place`; `None` where there is no store.
fn driver(place: &Place) -> Result<Option<String>, Error> {
    let has = |driver: &str| {
        let path = place.root.join(format!("{driver}-images"));
        path.try_exists()
            .map_err(|source| Error::Stored { path, source })
    };
    // overlay2 is overlay's other name.
    let named = place.driver.as_deref().map(|name| match name {
        "overlay2" => "overlay",
        name => name,
    });
    if let Some(named) = named
        && has(named)?
    {
        if DRIVERS.contains(&named) {
            return Ok(Some(named.to_owned()));
        }
        return Err(Error::NotA {
            what: WHAT,
            path: place.root.clone(),
            reason: format!("its driver is {named}, and only overlay and vfs can be read"),
        });
    }
    for driver in DRIVERS {
        if has(driver)? {
            return Ok(Some(driver.to_owned()));
        }
    }
    Ok(None)
}

/// A JSON list; an empty one where there is no file yet.
fn list<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Error> {
    let read = |source| Error::Stored {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_JSON).read_to_end(&mut bytes).map_err(read)?;
    document::parse("list", &path.display().to_string(), &bytes)
}

/// The file name of a key (`makeBigDataBaseName` of `store.go`).
fn base_name(key: &str) -> String {
    let plain = |byte: u8| byte == b'.' || byte.is_ascii_digit() || byte.is_ascii_lowercase();
    match key.bytes().all(plain) {
        true => key.to_owned(),
        false => format!("={}", STANDARD.encode(key)),
    }
}
