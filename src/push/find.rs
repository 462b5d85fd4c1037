//! What is there already: the same disk, and a parent for a delta.

use super::cloud::{Ami, CallError, Region, Snapshot};
use super::identity::Identity;
use super::publish::Parent;
use super::snapshot::{Candidate, Offered};
use super::{Error, tags};

/// The AMIs of the very disk under its name, the newest first, whatever their state.
///
/// # Errors
/// What EC2 answers.
pub async fn same_amis(region: &Region, identity: &Identity) -> Result<Vec<Ami>, CallError> {
    let mut amis = region.amis(&same(identity)).await?;
    newest_first(&mut amis);
    Ok(amis)
}

/// The completed snapshots of the very disk under its name, the newest first.
///
/// # Errors
/// What EC2 answers.
pub async fn same_snapshots(
    region: &Region,
    identity: &Identity,
) -> Result<Vec<Snapshot>, CallError> {
    let mut filters = same(identity);
    filters.push(("status", vec!["completed".to_owned()]));
    let mut found = region.snapshots(&filters).await?;
    found.sort_by(|one, other| other.start_time.cmp(&one.start_time));
    Ok(found)
}

/// An AMI of one's own by its name.
///
/// # Errors
/// What EC2 answers.
pub async fn named_ami(region: &Region, name: &str) -> Result<Option<Ami>, CallError> {
    let filters = [("name", vec![name.to_owned()])];
    Ok(region.amis(&filters).await?.into_iter().next())
}

/// A snapshot by its id.
///
/// # Errors
/// What EC2 answers; [`Error::NoSnapshot`] when there is none.
pub async fn snapshot(region: &Region, id: &str) -> Result<Snapshot, Error> {
    let found = region.snapshot(id).await?;
    found.ok_or_else(|| Error::NoSnapshot {
        id: id.to_owned(),
        region: region.name.clone(),
    })
}

/// An AMI by its id, one's own or another's.
///
/// # Errors
/// What EC2 answers; [`Error::NoAmi`] when there is none.
pub async fn ami(region: &Region, id: &str) -> Result<Ami, Error> {
    let found = region.ami(id).await?;
    found.ok_or_else(|| Error::NoAmi {
        id: id.to_owned(),
        region: region.name.clone(),
    })
}

/// The snapshot to send differences to, if one is to be used.
///
/// # Errors
/// What EC2 answers; one that was named and is not there.
pub async fn parent(
    region: &Region,
    name: &str,
    parent: &Parent,
    snapshot_only: bool,
) -> Result<Offered, Error> {
    match parent {
        Parent::None => Ok(Offered::Nothing),
        Parent::Snapshot(id) => {
            let found = snapshot(region, id).await?;
            Ok(Offered::Candidate(candidate(found)))
        }
        Parent::Ami(id) => {
            let ami = ami(region, id).await?;
            of_ami(region, ami).await.map(Offered::Candidate)
        }
        Parent::Auto => newest(region, name, snapshot_only).await,
    }
}

/// The newest that i2kit made of that name: an AMI's, or without one a snapshot that stands alone.
async fn newest(region: &Region, name: &str, snapshot_only: bool) -> Result<Offered, Error> {
    let filters = |state: &'static str, word: &str| {
        let name = ("tag:i2kit:name", vec![name.to_owned()]);
        [name, (state, vec![word.to_owned()])]
    };
    let amis = async {
        match snapshot_only {
            true => Ok(Vec::new()),
            false => region.amis(&filters("state", "available")).await,
        }
    };
    let completed = filters("status", "completed");
    let (amis, snapshots) = tokio::join!(amis, region.snapshots(&completed));
    let (mut amis, snapshots) = (amis?, snapshots?);
    newest_first(&mut amis);
    let Some(ami) = amis.into_iter().find(|ami| ami.root_snapshot.is_some()) else {
        let newest = snapshots
            .into_iter()
            .max_by(|one, other| one.start_time.cmp(&other.start_time));
        let newest = newest.map(candidate);
        return Ok(newest.map_or(Offered::Nothing, Offered::Candidate));
    };
    let own = snapshots
        .into_iter()
        .find(|one| ami.root_snapshot.as_ref() == Some(&one.id));
    match own {
        Some(snapshot) => Ok(Offered::Candidate(with_tags_of(&ami, snapshot))),
        // It may go while it is looked at: then all is sent.
        None => match of_ami(region, ami).await {
            Err(Error::NoSnapshot { id, .. }) => Ok(Offered::Gone { snapshot: id }),
            found => found.map(Offered::Candidate),
        },
    }
}

async fn of_ami(region: &Region, ami: Ami) -> Result<Box<Candidate>, Error> {
    let Some(id) = &ami.root_snapshot else {
        return Err(Error::NoRoot { ami: ami.id });
    };
    let snapshot = snapshot(region, id).await?;
    Ok(with_tags_of(&ami, snapshot))
}

/// The tags of the AMI go before those of its snapshot, which a copy may lack.
fn with_tags_of(ami: &Ami, snapshot: Snapshot) -> Box<Candidate> {
    let mut candidate = candidate(snapshot);
    candidate.root_hash = tags::root_hash(&ami.tags).or(candidate.root_hash);
    candidate
}

fn candidate(snapshot: Snapshot) -> Box<Candidate> {
    Box::new(Candidate {
        root_hash: tags::root_hash(&snapshot.tags),
        snapshot,
    })
}

/// What finds the same disk under the same name.
fn same(identity: &Identity) -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("tag:i2kit:name", vec![identity.name.clone()]),
        ("tag:i2kit:disk-digest", vec![identity.disk_digest.clone()]),
    ]
}

fn newest_first(amis: &mut [Ami]) {
    amis.sort_by(|one, other| tags::order(other).cmp(&tags::order(one)));
}
