//! Start, put, complete.

use std::collections::BTreeSet;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::answer::{Answer, Outcome, Refusal};
use super::super::call::Call;
use super::super::keys::ACCOUNT;
use super::super::time;
use super::super::world::{Change, Snapshot, Tags, Token, World};
use super::{block_count, block_index, completed, invalid, snapshot, with_checksum, wrong_value};

const FIELDS: [&str; 8] = [
    "VolumeSize",
    "ParentSnapshotId",
    "Tags",
    "Description",
    "ClientToken",
    "Encrypted",
    "KmsKeyArn",
    "Timeout",
];

pub fn start(call: &mut Call) -> Outcome {
    let body: Value = serde_json::from_slice(&call.request.body)
        .map_err(|error| wrong_value(format!("no JSON: {error}")))?;
    let object = body.as_object().ok_or_else(|| wrong_value("no object"))?;
    if let Some(name) = object.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(wrong_value(format!("unknown member {name}")));
    }
    let token = text(&body, "ClientToken", 255)?;
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(wrong_value("ClientToken must match ^[\\S]+$"));
    }
    let parameters = body.to_string();
    let mut world = call.shared.world.lock().unwrap();
    let key = (call.region.clone(), token.to_owned());
    if let Some(known) = world.tokens.get(&key) {
        if known.parameters != parameters {
            let message = "The request uses the same client token as a previous, but \
                           non-identical request.";
            return Err(Refusal::new(409, "ConflictException", message));
        }
        return Ok(started(call, &world, &known.id));
    }
    let made = new_snapshot(call, &mut world, &body)?;
    let id = made.id.clone();
    world.snapshots.insert(id.clone(), made);
    let answered = Token {
        parameters,
        id: id.clone(),
    };
    world.tokens.insert(key, answered);
    call.object = id.clone();
    Ok(started(call, &world, &id))
}

fn started(call: &Call, world: &World, id: &str) -> Answer {
    let Some(snapshot) = world.snapshots.get(id) else {
        // The first answer comes again, whatever became of the snapshot.
        let block_size = call.settings.block_size;
        let answer = json!({"SnapshotId": id, "Status": "pending", "BlockSize": block_size});
        return Answer::json(201, &answer);
    };
    let tags = snapshot.tags.iter();
    let tags: Vec<_> = tags
        .map(|(key, value)| json!({"Key": key, "Value": value}))
        .collect();
    let mut answer = json!({
        "SnapshotId": id,
        "OwnerId": ACCOUNT,
        "Status": snapshot.state(),
        "StartTime": time::seconds(snapshot.start_time),
        "VolumeSize": snapshot.volume_gib,
        "BlockSize": call.settings.block_size,
        "Tags": tags,
    });
    let optional = [
        (
            "Description",
            Some(&snapshot.description).filter(|text| !text.is_empty()),
        ),
        ("ParentSnapshotId", snapshot.parent.as_ref()),
        ("KmsKeyArn", snapshot.kms_key.as_ref()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            answer[name] = json!(value);
        }
    }
    Answer::json(201, &answer)
}

fn new_snapshot(call: &Call, world: &mut World, body: &Value) -> Outcome<Snapshot> {
    let volume_gib = body["VolumeSize"].as_u64().unwrap_or(0);
    if !(1..=65_536).contains(&volume_gib) {
        return Err(invalid(
            "INVALID_VOLUME_SIZE",
            "VolumeSize must be 1 to 65536",
        ));
    }
    let timeout = body.get("Timeout").map_or(Some(60), Value::as_u64);
    if timeout.is_none_or(|minutes| !(10..=4320).contains(&minutes)) {
        return Err(wrong_value("Timeout must be 10 to 4320"));
    }
    let parent = body.get("ParentSnapshotId").and_then(Value::as_str);
    let has = |name: &str| body.get(name).is_some();
    if parent.is_some() && (has("Encrypted") || has("KmsKeyArn")) {
        let message = "ParentSnapshotId cannot be used with Encrypted or KmsKeyArn";
        return Err(wrong_value(message));
    }
    let encrypted = body["Encrypted"].as_bool().unwrap_or(false);
    if has("KmsKeyArn") && !encrypted {
        return Err(invalid("INVALID_CUSTOMER_KEY", "KmsKeyArn needs Encrypted"));
    }
    let mut pending = world.snapshots.values();
    let pending = pending.by_ref().filter(|one| one.region == call.region);
    let pending = pending.filter(|one| one.state() == "pending").count();
    if pending >= call.settings.pending {
        let message = "Too many pending snapshots";
        return Err(Refusal::new(
            400,
            "ConcurrentLimitExceededException",
            message,
        ));
    }
    let tags = tags(body)?;
    let mut made = Snapshot {
        id: String::new(),
        region: call.region.clone(),
        description: text(body, "Description", 255)?.to_owned(),
        volume_gib,
        parent: parent.map(str::to_owned),
        lineage: String::new(),
        encrypted,
        kms_key: encrypted.then(|| kms_key(call, body["KmsKeyArn"].as_str())),
        tags,
        start_time: call.now,
        created: Instant::now(),
        inherited: Default::default(),
        put: Default::default(),
        change: None,
        shared: BTreeSet::new(),
        asked: 0,
    };
    if let Some(parent) = parent {
        inherit(call, world, parent, &mut made)?;
    }
    made.id = world.id("snap");
    if parent.is_none() {
        made.lineage.clone_from(&made.id);
    }
    Ok(made)
}

fn inherit(call: &Call, world: &mut World, parent: &str, made: &mut Snapshot) -> Outcome<()> {
    let parent = completed(world, call, parent)?;
    if parent.volume_gib > made.volume_gib {
        let message = "VolumeSize must not be smaller than the parent's";
        return Err(invalid("INVALID_VOLUME_SIZE", message));
    }
    made.inherited = parent.blocks();
    made.lineage.clone_from(&parent.lineage);
    made.encrypted = parent.encrypted;
    made.kms_key.clone_from(&parent.kms_key);
    Ok(())
}

/// The key that was asked for, or the account's own.
pub fn kms_key(call: &Call, asked: Option<&str>) -> String {
    let region = &call.region;
    asked.map_or_else(
        || format!("arn:aws:kms:{region}:{ACCOUNT}:key/00000000-0000-4000-8000-000000000000"),
        str::to_owned,
    )
}

fn text<'a>(body: &'a Value, name: &str, most: usize) -> Outcome<&'a str> {
    let value = match body.get(name) {
        None => Some(""),
        Some(value) => value.as_str(),
    };
    let value = value.filter(|text| text.len() <= most);
    value.ok_or_else(|| wrong_value(format!("{name} must be a string of at most {most}")))
}

fn tags(body: &Value) -> Outcome<Tags> {
    let bad = || invalid("INVALID_TAG", "Invalid tags");
    let Some(list) = body.get("Tags") else {
        return Ok(Tags::new());
    };
    let list = list.as_array().filter(|list| list.len() <= 50);
    let mut tags = Tags::new();
    for tag in list.ok_or_else(bad)? {
        let key = text(tag, "Key", 127)?.to_owned();
        let value = text(tag, "Value", 255)?.to_owned();
        if key.is_empty() || key.starts_with("aws:") || tags.insert(key, value).is_some() {
            return Err(bad());
        }
    }
    Ok(tags)
}

/// The digest that a header names.
fn checksum(call: &Call) -> Outcome<Option<[u8; 32]>> {
    let header = |name: &str| call.request.header(name);
    let Some(text) = header("x-amz-checksum") else {
        return Ok(None);
    };
    if header("x-amz-checksum-algorithm") != Some("SHA256") {
        return Err(wrong_value("x-amz-Checksum-Algorithm must be SHA256"));
    }
    let digest = STANDARD.decode(text).ok();
    let digest: Option<[u8; 32]> = digest.and_then(|bytes| bytes.try_into().ok());
    let bad = || wrong_value("x-amz-Checksum must be the Base64 of a SHA-256");
    digest.ok_or_else(bad).map(Some)
}

pub fn put(call: &mut Call) -> Outcome {
    let id = call.object.clone();
    let index = block_index(call)?;
    let size = usize::try_from(call.settings.block_size).unwrap();
    let told = call.request.header("x-amz-data-length");
    if told != Some(size.to_string().as_str()) || call.request.body.len() != size {
        let message = format!("x-amz-Data-Length and the body must be {size} bytes");
        return Err(wrong_value(message));
    }
    let progress = call.request.header("x-amz-progress").unwrap_or("0");
    if !progress.parse().is_ok_and(|percent: u32| percent <= 100) {
        return Err(wrong_value("x-amz-Progress must be 0 to 100"));
    }
    let digest = checksum(call)?.ok_or_else(|| wrong_value("x-amz-Checksum is missing"))?;
    if digest != call.digest {
        return Err(invalid("INVALID_BLOCK", "The checksum is not the block's"));
    }
    {
        let mut world = call.shared.world.lock().unwrap();
        let snapshot = writable(call, &mut world, &id)?;
        if u64::from(index) >= block_count(call, snapshot.volume_gib) {
            let message = format!("Block {index} is beyond the volume's end");
            return Err(invalid("INVALID_BLOCK", message));
        }
    }
    let body = std::mem::take(&mut call.request.body);
    if let Some(spare) = call.shared.blocks.put(digest, body) {
        call.request.body = spare;
    }
    // Only now: whoever sees the index finds the bytes.
    let mut world = call.shared.world.lock().unwrap();
    writable(call, &mut world, &id)?.put.insert(index, digest);
    Ok(with_checksum(Answer::new(201), STANDARD.encode(digest)))
}

fn writable<'a>(call: &Call, world: &'a mut World, id: &str) -> Outcome<&'a mut Snapshot> {
    let snapshot = snapshot(world, call, id)?;
    if snapshot.change.is_some() {
        let message = format!("The snapshot '{id}' is not pending");
        return Err(invalid("INVALID_SNAPSHOT_ID", message));
    }
    Ok(snapshot)
}

pub fn complete(call: &mut Call) -> Outcome {
    let header = |name: &str| call.request.header(name);
    let count: Option<usize> =
        header("x-amz-changedblockscount").and_then(|text| text.parse().ok());
    let count = count.ok_or_else(|| wrong_value("x-amz-ChangedBlocksCount is missing"))?;
    let digest = checksum(call)?;
    let method = header("x-amz-checksum-aggregation-method");
    if digest.is_some() != (method == Some("LINEAR")) {
        let message = "a checksum needs x-amz-Checksum-Aggregation-Method: LINEAR";
        return Err(wrong_value(message));
    }
    let id = call.object.clone();
    let mut world = call.shared.world.lock().unwrap();
    let snapshot = snapshot(&mut world, call, &id)?;
    if snapshot.change.is_some() {
        if call.settings.complete_once {
            let message = format!("The snapshot '{id}' is not pending");
            return Err(invalid("INVALID_SNAPSHOT_ID", message));
        }
        return Ok(Answer::json(202, &json!({"Status": snapshot.state()})));
    }
    let linear: Vec<u8> = snapshot.put.values().flatten().copied().collect();
    let linear: [u8; 32] = Sha256::digest(linear).into();
    let error = if count != snapshot.put.len() {
        Some("ChangedBlocksCount is not the number of blocks that were put")
    } else if digest.is_some_and(|digest| digest != linear) {
        Some("The checksum is not that of the blocks that were put")
    } else if call.settings.snapshots_fail {
        Some("An internal error occurred")
    } else {
        None
    };
    snapshot.change = Some(Change::after(call.settings.completing, error));
    // What failed is told by DescribeSnapshots.
    let status = match snapshot.state() {
        "completed" => "completed",
        _ => "pending",
    };
    Ok(Answer::json(202, &json!({"Status": status})))
}
