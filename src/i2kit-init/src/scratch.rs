//! The writable part: a partition that the first boot makes in the room after the image, or a
//! bounded tmpfs where there is no room. Mounted at [`paths::VAR`].

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use i2kit_contract::{LABEL_SCRATCH, SCRATCH_LEAST_BYTES, SCRATCH_TYPE_GUID};
use rustix::mount::MountFlags;

use crate::{
    block::{gpt, partition::read_table},
    console::Console,
    fault::{Context, Fault},
    mounts, paths,
};

/// Share of the memory that scratch may take when it is a tmpfs.
const TMPFS_PERCENT: u8 = 50;
pub const FS_LABEL: &str = "i2kit-scratch";
const MKFS: &str = "/usr/sbin/mkfs.ext4";
/// How long devtmpfs may take to show a partition that the kernel has accepted.
const NODE_PATIENCE: Duration = Duration::from_secs(5);

/// Scratch could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system operation failed.
    #[error(transparent)]
    System(#[from] Fault),
    /// The partition table cannot take another partition.
    #[error("add the scratch partition to {disk}")]
    Table {
        /// The disk's device node.
        disk: String,
        /// Why.
        source: gpt::Error,
    },
    /// `mkfs.ext4` failed.
    #[error("format {device}: mkfs.ext4: {message}")]
    Format {
        /// The partition's device node.
        device: String,
        /// What it said.
        message: String,
    },
}

/// Mounts scratch at [`paths::VAR`] and returns what it is.
///
/// # Errors
/// [`Error`]; the lack of room or a read-only disk is none.
pub fn mount(disk: &str, console: &Console) -> Result<String, Error> {
    match find_or_add(disk)? {
        Some((device, fresh)) => {
            if fresh || !mount_ext4(&device, console) {
                format(&device, FS_LABEL)?;
                ext4(&device).context("mount", device.display())?;
            }
            Ok(device.display().to_string())
        }
        None => {
            mounts::mount_tmpfs(paths::VAR, TMPFS_PERCENT)?;
            Ok("tmpfs".into())
        }
    }
}

/// The partition's node, and whether it was made just now.
fn find_or_add(disk: &str) -> Result<Option<(PathBuf, bool)>, Error> {
    let sys = Path::new("/sys/block").join(disk);
    if number(&sys.join("queue/logical_block_size"))? != gpt::SECTOR as u64 {
        return Ok(None);
    }
    let sectors = number(&sys.join("size"))?;
    let read_only = number(&sys.join("ro"))? != 0;
    let node = Path::new("/dev").join(disk);
    let file = OpenOptions::new()
        .read(true)
        .write(!read_only)
        .open(&node)
        .context("open", node.display())?;
    let table = match read_table(&file) {
        Ok(table) => table,
        // The primary table must be good for the kernel to have found the store.
        Err(error) => {
            return Err(Fault::new("read the partition table of", node.display(), error).into());
        }
    };
    if read_only {
        return Ok(None);
    }
    if let Some(found) = table.partitions().find(is_scratch) {
        return Ok(Some((await_node(&sys, found.number)?, false)));
    }
    let Some((number, first, last)) = add(&file, &node, table, sectors)? else {
        return Ok(None);
    };
    announce(&file, number, first, last)
        .context("announce the scratch partition of", node.display())?;
    Ok(Some((await_node(&sys, number)?, true)))
}

fn is_scratch(partition: &gpt::Partition) -> bool {
    partition.label == LABEL_SCRATCH
        && Some(partition.type_guid) == gpt::Guid::parse(SCRATCH_TYPE_GUID)
}

/// Writes the table with a scratch partition in all the room there is.
fn add(
    file: &File,
    node: &Path,
    mut table: gpt::Table,
    sectors: u64,
) -> Result<Option<(u32, u64, u64)>, Error> {
    table.stretch(sectors);
    let Some((first, last)) = table
        .room()
        .filter(|(first, last)| (last - first + 1) * gpt::SECTOR as u64 >= SCRATCH_LEAST_BYTES)
    else {
        return Ok(None);
    };
    let mut random = [0u8; 16];
    getrandom(&mut random).context("read", "random numbers")?;
    let type_guid = gpt::Guid::parse(SCRATCH_TYPE_GUID).unwrap_or_default();
    let number = table
        .add(LABEL_SCRATCH, type_guid, version_4(random), (first, last))
        .map_err(|source| Error::Table {
            disk: node.display().to_string(),
            source,
        })?;
    let write = || -> io::Result<()> {
        for (offset, data) in table.encode() {
            file.write_all_at(&data, offset)?;
            file.sync_data()?;
        }
        let mut mbr = [0; gpt::SECTOR];
        file.read_exact_at(&mut mbr, 0)?;
        if gpt::stretch_protective_mbr(&mut mbr, sectors) {
            file.write_all_at(&mbr, 0)?;
        }
        file.sync_all()
    };
    write().context("write the partition table of", node.display())?;
    Ok(Some((number, first, last)))
}

/// A random GUID as RFC 9562 wants it; the bytes are in the on-disk order.
fn version_4(mut random: [u8; 16]) -> gpt::Guid {
    let [.., version, variant, _, _, _, _, _, _, _] = &mut random;
    *version = (*version & 0x0f) | 0x40;
    *variant = (*variant & 0x3f) | 0x80;
    gpt::Guid(random)
}

fn getrandom(bytes: &mut [u8]) -> io::Result<()> {
    use std::io::Read;
    File::open("/dev/urandom")?.read_exact(bytes)
}

fn number(path: &Path) -> Result<u64, Fault> {
    let text = fs::read_to_string(path).context("read", path.display())?;
    text.trim()
        .parse()
        .map_err(|_| Fault::new("parse", path.display(), io::ErrorKind::InvalidData))
}

/// The node of a disk's partition by number, whatever the naming scheme.
fn await_node(sys: &Path, number: u32) -> Result<PathBuf, Fault> {
    let end = Instant::now() + NODE_PATIENCE;
    loop {
        if let Some(node) = partition_node(sys, number).filter(|node| node.exists()) {
            return Ok(node);
        }
        if Instant::now() >= end {
            let object = format!("partition {number} of {}", sys.display());
            return Err(Fault::new("find", object, io::ErrorKind::NotFound));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn partition_node(sys: &Path, number: u32) -> Option<PathBuf> {
    fs::read_dir(sys).ok()?.flatten().find_map(|entry| {
        let text = fs::read_to_string(entry.path().join("partition")).ok()?;
        (text.trim().parse() == Ok(number)).then(|| Path::new("/dev").join(entry.file_name()))
    })
}

/// `struct blkpg_partition` (`include/uapi/linux/blkpg.h`).
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    pno: i32,
    devname: [u8; 64],
    volname: [u8; 64],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct BlkpgArgument {
    op: i32,
    flags: i32,
    datalen: i32,
    data: *mut BlkpgPartition,
}

/// Tells the kernel of one more partition. Re-reading the table is no way: it fails on a disk
/// with mounted partitions.
fn announce(disk: &File, number: u32, first: u64, last: u64) -> io::Result<()> {
    const BLKPG: libc::c_ulong = 0x1269;
    const BLKPG_ADD_PARTITION: i32 = 1;
    let bytes = |sectors: u64| {
        i64::try_from(sectors.saturating_mul(gpt::SECTOR as u64))
            .map_err(|_| io::ErrorKind::InvalidInput)
    };
    let mut partition = BlkpgPartition {
        start: bytes(first)?,
        length: bytes(last.saturating_sub(first).saturating_add(1))?,
        pno: i32::try_from(number).map_err(|_| io::ErrorKind::InvalidInput)?,
        devname: [0; 64],
        volname: [0; 64],
    };
    let mut argument = BlkpgArgument {
        op: BLKPG_ADD_PARTITION,
        flags: 0,
        datalen: i32::try_from(size_of::<BlkpgPartition>()).unwrap_or(i32::MAX),
        data: &raw mut partition,
    };
    // SAFETY: both structures have the kernel's layout and outlive the call, and `datalen` is the
    // size of what `data` points to.
    let result = unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG, &raw mut argument) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Mounts what an earlier boot has formatted; false when it is to be formatted anew.
fn mount_ext4(device: &Path, console: &Console) -> bool {
    if ext4_label(device).as_deref() != Some(FS_LABEL.as_bytes()) {
        // An interrupted first boot leaves the partition without a file system.
        console.say(format_args!(
            "scratch: {} has no {FS_LABEL} file system",
            device.display()
        ));
        return false;
    }
    match ext4(device) {
        Ok(()) => true,
        Err(error) => {
            console.say(format_args!(
                "scratch: mount {}: {error}: formatting it anew, its data is lost",
                device.display()
            ));
            false
        }
    }
}

fn ext4(device: &Path) -> rustix::io::Result<()> {
    // Volumes may hold setuid programs and devices, as they may on a Kubernetes node.
    rustix::mount::mount(device, paths::VAR, c"ext4", MountFlags::NOATIME, c"")
}

/// `s_volume_name`, if there is an ext4 superblock.
pub fn ext4_label(device: &Path) -> Option<Vec<u8>> {
    let mut superblock = [0u8; 1024];
    File::open(device)
        .ok()?
        .read_exact_at(&mut superblock, 1024)
        .ok()?;
    if superblock.get(56..58)? != [0x53, 0xef] {
        return None;
    }
    let name = superblock.get(120..136)?;
    Some(name.split(|byte| *byte == 0).next()?.to_vec())
}

/// Makes an ext4 file system with that label.
///
/// # Errors
/// [`Error::Format`], or `mkfs.ext4` cannot be run.
pub fn format(device: &Path, label: &str) -> Result<(), Error> {
    let output = Command::new(MKFS)
        // No reserved blocks: root is the only user of this file system anyway. Inode tables are
        // zeroed later by the kernel, and discarding a whole cloud disk takes minutes.
        .args(["-q", "-F", "-m", "0", "-L", label])
        .args(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"])
        .arg(device)
        .output()
        .context("run", MKFS)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Format {
        device: device.display().to_string(),
        message: String::from_utf8_lossy(&output.stderr)
            .trim()
            .replace('\n', "; "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_guids_say_that_they_are_random() {
        let text = version_4([0xff; 16]).to_string();
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    /// The oracle: the label that mkfs.ext4 writes is the one read here.
    #[test]
    fn a_file_system_of_ours_is_known_by_its_label() {
        let path = std::env::temp_dir().join(format!("i2kit-ext4-{}", std::process::id()));
        File::create(&path).unwrap().set_len(4 << 20).unwrap();
        assert_eq!(ext4_label(&path), None);
        format(&path, FS_LABEL)
            .expect("this test needs /usr/sbin/mkfs.ext4 (Debian package e2fsprogs)");
        assert_eq!(ext4_label(&path).as_deref(), Some(FS_LABEL.as_bytes()));
        fs::remove_file(path).unwrap();
    }
}
