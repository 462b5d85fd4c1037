//! Everything but the contents of UKI, store, hash tree and error correction.

use std::io;

use i2kit_contract::{LABEL_ESP, LABEL_STORE, LABEL_STORE_FEC, LABEL_STORE_VERITY};
use i2kit_format::read_at::Window;
use i2kit_format::{ReadAt, fat, gpt};

use super::{Error, Fault, Parts, esp, read, window};
use crate::assemble::partitions::Partitioned;
use crate::assemble::place::Like;
use crate::assemble::resign;

/// Bytes compared at once.
const CHUNK: usize = 1 << 20;
/// Partitions whose content is checked elsewhere.
const CONTENTS: [&str; 3] = [LABEL_STORE, LABEL_STORE_VERITY, LABEL_STORE_FEC];
/// Where the entries of the first table end.
const PRIMARY: u64 = gpt::PRIMARY_SECTORS * gpt::SECTOR;
const BACKUP: u64 = gpt::BACKUP_SECTORS * gpt::SECTOR;

/// Lays the disk out again from its UKI and its store, as one built like `like`, and compares.
pub(super) fn check(parts: &Parts<'_>, like: &Like) -> Result<(), Error> {
    let uki = parts.uki.clone();
    let made = resign::lay_out(parts.disk, parts.table, uki, parts.root_hash, like);
    let made = made.map_err(|error| Fault::new("partition table", error.to_string()))?;
    if made.disk.len() != parts.disk.len() {
        let (found, built) = (parts.disk.len(), made.disk.len());
        let reason = format!("{found} bytes, it was built with {built}");
        return Err(Fault::new("disk", reason).into());
    }
    check_identifiers(parts, &made)?;
    let mut from = 0;
    for (start, end) in contents(&made) {
        compare(parts, &made, from, start)?;
        from = end;
    }
    compare(parts, &made, from, parts.disk.len())
}

/// Of the UKI's and the store's hashes three identifiers are made: where all differ, it is not they
/// that were altered.
fn check_identifiers(parts: &Parts<'_>, made: &Partitioned) -> Result<(), Error> {
    let expected = gpt::read(&made.disk)?;
    let esp = |table: &gpt::Table| table.partitions.first().map(|one| one.unique_guid);
    let is_other = parts.table.disk_guid != expected.disk_guid
        && esp(parts.table) != esp(&expected)
        && volume_id(parts.disk, parts.table)? != volume_id(&made.disk, &expected)?;
    if !is_other {
        return Ok(());
    }
    let reason = "it was altered: the disk's GUIDs were made of another one's hash";
    Err(Fault::new(LABEL_ESP, reason).file(esp::UKI_PATH).into())
}

fn volume_id(disk: &dyn ReadAt, table: &gpt::Table) -> Result<u32, Error> {
    Ok(fat::read(&window(disk, table, LABEL_ESP)?)?.volume_id)
}

/// Where partitions lie whose content is checked elsewhere, ascending.
fn contents(made: &Partitioned) -> impl Iterator<Item = (u64, u64)> {
    let partitions = made.partitions.iter();
    let ours = partitions.filter(|one| CONTENTS.contains(&one.name.as_str()));
    ours.map(|one| (one.offset(), one.offset() + one.size()))
}

fn compare(parts: &Parts<'_>, made: &Partitioned, from: u64, until: u64) -> Result<(), Error> {
    match unlike(parts.disk, &made.disk, from, until).map_err(read("disk"))? {
        None => Ok(()),
        Some(offset) => Err(fault(made, offset).into()),
    }
}

/// The first byte in the range that the two have not in common.
///
/// # Errors
/// What reading them answers.
pub fn unlike(
    found: &dyn ReadAt,
    expected: &dyn ReadAt,
    from: u64,
    until: u64,
) -> io::Result<Option<u64>> {
    let (mut one, mut other) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = from;
    while at < until {
        let len = usize::try_from(until - at).unwrap_or(CHUNK).min(CHUNK);
        let (one, other) = (one.get_mut(..len), other.get_mut(..len));
        let (one, other) = (one.unwrap_or_default(), other.unwrap_or_default());
        found.read_exact_at(one, at)?;
        expected.read_exact_at(other, at)?;
        if one != other {
            let same = one.iter().zip(&*other).take_while(|(a, b)| a == b);
            return Ok(Some(at + same.count() as u64));
        }
        at += len as u64;
    }
    Ok(None)
}

/// Names what lies at a byte that is not as it was built.
fn fault(made: &Partitioned, offset: u64) -> Fault {
    const REASON: &str = "not as it was built";
    let Some(partition) = made.partitions.iter().find(|one| one.has(offset)) else {
        let fault = Fault::new("partition table", REASON).offset(offset);
        return fault.structure(table_structure(made, offset));
    };
    let fault = Fault::new(&partition.name, REASON).offset(offset);
    let within = offset - partition.offset();
    let fault = fault.block(within / i2kit_format::BLOCK);
    let esp = Window::new(&made.disk, partition.offset(), partition.size());
    match esp.map(|esp| fat::structure(&esp, within)) {
        Some(Ok("clusters")) => fault.structure("directories or unused clusters"),
        Some(Ok(structure)) => fault.structure(structure),
        _ => fault,
    }
}

fn table_structure(made: &Partitioned, offset: u64) -> String {
    let backup = made.disk.len() - BACKUP;
    let header = made.disk.len() - gpt::SECTOR;
    let entry = |at: u64| {
        let number = usize::try_from(at / 128).unwrap_or(usize::MAX);
        let name = made.partitions.get(number).map(|one| one.name.as_str());
        format!("entry {} ({})", number + 1, name.unwrap_or("unused"))
    };
    match offset / gpt::SECTOR {
        0 => "protective MBR".to_owned(),
        1 => "primary header".to_owned(),
        _ if offset < PRIMARY => format!("primary {}", entry(offset - 2 * gpt::SECTOR)),
        _ if offset >= header => "backup header".to_owned(),
        _ if offset >= backup => format!("backup {}", entry(offset - backup)),
        _ => "room that no partition has".to_owned(),
    }
}
