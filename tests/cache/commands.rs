//! `i2kit cache`, `--keep-blobs` and `--cache-max-size` as a person meets them.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::small::{Small, succeeded};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn json(small: &Small, arguments: &[&str]) -> Value {
    serde_json::from_str(&succeeded(&small.cache("cache", arguments))).unwrap()
}

fn kinds(list: &Value) -> Vec<&str> {
    let entries = list.as_array().unwrap().iter();
    entries.map(|one| one["kind"].as_str().unwrap()).collect()
}

#[test]
fn ls_du_and_path_tell_what_is_there() {
    let small = Small::new();
    assert_eq!(json(&small, &["ls", "--json"]), Value::Array(vec![]));
    assert!(!small.path("cache").exists(), "looking makes nothing");
    succeeded(
        &small
            .build("cache", "disk.raw")
            .arg("--keep-blobs")
            .output()
            .unwrap(),
    );
    let list = json(&small, &["ls", "--json"]);
    let count = |kind| kinds(&list).iter().filter(|one| **one == kind).count();
    assert_eq!(
        ["layer", "blob", "document", "piece"].map(count),
        [5, 5, 4, 3]
    );
    let layers = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["kind"] == "layer");
    let mut ids: Vec<_> = layers
        .map(|one| one["diff_id"].as_str().unwrap().to_owned())
        .collect();
    let layouts = ["base", "image"].map(|name| crate::support::layout::diff_ids(&small.path(name)));
    let mut expected = layouts.concat();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);

    let text = succeeded(&small.cache("cache", &["ls"]));
    assert_eq!(text.lines().count(), 1 + 17, "{text}");
    assert!(expected.iter().all(|id| text.contains(id)), "{text}");

    let du = json(&small, &["du", "--json", "--cache-max-size", "1GiB"]);
    let sizes = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["size"].as_u64().unwrap());
    assert_eq!(du["total"].as_u64().unwrap(), sizes.sum::<u64>());
    assert_eq!(du["limit"], 1 << 30);
    assert_eq!(du["unfinished"], 0);
    assert_eq!(
        json(&small, &["du", "--json", "--cache-max-size", "none"])["limit"],
        Value::Null
    );
    let default = json(&small, &["du", "--json"])["limit"].as_u64().unwrap();
    assert!((1..=20 << 30).contains(&default), "{default}");
    let text = succeeded(&small.cache("cache", &["du"]));
    for line in [
        "layer",
        "blob",
        "document",
        "piece",
        "format",
        "unfinished",
        "total",
        "limit",
    ] {
        assert!(
            text.lines().any(|one| one.starts_with(line)),
            "{line}: {text}"
        );
    }
    let on_disk = crate::support::output_of("du", &["-sB1", small.path("cache").to_str().unwrap()]);
    let on_disk: u64 = on_disk.split('\t').next().unwrap().parse().unwrap();
    let total = du["total"].as_u64().unwrap();
    assert!(
        total <= on_disk && on_disk - total < 100_000,
        "{total} of {on_disk}"
    );

    let path = succeeded(&small.cache("cache", &["path"]));
    assert_eq!(path.trim_end(), small.path("cache").to_str().unwrap());
}

/// Sets the times of all entries: the first of them `days` days ago, the others now.
fn age_first_layer(small: &Small, days: u32) -> String {
    let list = json(small, &["ls", "--json"]);
    let layer = list
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["kind"] == "layer");
    let key = layer.unwrap()["key"].as_str().unwrap();
    let folder = fs::File::open(small.path("cache/v1/layers").join(key)).unwrap();
    folder.set_modified(SystemTime::now() - DAY * days).unwrap();
    key.to_owned()
}

#[test]
fn gc_removes_what_is_old_or_too_much_and_says_so() {
    let small = Small::new();
    let expected = small.built("cache", "disk.raw");
    let text = succeeded(&small.cache("cache", &["gc"]));
    assert!(text.contains("removed 0 entries"), "{text}");
    let key = age_first_layer(&small, 8);
    let folder = small.path("cache/v1/layers").join(&key);
    let text = succeeded(&small.cache("cache", &["gc", "--older-than", "9d"]));
    assert!(
        text.contains("removed 0 entries") && folder.exists(),
        "{text}"
    );
    let arguments = ["gc", "--older-than", "7d", "--dry-run"];
    let text = succeeded(&small.cache("cache", &arguments));
    assert!(
        text.contains("would remove 1 entries") && folder.exists(),
        "{text}"
    );
    let text = succeeded(&small.cache("cache", &arguments[..3]));
    assert!(
        text.contains("removed 1 entries") && !folder.exists(),
        "{text}"
    );
    assert_eq!(small.built("cache", "disk.raw"), expected);
    assert!(folder.exists());

    let key = age_first_layer(&small, 1);
    let total = json(&small, &["du", "--json"])["total"].as_u64().unwrap();
    let limit = (total - 1).to_string();
    succeeded(&small.cache("cache", &["gc", "--max-size", &limit]));
    assert!(!small.path("cache/v1/layers").join(key).exists());
    assert!(json(&small, &["du", "--json"])["total"].as_u64().unwrap() < total);
    succeeded(&small.cache("cache", &["gc", "--max-size", "none"]));
    succeeded(&small.cache("cache", &["gc", "--max-size", "0"]));
    assert_eq!(json(&small, &["du", "--json"])["total"], 0);
    let output = small.cache("cache", &["gc", "--older-than", "7"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_build_leaves_the_cache_under_its_limit() {
    let small = Small::new();
    let expected = small.built("other", "disk.raw");
    let mut command = small.build("cache", "disk.raw");
    let output = command.args(["--cache-max-size", "5MiB"]).output().unwrap();
    succeeded(&output);
    let total = json(&small, &["du", "--json"])["total"].as_u64().unwrap();
    assert!((1..=5 << 20).contains(&total), "{total}");
    assert_eq!(small.built("cache", "again.raw"), expected);
    let all = json(&small, &["du", "--json"])["total"].as_u64().unwrap();
    assert!(all > 8 << 20, "{all}: a limit is one build's");
    let output = small
        .build("cache", "again.raw")
        .args(["--cache-max-size", "none"])
        .output();
    succeeded(&output.unwrap());
}

/// An unchanged disk is not read, but what it was made from counts as used.
#[test]
fn an_unchanged_build_keeps_its_layers_young() {
    let small = Small::new();
    succeeded(&small.build("cache", "disk.raw").output().unwrap());
    let key = age_first_layer(&small, 8);
    let report: Value = serde_json::from_str(&succeeded(
        &small.build("cache", "disk.raw").output().unwrap(),
    ))
    .unwrap();
    assert_eq!(report["unchanged"], true);
    succeeded(&small.cache("cache", &["gc", "--older-than", "7d"]));
    assert!(small.path("cache/v1/layers").join(key).exists());
}

#[test]
fn kept_blobs_take_the_place_of_the_source() {
    let small = Small::new();
    succeeded(
        &small
            .build("cache", "disk.raw")
            .arg("--keep-blobs")
            .output()
            .unwrap(),
    );
    let expected = small.built("cache", "again.raw");
    // The layout keeps its documents, and loses its layers.
    let list = json(&small, &["ls", "--json"]);
    let blobs = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["kind"] == "blob");
    for blob in blobs {
        let name = blob["key"].as_str().unwrap().replace(':', "/");
        for layout in ["base", "image"] {
            let _ = fs::rename(
                small.path(layout).join("blobs").join(&name),
                small.path("away"),
            );
        }
    }
    fs::remove_dir_all(small.path("cache/v1/layers")).unwrap();
    assert_eq!(small.built("cache", "again.raw"), expected);
    fs::remove_dir_all(small.path("cache/v1/blobs")).unwrap();
    fs::remove_dir_all(small.path("cache/v1/layers")).unwrap();
    let output = small.build("cache", "again.raw").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

/// Whatever room there is: a whole disk, or one clear message, and nothing half in the cache.
#[test]
fn a_full_cache_is_told_and_keeps_nothing_half() {
    let small = Small::new();
    let expected = small.built("other", "disk.raw");
    let mount = small.path("cache");
    fs::create_dir(&mount).unwrap();
    let mount = mount.to_str().unwrap();
    let mut failed = 0;
    for kib in (8..).step_by(1500) {
        let options = format!("size={kib}K");
        crate::support::output_of("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", mount]);
        let output = small
            .build("cache", "full.raw")
            .arg("--keep-blobs")
            .output()
            .unwrap();
        let tmp = fs::read_dir(small.path("cache/v1/tmp")).map_or(0, Iterator::count);
        let verified = small.cache("cache", &["verify"]);
        let emptied = small.cache("cache", &["gc", "--max-size", "0"]);
        let left = json(&small, &["du", "--json"])["total"].clone();
        crate::support::output_of("umount", &[mount]);
        let error = String::from_utf8_lossy(&output.stderr);
        succeeded(&verified);
        succeeded(&emptied);
        assert_eq!((tmp, left), (0, 0.into()), "{kib} KiB: {error}");
        if output.status.success() {
            let disk = fs::read(small.path("full.raw")).unwrap();
            assert_eq!(crate::support::layout::sha256(&disk), expected);
            break;
        }
        failed += 1;
        assert_eq!(output.status.code(), Some(1), "{kib} KiB: {error}");
        assert!(
            error.contains("i2kit cache gc") && !error.contains("panicked"),
            "{kib} KiB: {error}"
        );
        assert!(!small.path("full.raw").exists());
    }
    assert!(failed >= 4, "only {failed} were too small");
}
