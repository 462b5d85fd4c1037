//! Snapshots.

use super::super::answer::{Outcome, Refusal};
use super::super::call::Call;
use super::super::keys::ACCOUNT;
use super::super::time;
use super::super::world::Snapshot;
use super::super::xml;
use super::filters::{self, Filter};
use super::parameters::Parameters;
use super::{done, no_snapshot, tag_set, wrong_value};

const FILTERS: [&str; 10] = [
    "tag-key",
    "status",
    "snapshot-id",
    "owner-id",
    "description",
    "volume-size",
    "encrypted",
    "progress",
    "start-time",
    "owner-alias",
];

fn is_visible(call: &Call, snapshot: &Snapshot) -> bool {
    snapshot.region == call.region && snapshot.created.elapsed() >= call.settings.consistency
}

/// The state that is told: for a while after a change, the old one in turn with the new one.
fn told_state(call: &Call, snapshot: &mut Snapshot) -> &'static str {
    snapshot.asked += 1;
    let change = snapshot.change.as_ref();
    let is_settled = change.is_some_and(|change| change.is_settled(&call.settings));
    match snapshot.state() {
        state if is_settled || snapshot.asked.is_multiple_of(2) => state,
        _ => "pending",
    }
}

fn is_own(owners: &[&str]) -> bool {
    owners.is_empty() || owners.iter().any(|owner| ["self", ACCOUNT].contains(owner))
}

pub fn describe(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let ids = parameters.list("SnapshotId");
    let filters = Filter::all(parameters, &FILTERS)?;
    let is_own = is_own(&parameters.list("Owner"));
    parameters.list("RestorableBy");
    let mut world = call.shared.world.lock().unwrap();
    for id in &ids {
        let is_there = world.snapshots.get(*id);
        if is_there.is_none_or(|snapshot| !is_visible(call, snapshot)) {
            return Err(no_snapshot(id));
        }
    }
    let all = world.snapshots.values_mut();
    let mut items = Vec::new();
    for snapshot in all.filter(|snapshot| is_own && is_visible(call, snapshot)) {
        if !ids.is_empty() && !ids.contains(&snapshot.id.as_str()) {
            continue;
        }
        let state = told_state(call, snapshot);
        let values = |name: &str| values(snapshot, state, name);
        if filters
            .iter()
            .all(|filter| filter.passes(&snapshot.tags, &values))
        {
            items.push(item(snapshot, state));
        }
    }
    filters::page(call, parameters, "snapshotSet", &items, !ids.is_empty())
}

fn values(snapshot: &Snapshot, state: &str, name: &str) -> Vec<String> {
    let value = match name {
        "status" => state.to_owned(),
        "snapshot-id" => snapshot.id.clone(),
        "owner-id" => ACCOUNT.to_owned(),
        "description" => snapshot.description.clone(),
        "volume-size" => snapshot.volume_gib.to_string(),
        "encrypted" => snapshot.encrypted.to_string(),
        "progress" => progress(state).to_owned(),
        "start-time" => time::iso(snapshot.start_time),
        _ => return Vec::new(),
    };
    vec![value]
}

fn progress(state: &str) -> &'static str {
    if state == "completed" { "100%" } else { "0%" }
}

fn item(snapshot: &Snapshot, state: &str) -> String {
    let error = snapshot
        .change
        .as_ref()
        .and_then(|change| change.error.clone());
    let error = error.filter(|_| state == "error");
    [
        xml::text("snapshotId", &snapshot.id),
        xml::text("volumeId", "vol-ffffffff"),
        xml::text("status", state),
        xml::maybe("statusMessage", error),
        xml::text("startTime", time::iso(snapshot.start_time)),
        xml::text("progress", progress(state)),
        xml::text("ownerId", ACCOUNT),
        xml::text("volumeSize", snapshot.volume_gib),
        xml::text("description", &snapshot.description),
        xml::text("encrypted", snapshot.encrypted),
        xml::maybe("kmsKeyId", snapshot.kms_key.as_ref()),
        tag_set(&snapshot.tags),
        xml::text("storageTier", "standard"),
    ]
    .concat()
}

pub fn delete(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let id = parameters.required("SnapshotId")?;
    parameters.done()?;
    if !id.starts_with("snap-") {
        return Err(wrong_value(format!(
            "Value ({id}) for parameter snapshotId is invalid."
        )));
    }
    let mut world = call.shared.world.lock().unwrap();
    let is_there = world.snapshots.get(id);
    if is_there.is_none_or(|snapshot| !is_visible(call, snapshot)) {
        return Err(no_snapshot(id));
    }
    if let Some(image) = world.image_of(id) {
        let message = format!("The snapshot {id} is currently in use by {}", image.id);
        return Err(Refusal::new(400, "InvalidSnapshot.InUse", message));
    }
    world.snapshots.remove(id);
    Ok(done())
}
