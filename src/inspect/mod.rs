//! What is on a disk: partitions, UKI, contract, records, files.

mod esp;
mod fault;
mod list;
mod verify;

use std::io;

use i2kit_contract::{Contract, INPUTS_JSON, LABEL_ESP, LABEL_STORE, LABEL_STORE_VERITY, POD_JSON};
use i2kit_format::erofs::{ReadError, Reader};
use i2kit_format::read_at::Window;
use i2kit_format::{ReadAt, fat, gpt, uki as pe, verity};
use rayon::prelude::*;
use serde::Serialize;

use crate::sign;

use esp::UKI_PATH;
pub use esp::{check_version, cmdline, disk_root_hash, root_hash, uki};
pub use fault::Fault;
pub use list::{Listed, list};
pub use verify::{Known, Verified, place, unlike, verify};

/// The command line and small records are read up to this size.
const MAX_RECORD: u64 = 64 << 20;

/// Why a disk cannot be shown.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("read partition table: {0}")]
    Gpt(#[from] gpt::Error),
    #[error("find partition {0}: the disk has none of that name")]
    NoPartition(String),
    #[error("read partition {0}: it runs past the disk's end")]
    Short(String),
    #[error("read ESP: {0}")]
    Fat(#[from] fat::Error),
    #[error("read UKI: {0}")]
    Uki(#[from] pe::Error),
    #[error("read UKI: the ESP has no {UKI_PATH} in one piece")]
    NoUki,
    #[error("verify ESP: it holds {0}, and nothing but {UKI_PATH} belongs there")]
    Intruder(String),
    #[error(transparent)]
    Signature(#[from] sign::Error),
    #[error("read {what}: {source}")]
    Read { what: String, source: io::Error },
    #[error("read store: {0}")]
    Store(#[from] ReadError),
    #[error("find {0}: not there")]
    NoFile(String),
    #[error("read {name}: {size} bytes are too many")]
    TooLarge { name: String, size: u64 },
    #[error(transparent)]
    Contract(#[from] i2kit_contract::Error),
    #[error("parse inputs record: {0}")]
    Inputs(#[from] serde_json::Error),
    #[error("verify version: {}, at least {least} is wanted", version_of(*found))]
    Version { found: Option<u64>, least: u64 },
    #[error("the command line has no root hash of 64 hex digits")]
    NoRootHash,
    #[error(transparent)]
    Verity(#[from] verity::Error),
    #[error("verify disk: {0}")]
    Fault(Box<Fault>),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

fn version_of(found: Option<u64>) -> String {
    match found {
        Some(found) => format!("the disk is version {found}"),
        None => "the disk has none".to_owned(),
    }
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Intruder(_) => Some(
                "the UEFI stub hands files of the ESP to the guest unchecked; i2kit's guest deletes \
                 them, but this disk is not as it was built"
                    .to_owned(),
            ),
            Self::Signature(error) => error.hint(),
            Self::Version { .. } => Some(
                "take a newer disk; to have firmware refuse this one: i2kit keys enrol --dbx"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Everything there is to say.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Bytes of the disk.
    pub size: u64,
    /// The partitions in their order.
    pub partitions: Vec<Partition>,
    /// The UKI's sections.
    pub uki: Vec<Section>,
    /// The kernel command line.
    pub cmdline: String,
    /// dm-verity root hash of the store, hex.
    pub root_hash: Option<String>,
    /// What the guest runs.
    pub contract: Contract,
    /// What the disk was made of.
    pub inputs: serde_json::Value,
    /// True when every block was checked.
    pub verified: bool,
}

/// A partition.
#[derive(Debug, Serialize)]
pub struct Partition {
    /// Its label.
    pub name: String,
    /// Its type GUID.
    pub type_guid: String,
    /// Its own GUID.
    pub partuuid: String,
    /// Where it starts, bytes.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// A PE section.
#[derive(Debug, Serialize)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// Reads a disk's facts; `verify` also checks the whole store.
///
/// # Errors
/// [`Error`] naming the part that cannot be read.
pub fn inspect(disk: &dyn ReadAt, verify: bool) -> Result<Report, Error> {
    let table = gpt::read(disk)?;
    let esp = window(disk, &table, LABEL_ESP)?;
    let file = esp::uki_window(&esp, &fat::read(&esp)?)?;
    let image = pe::read(&file)?;
    let cmdline = esp::section(&file, &image, ".cmdline")?;
    let root_hash = esp::named_root_hash(&cmdline);
    if verify {
        let root = root_hash.as_deref().ok_or(Error::NoRootHash)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(root, &mut bytes).map_err(|_| Error::NoRootHash)?;
        let hash = window(disk, &table, LABEL_STORE_VERITY)?;
        check_blocks(&window(disk, &table, LABEL_STORE)?, &hash, &bytes)?;
    }
    let store = window(disk, &table, LABEL_STORE)?;
    Ok(Report {
        size: disk.len(),
        partitions: table.partitions.iter().map(partition).collect(),
        uki: image
            .sections
            .iter()
            .map(|one| Section {
                name: one.name.clone(),
                size: one.size,
            })
            .collect(),
        cmdline,
        root_hash,
        contract: shown(Contract::from_json(&record(&store, POD_JSON)?)?),
        inputs: serde_json::from_slice(&record(&store, INPUTS_JSON)?)?,
        verified: verify,
    })
}

/// Checks the hash partition against the root hash and the store against it, on all processors.
///
/// # Errors
/// The first block that does not match, or cannot be read.
fn check_blocks(
    store: &dyn ReadAt,
    hash: &dyn ReadAt,
    root_hash: &[u8; 32],
) -> Result<(), verity::Error> {
    let verifier = verity::Verifier::new(store, hash, root_hash)?;
    let slabs = (0..verifier.slabs()).into_par_iter();
    let checked = slabs.map_init(Vec::new, |buffer, slab| verifier.check(slab, buffer).err());
    checked.find_map_first(|error| error).map_or(Ok(()), Err)
}

/// Names and keys of baked Secrets are shown, their values are not.
fn shown(mut contract: Contract) -> Contract {
    let secrets = contract.baked_secrets.values_mut();
    let values = secrets.flat_map(|values| values.values_mut());
    values.for_each(String::clear);
    contract
}

/// The contract alone.
///
/// # Errors
/// [`Error`] when the disk has none.
pub fn contract(disk: &dyn ReadAt) -> Result<Contract, Error> {
    let table = gpt::read(disk)?;
    let store = window(disk, &table, LABEL_STORE)?;
    Ok(Contract::from_json(&record(&store, POD_JSON)?)?)
}

/// A small file in the store's root: a record or the bill of materials, by its name.
///
/// # Errors
/// [`Error`] when the disk has none.
pub fn file(disk: &dyn ReadAt, name: &str) -> Result<Vec<u8>, Error> {
    let table = gpt::read(disk)?;
    record(&window(disk, &table, LABEL_STORE)?, name)
}

/// What the disk was made of: its inputs record.
///
/// # Errors
/// [`Error`] when the disk has none that is JSON.
pub fn inputs(disk: &dyn ReadAt) -> Result<serde_json::Value, Error> {
    Ok(serde_json::from_slice(&file(disk, INPUTS_JSON)?)?)
}

/// The partitions in their order.
///
/// # Errors
/// [`Error`] when the disk has no sound partition table.
pub fn partitions(disk: &dyn ReadAt) -> Result<Vec<Partition>, Error> {
    Ok(gpt::read(disk)?.partitions.iter().map(partition).collect())
}

fn window<'a>(
    disk: &'a dyn ReadAt,
    table: &gpt::Table,
    name: &str,
) -> Result<Window<'a, dyn ReadAt + 'a>, Error> {
    let found = table.named(name);
    let found = found.ok_or_else(|| Error::NoPartition(name.to_owned()))?;
    Window::new(disk, found.offset(), found.size()).ok_or_else(|| Error::Short(name.to_owned()))
}

fn partition(one: &gpt::Partition) -> Partition {
    Partition {
        name: one.name.clone(),
        type_guid: one.type_guid.to_string(),
        partuuid: one.unique_guid.to_string(),
        offset: one.offset(),
        size: one.size(),
    }
}

/// A small file in the store's root.
fn record(store: &dyn ReadAt, name: &str) -> Result<Vec<u8>, Error> {
    let reader = Reader::open(store)?;
    let inode = reader
        .lookup(name.as_bytes())?
        .ok_or_else(|| Error::NoFile(name.to_owned()))?;
    if inode.size > MAX_RECORD {
        return Err(Error::TooLarge {
            name: name.to_owned(),
            size: inode.size,
        });
    }
    let mut bytes = vec![0; usize::try_from(inode.size).unwrap_or(0)];
    reader.read_file_at(&inode, &mut bytes, 0)?;
    Ok(bytes)
}
