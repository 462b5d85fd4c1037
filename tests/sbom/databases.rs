//! Tests: package databases, read as their own tools read them.

use std::fs;
use std::path::Path;

use i2kit_sbom::{Distribution, Origin, apk, debian_version, dpkg, node, python, rpm};
use proptest::prelude::*;

use super::names;
use crate::seeds;
use crate::support::{output_of, tool};

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// dpkg's own database, which every machine that runs the tests has.
#[test]
fn dpkg_agrees_with_dpkg_query() {
    let distribution = Distribution::parse(&fs::read("/etc/os-release").unwrap());
    let status = fs::read("/var/lib/dpkg/status").unwrap();
    let found = dpkg::packages(&status, &distribution, "var/lib/dpkg/status");
    let format = "${db:Status-Status} ${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\n";
    let text = output_of("dpkg-query", &["-W", "-f", format]);
    let installed = text.lines().filter_map(|line| {
        let left = ["config-files ", "not-installed "];
        let (_, rest) = line.split_once(' ')?;
        (!left.iter().any(|state| line.starts_with(state))).then_some(rest)
    });
    let expected = sorted(&Vec::from_iter(installed).join("\n"));
    let ours = found.iter().map(|one| {
        let source = one.source.as_ref().unwrap();
        let architecture = one.purl.as_str().split("arch=").nth(1).unwrap();
        let architecture = architecture.split('&').next().unwrap();
        let (name, version) = (&one.name, &one.version);
        let source_version = source.version.as_ref().unwrap();
        format!(
            "{name} {version} {architecture} {} {source_version}",
            source.name
        )
    });
    assert!(expected.len() > 100);
    assert_eq!(sorted(&Vec::from_iter(ours).join("\n")), expected);
}

#[test]
fn removed_packages_are_not_installed_and_images_without_dpkg_have_no_status() {
    let text = b"Package: a\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: b\nStatus: install ok half-configured\nVersion: 2\nArchitecture: all\nMaintainer: M <m@x>\n\nPackage: c\nVersion: 1:3-1\nSource: d (2)\n";
    let found = dpkg::packages(text, &Distribution::default(), "x");
    assert_eq!(names(&found), ["b 2", "c 1:3-1"]);
    assert_eq!(found[0].supplier.as_deref(), Some("M <m@x>"));
    assert_eq!(found[1].purl.as_str(), "pkg:deb/debian/c@1:3-1");
    let source = found[1].source.as_ref().unwrap();
    assert_eq!(
        (source.name.as_str(), source.version.as_deref()),
        ("d", Some("2"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn versions_compare_as_dpkg_has_them(
        one in "([0-2]:)?[0-9]([0-9a-c.+~]{0,6})(-[0-9a-c.+~]{1,4})?",
        other in "([0-2]:)?[0-9]([0-9a-c.+~]{0,6})(-[0-9a-c.+~]{1,4})?",
    ) {
        let is = |relation: &str| {
            tool("dpkg", &["--compare-versions", &one, relation, &other]).status.success()
        };
        let expected = if is("lt") {
            std::cmp::Ordering::Less
        } else if is("gt") {
            std::cmp::Ordering::Greater
        } else {
            std::cmp::Ordering::Equal
        };
        prop_assert_eq!(debian_version::compare(&one, &other), expected);
    }
}

/// Sixty packages, so that the table has inner pages, one of which has so many files that its
/// header goes on on other pages; one with an epoch.
fn rpm_packages(folder: &Path) -> Vec<String> {
    let mut spec = String::from(
        "Name: top\nVersion: 1.0\nRelease: 2%{?x}\nSummary: s\nLicense: MIT and GPLv2+\nVendor: V\nBuildArch: noarch\n%description\nd\n%install\nmkdir -p %{buildroot}/f\nfor i in $(seq 3000); do touch %{buildroot}/f/a-file-with-a-long-name-$i; done\n%files\n/f\n",
    );
    for number in 0..60 {
        let epoch = if number == 7 { "Epoch: 3\n" } else { "" };
        let package = format!(
            "%package -n sub{number}\nSummary: s\nVersion: {number}\n{epoch}License: MIT AND Zlib\n%description -n sub{number}\n{}\n%files -n sub{number}\n",
            "text ".repeat(100)
        );
        spec.push_str(&package);
    }
    let file = folder.join("x.spec");
    fs::write(&file, spec).unwrap();
    let top = format!("_topdir {}", folder.display());
    let file = file.to_str().unwrap();
    output_of("rpmbuild", &["-bb", "--quiet", "--define", &top, file]);
    let built = folder.join("RPMS/noarch");
    fs::read_dir(built)
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect()
}

/// Debian's rpm has no ndb, so that format is only tried on a database written by its source.
#[test]
fn rpm_agrees_with_rpm() {
    let folder = tempfile::tempdir().unwrap();
    let files = rpm_packages(folder.path());
    let path = folder.path().join("db").display().to_string();
    let rpm = |arguments: &[&str]| output_of("rpm", &[&["--dbpath", &path], arguments].concat());
    let mut install = vec!["-i", "--justdb", "--nodeps", "--noscripts", "--nosignature"];
    install.extend(files.iter().map(String::as_str));
    rpm(&install);
    // What was installed is removed again, so that there is room that nothing uses.
    rpm(&["-e", "--justdb", "--nodeps", "sub3"]);
    let format = "%{NAME} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n";
    let listed = rpm(&["-qa", "--qf", format]);
    let listed =
        sorted(&Vec::from_iter(listed.lines().filter(|line| !line.starts_with("rpm:"))).join("\n"));
    let bytes = fs::read(Path::new(&path).join("rpmdb.sqlite")).unwrap();
    let distribution = Distribution::parse(b"ID=fedora\nVERSION_ID=40");
    let found = rpm::packages(&bytes, &distribution, "x").unwrap();
    assert_eq!(listed.len(), 60);
    assert_eq!(names(&found), listed);
    let named = |name: &str| found.iter().find(|one| one.name == name).unwrap();
    let epoch = named("sub7");
    assert_eq!(
        epoch.purl.as_str(),
        "pkg:rpm/fedora/sub7@7-2?arch=noarch&distro=fedora-40&epoch=3&upstream=top-1.0-2.src.rpm"
    );
    assert_eq!(epoch.spdx_licence(), Some("MIT AND Zlib"));
    assert_eq!(epoch.source.as_ref().unwrap().name, "top");
    let top = named("top");
    assert_eq!(top.spdx_licence(), None);
    assert_eq!(top.licence.as_deref(), Some("MIT and GPLv2+"));
    assert_eq!(top.supplier.as_deref(), Some("V"));
}

#[test]
fn ndb_databases_are_read_as_they_are_specified() {
    let header = seeds::rpm_header(&[(1000, "a"), (1001, "1"), (1002, "2")], 5);
    let database = seeds::ndb(&header);
    let distribution = Distribution::parse(b"ID=opensuse-leap\nVERSION_ID=15.5");
    let found = rpm::packages(&database, &distribution, "x").unwrap();
    assert_eq!(names(&found), ["a 5:1-2"]);
    let mut other = database.clone();
    other[4096 + 4] = 9;
    let error = rpm::packages(&other, &distribution, "x").unwrap_err();
    assert!(error.to_string().contains("not the slot's"), "{error}");
}

#[test]
fn damaged_rpm_databases_are_refused() {
    let distribution = Distribution::default();
    let reason = |bytes: Vec<u8>| {
        let found = rpm::packages(&bytes, &distribution, "x");
        found.unwrap_err().to_string()
    };
    assert!(reason(Vec::new()).contains("ends early"));
    assert!(reason(vec![0; 4096]).contains("begins otherwise"));
    let mut looped = seeds::sqlite(b"");
    // The table's page becomes an inner page whose right child it is itself.
    looped[512] = 5;
    looped[512 + 3..512 + 12].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert!(reason(looped).contains("loop"));
    let header = seeds::rpm_header(&[(1000, "a"), (1001, "1"), (1002, "2")], 0);
    let found = rpm::packages(&seeds::sqlite(&header), &distribution, "x").unwrap();
    assert_eq!(names(&found), ["a 1-2"]);
    let error = Origin::RpmBerkeley.packages(&header, "x", &distribution);
    assert!(error.unwrap_err().to_string().contains("Berkeley DB"));
}

/// Written by apk-tools' `apk_installed(5)`: letters in both cases, files, a package without licence.
#[test]
fn alpine() {
    let text = "C:Q1qKcZ+j23xssAXmgQhkOO8dHnbWw=\nP:alpine-baselayout\nV:3.4.3-r1\nA:x86_64\nS:8911\nI:331776\nT:Alpine base dir structure and init scripts\nU:https://git.alpinelinux.org/cgit/aports/tree/main/alpine-baselayout\nL:GPL-2.0-only\no:alpine-baselayout\nm:Natanael Copa <ncopa@alpinelinux.org>\nt:1683642107\nc:65502ca9379dd29d1ac4b0bf0dcf03a3dd1b324a\nD:alpine-baselayout-data=3.4.3-r1 /bin/sh\nq:1000\nF:dev\nF:etc\nR:motd\nZ:Q1SLkS9hBidUbPwwrw+XR0Whv3ww8=\nM:0:0:1777\n\nP:libcrypto3\nV:3.1.4-r1\nA:x86_64\nL:Apache-2.0 and MIT\no:openssl\nV:3.1.4-r2\n\nP:x\nV:1\nL:custom\n";
    let distribution = Distribution::parse(b"ID=alpine\nVERSION_ID=3.18.4\n");
    let found = apk::packages(text.as_bytes(), &distribution, "lib/apk/db/installed");
    assert_eq!(
        names(&found),
        ["alpine-baselayout 3.4.3-r1", "libcrypto3 3.1.4-r2", "x 1"]
    );
    assert_eq!(
        found[1].purl.as_str(),
        "pkg:apk/alpine/libcrypto3@3.1.4-r2?arch=x86_64&distro=alpine-3.18.4"
    );
    assert_eq!(found[1].source.as_ref().unwrap().name, "openssl");
    assert_eq!(found[1].spdx_licence(), Some("Apache-2.0 AND MIT"));
    assert_eq!(found[2].licence.as_deref(), Some("custom"));
    assert_eq!(found[2].spdx_licence(), None);
}

/// Compared with what Python's own `importlib.metadata` says of pip.
#[test]
fn python_agrees_with_python() {
    let script = "import importlib.metadata as m\nfor d in m.distributions(path=['/usr/lib/python3/dist-packages']):\n  print(d._path, d.metadata['Name'], d.version, sep='|')";
    let text = output_of("/usr/bin/python3", &["-c", script]);
    let mut seen = 0;
    for line in text.lines() {
        let mut parts = line.split('|');
        let (path, name, version) = (parts.next().unwrap(), parts.next(), parts.next());
        let file = ["METADATA", "PKG-INFO", ""]
            .iter()
            .map(|name| Path::new(path).join(name))
            .find(|path| path.is_file());
        let found = python::package(&fs::read(file.unwrap()).unwrap(), "x").unwrap();
        assert_eq!((Some(&*found.name), Some(&*found.version)), (name, version));
        seen += 1;
    }
    assert!(seen > 0, "python3-pip is there");
    let text = b"Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.0\nLicense: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n\nName: no\n";
    let found = python::package(text, "x").unwrap();
    assert_eq!(found.purl.as_str(), "pkg:pypi/foo-bar@1.0");
    assert_eq!(found.licence.as_deref(), Some("MIT License"));
    let text =
        b"Name: a\nVersion: 1\nLicense: long\n text\nLicense-Expression: MIT OR Apache-2.0\n";
    let found = python::package(text, "x").unwrap();
    assert_eq!(found.spdx_licence(), Some("MIT OR Apache-2.0"));
}

#[test]
fn node_packages() {
    let found = |text: &str| node::package(text.as_bytes(), "x");
    let one = found(r#"{"name":"@Angular/Core","version":"17.0.1","license":"MIT"}"#);
    let one = one.unwrap().unwrap();
    assert_eq!(one.purl.as_str(), "pkg:npm/%40angular/core@17.0.1");
    assert_eq!(one.spdx_licence(), Some("MIT"));
    let old =
        found(r#"{"name":"a","version":"1","licenses":[{"type":"MIT"},{"type":"Apache-2.0"}]}"#);
    assert_eq!(
        old.unwrap().unwrap().spdx_licence(),
        Some("MIT OR Apache-2.0")
    );
    assert_eq!(found(r#"{"private":true}"#), Ok(None));
    assert!(found("[]").is_err() && found("").is_err());
}
