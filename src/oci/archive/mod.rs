//! Tar archives of images, read in place: their headers are walked once, then members are read
//! where they lie. Nothing of them is unpacked to disk.

mod index;
mod scratch;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use index::Index;
pub use index::Refused;
pub use scratch::{Notice, Scratch};

use super::Error;

/// An archive whose members are known.
#[derive(Debug)]
pub(super) struct Archive {
    file: Arc<File>,
    index: Index,
}

impl Archive {
    /// The members of `file`, an uncompressed tar.
    pub(super) fn new(file: File) -> Result<Self, Refused> {
        let index = Index::read(&file)?;
        Ok(Self {
            file: Arc::new(file),
            index,
        })
    }

    /// The regular file of that name, links followed; `None` where there is none.
    pub(super) fn member(&self, name: &str) -> Result<Option<Member>, Refused> {
        let found = self.index.find(name)?;
        Ok(found.map(|extent| Member {
            file: Arc::clone(&self.file),
            offset: extent.offset,
            left: extent.len,
        }))
    }
}

/// Reads one member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Member {
    /// Bytes not yet read; the member's length at first.
    pub(super) fn len(&self) -> u64 {
        self.left
    }
}

impl Read for Member {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        let got = self
            .file
            .read_at(buf.get_mut(..want).unwrap_or_default(), self.offset)?;
        if got == 0 && want > 0 {
            // The file has shrunk since its index was made.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += got as u64;
        self.left -= got as u64;
        Ok(got)
    }
}

/// The archives that a command has open: each is indexed, and where it must be unpacked, once.
#[derive(Debug, Default)]
pub(super) struct Archives {
    scratch: Scratch,
    open: Mutex<BTreeMap<PathBuf, Arc<Archive>>>,
}

impl Archives {
    pub(super) fn new(scratch: Scratch) -> Self {
        Self {
            scratch,
            open: Mutex::default(),
        }
    }

    pub(super) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The archive at `path`, compressed or not; `what` is what messages call it.
    pub(super) fn open(&self, what: &'static str, path: &Path) -> Result<Arc<Archive>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(archive) = open.get(path) {
            return Ok(Arc::clone(archive));
        }
        let read = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(read)?;
        let file = self.scratch.plain(path, file)?;
        let archive = Archive::new(file).map_err(|refused| refused.of(what, path))?;
        let archive = Arc::new(archive);
        open.insert(path.to_owned(), Arc::clone(&archive));
        Ok(archive)
    }
}
