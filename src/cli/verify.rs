//! `i2kit verify`: a disk against itself, its record, its provenance, and what a build gives.

use std::fmt::Write as _;

use i2kit_contract::LABEL_STORE;
use i2kit_format::{BLOCK, SLAB, gpt};
use serde::Serialize;
use serde_json::Value;

use super::args::{self, SignArgs};
use super::compare::{self, OnDisk, unlike_json};
use super::error::Error;
use super::{build, cloud, provenance, sign};
use crate::assemble::Signature;
use crate::disk::Blob;
use crate::inspect::{self, Fault, Known, Verified};
use crate::output::{OutputsRecord, disk_digest};
use crate::sign::Certificate;

/// What was checked, and held.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    verified: Verified,
    /// The outputs record tells of this disk.
    record: bool,
    /// The statement is about this disk.
    provenance: bool,
    /// The disk is what manifest and images give.
    expected: bool,
}

/// `i2kit verify`.
pub fn verify(arguments: &args::Verify) -> Result<(), Error> {
    let report = check(arguments).or_else(|error| told(error, arguments.json))?;
    if arguments.json {
        return super::print_json(&report);
    }
    super::print(render(&report).as_bytes())
}

/// `i2kit diff`.
pub fn diff(arguments: &args::Diff) -> Result<(), Error> {
    match difference(arguments)? {
        Some(fault) => told(Error::Unlike(Box::new(fault)), arguments.json),
        None if arguments.json => super::print_json(&serde_json::json!({"same": true})),
        None => Ok(()),
    }
}

/// Of two files, or of two snapshots at Amazon.
fn difference(arguments: &args::Diff) -> Result<Option<Fault>, Error> {
    let (one, other) = (&arguments.one, &arguments.other);
    let ids = [one, other].map(|path| path.to_str().filter(|_| cloud::is_named(path)));
    match ids {
        [Some(first), Some(second)] => {
            let pair = cloud::pair([first, second], &arguments.cloud, &arguments.region)?;
            compare::between_in(&pair.one, &pair.other, Some(&pair.slabs))
        }
        [None, None] => compare::between(&super::open(one)?, &super::open(other)?),
        _ => Err(Error::Unalike {
            one: one.clone(),
            other: other.clone(),
        }),
    }
}

/// The error as it is; its fault is printed before where a script reads JSON.
pub fn told<T>(error: Error, json: bool) -> Result<T, Error> {
    if json {
        let fault = match &error {
            Error::Inspect(inspect::Error::Fault(fault)) | Error::Unlike(fault) => {
                serde_json::to_value(fault)?
            }
            other => serde_json::json!({"reason": other.to_string()}),
        };
        let json = serde_json::json!({"fault": fault});
        super::print_json(&json)?;
    }
    Err(error)
}

fn check(arguments: &args::Verify) -> Result<Report, Error> {
    let certificate = arguments.key.as_deref().map(sign::certificate);
    let certificate = certificate.transpose()?;
    let record = arguments.record.as_deref().map(OutputsRecord::read);
    let record = record.transpose()?;
    let known = record.as_ref().map_or_else(Known::default, known);
    let fetched = fetched(arguments, certificate.as_ref(), &known)?;
    let (disk, file) = match &fetched {
        Some(fetched) => (fetched.disk.clone(), &fetched.path),
        None => (super::open(&arguments.file)?, &arguments.file),
    };
    let verified = inspect::verify(&disk, certificate.as_ref(), &known)?;
    let least = arguments.min_version;
    least.map_or(Ok(()), |least| inspect::check_version(&disk, least))?;
    if let Some(record) = &record {
        check_record(&disk, record)?;
    }
    if let Some(statement) = &arguments.provenance {
        provenance::check(statement, file, certificate.as_ref())?;
    }
    let expected = arguments.expected.names_a_pod();
    if expected {
        check_expected(arguments, &disk)?;
    }
    Ok(Report {
        verified,
        record: record.is_some(),
        provenance: arguments.provenance.is_some(),
        expected,
    })
}

/// The disk of an AMI or a snapshot, where one is named.
fn fetched(
    arguments: &args::Verify,
    certificate: Option<&Certificate>,
    known: &Known<'_>,
) -> Result<Option<cloud::Fetched>, Error> {
    let id = arguments.file.to_str();
    let Some(id) = id.filter(|_| cloud::is_named(&arguments.file)) else {
        return Ok(None);
    };
    let pod = &arguments.expected.pod;
    let mut progress = pod.progress;
    progress.quiet |= arguments.json;
    let places = (&arguments.cloud, &arguments.region, &pod.cache);
    // What does not match is named by partition and file.
    let name = |disk: &Blob| Ok(inspect::verify(disk, certificate, known).map(drop)?);
    cloud::fetched(id, places, progress, name).map(Some)
}

fn known(record: &OutputsRecord) -> Known<'_> {
    Known {
        layers: &record.layers,
        sections: &record.uki,
    }
}

fn render(report: &Report) -> String {
    let Verified {
        root_hash,
        signed_by,
        inodes,
        fec,
    } = &report.verified;
    let mut out = String::from("partition table: as it was built\nESP: nothing but the UKI\n");
    if let Some(subject) = signed_by {
        let _ = writeln!(out, "UKI: signed by the key of {subject}");
    }
    let _ = writeln!(
        out,
        "store: every block matches the UKI's root hash {root_hash}"
    );
    let _ = writeln!(out, "files: {inodes}, each read to its end");
    let lines = [
        (*fec, "error correction: the store's"),
        (report.record, "record: every figure is this disk's"),
        (report.provenance, "provenance: about this disk"),
        (report.expected, "content: what manifest and images give"),
    ];
    for (_, line) in lines.iter().filter(|(is, _)| *is) {
        let _ = writeln!(out, "{line}");
    }
    out
}

/// Figures in the order in which they are compared: what others follow from first.
const FIGURES: [&str; 14] = [
    "size",
    "partitions",
    "scratch",
    "root_hash",
    "inputs",
    "layers",
    "holes",
    "uki",
    "signature",
    "measured_boot",
    "ports",
    "metadata",
    "data_bytes",
    "disk_digest",
];

/// Compares each figure of the record with the disk.
fn check_record(disk: &Blob, record: &OutputsRecord) -> Result<(), Error> {
    let found = record.found(disk)?;
    check_slabs(disk, record, &found)?;
    let (recorded, found) = (serde_json::to_value(record)?, serde_json::to_value(&found)?);
    for figure in FIGURES {
        let [one, other] = [&recorded, &found].map(|all| all.get(figure).unwrap_or(&Value::Null));
        if let Some(unlike) = unlike_json(one, other, &format!("/{figure}")) {
            let fault = Fault::new("disk", unlike.reason("the record has"));
            return Err(Error::Unlike(Box::new(fault.structure(unlike.path))));
        }
    }
    Ok(())
}

/// Compares the slabs, and that the record's own digest is theirs.
fn check_slabs(disk: &Blob, record: &OutputsRecord, found: &OutputsRecord) -> Result<(), Error> {
    let bad = |structure: &str, reason: &str| {
        let fault = Fault::new("outputs record", reason).structure(structure);
        Error::Unlike(Box::new(fault))
    };
    let digests = |record: &OutputsRecord| {
        let digests = record.digests();
        digests.map_err(|slab| bad("/slabs", &format!("the digest of slab {slab} is none")))
    };
    let (recorded, slabs) = (digests(record)?, digests(found)?);
    if disk_digest(&recorded) != record.disk_digest {
        return Err(bad(
            "/disk_digest",
            "it is not the one of the record's slabs",
        ));
    }
    let mut all = recorded.keys().chain(slabs.keys());
    match all.find(|slab| recorded.get(slab) != slabs.get(slab)) {
        None => Ok(()),
        Some(slab) => Err(Error::Unlike(Box::new(slab_fault(disk, record, *slab)?))),
    }
}

fn slab_fault(disk: &Blob, record: &OutputsRecord, slab: u64) -> Result<Fault, Error> {
    const REASON: &str = "its slab's SHA-256 is not the record's";
    let offset = slab * SLAB;
    let table = gpt::read(disk).map_err(inspect::Error::from)?;
    let Some(partition) = table.partitions.iter().find(|one| one.has(offset)) else {
        return Ok(Fault::new("partition table", REASON).offset(offset));
    };
    let fault = Fault::new(&partition.name, REASON).offset(offset);
    let block = (offset - partition.offset()) / BLOCK;
    let store = disk.part(partition.offset(), partition.size());
    Ok(match store {
        Some(store) if partition.name == LABEL_STORE => {
            inspect::place(fault, &store, block, &known(record))
        }
        _ => fault.block(block),
    })
}

/// Builds what the flags say, without writing it, and compares. The signature is the disk's own: the
/// key need not be there.
fn check_expected(arguments: &args::Verify, disk: &Blob) -> Result<(), Error> {
    let mut plan = build::planned(&arguments.expected, &SignArgs::default())?;
    let found = OnDisk::of(disk)?;
    if let Some(signature) = &found.signature {
        plan.sign_with(Signature::Copy(signature.clone()));
    }
    let mut progress = arguments.expected.pod.progress;
    progress.quiet |= arguments.json;
    let (_layers, assembled) = build::assembled(&plan, progress)?;
    match compare::difference(&assembled, &found.as_found(Some(disk)))? {
        None => Ok(()),
        Some(fault) => Err(Error::Unlike(Box::new(fault))),
    }
}
