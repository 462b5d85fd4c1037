//! An update sends what differs, found in the parent alone; when that can't be, everything, and why.

use serde_json::Value;

use super::account::{Account, Disk};
use crate::support::cloud::{Fake, Settings};
use crate::support::shop::layer;
use crate::support::small::succeeded;

const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/12345678-1234-4123-8123-123456789012";

fn number(answer: &Value, name: &str) -> u64 {
    answer[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} in {answer:#}"))
}

/// The account with a first image of the Pod.
fn pushed_once() -> (Account, Value) {
    let account = Account::new();
    account.change_a_line("old");
    let first = account.one(&[]);
    account.fake.forget();
    (account, first)
}

/// A second push of a Pod that has changed, from a machine that knows nothing of the first.
fn push_elsewhere(account: &Account, more: &[&str]) -> (Value, Disk) {
    let disk = account.disk("new.raw");
    let answer = account
        .answers(&mut account.push_on("other", more))
        .remove(0);
    disk.assert_is_on(&account.fake.launch(answer["ami"].as_str().unwrap()));
    (answer, disk)
}

#[test]
fn an_update_sends_what_differs() {
    let (account, first) = pushed_once();
    account.change_a_line("new");
    let (answer, disk) = push_elsewhere(&account, &[]);
    assert_eq!(answer["parent"], first["snapshot"], "{answer:#}");
    // Kernel and initramfs are the same: the tags of the first say so.
    assert_eq!(put_of_the_esp(&account, &answer, &disk), 1);
    let (sent, full) = (
        number(&answer, "blocks_sent"),
        number(&first, "blocks_sent"),
    );
    // The ESP's first block, the changed slab, metadata, their hash blocks, the tables.
    assert!(sent <= 8, "{sent} of {full}");
    assert_eq!(account.fake.count("ebs:PutSnapshotBlock"), sent);
    // The table's block, the tree's, and the UKI's to tell what differs: next to nothing.
    let read = account.fake.count("ebs:GetSnapshotBlock");
    assert!(read <= 6 + full / 20, "{read} read of {full}");
    assert_eq!(account.fake.images().len(), 2);
}

/// How many of the ESP's blocks a snapshot was sent.
fn put_of_the_esp(account: &Account, answer: &Value, disk: &Disk) -> usize {
    let esp = disk.start_of("esp")..disk.start_of("store");
    let snapshot = answer["snapshot"].as_str().unwrap();
    account.fake.world(|world| {
        let put = world.snapshots[snapshot].put.keys();
        put.filter(|index| esp.contains(index)).count()
    })
}

/// Tags that tell nothing, or too little, of the parent's ESP have all of it sent.
#[test]
fn an_esp_that_no_tag_tells_of_is_sent() {
    let (account, first) = pushed_once();
    let old = account.disk("old.raw");
    let whole = put_of_the_esp(&account, &first, &old);
    for tag in [None, Some("nonsense"), Some("AAAA")] {
        let change = |tags: &mut std::collections::BTreeMap<String, String>| match tag {
            None => drop(tags.remove("i2kit:esp").unwrap()),
            Some(text) => drop(tags.insert("i2kit:esp".to_owned(), text.to_owned())),
        };
        account.fake.world(|world| {
            let images = world.images.values_mut().map(|image| &mut image.tags);
            let snapshots = world.snapshots.values_mut().map(|one| &mut one.tags);
            images.chain(snapshots).for_each(change);
        });
        account.change_a_line(&format!("new {tag:?}"));
        let (answer, disk) = push_elsewhere(&account, &[]);
        assert!(answer["parent"].is_string(), "{answer:#}");
        assert_eq!(put_of_the_esp(&account, &answer, &disk), whole, "{tag:?}");
    }
}

/// What tags tell is not checked before the snapshot is read back whole.
#[test]
fn an_esp_that_is_not_what_its_tag_tells_is_found() {
    let (account, _) = pushed_once();
    let esp = account.disk("old.raw").start_of("esp");
    change_snapshots(&account.fake, |snapshot| {
        let other = snapshot.put[&esp];
        snapshot.put.insert(esp + 5, other);
    });
    account.change_a_line("new");
    let mut command = account.push_on("other", &["--verify=full"]);
    let error = account.refused(&mut command);
    let expected = format!("block {} is not the disk's", esp + 5);
    assert!(error.contains(&expected), "{error}");
    let snapshots = account.fake.snapshots();
    assert_eq!((snapshots.len(), account.fake.images().len()), (1, 1));
}

/// A tag that would have an update keep a wrong ESP is found before.
#[test]
fn a_tag_that_lies_of_the_esp_is_found_by_verify() {
    let (account, first) = pushed_once();
    let ami = first["ami"].as_str().unwrap();
    let mut verify = account.on("one", "verify");
    succeeded(&account.run(verify.arg(ami)));
    account.fake.world(|world| {
        let tags = &mut world.images.get_mut(ami).unwrap().tags;
        let tag = tags.get_mut("i2kit:esp").unwrap();
        *tag = tag.chars().rev().collect();
    });
    let mut verify = account.on("one", "verify");
    let error = account.refused(verify.arg(ami));
    assert!(error.contains("esp: its blocks' digests are"), "{error}");
}

/// What was something in the parent and is zeros now is written; what was zeros is not read as the
/// parent's something.
#[test]
fn what_went_away_is_gone() {
    let account = Account::new();
    account
        .shop
        .image(&[layer(1), layer(2), layer(3), layer(4)]);
    account.one(&[]);
    account.shop.image(&[layer(1)]);
    let (answer, _) = push_elsewhere(&account, &["--parent", "auto"]);
    assert!(
        answer["parent"].is_string() || answer["full_because"].is_string(),
        "{answer:#}"
    );
    account.shop.image(&[layer(1), layer(5), layer(6)]);
    push_elsewhere(&account, &[]);
}

#[test]
fn a_named_parent_is_taken_and_none_when_none_is_wanted() {
    let (account, first) = pushed_once();
    account.change_a_line("new");
    let ami = first["ami"].as_str().unwrap();
    let (answer, _) = push_elsewhere(&account, &["--parent", ami, "--name", "another"]);
    assert_eq!(answer["parent"], first["snapshot"], "{answer:#}");
    account.change_a_line("newer");
    let snapshot = answer["snapshot"].as_str().unwrap().to_owned();
    let (answer, _) = push_elsewhere(&account, &["--parent", &snapshot, "--name", "third"]);
    assert_eq!(answer["parent"], Value::from(snapshot), "{answer:#}");
    account.change_a_line("newest");
    let (answer, _) = push_elsewhere(&account, &["--parent", "none"]);
    assert!(answer["parent"].is_null(), "{answer:#}");
}

/// The push is a full one, says why, and is right.
fn falls_back(account: &Account, more: &[&str], why: &str) {
    account.change_a_line("new");
    let (answer, disk) = push_elsewhere(account, more);
    assert!(answer["parent"].is_null(), "{answer:#}");
    let because = answer["full_because"].as_str().unwrap_or_default();
    assert!(because.contains(why), "no {why:?} in {because:?}");
    let sent = number(&answer, "blocks_sent");
    assert!(
        sent + 4 >= disk.needed() as u64,
        "{sent} of {}",
        disk.needed()
    );
}

fn change_snapshots(fake: &Fake, change: impl Fn(&mut crate::support::cloud::world::Snapshot)) {
    fake.world(|world| world.snapshots.values_mut().for_each(change));
}

#[test]
fn a_parent_that_is_gone_is_none() {
    let (account, _) = pushed_once();
    account.fake.world(|world| world.snapshots.clear());
    falls_back(&account, &[], "gone");
}

#[test]
fn a_parent_with_another_key_is_none() {
    let (account, _) = pushed_once();
    falls_back(&account, &["--kms-key", KEY], "not encrypted with the key");
    // With the same key, it is one.
    account.change_a_line("newer");
    let (answer, _) = push_elsewhere(&account, &["--kms-key", KEY]);
    assert!(answer["parent"].is_string(), "{answer:#}");
    let snapshots = account.fake.snapshots();
    let encrypted = snapshots
        .iter()
        .filter(|one| one.kms_key.as_deref() == Some(KEY));
    assert_eq!(encrypted.count(), 2);
}

#[test]
fn a_parent_with_a_key_that_may_not_be_used_is_none() {
    let account = Account::new();
    account.one(&["--kms-key", KEY]);
    account
        .fake
        .change(|settings| settings.denied_keys = vec![KEY.to_owned()]);
    falls_back(&account, &[], "parent");
}

#[test]
fn a_larger_parent_is_none() {
    let account = Account::new();
    account.one(&["--volume-size", "9"]);
    falls_back(&account, &[], "of 9 GiB");
}

#[test]
fn a_parent_that_does_not_verify_is_none() {
    let (account, first) = pushed_once();
    let disk = account.disk("old.raw");
    // Two blocks of its hash tree change their places.
    let verity = disk.start_of("store-verity");
    change_snapshots(&account.fake, |snapshot| {
        let other = snapshot.put[&0];
        snapshot.put.insert(verity, other);
    });
    falls_back(&account, &[], "not sound");
    // What was begun as its child was removed again.
    assert_eq!(account.fake.count("ebs:StartSnapshot"), 2);
    assert_eq!(account.fake.snapshots().len(), 2);
    assert!(!account.ledger("other").contains("snap-"));
    // Another root hash than its tags say is as bad.
    let first = first["snapshot"].as_str().unwrap().to_owned();
    account.fake.world(|world| {
        let snapshot = world.snapshots.get_mut(&first).unwrap();
        snapshot
            .tags
            .insert("i2kit:root-hash".to_owned(), "00".repeat(32));
    });
    account.change_a_line("newer");
    let (answer, _) = push_elsewhere(&account, &["--parent", &first, "--name", "other"]);
    assert!(
        answer["full_because"]
            .as_str()
            .unwrap()
            .contains("not sound"),
        "{answer:#}"
    );
}

/// The services' tokens for blocks end while the parent is read: others are asked for, or there is no
/// parent.
#[test]
fn tokens_that_end_do_no_harm() {
    let (account, _) = pushed_once();
    account.fake.change(|settings| {
        settings.token_lifetime = std::time::Duration::from_millis(1);
        settings.latency = std::time::Duration::from_millis(20);
    });
    account.change_a_line("new");
    push_elsewhere(&account, &[]);
}

#[test]
fn a_small_page_and_empty_ones_are_read_to_their_end() {
    let account = Account::with(Settings {
        empty_pages: true,
        page_size: 3,
        ..Settings::default()
    });
    account.change_a_line("old");
    account.one(&[]);
    account.change_a_line("new");
    let (answer, _) = push_elsewhere(&account, &[]);
    assert!(answer["parent"].is_string(), "{answer:#}");
}
