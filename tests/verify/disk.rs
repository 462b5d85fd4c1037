//! A small signed disk with error correction, and its parts.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use i2kit_format::erofs::Reader;
use i2kit_format::{fat, gpt, uki};

use crate::support::i2kit;
use crate::support::small::{Small, succeeded};

pub const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/secure-boot/key.pem");
pub const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/secure-boot/cert.pem");

/// What every disk here is built with.
pub const FLAGS: [&str; 4] = [
    "--fec",
    "--kernel-arg=quiet",
    "--module=extra",
    "--on-failure=reboot",
];

pub struct Disk {
    pub small: Small,
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

impl Disk {
    /// Signed, with error correction, a statement of provenance and all of [`FLAGS`].
    pub fn new() -> Self {
        let signed = [
            "--sign-key",
            KEY,
            "--sign-cert",
            CERTIFICATE,
            "--provenance",
        ];
        Self::built(&[&FLAGS[..], &signed].concat())
    }

    pub fn built(flags: &[&str]) -> Self {
        let small = Small::new();
        small.replace_base_by_one_with_fec();
        succeeded(
            &small
                .build("cache", "disk.raw")
                .args(flags)
                .output()
                .unwrap(),
        );
        let path = small.path("disk.raw");
        let bytes = fs::read(&path).unwrap();
        Self { small, path, bytes }
    }

    /// Where a partition lies.
    pub fn partition(&self, name: &str) -> Range<usize> {
        let table = gpt::read(&self.bytes).unwrap();
        let one = table.partitions.iter().find(|one| one.name == name);
        let one = one.unwrap();
        let start = usize::try_from(one.offset()).unwrap();
        start..start + usize::try_from(one.size()).unwrap()
    }

    fn window(&self, name: &str) -> &[u8] {
        &self.bytes[self.partition(name)]
    }

    /// Where the UKI lies.
    pub fn uki(&self) -> Range<usize> {
        let esp = self.window("esp").to_vec();
        let volume = fat::read(&esp).unwrap();
        let extent = volume.entry("EFI/BOOT/BOOTX64.EFI").unwrap().extents[0];
        let start = self.partition("esp").start + usize::try_from(extent.offset).unwrap();
        start..start + usize::try_from(extent.len).unwrap()
    }

    /// The UKI's sections and where their middles lie.
    pub fn sections(&self) -> Vec<(String, usize)> {
        let uki = self.uki();
        let image = uki::read(&self.bytes[uki.clone()].to_vec()).unwrap();
        let sections = image.sections.iter().filter(|one| one.size > 0);
        let middle = |offset: u64, size: u64| usize::try_from(offset + size / 2).unwrap();
        sections
            .map(|one| (one.name.clone(), uki.start + middle(one.offset, one.size)))
            .collect()
    }

    /// The byte of the disk at which a file of the store has its first one, in a store that is not
    /// compressed.
    pub fn data_of(&self, file: &str) -> usize {
        let store = self.window("store").to_vec();
        let reader = Reader::open(&store).unwrap();
        let inode = reader.lookup(file.as_bytes()).unwrap().unwrap();
        let block = match reader.extents(&inode) {
            Ok(extents) => extents[0].start_block,
            Err(_) => reader.clusters(&inode).unwrap().clusters[0].start_block,
        };
        self.partition("store").start + usize::try_from(block * 4096).unwrap()
    }

    /// Where the store's metadata begins.
    pub fn metadata(&self) -> usize {
        let store = self.window("store").to_vec();
        let summary = Reader::open(&store).unwrap().summary();
        self.partition("store").start + usize::try_from(summary.meta_start_block).unwrap() * 4096
    }

    /// The FAT's structures, as the boot sector has them: both tables, root directory, clusters.
    pub fn fat(&self) -> [usize; 4] {
        let esp = self.window("esp");
        let word = |at: usize| usize::from(u16::from_le_bytes([esp[at], esp[at + 1]]));
        let (reserved, entries, size) = (word(14), word(17), word(22));
        let start = self.partition("esp").start;
        let first = start + reserved * 512;
        let root = first + 2 * size * 512;
        [first, first + size * 512, root, root + entries * 32]
    }

    /// Writes bytes over those at an offset of the file.
    pub fn overwrite(&self, at: usize, bytes: &[u8]) {
        let file = fs::File::options().write(true).open(&self.path).unwrap();
        file.write_all_at(bytes, at as u64).unwrap();
    }

    /// Runs with these bytes altered; they are as they were afterwards.
    pub fn altered<T>(&self, at: &[usize], run: impl FnOnce() -> T) -> T {
        for at in at {
            self.overwrite(*at, &[self.bytes[*at] ^ 0x10]);
        }
        let result = run();
        for at in at {
            self.overwrite(*at, &[self.bytes[*at]]);
        }
        result
    }

    pub fn verify(&self, more: &[&str]) -> Output {
        verify(&self.path, more)
    }
}

/// Where the only such bytes are.
pub fn position(bytes: &[u8], wanted: &[u8]) -> usize {
    let mut found = bytes.windows(wanted.len()).enumerate();
    let mut found = found.by_ref().filter(|(_, bytes)| *bytes == wanted);
    let (at, _) = found.next().expect("they are there");
    assert!(found.next().is_none(), "{wanted:?} is there twice");
    at
}

pub fn verify(disk: &Path, more: &[&str]) -> Output {
    i2kit().arg("verify").arg(disk).args(more).output().unwrap()
}

/// What a command that failed said.
pub fn refused(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    error
}
