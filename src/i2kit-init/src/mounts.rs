//! The kernel's file systems, and the change from the initramfs to the store's `system/`.

use std::{
    ffi::{CStr, CString},
    fs::{self, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use rustix::mount::MountFlags;

use crate::{
    fault::{Context, Fault},
    paths,
};

/// One file system without a device.
struct Virtual {
    kind: &'static CStr,
    target: &'static str,
    flags: MountFlags,
    options: &'static CStr,
}

const NOSUID_NOEXEC_NODEV: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NOEXEC)
    .union(MountFlags::NODEV);
const NOSUID_NODEV: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Needed before anything can be found or said.
const EARLY: [Virtual; 3] = [
    Virtual {
        kind: c"proc",
        target: "/proc",
        flags: NOSUID_NOEXEC_NODEV,
        options: c"",
    },
    Virtual {
        kind: c"sysfs",
        target: "/sys",
        flags: NOSUID_NOEXEC_NODEV,
        options: c"",
    },
    Virtual {
        kind: c"devtmpfs",
        target: "/dev",
        flags: MountFlags::NOSUID,
        options: c"mode=0755",
    },
];

/// Needed by containerd and the containers. `/dev/shm` is the Pod's, with the size every
/// Kubernetes runtime gives it.
const LATE: [Virtual; 5] = [
    Virtual {
        kind: c"cgroup2",
        target: paths::CGROUP,
        flags: NOSUID_NOEXEC_NODEV,
        options: c"nsdelegate,memory_recursiveprot",
    },
    Virtual {
        kind: c"devpts",
        target: "/dev/pts",
        flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
        options: c"ptmxmode=0666,mode=0620,gid=5",
    },
    Virtual {
        kind: c"tmpfs",
        target: "/dev/shm",
        flags: NOSUID_NOEXEC_NODEV,
        options: c"mode=1777,size=64m",
    },
    Virtual {
        kind: c"mqueue",
        target: "/dev/mqueue",
        flags: NOSUID_NOEXEC_NODEV,
        options: c"",
    },
    Virtual {
        kind: c"tmpfs",
        target: "/tmp",
        flags: NOSUID_NODEV,
        options: c"mode=1777,size=10%",
    },
];

/// Mounts proc, sysfs and devtmpfs in the initramfs.
///
/// # Errors
/// A mount fails for another reason than being there already.
pub fn mount_early() -> Result<(), Fault> {
    EARLY.iter().try_for_each(mount_virtual)
}

/// Mounts what containers need, once the system is the root.
///
/// # Errors
/// A mount fails.
pub fn mount_late() -> Result<(), Fault> {
    LATE.iter().try_for_each(mount_virtual)
}

fn mount_virtual(fs: &Virtual) -> Result<(), Fault> {
    // Folders below /dev and in the initramfs can be made; elsewhere they are there, and a mount
    // on a missing one says so.
    let _ = fs::create_dir_all(fs.target);
    match rustix::mount::mount(fs.kind, fs.target, fs.kind, fs.flags, fs.options) {
        // The kernel mounts devtmpfs itself when CONFIG_DEVTMPFS_MOUNT reaches the initramfs.
        Err(rustix::io::Errno::BUSY) => Ok(()),
        result => result.context("mount", fs.target),
    }
}

/// Deletes what the EFI stub took from the ESP, unread: it comes unauthenticated. True when there
/// was something.
///
/// # Errors
/// Something in it cannot be deleted.
pub fn delete_extra() -> Result<bool, Fault> {
    match fs::remove_dir_all("/.extra") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Fault::new("delete", "/.extra", error)),
    }
}

/// Mounts an EROFS device read-only at [`paths::INITRAMFS_STORE`].
///
/// # Errors
/// The mount fails; a bad superblock block shows as an input/output error.
pub fn mount_store(device: &Path) -> Result<(), Fault> {
    fs::create_dir_all(paths::INITRAMFS_STORE).context("create", paths::INITRAMFS_STORE)?;
    let flags = MountFlags::RDONLY | MountFlags::NODEV;
    rustix::mount::mount(device, paths::INITRAMFS_STORE, c"erofs", flags, c"")
        .context("mount", device.display())
}

/// Makes the store's `system/` the root: `/run` becomes a tmpfs that holds the store's mount,
/// the kernel's file systems move over, and the initramfs is emptied to free its memory.
///
/// # Errors
/// A mount fails; the base lacks one of the folders `dev proc sys run tmp var`.
pub fn switch_root() -> Result<(), Fault> {
    let root = Path::new(paths::INITRAMFS_ROOT);
    let system = Path::new(paths::INITRAMFS_STORE).join(i2kit_contract::SYSTEM);
    fs::create_dir_all(root).context("create", root.display())?;
    rustix::mount::mount_bind(&system, root).context("bind", system.display())?;
    let run = within(root, paths::RUN);
    rustix::mount::mount(
        c"tmpfs",
        &run,
        c"tmpfs",
        NOSUID_NODEV,
        c"mode=0755,size=20%",
    )
    .context("mount", run.display())?;
    let store = within(root, paths::STORE);
    fs::create_dir_all(&store).context("create", store.display())?;
    rustix::mount::mount_move(paths::INITRAMFS_STORE, &store)
        .context("move", paths::INITRAMFS_STORE)?;
    for fs in &EARLY {
        let target = within(root, fs.target);
        rustix::mount::mount_move(fs.target, &target).context("move to", target.display())?;
    }
    empty_initramfs();
    std::env::set_current_dir(root).context("enter", root.display())?;
    rustix::mount::mount_move(".", "/").context("move to /", root.display())?;
    rustix::process::chroot(".").context("change root to", root.display())?;
    std::env::set_current_dir("/").context("enter", "/")
}

fn within(root: &Path, path: &str) -> std::path::PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Deletes the initramfs' files. What resists only keeps its memory.
fn empty_initramfs() {
    if let Ok(root) = fs::symlink_metadata("/") {
        empty(Path::new("/"), root.dev());
    }
}

/// Deletes everything below `folder` that is on the device `dev`.
fn empty(folder: &Path, dev: u64) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match fs::symlink_metadata(&path) {
            Ok(found) if found.dev() != dev => {}
            Ok(found) if found.is_dir() => {
                empty(&path, dev);
                let _ = fs::remove_dir(&path);
            }
            Ok(_) => {
                let _ = fs::remove_file(&path);
            }
            Err(_) => {}
        }
    }
}

/// Makes a folder and its parents, and gives the last one this mode.
///
/// # Errors
/// The folder cannot be made.
pub fn make_folder(path: &Path, mode: u32) -> Result<(), Fault> {
    fs::create_dir_all(path).context("create", path.display())?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .context("change the mode of", path.display())
}

/// Mounts a tmpfs bounded to `percent` of the memory.
///
/// # Errors
/// The mount fails.
pub fn mount_tmpfs(target: &str, percent: u8) -> Result<(), Fault> {
    let options = CString::new(format!("mode=0755,size={percent}%")).context("mount", target)?;
    rustix::mount::mount(
        c"tmpfs",
        target,
        c"tmpfs",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .context("mount", target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptying_a_folder_leaves_the_folder() {
        let folder = std::env::temp_dir().join(format!("i2kit-empty-{}", std::process::id()));
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(folder.join("a/b/c"), "c").unwrap();
        std::os::unix::fs::symlink("/etc", folder.join("link")).unwrap();
        empty(&folder, fs::symlink_metadata(&folder).unwrap().dev());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        assert!(Path::new("/etc").exists());
        fs::remove_dir(&folder).unwrap();
    }
}
