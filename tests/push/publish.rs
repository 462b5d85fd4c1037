//! What becomes of an image once there is one: other regions, others who use it, its end.

use super::account::Account;
use crate::support::cloud::{REGION, Settings};

const FAR: &str = "us-east-1";

#[test]
fn an_image_in_each_region() {
    let account = Account::new();
    let disk = account.disk("disk.raw");
    let answers = account.pushed(&["--region", REGION, "--region", FAR]);
    assert_eq!(answers.len(), 2, "{answers:#?}");
    let images = account.fake.images();
    for region in [REGION, FAR] {
        let image = images.iter().find(|image| image.region == region).unwrap();
        let answer = answers.iter().find(|one| one["region"] == region).unwrap();
        assert_eq!(answer["ami"], image.id);
        disk.assert_is_on(&account.fake.launch(&image.id));
    }
    assert_eq!((images.len(), account.fake.snapshots().len()), (2, 2));
    account.fake.forget();
    let again = account.pushed(&["--region", REGION, "--region", FAR]);
    assert!(
        again.iter().all(|one| one["unchanged"] == true),
        "{again:#?}"
    );
    assert!(account.fake.total() <= 20, "{:?}", account.fake.calls());
}

#[test]
fn a_copy_for_each_region() {
    let account = Account::with(Settings {
        copying: std::time::Duration::from_millis(300),
        ..Settings::default()
    });
    let disk = account.disk("disk.raw");
    let answers = account.pushed(&["--region", REGION, "--region", FAR, "--copy"]);
    let far = answers.iter().find(|one| one["region"] == FAR).unwrap();
    disk.assert_is_on(&account.fake.launch(far["ami"].as_str().unwrap()));
    let started = account.fake.seen().into_iter();
    let started = started.filter(|one| one.action == "ebs:StartSnapshot");
    assert!(started.into_iter().all(|one| one.region == REGION));
    let images = account.fake.images();
    let copy = images.iter().find(|image| image.region == FAR).unwrap();
    let original = images.iter().find(|image| image.region == REGION).unwrap();
    assert_eq!(copy.name, original.name);
    // Besides the one by which an interrupted push would find it.
    let mut tags = copy.tags.clone();
    assert!(tags.remove("i2kit:ledger").is_some());
    assert_eq!(tags, original.tags);
    let snapshot = &copy.mapping.snapshot;
    let tags = account
        .fake
        .world(|world| world.snapshots[snapshot].tags.clone());
    assert!(tags.contains_key("i2kit:disk-digest"), "{tags:?}");
}

/// When one region fails, nothing is left in the other either.
#[test]
fn regions_stand_and_fall_together() {
    let account = Account::new();
    // A name that is taken by somebody else's image in the second region.
    let first = account.one(&["--region", FAR]);
    let name = first["name"].as_str().unwrap().to_owned();
    account.fake.world(|world| {
        for image in world.images.values_mut() {
            image.tags.clear();
        }
    });
    let text = account.refused(&mut account.push(&["--region", REGION, "--region", FAR]));
    assert!(text.contains(&name), "{text}");
    assert!(
        account
            .fake
            .images()
            .iter()
            .all(|image| image.region == FAR)
    );
    assert_eq!(account.fake.images().len(), 1);
    assert_eq!(account.fake.snapshots().len(), 1);
}

#[test]
fn an_image_is_shared_deprecated_protected_and_published() {
    let account = Account::new();
    let organization = "arn:aws:organizations::111122223333:organization/o-1234567890";
    let unit = "arn:aws:organizations::111122223333:ou/o-1234567890/ou-1234-12345678";
    let flags = [
        "--share",
        "444455556666",
        "--share",
        organization,
        "--share",
        unit,
        "--deprecate-after",
        "90d",
        "--protect",
        "--ssm-parameter",
        "/i2kit/app",
    ];
    let answer = account.one(&flags);
    let images = account.fake.images();
    let image = &images[0];
    let permissions: Vec<_> = image
        .launch_permissions
        .iter()
        .map(String::as_str)
        .collect();
    let mut expected = vec!["444455556666", organization, unit];
    expected.sort_unstable();
    assert_eq!(permissions, expected);
    assert!(image.deprecation.is_some() && image.is_protected);
    let parameter = account.fake.parameter(REGION, "/i2kit/app");
    assert_eq!(parameter.as_deref(), answer["ami"].as_str());
    // A second version's id takes its place.
    account.change_a_line("new");
    let second = account.one(&["--ssm-parameter", "/i2kit/app"]);
    let parameter = account.fake.parameter(REGION, "/i2kit/app");
    assert_eq!(parameter.as_deref(), second["ami"].as_str());
}

#[test]
fn nothing_becomes_public_by_accident() {
    let account = Account::new();
    let text = account.refused(&mut account.push(&["--share", "public"]));
    assert!(text.contains("--yes"), "{text}");
    assert_eq!(account.fake.count("ebs:StartSnapshot"), 0);
    account.one(&["--share", "public", "--yes"]);
    assert!(account.fake.images()[0].is_public());
}

/// `AMZNUEFIvariables`.
const VARIABLES: &str = "QU1aTlVFRkl2YXJpYWJsZXM=";

#[test]
fn an_image_has_the_variables_and_the_tpm_that_are_asked_for() {
    let account = Account::new();
    let variables = account.home("variables");
    std::fs::write(&variables, VARIABLES).unwrap();
    account.one(&["--tpm", "--secure-boot-vars", variables.to_str().unwrap()]);
    let images = account.fake.images();
    assert_eq!(images[0].tpm.as_deref(), Some("v2.0"));
    assert_eq!(images[0].uefi_data.as_deref(), Some(VARIABLES));
}

#[test]
fn each_region_has_its_key() {
    let account = Account::new();
    let key = |region: &str| {
        format!("arn:aws:kms:{region}:111122223333:key/12345678-1234-4123-8123-123456789012")
    };
    let flag = |region: &str| format!("{region}={}", key(region));
    let (near, far) = (flag(REGION), flag(FAR));
    let regions = ["--region", REGION, "--region", FAR];
    let keys = ["--kms-key", &near, "--kms-key", &far];
    account.pushed(&[&regions[..], &keys].concat());
    for snapshot in account.fake.snapshots() {
        assert_eq!(snapshot.kms_key, Some(key(&snapshot.region)));
    }
}
