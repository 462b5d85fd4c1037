//! The outputs record: what a disk turned out to be. It lies beside the disk, since the disk can't
//! contain it. The same disk always has the same record, wherever and whenever it was built.

use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use i2kit_contract::Port;
use i2kit_format::gpt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Beside, BesideError, Written};
use crate::assemble::{Assembled, LayerPart, MeasuredBoot, SectionDigest};
use crate::cache::Cache;
use crate::disk::{self, FileDisk, SlabDigest, Slabs};

/// The record's version; another one is as good as none.
const VERSION: u32 = 3;

/// What a disk is and came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputsRecord {
    pub(super) version: u32,
    /// Names everything that went in: same key, same bytes.
    pub inputs_key: String,
    /// Bytes of the disk.
    pub size: u64,
    /// Bytes that are not holes.
    pub data_bytes: u64,
    /// Bytes left free for the scratch partition, as they were asked for.
    pub scratch: u64,
    /// dm-verity root hash of the store, hex.
    pub root_hash: String,
    /// SHA-256 over the raw digests of all slabs that are not zero, ascending, each preceded by
    /// its index as 8 little-endian bytes; `sha256:` and hex.
    pub disk_digest: String,
    /// The partitions in their order.
    pub partitions: Vec<Partition>,
    /// The layers in the store.
    pub layers: Vec<LayerPart>,
    /// Bytes between them that none has.
    pub holes: u64,
    /// Bytes of the store's metadata.
    pub metadata: u64,
    /// The UKI's sections.
    pub uki: Vec<SectionDigest>,
    /// The UKI's signature where it has one, a PKCS #7 SignedData (DER, hex): who builds the same UKI
    /// gets the same disk without the key.
    pub signature: Option<String>,
    /// The PCRs that a TPM will hold; none where the stub's measuring is not known.
    pub measured_boot: Option<MeasuredBoot>,
    /// The ports of the Pod's containers.
    pub ports: Vec<Port>,
    /// The inputs record, as the store has it.
    pub inputs: serde_json::Value,
    /// Plain SHA-256 (hex) of each slab of 512 KiB that is not zero, by index.
    pub slabs: Vec<(u64, String)>,
}

/// A partition's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Its label.
    pub name: String,
    /// Where it starts, bytes.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

impl From<&gpt::Partition> for Partition {
    fn from(one: &gpt::Partition) -> Self {
        Self {
            name: one.name.clone(),
            offset: one.offset(),
            size: one.size(),
        }
    }
}

/// A record that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The record, or the disk that it is of, cannot be read.
    #[error("read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is no record of this version.
    #[error("parse outputs record {path}: {reason}")]
    Parse {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] BesideError),
}

/// Where the record of the disk at `disk` lies: `NAME.i2kit.json` beside it.
#[must_use]
pub fn record_path(disk: &Path) -> PathBuf {
    let mut name = disk.file_name().unwrap_or_default().to_owned();
    name.push(".i2kit.json");
    disk.with_file_name(name)
}

/// Names all bytes of a disk by its slabs that are not zero.
#[must_use]
pub fn disk_digest(slabs: &Slabs) -> String {
    let mut hash = Sha256::new();
    for (index, digest) in slabs {
        hash.update(index.to_le_bytes());
        hash.update(digest);
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
}

impl OutputsRecord {
    /// The record of a disk with these slabs.
    #[must_use]
    pub fn new(
        assembled: &Assembled,
        inputs_key: String,
        scratch: u64,
        slabs: &Slabs,
        data_bytes: u64,
    ) -> Self {
        let ports = assembled.contract.all_containers();
        Self {
            version: VERSION,
            inputs_key,
            size: assembled.disk.len(),
            data_bytes,
            scratch,
            root_hash: hex::encode(assembled.root_hash),
            disk_digest: disk_digest(slabs),
            partitions: assembled.partitions.iter().map(Partition::from).collect(),
            layers: assembled.layers.clone(),
            holes: assembled.holes,
            metadata: assembled.metadata_len,
            uki: assembled.uki.sections.clone(),
            signature: assembled.signature.as_ref().map(hex::encode),
            measured_boot: assembled.uki.measured_boot.clone(),
            ports: ports.flat_map(|one| one.ports.clone()).collect(),
            inputs: assembled.inputs.clone(),
            slabs: written(slabs),
        }
    }

    /// The record of the same disk with another UKI, and what was written of it.
    #[must_use]
    pub fn resigned(self, made: &Resigned, written: &Written) -> Self {
        Self {
            inputs_key: made.inputs_key.clone(),
            size: made.size,
            data_bytes: written.data_bytes,
            disk_digest: disk_digest(&written.slabs),
            partitions: made.partitions.clone(),
            uki: made.uki.clone(),
            signature: made.signature.as_ref().map(hex::encode),
            measured_boot: made.measured_boot.clone(),
            slabs: self::written(&written.slabs),
            ..self
        }
    }

    /// Writes the record beside the disk.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn write(&self, disk: &Path) -> Result<(), RecordError> {
        let path = record_path(disk);
        let failed = |source| BesideError {
            operation: "write outputs record",
            path: path.clone(),
            source,
        };
        let json = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        Ok(Beside::write(&path, &json)?)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`RecordError`] when it cannot be read, is no record or one of another version.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let wrong = |reason: String| RecordError::Parse {
            path: path.to_owned(),
            reason,
        };
        let json = json(path).map_err(|source| RecordError::Read {
            path: path.to_owned(),
            source,
        })?;
        let json = json.ok_or_else(|| wrong("it is no JSON object".to_owned()))?;
        let value: serde_json::Value =
            serde_json::from_slice(&json).map_err(|error| wrong(error.to_string()))?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(found) if found == u64::from(VERSION) => {}
            Some(found) => return Err(wrong(format!("version {found}, {VERSION} is known"))),
            None => return Err(wrong("it has no version".to_owned())),
        }
        serde_json::from_value(value).map_err(|error| wrong(error.to_string()))
    }

    /// The plain SHA-256 of each slab that is not zero, by index.
    ///
    /// # Errors
    /// The index of the first slab whose digest is none.
    pub fn digests(&self) -> Result<Slabs, u64> {
        let digests = self.slabs.iter().map(|(index, digest)| {
            let mut out = SlabDigest::default();
            hex::decode_to_slice(digest, &mut out).map_err(|_| *index)?;
            Ok((*index, out))
        });
        digests.collect()
    }

    /// The record beside `disk`, if it is there and `disk` is what it tells of: `memory` knows that the
    /// file is untouched since it was written, or its bytes are compared.
    #[must_use]
    pub fn of(disk: &Path, memory: &Memory<'_>) -> Option<Self> {
        let record = Self::read(&record_path(disk)).ok()?;
        if memory.knows(disk, &record) {
            return Some(record);
        }
        let file = FileDisk::open(disk).ok()?;
        let is_same_size = i2kit_format::ReadAt::len(&file) == record.size;
        if !is_same_size || record.digests().ok()? != disk::slabs(&file).ok()? {
            return None;
        }
        memory.keep(disk, &record);
        Some(record)
    }

    /// As [`OutputsRecord::of`], for what was made from `inputs_key`.
    #[must_use]
    pub fn still_true(disk: &Path, inputs_key: &str, memory: &Memory<'_>) -> Option<Self> {
        let beside = Self::read(&record_path(disk)).ok()?;
        (beside.inputs_key == inputs_key)
            .then(|| Self::of(disk, memory))
            .flatten()
    }
}

/// A file's bytes, unless it does not begin as a record does: it may be a disk.
fn json(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = std::fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.by_ref().take(1).read_to_end(&mut bytes)?;
    if bytes != b"{" {
        return Ok(None);
    }
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// What a signature changes of a disk.
#[derive(Clone, Debug)]
pub struct Resigned {
    /// The key of the signed disk.
    pub inputs_key: String,
    /// Bytes of the disk.
    pub size: u64,
    /// Its partitions.
    pub partitions: Vec<Partition>,
    /// The UKI's sections.
    pub uki: Vec<SectionDigest>,
    /// The UKI's signature.
    pub signature: Option<Vec<u8>>,
    /// The PCRs to expect.
    pub measured_boot: Option<MeasuredBoot>,
}

pub(super) fn written(slabs: &Slabs) -> Vec<(u64, String)> {
    let slabs = slabs.iter();
    slabs
        .map(|(slab, digest)| (*slab, hex::encode(digest)))
        .collect()
}

/// Which files were written on this machine and not touched since, so that nobody need read them. It
/// lies in the cache: what it forgets is read.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a>(pub Option<&'a Cache>);

impl Memory<'_> {
    /// Keeps that the file at `disk` is what `record` says. A cache that takes nothing is no fault.
    pub fn keep(&self, disk: &Path, record: &OutputsRecord) {
        if let (Some(cache), Some((key, value))) = (self.0, remembered(disk, record)) {
            let _ = cache.keep_piece(&key, &value);
        }
    }

    fn knows(&self, disk: &Path, record: &OutputsRecord) -> bool {
        let found = self.0.and_then(|cache| {
            let (key, value) = remembered(disk, record)?;
            Some(cache.piece(&key)? == value)
        });
        found.unwrap_or(false)
    }
}

/// The cache's name for a file, and what it keeps of it.
fn remembered(disk: &Path, record: &OutputsRecord) -> Option<(String, Vec<u8>)> {
    let path = disk.canonicalize().ok()?;
    let name = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let identity = FileIdentity::from(&std::fs::metadata(disk).ok()?);
    let value = serde_json::to_vec(&(identity, &record.disk_digest)).ok()?;
    Some((format!("written-{}", hex::encode(name)), value))
}

/// What `stat` says of a file that nobody has touched since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct FileIdentity {
    size: u64,
    inode: u64,
    device: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl From<&Metadata> for FileIdentity {
    fn from(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            inode: metadata.ino(),
            device: metadata.dev(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
