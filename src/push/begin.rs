//! The beginning of a snapshot: which parent it has, and whether it was begun before.

use std::sync::Arc;

use i2kit_format::SLAB;

use super::blocks;
use super::cloud::{CallError, Kind, Region, Retry, Started};
use super::ledger::{Entry, Ledger, Made, Start};
use super::own::Own;
use super::parent::{self, Candidate, FallBack, Offered, Parent, Wanted};
use super::progress::Progress;
use super::remote::Remote;
use super::snapshot::{Error, Order};

/// After so long without a block, EBS gives a snapshot up; minutes.
const TIMEOUT_MINUTES: u32 = 60;

/// A snapshot that takes blocks, or is complete already.
pub(super) struct Begun {
    pub snapshot: String,
    pub token: String,
    pub parent: Option<Parent>,
    pub fall_back: Option<FallBack>,
    pub is_resumed: bool,
    pub is_completed: bool,
}

/// Begins the snapshot, or finds the one that an interrupted push began.
///
/// # Errors
/// [`Error`].
pub(super) async fn begin(
    order: &Order,
    own: &Own,
    ledger: &Ledger,
    progress: &dyn Progress,
) -> Result<Begun, Error> {
    let begun = |entry: &Entry| entry.kind == Made::Snapshot && entry.region == order.region.name;
    if let Some(entry) = ledger.entries().into_iter().find(begun) {
        let token = entry.token.clone();
        if !ledger.is_going(&entry)
            && let Some(begun) = resume(order, own, ledger, entry).await?
        {
            progress.note(&format!(
                "going on with {}, which was begun before",
                begun.snapshot
            ));
            return Ok(begun);
        }
        ledger.undo_snapshot(&order.region, &token).await?;
    }
    let fall_back = match &order.parent {
        Offered::Nothing => None,
        Offered::Gone { snapshot } => Some(gone(snapshot)),
        Offered::Candidate(candidate) => match as_child(order, own, ledger, candidate).await? {
            Ok(begun) => return Ok(begun),
            Err(fall_back) => Some(fall_back),
        },
    };
    if let Some(fall_back) = &fall_back {
        progress.note(&format!("all blocks are put: {fall_back}"));
    }
    let begun = start_new(order, ledger, None).await?;
    Ok(Begun { fall_back, ..begun })
}

/// Begins a child of the candidate while that is read. Is it of no use, what was begun is removed.
async fn as_child(
    order: &Order,
    own: &Own,
    ledger: &Ledger,
    candidate: &Candidate,
) -> Result<Result<Begun, FallBack>, Error> {
    let remote = match listed(order, own, candidate).await {
        Ok(remote) => remote,
        Err(fall_back) => return Ok(Err(fall_back)),
    };
    let read = async { Ok(useful(order, own, candidate, remote).await) };
    let begun = start_new(order, ledger, Some(candidate));
    match tokio::try_join!(read, begun) {
        Ok((Ok(parent), begun)) => Ok(Ok(Begun {
            parent: Some(parent),
            ..begun
        })),
        Ok((Err(fall_back), begun)) => {
            ledger.undo_snapshot(&order.region, &begun.token).await?;
            Ok(Err(fall_back))
        }
        Err(Error::Call(error)) if is_refused(&error) => Ok(Err(FallBack::Refused {
            snapshot: candidate.snapshot.id.clone(),
            reason: error.to_string(),
        })),
        Err(error) => Err(error),
    }
}

/// The parent that is named, if it can be one. Makes nothing.
pub(super) async fn parent(order: &Order, own: &Own) -> (Option<Parent>, Option<FallBack>) {
    let candidate = match &order.parent {
        Offered::Nothing => return (None, None),
        Offered::Gone { snapshot } => return (None, Some(gone(snapshot))),
        Offered::Candidate(candidate) => candidate,
    };
    match read(order, own, candidate).await {
        Ok(parent) => (Some(parent), None),
        Err(fall_back) => (None, Some(fall_back)),
    }
}

fn gone(snapshot: &str) -> FallBack {
    FallBack::Gone {
        snapshot: snapshot.to_owned(),
    }
}

fn wanted<'a>(order: &'a Order, own: &'a Own) -> Wanted<'a> {
    Wanted {
        volume_gib: order.volume_gib,
        kms_key: order.kms_key.as_deref(),
        own,
    }
}

async fn listed(order: &Order, own: &Own, candidate: &Candidate) -> Result<Arc<Remote>, FallBack> {
    let listed = order.listed.as_ref();
    parent::listed(&order.region, candidate, wanted(order, own), listed).await
}

async fn read(order: &Order, own: &Own, candidate: &Candidate) -> Result<Parent, FallBack> {
    let remote = listed(order, own, candidate).await?;
    useful(order, own, candidate, remote).await
}

/// The candidate, read, where it has a block of this disk.
async fn useful(
    order: &Order,
    own: &Own,
    candidate: &Candidate,
    remote: Arc<Remote>,
) -> Result<Parent, FallBack> {
    let parent = Parent::read(remote, candidate, wanted(order, own)).await?;
    let whole = blocks::plan(&own.index, &own.written, None).len();
    if blocks::plan(&own.index, &own.written, Some(&parent.known)).len() >= whole {
        return Err(FallBack::Nothing {
            snapshot: parent.snapshot,
        });
    }
    Ok(parent)
}

/// What a snapshot of this order is begun with.
fn start_of(order: &Order, parent: Option<&Candidate>) -> Start {
    Start {
        volume_gib: order.volume_gib,
        parent: parent.map(|parent| parent.snapshot.id.clone()),
        parent_root_hash: parent.and_then(|parent| parent.root_hash.map(hex::encode)),
        parent_esp: parent.and_then(|parent| parent.esp.clone()),
        description: order.description.clone(),
        tags: order.tags.clone(),
        kms_key: order.kms_key.clone(),
        timeout_minutes: TIMEOUT_MINUTES,
    }
}

async fn start_new(
    order: &Order,
    ledger: &Ledger,
    parent: Option<&Candidate>,
) -> Result<Begun, Error> {
    let start = start_of(order, parent);
    let token = ledger.token(&["snapshot", start.parent.as_deref().unwrap_or_default()]);
    let entry = Entry {
        request: Some(start.clone()),
        ..Entry::new(Made::Snapshot, &order.region.name, token.clone())
    };
    let number = ledger.intend(entry.clone())?;
    let started = match started(&order.region, &start, &token).await {
        // The answer is no: there is nothing to undo.
        Err(error) if is_refused(&error) || is_forbidden(&error) => {
            ledger.forget(&entry)?;
            return Err(error.into());
        }
        started => started?,
    };
    ledger.made(number, &started.snapshot)?;
    check(order, ledger, &start, &token, &started).await?;
    Ok(Begun {
        snapshot: started.snapshot,
        token,
        parent: None,
        fall_back: None,
        is_resumed: false,
        is_completed: false,
    })
}

/// The snapshot of a ledger's entry; none where it is of no use any more.
async fn resume(
    order: &Order,
    own: &Own,
    ledger: &Ledger,
    entry: Entry,
) -> Result<Option<Begun>, Error> {
    let Some(start) = entry.request else {
        return Ok(None);
    };
    let with_its_parent = Start {
        parent: start.parent.clone(),
        parent_root_hash: start.parent_root_hash.clone(),
        parent_esp: start.parent_esp.clone(),
        ..start_of(order, None)
    };
    if start != with_its_parent {
        return Ok(None);
    }
    let parent = match &start.parent {
        None => None,
        Some(id) => match again(order, own, id, &start).await? {
            Some(parent) => Some(parent),
            None => return Ok(None),
        },
    };
    let started = match started(&order.region, &start, &entry.token).await {
        Err(error) if is_refused(&error) => return Ok(None),
        started => started?,
    };
    let number = ledger
        .entries()
        .iter()
        .position(|one| one.token == entry.token);
    if let Some(number) = number {
        ledger.made(number, &started.snapshot)?;
    }
    check(order, ledger, &start, &entry.token, &started).await?;
    let is_completed = started.status == "completed";
    if !is_completed && started.status != "pending" {
        return Ok(None);
    }
    Ok(Some(Begun {
        snapshot: started.snapshot,
        token: entry.token,
        parent,
        fall_back: None,
        is_resumed: true,
        is_completed,
    }))
}

/// The parent that the interrupted push had.
async fn again(
    order: &Order,
    own: &Own,
    id: &str,
    start: &Start,
) -> Result<Option<Parent>, CallError> {
    let Some(snapshot) = order.region.snapshot(id).await? else {
        return Ok(None);
    };
    let mut bytes = [0; 32];
    let root_hash = start.parent_root_hash.as_deref();
    let root_hash = root_hash.filter(|text| hex::decode_to_slice(text, &mut bytes).is_ok());
    let candidate = Candidate {
        snapshot,
        root_hash: root_hash.map(|_| bytes),
        esp: start.parent_esp.clone(),
    };
    Ok(read(order, own, &candidate).await.ok())
}

async fn started(region: &Region, start: &Start, token: &str) -> Result<Started, CallError> {
    let request = start.request(token);
    let call = async || region.ebs.start(&request).await;
    Retry::default().run(call, |_| {}).await
}

/// That blocks can be put as they are numbered here. Else the snapshot is deleted again.
async fn check(
    order: &Order,
    ledger: &Ledger,
    start: &Start,
    token: &str,
    started: &Started,
) -> Result<(), Error> {
    let snapshot = started.snapshot.clone();
    let error = if u64::from(started.block_size) != SLAB {
        Error::BlockSize {
            snapshot,
            found: started.block_size,
        }
    } else if let Some(wanted) = start
        .parent
        .clone()
        .filter(|_| started.parent != start.parent)
    {
        Error::Parent {
            snapshot,
            wanted,
            found: started.parent.clone(),
        }
    } else {
        return Ok(());
    };
    ledger.undo_snapshot(&order.region, token).await?;
    Err(error)
}

/// The request itself is at fault, its parent perhaps.
fn is_refused(error: &CallError) -> bool {
    matches!(error.kind, Kind::Invalid | Kind::NotFound | Kind::Conflict)
}

/// The account may not.
fn is_forbidden(error: &CallError) -> bool {
    matches!(error.kind, Kind::Denied | Kind::Quota)
}
