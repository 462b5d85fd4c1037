//! Locks, and builds that ask nobody.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::fleet::{Fleet, refused, without_network};
use crate::policy::signer::{Pair, SIMPLE_SIGNING, payload, tag};
use crate::support::registry::Auth;
use crate::support::small::succeeded;

#[test]
fn a_locked_build_takes_what_the_lock_holds_and_asks_nobody_for_what_it_has() {
    let fleet = Fleet::new();
    let manifest = fleet.manifest(&[fleet.image()]);
    let mut lock = fleet.with_base("one", "lock");
    succeeded(&lock.arg("-f").arg(&manifest).output().unwrap());
    let text = fs::read_to_string(fleet.path("one/i2kit.lock")).unwrap();
    assert!(
        text.contains(&format!("name = \"{}\"", fleet.image())),
        "{text}"
    );
    assert_eq!(
        text.matches("[[image.platform.layer]]").count(),
        3,
        "{text}"
    );
    assert_eq!(text.matches("[[base.platform.layer]]").count(), 2, "{text}");
    // The same images, the same lock.
    let mut again = fleet.with_base("one", "lock");
    succeeded(&again.arg("-f").arg(&manifest).output().unwrap());
    assert_eq!(
        fs::read_to_string(fleet.path("one/i2kit.lock")).unwrap(),
        text
    );

    let build = |locked: bool| {
        let mut build = fleet.with_base("one", "build");
        build.arg("-f").arg(&manifest);
        if locked {
            build.arg("--locked");
        }
        fleet.built(build).0
    };
    let first = build(true);
    fleet.registry.forget();
    assert_eq!(build(true), first);
    assert_eq!(
        fleet.registry.seen().len(),
        0,
        "a locked build with a full cache asks nobody"
    );
    fleet.move_tag();
    assert_eq!(build(true), first, "a tag that moves moves no locked build");
    assert_ne!(build(false), first);
}

#[test]
fn a_build_without_a_lock_says_what_a_tag_was() {
    let fleet = Fleet::new();
    let manifest = fleet.manifest(&[fleet.image()]);
    let mut build = fleet.with_base("one", "build");
    let output = build
        .arg("-f")
        .arg(manifest)
        .arg("-o")
        .arg(fleet.path("disk.raw"))
        .output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains(&format!("{} is sha256:", fleet.image())),
        "{text}"
    );
}

#[test]
fn what_the_lock_does_not_hold_is_refused() {
    let fleet = Fleet::new();
    let manifest = fleet.manifest(&[fleet.image()]);
    let disk = fleet.path("disk.raw");
    let mut build = fleet.with_base("one", "build");
    build
        .args(["--locked", "-f"])
        .arg(&manifest)
        .arg("-o")
        .arg(&disk);
    refused(
        &mut build,
        &["i2kit.lock: there is no lock", "hint: i2kit lock"],
    );
    let lock = fleet.path("one/i2kit.lock");
    fs::write(&lock, "version = 9\n").unwrap();
    refused(&mut build, &["version 9, this i2kit reads 1"]);
    let mut write = fleet.with_base("one", "lock");
    succeeded(&write.arg("-f").arg(&manifest).output().unwrap());
    fleet.manifest(&[fleet.image(), format!("{}/other:1", fleet.registry.host())]);
    refused(&mut build, &["/other:1\" in i2kit.lock: it is not there"]);
    // A local source that has changed since.
    let image = format!("oci:{}", fleet.path("image").display());
    fleet.manifest(std::slice::from_ref(&image));
    let mut write = fleet.with_base("one", "lock");
    succeeded(&write.arg("-f").arg(&manifest).output().unwrap());
    fleet.move_tag();
    fs::remove_dir_all(fleet.path("image")).unwrap();
    fs::rename(fleet.path("moved"), fleet.path("image")).unwrap();
    fs::remove_dir_all(fleet.path("one/cache")).unwrap();
    refused(
        &mut build,
        &["now, not sha256:", "hint: if that is as it should be"],
    );
    assert!(!disk.exists());
}

#[test]
fn offline_finds_what_was_pulled_and_connects_to_nobody() {
    let fleet = Fleet::new();
    let manifest = fleet.manifest(&[fleet.image()]);
    let mut build = fleet.with_base("one", "build");
    build.args(["--offline", "-f"]).arg(&manifest);
    let mut cold = without_network(&build);
    let text = refused(
        cold.arg("-o").arg(fleet.path("disk.raw")),
        &[
            "not in the cache, and no connection may be made",
            "i2kit pull",
        ],
    );
    assert!(text.contains(&fleet.image()), "{text}");
    assert_eq!(fleet.registry.seen().len(), 0);

    let mut pull = fleet.machine("one", "pull");
    let pulled = pull.arg(fleet.image()).arg("--json").output().unwrap();
    let pulled: serde_json::Value = serde_json::from_str(&succeeded(&pulled)).unwrap();
    assert_eq!(pulled[0]["layers"].as_array().unwrap().len(), 3);
    assert!(pulled[0]["layers"][0]["from"] == "converted", "{pulled}");
    fleet.registry.forget();
    let (offline, _) = fleet.built(without_network(&build));
    assert_eq!(fleet.registry.seen().len(), 0);
    let mut online = fleet.with_base("two", "build");
    online.arg("-f").arg(&manifest);
    assert_eq!(fleet.built(online).0, offline);
}

/// A manifest of three images.
fn of_three(fleet: &Fleet) -> PathBuf {
    let names = ["a", "b", "c"].map(|name| {
        fleet.registry.load(&fleet.path("image"), name);
        format!("{}/{name}", fleet.registry.host())
    });
    fleet.manifest(&names)
}

#[test]
fn a_lock_of_three_images_takes_two_requests_each() {
    let fleet = Fleet::new();
    let manifest = of_three(&fleet);
    let mut lock = fleet.with_base("one", "lock");
    succeeded(&lock.arg("-f").arg(&manifest).output().unwrap());
    let seen = fleet.registry.seen();
    let paths: Vec<_> = seen
        .iter()
        .map(|one| format!("{} {}", one.method, one.path))
        .collect();
    assert_eq!(paths.len(), 6, "{paths:?}");
}

/// The manifests of all at once, then the configs of all.
#[test]
fn a_lock_of_three_images_takes_few_trips_one_after_another() {
    let fleet = Fleet::new();
    let manifest = of_three(&fleet);
    let locked = || {
        let mut lock = fleet.with_base("one", "lock");
        lock.arg("-f").arg(&manifest);
        let begun = Instant::now();
        succeeded(&lock.output().unwrap());
        fs::remove_dir_all(fleet.path("one/cache")).unwrap();
        begun.elapsed()
    };
    // Long against whatever else this machine does meanwhile.
    let trip = Duration::from_millis(800);
    fleet.registry.set_latency(trip);
    let took = locked();
    assert!((trip * 2..trip * 3).contains(&took), "two trips: {took:?}");
    // One to be told so, one for a token, then the same two.
    fleet.registry.set_auth(Auth::Bearer { realm: None });
    let took = locked();
    assert!((trip * 4..trip * 5).contains(&took), "four trips: {took:?}");
}

#[test]
fn resolve_tells_people_and_scripts() {
    let fleet = Fleet::new();
    let mut resolve = fleet.machine("one", "resolve");
    let text = succeeded(&resolve.arg(fleet.image()).output().unwrap());
    assert!(
        text.contains("linux/amd64") && text.contains("3, "),
        "{text}"
    );
    let json = succeeded(&resolve.arg("--json").output().unwrap());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["reference"], fleet.image());
    let manifest = json[0]["manifest"].as_str().unwrap();
    assert!(
        text.contains(manifest) && manifest.starts_with("sha256:"),
        "{text}"
    );
    // By its digest it is the same image.
    let by_digest = fleet.image().replace(":latest", &format!("@{manifest}"));
    let mut resolve = fleet.machine("two", "resolve");
    let again = succeeded(&resolve.arg(by_digest).arg("--json").output().unwrap());
    assert!(again.contains(manifest));
    let mut other = fleet.machine("one", "resolve");
    other.arg(fleet.image()).args(["--platform", "linux/arm64"]);
    refused(&mut other, &["linux/arm64", "linux/amd64"]);
}

#[test]
fn defaults_come_from_a_file_and_flags_win() {
    let fleet = Fleet::new();
    let manifest = fleet.manifest(&[fleet.image()]);
    let base = fleet.path("base");
    fs::create_dir_all(fleet.path("one")).unwrap();
    let text = format!(
        "filename = [{:?}]\n[build]\nbase = \"oci:{}\"\noutput = \"from-file.raw\"\nquiet = true\n",
        manifest.display(),
        base.display()
    );
    fs::write(fleet.path("one/i2kit.toml"), text).unwrap();
    succeeded(&fleet.machine("one", "build").output().unwrap());
    assert!(fleet.path("one/from-file.raw").exists());
    let mut given = fleet.machine("one", "build");
    succeeded(&given.args(["-o", "given.raw"]).output().unwrap());
    assert!(fleet.path("one/given.raw").exists());
    fs::write(fleet.path("one/i2kit.toml"), "outptu = \"x\"\n").unwrap();
    let output = fleet.machine("one", "build").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("i2kit.toml: unknown key \"outptu\"\nhint: did you mean output?"),
        "{text}"
    );
}

#[test]
fn a_policy_decides_before_anything_is_asked_for() {
    let fleet = Fleet::new();
    let policy = fleet.path("policy.json");
    let host = fleet.registry.host();
    let text = serde_json::json!({
        "default": [{"type": "insecureAcceptAnything"}],
        "transports": {"docker": {host: [{"type": "reject"}]}},
    });
    fs::write(&policy, text.to_string()).unwrap();
    let mut resolve = fleet.machine("one", "resolve");
    resolve.arg(fleet.image()).arg("--policy").arg(&policy);
    refused(&mut resolve, &[&fleet.image(), "transports.docker"]);
    assert_eq!(fleet.registry.seen().len(), 0);
}

#[test]
fn a_lock_says_by_which_rule_and_key_an_image_was_accepted() {
    let fleet = Fleet::new();
    let pair = Pair::p256();
    let manifest = fleet.manifest(&[fleet.image()]);
    let mut resolve = fleet.machine("one", "resolve");
    let json = succeeded(&resolve.arg(fleet.image()).arg("--json").output().unwrap());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let digest = json[0]["manifest"].as_str().unwrap();
    let policy = fleet.path("policy.json");
    let text = json!({
        "default": [{"type": "reject"}],
        "transports": {
            "docker": {fleet.registry.host(): [{
                "type": "sigstoreSigned",
                "keyPath": pair.public(),
                "signedIdentity": {"type": "matchRepository"},
            }]},
            "oci": {"": [{"type": "insecureAcceptAnything"}]},
        },
    });
    fs::write(&policy, text.to_string()).unwrap();
    let mut lock = fleet.with_base("one", "lock");
    lock.arg("-f").arg(&manifest).arg("--policy").arg(&policy);
    refused(&mut lock, &[&fleet.image(), &pair.fingerprint()]);
    assert!(!fleet.path("one/i2kit.lock").exists());

    let name = format!("{}/app/web", fleet.registry.host());
    let payload = payload(&name, digest);
    let blob = json!({
        "mediaType": SIMPLE_SIGNING,
        "digest": fleet.registry.put_blob(payload.clone()),
        "size": payload.len(),
        "annotations": {"dev.cosignproject.cosign/signature": pair.sign_base64(payload.as_bytes())},
    });
    let config = json!({
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": fleet.registry.put_blob("{}"),
        "size": 2,
    });
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let signature =
        json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [blob]});
    let bytes = signature.to_string();
    fleet
        .registry
        .put_manifest("app/web", &tag(digest), kind, bytes.as_bytes());
    succeeded(&lock.output().unwrap());
    let text = fs::read_to_string(fleet.path("one/i2kit.lock")).unwrap();
    assert!(text.contains(&pair.fingerprint()), "{text}");
    assert!(text.contains("transports.docker"), "{text}");

    // A locked build asks the policy again: a lock is no way round it.
    let build = || {
        let mut build = fleet.with_base("one", "build");
        build.args(["--locked", "-f"]).arg(&manifest);
        build.arg("--policy").arg(&policy);
        build
    };
    fleet.built(build());
    let other = Pair::p256();
    let text = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, text.replace(&pair.public(), &other.public())).unwrap();
    refused(
        build().arg("-o").arg(fleet.path("disk.raw")),
        &[&other.fingerprint()],
    );
}
