//! What is wrong with a disk, first things first.

use i2kit_contract::{LABEL_ESP, LABEL_STORE, LABEL_STORE_VERITY};
use i2kit_format::{ReadAt, fat, gpt};
use serde::Serialize;

use super::{Error, check_blocks, esp, window};
use crate::sign::{self, Certificate};

/// What was checked, and held.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// dm-verity root hash of the store, hex: the UKI names it, and every block matches.
    pub root_hash: String,
    /// Whose key signed the UKI; none when no certificate was given.
    pub signed_by: Option<String>,
}

/// Checks that the ESP holds nothing but a UKI, that this is signed by the key of `certificate`
/// where one is given, and that every block of the store matches the root hash that it names.
///
/// # Errors
/// [`Error`] with the first thing that is wrong.
pub fn verify(disk: &dyn ReadAt, certificate: Option<&Certificate>) -> Result<Verified, Error> {
    let table = gpt::read(disk)?;
    let esp = window(disk, &table, LABEL_ESP)?;
    let volume = fat::read(&esp)?;
    esp::check_alone(&volume)?;
    let uki = esp::uki_window(&esp, &volume)?;
    if let Some(certificate) = certificate {
        sign::verify(&uki, certificate)?;
    }
    let root_hash = esp::root_hash(&uki)?;
    let hash = window(disk, &table, LABEL_STORE_VERITY)?;
    check_blocks(&window(disk, &table, LABEL_STORE)?, &hash, &root_hash)?;
    Ok(Verified {
        root_hash: hex::encode(root_hash),
        signed_by: certificate.map(Certificate::subject),
    })
}
