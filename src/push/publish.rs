//! The whole push of one disk: to each region a snapshot and an AMI, or nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use super::Error;
use super::cloud::{Ami, Cloud, Region};
use super::identity::Identity;
use super::image::{self, Registration};
use super::known::{Early, Known};
use super::ledger::{Ledger, Subject};
use super::own::Own;
use super::progress::Progress;
use super::regions::{self, Ledgers};
use super::settle::Life;
use super::snapshot::{self, Created, Order};
use super::source::Source;
use super::verify::Verify;
use super::{GIB, find, tags};

/// What only differences are sent to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Parent {
    /// The newest of that name.
    #[default]
    Auto,
    /// Nothing: everything is sent.
    None,
    /// That snapshot.
    Snapshot(String),
    /// The snapshot of that AMI.
    Ami(String),
}

/// Keys to encrypt with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Where no other is named.
    pub default: Option<String>,
    /// By region.
    pub by_region: BTreeMap<String, String>,
}

impl Keys {
    /// The key of a region.
    #[must_use]
    pub fn of(&self, region: &str) -> Option<&str> {
        let own = self.by_region.get(region);
        own.or(self.default.as_ref()).map(String::as_str)
    }
}

/// What is to become of a disk.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Where; the first is the one that others are copied from. At least one.
    pub regions: Vec<String>,
    /// What only differences are sent to.
    pub parent: Parent,
    /// No AMI.
    pub snapshot_only: bool,
    /// GiB of the root volume; the disk's, rounded up, where none is given.
    pub volume_gib: Option<u64>,
    /// Keys to encrypt with.
    pub keys: Keys,
    /// How the AMI lives on.
    pub life: Life,
    /// Whether snapshots are read back.
    pub verify: Verify,
    /// Have Amazon copy to all regions but the first.
    pub copy: bool,
    /// Give instances a TPM 2.0.
    pub tpm: bool,
}

impl Wish {
    /// What only differences are sent to in a region. One that is named lies in the first.
    pub(super) fn parent_in(&self, region: &str) -> &Parent {
        match self.regions.first().is_some_and(|first| first == region) {
            false if self.parent != Parent::None => &Parent::Auto,
            _ => &self.parent,
        }
    }

    /// Whether Amazon copies to this region, from the first one.
    pub(super) fn is_copied_to(&self, region: &str) -> bool {
        self.copy && self.regions.first().is_none_or(|first| first != region)
    }
}

/// A disk to push. Cheap to clone.
#[derive(Clone)]
pub struct Push {
    /// Whose account.
    pub cloud: Cloud,
    /// The disk.
    pub source: Arc<dyn Source>,
    /// What it is made of.
    pub own: Arc<Own>,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// What becomes of it.
    pub wish: Arc<Wish>,
    /// Where ledgers lie.
    pub ledgers: PathBuf,
    /// Who hears.
    pub progress: Arc<dyn Progress>,
    /// What regions have answered already.
    pub early: Arc<Early>,
}

/// What is in one region now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pushed {
    /// The region.
    pub region: String,
    /// The snapshot.
    pub snapshot: String,
    /// The AMI; none of a snapshot alone.
    pub ami: Option<String>,
    /// The AMI's name; of a snapshot alone, what versions share.
    pub name: String,
    /// The snapshot that only differences were sent to.
    pub parent: Option<String>,
    /// Why no parent was used that was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_because: Option<String>,
    /// Blocks sent.
    pub blocks_sent: u64,
    /// Blocks that the disk has.
    pub blocks_total: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// HTTP requests, those that failed and were sent again too.
    pub requests: u64,
    /// How long it took.
    pub seconds: f64,
    /// It was there already.
    pub unchanged: bool,
    /// An interrupted push was gone on with.
    pub resumed: bool,
    /// Amazon copied it from the first region.
    pub copied: bool,
    /// Blocks that were read back and match.
    pub verified: u64,
}

/// Pushes to all regions. When one fails, or `stop` ends first, what was made in all of them is
/// removed again; what cannot be stays in the ledgers.
///
/// # Errors
/// [`Error`], of the first region that fails.
pub async fn push(push: &Push, stop: impl Future<Output = ()>) -> Result<Vec<Pushed>, Error> {
    let ledgers = Ledgers::open(push)?;
    let (stopping, stopped) = watch::channel(false);
    let made = {
        let mut all = pin!(regions::all(push, &ledgers, stopped));
        tokio::select! {
            made = &mut all => made,
            () = stop => {
                // All tasks end before anything is removed. What has been made by then is kept.
                stopping.send_replace(true);
                all.await
            }
        }
    };
    match made {
        Ok(pushed) => {
            ledgers.finish()?;
            Ok(pushed)
        }
        Err(error) => {
            let left = ledgers.undo(&push.cloud, &*push.progress).await;
            Err(match left.is_empty() {
                true => error,
                false => Error::Left {
                    error: Box::new(error),
                    left,
                },
            })
        }
    }
}

impl Push {
    /// What names the ledger of a region.
    #[must_use]
    pub fn subject(&self, region: &str) -> Subject {
        Subject {
            region: region.to_owned(),
            disk_digest: self.identity.disk_digest.clone(),
            name: self.identity.name.clone(),
            kms_key: self.wish.keys.of(region).map(str::to_owned),
        }
    }

    /// Blocks that the disk has.
    pub(super) fn blocks_total(&self) -> Result<u64, Error> {
        Ok(self.source.written_slabs()?.len() as u64)
    }

    /// GiB of the root volume.
    pub(super) fn volume_gib(&self) -> u64 {
        let least = image::volume_gib(self.source.len());
        self.wish.volume_gib.unwrap_or(least)
    }

    /// What a region has under the name.
    ///
    /// # Errors
    /// What EC2 answers.
    pub(super) async fn known(&self, region: &Region) -> Result<Known, Error> {
        let known = match self.early.take(&region.name) {
            Some(answer) => answer,
            None => Known::ask(region, &self.identity.name, &self.wish).await,
        };
        Ok(known?)
    }

    /// The snapshot to make in a region that has what is `known`.
    ///
    /// # Errors
    /// When the volume is too small, or the parent that was named is not there.
    pub(super) async fn order(&self, region: &Region, mut known: Known) -> Result<Order, Error> {
        let (identity, wish) = (&self.identity, &self.wish);
        let (volume_gib, len) = (self.volume_gib(), self.source.len());
        if volume_gib.saturating_mul(GIB) < len {
            return Err(snapshot::Error::VolumeSize { volume_gib, len }.into());
        }
        let listing = known.listing.take();
        let parent = find::parent(region, known, wish.parent_in(&region.name)).await?;
        let listed = match listing {
            Some(listing) => listing.done().await,
            None => None,
        };
        Ok(Order {
            region: region.clone(),
            source: Arc::clone(&self.source),
            volume_gib,
            kms_key: wish.keys.of(&region.name).map(str::to_owned),
            description: identity.description.clone(),
            tags: tags::of(identity, len),
            parent,
            listed,
            verify: wish.verify,
        })
    }

    /// Makes the snapshot and an AMI of it.
    ///
    /// # Errors
    /// [`Error`]; what was made is in the ledger.
    pub(super) async fn make(&self, order: &Order, ledger: &Ledger) -> Result<Pushed, Error> {
        let region = &order.region;
        let created = snapshot::create(order, &self.own, ledger, &*self.progress).await?;
        let ami = match self.wish.snapshot_only {
            true => None,
            false => Some(self.register(region, ledger, &created).await?),
        };
        let name = ami.as_ref().map(|ami| ami.name.clone());
        // Another one where another push of the same disk was first.
        let snapshot = ami.as_ref().and_then(|ami| ami.root_snapshot.clone());
        Ok(Pushed {
            region: region.name.clone(),
            snapshot: snapshot.unwrap_or(created.snapshot),
            ami: ami.map(|ami| ami.id),
            name: name.unwrap_or_else(|| self.identity.name.clone()),
            parent: created.parent,
            full_because: created.fall_back.map(|why| why.to_string()),
            blocks_sent: created.blocks,
            blocks_total: self.blocks_total()?,
            bytes: created.bytes,
            resumed: created.resumed,
            verified: created.verified,
            ..Pushed::default()
        })
    }

    async fn register(
        &self,
        region: &Region,
        ledger: &Ledger,
        created: &Created,
    ) -> Result<Ami, Error> {
        let registration = Registration {
            identity: &self.identity,
            snapshot: &created.snapshot,
            volume_gib: self.volume_gib(),
            size: self.source.len(),
            tpm: self.wish.tpm,
        };
        image::register(region, ledger, registration).await
    }
}

/// Where ledgers lie: `$XDG_STATE_HOME/i2kit/ledger`, or below `~/.local/state`. None where neither
/// folder is known.
#[must_use]
pub fn ledger_folder(state_home: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
    let state = state_home
        .filter(|path| path.is_absolute())
        .map(Path::to_owned);
    let state = state.or_else(|| Some(home?.join(".local/state")));
    Some(state?.join("i2kit/ledger"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_its_own_key_before_the_one_for_all() {
        let keys = Keys {
            default: Some("all".to_owned()),
            by_region: BTreeMap::from([("us-east-1".to_owned(), "east".to_owned())]),
        };
        assert_eq!(keys.of("us-east-1"), Some("east"));
        assert_eq!(keys.of("eu-central-1"), Some("all"));
        assert_eq!(Keys::default().of("eu-central-1"), None);
    }

    #[test]
    fn ledgers_lie_where_state_does() {
        let folder = |state: Option<&str>, home: Option<&str>| {
            ledger_folder(state.map(Path::new), home.map(Path::new))
        };
        assert_eq!(
            folder(Some("/s"), Some("/h")),
            Some("/s/i2kit/ledger".into())
        );
        assert_eq!(
            folder(Some("s"), Some("/h")),
            Some("/h/.local/state/i2kit/ledger".into())
        );
        assert_eq!(folder(None, None), None);
    }
}
