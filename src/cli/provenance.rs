//! How a disk was built, beside the disk: `i2kit build --provenance`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use i2kit_sbom::oci_purl;
use i2kit_sbom::provenance::{Build, DigestSet, Resource, Statement};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::error::Error;
use super::images::Resolved;
use super::plan::Plan;
use crate::output::Beside;

/// Where the statement about the disk at `disk` lies: `NAME.provenance.json` beside it.
pub fn path(disk: &Path) -> PathBuf {
    let mut name = disk.file_name().unwrap_or_default().to_owned();
    name.push(".provenance.json");
    disk.with_file_name(name)
}

/// Writes the statement. Its subject is the file's SHA-256, which anybody computes with `sha256sum`;
/// nothing that was known before is that, so the disk is read once more.
pub fn write(plan: &Plan, disk: &Path) -> Result<(), Error> {
    let path = path(disk);
    let failed = |source| Error::Write {
        path: path.clone(),
        source,
    };
    let name = disk.file_name().unwrap_or_default().to_string_lossy();
    let subject = Resource {
        name: name.into_owned(),
        digest: sha256(&file_digest(disk)?),
        ..Resource::default()
    };
    let statement = Statement::new(Build {
        subject: vec![subject],
        parameters: parameters(plan),
        materials: materials(plan),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    let beside = Beside::create(&path)?;
    let mut file = beside.file();
    file.write_all(&statement.to_json()?).map_err(failed)?;
    Ok(beside.commit()?)
}

fn file_digest(path: &Path) -> Result<String, Error> {
    let context = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(context)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(context)? {
            0 => return Ok(hex::encode(hash.finalize())),
            got => hash.update(buffer.get(..got).unwrap_or_default()),
        }
    }
}

/// What the user asked for. The Pod's digest is over each manifest's length (8 bytes, little-endian)
/// and bytes, as in the inputs record.
fn parameters(plan: &Plan) -> Value {
    let recorded = |name: &str| plan.record.get(name).cloned().unwrap_or_default();
    let on_failure = serde_json::to_value(plan.on_failure).unwrap_or_default();
    json!({
        "pod": recorded("pod"),
        "manifest": recorded("manifest"),
        "targets": plan.targets,
        "onFailure": on_failure,
        "scratch": plan.scratch,
    })
}

/// The base, the images, and the guest's program.
fn materials(plan: &Plan) -> Vec<Resource> {
    let image = |name: &str, repository: &str, resolved: &Resolved| {
        let digest = resolved.image.manifest.digest.to_string();
        Resource {
            name: name.to_owned(),
            uri: oci_purl(repository, &digest).to_string(),
            digest: sha256(&digest),
        }
    };
    let mut out = vec![image("base", "i2kit-base", &plan.base)];
    for (name, resolved) in &plan.images {
        let repository = super::build::repository(name);
        out.push(image(&repository, &repository, resolved));
    }
    out.push(Resource {
        name: "i2kit-init".to_owned(),
        digest: sha256(&crate::assemble::boot::init_digest()),
        ..Resource::default()
    });
    out
}

/// A set of one digest, with or without its algorithm's name before it.
fn sha256(digest: &str) -> DigestSet {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    DigestSet::from([("sha256", hex.to_owned())])
}
