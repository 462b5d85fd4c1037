//! What can go wrong with a ledger.

use std::io;
use std::path::{Path, PathBuf};

use crate::push::cloud::CallError;

/// A ledger that cannot be kept, or what it names cannot be removed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file of it cannot be read or written.
    #[error("{operation} ledger {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another push has it.
    #[error("lock ledger {path}: another push of the same disk is under way")]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// It is no ledger of this version.
    #[error("parse ledger {path}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is none of that id.
    #[error("find ledger {path}: there is none")]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// What it names cannot be removed. It still names it.
    #[error("undo the push: {0}")]
    Undo(#[from] CallError),
}

impl LedgerError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Busy { .. } => Some("wait for it, or end it; i2kit ledger lists them".to_owned()),
            Self::Parse { path, .. } => Some(format!(
                "see what {} names, remove that in the account, then remove the file",
                path.display()
            )),
            Self::Undo(_) => Some(
                "i2kit ledger shows what is left; i2kit push --abort tries to remove it again"
                    .to_owned(),
            ),
            Self::File { .. } | Self::Missing { .. } => None,
        }
    }
}

pub(super) fn failed(operation: &'static str, path: &Path, source: io::Error) -> LedgerError {
    LedgerError::File {
        operation,
        path: path.to_owned(),
        source,
    }
}
