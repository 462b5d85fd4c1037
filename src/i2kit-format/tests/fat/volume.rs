//! Volumes to test with.

use std::collections::{BTreeMap, BTreeSet};

use i2kit_format::ReadAt;
use i2kit_format::fat::{self, NewFile, Options};
use i2kit_format::layout::{Content, Layout};

use crate::support::{check_layout, pattern};

pub fn options() -> Options {
    Options {
        volume_id: 0x1234_abcd,
        label: "I2KIT-ESP".to_owned(),
        min_size: 0,
    }
}

/// Files by path, and the volume that holds them.
pub fn volume(files: &BTreeMap<String, Vec<u8>>, options: &Options) -> Vec<u8> {
    let layout = plan(files, options).unwrap();
    check_layout(&layout);
    let inputs: Vec<&dyn ReadAt> = files.values().map(|data| data as &dyn ReadAt).collect();
    layout.fill(&inputs).unwrap()
}

pub fn plan(files: &BTreeMap<String, Vec<u8>>, options: &Options) -> Result<Layout, fat::Error> {
    let new = files.iter().map(|(path, data)| NewFile {
        path: path.clone(),
        size: data.len() as u64,
    });
    fat::plan(&new.collect::<Vec<_>>(), options)
}

/// One file of that many bytes, which are never made.
pub fn one(path: &str, size: u64) -> Vec<NewFile> {
    vec![NewFile {
        path: path.to_owned(),
        size,
    }]
}

/// The directories that the paths name.
pub fn directories(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in files.keys() {
        let ends = path.match_indices('/').map(|(at, _)| at);
        found.extend(ends.map(|end| path[..end].to_owned()));
    }
    found
}

/// Names of every kind: short ones, ones that need a long entry, a tail or both, whole entries of
/// 13 units, some beyond ASCII, a directory of more than one cluster, files of none and of many.
pub fn rich() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut add = |path: &str, len: usize| {
        let seed = files.len();
        files.insert(path.to_owned(), pattern(seed, len));
    };
    add("EFI/BOOT/BOOTX64.EFI", 300_000);
    add("EFI/i2kit/boot.cfg", 17);
    add("EMPTY", 0);
    add("FULL.BIN", 4096);
    add("ONE.BYT", 1);
    add("no extension", 513);
    add("thirteen-unit", 512);
    add("two.dots.and more.text", 511);
    add(".hidden", 3);
    add("Größe/中文/ключ 🦀.txt", 2000);
    add("+,;=[]", 5);
    add(&"n".repeat(255), 6);
    for index in 0..60 {
        add(&format!("many/a rather long name, number {index}"), index);
    }
    files
}

/// Reads through the layout: inputs and gaps are zeros. So a volume of 2 GiB takes little memory.
pub struct Planned(pub Layout);

impl ReadAt for Planned {
    fn len(&self) -> u64 {
        self.0.size
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        if offset + buf.len() as u64 > self.0.size {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        buf.fill(0);
        for piece in &self.0.pieces {
            if let Content::Bytes(bytes) = &piece.content {
                overlay(buf, offset, bytes, piece.offset);
            }
        }
        Ok(())
    }
}

/// Copies the part of `bytes`, which lie at `at`, that falls into `buf`, which starts at `offset`.
pub fn overlay(buf: &mut [u8], offset: u64, bytes: &[u8], at: u64) {
    let start = offset.max(at);
    let end = (offset + buf.len() as u64).min(at + bytes.len() as u64);
    if start < end {
        let len = (end - start) as usize;
        let (to, from) = ((start - offset) as usize, (start - at) as usize);
        buf[to..to + len].copy_from_slice(&bytes[from..from + len]);
    }
}
