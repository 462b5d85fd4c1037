//! A disk against what manifest and images give, and against its record.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::disk::{Disk, FLAGS, refused};
use crate::support::i2kit;
use crate::support::small::{Small, succeeded};
use crate::support::vm::Bench;

/// `i2kit verify DISK` with the flags of the build.
fn against_build(disk: &Disk) -> Command {
    let mut command = i2kit();
    command.arg("verify").arg(&disk.path);
    sources(&mut command, &disk.small, "cache");
    command
}

fn sources(command: &mut Command, small: &Small, cache: &str) {
    command.arg("--base").arg(small.source("base"));
    command.arg("--from").arg(small.source("image"));
    command.arg("--cache-dir").arg(small.path(cache));
}

#[test]
fn a_disk_is_what_its_images_and_flags_give_and_nothing_else() {
    let disk = Disk::new();
    let text = succeeded(&against_build(&disk).args(FLAGS).output().unwrap());
    assert!(
        text.ends_with("content: what manifest and images give\n"),
        "{text}"
    );
    for (flags, words) in [
        (
            &FLAGS[1..],
            "/inputs.json, /fec: it is 2, the build gives null",
        ),
        (&FLAGS[..1], "/inputs.json, /kernel_args/0: it is \"quiet\""),
        (
            &FLAGS[..3],
            "/on_failure: it is \"reboot\", the build gives \"power-off\"",
        ),
    ] {
        let error = refused(&against_build(&disk).args(flags).output().unwrap());
        assert!(error.contains(words), "{flags:?}: {error}");
    }
    let mut flags = FLAGS.to_vec();
    flags.push("--scratch=64MiB");
    let error = refused(&against_build(&disk).args(&flags).output().unwrap());
    assert!(error.contains("partition table"), "{error}");

    let mut json = against_build(&disk);
    let json = json.args(&FLAGS[1..]).arg("--json").output().unwrap();
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["fault"]["structure"], "/fec");
    // Nothing was written.
    assert!(fs::read(&disk.path).unwrap() == disk.bytes);
}

/// The record in the store says that it is the same, and it is not: a cache that another wrote to.
#[test]
fn content_that_images_do_not_give_is_named_by_layer_and_file() {
    let small = Small::new();
    let build = |cache: &str, disk: &str| {
        let mut build = small.build(cache, disk);
        succeeded(&build.args(["--compression", "none"]).output().unwrap());
        fs::read(small.path(disk)).unwrap()
    };
    let good = build("cache", "good.raw");
    let poisoned = poison(&small);
    let bad = build("cache", "bad.raw");
    assert!(good != bad, "the cache's layer {poisoned} was taken");
    succeeded(
        &i2kit()
            .arg("verify")
            .arg(small.path("bad.raw"))
            .output()
            .unwrap(),
    );
    let mut verify = i2kit();
    verify.arg("verify").arg(small.path("bad.raw"));
    sources(&mut verify, &small, "fresh");
    let error = refused(&verify.args(["--compression", "none"]).output().unwrap());
    // The first layer has no file left that the last one has not, so it is the first to differ.
    let expected = [
        "compare: store, layer sha256:",
        ", file /containers/image/f",
    ];
    for words in expected {
        assert!(error.contains(words), "{words}: {error}");
    }
}

/// Puts the image's first converted layer in the place of its last; answers that one's diffID.
fn poison(small: &Small) -> String {
    let record = fs::read(small.path("good.raw.i2kit.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let layers = record["inputs"]["containers"]["image"]["layers"]
        .as_array()
        .unwrap();
    let entry = |layer: &Value| {
        let diff_id = layer["diff_id"].as_str().unwrap();
        let hex = diff_id.strip_prefix("sha256:").unwrap();
        let entries = fs::read_dir(small.path("cache/v1/layers")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        let found = paths.find(|path| path.display().to_string().contains(hex));
        (diff_id.to_owned(), found.unwrap())
    };
    let ((_, first), (poisoned, last)) = (entry(&layers[0]), entry(&layers[2]));
    fs::remove_dir_all(&last).unwrap();
    fs::create_dir(&last).unwrap();
    for file in fs::read_dir(first).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), last.join(file.file_name())).unwrap();
    }
    poisoned
}

#[test]
fn manifest_and_lock_decide_what_a_disk_must_be() {
    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: test}\nspec:\n  \
                       containers: [{name: a, image: tiny, env: [{name: A, value: b}]}]\n";
    let bench = Bench::new();
    let disk = bench.build(POD, "disk.raw", &[]);
    let manifest = bench.path("manifest.yaml");
    let lock = bench.path("app.lock");
    let mut command = bench.command("lock");
    succeeded(
        &command
            .arg("-f")
            .arg(&manifest)
            .arg("--lock")
            .arg(&lock)
            .output()
            .unwrap(),
    );
    let verify = || {
        let mut command = bench.command("verify");
        command.arg(&disk).arg("--locked").arg("--lock").arg(&lock);
        command.arg("-f").arg(&manifest).output().unwrap()
    };
    succeeded(&verify());
    fs::write(&manifest, POD.replace("value: b", "value: c")).unwrap();
    let error = refused(&verify());
    assert!(
        error.contains("store, file /inputs.json, /manifest: it is \"sha256:"),
        "{error}"
    );
    fs::write(&manifest, POD).unwrap();
    let text = fs::read_to_string(&lock).unwrap();
    fs::write(&lock, text.replace("tiny", "other")).unwrap();
    let error = refused(&verify());
    assert!(error.contains("find image \"tiny\" in"), "{error}");
}

#[test]
fn each_figure_of_a_record_must_be_the_disks() {
    let disk = Disk::new();
    let path = disk.small.path("disk.raw.i2kit.json");
    let record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let altered = disk.small.path("altered.json");
    let verify = |record: &Value| {
        fs::write(&altered, record.to_string()).unwrap();
        disk.verify(&["--record", altered.to_str().unwrap()])
    };
    succeeded(&verify(&record));
    let zeros = json!("0".repeat(64));
    let registers = json!({"pcr4": "", "pcr4_secure_boot": "", "pcr11": ""});
    let measured = json!({
        "stub": "", "sections": [], "sha256": registers, "sha384": registers,
    });
    for (figure, value) in [
        ("/size", json!(4096)),
        ("/data_bytes", json!(4096)),
        ("/scratch", json!(1 << 20)),
        ("/root_hash", zeros.clone()),
        ("/disk_digest", zeros.clone()),
        ("/partitions/1/offset", json!(4096)),
        ("/metadata", json!(4096)),
        ("/uki/0/sha256", zeros.clone()),
        ("/signature", Value::Null),
        ("/measured_boot", measured),
        ("/ports", json!([{"container_port": 80, "protocol": "TCP"}])),
        ("/inputs/pod", json!("other")),
        ("/slabs/3/1", zeros.clone()),
    ] {
        let mut record = record.clone();
        *record.pointer_mut(figure).expect(figure) = value;
        let error = refused(&verify(&record));
        let named = match figure {
            "/uki/0/sha256" => "its SHA-256 is not that of the record",
            // The record's own digest is over its slabs.
            "/slabs/3/1" => "outputs record, /disk_digest",
            _ => figure,
        };
        assert!(error.contains(named), "{figure}: {error}");
    }
    let mut old = record.clone();
    old["version"] = json!(2);
    assert!(refused(&verify(&old)).contains("version 2, 3 is known"));
    old["version"] = json!("3");
    assert!(refused(&verify(&old)).contains("it has no version"));
    let error = refused(&disk.verify(&["--record", disk.path.to_str().unwrap()]));
    assert!(error.contains("it is no JSON object"), "{error}");

    // Another disk's record, which is sound in itself.
    let mut other = disk.small.build("cache", "other.raw");
    succeeded(&other.output().unwrap());
    let other = disk.small.path("other.raw.i2kit.json");
    refused(&disk.verify(&["--record", other.to_str().unwrap()]));
}

#[test]
fn two_disks_differ_first_where_the_cause_is() {
    let disk = Disk::new();
    let copy = disk.small.path("copy.raw");
    let diff = |json: bool| {
        let mut command = i2kit();
        command.arg("diff").arg(&disk.path).arg(&copy);
        command.args(json.then_some("--json")).output().unwrap()
    };
    fs::write(&copy, &disk.bytes).unwrap();
    assert_eq!(succeeded(&diff(false)), "");
    let (esp, large) = (
        disk.partition("esp"),
        disk.data_of("containers/image/large2"),
    );
    let (_, section) = disk.sections().pop().unwrap();
    for (at, words) in [
        (
            vec![700, section, large + 5],
            format!(
                "file /containers/image/large2, data, block {}",
                (large - disk.partition("store").start) / 4096
            ),
        ),
        (
            vec![700, section],
            format!("esp, {}", disk.sections().pop().unwrap().0),
        ),
        (vec![700, esp.end - 1], "compare: esp, block ".to_owned()),
        (
            vec![700],
            "compare: partition table (byte 700 of the disk)".to_owned(),
        ),
    ] {
        let error = refused(&disk.altered(&at, || diff(false)));
        assert!(error.contains(&words), "{words}: {error}");
    }
    let json = disk.altered(&[large + 5], || diff(true));
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["fault"]["offset"], large as u64 + 5);
    let short = disk.bytes.len() - (1 << 20);
    fs::write(&copy, &disk.bytes[..short]).unwrap();
    let error = refused(&diff(false));
    assert!(
        error.contains(&format!("partition table (byte {short} of the disk)")),
        "{error}"
    );
    let mut other = disk.small.build("cache", "copy.raw");
    succeeded(&other.output().unwrap());
    let error = refused(&diff(false));
    assert!(
        error.contains("/inputs.json, /fec: it is 2, the other disk has null"),
        "{error}"
    );
}
