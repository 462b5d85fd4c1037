//! Error correction against `veritysetup`: the same parity, and damage that it repairs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use i2kit_format::fec::Encoder;
use proptest::prelude::*;

fn veritysetup(arguments: &[&str]) -> Output {
    Command::new("veritysetup")
        .args(arguments)
        .output()
        .expect("veritysetup (Debian package cryptsetup-bin)")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

/// Bytes that repeat nowhere near.
fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

fn parity(data: &[u8], hash: &[u8], roots: u8) -> Vec<u8> {
    let covered = [data, &hash[4096..]].concat();
    let encoder = Encoder::new(covered.len() as u64, roots).unwrap();
    let groups = 0..encoder.groups();
    let groups = groups.map(|group| encoder.group(group, covered.as_slice()).unwrap());
    let parity = groups.collect::<Vec<_>>().concat();
    assert_eq!(parity.len() as u64, encoder.parity_len());
    parity
}

/// Formats with `veritysetup`, its hash device padded to `hash_blocks` at least; answers the root
/// hash.
fn format(folder: &Path, data: &[u8], roots: u8, hash_blocks: u64) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    fs::write(path("data"), data).unwrap();
    let hash = fs::File::create(path("hash")).unwrap();
    hash.set_len(hash_blocks * 4096).unwrap();
    fs::write(path("fec"), b"").unwrap();
    let device = format!("--fec-device={}", path("fec"));
    let roots = format!("--fec-roots={roots}");
    let (data, hash) = (path("data"), path("hash"));
    let output = veritysetup(&["format", "--salt=-", &data, &hash, &device, &roots]);
    let out = text(&output);
    assert!(output.status.success(), "{out}");
    let line = out.lines().find_map(|line| line.strip_prefix("Root hash:"));
    line.unwrap().trim().to_owned()
}

fn verify(folder: &Path, root: &str, roots: u8) -> Output {
    let path = |name: &str| folder.join(name).display().to_string();
    let device = format!("--fec-device={}", path("fec"));
    let roots = format!("--fec-roots={roots}");
    veritysetup(&[
        "verify",
        &path("data"),
        &path("hash"),
        root,
        &device,
        &roots,
    ])
}

#[test]
fn veritysetup_writes_the_same_parity() {
    let folder = tempfile::tempdir().unwrap();
    for (blocks, roots, hash_blocks) in [
        (1, 2, 1),
        (100, 2, 0),
        (253, 2, 256),
        (254, 3, 0),
        (700, 24, 0),
        (9000, 2, 256),
    ] {
        let data = bytes(blocks * 4096, blocks as u64);
        format(folder.path(), &data, roots, hash_blocks);
        let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
        let expected = read("fec");
        let own = parity(&data, &read("hash"), roots);
        assert!(own == expected, "{blocks} blocks, {roots} roots");
    }
}

#[test]
fn veritysetup_repairs_with_it_what_is_damaged_a_little_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let data = bytes(2000 * 4096, 7);
    let root = format(folder.path(), &data, 2, 256);
    let hash = fs::read(folder.path().join("hash")).unwrap();
    fs::write(folder.path().join("fec"), parity(&data, &hash, 2)).unwrap();
    assert!(verify(folder.path(), &root, 2).status.success());
    // A block lost: each of its bytes is in another word.
    let mut damaged = data.clone();
    damaged[5 * 4096..6 * 4096].fill(0xa5);
    fs::write(folder.path().join("data"), &damaged).unwrap();
    let out = text(&verify(folder.path(), &root, 2));
    assert!(out.contains("repair"), "{out}");
    // Two bytes of one word are more than two roots can find. 2000 data, 255 hash blocks: 9 rounds.
    damaged[(5 + 9) * 4096..(6 + 9) * 4096].fill(0x5a);
    fs::write(folder.path().join("data"), &damaged).unwrap();
    let output = verify(folder.path(), &root, 2);
    assert!(!output.status.success(), "{}", text(&output));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// A word is a multiple of the generator: it is zero at each root, whatever the data.
    #[test]
    fn every_word_is_zero_at_every_root(blocks in 1usize..600, roots in 2u8..=24, seed: u64) {
        let covered = bytes(blocks * 4096, seed);
        let encoder = Encoder::new(covered.len() as u64, roots).unwrap();
        let parity = encoder.group(0, covered.as_slice()).unwrap();
        let (rsn, roots) = (255 - usize::from(roots), usize::from(roots));
        let rounds = blocks.div_ceil(rsn);
        for word in [0, 1, 4095] {
            let row = |row: usize| covered.get(row * rounds * 4096 + word).copied().unwrap_or(0);
            let symbols = (0..rsn).map(row).chain(parity[word * roots..][..roots].iter().copied());
            let symbols: Vec<u8> = symbols.collect();
            let mut root = 1u8;
            for _ in 0..roots {
                let value = symbols.iter().fold(0, |sum, symbol| slow(sum, root) ^ symbol);
                prop_assert_eq!(value, 0);
                root = slow(root, 2);
            }
        }
    }
}

/// Multiplication as schools teach it: shift, add, then reduce by 0x11d.
fn slow(x: u8, y: u8) -> u8 {
    let mut product = 0u16;
    for bit in 0..8 {
        if y >> bit & 1 == 1 {
            product ^= u16::from(x) << bit;
        }
    }
    for bit in (8..15).rev() {
        if product >> bit & 1 == 1 {
            product ^= 0x11d << (bit - 8);
        }
    }
    product as u8
}
