//! A disk built again from its record alone.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::disk::{CERTIFICATE, Disk, FLAGS, KEY, refused};
use crate::support::i2kit;
use crate::support::layout::{self, Compression};
use crate::support::small::{Small, succeeded};
use crate::support::tarball::{Dialect, Item, archive};

/// `i2kit rebuild` of that file, with base and image of the folder.
fn rebuild(small: &Small, record: &str) -> Command {
    let mut command = i2kit();
    command
        .arg("rebuild")
        .arg("--record")
        .arg(small.path(record));
    command.arg("--base").arg(small.source("base"));
    command
        .arg("--image")
        .arg(format!("oci:image={}", small.source("image")));
    command.arg("--cache-dir").arg(small.path("fresh"));
    command
}

#[test]
fn a_signed_disk_is_built_again_from_its_record_without_the_key() {
    let disk = Disk::new();
    let record = fs::read(disk.small.path("disk.raw.i2kit.json")).unwrap();
    let text = String::from_utf8(record.clone()).unwrap();
    let folder = disk.small.path("").display().to_string();
    assert!(
        !text.contains(&folder),
        "a folder of this machine in {text}"
    );
    // The images lie elsewhere now, the cache is another one, the disk is gone.
    let other = Small::new();
    other.replace_base_by_one_with_fec();
    fs::write(other.path("record.json"), &record).unwrap();
    let text = succeeded(&rebuild(&other, "record.json").output().unwrap());
    assert!(text.starts_with("the same disk as "), "{text}");
    let mut write = rebuild(&other, "record.json");
    succeeded(
        &write
            .arg("-q")
            .arg("-o")
            .arg(other.path("again.raw"))
            .output()
            .unwrap(),
    );
    assert!(fs::read(other.path("again.raw")).unwrap() == disk.bytes);
    let again: Value =
        serde_json::from_slice(&fs::read(other.path("again.raw.i2kit.json")).unwrap()).unwrap();
    let mut expected: Value = serde_json::from_slice(&record).unwrap();
    // The key names who signs.
    expected["inputs_key"] = again["inputs_key"].clone();
    assert_eq!(again, expected);
    // A disk is as good as its record.
    let text = succeeded(&rebuild(&other, "again.raw").arg("--json").output().unwrap());
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&json["same"], &json["root_hash"]),
        (&Value::Bool(true), &expected["root_hash"])
    );
}

#[test]
fn what_cannot_be_built_again_is_named() {
    let disk = Disk::new();
    let small = &disk.small;
    let record: Value =
        serde_json::from_slice(&fs::read(small.path("disk.raw.i2kit.json")).unwrap()).unwrap();
    let with = |path: &str, value: Value| {
        let mut record = record.clone();
        *record.pointer_mut(path).expect(path) = value;
        fs::write(small.path("altered.json"), record.to_string()).unwrap();
        rebuild(small, "altered.json").output().unwrap()
    };
    let digest = json!(format!("sha256:{}", "1".repeat(64)));
    for (path, value, words) in [
        ("/inputs/version", json!(1), "version 1, 2 is known"),
        ("/inputs/compression", json!("gzip"), "compression \"gzip\""),
        ("/inputs/platform", json!("x"), "platform \"x\""),
        ("/inputs/base/manifest", digest.clone(), "image i2kit-base"),
        (
            "/inputs/containers/image/manifest",
            digest.clone(),
            "image oci:image",
        ),
        (
            "/inputs/manifest",
            digest,
            "the manifests' digest is sha256:",
        ),
        (
            "/signature",
            json!("zz"),
            "the signature of the outputs record is none",
        ),
        ("/slabs/2/1", json!("0".repeat(64)), "compare: "),
    ] {
        let error = refused(&with(path, value));
        assert!(error.contains(words), "{path}: {error}");
    }
    let error = refused(&with("/inputs/i2kit", json!("0.0.9")));
    for words in [
        "warning: it was built by i2kit 0.0.9, this is ",
        "/inputs.json, /i2kit: it is \"0.0.9\", the build gives ",
        "hint: another i2kit may write other bytes",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    let error = refused(&with("/inputs/init", json!("sha256:00")));
    assert!(
        error.contains("it was built by another i2kit of this version"),
        "{error}"
    );
    let mut other = rebuild(small, "disk.raw");
    let error = refused(&other.args(["--compression", "none"]).output().unwrap());
    assert!(
        error.contains("the record says how the store is compressed"),
        "{error}"
    );
    let help = succeeded(&i2kit().args(["rebuild", "--help"]).output().unwrap());
    assert!(
        !help.contains("--compression") && !help.contains("--locked"),
        "{help}"
    );
}

#[test]
fn manifests_stand_in_the_record_or_are_named() {
    let small = Small::new();
    let pod = |name: &str| {
        let source = small.source("image");
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - {{name: c, image: \"{source}\"}}\n"
        )
    };
    fs::write(
        small.path("pods.yaml"),
        format!("{}---\n{}", pod("a"), pod("b")),
    )
    .unwrap();
    let mut build = i2kit();
    build.arg("build").arg("--base").arg(small.source("base"));
    build.arg("--cache-dir").arg(small.path("cache"));
    build
        .arg("-f")
        .arg(small.path("pods.yaml"))
        .args(["--name", "b"]);
    build.args(["--compression", "lz4:3,cluster=64K", "--scratch=64MiB"]);
    succeeded(
        &build
            .arg("-q")
            .arg("-o")
            .arg(small.path("disk.raw"))
            .output()
            .unwrap(),
    );
    succeeded(&rebuild(&small, "disk.raw.i2kit.json").output().unwrap());

    let path = small.path("disk.raw.i2kit.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(
        record["inputs"]["manifests"][0]
            .as_str()
            .unwrap()
            .contains("name: b")
    );
    record["inputs"]
        .as_object_mut()
        .unwrap()
        .remove("manifests");
    fs::write(small.path("secret.json"), record.to_string()).unwrap();
    let error = refused(&rebuild(&small, "secret.json").output().unwrap());
    assert!(
        error.contains("hint: name the manifests with -f"),
        "{error}"
    );
    // It is the manifest of the build, though the record has lost it since.
    let mut named = rebuild(&small, "secret.json");
    let error = refused(
        &named
            .arg("-f")
            .arg(small.path("pods.yaml"))
            .output()
            .unwrap(),
    );
    assert!(
        error.contains("/inputs.json, /manifests: it is nothing"),
        "{error}"
    );
    fs::write(small.path("pods.yaml"), pod("b")).unwrap();
    let error = refused(&named.output().unwrap());
    assert!(error.contains("the manifests' digest is"), "{error}");
}

/// The record has no folders, so it cannot tell them apart.
#[test]
fn two_images_of_one_name_are_refused() {
    let small = Small::new();
    let mut build = small.build("cache", "disk.raw");
    for folder in ["a", "b"] {
        let layer = archive(&[Item::file(folder, folder)], Dialect::Pax);
        let agent = format!("{folder}/agent");
        layout::write(
            &small.path(&agent),
            &[(layer, Compression::Gzip)],
            &json!({}),
        );
        build.arg("--extension").arg(small.source(&agent));
    }
    succeeded(&build.output().unwrap());
    let error = refused(&rebuild(&small, "disk.raw.i2kit.json").output().unwrap());
    assert!(error.contains("two images are called oci:agent"), "{error}");
}

#[test]
fn the_record_is_the_same_in_any_folder_and_at_any_time() {
    let build = |cache: &str, jobs: &str| {
        let small = Small::new();
        let mut build = small.build(cache, "disk.raw");
        build
            .args(FLAGS)
            .args(["--sign-key", KEY, "--sign-cert", CERTIFICATE, "-j", jobs]);
        small.replace_base_by_one_with_fec();
        succeeded(&build.output().unwrap());
        fs::read(small.path("disk.raw.i2kit.json")).unwrap()
    };
    assert_eq!(
        String::from_utf8(build("one", "1")).unwrap(),
        String::from_utf8(build("another", "3")).unwrap()
    );
}
