//! `i2kit keys`.

use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use i2kit_format::authenticode;
use i2kit_format::efi::{SecureBoot, Signature, store};

use super::args::{Enrol, KeysCommand, NewKeys, RsaBits};
use super::error::Error;
use super::sign::certificate;
use crate::disk::FileDisk;
use crate::inspect;
use crate::output::Beside;
use crate::run::{self, Firmware};
use crate::sign::{self, Bits};

/// What UEFI calls the keys.
const NAMES: [&str; 3] = ["PK", "KEK", "db"];
/// Variable stores have half a MiB.
const MAX_STORE: u64 = 64 << 20;

/// `i2kit keys`.
pub fn keys(command: &KeysCommand) -> Result<(), Error> {
    match command {
        KeysCommand::New(arguments) => new(arguments),
        KeysCommand::Enrol(arguments) => enrol(arguments),
    }
}

fn new(arguments: &NewKeys) -> Result<(), Error> {
    let folder = &arguments.folder;
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(folder);
    made.map_err(|source| Error::Write {
        path: folder.clone(),
        source,
    })?;
    let files = NAMES.map(|name| {
        [
            folder.join(format!("{name}.key")),
            folder.join(format!("{name}.crt")),
        ]
    });
    if let Some(path) = files
        .iter()
        .flatten()
        .find(|path| path.symlink_metadata().is_ok())
    {
        return Err(Error::Exists { path: path.clone() });
    }
    let bits = match arguments.rsa {
        RsaBits::Rsa2048 => Bits::Rsa2048,
        RsaBits::Rsa3072 => Bits::Rsa3072,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = Duration::from_secs(now.map_or(0, |now| now.as_secs()));
    for (name, [key, certificate]) in NAMES.iter().zip(&files) {
        let name = format!("{} {name}", arguments.name);
        let pair = sign::generate(&name, bits, now, arguments.days);
        let pair = pair.map_err(|source| Error::Sign {
            path: key.clone(),
            source,
        })?;
        create(key, 0o600, pair.key.as_bytes())?;
        create(certificate, 0o644, pair.certificate.as_bytes())?;
    }
    let folder = folder.display();
    super::say(&format!("made PK, KEK and db in {folder}"));
    Ok(())
}

/// A new file that outlives a crash.
fn create(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Error> {
    let mut options = File::options();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}

fn enrol(arguments: &Enrol) -> Result<(), Error> {
    let [platform_key, exchange, db] =
        NAMES.map(|name| certificate(&arguments.folder.join(format!("{name}.crt"))));
    let (platform_key, exchange, db) = (platform_key?, exchange?, db?);
    let mut allowed = vec![Signature::X509(db.der().to_vec())];
    for path in &arguments.db {
        allowed.push(Signature::X509(certificate(path)?.der().to_vec()));
    }
    let forbidden = arguments.dbx.iter().map(|one| forbidden(one));
    let secure_boot = SecureBoot {
        owner: sign::owner(&platform_key),
        platform_key: platform_key.der().to_vec(),
        key_exchange_keys: vec![exchange.der().to_vec()],
        allowed,
        forbidden: forbidden.collect::<Result<_, _>>()?,
        time: platform_key.not_before(),
    };
    if let Some(path) = &arguments.ovmf {
        let (template, bytes) = template(arguments.template.as_deref())?;
        let store = store::write(&bytes, &secure_boot.edk2_variables());
        let store = store.map_err(|source| Error::Variables {
            path: template,
            source,
        })?;
        Beside::write(path, &store)?;
    }
    if let Some(path) = &arguments.ec2 {
        let data = sign::ec2_data(&secure_boot.variables()).map_err(|source| Error::Write {
            path: path.clone(),
            source,
        })?;
        Beside::write(path, data.as_bytes())?;
    }
    Ok(())
}

/// The store to begin with, and where it is from.
fn template(given: Option<&Path>) -> Result<(PathBuf, Vec<u8>), Error> {
    let found = || Firmware::find_secure().and_then(|firmware| firmware.vars);
    let path = given.map(Path::to_owned).or_else(found);
    let path = path.ok_or(run::Error::SecureFirmwareMissing)?;
    let bytes = bounded(&path, MAX_STORE)?;
    Ok((path, bytes))
}

fn bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes)
}

/// An Authenticode digest: given in hex, of a PE file, or of a disk's UKI.
fn forbidden(what: &str) -> Result<Signature, Error> {
    let mut digest = [0; 32];
    if hex::decode_to_slice(what, &mut digest).is_ok() {
        return Ok(Signature::Sha256(digest));
    }
    let path = Path::new(what);
    let disk = FileDisk::open(path)?;
    let is_pe = i2kit_format::uki::read(&disk).is_ok();
    let digest = if is_pe {
        authenticode::digest(&disk)
    } else {
        authenticode::digest(&inspect::uki(&disk)?)
    };
    let digest = digest.map_err(|source| Error::Sign {
        path: path.to_owned(),
        source: source.into(),
    })?;
    Ok(Signature::Sha256(digest))
}
