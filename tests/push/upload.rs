//! A disk becomes an image, and once is enough.

use std::collections::BTreeSet;
use std::time::Duration;

use super::account::Account;
use crate::support::cloud::{REGION, Settings};

/// Indexes of the blocks that were put, in the order of time.
fn put(account: &Account) -> Vec<u32> {
    let seen = account.fake.seen().into_iter();
    let puts = seen.filter(|one| one.action == "ebs:PutSnapshotBlock" && one.status == 201);
    puts.map(|one| one.path.rsplit('/').next().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn a_push_makes_an_image_whose_volume_is_the_disk() {
    let account = Account::new();
    let disk = account.disk("disk.raw");
    let answer = account.one(&[]);
    let images = account.fake.images();
    let [image] = &images[..] else {
        panic!("{images:#?}")
    };
    disk.assert_is_on(&account.fake.launch(&image.id));
    assert_eq!(answer["region"], REGION);
    assert_eq!(answer["ami"], image.id);
    assert_eq!(answer["snapshot"], image.mapping.snapshot);
    assert_eq!(answer["name"], image.name);
    assert_eq!(answer["unchanged"], false, "{answer:#}");
    assert!(answer["parent"].is_null(), "{answer:#}");

    assert_eq!(image.region, REGION);
    assert!(image.name.starts_with("app-"), "{}", image.name);
    assert_eq!(image.architecture, "x86_64");
    assert_eq!(image.boot_mode.as_deref(), Some("uefi"));
    assert_eq!(image.imds.as_deref(), Some("v2.0"));
    assert_eq!(image.virtualization, "hvm");
    assert_eq!(
        (image.ena, &image.tpm, &image.uefi_data),
        (true, &None, &None)
    );
    assert_eq!(
        (
            image.root_device.as_str(),
            image.mapping.volume_type.as_str()
        ),
        ("/dev/xvda", "gp3")
    );
    assert!(image.mapping.delete_on_termination && !image.is_public());
    assert_eq!(image.mapping.volume_gib, disk.gib());
    assert!(!image.description.is_empty());

    let record = format!("{}.i2kit.json", disk.path.display());
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    let snapshots = account.fake.snapshots();
    let [snapshot] = &snapshots[..] else {
        panic!("{} snapshots", snapshots.len())
    };
    for tags in [&image.tags, &snapshot.tags] {
        assert_eq!(tags["i2kit:name"], "app");
        assert_eq!(
            tags["i2kit:root-hash"],
            record["root_hash"].as_str().unwrap()
        );
        assert_eq!(
            tags["i2kit:disk-digest"],
            record["disk_digest"].as_str().unwrap()
        );
        assert_eq!(tags["i2kit:size"], record["size"].to_string());
        for key in [
            "i2kit:manifest-digest",
            "i2kit:record-digest",
            "i2kit:writer",
            "Name",
        ] {
            assert!(tags.contains_key(key), "{key} in {tags:#?}");
        }
    }

    // Each block once, zeros hardly.
    let put = put(&account);
    let distinct: BTreeSet<_> = put.iter().collect();
    assert_eq!(distinct.len(), put.len());
    assert_eq!(answer["blocks_sent"], put.len());
    assert_eq!(put.len(), disk.needed());
    assert_eq!(account.fake.count("ebs:StartSnapshot"), 1);
    assert!(!account.ledger("one").contains("snap-"));
}

#[test]
fn the_same_push_again_finds_what_there_is() {
    let account = Account::new();
    let first = account.one(&[]);
    account.fake.forget();
    let again = account.one(&[]);
    assert_eq!(
        (&again["ami"], &again["unchanged"]),
        (&first["ami"], &true.into())
    );
    // It would have been the parent, and its blocks may have been listed meanwhile.
    let listed = account.fake.count("ebs:ListSnapshotBlocks");
    let calls = account.fake.total() - listed;
    assert!(calls == 2 && listed <= 1, "{:#?}", account.fake.calls());
    // From another machine, of the raw disk, too.
    let disk = account.disk("disk.raw");
    let mut command = account.on("other", "push");
    command
        .arg(&disk.path)
        .arg("--json")
        .args(["--name", "app"]);
    let answers = account.answers(&mut command);
    assert_eq!(answers[0]["ami"], first["ami"], "{answers:#?}");
    assert_eq!(account.fake.images().len(), 1);
    assert_eq!(account.fake.count("ebs:PutSnapshotBlock"), 0);
}

#[test]
fn a_disk_from_a_file_is_pushed_as_it_is() {
    let account = Account::new();
    let disk = account.disk("disk.raw");
    account.allow("push", &[]);
    let mut command = account.on("one", "push");
    command
        .arg(&disk.path)
        .arg("--json")
        .args(["--name", "from-file"]);
    let answers = account.answers(&mut command);
    disk.assert_is_on(&account.fake.launch(answers[0]["ami"].as_str().unwrap()));
    // Without its record, it tells of itself.
    std::fs::remove_file(format!("{}.i2kit.json", disk.path.display())).unwrap();
    let mut command = account.on("one", "push");
    command
        .arg(&disk.path)
        .arg("--json")
        .args(["--name", "from-file"]);
    let again = account.answers(&mut command);
    assert_eq!(again[0]["ami"], answers[0]["ami"], "{again:#?}");
}

#[test]
fn a_snapshot_may_be_enough_and_a_volume_larger() {
    let account = Account::new();
    let disk = account.disk("disk.raw");
    let answer = account.one(&["--snapshot-only"]);
    assert!(answer["ami"].is_null(), "{answer:#}");
    assert!(account.fake.images().is_empty());
    disk.assert_is_on(&account.fake.launch(answer["snapshot"].as_str().unwrap()));
    account.one(&["--volume-size", "7"]);
    assert_eq!(account.fake.images()[0].mapping.volume_gib, 7);
}

#[test]
fn what_was_written_is_read_back_when_asked() {
    let account = Account::new();
    let answer = account.one(&["--verify=full"]);
    let sent = answer["blocks_sent"].as_u64().unwrap();
    let full = account.fake.count("ebs:GetSnapshotBlock");
    assert!(full >= sent, "{full} read of {sent}");
    account.change_a_line("other");
    account.fake.forget();
    account.one(&["--verify", "--parent=none"]);
    let sample = account.fake.count("ebs:GetSnapshotBlock");
    assert!(sample > 0);
}

#[test]
fn a_dry_run_tells_and_does_nothing() {
    let account = Account::new();
    let mut command = account.push(&[]);
    command.arg("--dry-run");
    let output = account.run(&mut command);
    let text = crate::support::small::succeeded(&output);
    assert!(text.contains("block"), "{text}");
    for action in account.fake.calls().keys() {
        let reads = ["Describe", "List", "Get"];
        assert!(reads.iter().any(|word| action.contains(word)), "{action}");
    }
    let first = account.one(&[]);
    account.change_a_line("new");
    let output = account.run(account.push(&[]).arg("--dry-run"));
    let text = crate::support::small::succeeded(&output);
    assert!(text.contains(first["snapshot"].as_str().unwrap()), "{text}");
    assert_eq!(account.fake.count("ebs:StartSnapshot"), 1);
}

/// Nobody knows of the new snapshot for a while, lists have empty pages, what has changed is told and
/// then not, answers take long, and the quota is low.
#[test]
fn a_service_that_takes_its_time_is_waited_for() {
    let mut settings = Settings {
        consistency: Duration::from_millis(1500),
        completing: Duration::from_millis(500),
        pending_image: Duration::from_millis(700),
        latency: Duration::from_millis(30),
        empty_pages: true,
        page_size: 5,
        ..Settings::default()
    };
    settings.rates.put = 40;
    settings.rates.list = 5;
    settings.rates.start = 5;
    let account = Account::with(settings);
    for line in ["one", "two"] {
        account.change_a_line(line);
        let disk = account.disk("disk.raw");
        let answer = account.one(&[]);
        disk.assert_is_on(&account.fake.launch(answer["ami"].as_str().unwrap()));
        assert_eq!(answer["parent"].is_null(), line == "one", "{answer:#}");
    }
}

/// Who is told to slow down does, and gets there all the same.
#[test]
fn a_low_quota_is_kept_to() {
    let mut settings = Settings::default();
    settings.rates.put = 20;
    let account = Account::with(settings);
    let disk = account.disk("disk.raw");
    let answer = account.one(&[]);
    disk.assert_is_on(&account.fake.launch(answer["ami"].as_str().unwrap()));
    let seen = account.fake.seen();
    let refused = seen
        .iter()
        .filter(|one| one.code.contains("Throttl"))
        .count();
    let sent = usize::try_from(answer["blocks_sent"].as_u64().unwrap()).unwrap();
    assert!(
        refused > 0 && refused < 6 * sent,
        "{refused} refused of {sent}"
    );
    assert!(account.fake.peak() <= 256);
}
