//! What the tests of several formats share: oracles, a meter of memory, sparse files.
#![allow(dead_code, reason = "each test binary takes what it needs")]

pub mod meter;
pub mod pe;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};

use i2kit_format::layout::{Content, Layout};
use sha2::{Digest as _, Sha256};

/// Runs a tool in the C locale, with UTF-8, and UTC; a missing one fails the test by name.
pub fn run(program: &str, args: &[&str], file: &Path) -> Output {
    let mut command = Command::new(program);
    command.args(args).arg(file);
    finish(command)
}

pub fn finish(mut command: Command) -> Output {
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    command.env("PATH", path).env("MTOOLSRC", "/dev/null");
    command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; scripts/setup.sh --test installs what is missing")
    })
}

/// All that a tool printed; fails the test when the tool failed.
pub fn text(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{}: {text}", output.status);
    text
}

/// A SHA-256 in hex.
pub fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a layout promises of its pieces.
pub fn check_layout(layout: &Layout) {
    let mut end = 0;
    for piece in &layout.pieces {
        let len = piece.content.len();
        assert!(len > 0, "an empty piece at {}", piece.offset);
        assert!(piece.offset >= end, "pieces overlap at {}", piece.offset);
        end = piece.offset + len;
    }
    assert!(end <= layout.size, "pieces end at {end} of {}", layout.size);
}

/// Writes a layout's own bytes to a sparse file; inputs become holes.
pub fn write_sparse(layout: &Layout, path: &Path) {
    check_layout(layout);
    let file = fs::File::create(path).unwrap();
    file.set_len(layout.size).unwrap();
    for piece in &layout.pieces {
        if let Content::Bytes(bytes) = &piece.content {
            file.write_all_at(bytes, piece.offset).unwrap();
        }
    }
}

/// Bytes that differ from file to file and from block to block.
pub fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at.wrapping_mul(7) ^ (at / 509) ^ seed.wrapping_mul(31)) as u8)
        .collect()
}

/// Calls `check` with a copy of `bytes` for each bit of `range` flipped.
pub fn each_flipped_bit(
    bytes: &[u8],
    range: std::ops::Range<usize>,
    mut check: impl FnMut(usize, &[u8]),
) {
    let mut bad = bytes.to_vec();
    for at in range {
        for bit in 0..8 {
            bad[at] ^= 1 << bit;
            check(at, &bad);
            bad[at] ^= 1 << bit;
        }
    }
}
