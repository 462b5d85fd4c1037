//! `i2kit sign`, and what signs a build.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::args::{self, SignArgs};
use super::error::Error;
use super::plan::signed_key;
use super::provenance;
use crate::assemble::place::Like;
use crate::assemble::{Signature, UkiFacts};
use crate::inspect::Known;
use crate::output::{self, Memory, OutputsRecord, Partition, Resigned, record_path};
use crate::sign::{Certificate, DigestInfo, Identity, PrivateKey, Signer, ToBeSigned};
use crate::{assemble, inspect, sign};

/// Keys, certificates and signatures are some KiB.
const MAX_FILE: u64 = 1 << 20;

/// What the flags have sign, if they do. Warns of a key that others can read and of a certificate
/// out of its time: neither changes what is signed, and firmware does not look at times.
pub fn identity(arguments: &SignArgs, quiet: bool) -> Result<Option<Identity>, Error> {
    let Some(path) = &arguments.sign_cert else {
        return Ok(None);
    };
    let signer = match (&arguments.sign_key, &arguments.sign_command) {
        (Some(key), _) => Signer::Key(private_key(key, quiet)?),
        (None, Some(command)) => Signer::Command(command.clone()),
        (None, None) => {
            return Err(Error::Argument {
                argument: "--sign-cert".to_owned(),
                reason: "a certificate signs nothing: add --sign-key or --sign-command",
            });
        }
    };
    join(path, signer, quiet).map(Some)
}

fn join(path: &Path, signer: Signer, quiet: bool) -> Result<Identity, Error> {
    let certificate = certificate(path)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    if let Ok(now) = now
        && let Some(why) = certificate.out_of_time(now.as_secs())
        && !quiet
    {
        super::say(&format!(
            "warning: the certificate {} {why}",
            path.display()
        ));
    }
    Identity::new(certificate, signer).map_err(|source| Error::Sign {
        path: path.to_owned(),
        source,
    })
}

/// A certificate file.
pub fn certificate(path: &Path) -> Result<Certificate, Error> {
    Certificate::from_pem(&read(path)?).map_err(|source| Error::Sign {
        path: path.to_owned(),
        source,
    })
}

fn private_key(path: &Path, quiet: bool) -> Result<PrivateKey, Error> {
    let pem = read(path)?;
    let mode = std::fs::metadata(path).map_or(0, |found| found.permissions().mode() & 0o777);
    if mode & 0o077 != 0 && !quiet {
        let path = path.display();
        super::say(&format!(
            "warning: others can read the key {path} (mode {mode:04o}); chmod 600 {path}"
        ));
    }
    PrivateKey::from_pem(&pem).map_err(|source| Error::Sign {
        path: path.to_owned(),
        source,
    })
}

/// A small file.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    read.map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes)
}

/// `i2kit sign`.
pub fn sign(arguments: &args::Sign) -> Result<(), Error> {
    let disk = super::open(&arguments.disk)?;
    if super::is_json(&disk) {
        return sign_statement(arguments);
    }
    let mut uki = inspect::uki(&disk)?;
    if arguments.digest_only {
        return digest_only(&uki, arguments);
    }
    let identity = named_identity(arguments)?;
    inspect::verify(&disk, None, &Known::default())?;
    let root_hash = inspect::root_hash(&uki)?;
    identity
        .sign(&mut uki)
        .map_err(|source| in_disk(source, arguments))?;
    let facts = UkiFacts::of(&uki);
    let signature = assemble::signature_of(&uki).map_err(|source| in_disk(source, arguments))?;
    let like = Like::recorded(&inspect::inputs(&disk)?)?;
    let made = assemble::resign::with_uki(&arguments.disk, uki, root_hash, &like)?;
    let target = arguments.output.as_ref().unwrap_or(&arguments.disk);
    // Before the disk may take the old one's place.
    let old = OutputsRecord::of(&arguments.disk, &Memory(None));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let written = output::write_raw(&made.disk, target, threads, &|_| {})?;
    let record = old.map(|old| {
        let key = signed_key(&old.inputs_key, &Signature::By(Box::new(identity)));
        let resigned = Resigned {
            inputs_key: key,
            size: made.disk.len(),
            partitions: made.partitions.iter().map(Partition::from).collect(),
            uki: facts.sections,
            signature,
            measured_boot: facts.measured_boot,
        };
        old.resigned(&resigned, &written)
    });
    write_record(record, target)?;
    if arguments.json {
        let certificate = arguments.sign.sign_cert.as_deref();
        let json = json!({"disk": target, "certificate": certificate, "root_hash": hex::encode(root_hash)});
        return super::print_json(&json);
    }
    if !arguments.quiet {
        super::say(&format!("signed {}", target.display()));
    }
    Ok(())
}

/// What the flags have sign, or the signature that they bring.
fn named_identity(arguments: &args::Sign) -> Result<Identity, Error> {
    let identity = match (&arguments.attach, &arguments.sign.sign_cert) {
        (Some(signature), Some(certificate)) => {
            let made = Signer::Made(read(signature)?);
            Some(join(certificate, made, arguments.quiet)?)
        }
        _ => identity(&arguments.sign, arguments.quiet)?,
    };
    identity.ok_or(Error::Argument {
        argument: "sign".to_owned(),
        reason: "name what signs: --sign-key, --sign-command or --attach, and --sign-cert",
    })
}

/// Puts a statement of provenance into a signed envelope beside it.
fn sign_statement(arguments: &args::Sign) -> Result<(), Error> {
    let statement = read(&arguments.disk)?;
    if arguments.digest_only {
        let signed = provenance::to_be_signed(&statement);
        let info = DigestInfo::of(&signed).map_err(|source| in_disk(source, arguments))?;
        let digest = Sha256::digest(&signed);
        return print_digest(&digest, &info, None, arguments.json);
    }
    let identity = named_identity(arguments)?;
    let beside = || provenance::envelope_path(&arguments.disk);
    let target = arguments.output.clone().unwrap_or_else(beside);
    provenance::seal(&statement, &identity, &target)?;
    if arguments.json {
        let certificate = arguments.sign.sign_cert.as_deref();
        let json = json!({"envelope": target, "certificate": certificate});
        return super::print_json(&json);
    }
    if !arguments.quiet {
        super::say(&format!("wrote {}", target.display()));
    }
    Ok(())
}

fn in_disk(source: sign::Error, arguments: &args::Sign) -> Error {
    Error::Sign {
        path: arguments.disk.clone(),
        source,
    }
}

fn digest_only(uki: &[u8], arguments: &args::Sign) -> Result<(), Error> {
    let wanted = || {
        let authenticode = i2kit_format::authenticode::digest(uki)?;
        let wanted = ToBeSigned::new(&authenticode)?;
        Ok((authenticode, wanted.digest()?, wanted.digest_info()?))
    };
    let (authenticode, digest, info) = wanted().map_err(|source| in_disk(source, arguments))?;
    print_digest(&digest, &info, Some(&authenticode), arguments.json)
}

/// What a key out of reach is to sign.
fn print_digest(
    digest: &[u8],
    info: &DigestInfo,
    authenticode: Option<&[u8]>,
    json: bool,
) -> Result<(), Error> {
    if !json {
        return super::print(format!("{}\n", hex::encode(digest)).as_bytes());
    }
    let mut json = json!({
        "sha256": hex::encode(digest),
        "digest_info": hex::encode(info.as_bytes()),
    });
    if let (Some(authenticode), Some(object)) = (authenticode, json.as_object_mut()) {
        object.insert("authenticode".to_owned(), hex::encode(authenticode).into());
    }
    super::print_json(&json)
}

/// Writes the record beside the signed disk, as the build would; none where there was none.
fn write_record(record: Option<OutputsRecord>, target: &Path) -> Result<(), Error> {
    if let Some(record) = record {
        return Ok(record.write(target)?);
    }
    // One that lies there tells of another disk.
    let path = record_path(target);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Write { path, source })
        }
        _ => Ok(()),
    }
}
