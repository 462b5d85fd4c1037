//! A flipped bit, wherever it is: verify finds it, and no disk has it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::random::Random;
use crate::support::small::Small;

/// Every file that the cache keeps, but for locks.
fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            out.push(path);
        } else if path.file_name().unwrap() != "locks" {
            files(&path, out);
        }
    }
}

fn flip(path: &Path, random: &mut Random) {
    let mut bytes = fs::read(path).unwrap();
    let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
    bytes[at] ^= 1 << random.below(8);
    fs::write(path, bytes).unwrap();
}

fn filled() -> (Small, String, Vec<PathBuf>) {
    let small = Small::new();
    let output = small
        .build("cache", "disk.raw")
        .arg("--keep-blobs")
        .output();
    assert!(output.unwrap().status.success());
    let expected = crate::support::layout::sha256(&fs::read(small.path("disk.raw")).unwrap());
    let mut all = Vec::new();
    files(&small.path("cache"), &mut all);
    all.sort();
    // What is remembered of a written disk is read for that disk alone.
    all.retain(|path| !path.to_string_lossy().contains("/written-"));
    // 5 layers of 3 files each, their blobs, 2 documents of 2 images, initramfs and facts of the UKI.
    assert_eq!(all.len(), 5 * 3 + 5 + 4 + 2, "{all:?}");
    (small, expected, all)
}

#[test]
fn verify_finds_a_flipped_bit_in_any_file_and_the_next_build_heals() {
    let (small, expected, all) = filled();
    for (seed, path) in (0..).zip(&all) {
        let mut random = Random::new(seed);
        flip(path, &mut random);
        let output = small.cache("cache", &["verify", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{path:?}: {report}");
        let damaged = report["damaged"].as_array().unwrap();
        let key = damaged[0]["key"].as_str().unwrap().replace("sha256:", "");
        assert!(path.to_str().unwrap().contains(&key), "{path:?}: {report}");
        assert_eq!((damaged.len(), &damaged[0]["removed"]), (1, &true.into()));
        assert!(!path.exists(), "{path:?}");
        let output = small.cache("cache", &["verify"]);
        assert_eq!(output.status.code(), Some(0), "{path:?}");
        let output = small
            .build("cache", "again.raw")
            .arg("--keep-blobs")
            .output();
        assert!(output.unwrap().status.success());
        let again = fs::read(small.path("again.raw")).unwrap();
        assert_eq!(crate::support::layout::sha256(&again), expected);
        fs::remove_file(small.path("again.raw")).unwrap();
        // A blob is kept as it streams past, which happens no more once its layer is converted.
        let is_blob = path.starts_with(small.path("cache/v1/blobs"));
        assert!(is_blob || path.exists(), "{path:?} is not made again");
    }
}

#[test]
fn a_flipped_bit_in_any_file_never_reaches_a_disk() {
    let (small, expected, all) = filled();
    for (seed, path) in (100..).zip(&all) {
        flip(path, &mut Random::new(seed));
        // Layers that are converted anew read their blobs, so both are tried.
        if path.starts_with(small.path("cache/v1/blobs")) {
            fs::remove_dir_all(small.path("cache/v1/layers")).unwrap();
        }
        assert_eq!(small.built("cache", "again.raw"), expected, "{path:?}");
    }
    // Whatever healed did so for good.
    let output = small.cache("cache", &["verify"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[test]
fn a_disk_whose_memory_is_damaged_is_read() {
    let (small, expected, _) = filled();
    let pieces = fs::read_dir(small.path("cache/v1/pieces")).unwrap();
    let mut pieces = pieces.map(|piece| piece.unwrap().path());
    let memory = pieces.find(|path| path.to_string_lossy().contains("/written-"));
    flip(&memory.unwrap(), &mut Random::new(1));
    let rebuilt = || {
        let output = small.build("cache", "disk.raw").output().unwrap();
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        let bytes = fs::read(small.path("disk.raw")).unwrap();
        assert_eq!(crate::support::layout::sha256(&bytes), expected);
        summary["unchanged"] == true
    };
    assert!(rebuilt());
    let mut bytes = fs::read(small.path("disk.raw")).unwrap();
    bytes[4096] ^= 1;
    fs::write(small.path("disk.raw"), bytes).unwrap();
    assert!(!rebuilt());
}

#[test]
fn verify_names_what_is_missing_short_or_stray() {
    let (small, expected, all) = filled();
    let find = |end: &str| all.iter().find(|path| path.ends_with(end)).unwrap();
    let document = all
        .iter()
        .find(|path| path.starts_with(small.path("cache/v1/documents")));
    fs::write(document.unwrap(), "").unwrap();
    fs::remove_file(find("data")).unwrap();
    fs::write(small.path("cache/v1/blobs/sha256/stray"), "x").unwrap();
    let output = small.cache("cache", &["verify"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for line in [
        "its data is missing or has another length; removed",
        "damaged blob sha256:stray: its bytes were altered; removed",
        "damaged document sha256:",
        "; 3 damaged",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    assert_eq!(small.built("cache", "again.raw"), expected);
}
