//! The reader.

use zerocopy::FromBytes;
use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::disk::{ENTRY_SIZE, Entry, HEADER_SIZE, Header, REVISION_1_0, SIGNATURE};
use super::{Damage, Error, MAX_LBAS, Partition, SECTOR, Table, TableCopy};
use crate::ReadAt;
use crate::guid::Guid;

/// The most entries that are read: what `sgdisk` allows, too; more are a damaged header.
const MAX_ENTRIES: u32 = 4096;
/// The largest entry that is read, bytes.
const MAX_ENTRY_SIZE: u32 = 4096;

/// Reads a disk's table: the primary one, or the backup in the last sectors when the primary is
/// damaged.
///
/// # Errors
/// [`Error::NotGpt`] when neither place has the signature, [`Error::Damaged`] when neither copy
/// is whole, [`Error::Io`] when the disk cannot be read.
pub fn read<R: ReadAt + ?Sized>(disk: &R) -> Result<Table, Error> {
    let primary = match read_copy(disk, 1, TableCopy::Primary)? {
        Ok(table) => return Ok(table),
        Err(damage) => damage,
    };
    let last_lba = (disk.len() / SECTOR).saturating_sub(1);
    match read_copy(disk, last_lba, TableCopy::Backup)? {
        Ok(table) => Ok(table),
        Err(backup) if is_absent(&primary) && is_absent(&backup) => Err(Error::NotGpt),
        Err(backup) => Err(Error::Damaged { primary, backup }),
    }
}

fn is_absent(damage: &Damage) -> bool {
    matches!(damage, Damage::Signature | Damage::Truncated)
}

/// The outer error is the disk's, the inner one this copy's.
type Attempt<T> = Result<Result<T, Damage>, Error>;

fn read_copy<R: ReadAt + ?Sized>(disk: &R, lba: u64, copy: TableCopy) -> Attempt<Table> {
    let mut sector = [0; super::SECTOR_LEN];
    let Some(offset) = within(disk, lba, SECTOR) else {
        return Ok(Err(Damage::Truncated));
    };
    disk.read_exact_at(&mut sector, offset)?;
    let header = match parse_header(&sector, lba) {
        Ok(header) => header,
        Err(damage) => return Ok(Err(damage)),
    };
    let entry_size = header.size_of_partition_entry.get();
    let len = u64::from(header.number_of_partition_entries.get()) * u64::from(entry_size);
    let Some(offset) = within(disk, header.partition_entry_lba.get(), len) else {
        return Ok(Err(Damage::EntriesTruncated));
    };
    // parse_header bounded both factors.
    let mut entries = vec![0; usize::try_from(len).unwrap_or(0)];
    disk.read_exact_at(&mut entries, offset)?;
    Ok(parse_entries(&header, &entries).map(|partitions| Table {
        disk_guid: Guid::from_mixed_endian(header.disk_guid),
        partitions,
        disk_lbas: lba.max(header.alternate_lba.get()).saturating_add(1),
        copy,
    }))
}

/// The byte offset of a sector when `len` bytes from there are inside the disk.
fn within<R: ReadAt + ?Sized>(disk: &R, lba: u64, len: u64) -> Option<u64> {
    let offset = lba.checked_mul(SECTOR)?;
    (offset.checked_add(len)? <= disk.len()).then_some(offset)
}

fn parse_header(sector: &[u8; super::SECTOR_LEN], lba: u64) -> Result<Header, Damage> {
    let (header, _) = Header::read_from_prefix(sector).map_err(|_| Damage::Truncated)?;
    if header.signature != SIGNATURE {
        return Err(Damage::Signature);
    }
    if header.revision.get() != REVISION_1_0 {
        return Err(Damage::Revision(header.revision.get()));
    }
    let size = header.header_size.get();
    let rest = (size >= HEADER_SIZE)
        .then(|| sector.get(HEADER_SIZE as usize..size as usize))
        .flatten()
        .ok_or(Damage::HeaderSize(size))?;
    let found = header.header_crc32.get();
    let computed = header_crc(&header, rest);
    if found != computed {
        return Err(Damage::HeaderCrc { found, computed });
    }
    if header.my_lba.get() != lba {
        return Err(Damage::MyLba {
            found: header.my_lba.get(),
            actual: lba,
        });
    }
    let count = header.number_of_partition_entries.get();
    let entry_size = header.size_of_partition_entry.get();
    // 128 times a power of two (UEFI 2.10, table 5-5).
    if count > MAX_ENTRIES
        || !(ENTRY_SIZE..=MAX_ENTRY_SIZE).contains(&entry_size)
        || !entry_size.is_power_of_two()
    {
        return Err(Damage::EntryArray {
            count,
            size: entry_size,
        });
    }
    Ok(header)
}

/// The CRC is over the header with its own field as zero.
fn header_crc(header: &Header, rest: &[u8]) -> u32 {
    let mut zeroed = header.clone();
    zeroed.header_crc32 = U32::ZERO;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(zeroed.as_bytes());
    hasher.update(rest);
    hasher.finalize()
}

fn parse_entries(header: &Header, bytes: &[u8]) -> Result<Vec<Partition>, Damage> {
    let found = header.partition_entry_array_crc32.get();
    let computed = crc32fast::hash(bytes);
    if found != computed {
        return Err(Damage::EntriesCrc { found, computed });
    }
    bytes
        .chunks_exact(header.size_of_partition_entry.get() as usize)
        .filter_map(|chunk| Entry::read_from_prefix(chunk).ok())
        .enumerate()
        .filter(|(_, (entry, _))| entry.partition_type_guid != [0; 16])
        .map(|(index, (entry, _))| parse_entry(index + 1, &entry))
        .collect()
}

fn parse_entry(number: usize, entry: &Entry) -> Result<Partition, Damage> {
    let (first_lba, last_lba) = (entry.starting_lba.get(), entry.ending_lba.get());
    if first_lba > last_lba || last_lba >= MAX_LBAS {
        return Err(Damage::Sectors {
            number,
            first_lba,
            last_lba,
        });
    }
    let units: Vec<u16> = entry
        .partition_name
        .iter()
        .map(|unit| unit.get())
        .take_while(|unit| *unit != 0)
        .collect();
    Ok(Partition {
        type_guid: Guid::from_mixed_endian(entry.partition_type_guid),
        unique_guid: Guid::from_mixed_endian(entry.unique_partition_guid),
        name: String::from_utf16_lossy(&units),
        first_lba,
        last_lba,
        attributes: entry.attributes.get(),
    })
}
