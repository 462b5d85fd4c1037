//! The GUID partition table (UEFI 2.10, chapter 5.3), as far as adding a last partition needs.
//! Pure: bytes in, bytes out. Sectors are 512 bytes.

use std::fmt;

/// Bytes per sector.
pub const SECTOR: usize = 512;
/// Partitions start at multiples of this many sectors (1 MiB).
const ALIGNMENT: u64 = 2048;
const SIGNATURE: &[u8; 8] = b"EFI PART";
const HEADER_SIZE: usize = 92;
const ENTRY_SIZE: usize = 128;
/// More entries than any tool writes; a bound on what a bad header makes us read.
const MAX_ENTRIES: u32 = 1024;

/// A GUID in its on-disk form: the first three fields little-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// Parses the text form.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        if text.len() != 36 || digits.len() != 32 {
            return None;
        }
        let mut bytes = [0u8; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(swap(bytes)))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in swap(self.0).iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// Turns the on-disk form into the text's order of bytes, and back.
fn swap(bytes: [u8; 16]) -> [u8; 16] {
    let [a0, a1, a2, a3, b0, b1, c0, c1, rest @ ..] = bytes;
    let [d0, d1, d2, d3, d4, d5, d6, d7] = rest;
    [
        a3, a2, a1, a0, b1, b0, c1, c0, d0, d1, d2, d3, d4, d5, d6, d7,
    ]
}

/// A table that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The signature, size or CRC of the header is wrong.
    #[error("no valid GPT header")]
    Header,
    /// The CRC of the entries is wrong.
    #[error("GPT entries do not match their checksum")]
    Entries,
    /// Entries of another size than 128 bytes, or too many.
    #[error("GPT with {count} entries of {size} bytes is not supported")]
    Shape {
        /// `NumberOfPartitionEntries`.
        count: u32,
        /// `SizeOfPartitionEntry`.
        size: u32,
    },
    /// Every entry is in use.
    #[error("GPT has no free entry")]
    Full,
}

/// The header's fields that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    disk_guid: [u8; 16],
    first_usable_lba: u64,
    last_usable_lba: u64,
    entries_lba: u64,
    alternate_lba: u64,
    entry_count: u32,
    entries_crc: u32,
}

/// A partition in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// From 1.
    pub number: u32,
    /// Partition type.
    pub type_guid: Guid,
    /// `PARTUUID`.
    pub guid: Guid,
    /// First sector.
    pub first_lba: u64,
    /// Last sector.
    pub last_lba: u64,
    /// At most 36 UTF-16 units.
    pub label: String,
}

/// A whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    header: Header,
    entries: Vec<u8>,
}

impl Header {
    /// Parses sector 1.
    ///
    /// # Errors
    /// [`Error::Header`] or [`Error::Shape`].
    pub fn parse(sector: &[u8]) -> Result<Self, Error> {
        let mut bytes: [u8; HEADER_SIZE] = *sector.first_chunk().ok_or(Error::Header)?;
        if !bytes.starts_with(SIGNATURE) || le32(&bytes, 12) as usize != HEADER_SIZE {
            return Err(Error::Header);
        }
        let crc = le32(&bytes, 16);
        put(&mut bytes, 16, &[0; 4]);
        if crc32(&bytes) != crc {
            return Err(Error::Header);
        }
        let (count, size) = (le32(&bytes, 80), le32(&bytes, 84));
        if size as usize != ENTRY_SIZE || count == 0 || count > MAX_ENTRIES {
            return Err(Error::Shape { count, size });
        }
        Ok(Self {
            disk_guid: guid(&bytes, 56).0,
            first_usable_lba: le64(&bytes, 40),
            last_usable_lba: le64(&bytes, 48),
            entries_lba: le64(&bytes, 72),
            alternate_lba: le64(&bytes, 32),
            entry_count: count,
            entries_crc: le32(&bytes, 88),
        })
    }

    /// Length of the entries in bytes.
    pub fn entries_len(&self) -> usize {
        self.entry_count as usize * ENTRY_SIZE
    }

    /// Where the entries lie, in bytes.
    pub fn entries_offset(&self) -> u64 {
        self.entries_lba.saturating_mul(SECTOR as u64)
    }

    fn encode(
        &self,
        my_lba: u64,
        alternate_lba: u64,
        entries_lba: u64,
        entries_crc: u32,
    ) -> [u8; SECTOR] {
        let mut sector = [0u8; SECTOR];
        put(&mut sector, 0, SIGNATURE);
        put(&mut sector, 8, &0x0001_0000u32.to_le_bytes());
        put(&mut sector, 12, &92u32.to_le_bytes());
        put(&mut sector, 24, &my_lba.to_le_bytes());
        put(&mut sector, 32, &alternate_lba.to_le_bytes());
        put(&mut sector, 40, &self.first_usable_lba.to_le_bytes());
        put(&mut sector, 48, &self.last_usable_lba.to_le_bytes());
        put(&mut sector, 56, &self.disk_guid);
        put(&mut sector, 72, &entries_lba.to_le_bytes());
        put(&mut sector, 80, &self.entry_count.to_le_bytes());
        put(&mut sector, 84, &128u32.to_le_bytes());
        put(&mut sector, 88, &entries_crc.to_le_bytes());
        let crc = crc32(sector.get(..HEADER_SIZE).unwrap_or_default());
        put(&mut sector, 16, &crc.to_le_bytes());
        sector
    }
}

impl Table {
    /// Joins a header and its entries.
    ///
    /// # Errors
    /// [`Error::Entries`] when the checksum does not match.
    pub fn new(header: Header, entries: Vec<u8>) -> Result<Self, Error> {
        if crc32(&entries) != header.entries_crc {
            return Err(Error::Entries);
        }
        Ok(Self { header, entries })
    }

    /// The partitions in use.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> + '_ {
        (1..)
            .zip(self.entries.chunks_exact(ENTRY_SIZE))
            .filter_map(|(number, entry)| {
                let type_guid = guid(entry, 0);
                (type_guid != Guid::default()).then(|| Partition {
                    number,
                    type_guid,
                    guid: guid(entry, 16),
                    first_lba: le64(entry, 32),
                    last_lba: le64(entry, 40),
                    label: label(entry.get(56..).unwrap_or_default()),
                })
            })
    }

    /// Moves the table's end to the end of the disk: the disk may be larger than the image.
    pub fn stretch(&mut self, disk_sectors: u64) {
        let entries_sectors = self.entries_sectors();
        let alternate = disk_sectors.saturating_sub(1);
        self.header.alternate_lba = alternate;
        self.header.last_usable_lba = alternate.saturating_sub(entries_sectors).saturating_sub(1);
    }

    /// The aligned room after the last partition: first and last sector, if there is any.
    pub fn room(&self) -> Option<(u64, u64)> {
        let used = self.partitions().map(|partition| partition.last_lba).max();
        let next = match used {
            Some(last) => last.checked_add(1)?,
            None => self.header.first_usable_lba,
        };
        let first = next.checked_next_multiple_of(ALIGNMENT)?;
        let end = self.header.last_usable_lba.checked_add(1)? / ALIGNMENT * ALIGNMENT;
        (first < end).then(|| (first, end.saturating_sub(1)))
    }

    /// Adds a partition in the first free entry and returns its number.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub fn add(
        &mut self,
        label: &str,
        type_guid: Guid,
        guid: Guid,
        lbas: (u64, u64),
    ) -> Result<u32, Error> {
        let (number, entry) = (1..)
            .zip(self.entries.chunks_exact_mut(ENTRY_SIZE))
            .find(|(_, entry)| entry.iter().take(16).all(|byte| *byte == 0))
            .ok_or(Error::Full)?;
        entry.fill(0);
        put(entry, 0, &type_guid.0);
        put(entry, 16, &guid.0);
        put(entry, 32, &lbas.0.to_le_bytes());
        put(entry, 40, &lbas.1.to_le_bytes());
        for (index, unit) in label.encode_utf16().take(36).enumerate() {
            put(entry, 56 + index * 2, &unit.to_le_bytes());
        }
        self.header.entries_crc = crc32(&self.entries);
        Ok(number)
    }

    /// What to write, in the order that leaves one valid table at any moment: byte offset and
    /// data of the backup's entries and header, then of the primary's.
    pub fn encode(&self) -> [(u64, Vec<u8>); 4] {
        let Header {
            entries_lba,
            alternate_lba,
            ..
        } = self.header;
        let crc = crc32(&self.entries);
        let backup_entries = alternate_lba.saturating_sub(self.entries_sectors());
        let primary = self.header.encode(1, alternate_lba, entries_lba, crc);
        let backup = self.header.encode(alternate_lba, 1, backup_entries, crc);
        let offset = |lba: u64| lba.saturating_mul(SECTOR as u64);
        [
            (offset(backup_entries), self.entries.clone()),
            (offset(alternate_lba), backup.to_vec()),
            (offset(entries_lba), self.entries.clone()),
            (offset(1), primary.to_vec()),
        ]
    }

    fn entries_sectors(&self) -> u64 {
        self.entries.len().div_ceil(SECTOR) as u64
    }
}

/// Lets the protective MBR's only partition cover a disk of this size (UEFI 2.10, table 5-4).
/// False when sector 0 is no protective MBR.
pub fn stretch_protective_mbr(sector: &mut [u8], disk_sectors: u64) -> bool {
    if sector.get(450) != Some(&0xee) || sector.get(510..512) != Some(&[0x55, 0xaa]) {
        return false;
    }
    let size = u32::try_from(disk_sectors.saturating_sub(1)).unwrap_or(u32::MAX);
    put(sector, 458, &size.to_le_bytes());
    true
}

fn label(units: &[u8]) -> String {
    let units = units
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_le_bytes(*pair))
        .take_while(|unit| *unit != 0);
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

fn chunk<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    // Only called on buffers of known length.
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

fn le32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(chunk(bytes, offset))
}

fn le64(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(chunk(bytes, offset))
}

fn guid(bytes: &[u8], offset: usize) -> Guid {
    Guid(chunk(bytes, offset))
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    if let Some(target) = bytes
        .get_mut(offset..)
        .and_then(|rest| rest.get_mut(..value.len()))
    {
        target.copy_from_slice(value);
    }
}

/// CRC-32 as in IEEE 802.3. A table has 16 KiB: bit by bit is fast enough.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc = (crc >> 1) ^ (0xedb8_8320 & low.wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        os::unix::fs::FileExt,
        path::PathBuf,
        process::{Command, Output},
    };

    use proptest::prelude::*;

    use super::*;
    use crate::block::partition::read_table;

    const TYPE: &str = i2kit_contract::SCRATCH_TYPE_GUID;
    const MIB: u64 = 1 << 20;

    fn sgdisk(arguments: &[&str], disk: &PathBuf) -> Output {
        let output = Command::new("sgdisk")
            .args(arguments)
            .arg(disk)
            .output()
            .expect("this test needs sgdisk (Debian package gdisk)");
        assert!(output.status.success(), "{output:?}");
        output
    }

    fn disk(name: &str) -> (PathBuf, File) {
        let path = std::env::temp_dir().join(format!("i2kit-gpt-{name}-{}", std::process::id()));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        file.set_len(16 * MIB).unwrap();
        sgdisk(
            &[
                "-n1:2048:+4M",
                "-c1:store",
                "-u1:00010203-0405-0607-0809-0a0b0c0d0e0f",
            ],
            &path,
        );
        (path, file)
    }

    /// The oracle: sgdisk writes what is read here, and finds no fault in what is written here.
    #[test]
    fn a_partition_is_added_on_a_disk_that_grew() {
        let (path, file) = disk("grown");
        file.set_len(64 * MIB).unwrap();
        let sectors = 64 * MIB / 512;
        let mut table = read_table(&file).unwrap();
        let store = table.partitions().next().unwrap();
        assert_eq!(store.label, "store");
        assert_eq!(
            store.guid.to_string(),
            "00010203-0405-0607-0809-0a0b0c0d0e0f"
        );
        table.stretch(sectors);
        let room = table.room().unwrap();
        assert_eq!(room.0, 10240);
        assert_eq!((room.1 + 1) % 2048, 0);
        let guid = Guid::parse("11111111-2222-3333-4444-555555555555").unwrap();
        let number = table
            .add("scratch", Guid::parse(TYPE).unwrap(), guid, room)
            .unwrap();
        assert_eq!(number, 2);
        for (offset, data) in table.encode() {
            file.write_all_at(&data, offset).unwrap();
        }
        let mut mbr = [0; SECTOR];
        file.read_exact_at(&mut mbr, 0).unwrap();
        assert!(stretch_protective_mbr(&mut mbr, sectors));
        file.write_all_at(&mbr, 0).unwrap();

        let verdict = String::from_utf8(sgdisk(&["-v"], &path).stdout).unwrap();
        assert!(verdict.contains("No problems found"), "{verdict}");
        let info = String::from_utf8(sgdisk(&["-i2"], &path).stdout).unwrap();
        assert!(
            info.contains("11111111-2222-3333-4444-555555555555"),
            "{info}"
        );
        assert!(
            info.contains("'scratch'") && info.contains("8300")
                || info.contains("Linux filesystem")
        );
        let again = read_table(&file).unwrap();
        assert_eq!(again, table);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let (path, file) = disk("flipped");
        file.write_all_at(&[0x01], 1024 + 40).unwrap();
        assert_eq!(
            read_table(&file).unwrap_err().to_string(),
            Error::Entries.to_string()
        );
        file.write_all_at(&[0xff], 512 + 40).unwrap();
        assert_eq!(
            read_table(&file).unwrap_err().to_string(),
            Error::Header.to_string()
        );
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn no_room_is_no_room() {
        let (path, file) = disk("full");
        sgdisk(&["-n2:0:0"], &path);
        assert_eq!(read_table(&file).unwrap().room(), None);
        std::fs::remove_file(path).unwrap();
    }

    proptest! {
        #[test]
        fn no_input_panics(
            start in any::<bool>(),
            sector in proptest::collection::vec(any::<u8>(), 0..600),
            entries in proptest::collection::vec(any::<u8>(), 0..1024),
            sectors in any::<u64>(),
        ) {
            let mut bytes = sector.clone();
            if start && bytes.len() >= HEADER_SIZE {
                // Past the checks, every field is free.
                bytes[..8].copy_from_slice(SIGNATURE);
                bytes[12..16].copy_from_slice(&92u32.to_le_bytes());
                bytes[84..88].copy_from_slice(&128u32.to_le_bytes());
                bytes[80..84].copy_from_slice(&8u32.to_le_bytes());
                bytes[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
                bytes[16..20].copy_from_slice(&[0; 4]);
                let crc = crc32(&bytes[..HEADER_SIZE]);
                bytes[16..20].copy_from_slice(&crc.to_le_bytes());
            }
            if let Ok(mut table) = Header::parse(&bytes).and_then(|header| Table::new(header, entries)) {
                let _ = table.partitions().count();
                table.stretch(sectors);
                let room = table.room();
                let _ = table.add("scratch", Guid::default(), Guid::default(), room.unwrap_or_default());
                let _ = table.encode();
            }
        }
    }
}
