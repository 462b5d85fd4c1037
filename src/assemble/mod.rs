//! Manifest, images and base become a disk.

pub mod base;
pub mod boot;
pub mod contract;
pub mod merge;
pub mod merged;
pub mod papers;
pub mod partitions;
pub mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use i2kit_contract::{
    CONTAINERS, Contract, FailurePolicy, INPUTS_JSON, POD_JSON, SBOM_CYCLONEDX_JSON,
    SBOM_SPDX_JSON, SYSTEM,
};
use i2kit_format::erofs::{InodeId, Tree};
use i2kit_format::gpt;
use i2kit_sbom::Bill;
use oci_spec::image::ImageConfiguration;

use crate::cache::Cache;
use crate::disk::Disk;
use crate::layer::{ConvertedLayer, Origin};
use crate::manifest::Pod;
use merged::Merged;

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
    /// Drivers that the initramfs carries.
    pub targets: Vec<String>,
    /// Bytes left free for the scratch partition.
    pub scratch: u64,
    /// What the guest does when it cannot go on.
    pub on_failure: FailurePolicy,
    /// What the inputs record says besides; an object.
    pub record: serde_json::Map<String, serde_json::Value>,
}

/// What papers call an image.
pub struct ImageName {
    /// Its repository's full name: `docker.io/library/nginx`.
    pub repository: String,
    /// The digest of its manifest, `sha256:…`.
    pub digest: String,
}

/// A container's image.
pub struct ContainerInput {
    /// The container's name.
    pub name: String,
    /// Its image.
    pub image: ImageName,
    /// Its image's config.
    pub config: ImageConfiguration,
    /// Its image's layers, lowest first.
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
    /// Layers in the store: diffID, bytes, whether the cache had it.
    pub layers: Vec<LayerPart>,
    /// Bytes of the store's metadata.
    pub metadata_len: u64,
    /// What the guest will run.
    pub contract: Contract,
}

/// A layer's share of the store.
#[derive(Clone, Debug)]
pub struct LayerPart {
    /// Its diffID.
    pub diff_id: String,
    /// Bytes in the store.
    pub len: u64,
    /// The cache had it.
    pub reused: bool,
}

/// Why no disk came of the inputs.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each wraps the error of its part")]
pub enum Error {
    #[error("base image: {0}")]
    Base(merged::Error),
    #[error("container {container}: {source}")]
    Container {
        container: String,
        source: merged::Error,
    },
    #[error(transparent)]
    Contract(#[from] contract::Error),
    #[error(transparent)]
    Json(#[from] i2kit_contract::Error),
    #[error("write inputs record: {0}")]
    Record(#[from] serde_json::Error),
    #[error(transparent)]
    Boot(#[from] boot::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Partitions(#[from] partitions::Error),
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Contract(error) => error.hint(),
            Self::Boot(error) | Self::Partitions(partitions::Error::Esp(error)) => error.hint(),
            _ => None,
        }
    }

    /// The cached file that was found altered, if that is what happened.
    #[must_use]
    pub fn altered(&self) -> Option<&Path> {
        match self {
            Self::Base(merged::Error::Altered { blob, .. })
            | Self::Container {
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
    let roots = containers(&mut merged, &inputs.containers)?;
    let contract = contract(inputs, &merged, &roots)?;
    let base = boot::Base {
        layers: &inputs.base,
        merged: &merged,
        root,
    };
    // Placing the layers ends the merged tree: what is read of it is read before.
    let record = base.record()?;
    let bill = papers::bill(inputs, &base, &record, &roots);
    let files = build_files(inputs, &contract, record, &bill)?;
    let boot = boot::read(&base, &inputs.targets, cache)?;
    name_system(&mut merged, root)?;
    let store = store::build(merged, files)?;
    let uki = boot.uki(&store.root_hash, inputs.on_failure)?;
    let layers = store.layers.iter();
    let layers = layers.map(|placed| LayerPart {
        diff_id: placed.layer.diff_id.clone(),
        len: placed.data.len(),
        reused: placed.layer.origin != Origin::Converted,
    });
    let (layers, root_hash, metadata_len) = (layers.collect(), store.root_hash, store.metadata_len);
    let made = partitions::partition(store, uki, inputs.scratch)?;
    let (disk, partitions) = (made.disk, made.partitions);
    Ok(Assembled {
        disk,
        root_hash,
        partitions,
        layers,
        metadata_len,
        contract,
    })
}

/// Merges every container's layers at `containers/NAME`.
fn containers(
    merged: &mut Merged,
    inputs: &[ContainerInput],
) -> Result<BTreeMap<String, InodeId>, Error> {
    let folder = merged.tree.add(merged::plain_directory());
    store::name(&mut merged.tree, Tree::ROOT, CONTAINERS, folder);
    let mut roots = BTreeMap::new();
    for input in inputs {
        let context = |source| Error::Container {
            container: input.name.clone(),
            source,
        };
        let root = merged.apply(&input.layers).map_err(context)?;
        store::name(&mut merged.tree, folder, &input.name, root);
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
    Ok(contract::contract(
        inputs.pod,
        &configs,
        &read,
        inputs.on_failure,
    )?)
}

/// `pod.json`, `inputs.json` and the bill of materials.
fn build_files(
    inputs: &Inputs<'_>,
    contract: &Contract,
    base_record: serde_json::Value,
    bill: &Bill,
) -> Result<Vec<store::BuildFile>, Error> {
    let mut record = inputs.record.clone();
    record.insert("base_record".to_owned(), base_record);
    let mut record = serde_json::to_vec_pretty(&record)?;
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

/// Gives the base's `system/` its name in the store; the rest of the base is not in it.
fn name_system(merged: &mut Merged, base: InodeId) -> Result<(), Error> {
    let missing = || boot::Error::Missing {
        path: SYSTEM.to_owned(),
    };
    let system = merged.lookup(base, Path::new(SYSTEM)).ok_or_else(missing)?;
    merged.tree.directory(system).ok_or_else(missing)?;
    store::name(&mut merged.tree, Tree::ROOT, SYSTEM, system);
    Ok(())
}

/// 16 bytes of a digest as a UUID of version 8 (RFC 9562): free content, marked as such.
fn content_uuid(digest: &[u8]) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = *from);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}
