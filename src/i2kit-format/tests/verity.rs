//! dm-verity trees against `veritysetup`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

use std::path::Path;
use std::process::Command;

use i2kit_format::verity::{self, Error, HASH_BLOCK, Superblock, TreeBuilder};
use proptest::prelude::*;

const UUID: [u8; 16] = *b"\x12\x34\x56\x78\x9a\xbc\xde\xf0\x01\x02\x03\x04\x05\x06\x07\x08";
const UUID_TEXT: &str = "12345678-9abc-def0-0102-030405060708";

/// Data whose blocks differ, with some all-zero ones between.
fn sample(blocks: usize) -> Vec<u8> {
    let mut data = vec![0; blocks * HASH_BLOCK];
    for (number, block) in data.chunks_mut(HASH_BLOCK).enumerate() {
        if number % 5 != 3 {
            block[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
            block[HASH_BLOCK - 1] = 0x5a;
        }
    }
    data
}

fn hash_device(data: &[u8]) -> (Vec<u8>, [u8; 32]) {
    let mut builder = TreeBuilder::new();
    let mut level0 = Vec::new();
    for slab in data.chunks(128 * HASH_BLOCK) {
        let block = verity::hash_slab(slab);
        builder.push(&block);
        level0.extend_from_slice(&block);
    }
    let upper = builder.finish();
    let blocks = (data.len() / HASH_BLOCK) as u64;
    let mut device = Superblock::new(UUID, blocks).to_block().to_vec();
    device.extend_from_slice(&upper.blocks);
    device.extend_from_slice(&level0);
    (device, upper.root_hash)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn veritysetup(args: &[&str], files: &[&Path], tail: &[&str]) -> std::process::Output {
    Command::new("veritysetup")
        .args(args)
        .args(files)
        .args(tail)
        .output()
        .expect("veritysetup (package cryptsetup-bin) must be installed")
}

fn root_of(output: &std::process::Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text
        .lines()
        .find(|line| line.starts_with("Root hash:"))
        .expect("a root hash");
    line.split_whitespace().last().unwrap().to_owned()
}

#[test]
fn trees_equal_veritysetups_bit_by_bit() {
    let dir = tempfile::tempdir().unwrap();
    let (data_path, theirs_path) = (dir.path().join("data"), dir.path().join("hash"));
    for blocks in [2, 127, 128, 129, 255, 256, 257, 128 * 128, 128 * 128 + 1] {
        let data = sample(blocks);
        std::fs::write(&data_path, &data).unwrap();
        std::fs::write(&theirs_path, b"").unwrap();
        let uuid = format!("--uuid={UUID_TEXT}");
        let output = veritysetup(
            &["format", "--salt=-", &uuid],
            &[&data_path, &theirs_path],
            &[],
        );
        let root = root_of(&output);
        let (ours, our_root) = hash_device(&data);
        assert_eq!(hex(&our_root), root, "{blocks} blocks");
        assert!(
            ours == std::fs::read(&theirs_path).unwrap(),
            "{blocks} blocks: trees differ"
        );
        verity::verify(&data, &ours, &our_root).unwrap();
    }
}

#[test]
fn veritysetup_verifies_our_tree_and_refuses_a_flipped_bit() {
    let dir = tempfile::tempdir().unwrap();
    let (data_path, hash_path) = (dir.path().join("data"), dir.path().join("hash"));
    let mut data = sample(300);
    let (hash, root) = hash_device(&data);
    std::fs::write(&data_path, &data).unwrap();
    std::fs::write(&hash_path, &hash).unwrap();
    let root = hex(&root);
    assert!(
        veritysetup(&["verify"], &[&data_path, &hash_path], &[&root])
            .status
            .success()
    );
    data[299 * HASH_BLOCK] ^= 1;
    std::fs::write(&data_path, &data).unwrap();
    assert!(
        !veritysetup(&["verify"], &[&data_path, &hash_path], &[&root])
            .status
            .success()
    );
}

/// A salted tree and one of a single data block, which has no hash block: neither comes from the
/// builder, both are read.
#[test]
fn verify_reads_salted_and_single_block_trees() {
    let dir = tempfile::tempdir().unwrap();
    let (data_path, hash_path) = (dir.path().join("data"), dir.path().join("hash"));
    for (blocks, salt) in [
        (1, "--salt=-"),
        (1, "--salt=0badcafe"),
        (300, "--salt=0badcafe"),
    ] {
        let data = sample(blocks);
        std::fs::write(&data_path, &data).unwrap();
        std::fs::write(&hash_path, b"").unwrap();
        let output = veritysetup(&["format", salt], &[&data_path, &hash_path], &[]);
        let text = root_of(&output);
        let mut root = [0; 32];
        for (index, byte) in root.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).unwrap();
        }
        let hash = std::fs::read(&hash_path).unwrap();
        verity::verify(&data, &hash, &root).unwrap();
        root[0] ^= 1;
        verity::verify(&data, &hash, &root).unwrap_err();
    }
}

#[test]
fn a_single_level0_block_is_the_whole_tree() {
    let mut builder = TreeBuilder::new();
    let block = verity::hash_slab(&sample(3));
    builder.push(&block);
    let upper = builder.finish();
    assert!(upper.blocks.is_empty());
    assert_eq!(
        hex(&upper.root_hash),
        hex(&<sha2::Sha256 as sha2::Digest>::digest(block))
    );
}

#[test]
fn zero_slab_is_the_hash_block_of_zeros() {
    assert_eq!(
        verity::zero_slab(),
        &verity::hash_slab(&vec![0; 512 * 1024])
    );
    assert_ne!(
        verity::zero_slab(),
        &verity::hash_slab(&vec![0; 512 * 1024 - HASH_BLOCK])
    );
}

#[test]
fn a_short_last_block_counts_as_zero_filled() {
    assert_eq!(verity::hash_slab(b"x"), {
        let mut block = vec![0; HASH_BLOCK];
        block[0] = b'x';
        verity::hash_slab(&block)
    });
}

#[test]
fn verify_names_the_first_bad_block() {
    let data = sample(128 * 130);
    let (hash, root) = hash_device(&data);
    let check =
        |data: &Vec<u8>, hash: &Vec<u8>| verity::verify(data, hash, &root).unwrap_err().to_string();
    let mut bad = data.clone();
    bad[200 * HASH_BLOCK + 17] ^= 1;
    bad[9000 * HASH_BLOCK] ^= 1;
    assert_eq!(
        check(&bad, &hash),
        "dm-verity data: block 200 is corrupt (byte 819200)"
    );
    for (block, text) in [
        (
            1,
            "dm-verity level 2: hash block 0 is corrupt (byte 4096 of the hash device)",
        ),
        (
            3,
            "dm-verity level 1: hash block 1 is corrupt (byte 12288 of the hash device)",
        ),
        (
            5,
            "dm-verity level 0: hash block 1 is corrupt (byte 20480 of the hash device)",
        ),
    ] {
        let mut bad = hash.clone();
        bad[block * HASH_BLOCK] ^= 1;
        assert_eq!(check(&data, &bad), text);
    }
    let short = data[..data.len() - 1].to_vec();
    assert!(matches!(
        verity::verify(&short, &hash, &root),
        Err(Error::TooSmall { device: "data", .. })
    ));
    let short = hash[..hash.len() - 1].to_vec();
    assert!(matches!(
        verity::verify(&data, &short, &root),
        Err(Error::TooSmall { device: "hash", .. })
    ));
}

#[test]
fn superblocks_that_are_not_ours_are_named() {
    let good = Superblock::new(UUID, 7);
    assert_eq!(Superblock::parse(&good.to_block()).unwrap(), good);
    let refused = |change: &dyn Fn(&mut Superblock)| {
        let mut superblock = good.clone();
        change(&mut superblock);
        Superblock::parse(&superblock.to_block())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(&|s| s.signature[0] = 0),
        "dm-verity superblock: no signature"
    );
    assert!(refused(&|s| s.version = 2).contains("version 2"));
    assert!(refused(&|s| s.hash_type = 0).contains("hash type 0"));
    assert!(refused(&|s| s.algorithm[3] = b'5').contains("sha556"));
    assert!(refused(&|s| s.data_block_size = 512).contains("data block size 512"));
    assert!(refused(&|s| s.hash_block_size = 0).contains("hash block size 0"));
    assert!(refused(&|s| s.salt_size = 257).contains("salt size 257"));
    assert!(
        Superblock::parse(&[0; 511])
            .unwrap_err()
            .to_string()
            .contains("511 bytes")
    );
}

proptest! {
    #[test]
    fn verify_never_panics(mutations in prop::collection::vec((0..512usize, any::<u8>()), 0..6)) {
        let data = sample(130);
        let (mut hash, root) = hash_device(&data);
        for (offset, value) in mutations {
            hash[offset] = value;
        }
        let _ = verity::verify(&data, &hash, &root);
    }
}
