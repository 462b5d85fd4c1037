//! `i2kit rebuild`: a disk again, from its record alone.

use std::path::Path;
use std::time::Instant;

use i2kit_format::gpt;
use serde_json::json;

use super::args::{self, CacheArgs, PlaceArgs, PodArgs};
use super::build;
use super::compare::{self, OnDisk};
use super::error::Error;
use super::plan::{Origin, Plan, plan};
use super::recorded::Recorded;
use super::verify::told;
use crate::assemble::{Assembled, Signature, partitions};
use crate::disk::Blob;
use crate::inspect;
use crate::output::OutputsRecord;

/// What is built again, and what is known of it.
struct Target {
    known: OnDisk,
    /// Bytes for the scratch partition.
    scratch: u64,
    /// The disk itself, where it was named.
    disk: Option<Blob>,
}

/// `i2kit rebuild`.
pub fn rebuild(arguments: &args::Rebuild) -> Result<(), Error> {
    let start = Instant::now();
    let root_hash = run(arguments, start).or_else(|error| told(error, arguments.json))?;
    if arguments.json {
        let json = json!({"same": true, "root_hash": root_hash});
        return super::print_json(&json);
    }
    let record = arguments.record.display();
    super::print(format!("the same disk as {record}: root hash {root_hash}\n").as_bytes())
}

/// Builds and compares; answers the root hash.
fn run(arguments: &args::Rebuild, start: Instant) -> Result<String, Error> {
    let target = Target::read(&arguments.record)?;
    let recorded = Recorded::of(&target.known.inputs)?;
    if let Some(why) = recorded.other_i2kit() {
        super::say(&format!("warning: {why}: its bytes may differ"));
    }
    let mut progress = arguments.progress;
    progress.quiet |= arguments.json;
    let given = PodArgs {
        files: args::FileArgs {
            files: arguments.files.clone(),
            name: None,
        },
        images: arguments.images.clone(),
        cache: recorded_compression(&arguments.cache)?,
        progress,
        ..PodArgs::default()
    };
    let given = recorded.arguments(given)?;
    let mut plan = plan(
        &given,
        &Origin::Record(&recorded),
        &PlaceArgs::default(),
        target.scratch,
    )?;
    if let Some(signature) = &target.known.signature {
        plan.sign_with(Signature::Copy(signature.clone()));
    }
    let (_layers, assembled) = build::assembled(&plan, progress)?;
    check(&target, &assembled)?;
    if let Some(output) = &arguments.output {
        write(&plan, output, &given, start)?;
    }
    Ok(hex::encode(assembled.root_hash))
}

/// The record says how the store is compressed; a flag cannot.
fn recorded_compression(given: &CacheArgs) -> Result<CacheArgs, Error> {
    let default = CacheArgs::default().compression.to_string();
    match given.compression.to_string() == default {
        true => Ok(given.clone()),
        false => Err(Error::Argument {
            argument: "--compression".to_owned(),
            reason: "the record says how the store is compressed",
        }),
    }
}

fn check(target: &Target, assembled: &Assembled) -> Result<(), Error> {
    let found = target.known.as_found(target.disk.as_ref());
    match compare::difference(assembled, &found)? {
        None => Ok(()),
        Some(fault) => Err(Error::Unlike(Box::new(fault))),
    }
}

fn write(plan: &Plan, output: &Path, arguments: &PodArgs, start: Instant) -> Result<(), Error> {
    let summary = build::disk(plan, output, arguments.progress, start)?;
    if !arguments.progress.is_silent() {
        super::say(&summary.render());
    }
    Ok(())
}

impl Target {
    /// Reads an outputs record, or a disk.
    fn read(path: &Path) -> Result<Self, Error> {
        let disk = super::open(path)?;
        if super::is_json(&disk) {
            return Self::of_record(OutputsRecord::read(path)?);
        }
        let known = OnDisk::of(&disk)?;
        let table = gpt::read(&disk).map_err(inspect::Error::from)?;
        Ok(Self {
            known,
            scratch: partitions::free_len(&table, disk.len()),
            disk: Some(disk),
        })
    }

    fn of_record(record: OutputsRecord) -> Result<Self, Error> {
        let wrong = |what: &str| Error::Recorded {
            reason: format!("{what} of the outputs record is none"),
        };
        let slabs = record.digests().map_err(|_| wrong("a slab's digest"))?;
        let signature = record.signature.map(hex::decode).transpose();
        Ok(Self {
            known: OnDisk {
                inputs: record.inputs,
                sections: record.uki,
                signature: signature.map_err(|_| wrong("the signature"))?,
                slabs,
            },
            scratch: record.scratch,
            disk: None,
        })
    }
}
