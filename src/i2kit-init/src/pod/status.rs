//! The Pod as the kubelet's `/pods` shows it (core/v1 `PodList`). Pure.

use std::{collections::BTreeMap, net::IpAddr, time::SystemTime};

use i2kit_contract::Contract;
use serde_json::{Map, Value, json};

use crate::pod::{
    board::{Board, Condition, Ended, Member, Phase, Place},
    lifecycle::Role,
    timestamp,
};

/// Each container's image: the name it was asked for by, and the digest of its manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images(BTreeMap<String, (String, String)>);

impl Images {
    /// From the inputs record in the store. What is not in it stays empty.
    pub fn from_inputs(json: &[u8]) -> Self {
        let record: Value = serde_json::from_slice(json).unwrap_or_default();
        let containers = record.get("containers").and_then(Value::as_object);
        let text = |image: &Value, field| {
            let text = image.get(field).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let images = containers.into_iter().flatten().map(|(name, image)| {
            let names = (text(image, "image"), text(image, "manifest"));
            (name.clone(), names)
        });
        Self(images.collect())
    }
}

/// The one Pod of this VM.
pub fn pods(contract: &Contract, board: &Board, images: &Images, address: Option<IpAddr>) -> Value {
    let pod = json!({
        "metadata": {
            "name": contract.name,
            "labels": contract.labels,
            "annotations": contract.annotations,
        },
        "status": status(board, images, address),
    });
    json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod] })
}

fn status(board: &Board, images: &Images, address: Option<IpAddr>) -> Value {
    let statuses = |is: fn(Role) -> bool| -> Vec<Value> {
        let members = board.members.iter().filter(|member| is(member.role));
        members.map(|member| container(member, images)).collect()
    };
    let conditions: Vec<Value> = board.conditions.iter().map(condition).collect();
    let mut status = json!({
        "phase": phase(board.phase()),
        "conditions": conditions,
        "startTime": timestamp::seconds(board.started),
        "containerStatuses": statuses(|role| role == Role::Main),
    });
    let init = statuses(|role| role != Role::Main);
    let mut set = |name: &str, value: Value| {
        if let Some(fields) = status.as_object_mut() {
            fields.insert(name.to_owned(), value);
        }
    };
    if !init.is_empty() {
        set("initContainerStatuses", init.into());
    }
    if let Some(address) = address {
        let address = address.to_string();
        set("podIPs", json!([{ "ip": address }]));
        set("hostIP", json!(address));
        set("podIP", json!(address));
    }
    if let Some((reason, message)) = &board.failure {
        set("reason", json!(reason));
        set("message", json!(message));
    }
    status
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
    }
}

fn condition(condition: &Condition) -> Value {
    let mut value = json!({
        "type": condition.kind,
        "status": if condition.holds { "True" } else { "False" },
        "lastProbeTime": Value::Null,
        "lastTransitionTime": timestamp::seconds(condition.since),
    });
    if let Some(fields) = value.as_object_mut().filter(|_| !condition.holds) {
        let reason = match condition.kind {
            "Initialized" => "ContainersNotInitialized",
            _ => "ContainersNotReady",
        };
        fields.insert("reason".into(), reason.into());
        fields.insert("message".into(), condition.message.clone().into());
    }
    value
}

fn container(member: &Member, images: &Images) -> Value {
    let (image, digest) = images.0.get(&member.name).cloned().unwrap_or_default();
    let completed = matches!(&member.place, Place::Ended(ended) if ended.exit_code == 0);
    let ready = member.ready || member.role == Role::Init && completed;
    let last = match &member.place {
        Place::Ended(_) => None,
        _ => member.last.as_ref(),
    };
    json!({
        "name": member.name,
        "state": place(&member.place),
        "lastState": last.map_or_else(|| json!({}), |ended| json!({ "terminated": terminated(ended) })),
        "ready": ready,
        "started": member.started,
        "restartCount": member.restart_count,
        "image": image,
        "imageID": digest,
        "containerID": id(&member.id),
    })
}

fn id(id: &str) -> String {
    match id {
        "" => String::new(),
        id => format!("containerd://{id}"),
    }
}

fn place(place: &Place) -> Value {
    match place {
        Place::Waiting { reason, message } => {
            let mut waiting = Map::new();
            waiting.insert("reason".into(), (*reason).into());
            if !message.is_empty() {
                waiting.insert("message".into(), message.clone().into());
            }
            json!({ "waiting": waiting })
        }
        Place::Running { since } => {
            json!({ "running": { "startedAt": timestamp::seconds(*since) } })
        }
        Place::Ended(ended) => json!({ "terminated": terminated(ended) }),
    }
}

fn terminated(ended: &Ended) -> Value {
    let started = ended.started.unwrap_or(SystemTime::UNIX_EPOCH);
    let mut value = json!({
        "exitCode": ended.exit_code,
        "reason": ended.reason,
        "startedAt": timestamp::seconds(started),
        "finishedAt": timestamp::seconds(ended.finished),
        "containerID": id(&ended.id),
    });
    if let Some(fields) = value.as_object_mut().filter(|_| !ended.message.is_empty()) {
        fields.insert("message".into(), ended.message.clone().into());
    }
    value
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use i2kit_contract::RestartPolicy;

    use super::*;
    use crate::pod::board::tests::{contract, ended};

    #[test]
    fn a_pod_is_shown_as_the_api_shows_it() {
        let contract = contract(RestartPolicy::Always);
        let now = UNIX_EPOCH + Duration::from_secs(90);
        let mut board = Board::new(&contract, now);
        board.members[0].place = Place::Ended(ended(0));
        let web = &mut board.members[2];
        web.place = Place::Running { since: now };
        web.last = Some(ended(1));
        (web.started, web.ready, web.restart_count) = (true, true, 1);
        web.id = "web.1".into();
        board.settle(now);
        let inputs = br#"{"containers": {"web": {"image": "nginx:1", "manifest": "sha256:12"}}}"#;
        let images = Images::from_inputs(inputs);
        let list = pods(&contract, &board, &images, Some([10, 0, 2, 15].into()));
        let pod = &list["items"][0];
        assert_eq!(pod["metadata"]["name"], "shop");
        let status = &pod["status"];
        assert_eq!(status["phase"], "Pending");
        assert_eq!(status["podIP"], "10.0.2.15");
        assert_eq!(status["initContainerStatuses"][0]["ready"], true);
        let ready = json!({
            "type": "Ready",
            "status": "False",
            "lastProbeTime": null,
            "lastTransitionTime": "1970-01-01T00:01:30Z",
            "reason": "ContainersNotReady",
            "message": "containers with unready status: [proxy db]",
        });
        assert_eq!(status["conditions"][3], ready);
        let web = json!({
            "name": "web",
            "state": { "running": { "startedAt": "1970-01-01T00:01:30Z" } },
            "lastState": { "terminated": {
                "exitCode": 1,
                "reason": "Error",
                "startedAt": "1970-01-01T00:00:00Z",
                "finishedAt": "1970-01-01T00:01:00Z",
                "containerID": "containerd://x.0",
            } },
            "ready": true,
            "started": true,
            "restartCount": 1,
            "image": "nginx:1",
            "imageID": "sha256:12",
            "containerID": "containerd://web.1",
        });
        assert_eq!(status["containerStatuses"][0], web);
    }

    #[test]
    fn a_record_that_cannot_be_read_leaves_the_images_empty() {
        for json in [&b""[..], b"[]", b"{\"containers\": 1}"] {
            assert_eq!(Images::from_inputs(json), Images::default());
        }
    }
}
