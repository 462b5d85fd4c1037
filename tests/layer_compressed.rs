//! Tests: layers whose files are compressed.

use std::collections::HashSet;

use i2kit::layer::{Compression, ConvertedLayer, EntryKind};
use sha2::{Digest, Sha256};

use crate::support::layer::{contents, converted};

const SLAB: u64 = 512 * 1024;

fn compressions() -> Vec<Compression> {
    let texts = [
        "zstd,cluster=4K",
        "zstd:1,cluster=128K",
        "zstd:9,cluster=1M",
        "lz4",
        "lz4:1,cluster=1M",
        "zstd:1,cluster=64K,dedupe",
        "zstd:1,cluster=4M,dedupe",
    ];
    texts.map(|text| text.parse().unwrap()).to_vec()
}

/// Bytes that shrink to two thirds: more than a cluster of 4 MiB may take.
fn dense(seed: u32, len: usize) -> Vec<u8> {
    let pairs = noise(seed, len).into_iter().zip(0u32..);
    pairs
        .map(|(byte, at)| if at % 3 == 0 { 0 } else { byte })
        .collect()
}

/// Text that compresses about as programs do.
fn text(seed: u32, len: usize) -> Vec<u8> {
    let words = (0u32..).flat_map(|number| {
        let digest = Sha256::digest([seed.to_le_bytes(), number.to_le_bytes()].concat());
        let hex = hex::encode(&digest[..4]);
        format!("call {hex}; load {hex}; store {};\n", number % 997).into_bytes()
    });
    words.take(len).collect()
}

fn noise(seed: u32, len: usize) -> Vec<u8> {
    let blocks = (0u32..)
        .flat_map(|number| Sha256::digest([seed.to_le_bytes(), number.to_le_bytes()].concat()));
    blocks.take(len).collect()
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, path, bytes.as_slice())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

fn of_all_sizes() -> Vec<(String, Vec<u8>)> {
    let sizes = [
        0,
        1,
        4095,
        4096,
        4097,
        131_071,
        131_072,
        131_073,
        300_000,
        1 << 20,
        2_500_000,
    ];
    let of = |len: usize| {
        [
            (format!("text-{len}"), text(1, len)),
            (format!("noise-{len}"), noise(2, len)),
            (format!("zeros-{len}"), vec![0; len]),
        ]
    };
    let mut files: Vec<_> = sizes.into_iter().flat_map(of).collect();
    files.push(("dense".to_owned(), dense(3, 9_000_000)));
    files
}

#[test]
fn every_file_has_its_bytes() {
    let files = of_all_sizes();
    let tar = archive(&files);
    for compression in compressions() {
        let folder = tempfile::tempdir().unwrap();
        let layer = converted(folder.path(), &tar, Some(compression));
        for (path, bytes) in &files {
            assert!(
                contents(&layer, path) == *bytes,
                "{path} with {compression}"
            );
        }
        assert_eq!(layer.data.len() % SLAB, 0);
        assert!(
            layer
                .packed
                .iter()
                .all(|cluster| cluster.len.is_multiple_of(4096))
        );
        // What the cache gives is what was made.
        let again = converted(folder.path(), &tar, Some(compression));
        assert_eq!((again.entries, again.packed), (layer.entries, layer.packed));
    }
}

#[test]
fn each_compression_has_its_own_entry() {
    let folder = tempfile::tempdir().unwrap();
    let tar = archive(&[("a".to_owned(), text(1, 100_000))]);
    let with = |compression| {
        converted(folder.path(), &tar, compression)
            .entry
            .folder()
            .to_owned()
    };
    let mut folders: Vec<_> = compressions()
        .into_iter()
        .map(|one| with(Some(one)))
        .collect();
    folders.push(with(None));
    folders.sort();
    folders.dedup();
    assert_eq!(folders.len(), 8);
}

#[test]
fn what_does_not_shrink_takes_no_more_than_plain() {
    let folder = tempfile::tempdir().unwrap();
    let tar = archive(&[("a".to_owned(), noise(1, 3 << 20))]);
    let layer = converted(folder.path(), &tar, Some(Compression::DEFAULT));
    let EntryKind::Compressed(file) = &layer.entries[0].kind else {
        panic!()
    };
    assert!(
        file.clusters
            .iter()
            .all(i2kit_format::erofs::Cluster::is_plain)
    );
    assert_eq!(layer.data.len(), 3 << 20);
}

/// The kernel takes a compressed cluster of 1 MiB at most.
#[test]
fn a_cluster_that_would_take_too_many_blocks_is_halved() {
    let folder = tempfile::tempdir().unwrap();
    let files = [("a".to_owned(), dense(1, 4 << 20))];
    let compression = "zstd:3,cluster=4M".parse().unwrap();
    let layer = converted(folder.path(), &archive(&files), Some(compression));
    let EntryKind::Compressed(file) = &layer.entries[0].kind else {
        panic!()
    };
    let lens: Vec<u32> = file.clusters.iter().map(|cluster| cluster.len).collect();
    assert_eq!(lens, [1 << 20; 4]);
    assert!(file.clusters.iter().all(|cluster| cluster.blocks <= 256));
}

#[test]
fn equal_clusters_lie_once_where_that_is_asked_for() {
    let bytes = noise(1, 256 << 10);
    let tar = archive(&[
        ("a".to_owned(), bytes.repeat(4)),
        ("b".to_owned(), [noise(2, 256 << 10), bytes].concat()),
    ]);
    let size = |compression: &str| {
        let folder = tempfile::tempdir().unwrap();
        let layer = converted(folder.path(), &tar, Some(compression.parse().unwrap()));
        layer.data.len()
    };
    assert_eq!(size("zstd,cluster=256K"), 6 * (256 << 10));
    assert_eq!(size("zstd,cluster=256K,dedupe"), 2 * (256 << 10));
}

#[test]
fn a_sparse_file_keeps_its_holes() {
    let source = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(source.path().join("huge")).unwrap();
    file.set_len(1 << 40).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", 5 << 30).unwrap();
    let output = std::process::Command::new("tar")
        .args(["--format=pax", "-S", "-c", "-C"])
        .arg(source.path())
        .arg("huge")
        .output();
    let folder = tempfile::tempdir().unwrap();
    let tar = output.unwrap().stdout;
    let layer = converted(folder.path(), &tar, Some(Compression::DEFAULT));
    let EntryKind::Regular(file) = &layer.entries[0].kind else {
        panic!("{:?}", layer.entries[0].kind)
    };
    assert_eq!((file.size, file.extents.len()), (1 << 40, 1));
    assert_eq!(
        (file.extents[0].offset, file.extents[0].start_block),
        (5 << 30, 0)
    );
}

/// Files of the top layer that grow.
const GROWING: usize = 8;

/// The top layer of an image of 1 GB: 400 MB, in files of 2 KB to 1 MB, and between them some that
/// have `grown` bytes.
fn top_layer(grown: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut append = |path: String, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, bytes).unwrap();
    };
    let pool = [text(1, 4 << 20), noise(2, 1 << 20)].concat();
    let (mut total, mut number, mut growing) = (0, 0u64, 0);
    while total < 400_000_000 {
        // Sizes spread evenly over their logarithms, taken from anywhere in the pool.
        let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let size = usize::try_from((2048 << (random % 10)) + random / 10 % 2048).unwrap();
        let from = usize::try_from(random / 7919).unwrap() % (pool.len() - size);
        let bytes = [&number.to_le_bytes(), &pool[from..from + size]].concat();
        append(format!("f{number:06}"), &bytes);
        total += size;
        number += 1;
        if growing < GROWING && total * GROWING > (2 * growing + 1) * 200_000_000 {
            append(format!("grows-{growing}"), &text(3, grown));
            growing += 1;
        }
    }
    builder.into_inner().unwrap()
}

fn slabs(layer: &ConvertedLayer) -> HashSet<[u8; 32]> {
    layer.slab_digests.iter().map(|one| one.sha256).collect()
}

/// Bytes of blocks that are zeros.
fn padding(layer: &ConvertedLayer) -> u64 {
    let data = std::fs::read(layer.data.path().unwrap()).unwrap();
    let is_zero = |block: &&[u8]| block.iter().all(|byte| *byte == 0);
    data.chunks(4096).filter(is_zero).count() as u64 * 4096
}

/// All files that grow do so at once, in runs of their own: what one changes is an eighth of it.
#[test]
fn in_an_image_of_1_gb_a_file_that_grows_changes_few_slabs() {
    let (before, after) = (top_layer(1000), top_layer(9000));
    let lz4 = "lz4:3".parse().unwrap();
    for compression in [None, Some(Compression::DEFAULT), Some(lz4)] {
        let folder = tempfile::tempdir().unwrap();
        let old = converted(folder.path(), &before, compression);
        let new = converted(folder.path(), &after, compression);
        let changed = slabs(&new).difference(&slabs(&old)).count();
        // 600 MB below, stored as densely.
        let all = new.slab_digests.len() * 1000 / 400;
        let name = compression.map_or("none".to_owned(), |one| one.to_string());
        let (padding, len) = (padding(&new), new.data.len());
        println!("{name}: {changed} of {all} slabs for {GROWING}, padding {padding} of {len}");
        assert!(changed >= GROWING, "{name}: {changed}");
        assert!(
            changed * 1000 <= all * 15 * GROWING,
            "{name}: {changed} of {all}"
        );
        assert!(padding * 100 <= len * 3, "{name}: {padding} of {len}");
    }
}
