//! Trees that chance makes come back as they were.

use std::collections::{BTreeMap, BTreeSet};

use i2kit_format::fat::{self, Entry, Options, Volume};
use proptest::prelude::*;

use crate::support::pattern;
use crate::tools::{copied_out, fsck, mtype};
use crate::volume::{directories, options, rich, volume};

/// A file's bytes.
pub fn content(bytes: &[u8], entry: &Entry) -> Vec<u8> {
    let runs = entry.extents.iter().map(|extent| {
        let start = extent.offset as usize;
        &bytes[start..start + extent.len as usize]
    });
    runs.flatten().copied().collect()
}

/// Paths, bytes, directories: all as planned, each file in one piece.
pub fn check(files: &BTreeMap<String, Vec<u8>>, options: &Options, bytes: &[u8]) -> Volume {
    let read = fat::read(bytes).unwrap();
    assert_eq!(read.label, options.label.trim_end());
    assert_eq!(read.volume_id, options.volume_id);
    assert_eq!(read.size, bytes.len() as u64);
    let mut found = BTreeMap::new();
    let mut folders = BTreeSet::new();
    for entry in &read.entries {
        if let Some((parent, _)) = entry.path.rsplit_once('/') {
            assert!(folders.contains(parent), "{} before its folder", entry.path);
        }
        // 1980-01-01.
        assert_eq!(entry.mtime, 315_532_800);
        if entry.directory {
            folders.insert(entry.path.clone());
        } else {
            assert!(entry.extents.len() <= 1, "{}", entry.path);
            found.insert(entry.path.clone(), content(bytes, entry));
        }
    }
    assert_eq!(folders, directories(files));
    assert!(
        found.keys().eq(files.keys()),
        "{:?} {:?}",
        found.keys(),
        files.keys()
    );
    assert!(found == *files);
    read
}

#[test]
fn a_rich_volume_is_read_as_written() {
    let files = rich();
    check(&files, &options(), &volume(&files, &options()));
}

/// Names that meet: what one is called in full is what another would be called in short.
fn name() -> impl Strategy<Value = String> {
    let met = prop::sample::select(vec![
        "AAAAAAAAA",
        "AAAAAA~1",
        "aaaaaa~1",
        "AAAAAA~2",
        "aaaaaaaaaa",
        "AAAAAAAAA.TXT",
        "AAAAAA~1.TXT",
        "aaaaaa~1.txt",
        "a b",
        "AB~1",
        "ab~1",
        "A.B",
        "a.b",
        "A.b.B",
        ".a",
        "A~1",
        "+a",
        "_A~1",
        "中",
        "_~1",
    ]);
    prop_oneof![
        4 => met.prop_map(str::to_owned),
        3 => "[A-Ca-c]{1,3}(\\.[a-c]{1,4})?",
        2 => "[A-Za-z0-9 .~_+,;=\u{e0}-\u{f6}\u{4e00}-\u{4e09}-]{1,30}",
        1 => "[a-z]{240,255}",
    ]
    .prop_filter("valid", |name| {
        !name.starts_with(' ') && !name.ends_with(['.', ' '])
    })
}

/// Files whose paths FAT can tell apart, none of them too long.
pub fn files(max: usize) -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let size = prop_oneof![3 => 0..2000usize, 1 => 0..70_000usize];
    let parents = prop::collection::vec(
        prop::sample::select(vec!["D", "d", "Dir long", "AAAAAA~1"]),
        0..3,
    );
    prop::collection::vec((parents, name(), size), 0..max).prop_map(|new| {
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        // As FAT compares them; a folder is there under one spelling.
        let mut folded: BTreeMap<String, bool> = BTreeMap::new();
        let mut spelled: BTreeSet<String> = BTreeSet::new();
        for (parents, name, size) in new {
            let mut path = String::new();
            let mut fits = true;
            for parent in parents {
                path = format!("{path}{parent}");
                fits &= folded.get(&path.to_uppercase()) != Some(&false);
                fits &= spelled.contains(&path) || !folded.contains_key(&path.to_uppercase());
                path.push('/');
            }
            let whole = format!("{path}{name}");
            fits &=
                !folded.contains_key(&whole.to_uppercase()) && whole.encode_utf16().count() < 260;
            if !fits {
                continue;
            }
            for (end, _) in path.match_indices('/') {
                folded.insert(path[..end].to_uppercase(), true);
                spelled.insert(path[..end].to_owned());
            }
            folded.insert(whole.to_uppercase(), false);
            files.insert(whole, pattern(files.len(), size));
        }
        files
    })
}

fn some_options() -> impl Strategy<Value = Options> {
    (any::<u32>(), "[A-Z0-9_-][A-Z0-9 _-]{0,10}", 0..6u64 << 20).prop_map(
        |(volume_id, label, min_size)| Options {
            volume_id,
            label,
            min_size,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(files in files(40), options in some_options()) {
        let bytes = volume(&files, &options);
        prop_assert!(bytes.len() as u64 >= options.min_size);
        check(&files, &options, &bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn fsck_and_mtools_accept_random_trees(files in files(10), options in some_options()) {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("volume");
        std::fs::write(&image, volume(&files, &options)).unwrap();
        let (entries, _, _) = fsck(&image);
        prop_assert_eq!(entries, files.len() + directories(&files).len() + 1);
        prop_assert!(copied_out(&image) == files);
        // By its name each is found, not another that is called so in short.
        for (path, data) in &files {
            prop_assert!(&mtype(&image, path) == data, "{}", path);
        }
    }
}
