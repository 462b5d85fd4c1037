//! The outputs record: what a disk turned out to be. It lies beside the disk, since the disk
//! can't contain it.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::SlabDigest;

use crate::assemble::MeasuredBoot;

/// The record's version; another one is as good as none.
const VERSION: u32 = 2;

/// What a written disk is and came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputsRecord<S> {
    version: u32,
    /// Names everything that went in: same key, same bytes.
    pub inputs_key: String,
    /// dm-verity root hash of the store, hex.
    pub root_hash: String,
    /// SHA-256 over the raw digests of all slabs that are not zero, ascending, each preceded by
    /// its index as 8 little-endian bytes; hex.
    pub disk_digest: String,
    /// Plain SHA-256 (hex) of each slab of 512 KiB that is not zero, by index.
    pub slabs: Vec<(u64, String)>,
    /// The PCRs that a TPM will hold; none where the stub's measuring is not known.
    pub measured_boot: Option<MeasuredBoot>,
    /// The file as it was left.
    pub file: FileIdentity,
    /// What was told to the user.
    pub summary: S,
}

/// What `stat` says of a file that nobody has touched since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileIdentity {
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

impl FileIdentity {
    /// The identity of the file at `path`.
    ///
    /// # Errors
    /// What `stat` answers.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&std::fs::metadata(path)?))
    }
}

/// The record could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write outputs record {path}: {source}")]
pub struct RecordError {
    path: PathBuf,
    source: io::Error,
}

/// Where the record of the disk at `disk` lies: `NAME.i2kit.json` beside it.
#[must_use]
pub fn record_path(disk: &Path) -> PathBuf {
    let mut name = disk.file_name().unwrap_or_default().to_owned();
    name.push(".i2kit.json");
    disk.with_file_name(name)
}

impl<S: Serialize + for<'de> Deserialize<'de>> OutputsRecord<S> {
    /// A record of the disk just written to `disk`.
    ///
    /// # Errors
    /// [`RecordError`] when the disk cannot be examined.
    pub fn new(
        disk: &Path,
        inputs_key: String,
        root_hash: String,
        disk_digest: String,
        slabs: Vec<(u64, String)>,
        measured_boot: Option<MeasuredBoot>,
        summary: S,
    ) -> Result<Self, RecordError> {
        let context = |source| RecordError {
            path: record_path(disk),
            source,
        };
        let file = FileIdentity::of(disk).map_err(context)?;
        Ok(Self {
            version: VERSION,
            inputs_key,
            root_hash,
            disk_digest,
            slabs,
            measured_boot,
            file,
            summary,
        })
    }

    /// Writes the record beside the disk: to a temporary file, then renamed.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn write(&self, disk: &Path) -> Result<(), RecordError> {
        let path = record_path(disk);
        let context = |source| RecordError {
            path: path.clone(),
            source,
        };
        let json = serde_json::to_vec(self).map_err(|error| context(error.into()))?;
        let temporary = tempfile::NamedTempFile::new_in(super::parent(&path)).map_err(context)?;
        io::Write::write_all(&mut temporary.as_file(), &json).map_err(context)?;
        temporary
            .persist(&path)
            .map_err(|error| context(error.error))?;
        Ok(())
    }

    /// The record beside `disk`, if it is there, of this version, made from `inputs_key`, and the
    /// disk is still the very file that was written.
    #[must_use]
    pub fn still_true(disk: &Path, inputs_key: &str) -> Option<Self> {
        Self::of(disk).filter(|record| record.inputs_key == inputs_key)
    }

    /// The record of the disk at `path`, if that is still the file that was written, or the record
    /// that `path` itself is.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        if let Some(record) = Self::of(path) {
            return Some(record);
        }
        // No disk begins like a record.
        let mut start = [0];
        let mut file = std::fs::File::open(path).ok()?;
        io::Read::read_exact(&mut file, &mut start).ok()?;
        let json = (start == *b"{")
            .then(|| std::fs::read(path).ok())
            .flatten()?;
        let record: Self = serde_json::from_slice(&json).ok()?;
        (record.version == VERSION).then_some(record)
    }

    /// The plain SHA-256 of each slab that is not zero, by index; those that are no digests are left
    /// out.
    pub fn digests(&self) -> impl Iterator<Item = (u64, SlabDigest)> + '_ {
        self.slabs.iter().filter_map(|(index, digest)| {
            let mut out = SlabDigest::default();
            hex::decode_to_slice(digest, &mut out).ok()?;
            Some((*index, out))
        })
    }

    /// The record beside `disk`, if it is there, of this version, and the disk is still the very
    /// file that was written.
    #[must_use]
    pub fn of(disk: &Path) -> Option<Self> {
        let json = std::fs::read(record_path(disk)).ok()?;
        let record: Self = serde_json::from_slice(&json).ok()?;
        let same = record.version == VERSION
            && FileIdentity::of(disk).is_ok_and(|identity| identity == record.file);
        same.then_some(record)
    }
}
