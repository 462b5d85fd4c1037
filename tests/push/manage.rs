//! What looks after images: `images`, `prune`, `fetch`, `verify`, `diff`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::account::Account;
use crate::support::cloud::world::User;
use crate::support::cloud::{REGION, Settings};
use crate::support::small::succeeded;

fn json(account: &Account, command: &mut Command) -> Value {
    let text = succeeded(&account.run(command.arg("--json")));
    serde_json::from_str(&text).unwrap()
}

/// Pushes so many versions; answers their images, oldest first.
fn versions(account: &Account, count: usize) -> Vec<String> {
    let mut images = Vec::new();
    for number in 0..count {
        account.change_a_line(&format!("version {number}"));
        images.push(account.one(&[])["ami"].as_str().unwrap().to_owned());
    }
    // A day lies between them.
    account.fake.world(|world| {
        for (age, id) in images.iter().rev().enumerate() {
            let image = world.images.get_mut(id).unwrap();
            image.creation_date -= Duration::from_secs(86_400 * age as u64);
        }
    });
    images
}

#[test]
fn images_are_listed() {
    let account = Account::new();
    let images = versions(&account, 2);
    account.allow("images", &[]);
    let list = json(&account, &mut account.on("other", "images"));
    let rows = list.as_array().unwrap();
    let found = rows
        .iter()
        .map(|row| row["images"][0]["ami"].as_str().unwrap());
    let found: Vec<_> = found.collect();
    assert_eq!(found, [&images[1], &images[0]]);
    assert_eq!(
        (&rows[0]["name"], &rows[0]["images"][0]["region"]),
        (&"app".into(), &REGION.into())
    );
    let text = succeeded(&account.run(&mut account.on("other", "images")));
    assert!(text.contains("app") && text.contains(&images[0]), "{text}");
}

#[test]
fn prune_keeps_what_is_new_or_in_use() {
    let account = Account::with(Settings {
        empty_pages: true,
        ..Settings::default()
    });
    let images = versions(&account, 8);
    let users = [
        ("i-1", User::Instance(images[0].clone(), "stopped")),
        ("i-2", User::Instance(images[1].clone(), "terminated")),
        (
            "lt-1",
            User::Template(vec![images[2].clone(), images[3].clone()], 2),
        ),
        (
            "configuration",
            User::LaunchConfiguration(images[4].clone()),
        ),
        ("group", User::Group("lt-1".to_owned())),
    ];
    for (id, user) in users {
        account.fake.add_user(REGION, id, user);
    }
    account.allow("prune", &["--keep", "2"]);
    let prune = |more: &[&str]| {
        let mut command = account.on("one", "prune");
        command.args(["--keep", "2"]).args(more);
        json(&account, &mut command)
    };
    let removed = |answer: &Value| -> BTreeSet<String> {
        let removed = answer["removed"].as_array().unwrap().iter();
        removed
            .map(|one| one["ami"].as_str().unwrap().to_owned())
            .collect()
    };
    let expected = BTreeSet::from([images[1].clone(), images[5].clone()]);
    assert_eq!(removed(&prune(&["--dry-run"])), expected);
    assert_eq!(account.fake.images().len(), 8);
    assert!(removed(&prune(&["--older-than", "30d"])).is_empty());
    let answer = prune(&[]);
    assert_eq!(removed(&answer), expected, "{answer:#}");
    assert_eq!(
        (account.fake.images().len(), account.fake.snapshots().len()),
        (6, 6)
    );
}

/// Whoever cannot see what is in use removes nothing.
#[test]
fn prune_removes_nothing_unseen() {
    let account = Account::new();
    versions(&account, 2);
    account.allow("prune", &["--keep", "1"]);
    account.fake.change(|settings| {
        let allowed = settings.allowed.as_mut().unwrap();
        std::sync::Arc::make_mut(allowed).remove("autoscaling:DescribeAutoScalingGroups");
    });
    let mut command = account.on("one", "prune");
    account.refused(command.args(["--keep", "1"]));
    assert_eq!(account.fake.images().len(), 2);
}

#[test]
fn what_is_fetched_is_the_disk() {
    let account = Account::with(Settings {
        empty_pages: true,
        page_size: 7,
        ..Settings::default()
    });
    let disk = account.disk("disk.raw");
    let answer = account.one(&[]);
    account.allow("images", &[]);
    for of in ["ami", "snapshot"] {
        let path = account.home("fetched.raw");
        let mut fetch = account.on("other", "fetch");
        fetch.arg(answer[of].as_str().unwrap()).arg("-o").arg(&path);
        succeeded(&account.run(&mut fetch));
        assert!(fs::read(&path).unwrap() == fs::read(&disk.path).unwrap());
        let (fetched, own) = (
            fs::metadata(&path).unwrap(),
            fs::metadata(&disk.path).unwrap(),
        );
        assert!(
            fetched.blocks() <= own.blocks() + 2048,
            "{} of {}",
            fetched.blocks(),
            own.blocks()
        );
        fs::remove_file(path).unwrap();
    }
}

/// One block of the store is another's.
fn damage(account: &Account, ami: &str) {
    let snapshot = account
        .fake
        .images()
        .into_iter()
        .find(|image| image.id == ami);
    let snapshot = snapshot.unwrap().mapping.snapshot;
    let disk = account.disk("damaged.raw");
    let store = disk.start_of("store");
    account.fake.world(|world| {
        let put = &mut world.snapshots.get_mut(&snapshot).unwrap().put;
        let other = put[&0];
        put.insert(store + 1, other);
    });
}

#[test]
fn a_damaged_image_is_neither_fetched_nor_verified() {
    let account = Account::new();
    let ami = account.one(&[])["ami"].as_str().unwrap().to_owned();
    let mut verify = account.on("other", "verify");
    succeeded(&account.run(verify.arg(&ami)));
    damage(&account, &ami);
    let mut verify = account.on("other", "verify");
    let output = account.run(verify.arg(&ami));
    assert!(!output.status.success());
    let path = account.home("fetched.raw");
    let mut fetch = account.on("other", "fetch");
    account.refused(fetch.arg(&ami).arg("-o").arg(&path));
    assert!(!path.exists());
}

#[test]
fn an_image_is_verified_against_a_record() {
    let account = Account::new();
    let disk = account.disk("disk.raw");
    let ami = account.one(&[])["ami"].as_str().unwrap().to_owned();
    let record = format!("{}.i2kit.json", disk.path.display());
    account.allow("images", &[]);
    let mut verify = account.on("other", "verify");
    succeeded(&account.run(verify.arg(&ami).args(["--record", &record])));
    account.change_a_line("new");
    let ami = account.one(&[])["ami"].as_str().unwrap().to_owned();
    let mut verify = account.on("other", "verify");
    let output = account.run(verify.arg(&ami).args(["--record", &record]));
    assert!(!output.status.success());
}

#[test]
fn a_difference_is_found_without_reading_everything() {
    let account = Account::new();
    let images = versions(&account, 2);
    let all = account.fake.count("ebs:PutSnapshotBlock");
    account.fake.forget();
    account.allow("images", &[]);
    let mut diff = account.on("other", "diff");
    let output = account.run(diff.args(&images));
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error: "), "{text}");
    let read = account.fake.count("ebs:GetSnapshotBlock");
    assert!(read < all, "{read} of {all}");
    let mut diff = account.on("other", "diff");
    succeeded(&account.run(diff.args([&images[0], &images[0]])));
}
