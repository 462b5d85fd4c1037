//! What a region has under a name: the very disk perhaps, and a parent for another one. It takes the
//! name alone to ask, so it can be asked while the disk is still put together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};

use super::cloud::{Ami, CallError, Cloud, Region, Snapshot};
use super::identity::Identity;
use super::publish::{Parent, Wish};
use super::remote::{Remote, RemoteError};
use super::{find, tags};

/// For so long an answer is taken for what is the case. Another push may have made the very disk
/// meanwhile.
const FRESH: Duration = Duration::from_secs(10);

/// What a region had when it was asked.
#[derive(Debug)]
pub struct Known {
    /// AMIs of the name, the newest first, whatever their state; none where no AMI is wished for.
    pub amis: Vec<Ami>,
    /// Completed snapshots of the name, the newest first; none where they are of no use.
    pub snapshots: Vec<Snapshot>,
    /// The blocks of the one that is the parent, unless another is named.
    pub(super) listing: Option<Listing>,
    asked: Instant,
}

/// A snapshot's blocks on their way; given up when dropped.
#[derive(Debug)]
pub(super) struct Listing(JoinHandle<Result<Arc<Remote>, RemoteError>>);

impl Listing {
    fn start(region: &Region, snapshot: &str) -> Self {
        let (region, snapshot) = (region.clone(), snapshot.to_owned());
        Self(tokio::spawn(async move {
            Remote::list(&region, &snapshot, false).await
        }))
    }

    /// None where they cannot be listed: whoever needs them asks again, and is told why.
    pub async fn done(mut self) -> Option<Arc<Remote>> {
        (&mut self.0).await.ok()?.ok()
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Known {
    /// Asks a region.
    ///
    /// # Errors
    /// What EC2 answers.
    pub async fn ask(region: &Region, name: &str, wish: &Wish) -> Result<Self, CallError> {
        let asked = Instant::now();
        let tag = format!("tag:{}", tags::NAME);
        let name = || (tag.as_str(), vec![name.to_owned()]);
        let may_have_parent = wish.parent != Parent::None && !wish.is_copied_to(&region.name);
        let amis = async {
            match wish.snapshot_only {
                true => Ok(Vec::new()),
                false => region.amis(&[name()]).await,
            }
        };
        let snapshots = async {
            match wish.snapshot_only || may_have_parent {
                true => {
                    let completed = ("status", vec!["completed".to_owned()]);
                    region.snapshots(&[name(), completed]).await
                }
                false => Ok(Vec::new()),
            }
        };
        let (amis, snapshots) = tokio::join!(amis, snapshots);
        let (mut amis, mut snapshots) = (amis?, snapshots?);
        amis.sort_by(|one, other| tags::order(other).cmp(&tags::order(one)));
        snapshots.sort_by(|one, other| other.start_time.cmp(&one.start_time));
        Ok(Self {
            amis,
            snapshots,
            listing: None,
            asked,
        })
    }

    /// Has the blocks of the parent listed meanwhile.
    fn with_listing(mut self, region: &Region, wish: &Wish) -> Self {
        if *wish.parent_in(&region.name) == Parent::Auto {
            let parent = find::newest_id(&self);
            self.listing = parent.map(|parent| Listing::start(region, parent));
        }
        self
    }

    /// The AMIs of the very disk.
    pub fn same_amis(&self, identity: &Identity) -> impl Iterator<Item = &Ami> {
        let amis = self.amis.iter();
        amis.filter(|ami| is_same(&ami.tags, identity))
    }

    /// The snapshots of the very disk.
    pub fn same_snapshots(&self, identity: &Identity) -> impl Iterator<Item = &Snapshot> {
        let snapshots = self.snapshots.iter();
        snapshots.filter(|snapshot| is_same(&snapshot.tags, identity))
    }
}

fn is_same(tags: &BTreeMap<String, String>, identity: &Identity) -> bool {
    tags.get(tags::DISK_DIGEST) == Some(&identity.disk_digest)
}

/// What regions answered before the disk was there.
#[derive(Debug, Default)]
pub struct Early(BTreeMap<String, (Region, Answer)>);

/// Taken once.
type Answer = Mutex<Option<Result<Known, CallError>>>;

impl Early {
    /// Asks all regions that the disk itself is sent to, side by side.
    pub async fn ask(cloud: &Cloud, name: &str, wish: &Wish) -> Self {
        let mut tasks = JoinSet::new();
        let regions = wish.regions.iter();
        for region in regions.filter(|region| !wish.is_copied_to(region)) {
            let (region, name, wish) = (cloud.region(region), name.to_owned(), wish.clone());
            tasks.spawn(async move {
                let answer = Known::ask(&region, &name, &wish).await;
                let answer = answer.map(|known| known.with_listing(&region, &wish));
                (region, answer)
            });
        }
        let mut answers = BTreeMap::new();
        while let Some(asked) = tasks.join_next().await {
            // A task that ended otherwise leaves its region to be asked later.
            if let Ok((region, answer)) = asked {
                answers.insert(region.name.clone(), (region, Mutex::new(Some(answer))));
            }
        }
        Self(answers)
    }

    /// The region as it was asked, so that its requests count.
    pub(super) fn region(&self, name: &str) -> Option<Region> {
        self.0.get(name).map(|(region, _)| region.clone())
    }

    /// What it answered, once, and not long after.
    pub(super) fn take(&self, region: &str) -> Option<Result<Known, CallError>> {
        let (_, answer) = self.0.get(region)?;
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.filter(|answer| {
            let asked = answer.as_ref().map(|known| known.asked);
            asked.map_or(true, |asked| asked.elapsed() < FRESH)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::cloud::Access;
    use super::*;

    /// What a region answered so long ago.
    async fn early(age: Duration) -> Early {
        let cloud = Cloud::connect(&Access::default()).await.unwrap();
        let known = Known {
            amis: Vec::new(),
            snapshots: Vec::new(),
            listing: None,
            asked: Instant::now().checked_sub(age).unwrap(),
        };
        let answer = Mutex::new(Some(Ok(known)));
        Early(BTreeMap::from([(
            "a".to_owned(),
            (cloud.region("a"), answer),
        )]))
    }

    #[tokio::test]
    async fn an_answer_serves_once_and_not_for_long() {
        let fresh = early(Duration::from_secs(1)).await;
        assert!(fresh.region("a").is_some() && fresh.region("b").is_none());
        assert!(fresh.take("b").is_none());
        assert!(fresh.take("a").is_some_and(|answer| answer.is_ok()));
        assert!(fresh.take("a").is_none());
        assert!(early(FRESH).await.take("a").is_none());
    }
}
