//! Archives against GNU cpio, chance and damage.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod support;

use std::fmt::Write as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use i2kit_format::ReadAt;
use i2kit_format::cpio::{self, Entry, Error, Kind, ListedEntry};
use proptest::prelude::*;
use support::meter::peak_of;
use support::{check_layout, digest, each_flipped_bit, finish, pattern, text};

fn entry(path: &str, mode: u16, kind: Kind) -> Entry {
    Entry {
        path: path.to_owned(),
        mode,
        kind,
    }
}

fn dir(path: &str) -> Entry {
    entry(path, 0o755, Kind::Directory)
}

/// Files are given by their bytes: input `i` is the file that is there as the `i`th.
fn file(path: &str, mode: u16, inputs: &mut Vec<Vec<u8>>, bytes: Vec<u8>) -> Entry {
    let kind = Kind::Regular {
        input: inputs.len(),
        size: bytes.len() as u64,
    };
    inputs.push(bytes);
    entry(path, mode, kind)
}

fn archive(entries: &[Entry], inputs: &[Vec<u8>]) -> Vec<u8> {
    let layout = cpio::plan(entries).unwrap();
    check_layout(&layout);
    assert!(layout.size.is_multiple_of(4));
    let inputs: Vec<&dyn ReadAt> = inputs.iter().map(|input| input as &dyn ReadAt).collect();
    layout.fill(&inputs).unwrap()
}

/// One of everything, with sizes that need each padding there is.
fn rich() -> (Vec<Entry>, Vec<Vec<u8>>) {
    let mut inputs = Vec::new();
    let mut entries = vec![
        dir("bin"),
        dir("dev"),
        entry(
            "dev/console",
            0o600,
            Kind::CharDevice { major: 5, minor: 1 },
        ),
        entry(
            "dev/big",
            0o640,
            Kind::CharDevice {
                major: 4095,
                minor: 1_048_575,
            },
        ),
        entry("dev/sda", 0o660, Kind::BlockDevice { major: 8, minor: 0 }),
        entry("dev/pipe", 0o622, Kind::Fifo),
        entry("tmp", 0o1777, Kind::Directory),
        entry(
            "bin/sh",
            0o777,
            Kind::Symlink("../usr/bin/größe".to_owned()),
        ),
        entry("bin/long", 0o777, Kind::Symlink("t".repeat(4095))),
        file("bin/su", 0o4755, &mut inputs, b"su".to_vec()),
        file("bin/mail", 0o2711, &mut inputs, b"mail".to_vec()),
        dir("lib"),
        file("init", 0o755, &mut inputs, pattern(9, 100_003)),
        file("größe 中", 0o644, &mut inputs, b"name".to_vec()),
    ];
    for len in 0..9 {
        entries.push(file(
            &format!("lib/{}", "n".repeat(len + 1)),
            0o444,
            &mut inputs,
            pattern(len, len),
        ));
    }
    (entries, inputs)
}

/// Runs `cpio` on an archive in a folder.
fn gnu_cpio(folder: &Path, archive: &[u8], args: &[&str]) -> String {
    let file = folder.join("archive");
    std::fs::write(&file, archive).unwrap();
    let target = folder.join("out");
    std::fs::create_dir_all(&target).unwrap();
    let mut command = Command::new("cpio");
    command.args(args).arg("-F").arg(&file).current_dir(&target);
    text(&finish(command))
}

/// Type, permissions, size or device numbers, and target as `cpio -itv` lists them.
fn listed_line(entry: &Entry) -> String {
    let (letter, size) = match &entry.kind {
        Kind::Directory => ('d', "0".to_owned()),
        Kind::Regular { size, .. } => ('-', size.to_string()),
        Kind::Symlink(target) => ('l', target.len().to_string()),
        Kind::CharDevice { major, minor } => ('c', format!("{major}, {minor}")),
        Kind::BlockDevice { major, minor } => ('b', format!("{major}, {minor}")),
        Kind::Fifo => ('p', "0".to_owned()),
    };
    let target = match &entry.kind {
        Kind::Symlink(target) => format!(" -> {target}"),
        _ => String::new(),
    };
    let links = if entry.kind == Kind::Directory { 2 } else { 1 };
    let mode = permissions(entry.mode);
    let path = &entry.path;
    format!("{letter}{mode} {links} 0 0 {size} Jan 1 1970 {path}{target}")
}

fn permissions(mode: u16) -> String {
    let set = |bit, yes, no| if mode & bit == 0 { no } else { yes };
    let execute = |special, bit, both, only| match (mode & special, mode & bit) {
        (0, 0) => '-',
        (0, _) => 'x',
        (_, 0) => only,
        _ => both,
    };
    [
        set(0o400, 'r', '-'),
        set(0o200, 'w', '-'),
        execute(0o4000, 0o100, 's', 'S'),
        set(0o040, 'r', '-'),
        set(0o020, 'w', '-'),
        execute(0o2000, 0o010, 's', 'S'),
        set(0o004, 'r', '-'),
        set(0o002, 'w', '-'),
        execute(0o1000, 0o001, 't', 'T'),
    ]
    .iter()
    .collect()
}

fn compare_listing(folder: &Path, entries: &[Entry], bytes: &[u8]) {
    let list = gnu_cpio(folder, bytes, &["-itv", "--numeric-uid-gid", "--quiet"]);
    let lines: Vec<String> = list
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let wanted: Vec<String> = entries.iter().map(listed_line).collect();
    assert_eq!(lines, wanted);
}

fn compare_extracted(folder: &Path, entries: &[Entry], inputs: &[Vec<u8>], bytes: &[u8]) {
    gnu_cpio(
        folder,
        bytes,
        &["-im", "--quiet", "--no-absolute-filenames"],
    );
    for entry in entries {
        let path = folder.join("out").join(&entry.path);
        let found = std::fs::symlink_metadata(&path).unwrap();
        let kind = found.file_type();
        match &entry.kind {
            Kind::Symlink(target) => {
                assert_eq!(
                    std::fs::read_link(&path).unwrap().to_str(),
                    Some(target.as_str())
                );
                continue;
            }
            Kind::Directory => assert!(kind.is_dir()),
            Kind::Regular { input, .. } => {
                assert_eq!(found.mtime(), 0);
                assert!(
                    std::fs::read(&path).unwrap() == inputs[*input],
                    "{}",
                    entry.path
                );
            }
            Kind::Fifo => assert!(kind.is_fifo()),
            Kind::CharDevice { .. } => assert!(kind.is_char_device()),
            Kind::BlockDevice { .. } => assert!(kind.is_block_device()),
        }
        let mode = found.permissions().mode() & 0o7777;
        assert_eq!(mode, u32::from(entry.mode), "{}", entry.path);
    }
    let count = walk(&folder.join("out"));
    assert_eq!(count, entries.len());
}

fn walk(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let below = |entry: std::fs::DirEntry| {
        let deeper = entry.file_type().unwrap().is_dir();
        1 + if deeper { walk(&entry.path()) } else { 0 }
    };
    entries.map(below).sum()
}

#[test]
fn cpio_lists_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let (mut entries, inputs) = rich();
    // It shows some characters of names as escapes.
    entries.retain(|entry| entry.path.is_ascii() && !entry.path.contains("sh"));
    compare_listing(folder.path(), &entries, &archive(&entries, &inputs));
}

/// Without devices, which only root may make: the listing has them.
#[test]
fn cpio_extracts_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut entries, inputs) = rich();
    entries.retain(|entry| {
        !matches!(
            entry.kind,
            Kind::CharDevice { .. } | Kind::BlockDevice { .. }
        )
    });
    let bytes = archive(&entries, &inputs);
    compare_extracted(folder.path(), &entries, &inputs, &bytes);
}

#[test]
fn cpio_s_archives_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir_all(source.join("d/e")).unwrap();
    std::fs::write(source.join("d/file"), pattern(1, 5001)).unwrap();
    std::fs::hard_link(source.join("d/file"), source.join("hard")).unwrap();
    std::os::unix::fs::symlink("d/file", source.join("soft")).unwrap();
    for (format, magic) in [("newc", "070701"), ("crc", "070702")] {
        let shell =
            format!("find . -mindepth 1 -printf '%P\\n' | sort | cpio -o --quiet -H {format}");
        let mut command = Command::new("sh");
        command.args(["-ec", &shell]).current_dir(&source);
        let output = finish(command);
        assert!(output.status.success());
        assert!(output.stdout.starts_with(magic.as_bytes()));
        let read = cpio::read(&output.stdout).unwrap();
        let paths: Vec<&str> = read.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths.len(), 5, "{paths:?}");
        let data = |path: &str| {
            let entry = read.iter().find(|entry| entry.path == path).unwrap();
            output.stdout[entry.data.clone()].to_vec()
        };
        assert_eq!(data("soft"), b"d/file");
        // Of hard links the last one has the data.
        assert_eq!((data("d/file").len(), data("hard")), (0, pattern(1, 5001)));
        assert!(read.iter().filter(|entry| entry.is_directory()).count() == 2);
    }
}

/// What reading gives, as far as an entry tells.
fn check(entries: &[Entry], inputs: &[Vec<u8>], bytes: &[u8]) {
    let read = cpio::read(bytes).unwrap();
    assert_eq!(read.len(), entries.len());
    for ((entry, listed), ino) in entries.iter().zip(&read).zip(1..) {
        let (kind, data) = match &entry.kind {
            Kind::Directory => (0o040_000, &b""[..]),
            Kind::Regular { input, .. } => (0o100_000, inputs[*input].as_slice()),
            Kind::Symlink(target) => (0o120_000, target.as_bytes()),
            Kind::CharDevice { .. } => (0o020_000, &b""[..]),
            Kind::BlockDevice { .. } => (0o060_000, &b""[..]),
            Kind::Fifo => (0o010_000, &b""[..]),
        };
        let wanted = ListedEntry {
            path: entry.path.clone(),
            mode: kind | u32::from(entry.mode),
            uid: 0,
            gid: 0,
            mtime: 0,
            ino,
            data: listed.data.clone(),
        };
        assert_eq!(listed, &wanted);
        assert!(bytes[listed.data.clone()] == *data, "{}", entry.path);
        assert_eq!(listed.is_directory(), entry.kind == Kind::Directory);
    }
}

#[test]
fn one_of_everything_is_read() {
    let (entries, inputs) = rich();
    check(&entries, &inputs, &archive(&entries, &inputs));
    check(&[], &[], &archive(&[], &[]));
}

#[derive(Clone, Debug)]
enum Chosen {
    File(usize),
    Other(Kind),
}

fn chosen() -> impl Strategy<Value = Chosen> {
    let numbers = (0..4096u32, 0..1u32 << 20);
    prop_oneof![
        4 => Just(Chosen::Other(Kind::Directory)),
        4 => (0..3000usize).prop_map(Chosen::File),
        2 => "[!-~]{1,80}".prop_map(|target| Chosen::Other(Kind::Symlink(target))),
        1 => Just(Chosen::Other(Kind::Fifo)),
        1 => numbers.clone().prop_map(|(major, minor)| Chosen::Other(Kind::CharDevice { major, minor })),
        1 => numbers.prop_map(|(major, minor)| Chosen::Other(Kind::BlockDevice { major, minor })),
    ]
}

/// Entries whose folders come before them. Without `devices` none of those.
fn random(max: usize, devices: bool) -> impl Strategy<Value = (Vec<Entry>, Vec<Vec<u8>>)> {
    let name =
        prop_oneof![3 => "[a-z]{1,6}", 1 => "[!-~&&[^/'\"\\\\]]{1,40}", 1 => "[a-z]{200,255}"];
    let one = (any::<prop::sample::Index>(), name, 0..=0o7777u16, chosen());
    prop::collection::vec(one, 0..max).prop_map(move |steps| {
        let mut folders = vec![String::new()];
        let mut inputs = Vec::new();
        let mut entries: Vec<Entry> = Vec::new();
        for (parent, name, mode, chosen) in steps {
            let path = format!("{}{name}", parent.get(&folders));
            let taken = entries.iter().any(|entry| entry.path == path);
            let bad = matches!(name.as_str(), "." | ".." | "TRAILER!!!");
            let device = matches!(
                chosen,
                Chosen::Other(Kind::CharDevice { .. } | Kind::BlockDevice { .. })
            );
            if taken || bad || (device && !devices) || path.len() > 2000 {
                continue;
            }
            entries.push(match chosen {
                Chosen::File(len) => file(&path, mode, &mut inputs, pattern(len, len)),
                Chosen::Other(kind) => {
                    if kind == Kind::Directory {
                        folders.push(format!("{path}/"));
                    }
                    // What is extracted must be reached.
                    let mode = if kind == Kind::Directory {
                        mode | 0o700
                    } else {
                        mode
                    };
                    entry(&path, mode, kind)
                }
            });
        }
        (entries, inputs)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read((entries, inputs) in random(60, true)) {
        check(&entries, &inputs, &archive(&entries, &inputs));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn cpio_lists_and_extracts_random_trees((entries, inputs) in random(30, false)) {
        let folder = tempfile::tempdir().unwrap();
        let bytes = archive(&entries, &inputs);
        compare_extracted(folder.path(), &entries, &inputs, &bytes);
        compare_listing(folder.path(), &entries, &bytes);
    }
}

fn small() -> Vec<u8> {
    let mut inputs = Vec::new();
    let entries = [
        dir("d"),
        file("d/f", 0o644, &mut inputs, b"hello".to_vec()),
        entry("l", 0o777, Kind::Symlink("d/f".to_owned())),
    ];
    archive(&entries, &inputs)
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    let whole = small();
    for len in 0..whole.len() {
        let error = cpio::read(&whole[..len]).unwrap_err();
        assert!(
            matches!(error, Error::Read { .. } | Error::Truncated { .. }),
            "{len} bytes: {error}"
        );
    }
    assert_eq!(cpio::read(&whole).unwrap().len(), 3);
}

#[test]
fn each_flipped_bit_gives_an_answer() {
    let whole = small();
    each_flipped_bit(&whole, 0..whole.len(), |_, bad| {
        for entry in cpio::read(bad).into_iter().flatten() {
            assert!(bad.get(entry.data).is_some());
        }
    });
}

/// Fields of the first header: name, offset.
const FILE_SIZE: usize = 54;
const NAME_SIZE: usize = 94;

#[test]
fn sizes_that_lie_are_refused_and_take_no_memory() {
    let lying = |at: usize, value: &str| {
        let mut bytes = small();
        bytes[at..at + 8].copy_from_slice(value.as_bytes());
        let (read, peak) = peak_of(|| cpio::read(&bytes).map(|list| list.len()));
        assert!(peak < 64 << 10, "{value}: {peak} bytes");
        read.unwrap_err().to_string()
    };
    for size in ["FFFFFFFF", "7FFFFFFF", "00000FFF"] {
        assert_eq!(
            lying(FILE_SIZE, size),
            "read cpio: \"d\" has data past the archive's end"
        );
        assert_eq!(
            lying(NAME_SIZE, size),
            "read cpio: entry 1: Truncated entry name"
        );
    }
    assert_eq!(
        lying(NAME_SIZE, "00000000"),
        "read cpio: entry 1: Entry name was not NUL-terminated"
    );
    assert_eq!(
        lying(FILE_SIZE, "0000000g"),
        "read cpio: entry 1: Invalid hex u32 header field"
    );
    // Into the middle of what follows.
    assert_eq!(
        lying(FILE_SIZE, "00000001"),
        "read cpio: entry 2: Invalid magic number"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn changed_archives_are_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[0-9A-Fa-f+ \0-\u{7f}]"), 1..8),
    ) {
        let (entries, inputs) = rich();
        let mut bytes = archive(&entries, &inputs);
        // Of the long ones, headers are more than data.
        bytes.truncate(4000);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value.as_bytes()[0];
        }
        let (read, peak) = peak_of(|| cpio::read(&bytes));
        prop_assert!(peak < 64 << 10, "{} bytes", peak);
        for entry in read.into_iter().flatten() {
            prop_assert!(bytes.get(entry.data).is_some());
        }
    }

    #[test]
    fn random_bytes_are_no_archive(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(cpio::read(&bytes).is_err());
    }
}

#[test]
fn a_small_archive_is_as_it_was() {
    let mut inputs = Vec::new();
    let entries = [
        dir("dev"),
        entry(
            "dev/console",
            0o600,
            Kind::CharDevice { major: 5, minor: 1 },
        ),
        entry(
            "dev/sda",
            0o660,
            Kind::BlockDevice {
                major: 8,
                minor: 16,
            },
        ),
        entry("lib", 0o777, Kind::Symlink("usr/lib".to_owned())),
        entry("pipe", 0o622, Kind::Fifo),
        file("init", 0o4755, &mut inputs, b"#!/bin/sh\n".to_vec()),
        file("empty", 0o644, &mut inputs, Vec::new()),
    ];
    let bytes = archive(&entries, &inputs);
    let mut dump = String::new();
    // Headers and names are text; an entry starts with its magic.
    let shown = bytes
        .escape_ascii()
        .to_string()
        .replace("\\x00", "~")
        .replace("070701", "\n070701");
    writeln!(dump, "{}", shown.trim_start()).unwrap();
    for ListedEntry { path, data, .. } in cpio::read(&bytes).unwrap() {
        writeln!(dump, "{path} {data:?}").unwrap();
    }
    writeln!(dump, "{} bytes, sha256={}", bytes.len(), digest(&bytes)).unwrap();
    insta::assert_snapshot!(dump);
}

fn refused(entries: &[Entry]) -> String {
    cpio::plan(entries).map(drop).unwrap_err().to_string()
}

#[test]
fn paths_are_what_the_kernel_unpacks() {
    for path in [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "./a",
        "a/..",
        "a\0b",
        &"n".repeat(4096),
    ] {
        let error = refused(&[dir("a"), dir(path)]);
        assert_eq!(
            error,
            format!(
                "write cpio: path {path:?} is not relative, of 1 to 4095 bytes, without NUL and \
                 without empty, \".\" or \"..\" components"
            )
        );
    }
    check(
        &[dir(&"n".repeat(4095))],
        &[],
        &archive(&[dir(&"n".repeat(4095))], &[]),
    );
    assert_eq!(
        refused(&[dir("TRAILER!!!")]),
        "write cpio: \"TRAILER!!!\" would end the archive"
    );
    let inner = [dir("a"), dir("a/TRAILER!!!")];
    check(&inner, &[], &archive(&inner, &[]));
}

#[test]
fn a_folder_comes_first_and_nothing_twice() {
    assert_eq!(
        refused(&[dir("a/b"), dir("a")]),
        "write cpio: \"a/b\" comes before its directory, or has none"
    );
    let fifo = entry("a", 0o644, Kind::Fifo);
    assert_eq!(
        refused(&[fifo.clone(), dir("a/b")]),
        "write cpio: \"a/b\" comes before its directory, or has none"
    );
    assert_eq!(
        refused(&[dir("a"), fifo]),
        "write cpio: \"a\" is there twice"
    );
}

#[test]
fn modes_sizes_and_targets_fit_their_fields() {
    assert_eq!(
        refused(&[entry("a", 0o10000, Kind::Fifo)]),
        "write cpio: \"a\" has mode 0o10000, at most 0o7777"
    );
    let sized = |size| [entry("a", 0o644, Kind::Regular { input: 0, size })];
    assert_eq!(
        refused(&sized(1 << 32)),
        "write cpio: \"a\" has 4294967296 bytes, newc holds files below 4 GiB"
    );
    let layout = cpio::plan(&sized(u64::from(u32::MAX))).unwrap();
    check_layout(&layout);
    assert!(layout.size > u64::from(u32::MAX));
    for target in ["", "a\0b", &"t".repeat(4096)] {
        assert_eq!(
            refused(&[entry("a", 0o777, Kind::Symlink(target.to_owned()))]),
            "write cpio: symbolic link \"a\" has no target of 1 to 4095 bytes without NUL"
        );
    }
}
