//! A file that is written beside its target and takes its place at the end, whole and durable.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file on its way to its place. Dropped before [`Beside::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Beside {
    file: NamedTempFile,
    path: PathBuf,
}

/// What could not be done to which file.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}: {source}")]
pub struct BesideError {
    /// What was tried.
    pub operation: &'static str,
    /// The target.
    pub path: PathBuf,
    /// The system's answer.
    pub source: io::Error,
}

impl Beside {
    /// Begins the file that is to lie at `path`, with the mode that the umask leaves.
    ///
    /// # Errors
    /// [`BesideError`] when none can be made in its folder.
    pub fn create(path: &Path) -> Result<Self, BesideError> {
        let file = tempfile::Builder::new()
            .prefix(".i2kit-")
            .suffix(".tmp")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(super::parent(path))
            .map_err(at("create a file beside", path))?;
        let path = path.to_owned();
        Ok(Self { file, path })
    }

    /// Writes a file of these bytes.
    ///
    /// # Errors
    /// As [`Beside::create`] and [`Beside::commit`].
    pub fn write(path: &Path, bytes: &[u8]) -> Result<(), BesideError> {
        let beside = Self::create(path)?;
        beside.file().write_all(bytes).map_err(at("write", path))?;
        beside.commit()
    }

    /// Where to write.
    #[must_use]
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Makes it durable and puts it in its place.
    ///
    /// # Errors
    /// [`BesideError`]; the target is then as it was, or durable only when the system pleases.
    pub fn commit(self) -> Result<(), BesideError> {
        let path = &self.path;
        self.file()
            .sync_all()
            .map_err(at("fsync a file beside", path))?;
        self.file
            .persist(path)
            .map_err(|error| at("rename to", path)(error.error))?;
        let folder = File::open(super::parent(path)).and_then(|folder| folder.sync_all());
        folder.map_err(at("fsync the folder of", path))
    }
}

fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BesideError {
    move |source| BesideError {
        operation,
        path: path.to_owned(),
        source,
    }
}
