//! `i2kit sign`, and what signs a build.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::args::{self, SignArgs};
use super::build::disk_digest;
use super::error::Error;
use super::plan::signed_key;
use super::summary::{Partition, Summary};
use crate::assemble::MeasuredBoot;
use crate::disk::FileDisk;
use crate::output::{self, OutputsRecord, record_path};
use crate::sign::{Certificate, Identity, PrivateKey, Signer, ToBeSigned};
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
    let disk = FileDisk::open(&arguments.disk)?;
    let mut uki = inspect::uki(&disk)?;
    if arguments.digest_only {
        return digest_only(&uki, arguments);
    }
    let identity = match (&arguments.attach, &arguments.sign.sign_cert) {
        (Some(signature), Some(certificate)) => {
            let made = Signer::Made(read(signature)?);
            Some(join(certificate, made, arguments.quiet)?)
        }
        _ => identity(&arguments.sign, arguments.quiet)?,
    };
    let identity = identity.ok_or(Error::Argument {
        argument: "sign".to_owned(),
        reason: "name what signs: --sign-key, --sign-command or --attach, and --sign-cert",
    })?;
    inspect::verify(&disk, None)?;
    let root_hash = inspect::root_hash(&uki)?;
    identity
        .sign(&mut uki)
        .map_err(|source| in_disk(source, arguments))?;
    let measured_boot = MeasuredBoot::of(&uki);
    let made = assemble::resign::with_uki(
        &arguments.disk,
        uki,
        root_hash,
        &super::place::recorded(&inspect::inputs(&disk)?)?,
    )?;
    let target = arguments.output.as_ref().unwrap_or(&arguments.disk);
    // Before the disk may take the old one's place.
    let old = OutputsRecord::<Summary>::of(&arguments.disk);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let written = output::write_raw(&made.disk, target, threads, &|_| {})?;
    record(old, target, &made, &written, measured_boot, &identity)?;
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
    if !arguments.json {
        return super::print(format!("{}\n", hex::encode(digest)).as_bytes());
    }
    let json = json!({
        "sha256": hex::encode(digest),
        "digest_info": hex::encode(info.as_bytes()),
        "authenticode": hex::encode(authenticode),
    });
    super::print_json(&json)
}

/// The record beside the signed disk, as the build would have written it; none where there was none.
fn record(
    old: Option<OutputsRecord<Summary>>,
    target: &Path,
    made: &assemble::partitions::Partitioned,
    written: &output::Written,
    measured_boot: Option<MeasuredBoot>,
    identity: &Identity,
) -> Result<(), Error> {
    let Some(old) = old else {
        // One that lies there tells of another disk.
        let path = record_path(target);
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::Write {
                path,
                source: error,
            }),
            _ => Ok(()),
        };
    };
    let mut summary = old.summary;
    summary.disk = target.to_owned();
    summary.data_bytes = written.data_bytes;
    summary.size = made.disk.len();
    summary.partitions = made.partitions.iter().map(Partition::from).collect();
    let slabs = written.slabs.iter();
    let slabs = slabs.map(|(slab, digest)| (*slab, hex::encode(digest)));
    OutputsRecord::new(
        target,
        signed_key(&old.inputs_key, identity),
        old.root_hash,
        disk_digest(&written.slabs),
        slabs.collect(),
        measured_boot,
        summary,
    )?
    .write(target)?;
    Ok(())
}
