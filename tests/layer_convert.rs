//! Tests: layers from tar to the cache, with GNU tar and the `tar` crate as writers.

use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::process::Command;

use i2kit::cache::Cache;
use i2kit::layer::{
    ConvertOptions, ConvertedLayer, EntryKind, Error, LayerSpec, Origin, convert_into_cache,
};
use sha2::{Digest, Sha256};

use crate::support::layer::{contents, convert_as, digest, spec};

fn convert(folder: &Path, tar: &[u8]) -> Result<ConvertedLayer, Error> {
    convert_as(folder, tar, &spec(tar, tar))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn simple_tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn every_compression_gives_the_same_layer() {
    let tar = simple_tar(&[("a", b"one"), ("b/c", &[7; 10_000])]);
    let members = [gzip(&tar[..700]), gzip(&tar[700..]), vec![0; 600]].concat();
    let frames = [
        zstd::encode_all(&tar[..99], 1).unwrap(),
        zstd::encode_all(&tar[99..], 1).unwrap(),
    ];
    for blob in [tar.clone(), gzip(&tar), members, frames.concat()] {
        let folder = tempfile::tempdir().unwrap();
        let layer = convert_as(folder.path(), &blob, &spec(&blob, &tar)).unwrap();
        assert_eq!(contents(&layer, "a"), b"one");
        assert_eq!(contents(&layer, "b/c"), [7; 10_000]);
        assert_eq!(layer.origin, Origin::Converted);
        let again = convert_as(folder.path(), b"not read", &spec(&blob, &tar)).unwrap();
        assert!(again.origin == Origin::Cached && again.entries == layer.entries);
    }
}

#[test]
fn hashes_are_those_of_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let big: Vec<u8> = (0..3_000_000u32)
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let layer = convert(folder.path(), &simple_tar(&[("big", &big), ("x", b"x")])).unwrap();
    let data = std::fs::read(layer.data.path().unwrap()).unwrap();
    assert_eq!(data.len() % (512 * 1024), 0);
    let slabs = data.chunks(512 * 1024);
    for (known, slab) in layer.slab_digests.iter().zip(slabs.clone()) {
        assert_eq!(known.sha256[..], Sha256::digest(slab)[..]);
        assert_eq!(known.crc32c, crc32c::crc32c(slab));
    }
    assert_eq!(layer.slab_digests.len(), slabs.len());
    let blocks: Vec<u8> = slabs.flat_map(i2kit_format::verity::hash_slab).collect();
    assert!(std::fs::read(layer.hash_blocks.path().unwrap()).unwrap() == blocks);
    assert!(contents(&layer, "big") == big);
}

#[test]
fn damaged_blobs_are_told_apart_and_leave_nothing() {
    let tar = simple_tar(&[("a", b"one")]);
    let blob = gzip(&tar);
    let good = spec(&blob, &tar);
    let mut flipped = blob.clone();
    flipped[30] ^= 1;
    let wrong_diff_id = LayerSpec {
        diff_id: digest(b""),
        ..good.clone()
    };
    let cases: [(&[u8], &LayerSpec, &str); 5] = [
        (
            &blob[..blob.len() - 9],
            &good,
            "bytes where the manifest says",
        ),
        (
            &[&blob[..], b"x"].concat(),
            &good,
            "bytes where the manifest says",
        ),
        (&flipped, &good, "its bytes are"),
        (&blob, &wrong_diff_id, "its diffID is"),
        (
            b"no tar at all, but long enough".repeat(40).leak(),
            &spec(&b"no tar at all, but long enough".repeat(40), b""),
            "not a tar header",
        ),
    ];
    for (blob, spec, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let error = convert_as(folder.path(), blob, spec)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(expected) && error.contains(&spec.digest),
            "{error}"
        );
        for name in ["layers", "tmp"] {
            let left = std::fs::read_dir(folder.path().join("v1").join(name))
                .unwrap()
                .count();
            assert_eq!(left, 0, "{name} after {error}");
        }
    }
}

#[test]
fn a_blob_is_kept_only_when_it_has_the_digest_that_names_it() {
    let tar = simple_tar(&[("a", b"one")]);
    let blob = gzip(&tar);
    let good = spec(&blob, &tar);
    let wrong_diff_id = LayerSpec {
        diff_id: digest(b""),
        ..good.clone()
    };
    let mut flipped = blob.clone();
    flipped[30] ^= 1;
    let longer = [&blob[..], b"x"].concat();
    let options = ConvertOptions {
        keep_blobs: true,
        ..ConvertOptions::default()
    };
    for (bytes, spec, kept) in [
        (&flipped, &good, false),
        (&longer, &good, false),
        // Whatever is in it, it is what it is called.
        (&blob, &wrong_diff_id, true),
        (&blob, &good, true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let open = || -> std::io::Result<Box<dyn Read + Send>> {
            Ok(Box::new(Cursor::new(bytes.clone())))
        };
        let layer = convert_into_cache(&cache, spec, open, &options, &|_| {});
        let found = cache.blob(&good.digest);
        assert_eq!(found.is_some(), kept, "{layer:?}");
        if let Some(mut found) = found {
            let mut read = Vec::new();
            found.read_to_end(&mut read).unwrap();
            assert!(read == blob);
        }
        let left = std::fs::read_dir(folder.path().join("v1/tmp")).unwrap();
        assert_eq!(left.count(), 0);
    }
}

#[test]
fn a_bomb_is_stopped() {
    let tar = simple_tar(&[("zeros", &vec![0; 4 << 20])]);
    let blob = gzip(&tar);
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let options = ConvertOptions {
        max_layer_size: 1 << 20,
        ..ConvertOptions::default()
    };
    let open =
        || -> std::io::Result<Box<dyn Read + Send>> { Ok(Box::new(Cursor::new(blob.clone()))) };
    let error =
        convert_into_cache(&cache, &spec(&blob, &tar), open, &options, &|_| {}).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert!(error.hint().unwrap().contains("--max-layer-size"));
}

#[test]
fn a_damaged_entry_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let tar = simple_tar(&[("a", b"one")]);
    for file in ["entries", "hashes", "data"] {
        let layer = convert(folder.path(), &tar).unwrap();
        let path = layer.data.path().unwrap().with_file_name(file);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.pop();
        std::fs::write(&path, bytes).unwrap();
        let made = convert(folder.path(), &tar).unwrap().origin;
        assert_eq!(made, Origin::Converted, "{file}");
        let kept = convert(folder.path(), &tar).unwrap().origin;
        assert_eq!(kept, Origin::Cached, "{file}");
    }
}

/// Builds with GNU tar, so that its formats are read as it writes them.
fn gnu_tar(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("tar")
        .current_dir(folder)
        .args(["-c", "-f-", "--sort=name"])
        .args(arguments)
        .arg(".")
        .output();
    let output = output.expect("GNU tar runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[test]
fn gnu_tars_formats_and_sparse_files() {
    let source = tempfile::tempdir().unwrap();
    let path = source.path();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    std::fs::write(path.join("short"), "short").unwrap();
    let sparse = std::fs::File::create(path.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &[5; 70_000], 300_000).unwrap();
    for index in 0..30u64 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &[6; 5000], 2_000_000 + index * 100_000)
            .unwrap();
    }
    sparse.set_len(9_000_000).unwrap();
    let expected = std::fs::read(path.join("sparse")).unwrap();
    let formats: [&[&str]; 8] = [
        &["--format=v7"],
        &["--format=ustar"],
        &["--format=gnu"],
        &["--format=pax"],
        &["--format=gnu", "-S"],
        &["--format=pax", "-S", "--sparse-version=0.0"],
        &["--format=pax", "-S", "--sparse-version=0.1"],
        &["--format=pax", "-S", "--sparse-version=1.0"],
    ];
    for (number, arguments) in formats.into_iter().enumerate() {
        let has_long = number >= 2;
        if has_long {
            std::fs::create_dir_all(path.join("d".repeat(200))).unwrap();
            std::fs::write(path.join(&long), "long").unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let layer = convert(folder.path(), &gnu_tar(path, arguments))
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        assert_eq!(contents(&layer, "short"), b"short", "{arguments:?}");
        assert!(contents(&layer, "sparse") == expected, "{arguments:?}");
        assert!(
            !has_long || contents(&layer, &long) == b"long",
            "{arguments:?}"
        );
        let data = layer.data.len();
        assert!(data < 5_000_000, "{arguments:?}: holes take room: {data}");
    }
}

#[test]
fn an_enormous_sparse_file_costs_nothing() {
    let source = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(source.path().join("huge")).unwrap();
    file.set_len(8 << 40).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", 5 << 40).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let layer = convert(
        folder.path(),
        &gnu_tar(source.path(), &["--format=pax", "-S"]),
    )
    .unwrap();
    let EntryKind::Regular(file) = &layer.entries.last().unwrap().kind else {
        panic!()
    };
    assert_eq!((file.size, file.extents.len()), (8 << 40, 1));
    assert_eq!(file.extents[0].offset, 5 << 40);
}

fn raw(path: &[u8], change: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path);
    header.set_mode(0o644);
    header.set_size(0);
    change(&mut header);
    header.set_cksum();
    [&header.as_bytes()[..], &[0; 1024]].concat()
}

#[test]
fn hostile_entries_are_refused_by_name() {
    let kind = |kind: tar::EntryType, link: &'static [u8]| {
        move |header: &mut tar::Header| {
            header.set_entry_type(kind);
            header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
            header.set_device_major(0).unwrap();
            header.set_device_minor(0).unwrap();
        }
    };
    let nothing = |_: &mut tar::Header| {};
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (raw(b"../evil", nothing), ".. component"),
        (raw(b"a/../../evil", nothing), ".. component"),
        (
            raw(b"evil", kind(tar::EntryType::Link, b"../../etc/passwd")),
            "link target",
        ),
        (
            raw(b"evil", kind(tar::EntryType::Link, b"")),
            "without a target",
        ),
        (
            raw(b"a/.wh.evil", kind(tar::EntryType::Char, b"")),
            "whiteout",
        ),
        (raw(b"evil", kind(tar::EntryType::Char, b"")), "whiteout"),
        (raw(b"evil", |header| header.set_size(5000)), "ends within"),
        (
            raw(b"evil", |header| {
                header.as_mut_bytes()[124..136].copy_from_slice(&[0xff; 12])
            }),
            "negative",
        ),
        (
            raw(b"evil", |header| {
                header.set_entry_type(tar::EntryType::new(b'D'))
            }),
            "type 'D'",
        ),
        (
            raw(b"./", nothing).into_iter().take(700).collect(),
            "within a tar header",
        ),
    ];
    for (tar, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let error = convert(folder.path(), &tar).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} lacks {expected:?}");
        assert_eq!(
            std::fs::read_dir(folder.path().join("v1/layers"))
                .unwrap()
                .count(),
            0
        );
    }
}

#[test]
fn a_file_that_grows_shifts_its_own_run_only() {
    // 128 MiB in files of 64 KiB; one in the middle grows from 1 to 9 KB.
    let build = |grown: usize| {
        let mut files = Vec::new();
        for index in 0..2048u32 {
            let seed = Sha256::digest(index.to_le_bytes());
            files.push((format!("f{index:05}"), seed.repeat(2048)));
            if index == 1024 {
                files.push(("grows".to_owned(), vec![1; grown]));
            }
        }
        let files: Vec<_> = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let layer = convert(folder.path(), &simple_tar(&files)).unwrap();
        layer.slab_digests
    };
    let (before, after) = (build(1000), build(9000));
    let kept = after
        .iter()
        .filter(|digest| before.contains(digest))
        .count();
    let changed = after.len() - kept;
    let used = 2048 * 64 / 512;
    assert!(changed <= 64, "{changed} of {} slabs changed", after.len());
    assert!(
        before.len() * 100 <= used * 104,
        "{} slabs for {used} slabs of data",
        before.len()
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_the_converter_panic(
        tail in proptest::collection::vec(proptest::num::u8::ANY, 0..2000),
        flips in proptest::collection::vec((0usize..4096, 0u8..255), 0..8),
    ) {
        let mut tar = simple_tar(&[("a", b"one"), (&"long/".repeat(60), b"x"), ("c", &[9; 700])]);
        let len = tar.len();
        for (at, value) in flips {
            tar[at % len] = value;
        }
        tar.extend(tail);
        let folder = tempfile::tempdir().unwrap();
        let result = convert(folder.path(), &tar);
        if let Err(error) = result {
            proptest::prop_assert!(!error.to_string().is_empty());
        }
    }
}
