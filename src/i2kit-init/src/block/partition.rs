//! Partitions as the kernel shows them in `/sys/class/block`.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::block::gpt;

/// How often sysfs is looked at while a device is awaited.
const POLL: Duration = Duration::from_millis(5);

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its device node.
    pub device: PathBuf,
    /// The kernel's name of its disk, such as `vda`.
    pub disk: String,
}

/// No partition with this PARTUUID appeared in time.
#[derive(Debug, thiserror::Error)]
#[error("find the {what} partition: no PARTUUID={partuuid} within {seconds} s (disks: {disks})")]
pub struct Missing {
    what: &'static str,
    partuuid: String,
    seconds: u64,
    disks: String,
}

/// Waits for the partition `what` with this PARTUUID. Drivers probe asynchronously, so it may
/// come after its module is loaded.
///
/// # Errors
/// [`Missing`] after `patience`, with the disks that are there.
pub fn wait_for(
    what: &'static str,
    partuuid: &str,
    patience: Duration,
) -> Result<Partition, Missing> {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = find(Path::new("/sys/class/block"), partuuid) {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(Missing {
                what,
                partuuid: partuuid.to_owned(),
                seconds: patience.as_secs(),
                disks: disks(),
            });
        }
        thread::sleep(POLL);
    }
}

fn disks() -> String {
    let names: Vec<String> = fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    if names.is_empty() {
        "none".into()
    } else {
        names.join(" ")
    }
}

fn find(class: &Path, partuuid: &str) -> Option<Partition> {
    fs::read_dir(class).ok()?.flatten().find_map(|entry| {
        let sys = entry.path();
        let uevent = fs::read_to_string(sys.join("uevent")).ok()?;
        if uevent_value(&uevent, "DEVTYPE") != Some("partition") {
            return None;
        }
        let disk = parent_disk(&sys)?;
        // Kernels before 6.9 have no PARTUUID here; then the table itself is read.
        let matches = match uevent_value(&uevent, "PARTUUID") {
            Some(found) => found.eq_ignore_ascii_case(partuuid),
            None => table_partuuid(&disk, uevent_value(&uevent, "PARTN")?)?
                .eq_ignore_ascii_case(partuuid),
        };
        let device = Path::new("/dev").join(uevent_value(&uevent, "DEVNAME")?);
        (matches && device.exists()).then_some(Partition { device, disk })
    })
}

/// `/sys/class/block/vda2` links to `…/block/vda/vda2`: the parent folder is the disk.
fn parent_disk(sys: &Path) -> Option<String> {
    let real = fs::canonicalize(sys).ok()?;
    Some(real.parent()?.file_name()?.to_str()?.to_owned())
}

fn table_partuuid(disk: &str, number: &str) -> Option<String> {
    let number: u32 = number.parse().ok()?;
    let file = File::open(Path::new("/dev").join(disk)).ok()?;
    let table = read_table(&file).ok()?;
    table
        .partitions()
        .find(|partition| partition.number == number)
        .map(|partition| partition.guid.to_string())
}

/// Reads and checks the primary partition table of a disk with 512-byte sectors.
///
/// # Errors
/// `InvalidData` when there is no valid table.
pub fn read_table(disk: &File) -> io::Result<gpt::Table> {
    let mut sector = [0u8; gpt::SECTOR];
    disk.read_exact_at(&mut sector, gpt::SECTOR as u64)?;
    let header = gpt::Header::parse(&sector).map_err(invalid)?;
    let mut entries = vec![0; header.entries_len()];
    disk.read_exact_at(&mut entries, header.entries_offset())?;
    gpt::Table::new(header, entries).map_err(invalid)
}

fn invalid(error: gpt::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The value of a line `KEY=value`.
fn uevent_value<'a>(uevent: &'a str, key: &str) -> Option<&'a str> {
    uevent
        .lines()
        .find_map(|line| line.split_once('=').filter(|(found, _)| *found == key))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uevent_lines_are_found_by_their_whole_key() {
        let uevent =
            "MAJOR=254\nDEVNAME=vda2\nDEVTYPE=partition\nPARTN=2\nPARTNAME=store\nPARTUUID=aa-bb\n";
        assert_eq!(uevent_value(uevent, "PARTN"), Some("2"));
        assert_eq!(uevent_value(uevent, "PARTUUID"), Some("aa-bb"));
        assert_eq!(uevent_value(uevent, "PART"), None);
    }

    #[test]
    fn a_missing_partition_is_named() {
        let error = wait_for(
            "store",
            "00000000-0000-0000-0000-000000000000",
            Duration::ZERO,
        )
        .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("find the store partition: no PARTUUID=0000")
        );
    }
}
