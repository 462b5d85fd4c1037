//! Tests: `i2kit base licenses` and `i2kit base outdated`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{i2kit, samples};

fn base(folder: &tempfile::TempDir, arguments: &[&str]) -> Output {
    let mut command = i2kit();
    command.arg("base").args(arguments);
    command.arg("--base").arg(samples::base());
    command.arg("--cache-dir").arg(folder.path());
    command.output().unwrap()
}

fn succeeded(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Its packages, by its own record.
fn recorded() -> Vec<Value> {
    let path = samples::base().replace("oci:", "") + "/record.json";
    let record: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    record["packages"].as_array().unwrap().clone()
}

#[test]
fn licenses_of_every_package_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let text = succeeded(&base(&folder, &["licenses", "--json"]));
    let listed: Vec<Value> = serde_json::from_str(&text).unwrap();
    let expected = recorded();
    assert_eq!(listed.len(), expected.len());
    for (one, package) in listed.iter().zip(&expected) {
        for field in ["name", "version", "source", "source_version"] {
            assert_eq!(one[field], package[field]);
        }
        assert!(one["licence"].is_string(), "{one}");
    }
    let named = |name: &str| listed.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(named("libseccomp2")["spdx"], "LGPL-2.1-only");
    assert_eq!(named("libc6")["source"], "glibc");
    assert_eq!(named("libc6")["spdx"], Value::Null);
    let text = succeeded(&base(&folder, &["licenses"]));
    assert!(text.contains("libseccomp2 2.5.4"), "{text}");
    assert!(text.contains("\n    LGPL-2.1-only\n"), "{text}");
}

/// A mirror that has `files`; answers its URL.
fn mirror(files: Vec<(String, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/debian", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            // The request ends with an empty line.
            let _ = lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
            let path = first.split(' ').nth(1).unwrap();
            let found = files
                .iter()
                .find(|(name, _)| format!("/debian/{name}") == path);
            let (status, body) = match found {
                Some((_, body)) => ("200 OK", body.as_slice()),
                None => ("404 Not Found", &b"none"[..]),
            };
            let len = body.len();
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body).unwrap();
        }
    });
    url
}

fn xz(text: &str) -> Vec<u8> {
    let mut child = Command::new("xz")
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap().stdout
}

fn index(packages: &[(&str, &str)]) -> String {
    let stanza =
        |(name, version): &(&str, &str)| format!("Package: {name}\nVersion: {version}\n\n");
    packages.iter().map(stanza).collect()
}

#[test]
fn outdated_packages_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = recorded();
    let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
    let all: Vec<_> = recorded
        .iter()
        .map(|one| (text(one, "name"), text(one, "version")))
        .collect();
    let same: Vec<_> = all
        .iter()
        .map(|(name, version)| (&**name, &**version))
        .collect();
    // The mirror has what the base has, but for runc, which it has no more.
    let main: Vec<_> = same
        .iter()
        .copied()
        .filter(|(name, _)| *name != "runc")
        .collect();
    let kernel = "Package: linux-image-6.12-cloud-amd64\nVersion: 6.12.999-1\nDepends: linux-image-6.12.999+deb12-cloud-amd64 (= 6.12.999-1)\n\nPackage: linux-image-6.12.999+deb12-cloud-amd64\nVersion: 6.12.999-1\n\n";
    let security = format!(
        "{kernel}{}",
        index(&[("libc6", "2.36-9+deb12u999"), ("containerd", "0.1")])
    );
    let path = |suite: &str| format!("dists/{suite}/main/binary-amd64/Packages.xz");
    let url = mirror(vec![
        (path("bookworm"), xz(&index(&main))),
        (path("bookworm-security"), xz(&security)),
        (path("broken"), b"no xz".to_vec()),
    ]);
    let sources = [
        format!("deb [signed-by=/k] {url}/ bookworm main"),
        format!("deb {url} bookworm-security main"),
    ];
    let arguments = ["outdated", "--source", &sources[0], "--source", &sources[1]];
    let text = succeeded(&base(&folder, &arguments));
    assert!(text.contains("-> 2.36-9+deb12u999\n"), "{text}");
    assert!(
        text.contains("-> linux-image-6.12.999+deb12-cloud-amd64 6.12.999-1\n"),
        "{text}"
    );
    assert!(text.contains("the mirror has it no more"), "{text}");
    assert!(
        text.contains(&format!("3 of {} packages are outdated", all.len())),
        "{text}"
    );
    let text = succeeded(&base(&folder, &[&arguments[..], &["--json"]].concat()));
    let compared: Vec<Value> = serde_json::from_str(&text).unwrap();
    let state = |name: &str| {
        let found = compared.iter().find(|one| one["name"] == name).unwrap();
        found["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        ["libc6", "runc", "containerd"].map(state),
        ["outdated", "gone", "current"]
    );

    let refused = |suite: &str| {
        let source = format!("deb {url} {suite} main");
        let output = base(&folder, &["outdated", "--source", &source]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let text = refused("nowhere");
    assert!(
        text.contains("nowhere/main/binary-amd64/Packages.xz") && text.contains("hint:"),
        "{text}"
    );
    assert!(refused("broken").contains("broken/main"));
    let output = base(&folder, &["outdated", "--source", "nonsense"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("find a mirror"));
    let output = base(&folder, &["outdated", "--offline"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--offline"));
}
