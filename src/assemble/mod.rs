//! Manifest, images and base become a disk.

pub mod base;
pub mod boot;
pub mod cmdline;
pub mod contract;
pub mod fec;
pub mod file;
mod kept;
mod live;
pub mod measured;
pub mod merge;
pub mod merged;
pub mod papers;
pub mod partitions;
pub mod place;
pub mod regions;
pub mod resign;
pub mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use i2kit_contract::{
    CONTAINERS, Contract, FailurePolicy, IMAGE_VOLUMES, INPUTS_JSON, POD_JSON, SBOM_CYCLONEDX_JSON,
    SBOM_SPDX_JSON, SYSTEM,
};
use i2kit_format::erofs::{InodeId, Tree};
use i2kit_format::{authenticode, gpt};
use i2kit_sbom::Bill;
use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::disk::Disk;
use crate::layer::{ConvertedLayer, Origin};
use crate::manifest::Pod;
use crate::sign::{self, Identity};
pub use cmdline::KernelArgs;
pub use measured::{MeasuredBoot, SectionDigest, UkiFacts};
use merged::{Merged, PlacedLayer, Placing};
use place::{Like, Place};
use regions::Region;

/// In the inputs record: where each layer lies.
pub const LAYERS: &str = "layers";
/// `/etc/passwd` and `/etc/group` are read up to this size.
const MAX_USER_FILE: u64 = 16 << 20;

/// Everything a disk is made of.
pub struct Inputs<'a> {
    /// What runs.
    pub pod: &'a Pod,
    /// The base image's layers.
    pub base: Vec<Arc<ConvertedLayer>>,
    /// The digest of the base image's manifest, `sha256:…`.
    pub base_digest: String,
    /// The containers' images, in the Pod's order.
    pub containers: Vec<ContainerInput>,
    /// The image volumes' images, each with the volume's name.
    pub image_volumes: Vec<ContainerInput>,
    /// Images laid over the base's `system/`, lowest first.
    pub extensions: Vec<ExtensionInput>,
    /// Drivers that the initramfs carries.
    pub targets: Vec<String>,
    /// Modules besides the targets', by name.
    pub modules: Vec<String>,
    /// Words of the kernel command line besides i2kit's own.
    pub kernel_args: KernelArgs,
    /// What the UKI calls the image's version.
    pub image_version: Option<u64>,
    /// Parity bytes of each code word of the store's error correction; none without it.
    pub fec: Option<u8>,
    /// What the disk keeps of an old one's layout.
    pub like: &'a Like,
    /// Leave out bytes of layers that no file has.
    pub compact: bool,
    /// Bytes left free for the scratch partition.
    pub scratch: u64,
    /// What the guest does when it cannot go on.
    pub on_failure: FailurePolicy,
    /// The guest answers on the control channel.
    pub control: bool,
    /// Where the UKI's signature comes from, if it has one.
    pub signature: Option<&'a Signature>,
    /// What the inputs record says besides; an object.
    pub record: serde_json::Map<String, serde_json::Value>,
}

/// Where a UKI's signature comes from.
#[derive(Clone, Debug)]
pub enum Signature {
    /// It is made.
    By(Box<Identity>),
    /// It is there already: the PKCS #7 SignedData (DER) of an earlier build. Whether it is one of
    /// this UKI is not checked.
    Copy(Vec<u8>),
}

impl Signature {
    /// Names everything that decides the signed bytes.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::By(identity) => identity.name(),
            Self::Copy(signed_data) => format!("copy {}", hex::encode(signed_data)),
        }
    }

    fn put(&self, uki: &mut Vec<u8>) -> Result<(), sign::Error> {
        match self {
            Self::By(identity) => identity.sign(uki),
            Self::Copy(signed_data) => Ok(authenticode::attach(uki, signed_data)?),
        }
    }
}

/// What papers call an image.
pub struct ImageName {
    /// Its repository's full name: `docker.io/library/nginx`.
    pub repository: String,
    /// The digest of its manifest, `sha256:…`.
    pub digest: String,
}

/// A container's image, or an image volume's.
pub struct ContainerInput {
    /// The container's or the volume's name.
    pub name: String,
    /// Its image.
    pub image: ImageName,
    /// Its image's config.
    pub config: ImageConfiguration,
    /// Its image's layers, lowest first.
    pub layers: Vec<Arc<ConvertedLayer>>,
}

/// An image whose files are added to the guest's own system.
pub struct ExtensionInput {
    /// The name by which it was asked for.
    pub name: String,
    /// Its layers, lowest first.
    pub layers: Vec<Arc<ConvertedLayer>>,
}

/// A disk, and what is worth telling of it.
pub struct Assembled {
    /// The disk.
    pub disk: Disk,
    /// dm-verity root hash of the store.
    pub root_hash: [u8; 32],
    /// Partitions in their order.
    pub partitions: Vec<gpt::Partition>,
    /// What each stretch of the disk is for, ascending.
    pub regions: Vec<Region>,
    /// Layers in the store.
    pub layers: Vec<LayerPart>,
    /// Bytes between them that none has.
    pub holes: u64,
    /// Bytes of the store's metadata.
    pub metadata_len: u64,
    /// What the guest will run.
    pub contract: Contract,
    /// The inputs record.
    pub inputs: serde_json::Value,
    /// What is told of the UKI.
    pub uki: UkiFacts,
    /// The UKI's signature, a PKCS #7 SignedData (DER).
    pub signature: Option<Vec<u8>>,
}

/// A layer's share of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerPart {
    /// Its diffID.
    pub diff_id: String,
    /// Where it lies there.
    pub place: Place,
    /// Bytes of it that no file has: layers above deleted or replaced theirs.
    pub dead: u64,
    /// Bytes of it that were left out for that.
    pub dropped: u64,
    /// The cache had it: nothing that a record says.
    #[serde(skip)]
    pub reused: bool,
}

impl LayerPart {
    fn of(placed: &PlacedLayer) -> Self {
        Self {
            diff_id: placed.diff_id.clone(),
            place: placed.place(),
            dead: placed.dead,
            dropped: placed.dropped,
            reused: placed.origin != Origin::Converted,
        }
    }
}

/// Why no disk came of the inputs.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each wraps the error of its part")]
pub enum Error {
    #[error("base image: {0}")]
    Base(merged::Error),
    #[error("extension {extension}: {source}")]
    Extension {
        extension: String,
        source: merged::Error,
    },
    #[error("container {container}: {source}")]
    Container {
        container: String,
        source: merged::Error,
    },
    #[error("volume {volume}: {source}")]
    Volume {
        volume: String,
        source: merged::Error,
    },
    #[error("place layers: {0}")]
    Place(merged::Error),
    #[error(transparent)]
    Contract(#[from] contract::Error),
    #[error(transparent)]
    Json(#[from] i2kit_contract::Error),
    #[error("write inputs record: {0}")]
    Record(#[from] serde_json::Error),
    #[error(transparent)]
    Boot(#[from] boot::Error),
    #[error(transparent)]
    Sign(#[from] sign::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Fec(#[from] fec::Error),
    #[error(transparent)]
    Partitions(#[from] partitions::Error),
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Contract(error) => error.hint(),
            Self::Sign(error) => error.hint(),
            Self::Boot(error) | Self::Partitions(partitions::Error::Esp(error)) => error.hint(),
            _ => None,
        }
    }

    /// The cached file that was found altered, if that is what happened.
    #[must_use]
    pub fn altered(&self) -> Option<&Path> {
        match self {
            Self::Base(merged::Error::Altered { blob, .. })
            | Self::Place(merged::Error::Altered { blob, .. })
            | Self::Container {
                source: merged::Error::Altered { blob, .. },
                ..
            }
            | Self::Extension {
                source: merged::Error::Altered { blob, .. },
                ..
            }
            | Self::Volume {
                source: merged::Error::Altered { blob, .. },
                ..
            }
            | Self::Boot(boot::Error::Read(merged::Error::Altered { blob, .. })) => Some(blob),
            _ => None,
        }
    }
}

/// Assembles the disk. Same inputs, same disk, whatever `cache` has.
///
/// # Errors
/// [`Error`].
pub fn assemble(inputs: &Inputs<'_>, cache: &Cache) -> Result<Assembled, Error> {
    let mut merged = Merged::new();
    let root = merged.apply(&inputs.base).map_err(Error::Base)?;
    let system = system(&merged, root)?;
    extend(&mut merged, system, &inputs.extensions)?;
    let roots = containers(&mut merged, &inputs.containers)?;
    let volumes = image_volumes(&mut merged, &inputs.image_volumes)?;
    let contract = contract(inputs, &merged, &roots)?;
    let base = boot::Base {
        layers: &inputs.base,
        merged: &merged,
        root,
    };
    if inputs.fec.is_some() {
        base.check_fec()?;
    }
    // Placing the layers ends the merged tree: what is read of it is read before.
    let record = base.record()?;
    base.check_compression(&record)?;
    let bill = papers::bill(inputs, &base, &record, &roots, &volumes);
    let modules = boot::Modules {
        targets: &inputs.targets,
        named: &inputs.modules,
    };
    let boot = boot::read(&base, &modules, cache)?;
    store::name(&mut merged.tree, Tree::ROOT, SYSTEM, system);
    let placing = Placing {
        like: inputs.like,
        compact: inputs.compact,
    };
    let placement = merged.place(store::FIRST_BLOCK, &placing);
    let placement = placement.map_err(Error::Place)?;
    let holes = placement.holes;
    let recorded = recorded(inputs, record, &placement.layers);
    let files = build_files(&contract, &recorded, &bill)?;
    let store = store::build(merged, placement, files)?;
    let fec = inputs.fec.map(|roots| fec::build(&store, roots));
    let fec = fec.transpose()?;
    let cmdline = cmdline(inputs, &store.root_hash, fec.as_ref())?;
    let uki = uki(inputs, &boot, &cmdline)?;
    let facts = facts(inputs, &boot, &cmdline, &uki, cache)?;
    let signature = signature_of(&uki)?;
    let layers = store.layers.iter().map(LayerPart::of).collect();
    let (root_hash, metadata_len) = (store.root_hash, store.metadata_len);
    let (metadata_at, placed) = (store.metadata_at, store.layers.clone());
    let parity = fec.map(|fec| partitions::Parity {
        guid: fec.guid,
        parts: fec.parity,
    });
    let made = partitions::partition(store, parity, uki, inputs.scratch, inputs.like)?;
    let (disk, partitions) = (made.disk, made.partitions);
    Ok(Assembled {
        regions: regions::regions(&partitions, metadata_at, &placed),
        disk,
        root_hash,
        partitions,
        layers,
        holes,
        metadata_len,
        contract,
        inputs: recorded,
        uki: facts,
        signature,
    })
}

/// The UKI, signed where the build is.
fn uki(inputs: &Inputs<'_>, boot: &boot::Boot, cmdline: &str) -> Result<Vec<u8>, Error> {
    let mut uki = boot.uki(&boot::os_release(inputs.image_version), cmdline)?;
    if let Some(signature) = inputs.signature {
        signature.put(&mut uki)?;
    }
    Ok(uki)
}

/// What is told of the UKI that these made.
fn facts(
    inputs: &Inputs<'_>,
    boot: &boot::Boot,
    cmdline: &str,
    uki: &[u8],
    cache: &Cache,
) -> Result<UkiFacts, boot::Error> {
    let os_release = boot::os_release(inputs.image_version);
    let signer = inputs.signature.map(Signature::name).unwrap_or_default();
    let parts = [boot.identity.as_str(), &os_release, cmdline, &signer];
    Ok(UkiFacts::kept(uki, &parts, cache)?)
}

/// The signature that a UKI carries, a PKCS #7 SignedData (DER): of several, the first.
///
/// # Errors
/// [`sign::Error`] when it is no UKI.
pub fn signature_of(uki: &[u8]) -> Result<Option<Vec<u8>>, sign::Error> {
    let found = authenticode::certificates(uki)?.into_iter();
    let mut found = found.filter(authenticode::Certificate::is_pkcs7);
    Ok(found.next().map(|one| one.data))
}

/// The inputs record: what the plan says, the base's own record, and where layers lie.
fn recorded(
    inputs: &Inputs<'_>,
    base_record: serde_json::Value,
    layers: &[PlacedLayer],
) -> serde_json::Value {
    let mut record = inputs.record.clone();
    record.insert("base_record".to_owned(), base_record);
    record.insert(LAYERS.to_owned(), places(layers));
    serde_json::Value::Object(record)
}

/// Merges every container's layers at `containers/NAME`.
fn containers(
    merged: &mut Merged,
    inputs: &[ContainerInput],
) -> Result<BTreeMap<String, InodeId>, Error> {
    roots(merged, inputs, CONTAINERS).map_err(|(container, source)| Error::Container {
        container: container.to_owned(),
        source,
    })
}

/// Merges every image volume's layers at `volumes/NAME`, a folder that only they make.
fn image_volumes(
    merged: &mut Merged,
    inputs: &[ContainerInput],
) -> Result<BTreeMap<String, InodeId>, Error> {
    if inputs.is_empty() {
        return Ok(BTreeMap::new());
    }
    roots(merged, inputs, IMAGE_VOLUMES).map_err(|(volume, source)| Error::Volume {
        volume: volume.to_owned(),
        source,
    })
}

/// Merges each input's layers below `folder`. An error names the input.
fn roots<'a>(
    merged: &mut Merged,
    inputs: &'a [ContainerInput],
    folder: &str,
) -> Result<BTreeMap<String, InodeId>, (&'a str, merged::Error)> {
    let parent = merged.tree.add(merged::plain_directory());
    store::name(&mut merged.tree, Tree::ROOT, folder, parent);
    let mut roots = BTreeMap::new();
    for input in inputs {
        let root = merged.apply(&input.layers);
        let root = root.map_err(|error| (input.name.as_str(), error))?;
        store::name(&mut merged.tree, parent, &input.name, root);
        roots.insert(input.name.clone(), root);
    }
    Ok(roots)
}

fn contract(
    inputs: &Inputs<'_>,
    merged: &Merged,
    roots: &BTreeMap<String, InodeId>,
) -> Result<Contract, Error> {
    let configs: BTreeMap<String, ImageConfiguration> = inputs
        .containers
        .iter()
        .map(|one| (one.name.clone(), one.config.clone()))
        .collect();
    let read = |container: &str, path: &str| match roots.get(container) {
        Some(root) => merged
            .read(*root, path, MAX_USER_FILE)
            .map_err(std::io::Error::other),
        None => Ok(None),
    };
    let contract = contract::contract(inputs.pod, &configs, &read, inputs.on_failure)?;
    Ok(Contract {
        control: inputs.control,
        ..contract
    })
}

fn cmdline(
    inputs: &Inputs<'_>,
    root_hash: &[u8; 32],
    fec: Option<&fec::Fec>,
) -> Result<String, Error> {
    let own = cmdline::Own {
        root_hash,
        on_failure: inputs.on_failure,
        fec: fec.map(fec::Fec::word),
    };
    let cmdline = inputs.kernel_args.cmdline(&own);
    Ok(cmdline.map_err(boot::Error::Cmdline)?)
}

/// `pod.json`, `inputs.json` and the bill of materials.
fn build_files(
    contract: &Contract,
    inputs: &serde_json::Value,
    bill: &Bill,
) -> Result<Vec<store::BuildFile>, Error> {
    let mut record = serde_json::to_vec_pretty(inputs)?;
    record.push(b'\n');
    Ok(vec![
        store::BuildFile {
            name: POD_JSON,
            bytes: contract.to_json()?,
        },
        store::BuildFile {
            name: INPUTS_JSON,
            bytes: record,
        },
        store::BuildFile {
            name: SBOM_SPDX_JSON,
            bytes: i2kit_sbom::spdx::write(bill)?,
        },
        store::BuildFile {
            name: SBOM_CYCLONEDX_JSON,
            bytes: i2kit_sbom::cyclonedx::write(bill)?,
        },
    ])
}

/// Where each layer lies, by its diffID: a later build can keep it there.
fn places(layers: &[PlacedLayer]) -> serde_json::Value {
    let places = layers.iter().map(|placed| {
        let Place { slab, slabs } = placed.place();
        let place = serde_json::json!({"slab": slab, "slabs": slabs});
        (placed.diff_id.clone(), place)
    });
    serde_json::Value::Object(places.collect())
}

/// The base's `system/`; the rest of the base is not in the store.
fn system(merged: &Merged, base: InodeId) -> Result<InodeId, Error> {
    let missing = || boot::Error::Missing {
        path: SYSTEM.to_owned(),
    };
    let system = merged.lookup(base, Path::new(SYSTEM)).ok_or_else(missing)?;
    merged.tree.directory(system).ok_or_else(missing)?;
    Ok(system)
}

/// Replays the extensions' layers onto the base's `system/`, whiteouts too.
fn extend(
    merged: &mut Merged,
    system: InodeId,
    extensions: &[ExtensionInput],
) -> Result<(), Error> {
    extensions.iter().try_for_each(|extension| {
        let applied = merged.apply_onto(system, &extension.layers);
        applied.map_err(|source| Error::Extension {
            extension: extension.name.clone(),
            source,
        })
    })
}

/// 16 bytes of a digest as a UUID of version 8 (RFC 9562): free content, marked as such.
pub fn content_uuid(digest: &[u8]) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = *from);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}
