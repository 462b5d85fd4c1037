//! A small volume, byte by byte: a change of the format must be seen and meant.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use i2kit_format::fat;

use crate::support::{digest, pattern};
use crate::volume::{options, volume};

fn small() -> BTreeMap<String, Vec<u8>> {
    [
        ("EFI/BOOT/BOOTX64.EFI", 2000),
        ("EMPTY", 0),
        ("a longer name.text", 1),
        ("Größe", 513),
    ]
    .into_iter()
    .enumerate()
    .map(|(seed, (path, len))| (path.to_owned(), pattern(seed, len)))
    .collect()
}

fn dump(out: &mut String, name: &str, bytes: &[u8], start: usize) {
    writeln!(out, "{name}:").unwrap();
    for (row, line) in bytes.chunks(16).enumerate() {
        if line.iter().any(|byte| *byte != 0) {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let hex = hex.join(" ");
            writeln!(out, "{:06x}  {hex}  {}", start + row * 16, printable(line)).unwrap();
        }
    }
}

fn printable(bytes: &[u8]) -> String {
    let shown = bytes.iter().map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    });
    shown.collect::<String>().trim_end().to_owned()
}

#[test]
fn a_small_volume_is_as_it_was() {
    let bytes = volume(&small(), &options());
    let word = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let fat = word(14) * 512;
    let root = fat + 2 * word(22) * 512;
    let data = root + word(17) * 32;
    let mut out = String::new();
    dump(&mut out, "boot sector", &bytes[..512], 0);
    dump(&mut out, "FAT", &bytes[fat..fat + word(22) * 512], fat);
    dump(&mut out, "root", &bytes[root..data], root);
    let read = fat::read(&bytes).unwrap();
    for entry in &read.entries {
        writeln!(out, "{} {} {:?}", entry.path, entry.size, entry.extents).unwrap();
    }
    writeln!(out, "{} bytes, sha256={}", bytes.len(), digest(&bytes)).unwrap();
    insta::assert_snapshot!(out);
}

#[test]
fn the_order_in_which_files_are_given_places_their_data_alone() {
    let files = [("B", 1000), ("A", 2000)].map(|(path, size)| fat::NewFile {
        path: path.to_owned(),
        size,
    });
    let mut turned = files.clone();
    turned.reverse();
    let paths = |files: &[fat::NewFile]| {
        let layout = fat::plan(files, &options()).unwrap();
        let read = fat::read(&crate::volume::Planned(layout)).unwrap();
        read.entries
            .into_iter()
            .map(|entry| entry.path)
            .collect::<Vec<_>>()
    };
    assert_eq!(paths(&files), ["A", "B"]);
    assert_eq!(paths(&turned), ["A", "B"]);
}
