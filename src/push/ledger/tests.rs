//! Tests: a ledger at whatever moment its push ended.

use super::*;

fn subject() -> Subject {
    Subject {
        region: "eu-central-1".to_owned(),
        disk_digest: "sha256:ab".to_owned(),
        name: "web".to_owned(),
        kms_key: None,
    }
}

fn start(parent: Option<&str>) -> Start {
    Start {
        volume_gib: 1,
        parent: parent.map(str::to_owned),
        parent_root_hash: None,
        parent_esp: None,
        description: String::new(),
        tags: vec![("Name".to_owned(), "web".to_owned())],
        kms_key: Some("alias/web".to_owned()),
        timeout_minutes: 60,
    }
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn each_step_leaves_what_names_all_that_may_exist() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("state/ledger");
    assert_eq!(Ledger::list(&folder).unwrap(), []);
    // Nothing was made: nothing is left.
    let ledger = Ledger::open(&folder, &subject()).unwrap();
    let first = ledger.token(&["snapshot"]);
    drop(ledger);
    assert_eq!(files(&folder), 0);
    // Killed before, in or behind the call: the token is known, and only that.
    let ledger = Ledger::open(&folder, &subject()).unwrap();
    let token = ledger.token(&["snapshot"]);
    assert_ne!(token, first, "each ledger has its own");
    let entry = Entry {
        request: Some(start(None)),
        ..Entry::new(Made::Snapshot, "eu-central-1", token.clone())
    };
    assert_eq!(ledger.intend(entry.clone()).unwrap(), 0);
    drop(ledger);
    let ledger = Ledger::open(&folder, &subject()).unwrap();
    assert_eq!(ledger.token(&["snapshot"]), token);
    let found = ledger.entries();
    assert_eq!(
        (found[0].id.as_deref(), &found[0].request),
        (None, &entry.request)
    );
    // The push goes on, and is killed with the id known.
    assert_eq!(ledger.intend(entry).unwrap(), 0);
    ledger.made(0, "snap-1").unwrap();
    let ami = Entry::new(Made::Ami, "eu-central-1", ledger.token(&["ami"])).named("web-ab");
    assert_eq!(ledger.intend(ami).unwrap(), 1);
    drop(ledger);
    let found = Ledger::list(&folder).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].subject, subject());
    assert_eq!(found[0].entries[0].id.as_deref(), Some("snap-1"));
    assert_eq!(found[0].entries[1].name, "web-ab");
    assert!(!found[0].in_use);
    // It is done.
    let ledger = Ledger::open_id(&folder, &found[0].id).unwrap();
    let (log, blocks) = ledger.block_log(&token).unwrap();
    log.append(1, &[1; 32]).unwrap();
    assert!(blocks.is_empty());
    ledger.finish().unwrap();
    assert_eq!(files(&folder), 0);
}

#[test]
fn a_ledger_has_one_push() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path(), &subject()).unwrap();
    ledger
        .intend(Entry::new(Made::Ami, "eu-central-1", "a".to_owned()))
        .unwrap();
    let error = Ledger::open(folder.path(), &subject()).unwrap_err();
    assert!(matches!(error, LedgerError::Busy { .. }), "{error}");
    assert!(error.hint().is_some());
    let found = Ledger::list(folder.path()).unwrap();
    assert!(found[0].in_use);
    let error = Ledger::open_id(folder.path(), &found[0].id).unwrap_err();
    assert!(matches!(error, LedgerError::Busy { .. }), "{error}");
    let mut other = subject();
    other.region = "us-east-1".to_owned();
    drop(Ledger::open(folder.path(), &other).unwrap());
    drop(ledger);
    assert!(Ledger::open(folder.path(), &subject()).is_ok());
    let error = Ledger::open_id(folder.path(), "none").unwrap_err();
    assert!(matches!(error, LedgerError::Missing { .. }), "{error}");
}

#[test]
fn a_snapshot_that_was_given_up_is_begun_with_another_token() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path(), &subject()).unwrap();
    let token = ledger.token(&["snapshot"]);
    let entry = Entry::new(Made::Snapshot, "eu-central-1", token.clone());
    ledger.intend(entry.clone()).unwrap();
    ledger.forget(&entry).unwrap();
    assert_eq!(ledger.entries(), []);
    let other = ledger.token(&["snapshot"]);
    assert_ne!(other, token);
    assert_eq!(other.len(), 64);
    assert_ne!(ledger.token(&["a", "b"]), ledger.token(&["ab"]));
}

#[test]
fn what_is_no_ledger_is_named_and_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{}.json", subject().id()));
    for (text, reason) in [
        ("", "EOF"),
        ("{}", "no version"),
        ("{\"version\": 9}", "version 9, 1 is known"),
    ] {
        fs::write(&path, text).unwrap();
        let error = Ledger::open(folder.path(), &subject()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(Ledger::list(folder.path()).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_child_asks_for_no_encryption() {
    let request = start(None).request("t");
    assert!(request.encrypted && request.kms_key.is_some() && request.parent.is_none());
    let request = start(Some("snap-1")).request("t");
    assert!(!request.encrypted && request.kms_key.is_none());
    assert_eq!(request.parent.as_deref(), Some("snap-1"));
}
