//! A config disk as cloud-init's NoCloud has it: a file system labelled `CIDATA`, ISO 9660 or FAT,
//! with a file `user-data`.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use i2kit_contract::runtime::MAX_BYTES;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::{
    config::Found,
    fault::{Context, Fault},
};

const LABEL: &str = "CIDATA";
const FILE: &str = "user-data";
/// In the initramfs.
const MOUNT_POINT: &str = "/i2kit-config";
/// Where ISO 9660's volume descriptors begin (ECMA-119, 8.1: sector 16 of 2048 bytes).
const ISO_DESCRIPTOR: u64 = 16 * 2048;

/// The document of the first such disk in the order of their names. The disk `own`, the Pod's, is
/// none: who can write to its ESP shall not configure the Pod.
///
/// # Errors
/// There is one that cannot be mounted or read.
pub fn find(own: &str) -> Result<Option<Found>, Fault> {
    let (class, dev) = (Path::new("/sys/class/block"), Path::new("/dev"));
    let Some((device, kind)) = labelled(class, dev, own) else {
        return Ok(None);
    };
    fs::create_dir_all(MOUNT_POINT).context("create", MOUNT_POINT)?;
    let flags = MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC
        | MountFlags::NOSYMFOLLOW;
    rustix::mount::mount(&device, MOUNT_POINT, kind, flags, c"")
        .context("mount the config disk", device.display())?;
    let bytes = read(&Path::new(MOUNT_POINT).join(FILE));
    // Nobody else looks there; what stays mounted goes with the initramfs.
    let _ = rustix::mount::unmount(MOUNT_POINT, UnmountFlags::DETACH);
    let bytes = bytes.context("read user-data of the config disk", device.display())?;
    Ok(bytes.map(|bytes| Found {
        bytes,
        source: format!("the config disk {}", device.display()),
        ours: false,
    }))
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let opened = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn labelled(class: &Path, dev: &Path, own: &str) -> Option<(PathBuf, &'static str)> {
    // A partition's folder lies in its disk's.
    let is_own = |name: &str| {
        fs::canonicalize(class.join(name)).is_ok_and(|path| path.iter().any(|part| part == own))
    };
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with("dm-") && !name.starts_with("loop") && !is_own(name))
        .collect();
    names.sort();
    names.into_iter().find_map(|name| {
        let device = dev.join(name);
        let (kind, label) = identify(&File::open(&device).ok()?)?;
        label.eq_ignore_ascii_case(LABEL).then_some((device, kind))
    })
}

/// The kind and the label of a file system that a config disk can have.
fn identify(file: &File) -> Option<(&'static str, String)> {
    let mut descriptor = [0; 72];
    if file.read_exact_at(&mut descriptor, ISO_DESCRIPTOR).is_ok()
        && descriptor.starts_with(b"\x01CD001")
    {
        // ECMA-119, 8.4.7: volume identifier.
        return Some(("iso9660", text(descriptor.get(40..72)?)));
    }
    let mut boot = [0; 512];
    file.read_exact_at(&mut boot, 0).ok()?;
    if boot.get(510..)? != [0x55, 0xaa] {
        return None;
    }
    // The extended boot signature comes before serial number, label and type: at 38 of FAT12 and
    // FAT16, at 66 of FAT32 (Microsoft's specification, section 3.2 and 3.3).
    [38usize, 66].into_iter().find_map(|at| {
        let fields = boot.get(at..at + 24)?;
        let is_fat = fields.first() == Some(&0x29) && fields.get(16..19)? == b"FAT";
        is_fat.then(|| ("vfat", text(fields.get(5..16).unwrap_or_default())))
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("i2kit-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("dev")).unwrap();
        fs::create_dir_all(folder.join("class")).unwrap();
        folder
    }

    fn disk(folder: &Path, name: &str, size: u64) -> PathBuf {
        let path = folder.join("dev").join(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        fs::write(folder.join("class").join(name), "").unwrap();
        path
    }

    /// mkfs.fat is the oracle for labels, of all three kinds.
    #[test]
    fn fat_labels_are_those_that_mkfs_writes() {
        let folder = folder("labels");
        for (bits, size) in [("12", 1 << 20), ("16", 16 << 20), ("32", 64 << 20)] {
            let path = disk(&folder, "vdb", size);
            let mkfs = ["-F", bits, "-n", "cidata"];
            let done = Command::new("/usr/sbin/mkfs.vfat")
                .args(mkfs)
                .arg(&path)
                .output()
                .unwrap();
            assert!(done.status.success());
            let found = identify(&File::open(&path).unwrap()).unwrap();
            assert_eq!(found.0, "vfat");
            assert!(found.1.eq_ignore_ascii_case(LABEL), "FAT{bits}: {found:?}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_a_disk_with_the_label_is_taken() {
        let folder = folder("labelled");
        let find = |own: &str| labelled(&folder.join("class"), &folder.join("dev"), own);
        disk(&folder, "vda", 1 << 20);
        disk(&folder, "vdc", 100);
        assert!(find("vda").is_none());
        let path = disk(&folder, "vdb", 1 << 20);
        let file = File::options().write(true).open(&path).unwrap();
        let mut descriptor = [b' '; 72];
        descriptor[..7].copy_from_slice(b"\x01CD001\x01");
        descriptor[40..46].copy_from_slice(b"cidata");
        file.write_all_at(&descriptor, ISO_DESCRIPTOR).unwrap();
        assert_eq!(find("vda"), Some((path, "iso9660")));
        assert!(find("vdb").is_none());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_a_regular_file_of_any_size_is_read() {
        let folder = folder("user-data");
        let path = folder.join(FILE);
        assert!(read(&path).unwrap().is_none());
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(read(&path).is_err());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(read(&path).is_err());
        fs::remove_dir(&path).unwrap();
        fs::write(&path, vec![b'x'; MAX_BYTES * 2]).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().len(), MAX_BYTES + 1);
        fs::remove_dir_all(folder).unwrap();
    }
}
