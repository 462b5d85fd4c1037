//! Converted layers shared by a fleet: believed when signed or locked, and only then.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::fleet::{Fleet, refused};
use crate::support::output_of;
use crate::support::registry::{Fault, Rule};
use crate::support::small::succeeded;

fn keys(folder: &Path) -> (String, String) {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (private, public) = (path("cache.key"), path("cache.pub"));
    output_of(
        "openssl",
        &["genpkey", "-algorithm", "ed25519", "-out", &private],
    );
    output_of(
        "openssl",
        &["pkey", "-in", &private, "-pubout", "-out", &public],
    );
    (private, public)
}

fn build(fleet: &Fleet, machine: &str, more: &[&str]) -> Command {
    let mut build = fleet.with_base(machine, "build");
    build.arg("-f").arg(fleet.path("pod.yaml")).args(more);
    build
}

/// Layers that came from this machine's cache or a shared one.
fn reused(summary: &Value) -> usize {
    let layers = summary["layers"].as_array().unwrap();
    layers
        .iter()
        .filter(|layer| layer["reused"] == true)
        .count()
}

/// Requests for the compressed layers of `app/web`.
fn layer_requests(fleet: &Fleet) -> usize {
    let seen = fleet.registry.seen();
    let large = seen
        .iter()
        .filter(|one| one.path.contains("/app/web/blobs/") && one.sent > 100_000);
    large.count()
}

#[test]
fn a_fresh_machine_converts_nothing_where_a_trusted_key_signed() {
    let fleet = Fleet::new();
    fleet.manifest(&[fleet.image()]);
    let (private, public) = keys(&fleet.path(""));
    let cache = format!("{}/team/cache", fleet.registry.host());
    let (expected, summary) = fleet.built(build(
        &fleet,
        "one",
        &["--cache-to", &cache, "--cache-key", &private],
    ));
    assert_eq!(reused(&summary), 0);
    fleet.registry.forget();
    let from = ["--cache-from", &cache, "--cache-key", &public];
    let (disk, summary) = fleet.built(build(&fleet, "two", &from));
    assert_eq!(disk, expected);
    assert_eq!(
        reused(&summary),
        summary["layers"].as_array().unwrap().len()
    );
    assert_eq!(
        layer_requests(&fleet),
        0,
        "nothing was pulled to be converted"
    );
    // Another key's word counts for nothing.
    let other = tempfile::tempdir().unwrap();
    let (_, stranger) = keys(other.path());
    let from = ["--cache-from", &cache, "--cache-key", &stranger];
    let (disk, summary) = fleet.built(build(&fleet, "three", &from));
    assert_eq!((disk, reused(&summary)), (expected.clone(), 0));
    // Nor does an unsigned entry, when there is neither key nor lock.
    let (disk, summary) = fleet.built(build(&fleet, "four", &["--cache-from", &cache]));
    assert_eq!((disk, reused(&summary)), (expected, 0));
}

#[test]
fn a_lock_vouches_for_converted_layers() {
    let fleet = Fleet::new();
    let manifest = fleet.manifest(&[fleet.image()]);
    let cache = format!("oci:{}", fleet.path("shared").display());
    let mut lock = fleet.with_base("one", "lock");
    succeeded(
        &lock
            .args(["--convert", "-f"])
            .arg(&manifest)
            .output()
            .unwrap(),
    );
    let text = fs::read_to_string(fleet.path("one/i2kit.lock")).unwrap();
    assert_eq!(
        text.matches("converted = { \"i2kit-layer-").count(),
        5,
        "{text}"
    );
    let (expected, _) = fleet.built(build(&fleet, "one", &["--locked", "--cache-to", &cache]));
    fs::create_dir_all(fleet.path("two")).unwrap();
    fs::copy(fleet.path("one/i2kit.lock"), fleet.path("two/i2kit.lock")).unwrap();
    let from = ["--locked", "--cache-from", &cache];
    let (disk, summary) = fleet.built(build(&fleet, "two", &from));
    assert_eq!(disk, expected);
    assert_eq!(
        reused(&summary),
        summary["layers"].as_array().unwrap().len()
    );
}

/// Whoever may write to the shared cache swaps entries, alters them, or puts what he likes.
#[test]
fn a_poisoned_cache_changes_no_disk() {
    let fleet = Fleet::new();
    fleet.manifest(&[fleet.image()]);
    let (private, _) = keys(&fleet.path(""));
    let shared = fleet.path("shared");
    let cache = format!("oci:{}", shared.display());
    let key = ["--cache-key", &private];
    let (expected, _) = fleet.built(build(
        &fleet,
        "one",
        &[&["--cache-to", &cache], &key[..]].concat(),
    ));
    let from = [&["--cache-from", &cache], &key[..]].concat();
    let index = fs::read_to_string(shared.join("index.json")).unwrap();
    let attempt = |machine: &str, expect: &str| {
        let mut command = build(&fleet, machine, &from);
        let disk = fleet.path(&format!("{machine}.raw"));
        let output = command.arg("-o").arg(&disk).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(text.contains(expect), "no {expect:?} in {text}");
        let digest = crate::support::layout::sha256(&fs::read(&disk).unwrap());
        assert_eq!(digest, expected);
    };

    // Each tag names the next layer's entry, whose signature is of another layer.
    let mut swapped: Value = serde_json::from_str(&index).unwrap();
    let entries = swapped["manifests"].as_array_mut().unwrap();
    let names: Vec<Value> = entries
        .iter()
        .map(|one| one["annotations"].clone())
        .collect();
    let count = entries.len();
    for (number, entry) in entries.iter_mut().enumerate() {
        entry["annotations"] = names[(number + 1) % count].clone();
    }
    fs::write(shared.join("index.json"), swapped.to_string()).unwrap();
    attempt("swapped", "the key did not sign it; converting it");

    // The entries are the right ones, their bytes are not.
    fs::write(shared.join("index.json"), &index).unwrap();
    for blob in fs::read_dir(shared.join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if bytes.len() > 5000 {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    attempt("altered", "converting it");

    // Another layer's bytes under a signed entry's manifest.
    let largest = |folder: &Path| {
        let blobs = fs::read_dir(folder.join("blobs/sha256")).unwrap();
        blobs
            .map(|one| one.unwrap().path())
            .max_by_key(|path| fs::metadata(path).unwrap().len())
            .unwrap()
    };
    fs::write(
        largest(&shared),
        zstd::encode_all(&b"anything"[..], 1).unwrap(),
    )
    .unwrap();
    attempt("replaced", "converting it");
}

#[test]
fn a_shared_cache_that_does_not_answer_stops_no_build() {
    let fleet = Fleet::new();
    fleet.manifest(&[fleet.image()]);
    let cache = format!("{}/team/cache", fleet.registry.host());
    fleet.registry.script([Rule::new(
        "/team/cache/",
        Fault::Answer(crate::support::registry::http::Response::new(403)),
    )]);
    let output = build(&fleet, "one", &["--cache-from", &cache, "-o", "x.raw"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("403") && text.contains("converting it"),
        "{text}"
    );
    // Offline it is not even asked.
    fleet.registry.forget();
    let offline = ["--offline", "--cache-from", &cache, "-o", "z.raw"];
    refused(
        &mut build(&fleet, "one", &offline),
        &["--offline makes no connection"],
    );
    assert_eq!(fleet.registry.seen().len(), 0);
    // Where it is asked to put something, it is told.
    let output = build(&fleet, "one", &["--cache-to", &cache, "-o", "y.raw"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        fleet.path("one/y.raw").exists(),
        "the disk is there all the same"
    );
}
