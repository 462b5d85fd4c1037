//! Why there is no snapshot.

use i2kit_format::SLAB;

use crate::push::cloud::CallError;
use crate::push::index::IndexError;
use crate::push::ledger::LedgerError;
use crate::push::source::SourceError;
use crate::push::upload::UploadError;
use crate::push::verify::VerifyError;
use crate::push::wait::TimeIsUp;

/// Why there is no snapshot. What was made of it is in the ledger.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed for good.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The disk is none of i2kit's, or damaged.
    #[error("read the disk to push: {0}")]
    Index(#[from] IndexError),
    /// It cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Not all blocks were put.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The ledger cannot be kept.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What was read back is not what was put.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The service counts in other blocks.
    #[error("start {snapshot}: blocks of {found} bytes, only {SLAB} are known")]
    BlockSize {
        /// The snapshot, which was deleted again.
        snapshot: String,
        /// Bytes of its blocks.
        found: u32,
    },
    /// The service forgot the parent.
    #[error("start {snapshot}: its parent was to be {wanted}, and is {}", .found.as_deref().unwrap_or("none"))]
    Parent {
        /// The snapshot, which was deleted again.
        snapshot: String,
        /// The parent asked for.
        wanted: String,
        /// The parent it has.
        found: Option<String>,
    },
    /// The volume is too small.
    #[error("make a snapshot of {volume_gib} GiB: the disk has {len} bytes")]
    VolumeSize {
        /// What was asked for.
        volume_gib: u64,
        /// Bytes of the disk.
        len: u64,
    },
    /// Making it failed at Amazon's.
    #[error("complete {snapshot}: it ended in state {state}: {reason}")]
    Failed {
        /// The snapshot.
        snapshot: String,
        /// Its state.
        state: String,
        /// Amazon's words.
        reason: String,
    },
    /// It did not complete in time.
    #[error("wait for the snapshot: after {} s it is {}", .0.seconds, .0.last)]
    Late(TimeIsUp),
    /// The program is about to end.
    #[error("push: interrupted")]
    Interrupted,
}

impl From<TimeIsUp> for Error {
    fn from(time_is_up: TimeIsUp) -> Self {
        Self::Late(time_is_up)
    }
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Call(error) | Self::Upload(UploadError::Call(error)) => error.hint(),
            Self::Source(error) | Self::Upload(UploadError::Source(error)) => error.hint(),
            Self::Ledger(error) => error.hint(),
            Self::BlockSize { .. } => Some(
                "EBS has blocks of 512 KiB; whatever answers at this endpoint is something else"
                    .to_owned(),
            ),
            Self::Parent { .. } => Some("push with --parent none".to_owned()),
            Self::VolumeSize { .. } => {
                Some("leave --volume-size out, or make it larger".to_owned())
            }
            _ => None,
        }
    }
}
