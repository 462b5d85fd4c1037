//! Whether an older snapshot can be the parent of a new one, and what it has.
//!
//! Nothing but its own blocks is asked: some 0.8 % of them are its hash tree, and that, checked up to
//! the root hash in its tags, says what is in all others.

use std::sync::Arc;

use super::blocks::Known;
use super::cloud::{self, Kind, Region, Snapshot};
use super::own::Own;
use super::remote::{Reads, Remote, RemoteError};
use super::snapshot_disk::{DiskError, SnapshotDisk};

/// A snapshot that may be the parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What EC2 says of it.
    pub snapshot: Snapshot,
    /// The root hash of its store, by its tags; the UKI's in it where there is none.
    pub root_hash: Option<[u8; 32]>,
    /// What its ESP holds, by its tags.
    pub esp: Option<String>,
}

/// What a new snapshot may be the child of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offered {
    /// Nothing: no parent is wanted, or there was never any.
    Nothing,
    /// A snapshot that an AMI still names, and that is gone.
    Gone {
        /// Its id.
        snapshot: String,
    },
    /// A snapshot that is there.
    Candidate(Box<Candidate>),
}

/// Why there is no parent, and all blocks are put.
#[derive(Debug, thiserror::Error)]
pub enum FallBack {
    /// It was deleted.
    #[error("the parent {snapshot} is gone")]
    Gone {
        /// The parent.
        snapshot: String,
    },
    /// It is not complete, or damaged.
    #[error("the parent {snapshot} is in state {state}, not completed")]
    State {
        /// The parent.
        snapshot: String,
        /// Its state.
        state: String,
    },
    /// A child has its parent's encryption.
    #[error("the parent {snapshot} is not encrypted with the key that is wanted")]
    Key {
        /// The parent.
        snapshot: String,
    },
    /// A child is at least as large as its parent.
    #[error("the parent {snapshot} is of {parent} GiB, this volume of {own} GiB")]
    Larger {
        /// The parent.
        snapshot: String,
        /// Its volume, GiB.
        parent: u64,
        /// The new one's, GiB.
        own: u64,
    },
    /// Its store begins elsewhere, so hardly a block is the same.
    #[error(
        "the store of the parent {snapshot} begins at byte {parent} of the disk, here at {own}"
    )]
    Layout {
        /// The parent.
        snapshot: String,
        /// Where its store begins, bytes.
        parent: u64,
        /// Where the new one's does.
        own: u64,
    },
    /// It is no disk of i2kit's, or its hash tree does not match its root hash.
    #[error("the parent is not sound: {0}")]
    Unsound(DiskError),
    /// Its blocks cannot be read.
    #[error("the parent cannot be read: {0}")]
    Unread(RemoteError),
    /// No block is the same.
    #[error("the parent {snapshot} has no block in common with this disk")]
    Nothing {
        /// The parent.
        snapshot: String,
    },
    /// StartSnapshot refused it.
    #[error("the parent {snapshot} was refused: {reason}")]
    Refused {
        /// The parent.
        snapshot: String,
        /// EBS's words.
        reason: String,
    },
}

/// What the new snapshot is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Its volume, GiB.
    pub volume_gib: u64,
    /// The key to encrypt it with, by its ARN or id; the parent's encryption, if any, where none.
    pub kms_key: Option<&'a str>,
    /// The new disk.
    pub own: &'a Own,
}

/// A parent that was read.
#[derive(Debug)]
pub(super) struct Parent {
    pub snapshot: String,
    pub known: Known,
    pub reads: Reads,
}

/// The candidate's blocks, where nothing that EC2 says of it rules it out. `listed` are perhaps its.
///
/// # Errors
/// [`FallBack`].
pub(super) async fn listed(
    region: &Region,
    candidate: &Candidate,
    wanted: Wanted<'_>,
    listed: Option<&Arc<Remote>>,
) -> Result<Arc<Remote>, FallBack> {
    let snapshot = &candidate.snapshot;
    check(snapshot, wanted)?;
    match listed.filter(|remote| remote.snapshot() == snapshot.id) {
        Some(remote) => Ok(Arc::clone(remote)),
        None => {
            let remote = Remote::list(region, &snapshot.id, false).await;
            remote.map_err(|error| unread(snapshot.id.clone(), error))
        }
    }
}

impl Parent {
    /// Reads the candidate's partition table and hash tree.
    ///
    /// # Errors
    /// [`FallBack`]: whatever is wrong with a parent, a push without one is right.
    pub async fn read(
        remote: Arc<Remote>,
        candidate: &Candidate,
        wanted: Wanted<'_>,
    ) -> Result<Self, FallBack> {
        let id = || candidate.snapshot.id.clone();
        let soon: Vec<u32> = wanted.own.index.digested().collect();
        let opened = SnapshotDisk::of(remote, candidate.root_hash, &soon).await;
        let disk = opened.map_err(|error| unsound(id(), error))?;
        let remote = Arc::clone(disk.remote());
        let Some(mut index) = disk.into_index() else {
            return Err(FallBack::Unread(remote.interrupted()));
        };
        let (parent, own) = (index.store.start, wanted.own.index.store.start);
        if parent != own {
            return Err(FallBack::Layout {
                snapshot: id(),
                parent,
                own,
            });
        }
        let present = remote.present().clone();
        if let Some(tag) = &candidate.esp {
            let esp = &wanted.own.esp;
            index.tell(&esp.range(), esp.same_as(tag));
        }
        Ok(Self {
            snapshot: id(),
            known: Known { index, present },
            reads: remote.reads(),
        })
    }
}

/// What EC2 says of it is enough to refuse it.
fn check(snapshot: &Snapshot, wanted: Wanted<'_>) -> Result<(), FallBack> {
    let id = || snapshot.id.clone();
    if snapshot.state != "completed" {
        return Err(FallBack::State {
            snapshot: id(),
            state: snapshot.state.clone(),
        });
    }
    if snapshot.volume_gib > wanted.volume_gib {
        return Err(FallBack::Larger {
            snapshot: id(),
            parent: snapshot.volume_gib,
            own: wanted.volume_gib,
        });
    }
    match wanted.kms_key {
        Some(key) if !is_key(snapshot, key) => Err(FallBack::Key { snapshot: id() }),
        _ => Ok(()),
    }
}

/// Whether the snapshot is encrypted with this key. An alias may have come to mean another one.
fn is_key(snapshot: &Snapshot, wanted: &str) -> bool {
    let found = snapshot.kms_key.as_deref().filter(|_| snapshot.encrypted);
    found.is_some_and(|found| cloud::is_key(found, wanted))
}

fn unread(snapshot: String, error: RemoteError) -> FallBack {
    match error {
        RemoteError::Call(error) if error.kind == Kind::NotFound => FallBack::Gone { snapshot },
        error => FallBack::Unread(error),
    }
}

fn unsound(snapshot: String, error: DiskError) -> FallBack {
    match error {
        DiskError::Remote(error) => unread(snapshot, error),
        error => FallBack::Unsound(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::esp::Esp;
    use super::super::index::Index;
    use super::super::sample::Sample;
    use super::*;

    fn refused(snapshot: &Snapshot, kms_key: Option<&str>) -> Option<String> {
        let sample = Sample::new(&[1], 1);
        let own = Own {
            index: Index::read(&sample.bytes, &sample.root).unwrap(),
            written: BTreeSet::new(),
            esp: Esp::default(),
        };
        let wanted = Wanted {
            volume_gib: 2,
            kms_key,
            own: &own,
        };
        check(snapshot, wanted).err().map(|error| error.to_string())
    }

    #[test]
    fn a_parent_is_completed_and_not_larger() {
        let snapshot = |state: &str, volume_gib| Snapshot {
            id: "snap-1".to_owned(),
            state: state.to_owned(),
            volume_gib,
            ..Snapshot::default()
        };
        assert_eq!(refused(&snapshot("completed", 2), None), None);
        let error = refused(&snapshot("pending", 2), None).unwrap();
        assert_eq!(
            error,
            "the parent snap-1 is in state pending, not completed"
        );
        let error = refused(&snapshot("completed", 3), None).unwrap();
        assert_eq!(error, "the parent snap-1 is of 3 GiB, this volume of 2 GiB");
    }

    #[test]
    fn a_parent_has_the_key_that_is_wanted() {
        const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/1234-ab";
        let snapshot = |key: Option<&str>| Snapshot {
            state: "completed".to_owned(),
            encrypted: key.is_some(),
            kms_key: key.map(str::to_owned),
            ..Snapshot::default()
        };
        assert_eq!(refused(&snapshot(Some(KEY)), None), None);
        for wanted in [KEY, "1234-ab"] {
            assert_eq!(refused(&snapshot(Some(KEY)), Some(wanted)), None);
            assert!(refused(&snapshot(None), Some(wanted)).is_some());
        }
        for wanted in ["ab", "alias/web", "4321-ab"] {
            assert!(refused(&snapshot(Some(KEY)), Some(wanted)).is_some());
        }
    }
}
