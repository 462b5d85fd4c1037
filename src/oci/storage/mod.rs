//! Images in a containers storage: what Podman, Buildah, CRI-O and skopeo keep on disk.
//!
//! Layers are unpacked there; beside each lies a `tar-split` file with all bytes of its tar but
//! the files' contents, so the tar is put together again, byte by byte as it was pulled. The
//! store is only read and not locked: its JSON files are replaced whole, and every document and
//! layer is checked against its digest, so what changes meanwhile can end in an error, never in
//! wrong bytes.

mod config;
mod reference;
mod store;
mod tar_split;

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use oci_spec::image::Descriptor;

pub use reference::StorageReference;
pub use tar_split::TarSplit;

use super::document::{self, Documents};
use super::{Digest, Environment, Error, Image, LayerDescriptor, Platform, Source, image, names};
use reference::Wanted;
use store::{Store, StoredImage, StoredLayer};

/// What messages call it.
pub(super) const WHAT: &str = "containers storage";
/// What a layer is once it is put together.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// One image of a containers storage.
#[derive(Debug)]
pub struct StorageSource {
    reference: StorageReference,
    environment: Arc<Environment>,
    stores: Mutex<Option<Arc<Stores>>>,
}

impl StorageSource {
    /// The image that `reference` names; nothing is read yet.
    pub(super) fn new(reference: StorageReference, environment: Arc<Environment>) -> Self {
        Self {
            reference,
            environment,
            stores: Mutex::default(),
        }
    }

    fn stores(&self) -> Result<Arc<Stores>, Error> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stores) = stores.as_ref() {
            return Ok(Arc::clone(stores));
        }
        let read = Stores::open(&self.reference, &self.environment)?;
        Ok(Arc::clone(stores.insert(Arc::new(read))))
    }
}

impl Source for StorageSource {
    fn image(&self, platform: &Platform) -> Result<Image, Error> {
        let stores = self.stores()?;
        let (store, found) = stores.choose(self.reference.wanted())?;
        let (object, bytes) = store.manifest(found, self.reference.wanted().digest())?;
        let descriptor = document::describe(&object, &bytes)?;
        let image = image::image(stores.as_ref(), &descriptor, platform)?;
        stores.unpacked(image)
    }

    fn open(&self, layer: &LayerDescriptor) -> io::Result<Box<dyn Read + Send>> {
        let stores = self.stores().map_err(io::Error::other)?;
        Ok(Box::new(stores.open_layer(layer.diff_id)?))
    }
}

/// The store and those that it builds upon.
#[derive(Debug)]
struct Stores {
    all: Vec<Store>,
    /// The first one's place, for messages.
    path: PathBuf,
}

impl Stores {
    fn open(reference: &StorageReference, environment: &Environment) -> Result<Self, Error> {
        let places = match reference.place() {
            Some(place) => vec![place.clone()],
            None => config::places(environment)?,
        };
        let not = |reason: String| Error::NotA {
            what: WHAT,
            path: places
                .first()
                .map(|one| one.root.clone())
                .unwrap_or_default(),
            reason,
        };
        let mut all = Vec::new();
        for place in &places {
            all.extend(Store::open(place)?);
        }
        match places.first() {
            Some(first) if !all.is_empty() => Ok(Self {
                all,
                path: first.root.clone(),
            }),
            _ => Err(not("no overlay-images and no vfs-images in it".to_owned())),
        }
    }

    fn images(&self) -> impl Iterator<Item = Held<'_>> {
        let all = self.all.iter();
        all.flat_map(|store| store.images().iter().map(move |image| (store, image)))
    }

    fn choose(&self, wanted: &Wanted) -> Result<Held<'_>, Error> {
        let images: Vec<_> = self.images().collect();
        let found = wanted.matching(&images);
        match found.as_slice() {
            [] => Err(Error::NoSuchImage {
                what: WHAT,
                path: self.path.clone(),
                wanted: wanted.to_string(),
                tags: names_of(&images),
            }),
            // The same image may be in a store and in one that it builds upon: the first serves.
            [first, rest @ ..] if rest.iter().all(|(_, one)| one.id == first.1.id) => Ok(*first),
            several => Err(Error::Ambiguous {
                what: WHAT,
                path: self.path.clone(),
                tags: names_of(several),
            }),
        }
    }

    /// The image, its layers as the store has them: unpacked, so named by their diffIDs.
    fn unpacked(&self, image: Image) -> Result<Image, Error> {
        let malformed = |reason: String| Error::Malformed {
            what: "image",
            object: image.manifest.digest.to_string(),
            reason,
        };
        let holder = self
            .images()
            .find(|(_, one)| one.has_manifest(&image.manifest.digest));
        let (_, holder) = holder
            .ok_or_else(|| malformed("no image of the store has this manifest".to_owned()))?;
        let chain = self.chain(holder.layer.as_deref()).map_err(malformed)?;
        if chain.len() != image.layers.len() {
            let (stored, named) = (chain.len(), image.layers.len());
            return Err(malformed(format!(
                "{named} layers, but the store has {stored}"
            )));
        }
        let pairs = image.layers.iter().zip(chain);
        let layers = pairs.map(|(named, (store, stored))| store.descriptor(stored, named.diff_id));
        let layers = layers.collect::<Result<_, _>>()?;
        Ok(Image { layers, ..image })
    }

    /// The layers below and with `top`, lowest first.
    fn chain(&self, top: Option<&str>) -> Result<Vec<(&Store, &StoredLayer)>, String> {
        let mut chain = Vec::new();
        let mut next = top.filter(|id| !id.is_empty());
        // Parents that go round in a circle would never end.
        let most: usize = self.all.iter().map(|store| store.layers().len()).sum();
        while let Some(id) = next {
            let mut found = self
                .all
                .iter()
                .filter_map(|store| Some((store, store.layer(id)?)));
            let found = found
                .next()
                .ok_or_else(|| format!("layer {id} is not there"))?;
            chain.push(found);
            if chain.len() > most {
                return Err(format!("layer {id} is its own parent"));
            }
            next = found.1.parent.as_deref().filter(|id| !id.is_empty());
        }
        chain.reverse();
        Ok(chain)
    }

    fn open_layer(&self, diff_id: Digest) -> io::Result<TarSplit> {
        let text = diff_id.to_string();
        let mut last = None;
        for store in &self.all {
            let layers = store.layers().values();
            for layer in layers.filter(|one| one.diff_digest.as_deref() == Some(&text)) {
                match store.open_layer(layer) {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = Some(error),
                }
            }
        }
        Err(last.map_or_else(|| io::ErrorKind::NotFound.into(), io::Error::other))
    }
}

impl Documents for Stores {
    fn read(&self, what: &'static str, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let digest = document::digest(what, descriptor)?;
        let bad = |reason: String| Error::Blob {
            what,
            digest,
            reason,
        };
        let mut places = self
            .images()
            .filter_map(|(store, image)| store.big_data(image, &digest));
        let path = places.next();
        let path = path.ok_or_else(|| bad("it is not in the store".to_owned()))?;
        let bytes = std::fs::File::open(&path).and_then(document::read_bounded);
        bytes.map_err(|error| bad(format!("{}: {error}", path.display())))
    }
}

/// An image and the store that has it.
type Held<'a> = (&'a Store, &'a StoredImage);

/// The images' names; their IDs where none has a name.
fn names_of(images: &[Held<'_>]) -> Vec<String> {
    let names: Vec<_> = images
        .iter()
        .flat_map(|(_, image)| image.names.iter().cloned())
        .collect();
    match names.is_empty() {
        true => images
            .iter()
            .map(|(_, image)| format!("@{}", image.id))
            .collect(),
        false => names,
    }
}
