//! `subPath`: a part of a volume, found without leaving it.
//!
//! A container may put a symbolic link where another one's path leads. So the path is walked by
//! file descriptors below the volume, and what was found is bound to a place that no container
//! can reach, before anybody mounts it.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
    mount::UnmountFlags,
};

use crate::{
    fault::{Context, Fault},
    mounts::make_folder,
    paths,
};

const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Undoes what an earlier start of the container has bound.
pub fn clear(container: &str) {
    let own = Path::new(paths::SUB_PATHS).join(container);
    for entry in fs::read_dir(&own).into_iter().flatten().flatten() {
        // What was never mounted, or has files, stays; the next bind goes on top of it.
        let _ = rustix::mount::unmount(entry.path(), UnmountFlags::DETACH);
        let _ = fs::remove_file(entry.path());
        let _ = fs::remove_dir(entry.path());
    }
}

/// Binds `path` in the volume at `volume` and answers where; a missing path is made as folders.
///
/// # Errors
/// The path leads out of the volume or cannot be made or bound.
pub fn bind(container: &str, index: usize, volume: &Path, path: &str) -> Result<PathBuf, Fault> {
    let root =
        rustix::fs::openat(CWD, volume, LOOK, Mode::empty()).context("open", volume.display())?;
    let found = open_or_make(&root, path)
        .context("open", format_args!("{path} in {}", volume.display()))?;
    let target = Path::new(paths::SUB_PATHS)
        .join(container)
        .join(index.to_string());
    if is_folder(found.as_fd()) {
        make_folder(&target, 0o700)?;
    } else {
        make_folder(target.parent().unwrap_or(&target), 0o700)?;
        fs::write(&target, "").context("create", target.display())?;
    }
    let source = format!("/proc/self/fd/{}", found.as_raw_fd());
    rustix::mount::mount_bind_recursive(&source, &target).context("bind", target.display())?;
    Ok(target)
}

/// Links on the way may lead elsewhere in the volume, never out of it.
fn open_or_make(root: &OwnedFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let open = |at: &OwnedFd, path: &str| {
        rustix::fs::openat2(at, path, LOOK, Mode::empty(), ResolveFlags::BENEATH)
    };
    match open(root, path) {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    // New folders are as open as the volume itself, as the kubelet makes them.
    let mode = Mode::from_raw_mode(rustix::fs::fstat(root)?.st_mode & 0o7777);
    let mut so_far = String::new();
    for part in path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
    {
        let parent = match so_far.as_str() {
            "" => rustix::io::dup(root)?,
            path => open(root, path)?,
        };
        if part == ".." {
            return Err(Errno::XDEV);
        }
        match rustix::fs::mkdirat(&parent, part, mode) {
            // Whatever the umask has taken is given back.
            Ok(()) => {
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::openat(&parent, part, flags, Mode::empty())?;
                rustix::fs::fchmod(&made, mode)?;
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        if !so_far.is_empty() {
            so_far.push('/');
        }
        so_far.push_str(part);
    }
    open(root, path)
}

fn is_folder(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(fd)
        .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_leads_out_of_the_volume() {
        let folder = std::env::temp_dir().join(format!("i2kit-sub-{}", std::process::id()));
        fs::create_dir_all(folder.join("inside")).unwrap();
        symlink("/etc", folder.join("out")).unwrap();
        symlink("..", folder.join("up")).unwrap();
        symlink("inside", folder.join("link")).unwrap();
        let root = rustix::fs::openat(CWD, &folder, LOOK, Mode::empty()).unwrap();
        for good in ["inside", "link", "new/deep", "link/new", "new/deep/", "./a"] {
            open_or_make(&root, good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        for bad in ["out/passwd", "up/x", "../x", "a/../../x", "out"] {
            assert!(open_or_make(&root, bad).is_err(), "{bad}");
        }
        assert!(folder.join("inside/new").is_dir());
        fs::remove_dir_all(folder).unwrap();
    }
}
