//! Partition tables against `sgdisk` and `sfdisk`, chance and damage.
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

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use i2kit_format::gpt::{
    self, BACKUP_SECTORS, Damage, Error, MAX_NAME, MAX_PARTITIONS, PRIMARY_SECTORS, Partition,
    SECTOR, Table, TableCopy, types,
};
use i2kit_format::{Guid, ReadAt};
use proptest::prelude::*;
use support::meter::peak_of;
use support::{digest, each_flipped_bit, run, text};

const DISK: Guid = Guid::from_u128(0x11111111_2222_8333_8444_555555555555);
const MIB: u64 = 2048;

fn partition(name: &str, number: u128, first_lba: u64, last_lba: u64) -> Partition {
    Partition {
        type_guid: types::LINUX_GENERIC,
        unique_guid: Guid::from_u128(number),
        name: name.to_owned(),
        first_lba,
        last_lba,
        attributes: 0,
    }
}

/// Three partitions as a build lays them out, and one whose name needs surrogates.
fn typical() -> Vec<Partition> {
    let (store, verity) = Guid::root_hash_halves(&[0xa7; 32].map({
        let mut next = 0_u8;
        move |byte: u8| {
            next += 1;
            byte.wrapping_mul(next)
        }
    }));
    let typed = |type_guid, unique_guid, attributes, base: Partition| Partition {
        type_guid,
        unique_guid,
        attributes,
        ..base
    };
    vec![
        typed(
            types::ESP,
            Guid::from_u128(1 << 100),
            0,
            partition("esp", 0, MIB, 3 * MIB - 1),
        ),
        typed(
            types::ROOT_X86_64,
            store,
            1 << 60,
            partition("store", 0, 3 * MIB, 5 * MIB - 1),
        ),
        typed(
            types::ROOT_X86_64_VERITY,
            verity,
            1 << 60,
            partition("store-verity", 0, 5 * MIB, 6 * MIB - 1),
        ),
        typed(
            types::LINUX_GENERIC,
            Guid::from_u128(u128::MAX),
            1 << 63 | 1 << 59 | 1,
            partition("größe 中 🦀", 0, 6 * MIB, 7 * MIB - 1),
        ),
    ]
}

/// A whole disk in memory; only for small ones.
fn disk(partitions: &[Partition], lbas: u64) -> Vec<u8> {
    let table = gpt::write(DISK, partitions, lbas).unwrap();
    let mut bytes = table.primary;
    bytes.resize((lbas * SECTOR) as usize - table.backup.len(), 0);
    bytes.extend(table.backup);
    bytes
}

/// A disk of any size as a sparse file.
fn write_disk(partitions: &[Partition], lbas: u64, path: &Path) {
    let table = gpt::write(DISK, partitions, lbas).unwrap();
    let file = File::create(path).unwrap();
    file.set_len(lbas * SECTOR).unwrap();
    file.write_all_at(&table.primary, 0).unwrap();
    let at = lbas * SECTOR - table.backup.len() as u64;
    file.write_all_at(&table.backup, at).unwrap();
}

/// `sgdisk -v`; a fault, or a partition that does not end at its alignment, fails the test.
fn accepted_by_sgdisk(path: &Path) {
    let verdict = text(&run("sgdisk", &["-v"], path));
    assert!(verdict.contains("No problems found"), "{verdict}");
}

/// What `sgdisk -i` says of a partition, by what stands before the colon.
fn sgdisk_info(path: &Path, number: usize) -> BTreeMap<String, String> {
    let info = text(&run("sgdisk", &[&format!("-i{number}")], path));
    let lines = info.lines().filter_map(|line| line.split_once(": "));
    lines
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn compare_with_sgdisk(path: &Path, partitions: &[Partition]) {
    for (index, partition) in partitions.iter().enumerate() {
        let info = sgdisk_info(path, index + 1);
        let word = |key: &str| info[key].split(' ').next().unwrap().to_owned();
        let guid = |guid: Guid| guid.to_string().to_uppercase();
        assert_eq!(word("Partition GUID code"), guid(partition.type_guid));
        assert_eq!(word("Partition unique GUID"), guid(partition.unique_guid));
        assert_eq!(word("First sector"), partition.first_lba.to_string());
        assert_eq!(word("Last sector"), partition.last_lba.to_string());
        let attributes = format!("{:016X}", partition.attributes);
        assert_eq!(word("Attribute flags"), attributes);
        // It prints a surrogate pair as two characters.
        if partition.name.chars().all(|c| c.len_utf16() == 1) {
            assert_eq!(info["Partition name"], format!("'{}'", partition.name));
        }
    }
}

/// One `"key": value` of a line of `sfdisk --json`.
fn value<'t>(line: &'t str, key: &str) -> Option<&'t str> {
    let (_, rest) = line.split_once(&format!("\"{key}\": "))?;
    Some(rest.trim_end_matches(',').trim_matches('"'))
}

/// The partitions as `sfdisk --json` lists them: start, size, type, id, attributes, name.
fn sfdisk_list(path: &Path) -> Vec<[String; 6]> {
    let json = text(&run("sfdisk", &["--json"], path));
    let (_, list) = json.split_once("\"partitions\": [").unwrap_or_default();
    let one = |object: &str| {
        ["start", "size", "type", "uuid", "attrs", "name"].map(|key| {
            let found = object.lines().find_map(|line| value(line, key));
            found.unwrap_or_default().to_owned()
        })
    };
    list.split("},{")
        .filter(|object| object.contains("start"))
        .map(one)
        .collect()
}

/// Attributes as `sfdisk` writes them.
fn attributes_text(attributes: u64) -> String {
    let names = [
        (0, "RequiredPartition"),
        (1, "NoBlockIOProtocol"),
        (2, "LegacyBIOSBootable"),
    ];
    let named = names.iter().filter(|(bit, _)| attributes >> bit & 1 == 1);
    let mut words: Vec<String> = named.map(|(_, name)| (*name).to_owned()).collect();
    let bits = (48..64).filter(|bit| attributes >> bit & 1 == 1);
    let bits: Vec<String> = bits.map(|bit: u64| bit.to_string()).collect();
    if !bits.is_empty() {
        words.push(format!("GUID:{}", bits.join(",")));
    }
    words.join(" ")
}

fn compare_with_sfdisk(path: &Path, partitions: &[Partition]) {
    let verdict = text(&run("sfdisk", &["--verify"], path));
    assert!(verdict.contains("No errors detected"), "{verdict}");
    let wanted: Vec<[String; 6]> = partitions
        .iter()
        .map(|partition| {
            [
                partition.first_lba.to_string(),
                (partition.size() / SECTOR).to_string(),
                partition.type_guid.to_string().to_uppercase(),
                partition.unique_guid.to_string().to_uppercase(),
                attributes_text(partition.attributes),
                partition.name.clone(),
            ]
        })
        .collect();
    assert_eq!(sfdisk_list(path), wanted);
}

#[test]
fn sgdisk_and_sfdisk_read_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let partitions = typical();
    write_disk(&partitions, 8 * MIB, &path);
    accepted_by_sgdisk(&path);
    compare_with_sgdisk(&path, &partitions);
    compare_with_sfdisk(&path, &partitions);
    let info = text(&run("sgdisk", &["-p"], &path));
    assert!(
        info.contains(&format!(
            "Disk identifier (GUID): {}",
            DISK.to_string().to_uppercase()
        )),
        "{info}"
    );
    let kind = sgdisk_info(&path, 2)["Partition GUID code"].clone();
    assert!(kind.contains("Linux x86-64 root (/)"), "{kind}");
}

#[test]
fn either_copy_is_enough_for_them_and_for_us() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let good = disk(&typical(), 8 * MIB);
    let last = good.len() - SECTOR as usize;
    for (zeroed, copy) in [
        (SECTOR as usize, TableCopy::Backup),
        (last, TableCopy::Primary),
    ] {
        let mut bytes = good.clone();
        bytes[zeroed..zeroed + SECTOR as usize].fill(0);
        let table = gpt::read(bytes.as_slice()).unwrap();
        assert_eq!(table.copy, copy);
        assert_eq!(table.disk_lbas, 8 * MIB);
        assert_eq!(table.partitions, typical());
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(sfdisk_list(&path).len(), typical().len());
    }
}

/// The protective MBR, byte by byte (UEFI 2.10, table 5-4): `sgdisk -v` looks at its type alone.
#[test]
fn the_protective_mbr_covers_the_disk_or_all_it_can_tell() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    // Just what 32 bits can tell, and one more; 3 TiB.
    for (lbas, told) in [
        (8 * MIB, 8 * MIB as u32 - 1),
        (1 << 32, u32::MAX),
        ((1 << 32) + 1, u32::MAX),
        (3 << 31, u32::MAX),
    ] {
        write_disk(&typical(), lbas, &path);
        accepted_by_sgdisk(&path);
        compare_with_sfdisk(&path, &typical());
        let mut mbr = [0; SECTOR as usize];
        File::open(&path)
            .unwrap()
            .read_exact_at(&mut mbr, 0)
            .unwrap();
        let mut wanted = [0; SECTOR as usize];
        wanted[446..454].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
        wanted[454..458].copy_from_slice(&1u32.to_le_bytes());
        wanted[458..462].copy_from_slice(&told.to_le_bytes());
        wanted[510..].copy_from_slice(&[0x55, 0xaa]);
        assert!(mbr == wanted, "{lbas} sectors: {:02x?}", &mbr[440..]);
    }
}

#[test]
fn tables_that_sgdisk_and_sfdisk_made_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    File::create(&path).unwrap().set_len(32 << 20).unwrap();
    let made = [
        "-n1:2048:4095",
        "-t1:ef00",
        "-c1:first",
        "-n7:8192:9000",
        "-t7:8304",
        "-c7:größe",
        "-A7:set:60",
    ];
    text(&run("sgdisk", &made, &path));
    let read = read_file(&path);
    // Numbers 1 and 7: the free entries between them are no partitions.
    assert_eq!(read.partitions.len(), 2);
    assert_eq!(read.partitions[0].type_guid, types::ESP);
    assert_eq!(read.partitions[1].type_guid, types::ROOT_X86_64);
    assert_eq!(read.partitions[1].name, "größe");
    compare_with_sfdisk(&path, &read.partitions);

    // More entries than usual, and so another first usable sector.
    let script = folder.path().join("script");
    let entries =
        "label: gpt\ntable-length: 256\nstart=4096, size=100, name=\"a\"\nstart=8192, size=1\n";
    std::fs::write(&script, entries).unwrap();
    let shell = format!("sfdisk --quiet \"$1\" < {}", script.display());
    text(&run("sh", &["-ec", &shell, "sh"], &path));
    let read = read_file(&path);
    assert_eq!(read.partitions.len(), 2);
    compare_with_sfdisk(&path, &read.partitions);
}

fn read_file(path: &Path) -> Table {
    gpt::read(&std::fs::read(path).unwrap()).unwrap()
}

/// Types and ids of no kind in particular; sectors in the order of the table or not.
fn random_partitions(max: usize) -> impl Strategy<Value = (Vec<Partition>, u64)> {
    let name = prop_oneof![
        3 => "[a-z -]{0,36}",
        1 => "[\\PC&&[^'\"\\\\]]{0,18}",
    ];
    let one = (
        1..u128::MAX,
        name,
        any::<u64>(),
        1..5000u64,
        0..3000u64,
        any::<u16>(),
    );
    (prop::collection::vec(one, 0..max), 1..100_000u64).prop_map(|(parts, free)| {
        let mut next = PRIMARY_SECTORS;
        let mut partitions: Vec<(u16, Partition)> = parts
            .into_iter()
            .enumerate()
            .map(|(index, (id, name, attributes, len, gap, order))| {
                let first = next + gap;
                next = first + len;
                let partition = Partition {
                    type_guid: Guid::from_u128(id),
                    // Unique whatever chance says.
                    unique_guid: Guid::from_u128((id >> 8 << 8) | (index as u128 + 1)),
                    name,
                    first_lba: first,
                    last_lba: next - 1,
                    attributes,
                };
                (order, partition)
            })
            .collect();
        partitions.sort_by_key(|(order, _)| *order);
        let partitions = partitions.into_iter().map(|(_, one)| one).collect();
        (partitions, next + free + BACKUP_SECTORS)
    })
}

/// Both copies, without what lies between.
struct Ends(gpt::Gpt, u64);

impl ReadAt for Ends {
    fn len(&self) -> u64 {
        self.1 * SECTOR
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        let backup = self.len() - self.0.backup.len() as u64;
        match offset.checked_sub(backup) {
            Some(offset) => self.0.backup.read_exact_at(buf, offset),
            None => self.0.primary.read_exact_at(buf, offset),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read((partitions, lbas) in random_partitions(MAX_PARTITIONS + 1)) {
        let mut ends = Ends(gpt::write(DISK, &partitions, lbas).unwrap(), lbas);
        let read = gpt::read(&ends).unwrap();
        let wanted = Table { disk_guid: DISK, partitions, disk_lbas: lbas, copy: TableCopy::Primary };
        prop_assert_eq!(&read, &wanted);
        ends.0.primary.fill(0);
        prop_assert_eq!(gpt::read(&ends).unwrap(), Table { copy: TableCopy::Backup, ..wanted });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn sgdisk_and_sfdisk_read_random_tables((partitions, lbas) in random_partitions(9)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        write_disk(&partitions, lbas, &path);
        accepted_by_sgdisk(&path);
        let ids: Vec<[String; 4]> = partitions
            .iter()
            .map(|one| [
                one.first_lba.to_string(),
                (one.last_lba - one.first_lba + 1).to_string(),
                one.type_guid.to_string().to_uppercase(),
                one.unique_guid.to_string().to_uppercase(),
            ])
            .collect();
        let listed: Vec<[String; 4]> = sfdisk_list(&path)
            .into_iter()
            .map(|[start, size, kind, id, ..]| [start, size, kind, id])
            .collect();
        // sfdisk lists in the table's order, whatever that of the sectors.
        prop_assert_eq!(listed, ids);
        if let Some(first) = partitions.first() {
            let info = sgdisk_info(&path, 1);
            // Control characters aside, as it prints them.
            prop_assert_eq!(info["Attribute flags"].clone(), format!("{:016X}", first.attributes));
        }
    }
}

/// A disk that holds little but its table.
fn small() -> Vec<u8> {
    disk(&[partition("a", 1, 34, 40), partition("b", 2, 41, 41)], 100)
}

#[test]
fn a_disk_cut_anywhere_is_read_or_refused() {
    let whole = small();
    let table = gpt::read(whole.as_slice()).unwrap();
    let primary_end = (PRIMARY_SECTORS * SECTOR) as usize;
    for len in 0..whole.len() {
        match gpt::read(&whole[..len]) {
            Ok(read) => {
                assert!(len >= primary_end, "{len} bytes");
                assert_eq!(read, table);
            }
            Err(Error::NotGpt) => assert!(len < 2 * SECTOR as usize, "{len} bytes"),
            Err(Error::Damaged { primary, .. }) => {
                assert_eq!(primary, Damage::EntriesTruncated, "{len} bytes");
                assert!(len < primary_end);
            }
            Err(error) => panic!("{len} bytes: {error}"),
        }
    }
}

#[test]
fn no_flipped_bit_changes_what_is_read() {
    let whole = small();
    let table = gpt::read(whole.as_slice()).unwrap();
    let sector = SECTOR as usize;
    // The primary's header and the entries in use, some free ones; then the backup's.
    let backup = whole.len() - BACKUP_SECTORS as usize * sector;
    let header = whole.len() - sector;
    for range in [
        sector..sector + 92,
        2 * sector..2 * sector + 300,
        backup..backup + 300,
        header..header + 92,
    ] {
        let copy = if range.start < backup {
            TableCopy::Backup
        } else {
            TableCopy::Primary
        };
        each_flipped_bit(&whole, range, |at, bad| {
            let read = gpt::read(bad).unwrap_or_else(|error| panic!("byte {at}: {error}"));
            assert_eq!(read.partitions, table.partitions, "byte {at}");
            assert_eq!((read.disk_guid, read.disk_lbas), (DISK, 100), "byte {at}");
            assert_eq!(read.copy, copy, "byte {at}");
        });
    }
}

/// Writes a field of the primary header and makes its checksum right; no backup is left.
fn forged(offset: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = small();
    let len = bytes.len();
    bytes[len - SECTOR as usize..].fill(0);
    let header = SECTOR as usize;
    bytes[header + offset..header + offset + value.len()].copy_from_slice(value);
    seal(&mut bytes);
    bytes
}

/// Makes the primary header's checksum right.
fn seal(bytes: &mut [u8]) {
    let header = SECTOR as usize;
    let size = u32::from_le_bytes(bytes[header + 12..header + 16].try_into().unwrap());
    let size = (size as usize).min(SECTOR as usize);
    bytes[header + 16..header + 20].fill(0);
    let crc = crc32fast::hash(&bytes[header..header + size]);
    bytes[header + 16..header + 20].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn headers_that_lie_are_named() {
    let refused = |offset: usize, value: &[u8]| match gpt::read(&forged(offset, value)) {
        Err(Error::Damaged { primary, backup }) => {
            assert_eq!(backup, Damage::Signature);
            primary.to_string()
        }
        other => panic!("{other:?}"),
    };
    let word = u32::to_le_bytes;
    assert_eq!(
        refused(8, &word(0x0002_0000)),
        "revision 0x20000 is not 1.0"
    );
    assert_eq!(refused(12, &word(91)), "header size 91 is not 92..=512");
    assert_eq!(refused(12, &word(513)), "header size 513 is not 92..=512");
    assert_eq!(
        refused(12, &word(u32::MAX)),
        "header size 4294967295 is not 92..=512"
    );
    assert_eq!(
        refused(24, &7u64.to_le_bytes()),
        "header says it lies at LBA 7, lies at 1"
    );
    for lba in [90, u64::MAX / SECTOR, u64::MAX] {
        assert_eq!(
            refused(72, &lba.to_le_bytes()),
            "the disk ends before its entries"
        );
    }
    for count in [4097, u32::MAX] {
        assert_eq!(
            refused(80, &word(count)),
            format!("{count} entries of 128 bytes")
        );
    }
    for size in [0, 64, 127, 129, 384, 8192, u32::MAX] {
        assert_eq!(
            refused(84, &word(size)),
            format!("128 entries of {size} bytes")
        );
    }
    let crc = refused(88, &word(1));
    assert!(
        crc.starts_with("entries' CRC32 is 0x00000001, should be 0x"),
        "{crc}"
    );
    let mut torn = forged(0, b"");
    torn[SECTOR as usize + 20] ^= 1;
    let error = gpt::read(&torn).unwrap_err().to_string();
    assert!(
        error.starts_with("read GPT: primary: header CRC32 is 0x"),
        "{error}"
    );
}

/// Writes an entry's sectors; both checksums are right.
fn with_sectors(first: u64, last: u64) -> Result<Table, Error> {
    let mut bytes = small();
    let entry = 2 * SECTOR as usize + 128;
    bytes[entry + 32..entry + 40].copy_from_slice(&first.to_le_bytes());
    bytes[entry + 40..entry + 48].copy_from_slice(&last.to_le_bytes());
    let entries = 2 * SECTOR as usize..PRIMARY_SECTORS as usize * SECTOR as usize;
    let crc = crc32fast::hash(&bytes[entries]);
    let header = SECTOR as usize;
    bytes[header + 88..header + 92].copy_from_slice(&crc.to_le_bytes());
    let len = bytes.len();
    bytes[len - SECTOR as usize..].fill(0);
    seal(&mut bytes);
    gpt::read(&bytes)
}

#[test]
fn entries_that_lie_are_named() {
    for (first, last) in [
        (41, 40),
        (1, u64::MAX),
        (u64::MAX, u64::MAX),
        (0, u64::MAX / SECTOR),
    ] {
        let error = with_sectors(first, last).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "read GPT: primary: partition 2 has sectors {first}..={last}; backup: no \"EFI \
                 PART\" signature"
            )
        );
    }
    // Past this disk, but not past what bytes can be counted in: who opens it looks.
    let last = u64::MAX / SECTOR - 1;
    let far = with_sectors(50, last).unwrap().partitions.remove(1);
    assert_eq!(
        far.offset().checked_add(far.size()),
        Some((last + 1) * SECTOR)
    );
}

/// The largest table that is read, 4096 entries of 4096 bytes, bounds the memory.
#[test]
fn what_the_header_claims_is_not_what_is_taken() {
    let mut bytes = forged(80, &4096u32.to_le_bytes());
    let header = SECTOR as usize;
    bytes[header + 84..header + 88].copy_from_slice(&4096u32.to_le_bytes());
    seal(&mut bytes);
    let (read, peak) = peak_of(|| gpt::read(&bytes));
    read.unwrap_err();
    assert!(peak < 4096, "{peak} bytes for a disk without those entries");
    bytes.resize(20 << 20, 0);
    let (read, peak) = peak_of(|| gpt::read(&bytes));
    read.unwrap_err();
    assert!(peak < 17 << 20, "{peak} bytes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Any header behind right checksums.
    #[test]
    fn forged_headers_are_read_or_refused(
        fields in prop::collection::vec((8..92usize, any::<u8>()), 1..6),
        entries in prop::collection::vec((0..512usize, any::<u8>()), 0..6),
    ) {
        let mut bytes = small();
        for (at, value) in entries {
            bytes[2 * SECTOR as usize + at] = value;
        }
        let crc = crc32fast::hash(&bytes[1024..PRIMARY_SECTORS as usize * 512]);
        bytes[512 + 88..512 + 92].copy_from_slice(&crc.to_le_bytes());
        for (at, value) in fields {
            bytes[SECTOR as usize + at] = value;
        }
        seal(&mut bytes);
        let (read, peak) = peak_of(|| gpt::read(&bytes));
        prop_assert!(peak < 1 << 20, "{} bytes", peak);
        for partition in read.into_iter().flat_map(|table| table.partitions) {
            prop_assert!(partition.first_lba <= partition.last_lba);
            prop_assert!(partition.offset().checked_add(partition.size()).is_some());
        }
    }

    #[test]
    fn random_bytes_are_no_table(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert!(matches!(gpt::read(&bytes), Err(Error::NotGpt)));
    }
}

#[test]
fn a_small_disk_is_as_it_was() {
    let table = gpt::write(DISK, &typical(), 8 * MIB).unwrap();
    let mut dump = String::new();
    let dump_bytes = |out: &mut String, name: &str, bytes: &[u8]| {
        writeln!(
            out,
            "{name}: {} bytes, sha256={}",
            bytes.len(),
            digest(bytes)
        )
        .unwrap();
        for (row, line) in bytes.chunks(16).enumerate() {
            if line.iter().any(|byte| *byte != 0) {
                let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
                writeln!(out, "{:05x}  {}", row * 16, hex.join(" ")).unwrap();
            }
        }
    };
    dump_bytes(&mut dump, "primary", &table.primary);
    dump_bytes(&mut dump, "backup", &table.backup);
    insta::assert_snapshot!(dump);
}

/// What writing these says.
fn refused(partitions: &[Partition], lbas: u64) -> String {
    gpt::write(DISK, partitions, lbas)
        .map(drop)
        .unwrap_err()
        .to_string()
}

#[test]
fn names_have_36_units() {
    let named = |name: &str| [partition(name, 1, 34, 40)];
    let longest = format!("{}🦀", "n".repeat(MAX_NAME - 2));
    let table = disk(&named(&longest), 100);
    assert_eq!(gpt::read(&table).unwrap().partitions[0].name, longest);
    let name = format!("{longest}n");
    assert_eq!(
        refused(&named(&name), 100),
        format!("write GPT: partition name {name:?} has 37 UTF-16 units, at most 36")
    );
    assert_eq!(
        refused(&named("a\0b"), 100),
        "write GPT: partition name \"a\\0b\" holds a NUL"
    );
}

#[test]
fn the_table_has_128_entries() {
    let mut partitions: Vec<Partition> = (0..128)
        .map(|index| {
            partition(
                &format!("p{index}"),
                u128::from(index) + 1,
                34 + index,
                34 + index,
            )
        })
        .collect();
    let table = disk(&partitions, 34 + 129 + 33);
    assert_eq!(gpt::read(&table).unwrap().partitions, partitions);
    partitions.push(partition("last", 129, 34 + 128, 34 + 128));
    assert_eq!(
        refused(&partitions, 34 + 129 + 33),
        "write GPT: 129 partitions, at most 128"
    );
}

#[test]
fn partitions_lie_in_the_usable_sectors_and_apart() {
    let one = |first, last| refused(&[partition("p", 1, first, last)], 100);
    let usable = |first, last| {
        format!("write GPT: partition \"p\" has sectors {first}..={last}, usable are 34..=66")
    };
    for (first, last) in [(33, 40), (34, 67), (41, 40), (0, 0), (34, u64::MAX)] {
        assert_eq!(one(first, last), usable(first, last));
    }
    gpt::write(DISK, &[partition("p", 1, 34, 66)], 100).unwrap();
    for (first, last) in [(40, 50), (45, 60), (30 + 4, 45), (41, 42), (50, 50)] {
        let pair = [partition("a", 1, 40, 50), partition("b", 2, first, last)];
        assert_eq!(
            refused(&pair, 100),
            "write GPT: partitions \"a\" and \"b\" overlap"
        );
    }
    let apart = [
        partition("a", 1, 40, 50),
        partition("b", 2, 51, 51),
        partition("c", 3, 39, 39),
    ];
    gpt::write(DISK, &apart, 100).unwrap();
}

#[test]
fn disks_have_a_usable_sector_and_bytes_that_can_be_counted() {
    assert_eq!(
        refused(&[], 67),
        "write GPT: a disk of 67 sectors has no room for the table"
    );
    assert_eq!(
        refused(&[], 0),
        "write GPT: a disk of 0 sectors has no room for the table"
    );
    gpt::write(DISK, &[partition("p", 1, 34, 34)], 68).unwrap();
    let most = u64::MAX / SECTOR;
    let last = most - BACKUP_SECTORS - 1;
    let ends = Ends(
        gpt::write(DISK, &[partition("p", 1, 34, last)], most).unwrap(),
        most,
    );
    assert_eq!(gpt::read(&ends).unwrap().partitions[0].last_lba, last);
    assert_eq!(
        refused(&[], most + 1),
        "write GPT: a disk of 36028797018963968 sectors, at most 36028797018963967"
    );
}

#[test]
fn guids_are_given_and_differ() {
    let nil = "write GPT: partition \"p\" has the nil type or the nil GUID";
    assert_eq!(refused(&[partition("p", 0, 34, 34)], 100), nil);
    let typed = Partition {
        type_guid: Guid::NIL,
        ..partition("p", 1, 34, 34)
    };
    assert_eq!(refused(&[typed], 100), nil);
    let pair = [partition("a", 1, 34, 34), partition("b", 1, 35, 35)];
    assert_eq!(
        refused(&pair, 100),
        "write GPT: partitions \"a\" and \"b\" have the same GUID \
         00000000-0000-0000-0000-000000000001"
    );
}
