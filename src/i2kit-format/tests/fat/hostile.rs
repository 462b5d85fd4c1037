//! The reader takes any bytes: it answers or refuses, ends, and takes little memory.

use std::sync::LazyLock;

use i2kit_format::ReadAt;
use i2kit_format::fat::{self, Error, Volume};
use proptest::prelude::*;

use crate::support::each_flipped_bit;
use crate::support::meter::peak_of;
use crate::volume::{options, overlay, rich, volume};

/// The most that reading any volume may take: its FAT, one directory, a full list of entries.
const MEMORY: usize = 96 << 20;

/// A small volume, and where its parts lie.
struct Sample {
    bytes: Vec<u8>,
    fat: usize,
    root: usize,
    data: usize,
    cluster: usize,
}

static RICH: LazyLock<Sample> = LazyLock::new(|| Sample::of(volume(&rich(), &options())));

impl Sample {
    fn of(bytes: Vec<u8>) -> Self {
        let word = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let fat = word(14) * 512;
        let root = fat + 2 * word(22) * 512;
        Self {
            fat,
            root,
            data: root + word(17) * 32,
            cluster: usize::from(bytes[13]) * 512,
            bytes,
        }
    }

    fn cluster_at(&self, cluster: u16) -> usize {
        self.data + (usize::from(cluster) - 2) * self.cluster
    }

    /// The first entry of that short name in the root or a cluster: where it lies.
    fn entry(&self, name: &[u8; 11]) -> usize {
        let found = self.bytes[self.root..]
            .chunks(32)
            .position(|entry| entry.starts_with(name));
        self.root + found.unwrap() * 32
    }

    fn first_cluster(&self, entry: usize) -> u16 {
        u16::from_le_bytes([self.bytes[entry + 26], self.bytes[entry + 27]])
    }

    fn link(&mut self, cluster: u16, next: u16) {
        let at = self.fat + usize::from(cluster) * 2;
        self.bytes[at..at + 2].copy_from_slice(&next.to_le_bytes());
    }

    fn refused(&self) -> String {
        fat::read(&self.bytes).map(drop).unwrap_err().to_string()
    }
}

fn rich_copy() -> Sample {
    Sample::of(RICH.bytes.clone())
}

/// What holds for every volume that was read.
fn check(volume: &Volume, len: u64) {
    assert!(volume.size <= len);
    for entry in &volume.entries {
        let sum: u64 = entry.extents.iter().map(|extent| extent.len).sum();
        assert_eq!(sum, entry.size, "{}", entry.path);
        assert!(
            entry
                .extents
                .iter()
                .all(|extent| extent.offset + extent.len <= volume.size)
        );
        assert!(
            entry
                .path
                .split('/')
                .all(|name| !matches!(name, "" | "." | "..")),
            "{}",
            entry.path
        );
    }
}

#[test]
fn a_volume_cut_anywhere_is_refused() {
    let len = RICH.bytes.len();
    for cut in 0..len {
        match fat::read(&RICH.bytes[..cut]) {
            Err(Error::NotFat) => assert!(cut < 512, "{cut}"),
            Err(Error::Truncated { volume, len: there }) => {
                assert_eq!((volume, there), (len as u64, cut as u64));
            }
            other => panic!("{cut}: {other:?}"),
        }
    }
}

#[test]
fn each_flipped_bit_gives_an_answer() {
    let sample = &*RICH;
    let len = sample.bytes.len() as u64;
    let efi = sample.cluster_at(sample.first_cluster(sample.entry(b"EFI        ")));
    let many = sample.cluster_at(sample.first_cluster(sample.entry(b"MANY~1     ")));
    for range in [
        0..64,
        510..512,
        sample.fat..sample.fat + 32,
        sample.root..sample.root + 12 * 32,
        efi..efi + 4 * 32,
        many..many + 4 * 32,
    ] {
        each_flipped_bit(&sample.bytes, range, |_, bad| {
            if let Ok(volume) = fat::read(bad) {
                check(&volume, len);
            }
        });
    }
}

#[test]
fn boot_sectors_that_lie_are_named() {
    let refused = |at: usize, value: &[u8]| {
        let mut sample = rich_copy();
        sample.bytes[at..at + value.len()].copy_from_slice(value);
        sample.refused()
    };
    let field = |name: &str, value: u32| format!("read FAT16: boot sector: {name} is {value}");
    assert_eq!(refused(0, &[0]), "read FAT16: no boot sector");
    assert_eq!(refused(510, &[0]), "read FAT16: no boot sector");
    assert_eq!(
        refused(11, &4096u16.to_le_bytes()),
        field("BPB_BytsPerSec", 4096)
    );
    assert_eq!(refused(11, &[0, 0]), field("BPB_BytsPerSec", 0));
    assert_eq!(refused(13, &[0]), field("BPB_SecPerClus", 0));
    assert_eq!(refused(13, &[3]), field("BPB_SecPerClus", 3));
    assert_eq!(refused(14, &[0, 0]), field("BPB_RsvdSecCnt", 0));
    assert_eq!(refused(16, &[0]), field("BPB_NumFATs", 0));
    assert_eq!(refused(22, &[0, 0]), field("BPB_FATSz16", 0));
    assert_eq!(refused(22, &[1, 0]), field("BPB_FATSz16", 1));
    assert_eq!(
        refused(14, &[0xff, 0xff]),
        "read FAT16: 0 clusters make it another kind of FAT"
    );
    let size = RICH.bytes.len() as u64;
    let mut grown = rich_copy();
    grown.bytes[19..21].fill(0);
    grown.bytes[32..36].fill(0xff);
    let claimed = u64::from(u32::MAX) * 512;
    assert_eq!(
        grown.refused(),
        format!("read FAT16: volume of {claimed} bytes, but only {size} are there")
    );
}

#[test]
fn chains_that_lead_nowhere_or_in_circles_are_refused() {
    let error = |path: &str, cluster: u16| {
        format!(
            "read FAT16: {path:?}: cluster chain reaches {cluster}, which is free, bad or used twice"
        )
    };
    let file = "no extension";
    let entry = RICH.entry(b"NOEXTE~1   ");
    let first = RICH.first_cluster(entry);
    // Ends at a free cluster, in the reserved ones, at a bad one, past the last one.
    for next in [0, 1, 0xfff7, 0xfff0] {
        let mut sample = rich_copy();
        sample.link(first, next);
        assert_eq!(sample.refused(), error(file, next));
    }
    // Itself; another's.
    let mut sample = rich_copy();
    sample.link(first, first);
    assert_eq!(sample.refused(), error(file, first));
    let other = RICH.first_cluster(RICH.entry(b"ONE     BYT"));
    let mut sample = rich_copy();
    sample.bytes[entry + 26..entry + 28].copy_from_slice(&other.to_le_bytes());
    let refused = sample.refused();
    assert!(
        refused.contains(&format!(
            "reaches {other}, which is free, bad or used twice"
        )),
        "{refused}"
    );
    // A longer and a shorter chain than the size needs.
    let mut sample = rich_copy();
    sample.bytes[entry + 28..entry + 32].copy_from_slice(&u32::MAX.to_le_bytes());
    let chain = RICH.cluster.max(1024);
    assert_eq!(
        sample.refused(),
        format!(
            "read FAT16: \"no extension\" has {} bytes, its cluster chain {chain}",
            u32::MAX
        )
    );
    sample.bytes[entry + 28..entry + 32].fill(0);
    assert_eq!(
        sample.refused(),
        format!("read FAT16: \"no extension\" has 0 bytes, its cluster chain {chain}")
    );
}

#[test]
fn a_directory_in_itself_is_refused() {
    let entry = RICH.entry(b"EFI        ");
    let efi = RICH.first_cluster(entry);
    let boot = RICH.cluster_at(efi) + 2 * 32;
    let mut sample = rich_copy();
    assert!(sample.bytes[boot..].starts_with(b"BOOT       "));
    sample.bytes[boot + 26..boot + 28].copy_from_slice(&efi.to_le_bytes());
    let error = sample.refused();
    assert!(
        error.contains(&format!("\"EFI/BOOT\": cluster chain reaches {efi}")),
        "{error}"
    );
    // Its chain, too.
    let mut sample = rich_copy();
    sample.link(efi, efi);
    let error = sample.refused();
    assert!(
        error.contains(&format!("\"EFI\": cluster chain reaches {efi}")),
        "{error}"
    );
}

#[test]
fn names_that_can_not_be_are_refused() {
    let entry = RICH.entry(b"ONE     BYT");
    for (at, byte) in [
        (0, b' '),
        (1, b'/'),
        (2, b'\\'),
        (0, b'.'),
        (0, 1),
        (2, 0),
        (8, b'*'),
        (1, b'.'),
    ] {
        let mut sample = rich_copy();
        sample.bytes[entry + at] = byte;
        let error = sample.refused();
        assert!(
            error.starts_with("read FAT16: directory \"/\" holds the name "),
            "{at} {byte}: {error}"
        );
    }
    // 0x05 stands for 0xe5, which is no ASCII.
    let mut sample = rich_copy();
    sample.bytes[entry] = 5;
    assert!(
        fat::read(&sample.bytes)
            .unwrap()
            .entry("\u{fffd}NE.BYT")
            .is_some()
    );
    // Below the root `.` and `..` are what they should be, `.x` is not.
    let efi = RICH.cluster_at(RICH.first_cluster(RICH.entry(b"EFI        ")));
    let mut sample = rich_copy();
    sample.bytes[efi + 1] = b'x';
    assert_eq!(
        sample.refused(),
        "read FAT16: directory \"/EFI\" holds the name \".x\", which can not be"
    );
}

#[test]
fn long_names_that_do_not_fit_their_short_one_are_dropped() {
    let short = RICH.entry(b"NOEXTE~1   ");
    let alone = |change: &dyn Fn(&mut [u8])| {
        let mut sample = rich_copy();
        change(&mut sample.bytes[short - 32..short]);
        let volume = fat::read(&sample.bytes).unwrap();
        assert!(volume.entry("no extension").is_none());
        assert!(volume.entry("NOEXTE~1").is_some());
    };
    // Checksum, order, no part that is the last; a name that can not be.
    alone(&|long| long[13] ^= 1);
    alone(&|long| long[0] = 0x42);
    alone(&|long| long[0] = 0x01);
    alone(&|long| long[0] = 0x40);
    alone(&|long| long[0] = 0x7f);
    alone(&|long| long[1] = b'/');
    alone(&|long| long[1..3].copy_from_slice(&0xd800u16.to_le_bytes()));
    alone(&|long| long[1] = 0);
}

/// Some bytes in a sea of zeros.
struct Sparse {
    len: u64,
    parts: Vec<(u64, Vec<u8>)>,
}

impl ReadAt for Sparse {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        buf.fill(0);
        for (at, bytes) in &self.parts {
            overlay(buf, offset, bytes, *at);
        }
        Ok(())
    }
}

fn record(name: &[u8; 11], attributes: u8, cluster: u16) -> Vec<u8> {
    let mut record = vec![0; 32];
    record[..11].copy_from_slice(name);
    record[11] = attributes;
    record[26..28].copy_from_slice(&cluster.to_le_bytes());
    record
}

/// 4 GiB that are nearly all hole; the root's one entry is a directory that has every cluster.
#[test]
fn a_directory_of_4_gib_is_refused_unread() {
    let (clusters, per_cluster) = (65_524_u32, 128_u32);
    let fat_sectors = 256_u32;
    let sectors = 1 + fat_sectors + 32 + clusters * per_cluster;
    let mut boot = vec![0; 512];
    boot[0] = 0xeb;
    boot[11..13].copy_from_slice(&512u16.to_le_bytes());
    boot[13] = per_cluster as u8;
    boot[14] = 1;
    boot[16] = 1;
    boot[17..19].copy_from_slice(&512u16.to_le_bytes());
    boot[22..24].copy_from_slice(&(fat_sectors as u16).to_le_bytes());
    boot[32..36].copy_from_slice(&sectors.to_le_bytes());
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    let links = (0..=65_525_u16).map(|cluster| match cluster {
        0 | 1 | 65_525 => 0xffff,
        _ => cluster + 1,
    });
    let fat: Vec<u8> = links.flat_map(u16::to_le_bytes).collect();
    let root = u64::from(1 + fat_sectors) * 512;
    let volume = Sparse {
        len: u64::from(sectors) * 512,
        parts: vec![
            (0, boot),
            (512, fat),
            (root, record(b"D          ", 0x10, 2)),
        ],
    };
    let (read, peak) = peak_of(|| fat::read(&volume));
    assert_eq!(
        read.unwrap_err().to_string(),
        "read FAT16: directory \"/D\" has 4294180864 bytes, at most 2097152"
    );
    assert!(peak < 1 << 20, "{peak} bytes");
}

/// Folders in folders, with the longest names, around a folder full of files: what each path takes
/// times how many there are.
#[test]
fn many_files_under_a_long_path_take_little_memory() {
    let mut sample = Sample::of(volume(
        &[("A".to_owned(), vec![0; 3 << 20])].into(),
        &fat::Options {
            min_size: 16 << 20,
            ..options()
        },
    ));
    let root = sample.root;
    // Every cluster a folder in the one before it: far too deep.
    sample.bytes[root..root + 32].copy_from_slice(&record(b"D          ", 0x10, 2));
    sample.bytes[root + 32] = 0;
    for cluster in 2..1000 {
        sample.link(cluster, 0xffff);
        let at = sample.cluster_at(cluster);
        sample.bytes[at..at + 32].copy_from_slice(&record(b"DEEPER  DIR", 0x10, cluster + 1));
    }
    let error = sample.refused();
    assert!(
        error.starts_with("read FAT16: path \"D/DEEPER.DIR/DEEPER.DIR/"),
        "{error}"
    );
    assert!(
        error.ends_with("has 265 UTF-16 units, at most 259"),
        "{error}"
    );

    // Two folders of 2 MiB each, full of empty files.
    let per_folder = (2 << 20) / sample.cluster;
    let entries = |first: u32| -> Vec<u8> {
        (first..first + 65_536)
            .flat_map(|index| {
                record(
                    format!("{index:011}").as_bytes().try_into().unwrap(),
                    0x20,
                    0,
                )
            })
            .collect()
    };
    for (index, name) in [(0_usize, b"ONE        "), (1, b"TWO        ")] {
        let first = (2 + index * per_folder) as u16;
        let folder = record(name, 0x10, first);
        let at = root + index * 32;
        sample.bytes[at..at + 32].copy_from_slice(&folder);
        let last = first + per_folder as u16 - 1;
        (first..last).for_each(|cluster| sample.link(cluster, cluster + 1));
        sample.link(last, 0xffff);
        let at = sample.cluster_at(first);
        sample.bytes[at..at + (2 << 20)].copy_from_slice(&entries(index as u32 * 65_536));
    }
    sample.bytes[root + 64] = 0;
    let (read, peak) = peak_of(|| fat::read(&sample.bytes));
    assert_eq!(
        read.unwrap_err().to_string(),
        "read FAT16: more than 65536 files and directories"
    );
    assert!(peak < MEMORY, "{peak} bytes");
}

#[derive(Clone, Debug)]
enum Change {
    /// A byte of the boot sector's fields.
    Boot(usize, u8),
    /// A link of the FAT.
    Link(prop::sample::Index, u16),
    /// A byte of an entry of the root, or of what lies in the first clusters.
    Entry(prop::sample::Index, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let link = prop_oneof![
        0..400_u16,
        prop::sample::select(vec![0xfff6, 0xfff7, 0xfff8, 0xffff])
    ];
    let index = any::<prop::sample::Index>;
    prop_oneof![
        1 => (0..62usize, any::<u8>()).prop_map(|(at, value)| Change::Boot(at, value)),
        5 => (index(), link).prop_map(|(at, next)| Change::Link(at, next)),
        6 => (index(), any::<u8>()).prop_map(|(at, value)| Change::Entry(at, value)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn changed_volumes_are_read_or_refused(changes in prop::collection::vec(change(), 1..12)) {
        let sample = &*RICH;
        let mut parts = vec![(0, sample.bytes.clone())];
        let bytes = &mut parts[0].1;
        for change in changes {
            match change {
                Change::Boot(at, value) => bytes[at] = value,
                Change::Link(at, next) => {
                    let at = sample.fat + at.index(400) * 2;
                    bytes[at..at + 2].copy_from_slice(&next.to_le_bytes());
                }
                Change::Entry(at, value) => bytes[sample.root + at.index(24 << 10)] = value,
            }
        }
        // A larger disk than the volume was: sizes that lie have room.
        let disk = Sparse { len: 8 << 30, parts };
        let (read, peak) = peak_of(|| fat::read(&disk));
        prop_assert!(peak < MEMORY, "{} bytes", peak);
        if let Ok(volume) = read {
            check(&volume, disk.len);
        }
    }

    #[test]
    fn random_bytes_are_no_volume(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(fat::read(&bytes).is_err());
    }
}
