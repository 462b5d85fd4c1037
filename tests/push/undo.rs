//! What fails is undone, what was killed goes on, and what is left is named.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::account::{Account, Running};
use crate::support::cloud::Settings;
use crate::support::small::succeeded;

/// An account in which a push of the small Pod takes some seconds.
fn slow() -> Account {
    let mut settings = Settings {
        latency: Duration::from_millis(20),
        ..Settings::default()
    };
    settings.rates.put = 10;
    Account::with(settings)
}

/// Starts a push and answers when so many blocks were put.
fn started(account: &Account, blocks: u64) -> Running {
    let mut running = Running::start(&mut account.push(&[]));
    let begin = Instant::now();
    while account.fake.count("ebs:PutSnapshotBlock") < blocks {
        assert!(begin.elapsed() < Duration::from_secs(60) && !running.has_ended());
        std::thread::sleep(Duration::from_millis(2));
    }
    running
}

fn stored(account: &Account) -> u64 {
    let seen = account.fake.seen().into_iter();
    let stored = seen.filter(|one| one.action == "ebs:PutSnapshotBlock" && one.status == 201);
    stored.count() as u64
}

#[test]
fn an_image_that_fails_leaves_nothing() {
    let account = Account::with(Settings {
        images_fail: true,
        pending_image: Duration::from_millis(200),
        ..Settings::default()
    });
    let text = account.refused(&mut account.push(&[]));
    assert!(text.contains("could not be created"), "{text}");
    account.assert_nothing_is_left();
    assert_eq!(account.fake.count("ec2:RegisterImage"), 1);
}

#[test]
fn a_snapshot_that_fails_leaves_nothing() {
    let account = Account::with(Settings {
        snapshots_fail: true,
        completing: Duration::from_millis(200),
        ..Settings::default()
    });
    let text = account.refused(&mut account.push(&[]));
    assert!(text.contains("internal error"), "{text}");
    account.assert_nothing_is_left();
    assert_eq!(account.fake.count("ec2:RegisterImage"), 0);
}

#[test]
fn what_may_not_be_registered_is_undone() {
    let account = Account::new();
    let mut command = account.push(&[]);
    account.allow("push", &["--snapshot-only"]);
    let text = account.refused(&mut command);
    assert!(text.contains("ec2:RegisterImage"), "{text}");
    assert!(text.contains("hint: "), "{text}");
    account.assert_nothing_is_left();
}

#[test]
fn ctrl_c_undoes() {
    for signal in [Signal::INT, Signal::TERM] {
        let account = slow();
        let running = started(&account, 5);
        running.signal(signal);
        let output = running.end(&account);
        assert!(!output.status.success());
        account.assert_nothing_is_left();
    }
}

#[test]
fn a_push_that_was_killed_goes_on_where_it_was() {
    let account = slow();
    // Which blocks were put is written down every other second.
    account.fake.change(|settings| settings.rates.put = 6);
    let disk = account.disk("disk.raw");
    let mut running = started(&account, 12);
    while stored(&account) < 26 {
        assert!(!running.has_ended());
        std::thread::sleep(Duration::from_millis(2));
    }
    running.signal(Signal::KILL);
    running.end(&account);
    let before = stored(&account);
    let snapshots = account.fake.snapshots();
    assert_eq!(snapshots.len(), 1);
    assert!(
        account.ledger("one").contains(&snapshots[0].id),
        "{}",
        account.ledger("one")
    );
    account.fake.forget();
    let answer = account.one(&[]);
    assert_eq!(answer["snapshot"], snapshots[0].id, "{answer:#}");
    let after = stored(&account);
    let all = snapshots[0].put.len() as u64;
    assert!(after < disk.needed() as u64, "{before} and {after}, {all}");
    assert_eq!(account.fake.snapshots().len(), 1);
    disk.assert_is_on(&account.fake.launch(answer["ami"].as_str().unwrap()));
    assert!(!account.ledger("one").contains("snap-"));
}

/// The Pod has changed since: what the killed push left is of no use, and must not stay.
#[test]
fn abort_removes_what_a_killed_push_left() {
    let account = slow();
    let running = started(&account, 4);
    running.signal(Signal::KILL);
    running.end(&account);
    account.fake.change(|settings| settings.rates.put = 1000);
    let [left] = &account.fake.snapshots()[..] else {
        panic!("one is left")
    };
    account.change_a_line("new");
    account.one(&[]);
    let output = account.run(&mut account.abort("one"));
    let text = succeeded(&output) + &String::from_utf8_lossy(&output.stderr);
    let snapshots = account.fake.snapshots();
    assert_eq!(snapshots.len(), 1, "{text}");
    assert_ne!(snapshots[0].id, left.id);
    assert!(!account.ledger("one").contains("snap-"));
    // There is nothing to do a second time.
    succeeded(&account.run(&mut account.abort("one")));
}

/// Who may not undo keeps a note of it.
#[test]
fn what_cannot_be_undone_stays_in_the_ledger() {
    let account = Account::with(Settings {
        images_fail: true,
        ..Settings::default()
    });
    let mut command = account.push(&[]);
    account.fake.change(|settings| {
        let allowed = settings.allowed.as_mut().unwrap();
        std::sync::Arc::make_mut(allowed).remove("ec2:DeleteSnapshot");
    });
    let text = account.refused(&mut command);
    let [left] = &account.fake.snapshots()[..] else {
        panic!("one is left")
    };
    assert!(text.contains(&left.id), "{text}");
    assert!(
        account.ledger("one").contains(&left.id),
        "{}",
        account.ledger("one")
    );
    let text = account.refused(&mut account.abort("one"));
    assert!(text.contains(&left.id), "{text}");
    account.allow("push", &[]);
    succeeded(&account.run(&mut account.abort("one")));
    account.assert_nothing_is_left();
}

/// Two pushes of one disk at a time: one image, and nothing else.
#[test]
fn two_at_once_make_one_image() {
    let account = slow();
    let mut first = account.push(&[]);
    let mut second = account.push(&[]);
    let (first, second) = (Running::start(&mut first), Running::start(&mut second));
    let outputs = [first.end(&account), second.end(&account)];
    assert!(
        outputs.iter().any(|one| one.status.success()),
        "{outputs:?}"
    );
    assert_eq!(account.fake.images().len(), 1);
    assert_eq!(account.fake.snapshots().len(), 1);
}

/// Two machines do not see each other's ledger: who comes second finds the AMI's name taken.
#[test]
fn two_machines_at_once_make_one_image() {
    let account = slow();
    let mut first = account.push_on("one", &[]);
    let mut second = account.push_on("two", &[]);
    let (first, second) = (Running::start(&mut first), Running::start(&mut second));
    let images = [first, second].map(|one| {
        let text = succeeded(&one.end(&account));
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        (answer[0]["ami"].clone(), answer[0]["snapshot"].clone())
    });
    assert_eq!(images[0], images[1]);
    // Both have made one.
    assert_eq!(account.fake.count("ebs:StartSnapshot"), 2);
    let snapshots = account.fake.snapshots();
    let snapshots: Vec<&str> = snapshots.iter().map(|one| &*one.id).collect();
    assert_eq!(snapshots, [images[0].1.as_str().unwrap()]);
    assert_eq!(account.fake.images().len(), 1);
    for machine in ["one", "two"] {
        assert!(!account.ledger(machine).contains("snap-"));
    }
}

/// What a killed push began is of no use once another machine has pushed the same disk.
#[test]
fn a_killed_push_whose_disk_came_from_elsewhere_leaves_nothing() {
    let account = slow();
    let running = started(&account, 4);
    running.signal(Signal::KILL);
    running.end(&account);
    account.fake.change(|settings| settings.rates.put = 1000);
    let elsewhere = account.answers(&mut account.push_on("two", &[]));
    assert_eq!(account.fake.snapshots().len(), 2);
    let answer = account.one(&[]);
    assert_eq!(
        (&answer["ami"], &answer["unchanged"]),
        (&elsewhere[0]["ami"], &true.into())
    );
    let snapshots = account.fake.snapshots();
    let snapshots: Vec<&str> = snapshots.iter().map(|one| &*one.id).collect();
    assert_eq!(snapshots, [elsewhere[0]["snapshot"].as_str().unwrap()]);
    assert!(!account.ledger("one").contains("snap-"));
    let volume = account.fake.launch(answer["ami"].as_str().unwrap());
    account.disk("disk.raw").assert_is_on(&volume);
}
