//! What is wrong with a disk, first things first.
//!
//! Everything on a disk follows from its UKI and its store: the partition table, the ESP around the
//! UKI, what lies between partitions, the error correction, the kernel command line. So it is laid
//! out again from these two and compared; the store is checked against the root hash that the UKI
//! names, and the UKI against the identifiers that were derived from its hash.

mod fec;
mod layout;
mod papers;
mod store;

use std::io;

use i2kit_contract::{LABEL_ESP, LABEL_STORE, LABEL_STORE_VERITY};
use i2kit_format::{BLOCK, ReadAt, SLAB, fat, gpt, uki as pe};
use serde::Serialize;

use super::{Error, Fault, esp, inputs, window};
use crate::assemble::place::Like;
use crate::assemble::{LayerPart, SectionDigest, UkiFacts};
use crate::disk::Blob;
use crate::sign::{self, Certificate};

pub use layout::unlike;
pub use store::place;

/// What was checked, and held.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// dm-verity root hash of the store, hex: the UKI names it, and every block matches.
    pub root_hash: String,
    /// Whose key signed the UKI; none when no certificate was given.
    pub signed_by: Option<String>,
    /// Inodes of the store, every file read to its end.
    pub inodes: u64,
    /// Whether the disk has error correction, which then is the store's.
    pub fec: bool,
}

/// What is known of a disk from elsewhere: faults are named more precisely.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Its layers.
    pub layers: &'a [LayerPart],
    /// Its UKI's sections.
    pub sections: &'a [SectionDigest],
}

impl Known<'_> {
    /// The layer at a byte of the store.
    fn layer(&self, offset: u64) -> Option<String> {
        let has = |layer: &&LayerPart| layer.place.has(offset / SLAB);
        let found = self.layers.iter().find(has);
        found.map(|layer| layer.diff_id.clone())
    }
}

/// A disk whose partitions were found.
struct Parts<'a> {
    disk: &'a Blob,
    table: &'a gpt::Table,
    uki: Vec<u8>,
    root_hash: [u8; 32],
    cmdline: String,
}

impl Parts<'_> {
    /// A partition, whole.
    fn part(&self, name: &str) -> Result<Blob, Error> {
        let found = self.table.named(name);
        let found = found.ok_or_else(|| Error::NoPartition(name.to_owned()))?;
        let part = self.disk.part(found.offset(), found.size());
        part.ok_or_else(|| Error::Short(name.to_owned()))
    }

    /// Where a partition begins.
    fn start(&self, name: &str) -> u64 {
        self.table.named(name).map_or(0, gpt::Partition::offset)
    }
}

/// Checks all of a disk: partition table, ESP, UKI (that the key of `certificate` signed it, where one
/// is given), store, hash tree, error correction, and the papers in the store. Reads every byte once or
/// twice.
///
/// # Errors
/// [`Error::Fault`] or another [`Error`] with the first thing that is wrong.
pub fn verify(
    disk: &Blob,
    certificate: Option<&Certificate>,
    known: &Known<'_>,
) -> Result<Verified, Error> {
    let table = gpt::read(disk)?;
    let parts = find(disk, &table, certificate, known)?;
    let (store, like) = match like(disk) {
        Ok(like) if like == Like::default() => (None, like),
        // What the store says decides the layout: it must be sound first.
        other => (Some(store::check(&parts, known)?), other?),
    };
    layout::check(&parts, &like)?;
    let store = store.map_or_else(|| store::check(&parts, known), Ok)?;
    let fec = fec::check(&parts, &store)?;
    let inodes = store::check_tree(&store.data)?;
    papers::check(&parts, &store.data, fec.as_deref())?;
    Ok(Verified {
        root_hash: hex::encode(parts.root_hash),
        signed_by: certificate.map(Certificate::subject),
        inodes,
        fec: fec.is_some(),
    })
}

/// What the disk keeps of an older one's layout.
fn like(disk: &Blob) -> Result<Like, Error> {
    Ok(Like::recorded(&inputs(disk)?)?)
}

/// Finds the UKI and the root hash that it names.
fn find<'a>(
    disk: &'a Blob,
    table: &'a gpt::Table,
    certificate: Option<&Certificate>,
    known: &Known<'_>,
) -> Result<Parts<'a>, Error> {
    let esp = window(disk, table, LABEL_ESP)?;
    let volume = fat::read(&esp)?;
    esp::check_alone(&volume)?;
    for name in [LABEL_STORE, LABEL_STORE_VERITY] {
        window(disk, table, name)?;
    }
    let file = esp::uki_window(&esp, &volume)?;
    let uki = esp::bytes(&file)?;
    check_sections(&uki, known.sections)?;
    if let Some(certificate) = certificate {
        sign::verify(&uki, certificate)?;
    }
    let image = pe::read(&uki)?;
    let cmdline = esp::section(&uki, &image, ".cmdline")?;
    let root_hash = esp::root_hash(&uki)?;
    Ok(Parts {
        disk,
        table,
        uki,
        root_hash,
        cmdline,
    })
}

/// The UKI's sections are those that are known.
fn check_sections(uki: &[u8], known: &[SectionDigest]) -> Result<(), Error> {
    if known.is_empty() {
        return Ok(());
    }
    let found = UkiFacts::of(uki).sections;
    let names = |sections: &[SectionDigest]| -> Vec<String> {
        sections.iter().map(|one| one.name.clone()).collect()
    };
    let fault = |structure: &str, reason| {
        let fault = Fault::new(LABEL_ESP, reason).file(esp::UKI_PATH);
        Error::from(fault.structure(structure))
    };
    if names(&found) != names(known) {
        let reason = "its sections are not those of the record";
        return Err(fault("section headers", reason));
    }
    let unlike = found
        .iter()
        .zip(known)
        .find(|(found, known)| found != known);
    match unlike {
        None => Ok(()),
        Some((found, _)) => Err(fault(&found.name, "its SHA-256 is not that of the record")),
    }
}

/// That everything from `from` on is zero; `part` begins at `start` of the disk.
fn check_zeros(part: &Blob, from: u64, name: &str, start: u64) -> Result<(), Error> {
    let Some(rest) = part.part(from, part.len().saturating_sub(from)) else {
        return Ok(());
    };
    let zeros = Zeros(rest.len());
    match unlike(&rest, &zeros, 0, rest.len()).map_err(read(name))? {
        None => Ok(()),
        Some(at) => {
            let fault = Fault::new(name, "not zero, and nothing belongs there");
            let fault = fault.structure("past its end").block((from + at) / BLOCK);
            Err(fault.offset(start + from + at).into())
        }
    }
}

/// So many zeros.
struct Zeros(u64);

impl ReadAt for Zeros {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_exact_at(&self, buf: &mut [u8], _offset: u64) -> io::Result<()> {
        buf.fill(0);
        Ok(())
    }
}

fn read(what: &str) -> impl FnOnce(io::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::Read { what, source }
}
