//! The reader takes any bytes: it answers or refuses, and ends.

use std::sync::LazyLock;

use i2kit_format::erofs::{ReadError, Reader};
use proptest::prelude::*;

use crate::fixture::{self, Fixture, metadata};

/// An image, and where its metadata starts.
static RICH: LazyLock<(Vec<u8>, usize)> = LazyLock::new(|| {
    let fixture = fixture::rich();
    (fixture.image(), fixture.bytes.len())
});

/// Calls all that the reader offers, on every inode that the image names.
fn exercise(bytes: &[u8]) -> Result<usize, ReadError> {
    let reader = Reader::open(bytes)?;
    let _ = reader.read_tree();
    let _ = reader.lookup(b"directories/odd-names/a.");
    let mut seen = std::collections::BTreeSet::new();
    let mut pending = vec![reader.root()?];
    let mut buf = vec![0; 100_000];
    while let Some(inode) = pending.pop() {
        let _ = (
            reader.xattrs(&inode),
            reader.extents(&inode),
            reader.read_link(&inode),
        );
        for offset in [0, 5000, inode.size.saturating_sub(10), u64::MAX] {
            let _ = reader.read_file_at(&inode, &mut buf, offset);
        }
        for entry in reader.read_dir(&inode).into_iter().flatten() {
            if seen.insert(entry.nid) {
                pending.extend(reader.inode(entry.nid));
            }
        }
    }
    Ok(seen.len())
}

#[derive(Clone, Debug)]
enum Change {
    /// In the superblock's record.
    Superblock(usize, u8),
    /// A byte of the metadata.
    Metadata(prop::sample::Index, u8),
    /// A word that is likely to be a limit.
    Word(prop::sample::Index, u32),
    /// Cuts the image.
    Cut(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let word = prop::sample::select(vec![0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, u32::MAX - 1]);
    let index = any::<prop::sample::Index>;
    prop_oneof![
        1 => (0..128usize, any::<u8>()).prop_map(|(at, value)| Change::Superblock(at, value)),
        6 => (index(), any::<u8>()).prop_map(|(at, value)| Change::Metadata(at, value)),
        4 => (index(), word).prop_map(|(at, value)| Change::Word(at, value)),
        1 => index().prop_map(Change::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, metadata: usize, change: &Change) {
    match change {
        Change::Superblock(at, value) => bytes[1024 + at] = *value,
        Change::Metadata(at, value) => {
            let at = metadata + at.index(bytes.len() - metadata);
            bytes[at] = *value;
        }
        Change::Word(at, value) => {
            let at = metadata + at.index((bytes.len() - metadata) / 4) * 4;
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        Change::Cut(at) => {
            let len = metadata + 64 + at.index(bytes.len() - metadata);
            bytes.truncate(len);
            bytes.resize(len.next_multiple_of(4), 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn changed_images_are_read_or_refused(changes in prop::collection::vec(change(), 1..60)) {
        let (mut bytes, metadata) = RICH.clone();
        changes.iter().for_each(|change| apply(&mut bytes, metadata, change));
        // No checksum, or the first check would end most cases.
        bytes[1024 + 8] &= !1;
        let _ = exercise(&bytes);
    }

    #[test]
    fn small_changed_images_are_read_or_refused(
        changes in prop::collection::vec((0..4096usize, any::<u8>()), 1..40),
    ) {
        let mut fixture = Fixture::new();
        fixture.symlink(i2kit_format::erofs::Tree::ROOT, b"l", metadata(0o777), b"t");
        let mut bytes = fixture.image();
        bytes[1024 + 8] &= !1;
        for (at, value) in changes {
            // Half of the metadata's block in use is the root and the link.
            bytes[4096 + at % 256] = value;
        }
        let _ = exercise(&bytes);
    }

    #[test]
    fn random_bytes_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        prop_assert!(Reader::open(bytes.as_slice()).is_err());
        if let Some(magic) = bytes.get_mut(1024..1028) {
            magic.copy_from_slice(&0xe0f5_e1e2u32.to_le_bytes());
        }
        let _ = exercise(&bytes);
    }
}

#[test]
fn the_unchanged_image_is_read_whole() {
    assert!(exercise(&RICH.0).unwrap() > 300);
}

#[test]
fn each_flipped_bit_of_the_superblocks_block_is_noticed() {
    let bytes = RICH.0.clone();
    for at in (1024..1152).chain([1200, 4095]) {
        let mut bad = bytes.clone();
        bad[at] ^= 4;
        let error = Reader::open(bad.as_slice()).map(|_| at).unwrap_err();
        let wanted = if at < 1028 {
            "not an EROFS image"
        } else {
            "checksum"
        };
        assert!(error.to_string().contains(wanted), "byte {at}: {error}");
    }
}

#[test]
fn faults_are_named() {
    let open = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = RICH.0.clone();
        bytes[1024 + 8] &= !1;
        change(&mut bytes);
        Reader::open(bytes.as_slice())
            .and_then(|reader| reader.read_tree())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        open(&|b| b[1024 + 12] = 9),
        "EROFS: block size, log2 0x9 is not supported"
    );
    assert_eq!(
        open(&|b| b[1024 + 80] |= 0x10),
        "EROFS: incompatible feature set 0x14 is not supported"
    );
    assert_eq!(
        open(&|b| b.truncate(2000)),
        "EROFS: reading superblock (4096 bytes at byte 0)"
    );
    let metadata = RICH.1;
    let root = metadata + 64;
    assert_eq!(
        open(&|b| b[root] = 0xff),
        "EROFS: inode format 0xff is not supported"
    );
    assert_eq!(
        open(&|b| b[root + 5] = 0x80),
        "EROFS inode 2: not a directory"
    );
    assert_eq!(
        open(&|b| b[root + 5] = 0xf0),
        "EROFS inode 2: mode of no known file type"
    );
    assert_eq!(
        open(&|b| b[root + 64 + 8] = 13),
        "EROFS inode 2: directory block is not valid"
    );
}

/// What reading a changed image says. `change` is given the root's record: its inode, then its
/// dirents and names.
fn refused(fixture: &Fixture, change: impl Fn(&mut [u8])) -> String {
    let mut bytes = fixture.image();
    let root = fixture.bytes.len() + 64;
    Reader::open(bytes.as_slice()).unwrap().read_tree().unwrap();
    change(&mut bytes[root..]);
    let reader = Reader::open(bytes.as_slice()).unwrap();
    reader.read_tree().unwrap_err().to_string()
}

#[test]
fn an_inline_tail_that_crosses_a_block_is_refused() {
    let resize = |root: &mut [u8], size: u16| root[8..10].copy_from_slice(&size.to_le_bytes());
    // The tail begins 128 bytes into the block.
    let error = refused(&Fixture::new(), |root| resize(root, 4096 - 128 + 1));
    assert_eq!(error, "EROFS inode 2: inline data crosses a block");
    let mut bytes = Fixture::new().image();
    resize(&mut bytes[4096 + 64..], 4096 - 128);
    Reader::open(bytes.as_slice()).unwrap().read_tree().unwrap();
}

#[test]
fn a_directory_in_itself_is_refused() {
    let mut fixture = Fixture::new();
    fixture.dir(i2kit_format::erofs::Tree::ROOT, b"loop", metadata(0o755));
    let error = refused(&fixture, |root| root[64 + 2 * 12] = 2);
    assert_eq!(error, "EROFS inode 2: names a directory a second time");
}

#[test]
fn names_that_can_not_be_are_refused() {
    let mut fixture = Fixture::new();
    fixture.symlink(
        i2kit_format::erofs::Tree::ROOT,
        &[b'a'; 200],
        metadata(0o777),
        b"t",
    );
    fixture.symlink(
        i2kit_format::erofs::Tree::ROOT,
        &[b'b'; 100],
        metadata(0o777),
        b"t",
    );
    let wanted = "EROFS inode 2: directory entry with a name that is not valid";
    // The last name's offset, 60 bytes later: the one before it has 260 bytes.
    let nameoff = 64 + 3 * 12 + 8;
    let longer = refused(&fixture, |root| {
        let offset = u16::from_le_bytes([root[nameoff], root[nameoff + 1]]) + 60;
        root[nameoff..nameoff + 2].copy_from_slice(&offset.to_le_bytes());
    });
    assert_eq!(longer, wanted);
    let names = 64 + 4 * 12;
    for byte in [0, b'/'] {
        assert_eq!(refused(&fixture, |root| root[names + 10] = byte), wanted);
    }
    // Before the names, and behind the block.
    for offset in [11u16, 4000] {
        let error = refused(&fixture, |root| {
            root[nameoff..nameoff + 2].copy_from_slice(&offset.to_le_bytes());
        });
        assert_eq!(error, "EROFS inode 2: directory block is not valid");
    }
    let twice = refused(&fixture, |root| {
        root[nameoff - 12] = root[nameoff];
        root[nameoff - 11] = root[nameoff + 1];
    });
    assert_eq!(twice, wanted);
}
