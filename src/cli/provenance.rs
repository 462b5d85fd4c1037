//! How a disk was built, beside the disk: `i2kit build --provenance`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use i2kit_sbom::dsse::{self, Envelope};
use i2kit_sbom::oci_purl;
use i2kit_sbom::provenance::{Build, DigestSet, PAYLOAD_TYPE, Resource, Statement};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::error::Error;
use super::images::Resolved;
use super::plan::Plan;
use crate::assemble::Signature;
use crate::output::Beside;
use crate::sign::{Certificate, Identity};

/// Where the statement about the disk at `disk` lies: `NAME.provenance.json` beside it.
pub fn path(disk: &Path) -> PathBuf {
    let mut name = disk.file_name().unwrap_or_default().to_owned();
    name.push(".provenance.json");
    disk.with_file_name(name)
}

/// Where the envelope of the statement at `statement` lies: `NAME.dsse.json` for `NAME.json`.
pub fn envelope_path(statement: &Path) -> PathBuf {
    statement.with_extension("dsse.json")
}

/// Writes the statement, and the same signed where something signs the UKI. Its subject is the file's
/// SHA-256, which anybody computes with `sha256sum`; nothing that was known before is that, so the disk
/// is read once more.
pub fn write(plan: &Plan, disk: &Path) -> Result<(), Error> {
    let path = path(disk);
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
    let statement = statement.to_json()?;
    Beside::write(&path, &statement)?;
    match &plan.signature {
        Some(Signature::By(identity)) => seal(&statement, identity, &envelope_path(&path)),
        _ => Ok(()),
    }
}

/// Signs a statement and writes it in an envelope to `path`.
pub fn seal(statement: &[u8], identity: &Identity, path: &Path) -> Result<(), Error> {
    let sealed = dsse::seal(PAYLOAD_TYPE, statement, &identity.key_id(), |bytes| {
        identity.sign_bytes(bytes)
    });
    let sealed = sealed.map_err(|source| Error::Sign {
        path: path.to_owned(),
        source,
    })?;
    Ok(Beside::write(path, &sealed.to_json()?)?)
}

/// What is signed of a statement.
pub fn to_be_signed(statement: &[u8]) -> Vec<u8> {
    dsse::pre_authentication_encoding(PAYLOAD_TYPE, statement)
}

/// Checks that the statement at `path` is about the file `disk`: with a certificate, that it lies in an
/// envelope that the certificate's key signed.
pub fn check(path: &Path, disk: &Path, certificate: Option<&Certificate>) -> Result<(), Error> {
    let wrong = |reason: String| Error::Provenance {
        path: path.to_owned(),
        reason,
    };
    let bytes = super::sign::read(path)?;
    let json: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    let is_envelope = json.get("payloadType").is_some();
    let statement = match (is_envelope, certificate) {
        (false, None) => json,
        (false, Some(_)) => return Err(wrong("it is not signed".to_owned())),
        (true, None) => {
            return Err(wrong(
                "name the certificate of its key with --key".to_owned(),
            ));
        }
        (true, Some(certificate)) => {
            let opened = Envelope::open(&bytes, PAYLOAD_TYPE, |signed, signature| {
                certificate.verifies(signed, signature)
            });
            let opened = opened.map_err(|error| wrong(error.to_string()))?;
            serde_json::from_slice(&opened).map_err(|error| wrong(error.to_string()))?
        }
    };
    let named = statement
        .pointer("/subject/0/digest/sha256")
        .and_then(Value::as_str);
    let named = named.ok_or_else(|| wrong("it names no SHA-256 of a subject".to_owned()))?;
    let found = file_digest(disk)?;
    if named == found {
        return Ok(());
    }
    Err(wrong(format!(
        "it is about {named}, the disk's SHA-256 is {found}"
    )))
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
