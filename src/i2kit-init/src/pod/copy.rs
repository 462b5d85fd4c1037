//! Copies of folders with everything that makes a file what it is: owners, modes, times,
//! extended attributes, links and devices. Image volumes are seeded this way.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};

use crate::fault::{Context, Fault};

/// Fills the empty folder `to` with what lies at `path` inside the root `root`, if that is a
/// folder; symbolic links on the way are resolved inside the root. The folder itself takes the
/// original's owner, mode and attributes.
///
/// # Errors
/// Something cannot be read or made.
pub fn seed(root: &Path, path: &str, to: &Path) -> Result<(), Fault> {
    let root_fd = rustix::fs::open(
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .context("open", root.display())?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let found = rustix::fs::openat2(&root_fd, path, flags, Mode::empty(), ResolveFlags::IN_ROOT);
    let Ok(found) = found else {
        return Ok(());
    };
    let from = fd_path(&found);
    Copier::default().folder(&from, to)
}

/// Gives the empty folder `to` owner, mode and attributes of the folder `from`.
///
/// # Errors
/// One of them cannot be read or set.
pub fn attributes(from: &Path, to: &Path) -> Result<(), Fault> {
    copy_attributes(from, to)
}

fn fd_path(fd: &rustix::fd::OwnedFd) -> PathBuf {
    use rustix::fd::AsRawFd;
    // With a final "." so that the path is the folder and not the link to it.
    PathBuf::from(format!("/proc/self/fd/{}/.", fd.as_raw_fd()))
}

/// Copies one tree; knows which files it has met under another name.
#[derive(Default)]
struct Copier {
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copier {
    fn folder(&mut self, from: &Path, to: &Path) -> Result<(), Fault> {
        for entry in fs::read_dir(from).context("list", from.display())? {
            let entry = entry.context("list", from.display())?;
            self.entry(&entry.path(), &to.join(entry.file_name()))?;
        }
        // Last, since filling it has changed its times.
        copy_attributes(from, to)
    }

    fn entry(&mut self, from: &Path, to: &Path) -> Result<(), Fault> {
        let found = fs::symlink_metadata(from).context("read", from.display())?;
        if found.is_dir() {
            fs::create_dir(to).context("create", to.display())?;
            return self.folder(from, to);
        }
        let id = (found.dev(), found.ino());
        if let Some(first) = self.links.get(&id) {
            return fs::hard_link(first, to).context("link", to.display());
        }
        if found.is_symlink() {
            let target = fs::read_link(from).context("read", from.display())?;
            std::os::unix::fs::symlink(target, to).context("create", to.display())?;
        } else if found.is_file() {
            fs::copy(from, to).context("copy", from.display())?;
        } else {
            let kind = FileType::from_raw_mode(found.mode());
            rustix::fs::mknodat(
                CWD,
                to,
                kind,
                Mode::from_raw_mode(found.mode() & 0o7777),
                found.rdev(),
            )
            .context("create", to.display())?;
        }
        if found.nlink() > 1 {
            self.links.insert(id, to.to_owned());
        }
        copy_attributes(from, to)
    }
}

/// Owner first: a change of owner clears setuid bits and capabilities.
fn copy_attributes(from: &Path, to: &Path) -> Result<(), Fault> {
    let found = fs::symlink_metadata(from).context("read", from.display())?;
    let (uid, gid) = (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()));
    rustix::fs::chownat(CWD, to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .context("change the owner of", to.display())?;
    if !found.is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(found.mode() & 0o7777))
            .context("change the mode of", to.display())?;
    }
    copy_xattrs(from, to)?;
    let times = Timestamps {
        last_access: timespec(found.mtime(), found.mtime_nsec()),
        last_modification: timespec(found.mtime(), found.mtime_nsec()),
    };
    rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)
        .context("change the times of", to.display())
}

fn timespec(seconds: i64, nanoseconds: i64) -> Timespec {
    Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    }
}

fn copy_xattrs(from: &Path, to: &Path) -> Result<(), Fault> {
    let mut names = vec![0u8; 64 * 1024];
    let length = match rustix::fs::llistxattr(from, names.as_mut_slice()) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(Fault::new("list the attributes of", from.display(), error)),
    };
    let names = names.get(..length).unwrap_or_default();
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        copy_xattr(from, to, name).context("copy the attributes of", from.display())?;
    }
    Ok(())
}

fn copy_xattr(from: &Path, to: &Path, name: &[u8]) -> io::Result<()> {
    let mut value = vec![0u8; 64 * 1024];
    let length = rustix::fs::lgetxattr(from, name, value.as_mut_slice())?;
    let value = value.get(..length).unwrap_or_default();
    match rustix::fs::lsetxattr(to, name, value, XattrFlags::empty()) {
        // The target has no such kind of attribute (labels of a security module, say).
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("i2kit-copy-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// The oracle: GNU tar lists both trees alike, with owners, modes, times, links and devices.
    #[test]
    fn a_copy_is_listed_like_its_original() {
        let root = folder("root");
        let script = r#"
            mkdir -p srv/data/sub && ln -s srv/data volume && cd srv/data
            echo one > file && chmod 4755 file && ln file second && ln -s /nowhere link
            mkfifo fifo && mknod null c 1 3
            chown -h 1234:70000 file link sub && chmod 1777 sub
            setfattr -n user.note -v hello file
            setfattr -n trusted.note -v hello sub
            touch -h -d '1969-12-31 23:59:58.5 UTC' link && touch -d '2040-01-01 00:00:00.25 UTC' sub .
        "#;
        let made = Command::new("sh")
            .arg("-ec")
            .arg(script)
            .current_dir(&root)
            .status()
            .unwrap();
        assert!(
            made.success(),
            "this test needs root and setfattr (Debian package attr)"
        );
        let to = folder("to");
        seed(&root, "/volume", &to).unwrap();
        let list = |path: &Path| {
            let script = "tar --sort=name --xattrs --xattrs-include='*' --numeric-owner -cf - . | tar --numeric-owner --full-time --xattrs -tvvf -";
            let output = Command::new("sh")
                .arg("-ec")
                .arg(script)
                .current_dir(path)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let listed = list(&to);
        assert_eq!(listed, list(&root.join("srv/data")));
        assert!(
            listed.contains("user.note") && listed.contains("1969-12-31"),
            "{listed}"
        );
        fs::remove_dir_all(root).unwrap();
        fs::remove_dir_all(to).unwrap();
    }

    #[test]
    fn links_do_not_lead_out_of_the_root() {
        let (root, to) = (folder("jail"), folder("out"));
        std::os::unix::fs::symlink("/etc", root.join("data")).unwrap();
        seed(&root, "/data", &to).unwrap();
        assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
        fs::remove_dir_all(root).unwrap();
        fs::remove_dir_all(to).unwrap();
    }
}
