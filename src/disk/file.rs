//! A disk that is a file already.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use i2kit_format::ReadAt;

/// A raw disk image, read only.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
    len: u64,
}

/// The file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("open disk {path}: {source}")]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

impl FileDisk {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let context = |source| OpenError {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(context)?;
        let len = file.metadata().map_err(context)?.len();
        Ok(Self { file, len })
    }
}

impl ReadAt for FileDisk {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(&self.file, buf, offset)
    }
}
