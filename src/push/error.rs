//! Why a push did not come to its end.

use super::cloud::{CallError, CloudError};
use super::download::FetchError;
use super::identity::NameError;
use super::ledger::LedgerError;
use super::snapshot;
use super::snapshot_disk::DiskError;
use super::source::SourceError;
use super::wait::TimeIsUp;

/// What failed, with what, where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody knows who one is.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// A call failed for good.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The ledger cannot be kept.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The disk cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No snapshot came of it.
    #[error(transparent)]
    Snapshot(#[from] snapshot::Error),
    /// A snapshot cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A snapshot cannot be downloaded.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// No AMI can be called that.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no such AMI.
    #[error("find {id} in {region}: there is no such AMI, or it is not shared with this account")]
    NoAmi {
        /// Its id.
        id: String,
        /// The region.
        region: String,
    },
    /// There is no such snapshot.
    #[error("find {id} in {region}: there is no such snapshot of this account")]
    NoSnapshot {
        /// Its id.
        id: String,
        /// The region.
        region: String,
    },
    /// An AMI of something else than EBS.
    #[error("read {ami}: its root is no snapshot")]
    NoRoot {
        /// Its id.
        ami: String,
    },
    /// The AMI ended in another state than `available`.
    #[error("wait for {ami} in {region}: it is {state}{}", because(reason.as_deref()))]
    AmiFailed {
        /// Its id.
        ami: String,
        /// The region.
        region: String,
        /// Its state.
        state: String,
        /// EC2's words.
        reason: Option<String>,
    },
    /// A copy of a snapshot ended in another state than `completed`.
    #[error("wait for {snapshot} in {region}: it is {state}{}", because(reason.as_deref()))]
    CopyFailed {
        /// Its id.
        snapshot: String,
        /// The region.
        region: String,
        /// Its state.
        state: String,
        /// EC2's words.
        reason: Option<String>,
    },
    /// It took too long.
    #[error("wait for {what}: {} after {} s", last.last, last.seconds)]
    Late {
        /// For what.
        what: String,
        /// What was so last.
        last: TimeIsUp,
    },
    /// The same disk is there under the same name, made in another way.
    #[error("register {name} in {region}: {ami} is the same disk, with {what}")]
    Different {
        /// The AMI's name.
        name: String,
        /// The region.
        region: String,
        /// The AMI that is there.
        ami: String,
        /// What is different.
        what: String,
    },
    /// Somebody else's AMI has the name.
    #[error("register {name} in {region}: {ami} has that name and is another disk")]
    Taken {
        /// The AMI's name.
        name: String,
        /// The region.
        region: String,
        /// The AMI that is there.
        ami: String,
    },
    /// The account may not share so.
    #[error("share {ami} in {region}: {source}")]
    Share {
        /// The AMI.
        ami: String,
        /// The region.
        region: String,
        /// EC2's answer.
        source: CallError,
    },
    /// Somebody wants no more of it.
    #[error("push: interrupted")]
    Interrupted,
    /// It failed, and so did removing what it had made.
    #[error("{error}; what was made could not be removed {}", left.join("; "))]
    Left {
        /// Why the push failed.
        error: Box<Error>,
        /// What is left, by region, and why.
        left: Vec<String>,
    },
    /// Part of it ended without an answer.
    #[error("push to {region}: {reason}")]
    Task {
        /// The region.
        region: String,
        /// What is known.
        reason: String,
    },
}

fn because(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Cloud(error) => return error.hint(),
            Self::Call(error) => return error.hint(),
            Self::Ledger(error) => return error.hint(),
            Self::Source(error) => return error.hint(),
            Self::Snapshot(error) => return error.hint(),
            Self::Name(error) => return Some(error.hint()),
            Self::Share { source, .. } => match is_blocked(source) {
                true => BLOCKED,
                false => return source.hint(),
            },
            Self::NoAmi { .. } | Self::NoSnapshot { .. } => {
                "name its region with --region; i2kit images lists those that i2kit has made"
            }
            Self::Different { .. } => {
                "push under another --name, or remove that AMI first: aws ec2 deregister-image"
            }
            Self::Taken { .. } => "push under another --name",
            Self::Late { .. } => {
                "push again: it goes on where it was; i2kit push --abort removes what is left"
            }
            Self::Left { .. } => {
                "i2kit ledger shows what is left; i2kit push --abort tries again to remove it"
            }
            Self::Interrupted => "what was begun is removed; i2kit ledger shows what could not be",
            Self::Disk(_) | Self::Fetch(_) => return None,
            Self::NoRoot { .. }
            | Self::AmiFailed { .. }
            | Self::CopyFailed { .. }
            | Self::Task { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// Whether the account lets nobody make AMIs public.
fn is_blocked(error: &CallError) -> bool {
    error.code == "OperationNotPermitted" && error.message.to_lowercase().contains("block public")
}

const BLOCKED: &str = "this account blocks public AMIs in that region, as new ones do: aws ec2 \
    get-image-block-public-access-state tells, and disable-image-block-public-access changes it \
    for all AMIs of the account, within ten minutes";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::cloud::{Failed, Kind};

    #[test]
    fn a_block_on_public_amis_is_explained() {
        let error = |message: &str| Error::Share {
            ami: "ami-1".to_owned(),
            region: "eu-central-1".to_owned(),
            source: CallError::new(Failed {
                operation: "modify image",
                object: "ami-1".to_owned(),
                kind: Kind::Denied,
                code: "OperationNotPermitted".to_owned(),
                message: message.to_owned(),
                request_id: None,
                retry_after: None,
            }),
        };
        let blocked = error("You can't publicly share this image. Block Public Access is on.");
        assert!(
            blocked
                .hint()
                .unwrap()
                .contains("get-image-block-public-access-state")
        );
        assert_ne!(error("no").hint(), blocked.hint());
    }
}
