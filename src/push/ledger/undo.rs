//! Removing what a ledger names, newest first: an AMI before the snapshot that it is made of.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::document::Record;
use super::{Entry, Ledger, LedgerError, Made, Start};
use crate::push::cloud::{Ami, CallError, Cloud, Kind, Region, Retry};
use crate::push::times::now;

/// The tag by which a copy is found whose id nobody wrote: its value is the entry's token.
pub const TOKEN_TAG: &str = "i2kit:ledger";

/// So long after a thing was made some servers do not know it.
const SETTLED: Duration = Duration::from_secs(120);
/// A snapshot may still be in use that long after its AMI was deregistered.
const RELEASED: Duration = Duration::from_secs(60);
/// How often a copy without an id is looked for, and the pause between.
const LOOKS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);

impl Ledger {
    /// Removes what the ledger names, newest first, and at last the ledger. What is gone already is no
    /// failure. Answers what was removed.
    ///
    /// # Errors
    /// [`LedgerError::Undo`] with the first that cannot be removed; the ledger still names it and what
    /// was made before.
    pub async fn undo(&self, cloud: &Cloud) -> Result<Vec<Entry>, LedgerError> {
        let mut removed = Vec::new();
        while let Some(record) = self.last() {
            let region = cloud.region(&record.entry.region);
            removed.extend(self.undo_one(&region, record).await?);
        }
        self.remove()?;
        Ok(removed)
    }

    /// Removes the snapshot begun with this token, and strikes it.
    ///
    /// # Errors
    /// As [`Ledger::undo`].
    pub async fn undo_snapshot(&self, region: &Region, token: &str) -> Result<(), LedgerError> {
        let is_it = |one: &&Record| one.entry.kind == Made::Snapshot && one.entry.token == token;
        let record = self.document().records.iter().find(is_it).cloned();
        if let Some(record) = record {
            self.undo_one(region, record).await?;
        }
        Ok(())
    }

    /// Removes what the ledger names in a region besides what is to `stay`, newest first, and strikes
    /// it: a snapshot that was begun before another push of the same disk came first.
    ///
    /// # Errors
    /// As [`Ledger::undo`].
    pub async fn undo_others(&self, region: &Region, stay: &[&str]) -> Result<(), LedgerError> {
        let records = self.document().records.clone();
        for record in records.into_iter().rev() {
            if record.entry.region != region.name {
                continue;
            }
            let found = self.ids(region, &record.entry).await?;
            if !found.iter().any(|id| stay.contains(&id.as_str())) {
                self.undo_found(region, record, found).await?;
            }
        }
        Ok(())
    }

    /// True when somebody began to remove it.
    pub(in crate::push) fn is_going(&self, entry: &Entry) -> bool {
        let document = self.document();
        let mut records = document.records.iter();
        records.any(|one| one.is_going && one.entry.is_same(entry))
    }

    fn last(&self) -> Option<Record> {
        self.document().records.last().cloned()
    }

    /// The ids of an entry's thing: the one that was written, or what is found.
    async fn ids(&self, region: &Region, entry: &Entry) -> Result<Vec<String>, CallError> {
        match &entry.id {
            Some(id) => Ok(vec![id.clone()]),
            None => self.find(region, entry).await,
        }
    }

    /// Answers the entry with its id, where there was such a thing.
    async fn undo_one(
        &self,
        region: &Region,
        record: Record,
    ) -> Result<Option<Entry>, LedgerError> {
        let found = self.ids(region, &record.entry).await?;
        self.undo_found(region, record, found).await
    }

    async fn undo_found(
        &self,
        region: &Region,
        record: Record,
        found: Vec<String>,
    ) -> Result<Option<Entry>, LedgerError> {
        let entry = record.entry;
        let patience = if record.is_going {
            Duration::ZERO
        } else {
            settling(record.at)
        };
        self.going(&entry)?;
        for id in &found {
            match entry.kind {
                Made::Snapshot | Made::SnapshotCopy => delete(region, id, patience).await?,
                Made::Ami => deregister(region, id, patience).await?,
                Made::AmiCopy => remove_copy(region, id, patience).await?,
            }
        }
        self.forget(&entry)?;
        let id = found.into_iter().next();
        Ok(id.map(|id| Entry {
            id: Some(id),
            ..entry
        }))
    }

    /// Writes that the entry is being removed.
    fn going(&self, entry: &Entry) -> Result<(), LedgerError> {
        self.change(|document| {
            let mut records = document.records.iter_mut();
            if let Some(record) = records.find(|one| one.entry.is_same(entry)) {
                record.is_going = true;
            }
        })
    }

    /// The ids of a thing that was about to be made, if it was.
    async fn find(&self, region: &Region, entry: &Entry) -> Result<Vec<String>, CallError> {
        match (entry.kind, &entry.request) {
            (Made::Snapshot, Some(start)) => begun(region, &entry.token, start).await,
            (Made::Snapshot, None) => Ok(Vec::new()),
            (Made::SnapshotCopy, _) => {
                looked_for(async || copied(region, &entry.token).await).await
            }
            (Made::Ami | Made::AmiCopy, _) => {
                looked_for(async || self.registered(region, entry).await).await
            }
        }
    }

    /// The AMI of the entry's name, where it is this ledger's: another push may have had the name
    /// first, which is why ours was refused.
    async fn registered(&self, region: &Region, entry: &Entry) -> Result<Vec<String>, CallError> {
        let filters = [("name", vec![entry.name.clone()])];
        let found = region.amis(&filters).await?;
        let entries = self.entries();
        let snapshots = entries.iter().filter(|one| one.region == entry.region);
        let snapshots: Vec<&str> = snapshots.filter_map(|one| one.id.as_deref()).collect();
        let is_ours = |ami: &Ami| {
            let of_ours = ami
                .root_snapshot
                .as_deref()
                .is_some_and(|id| snapshots.contains(&id));
            let is_tagged = ami
                .tags
                .get(TOKEN_TAG)
                .is_some_and(|tag| *tag == entry.token);
            of_ours || is_tagged
        };
        Ok(found
            .into_iter()
            .filter(is_ours)
            .map(|ami| ami.id)
            .collect())
    }
}

/// For how long a thing made at `at` may not be known to every server.
fn settling(at: u64) -> Duration {
    let age = Duration::from_secs(now().saturating_sub(at));
    SETTLED.saturating_sub(age)
}

/// The same call again gives the id of the snapshot that the first one made. If that one never came
/// through, this one makes it, to be deleted at once.
async fn begun(region: &Region, token: &str, start: &Start) -> Result<Vec<String>, CallError> {
    let request = start.request(token);
    let call = async || region.ebs.start(&request).await;
    match Retry::default().run(call, |_| {}).await {
        Ok(started) => Ok(vec![started.snapshot]),
        // It is refused now, and was then: one that came through is answered with whatever else changed.
        Err(error) if matches!(error.kind, Kind::Invalid | Kind::NotFound | Kind::Conflict) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

async fn copied(region: &Region, token: &str) -> Result<Vec<String>, CallError> {
    let tag = format!("tag:{TOKEN_TAG}");
    let filters = [(tag.as_str(), vec![token.to_owned()])];
    let found = region.snapshots(&filters).await?;
    Ok(found.into_iter().map(|one| one.id).collect())
}

/// Looks several times for what not every server knows yet.
async fn looked_for<F: Future<Output = Result<Vec<String>, CallError>>>(
    look: impl Fn() -> F,
) -> Result<Vec<String>, CallError> {
    for _ in 1..LOOKS {
        let found = look().await?;
        if !found.is_empty() {
            return Ok(found);
        }
        sleep(PAUSE).await;
    }
    look().await
}

async fn delete(region: &Region, id: &str, patience: Duration) -> Result<(), CallError> {
    let end = Instant::now() + RELEASED;
    loop {
        let call = async || region.ec2.delete_snapshot(id).await;
        match gone(call, patience).await {
            Err(error) if error.code == "InvalidSnapshot.InUse" && Instant::now() < end => {
                sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

async fn deregister(region: &Region, id: &str, patience: Duration) -> Result<(), CallError> {
    gone(async || region.ec2.deregister_image(id).await, patience).await
}

/// A copied AMI has a snapshot of its own, which nothing else names.
async fn remove_copy(region: &Region, id: &str, patience: Duration) -> Result<(), CallError> {
    let found = region.ami(id).await?;
    deregister(region, id, patience).await?;
    if let Some(snapshot) = found.and_then(|ami| ami.root_snapshot) {
        delete(region, &snapshot, Duration::ZERO).await?;
    }
    Ok(())
}

/// Calls until the thing is gone. That it is not found means so only after `patience`.
async fn gone<F: Future<Output = Result<(), CallError>>>(
    call: impl Fn() -> F,
    patience: Duration,
) -> Result<(), CallError> {
    let is_new = patience > Duration::ZERO;
    let deadline = if is_new { patience } else { SETTLED };
    let retry = Retry::new(deadline).not_found_is_transient(is_new);
    match retry.run(call, |_| {}).await {
        Err(error) if error.kind == Kind::NotFound => Ok(()),
        answer => answer,
    }
}
