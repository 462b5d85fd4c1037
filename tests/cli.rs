//! Tests: the command as a person meets it.

use std::path::Path;

use crate::support::i2kit;
use crate::support::vm::Bench;

const NGINX: &str = include_str!("../fixtures/manifests/nginx.yaml");

/// Every command explains itself.
#[test]
fn help_completions_and_man_page() {
    for arguments in [
        &["--help"][..],
        &["build", "--help"],
        &["run", "--help"],
        &["cache", "--help"],
        &["cache", "ls", "--help"],
        &["cache", "verify", "--help"],
        &["cache", "gc", "--help"],
        &["push", "--help"],
        &["images", "--help"],
        &["prune", "--help"],
        &["fetch", "--help"],
        &["ledger", "--help"],
        &["completions", "bash"],
        &["man"],
    ] {
        let output = i2kit().args(arguments).output().unwrap();
        assert!(
            output.status.success() && output.stdout.len() > 200,
            "{arguments:?}"
        );
    }
    assert_eq!(i2kit().arg("bild").output().unwrap().status.code(), Some(2));
}

fn layout(bench: &Bench, change: impl FnOnce(&Path)) -> String {
    let source = crate::support::samples::sample("tiny");
    let copy = bench.path("layout");
    let from = source.strip_prefix("oci:").unwrap();
    crate::support::output_of("cp", &["-r", from, copy.to_str().unwrap()]);
    change(&copy);
    format!("oci:{}", copy.display())
}

fn largest_blob(layout: &Path) -> std::path::PathBuf {
    let blobs = std::fs::read_dir(layout.join("blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    blobs
        .max_by_key(|path| std::fs::metadata(path).unwrap().len())
        .unwrap()
}

/// Each ends non-zero with one message that names the thing, and leaves no disk.
#[test]
fn bad_input_is_told_and_leaves_nothing() {
    let manifests = [
        ("a: [", "manifest.yaml:"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: tiny, imag: b}]}\n",
            "imag",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: []}\n",
            "containers",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: tiny}, {name: a, image: tiny}]}\n",
            "\"a\"",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: X_}\nspec: {containers: [{name: a, image: tiny}]}\n",
            "X_",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: other}]}\n",
            "docker.io/library/other:latest",
        ),
    ];
    for (manifest, expected) in manifests {
        let bench = Bench::new();
        let disk = bench.path("disk.raw");
        let output = bench.try_build(manifest, &disk, &["--offline"]);
        told(&output, expected);
        assert!(!disk.exists());
    }
    type Damage = fn(&Path);
    let layouts: [(&str, Damage, &str); 6] = [
        (":none", |_| {}, "it has latest"),
        (
            "",
            |path| std::fs::remove_file(path.join("oci-layout")).unwrap(),
            "oci-layout",
        ),
        (
            "",
            |path| std::fs::remove_file(largest_blob(path)).unwrap(),
            "sha256:",
        ),
        (
            "",
            |path| {
                std::fs::File::options()
                    .write(true)
                    .open(largest_blob(path))
                    .unwrap()
                    .set_len(1000)
                    .unwrap()
            },
            "1000 bytes where",
        ),
        (
            "",
            |path| {
                let mut bytes = std::fs::read(largest_blob(path)).unwrap();
                bytes[5000] ^= 1;
                std::fs::write(largest_blob(path), bytes).unwrap();
            },
            "its bytes are sha256:",
        ),
        (
            "",
            |path| {
                let index = std::fs::read_to_string(path.join("index.json")).unwrap();
                std::fs::write(
                    path.join("index.json"),
                    index.replace("\"size\":", "\"size\":1"),
                )
                .unwrap();
            },
            "bytes where",
        ),
    ];
    for (suffix, change, expected) in layouts {
        let bench = Bench::new();
        let image = format!("{}{suffix}", layout(&bench, change));
        let disk = bench.path("disk.raw");
        let output = bench
            .command("build")
            .args(["--from", &image, "-o"])
            .arg(&disk)
            .output()
            .unwrap();
        told(&output, expected);
        assert!(!disk.exists());
        assert_eq!(
            std::fs::read_dir(bench.path("cache/v1/tmp")).map_or(0, Iterator::count),
            0
        );
    }
    let bench = Bench::new();
    told(
        &bench.try_build(NGINX, &bench.path("none/disk.raw"), &[]),
        "make the folder first",
    );
    told(
        &bench.try_build(NGINX, bench.folder.path(), &[]),
        "not a regular file",
    );
    let tiny = crate::support::samples::sample("tiny");
    let output = i2kit()
        .args(["build", "--from", &tiny, "--base", &tiny, "-o"])
        .arg(bench.path("x.raw"))
        .output();
    told(&output.unwrap(), "scripts/build-base.sh");
    let output = i2kit()
        .args(["build", "--from", &tiny, "-o"])
        .arg(bench.path("x.raw"))
        .env("XDG_CACHE_HOME", bench.path("empty"))
        .output();
    told(&output.unwrap(), "scripts/build-base.sh");
    assert!(!bench.path("x.raw").exists());
}

fn told(output: &std::process::Output, expected: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(expected), "no {expected:?} in {text}");
    assert!(
        text.contains("error: ") && !text.contains("panicked"),
        "{text}"
    );
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let bench = Bench::new();
    let small = bench.path("small");
    std::fs::create_dir(&small).unwrap();
    crate::support::output_of(
        "mount",
        &[
            "-t",
            "tmpfs",
            "-o",
            "size=8M",
            "tmpfs",
            small.to_str().unwrap(),
        ],
    );
    let output = bench.try_build(NGINX, &small.join("disk.raw"), &[]);
    let left = std::fs::read_dir(&small).unwrap().count();
    crate::support::output_of("umount", &[small.to_str().unwrap()]);
    told(&output, "free some room");
    assert_eq!(left, 0);
}
