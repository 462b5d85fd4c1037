//! Tests: bills in SPDX and CycloneDX, judged by those formats' own tools.

use std::fs;
use std::path::Path;

use i2kit_sbom::{
    Bill, Distribution, Ecosystem, Package, Part, PartKind, Purl, Unread, apk, cyclonedx, dpkg,
    oci_purl, spdx,
};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{output_of, samples};

/// Fails the test when the formats' tools find anything wrong with the files.
pub fn judge(spdx: &Path, cyclonedx: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sbom/judge.py");
    let (spdx, cyclonedx) = (spdx.to_str().unwrap(), cyclonedx.to_str().unwrap());
    let python = samples::python_oracle("python");
    output_of(&python, &[script, spdx, cyclonedx]);
}

fn judge_bill(bill: &Bill) -> (Value, Value) {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (
        folder.path().join("a.spdx.json"),
        folder.path().join("b.cdx.json"),
    );
    fs::write(&one, spdx::write(bill).unwrap()).unwrap();
    fs::write(&other, cyclonedx::write(bill).unwrap()).unwrap();
    judge(&one, &other);
    let read = |path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    (read(one), read(other))
}

fn part(kind: PartKind, name: &str, packages: Vec<Package>, unread: Vec<Unread>) -> Part {
    let digest = format!("sha256:{}", "0".repeat(64));
    let purl = oci_purl("docker.io/library/Nginx", &digest);
    Part::new(kind, name, &digest, purl).with(packages, unread)
}

fn bill(parts: Vec<Part>) -> Bill {
    Bill {
        name: "shop.example_1".to_owned(),
        tool_version: "0.1.0".to_owned(),
        created: 1_709_208_000,
        parts,
    }
}

#[test]
fn both_papers_are_valid_and_hold_every_package() {
    let status = fs::read("/var/lib/dpkg/status").unwrap();
    let debian = Distribution::parse(b"ID=debian\nVERSION_ID=12");
    let packages = dpkg::packages(&status, &debian, "var/lib/dpkg/status");
    let count = packages.len();
    let text = b"P:a\nV:1\nL:MIT AND GPL-2.0-or-later\nm:M <m@x.example>\n\nP:b\nV:2\nL:as it is\n\nP:b\nV:2\nL:as it is\n\nP:c\nV:1\nL:GPL-2.0\n";
    let others = apk::packages(text, &Distribution::default(), "lib/apk/db/installed");
    let unread = Unread {
        path: "var/lib/rpm/Packages".to_owned(),
        reason: "Berkeley DB".to_owned(),
    };
    let bill = bill(vec![
        part(PartKind::Base, "base", packages, Vec::new()),
        part(PartKind::Container, "base", others, vec![unread]),
        part(PartKind::Container, "empty", Vec::new(), Vec::new()),
    ]);
    let (spdx, cyclonedx) = judge_bill(&bill);
    // The Pod, three images, Debian's packages and three of Alpine's, each once.
    assert_eq!(
        spdx["packages"].as_array().unwrap().len(),
        1 + 3 + count + 3
    );
    assert_eq!(spdx["creationInfo"]["created"], "2024-02-29T12:00:00Z");
    assert!(
        spdx["annotations"][0]["comment"]
            .as_str()
            .unwrap()
            .contains("Berkeley DB")
    );
    let packages = spdx["packages"].as_array().unwrap();
    let a = packages.iter().find(|one| one["name"] == "a").unwrap();
    assert_eq!(a["licenseDeclared"], "MIT AND GPL-2.0-or-later");
    assert_eq!(a["supplier"], "Organization: M (m@x.example)");
    let b = packages.iter().find(|one| one["name"] == "b").unwrap();
    assert_eq!(b["licenseDeclared"], "NOASSERTION");
    assert_eq!(b["licenseComments"], "declared as: as it is");
    assert_eq!(
        cyclonedx["components"][0]["components"]
            .as_array()
            .unwrap()
            .len(),
        count
    );
    let alpine = &cyclonedx["components"][1];
    assert_eq!(alpine["components"].as_array().unwrap().len(), 3);
    assert_eq!(
        alpine["components"][1]["licenses"][0]["license"]["name"],
        "as it is"
    );
    assert_eq!(alpine["properties"][0]["name"], "i2kit:not-read");
    // A listed identifier that is deprecated is one still.
    assert_eq!(
        alpine["components"][2]["licenses"][0]["expression"],
        "GPL-2.0"
    );
}

#[test]
fn equal_bills_give_equal_bytes_whatever_their_order() {
    let text = b"P:a\nV:1\n\nP:b\nV:2\n\nP:c\nV:1\n";
    let mut packages = apk::packages(text, &Distribution::default(), "db");
    let one = bill(vec![part(
        PartKind::Base,
        "base",
        packages.clone(),
        Vec::new(),
    )]);
    packages.reverse();
    let other = bill(vec![part(
        PartKind::Base,
        "base",
        packages.clone(),
        Vec::new(),
    )]);
    assert_eq!(spdx::write(&one).unwrap(), spdx::write(&other).unwrap());
    assert_eq!(
        cyclonedx::write(&one).unwrap(),
        cyclonedx::write(&other).unwrap()
    );
    packages.pop();
    let third = bill(vec![part(PartKind::Base, "base", packages, Vec::new())]);
    let names = |bill: &Bill| {
        let spdx: Value = serde_json::from_slice(&spdx::write(bill).unwrap()).unwrap();
        let bom: Value = serde_json::from_slice(&cyclonedx::write(bill).unwrap()).unwrap();
        (
            spdx["documentNamespace"].to_string(),
            bom["serialNumber"].to_string(),
        )
    };
    assert_ne!(names(&one).0, names(&third).0);
    assert_ne!(names(&one).1, names(&third).1);
}

/// The bytes are pinned: a change of them changes every disk.
#[test]
fn papers_are_pinned() {
    let text = b"P:a\nV:1\nL:MIT\no:s\nm:M <m@x>\nA:x86_64\n";
    let packages = apk::packages(text, &Distribution::default(), "lib/apk/db/installed");
    let bill = bill(vec![part(PartKind::Container, "web", packages, Vec::new())]);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    insta::assert_snapshot!("spdx", text(spdx::write(&bill).unwrap()));
    insta::assert_snapshot!("cyclonedx", text(cyclonedx::write(&bill).unwrap()));
}

fn any_package() -> impl Strategy<Value = Package> {
    let text = "[ -~é\\n\"]{0,12}";
    // What URLs strip at either end stands at none here: blanks and slashes.
    let word = "[!-.0-~é]{1,9}";
    (text, word, text, text, word).prop_map(|(name, version, licence, supplier, path)| Package {
        ecosystem: Ecosystem::Npm,
        purl: Purl::new("generic", "", &path, &version, &[("arch", &path)]),
        name: format!("n{name}"),
        version,
        licence: Some(licence).filter(|one| !one.is_empty()),
        source: None,
        supplier: Some(supplier).filter(|one| !one.is_empty()),
        origin: path,
    })
}

proptest! {
    // Each case starts an interpreter, so there are few, of many packages each.
    #![proptest_config(ProptestConfig { cases: 3, ..ProptestConfig::default() })]

    #[test]
    fn whatever_packages_are_called_the_papers_are_valid(
        packages in prop::collection::vec(any_package(), 60),
    ) {
        judge_bill(&bill(vec![part(PartKind::Container, "web", packages, Vec::new())]));
    }
}
