//! AMIs and snapshots by their names, and the parent for a delta.

use super::cloud::{Ami, CallError, Region, Snapshot};
use super::known::Known;
use super::publish::Parent;
use super::snapshot::{Candidate, Offered};
use super::{Error, tags};

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
pub async fn parent(region: &Region, known: Known, parent: &Parent) -> Result<Offered, Error> {
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
        Parent::Auto => newest(region, known).await,
    }
}

/// The snapshot that [`newest`] looks at: its id.
pub(super) fn newest_id(known: &Known) -> Option<&str> {
    let of_ami = known.amis.iter().find(|ami| can_be_parent(ami));
    match of_ami {
        Some(ami) => ami.root_snapshot.as_deref(),
        None => known.snapshots.first().map(|one| one.id.as_str()),
    }
}

fn can_be_parent(ami: &Ami) -> bool {
    ami.state == "available" && ami.root_snapshot.is_some()
}

/// The newest that i2kit made of that name: an AMI's, or without one a snapshot that stands alone.
async fn newest(region: &Region, known: Known) -> Result<Offered, Error> {
    let Known {
        amis, snapshots, ..
    } = known;
    let Some(ami) = amis.into_iter().find(can_be_parent) else {
        let newest = snapshots.into_iter().next().map(candidate);
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
    candidate.esp = ami.tags.get(tags::ESP).cloned().or(candidate.esp);
    candidate
}

fn candidate(snapshot: Snapshot) -> Box<Candidate> {
    Box::new(Candidate {
        root_hash: tags::root_hash(&snapshot.tags),
        esp: snapshot.tags.get(tags::ESP).cloned(),
        snapshot,
    })
}
