//! What a push has made so far, on disk before it is made: whatever happens, something names it.
//!
//! ```text
//! document   what is in the file
//! lock       one push at a time has a ledger
//! log        which blocks were put already
//! undo       removing what was made
//! ```
//!
//! Of each thing the intent is written and fsynced, then the call is made, then its id is written. So
//! a thing that nobody wrote the id of is still found: by its client token, its name or a tag.

mod document;
mod error;
mod lock;
mod log;
mod undo;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use document::{Entry, Made, Start, Subject};
pub use error::LedgerError;
pub use log::BlockLog;
pub use undo::TOKEN_TAG;

use crate::disk::SlabDigest;
use crate::output::Beside;
use crate::push::times::now;
use document::Document;
use error::failed;
use lock::Lock;

const EXTENSION: &str = "json";

/// The ledger of one push. Nobody else has it.
#[derive(Debug)]
pub struct Ledger {
    id: String,
    folder: PathBuf,
    document: Mutex<Document>,
    lock: Lock,
}

/// A ledger that is there, as `i2kit ledger` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Names it.
    pub id: String,
    /// What was pushed.
    pub subject: Subject,
    /// What was made or was about to be, in that order.
    pub entries: Vec<Entry>,
    /// A push is at it.
    pub in_use: bool,
}

impl Ledger {
    /// A new ledger, or the one that a push of the same left when it was killed.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] while another push has it; when it cannot be read.
    pub fn open(folder: &Path, subject: &Subject) -> Result<Self, LedgerError> {
        make_folder(folder)?;
        let id = subject.id();
        let lock = Lock::take(folder, &id)?;
        let document = match read(&path(folder, &id))? {
            Some(document) => document,
            None => Document::new(subject.clone())
                .map_err(|source| failed("draw a number for", folder, source))?,
        };
        Ok(Self::with(folder, id, document, lock))
    }

    /// The ledger of that id.
    ///
    /// # Errors
    /// As [`Ledger::open`]; [`LedgerError::Missing`].
    pub fn open_id(folder: &Path, id: &str) -> Result<Self, LedgerError> {
        let path = path(folder, id);
        let missing = || LedgerError::Missing { path: path.clone() };
        if read(&path)?.is_none() {
            return Err(missing());
        }
        let lock = Lock::take(folder, id)?;
        // It may have been finished meanwhile.
        let document = read(&path)?.ok_or_else(missing)?;
        Ok(Self::with(folder, id.to_owned(), document, lock))
    }

    fn with(folder: &Path, id: String, document: Document, lock: Lock) -> Self {
        Self {
            id,
            folder: folder.to_owned(),
            document: Mutex::new(document),
            lock,
        }
    }

    /// All ledgers in a folder, by their ids. None where there is no folder.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn list(folder: &Path) -> Result<Vec<Pending>, LedgerError> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            entries => entries.map_err(|source| failed("list", folder, source))?,
        };
        for entry in entries {
            let path = entry
                .map_err(|source| failed("list", folder, source))?
                .path();
            let id = path.file_stem().and_then(|stem| stem.to_str());
            let is_ledger = path
                .extension()
                .is_some_and(|extension| extension == EXTENSION);
            let (true, Some(id)) = (is_ledger, id) else {
                continue;
            };
            if let Some(document) = read(&path)? {
                found.push(Pending {
                    id: id.to_owned(),
                    subject: document.subject.clone(),
                    entries: document.entries(),
                    in_use: Lock::is_taken(folder, id),
                });
            }
        }
        found.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(found)
    }

    /// Names it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What was made or was about to be, in that order.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.document().entries()
    }

    /// A client token for what these words name: 64 hex digits, the same for the same words until
    /// [`Ledger::forget`], another one in each other ledger.
    #[must_use]
    pub fn token(&self, words: &[&str]) -> String {
        self.document().token(words)
    }

    /// Writes what is about to be made; answers the entry's number. The same one is not
    /// written twice.
    ///
    /// # Errors
    /// When it cannot be written: then nothing may be made.
    pub fn intend(&self, entry: Entry) -> Result<usize, LedgerError> {
        self.change(|document| document.intend(entry, now()))
    }

    /// Writes the id of what was made.
    ///
    /// # Errors
    /// When it cannot be written. The thing is found without it, too.
    pub fn made(&self, number: usize, id: &str) -> Result<(), LedgerError> {
        self.change(|document| {
            if let Some(record) = document.records.get_mut(number) {
                record.entry.id = Some(id.to_owned());
            }
        })
    }

    /// Strikes what is gone, or was never made; tokens are others from now on.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn forget(&self, entry: &Entry) -> Result<(), LedgerError> {
        self.change(|document| document.forget(entry))
    }

    /// All that was made is kept: the ledger goes.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn finish(self) -> Result<(), LedgerError> {
        self.document().records.clear();
        self.remove()
    }

    /// The log of blocks put into the snapshot that was begun with this token, and those in it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn block_log(
        &self,
        token: &str,
    ) -> Result<(BlockLog, Vec<(u32, SlabDigest)>), LedgerError> {
        let path = log_path(&self.folder, &self.id);
        BlockLog::open(&path, token).map_err(|source| failed("open", &path, source))
    }

    fn document(&self) -> MutexGuard<'_, Document> {
        self.document.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the document, on disk first.
    fn change<T>(&self, change: impl FnOnce(&mut Document) -> T) -> Result<T, LedgerError> {
        let mut document = self.document();
        let mut changed = document.clone();
        let answer = change(&mut changed);
        if changed != *document {
            let path = path(&self.folder, &self.id);
            let json = serde_json::to_vec_pretty(&changed);
            let json = json.map_err(|error| failed("write", &path, error.into()))?;
            let written = Beside::write(&path, &json);
            written.map_err(|error| failed(error.operation, &error.path, error.source))?;
            *document = changed;
        }
        Ok(answer)
    }

    fn remove(&self) -> Result<(), LedgerError> {
        for path in [
            log_path(&self.folder, &self.id),
            path(&self.folder, &self.id),
        ] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(|source| failed("remove", &path, source))?,
            }
        }
        sync_folder(&self.folder)
    }
}

impl Drop for Ledger {
    /// One that names nothing leaves no file.
    fn drop(&mut self) {
        if self.document().records.is_empty() && self.remove().is_ok() {
            self.lock.remove();
        }
    }
}

fn path(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.{EXTENSION}"))
}

fn log_path(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.blocks"))
}

/// The things that a ledger's file names.
///
/// # Errors
/// Why it is no ledger that this version knows.
pub fn parse(json: &[u8]) -> Result<Vec<Entry>, String> {
    Document::parse(json).map(|document| document.entries())
}

fn read(path: &Path) -> Result<Option<Document>, LedgerError> {
    let json = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        json => json.map_err(|source| failed("read", path, source))?,
    };
    Document::parse(&json)
        .map(Some)
        .map_err(|reason| LedgerError::Parse {
            path: path.to_owned(),
            reason,
        })
}

/// A folder that a power loss does not take away again.
fn make_folder(folder: &Path) -> Result<(), LedgerError> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|source| failed("make the folder of", folder, source))?;
    folder.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(folder: &Path) -> Result<(), LedgerError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| failed("fsync the folder of", folder, source))
}

#[cfg(test)]
mod tests;
