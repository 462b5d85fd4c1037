//! One snapshot of one disk in one region: begun, or found begun; its blocks put; completed; waited
//! for; read back.

mod error;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use i2kit_format::SLAB;
use tokio::task::spawn_blocking;

use super::begin::{self, Begun};
use super::blocks;
use super::checksum::Linear;
use super::cloud::{CallError, Kind, Region, Retry, Snapshot};
use super::ledger::Ledger;
use super::limiter::{Limiter, Limits};
use super::own::Own;
use super::parent::FallBack;
use super::progress::Progress;
use super::remote::Remote;
use super::source::Source;
use super::upload::{Upload, UploadError};
use super::verify;
use super::wait::{Answer, agreed};

pub use super::parent::{Candidate, Offered};
pub use super::verify::Verify;
pub use error::Error;

/// Completing takes seconds, minutes for a large one.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// A snapshot to make.
#[derive(Clone)]
pub struct Order {
    /// Where.
    pub region: Region,
    /// Of what.
    pub source: Arc<dyn Source>,
    /// Size of the volumes made of it, GiB.
    pub volume_gib: u64,
    /// ARN or id of the key to encrypt it with. With none it is encrypted as its parent is, or as the
    /// account's default says.
    pub kms_key: Option<String>,
    /// For people, at most 255 characters.
    pub description: String,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// An older snapshot of which only the differences are put.
    pub parent: Offered,
    /// The blocks of that older one, where they were listed already.
    pub listed: Option<Arc<Remote>>,
    /// Whether it is read back.
    pub verify: Verify,
}

/// A snapshot that is complete.
#[derive(Debug)]
pub struct Created {
    /// `snap-…`.
    pub snapshot: String,
    /// Its parent.
    pub parent: Option<String>,
    /// Why the parent that was named is not.
    pub fall_back: Option<FallBack>,
    /// Blocks that make it up besides its parent's.
    pub blocks: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Blocks that were read back and match.
    pub verified: u64,
    /// An interrupted push had begun it.
    pub resumed: bool,
}

/// Makes the snapshot, or goes on with the one that the ledger names. It is complete afterwards, and
/// the ledger names it still.
///
/// # Errors
/// [`Error`]. What was made is left for [`Ledger::undo`], but for a snapshot with which nothing can be
/// done, which is deleted.
pub(super) async fn create(
    order: &Order,
    own: &Own,
    ledger: &Ledger,
    progress: &dyn Progress,
) -> Result<Created, Error> {
    let begun = begin::begin(order, own, ledger, progress).await?;
    let known = begun.parent.as_ref().map(|parent| &parent.known);
    let blocks = blocks::plan(&own.index, &own.written, known);
    let linear = if begun.is_completed {
        completed(&order.region, &begun.snapshot).await?;
        let (_, done) = ledger.block_log(&begun.token)?;
        let mut linear = Linear::default();
        linear.extend(done);
        linear
    } else {
        upload(order, &begun, &blocks, ledger, progress).await?
    };
    let verified = verify::verify(order, &own.index, &begun.snapshot, &linear, progress).await?;
    Ok(Created {
        snapshot: begun.snapshot,
        parent: begun.parent.map(|parent| parent.snapshot),
        fall_back: begun.fall_back,
        blocks: blocks.len() as u64,
        bytes: blocks.len() as u64 * SLAB,
        verified,
        resumed: begun.is_resumed,
    })
}

/// Puts the blocks, and has the snapshot completed; answers their digests.
async fn upload(
    order: &Order,
    begun: &Begun,
    blocks: &[u32],
    ledger: &Ledger,
    progress: &dyn Progress,
) -> Result<Linear, Error> {
    let (log, done) = ledger.block_log(&begun.token)?;
    let upload = Upload {
        ebs: &order.region.ebs,
        snapshot: &begun.snapshot,
        source: &order.source,
        blocks,
        done,
        log: &log,
        limiter: &Limiter::new(Limits::default()),
        progress,
    };
    let linear = upload.run().await?;
    // A completed snapshot takes no more blocks: that all were put must not be forgotten.
    let synced = spawn_blocking(move || log.sync()).await;
    let synced = synced.map_err(|_| Error::Interrupted)?;
    synced.map_err(UploadError::Log)?;
    if !complete(order, begun, &linear).await? {
        completed(&order.region, &begun.snapshot).await?;
    }
    Ok(linear)
}

/// Answers whether that is done already: mostly EBS needs seconds for it.
async fn complete(order: &Order, begun: &Begun, linear: &Linear) -> Result<bool, CallError> {
    let (ebs, checksum) = (&order.region.ebs, linear.checksum());
    let is_again = AtomicBool::new(begun.is_resumed);
    let call = async || {
        let answer = ebs
            .complete(&begun.snapshot, linear.count(), &checksum)
            .await;
        match answer {
            // An attempt whose answer was lost may have done it: then this one is refused, and the
            // snapshot's state tells.
            Err(error) if is_again.load(Ordering::Relaxed) && is_refused(&error) => Ok(false),
            answer => answer.map(|status| status == "completed"),
        }
    };
    Retry::default()
        .run(call, |_| is_again.store(true, Ordering::Relaxed))
        .await
}

fn is_refused(error: &CallError) -> bool {
    matches!(error.kind, Kind::Conflict | Kind::Invalid)
}

/// Waits until several answers at once say that the snapshot is completed.
async fn completed(region: &Region, snapshot: &str) -> Result<(), Error> {
    let ask = async || state(region.snapshot(snapshot).await?);
    agreed(PATIENCE, ask).await
}

fn state(found: Option<Snapshot>) -> Result<Answer<()>, Error> {
    let Some(found) = found else {
        return Ok(Answer::NotYet("not found".to_owned()));
    };
    match found.state.as_str() {
        "completed" => Ok(Answer::There(())),
        "pending" => Ok(Answer::NotYet(format!("pending, {}", found.progress))),
        _ => Err(Error::Failed {
            snapshot: found.id,
            state: found.state,
            reason: found
                .state_message
                .unwrap_or_else(|| "no reason is given".to_owned()),
        }),
    }
}
