//! The writer.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use super::disk::{
    ENTRY_SIZE, Entry, HEADER_SIZE, Header, MbrRecord, ProtectiveMbr, REVISION_1_0, SIGNATURE,
};
use super::{
    BACKUP_SECTORS, Error, Gpt, MAX_LBAS, MAX_NAME, MAX_PARTITIONS, PRIMARY_SECTORS, Partition,
};
use crate::guid::Guid;

const SECTOR_BYTES: usize = super::SECTOR_LEN;

/// Writes the table of a disk of `disk_lbas` sectors.
///
/// # Errors
/// [`Error`] when a partition lies outside the usable sectors or over another one, when two have
/// the same GUID, or when a name is too long.
pub fn write(disk_guid: Guid, partitions: &[Partition], disk_lbas: u64) -> Result<Gpt, Error> {
    let place = Place::of(disk_lbas)?;
    check(partitions, &place)?;
    let entries = entries(partitions);

    let mut primary = protective_mbr(disk_lbas).as_bytes().to_vec();
    primary.extend(header_sector(disk_guid, &entries, &place, true));
    primary.extend(&entries);

    let mut backup = entries;
    let header = header_sector(disk_guid, &backup, &place, false);
    backup.extend(header);
    Ok(Gpt { primary, backup })
}

/// The sectors that a disk's size fixes.
struct Place {
    last_lba: u64,
    first_usable: u64,
    last_usable: u64,
}

impl Place {
    fn of(disk_lbas: u64) -> Result<Self, Error> {
        // At least one usable sector, or first_usable_lba would exceed last_usable_lba.
        if disk_lbas <= PRIMARY_SECTORS + BACKUP_SECTORS {
            return Err(Error::DiskTooSmall { disk_lbas });
        }
        if disk_lbas > MAX_LBAS {
            return Err(Error::DiskTooLarge {
                disk_lbas,
                max: MAX_LBAS,
            });
        }
        Ok(Self {
            last_lba: disk_lbas - 1,
            first_usable: PRIMARY_SECTORS,
            last_usable: disk_lbas - BACKUP_SECTORS - 1,
        })
    }
}

fn check(partitions: &[Partition], place: &Place) -> Result<(), Error> {
    if partitions.len() > MAX_PARTITIONS {
        return Err(Error::TooManyPartitions {
            count: partitions.len(),
        });
    }
    for partition in partitions {
        check_one(partition, place)?;
    }
    check_pairs(partitions)
}

fn check_one(partition: &Partition, place: &Place) -> Result<(), Error> {
    let Partition {
        name,
        first_lba,
        last_lba,
        ..
    } = partition;
    if [partition.type_guid, partition.unique_guid].contains(&Guid::NIL) {
        return Err(Error::NilGuid { name: name.clone() });
    }
    let units = name.encode_utf16().count();
    if units > MAX_NAME {
        return Err(Error::NameTooLong {
            name: name.clone(),
            units,
        });
    }
    if name.contains('\0') {
        return Err(Error::NameNul { name: name.clone() });
    }
    if first_lba > last_lba || *first_lba < place.first_usable || *last_lba > place.last_usable {
        return Err(Error::OutOfRange {
            name: name.clone(),
            first_lba: *first_lba,
            last_lba: *last_lba,
            first_usable: place.first_usable,
            last_usable: place.last_usable,
        });
    }
    Ok(())
}

fn check_pairs(partitions: &[Partition]) -> Result<(), Error> {
    for (i, a) in partitions.iter().enumerate() {
        for b in partitions.iter().skip(i + 1) {
            let names = || (a.name.clone(), b.name.clone());
            if a.first_lba <= b.last_lba && b.first_lba <= a.last_lba {
                let (first, second) = names();
                return Err(Error::Overlap { first, second });
            }
            if a.unique_guid == b.unique_guid {
                let (first, second) = names();
                return Err(Error::SameGuid {
                    first,
                    second,
                    guid: a.unique_guid,
                });
            }
        }
    }
    Ok(())
}

fn entries(partitions: &[Partition]) -> Vec<u8> {
    let mut bytes: Vec<u8> = partitions
        .iter()
        .flat_map(|p| entry(p).as_bytes().to_vec())
        .collect();
    bytes.resize(MAX_PARTITIONS * size_of::<Entry>(), 0);
    bytes
}

fn entry(partition: &Partition) -> Entry {
    let mut partition_name = [U16::ZERO; MAX_NAME];
    for (unit, value) in partition_name.iter_mut().zip(partition.name.encode_utf16()) {
        unit.set(value);
    }
    Entry {
        partition_type_guid: partition.type_guid.to_mixed_endian(),
        unique_partition_guid: partition.unique_guid.to_mixed_endian(),
        starting_lba: U64::new(partition.first_lba),
        ending_lba: U64::new(partition.last_lba),
        attributes: U64::new(partition.attributes),
        partition_name,
    }
}

fn header_sector(disk_guid: Guid, entries: &[u8], place: &Place, primary: bool) -> Vec<u8> {
    let (my_lba, alternate_lba, entry_lba) = if primary {
        (1, place.last_lba, 2)
    } else {
        (place.last_lba, 1, place.last_usable + 1)
    };
    let mut header = Header {
        signature: SIGNATURE,
        revision: U32::new(REVISION_1_0),
        header_size: U32::new(HEADER_SIZE),
        header_crc32: U32::ZERO,
        reserved: U32::ZERO,
        my_lba: U64::new(my_lba),
        alternate_lba: U64::new(alternate_lba),
        first_usable_lba: U64::new(place.first_usable),
        last_usable_lba: U64::new(place.last_usable),
        disk_guid: disk_guid.to_mixed_endian(),
        partition_entry_lba: U64::new(entry_lba),
        number_of_partition_entries: U32::new(super::MAX_PARTITIONS_U32),
        size_of_partition_entry: U32::new(ENTRY_SIZE),
        partition_entry_array_crc32: U32::new(crc32fast::hash(entries)),
    };
    header.header_crc32 = U32::new(crc32fast::hash(header.as_bytes()));
    let mut sector = header.as_bytes().to_vec();
    sector.resize(SECTOR_BYTES, 0);
    sector
}

fn protective_mbr(disk_lbas: u64) -> ProtectiveMbr {
    let mut mbr = ProtectiveMbr::new_zeroed();
    mbr.signature = U16::new(0xaa55);
    mbr.partition_record = [
        MbrRecord {
            boot_indicator: 0,
            starting_chs: [0x00, 0x02, 0x00],
            os_type: 0xee,
            // The end cannot be told in cylinders: the value that the specification asks for.
            ending_chs: [0xff, 0xff, 0xff],
            starting_lba: U32::new(1),
            size_in_lba: U32::new(u32::try_from(disk_lbas - 1).unwrap_or(u32::MAX)),
        },
        MbrRecord::new_zeroed(),
        MbrRecord::new_zeroed(),
        MbrRecord::new_zeroed(),
    ];
    mbr
}
