//! A disk with another UKI, the rest as it was: what a build writes that signs this UKI.

use std::path::{Path, PathBuf};

use i2kit_contract::{LABEL_ESP, LABEL_STORE, LABEL_STORE_FEC, LABEL_STORE_VERITY};
use i2kit_format::gpt;

use super::partitions::{self, ALIGN, Parity, Partitioned, partition};
use super::place::Like;
use super::store::Store;
use crate::disk::{Blob, BlobError};

/// Why the disk cannot be laid out anew.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] BlobError),
    /// It has no readable partition table.
    #[error("read partition table of {path}: {source}")]
    Gpt {
        /// The disk.
        path: PathBuf,
        /// What is wrong.
        source: gpt::Error,
    },
    /// It is no disk of ours.
    #[error(
        "lay out {path}: its partitions are not {LABEL_ESP}, {LABEL_STORE} and {LABEL_STORE_VERITY}"
    )]
    Partitions {
        /// The disk.
        path: PathBuf,
    },
    /// The new UKI does not fit.
    #[error(transparent)]
    Layout(#[from] partitions::Error),
}

/// Lays the disk at `path`, which was built like `like`, out with `uki`, which must name `root_hash`.
///
/// # Errors
/// [`Error`].
pub fn with_uki(
    path: &Path,
    uki: Vec<u8>,
    root_hash: [u8; 32],
    like: &Like,
) -> Result<Partitioned, Error> {
    let disk = Blob::file(path, Vec::new())?;
    let table = gpt::read(&disk).map_err(|source| Error::Gpt {
        path: path.to_owned(),
        source,
    })?;
    let foreign = || Error::Partitions {
        path: path.to_owned(),
    };
    let (esp, store, verity, fec) = match table.partitions.as_slice() {
        [esp, store, verity] => (esp, store, verity, None),
        [esp, store, verity, fec] if fec.name == LABEL_STORE_FEC => (esp, store, verity, Some(fec)),
        _ => return Err(foreign()),
    };
    if [&esp.name, &store.name, &verity.name] != [LABEL_ESP, LABEL_STORE, LABEL_STORE_VERITY] {
        return Err(foreign());
    }
    let part = |one: &gpt::Partition| disk.part(one.offset(), one.size()).ok_or_else(foreign);
    let last = fec.unwrap_or(verity);
    let used = last.offset() + last.size();
    let scratch = disk.len().checked_sub(used + ALIGN).ok_or_else(foreign)?;
    let store = Store {
        data: vec![(0, part(store)?)],
        data_len: store.size(),
        hash: vec![(0, part(verity)?)],
        hash_len: verity.size(),
        root_hash,
        layers: Vec::new(),
        metadata_len: 0,
        metadata_at: 0,
    };
    let parity = fec.map(|fec| {
        Ok::<_, Error>(Parity {
            guid: fec.unique_guid,
            parts: vec![part(fec)?],
        })
    });
    Ok(partition(store, parity.transpose()?, uki, scratch, like)?)
}
