//! Who pushes: roles, keys that end, a wrong clock. No secret is ever said (each run looks for them).

use std::time::Duration;

use super::account::Account;
use super::clerk;
use crate::support::cloud::Settings;
use crate::support::cloud::keys::{KEY, SECRET};
use crate::support::small::succeeded;

fn keys_that_asked(account: &Account, service: &str) -> Vec<String> {
    let seen = account.fake.seen().into_iter();
    let of = seen.filter(|one| one.action.starts_with(service));
    let mut keys: Vec<_> = of.map(|one| one.key).collect();
    keys.sort();
    keys.dedup();
    keys
}

#[test]
fn a_role_pushes() {
    let account = Account::new();
    let mut command = account.push(&[]);
    account.allow_all();
    command.args(["--assume-role", "arn:aws:iam::111122223333:role/pusher"]);
    succeeded(&account.run(&mut command));
    for service in ["ebs:", "ec2:"] {
        let keys = keys_that_asked(&account, service);
        assert!(keys.iter().all(|key| key.starts_with("ASIA")), "{keys:?}");
    }
    assert_eq!(keys_that_asked(&account, "sts:"), [KEY]);
}

#[test]
fn a_role_that_may_not_be_taken_on_is_named() {
    let account = Account::new();
    let mut command = account.push(&[]);
    account.allow_all();
    let role = "arn:aws:iam::111122223333:role/denied";
    let text = account.refused(command.args(["--assume-role", role]));
    assert!(text.contains("denied") && text.contains("hint: "), "{text}");
    assert_eq!(account.fake.count("ebs:StartSnapshot"), 0);
}

/// Keys end after some seconds and others take their place, as a machine's or a container's do.
#[test]
fn keys_are_renewed_on_the_way() {
    let mut settings = Settings {
        container_keys: true,
        session_lifetime: Duration::from_secs(12),
        ..Settings::default()
    };
    settings.rates.put = 4;
    let account = Account::with(settings);
    let disk = account.disk("disk.raw");
    let answer = account.one(&[]);
    disk.assert_is_on(&account.fake.launch(answer["ami"].as_str().unwrap()));
    let keys = keys_that_asked(&account, "ebs:");
    assert!(keys.len() >= 2, "{keys:?}");
}

/// A session's own keys end for good: the push does too, and the next one goes on.
#[test]
fn keys_that_end_for_good_end_the_push() {
    let account = Account::with(Settings {
        session_requests: Some(14),
        ..Settings::default()
    });
    let disk = account.disk("disk.raw");
    let mut command = account.push(&[]);
    let text = account.refused(command.envs(account.fake.session()));
    assert!(text.contains("expired"), "{text}");
    assert!(text.contains("hint: "), "{text}");
    let answer = account.one(&[]);
    disk.assert_is_on(&account.fake.launch(answer["ami"].as_str().unwrap()));
    assert_eq!(account.fake.snapshots().len(), 1);
    assert!(!account.ledger("one").contains("snap-"));
}

#[test]
fn a_wrong_clock_is_put_right() {
    for skew in [-3600, 3600] {
        let account = Account::with(Settings {
            clock_skew: skew,
            ..Settings::default()
        });
        let answer = account.one(&[]);
        assert!(answer["ami"].is_string(), "{answer:#}");
    }
}

#[test]
fn wrong_keys_are_told_at_once() {
    let account = Account::new();
    let mut command = account.push(&[]);
    command.env("AWS_SECRET_ACCESS_KEY", "wrongButNeverPrinted");
    let text = account.refused(&mut command);
    assert!(text.contains("hint: "), "{text}");
    let mut command = account.push(&[]);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    let text = account.refused(&mut command);
    assert!(
        text.contains("NoCredentials") && text.contains("hint: "),
        "{text}"
    );
}

/// A profile with keys and an endpoint in the files of Amazon's own tools.
#[test]
fn a_profile_leads_to_the_account() {
    let account = Account::new();
    let mut command = account.push(&[]);
    let home = account.home("one");
    std::fs::create_dir_all(home.join(".aws")).unwrap();
    let origin = &account.fake.origin;
    let config = format!(
        "[profile work]\nregion = eu-west-1\nservices = fake\n[services fake]\nec2 =\n  \
         endpoint_url = {origin}\nebs =\n  endpoint_url = {origin}\n"
    );
    std::fs::write(home.join(".aws/config"), config).unwrap();
    let keys = format!("[work]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n");
    std::fs::write(home.join(".aws/credentials"), keys).unwrap();
    for name in [
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
    ] {
        command.env_remove(name);
    }
    let answers = account.answers(command.args(["--aws-profile", "work"]));
    assert_eq!(answers[0]["region"], "eu-west-1", "{answers:#?}");
}

/// A program that knows the keys, in the profile.
#[test]
fn a_program_brings_the_keys() {
    let account = Account::new();
    let mut command = account.push(&[]);
    let program = clerk::program(&account, KEY, SECRET);
    let config = account.home("config");
    std::fs::write(
        &config,
        format!("[default]\ncredential_process = {program}\n"),
    )
    .unwrap();
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    account.answers(command.env("AWS_CONFIG_FILE", &config));
}
