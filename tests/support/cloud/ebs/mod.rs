//! EBS direct APIs, as their service model (2019-11-02) has them.

mod read;
mod write;

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::world::{Snapshot, World};
pub use write::kms_key;

/// The action and the snapshot of a request.
pub fn action(method: &str, path: &str) -> Option<(&'static str, String)> {
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    let found = match (method, &parts[..]) {
        ("POST", ["snapshots"]) => ("ebs:StartSnapshot", ""),
        ("POST", ["snapshots", "completion", id]) => ("ebs:CompleteSnapshot", *id),
        ("PUT", ["snapshots", id, "blocks", _]) => ("ebs:PutSnapshotBlock", *id),
        ("GET", ["snapshots", id, "blocks", _]) => ("ebs:GetSnapshotBlock", *id),
        ("GET", ["snapshots", id, "blocks"]) => ("ebs:ListSnapshotBlocks", *id),
        ("GET", ["snapshots", id, "changedblocks"]) => ("ebs:ListChangedBlocks", *id),
        _ => return None,
    };
    Some((found.0, found.1.to_owned()))
}

pub fn answer(call: &mut Call) -> Outcome {
    match call.action.as_str() {
        "ebs:StartSnapshot" => write::start(call),
        "ebs:PutSnapshotBlock" => write::put(call),
        "ebs:CompleteSnapshot" => write::complete(call),
        "ebs:GetSnapshotBlock" => read::get(call),
        "ebs:ListSnapshotBlocks" => read::list(call),
        _ => read::list_changed(call),
    }
}

fn invalid(reason: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::new(400, "ValidationException", message).because(reason)
}

fn wrong_value(message: impl Into<String>) -> Refusal {
    invalid("INVALID_PARAMETER_VALUE", message)
}

fn not_found(id: &str) -> Refusal {
    let message = format!("The snapshot '{id}' does not exist.");
    Refusal::new(404, "ResourceNotFoundException", message).because("SNAPSHOT_NOT_FOUND")
}

/// A snapshot of this region that the services know of by now.
fn snapshot<'a>(world: &'a mut World, call: &Call, id: &str) -> Outcome<&'a mut Snapshot> {
    let digits = id.strip_prefix("snap-");
    if digits.is_none_or(|digits| !digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err(invalid(
            "INVALID_SNAPSHOT_ID",
            format!("Invalid snapshot id '{id}'"),
        ));
    }
    let found = world.snapshots.get_mut(id);
    let found = found.filter(|found| {
        found.region == call.region && found.created.elapsed() >= call.settings.consistency
    });
    let found = found.ok_or_else(|| not_found(id))?;
    let key = found.kms_key.as_ref();
    if key.is_some_and(|key| call.settings.denied_keys.contains(key)) {
        let message = "The KMS key of the snapshot may not be used";
        let refusal = Refusal::new(403, "AccessDeniedException", message);
        return Err(refusal.because("DEPENDENCY_ACCESS_DENIED"));
    }
    Ok(found)
}

/// One that has all its blocks.
fn completed<'a>(world: &'a mut World, call: &Call, id: &str) -> Outcome<&'a mut Snapshot> {
    let found = snapshot(world, call, id)?;
    match found.state() {
        "completed" => Ok(found),
        state => Err(invalid(
            "INVALID_SNAPSHOT_ID",
            format!("The snapshot '{id}' is in state '{state}'"),
        )),
    }
}

/// How many blocks a volume has.
fn block_count(call: &Call, volume_gib: u64) -> u64 {
    (volume_gib << 30) / u64::from(call.settings.block_size)
}

fn block_index(call: &Call) -> Outcome<u32> {
    let text = call.request.path.rsplit('/').next().unwrap_or_default();
    let index: Option<u32> = text.parse().ok();
    index.ok_or_else(|| invalid("INVALID_BLOCK", format!("Invalid block index '{text}'")))
}

fn with_checksum(answer: Answer, checksum: String) -> Answer {
    answer
        .with("x-amz-Checksum", checksum)
        .with("x-amz-Checksum-Algorithm", "SHA256")
}
