//! Tests: converted layers packed for transport are taken whole, or not at all.

use std::path::Path;

use i2kit::cache::Cache;
use i2kit::layer::{
    Compression, ConvertedLayer, LayerSpec, Origin, UnpackError, find_in_cache, unpack_into_cache,
};

use crate::support::layer;
use crate::support::tarball::{Dialect, Item, archive};

fn spec(tar: &[u8]) -> LayerSpec {
    LayerSpec {
        compression: Some(Compression::DEFAULT),
        ..layer::spec(tar, tar)
    }
}

/// A layer of several slabs, with holes and padding in it.
fn example() -> Vec<u8> {
    let noise: Vec<u8> = (0..900_000u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let noise = String::from_utf8_lossy(&noise).into_owned();
    let items = [
        Item::dir("d"),
        Item::file("d/noise", noise.as_str()),
        Item::file("d/zeros", "\0".repeat(1 << 20)),
        Item::symlink("s", "d/noise"),
        Item::file("x", "y").xattr("user.a", "b"),
    ];
    archive(&items, Dialect::Pax)
}

fn convert(folder: &Path, tar: &[u8]) -> ConvertedLayer {
    layer::convert_as(folder, tar, &spec(tar)).unwrap()
}

fn packed(layer: &ConvertedLayer) -> Vec<u8> {
    let mut out = Vec::new();
    layer.pack(&mut out).unwrap();
    out
}

fn files(layer: &ConvertedLayer) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let folder = layer.entry.folder();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn what_was_packed_is_unpacked_to_the_same_files() {
    let tar = example();
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let layer = convert(here.path(), &tar);
    assert!(layer.slab_digests.len() > 3);
    let cache = Cache::open(there.path()).unwrap();
    let digest = layer.digest().unwrap();
    assert!(find_in_cache(&cache, &spec(&tar)).unwrap().is_none());
    let copy = unpack_into_cache(&cache, &spec(&tar), &packed(&layer)[..], &digest).unwrap();
    assert_eq!(files(&copy), files(&layer));
    assert_eq!(copy.entries, layer.entries);
    assert_eq!(copy.digest().unwrap(), digest);
    // The same layer packs to the same bytes, and holes stay holes.
    assert_eq!(packed(&copy), packed(&layer));
    assert_eq!(copy.origin, Origin::Shared);
    let again = find_in_cache(&cache, &spec(&tar)).unwrap().unwrap();
    assert_eq!(again.origin, Origin::Cached);
}

#[test]
fn what_is_not_the_trusted_layer_leaves_nothing() {
    let tar = example();
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let layer = convert(here.path(), &tar);
    let (digest, good) = (layer.digest().unwrap(), packed(&layer));
    let cache = Cache::open(there.path()).unwrap();
    let refused = |bytes: &[u8], trusted: &[u8; 32]| {
        let error = unpack_into_cache(&cache, &spec(&tar), bytes, trusted).unwrap_err();
        assert!(find_in_cache(&cache, &spec(&tar)).unwrap().is_none());
        assert_eq!(cache.unfinished().unwrap(), 0);
        error
    };
    let error = refused(&good, &[7; 32]);
    assert!(matches!(error, UnpackError::Untrusted { .. }), "{error}");
    let other = packed(&convert(
        here.path(),
        &archive(&[Item::dir("d")], Dialect::Gnu),
    ));
    let error = refused(&other, &digest);
    assert!(matches!(error, UnpackError::Untrusted { .. }), "{error}");
    for cut in [0, 1, 20, good.len() / 2, good.len() - 5] {
        refused(&good[..cut], &digest);
    }
    refused(
        &zstd::encode_all(&b"i2kit converted 2\n"[..], 1).unwrap(),
        &digest,
    );
    // A length that lies is bounded by the bytes that come.
    let lie = [
        &b"i2kit converted 1\n"[..],
        &u64::MAX.to_le_bytes(),
        &[0; 100],
    ]
    .concat();
    refused(&zstd::encode_all(&lie[..], 1).unwrap(), &digest);
}

/// Each byte of the stream counts: whatever is altered in what it holds is found.
#[test]
fn a_flipped_bit_anywhere_is_found() {
    let tar = example();
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let layer = convert(here.path(), &tar);
    let digest = layer.digest().unwrap();
    let plain = zstd::decode_all(&packed(&layer)[..]).unwrap();
    let cache = Cache::open(there.path()).unwrap();
    for step in 0..40 {
        let mut bad = plain.clone();
        let at = step * (plain.len() - 1) / 39;
        bad[at] ^= 1 << (step % 8);
        let bad = zstd::encode_all(&bad[..], 1).unwrap();
        assert!(
            unpack_into_cache(&cache, &spec(&tar), &bad[..], &digest).is_err(),
            "byte {at} of {}",
            plain.len()
        );
    }
}
