//! The Pod's volumes: made once a boot, before anything runs.

use std::{
    ffi::{CStr, CString},
    fs::{self, Permissions},
    io::Write as _,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use i2kit_contract::{
    Content, Contract, Files, FsGroup, HostPathType, IMAGE_VOLUMES, Mount, Propagation, Source,
    Volume,
};
use rustix::mount::{MountFlags, MountPropagationFlags};

use crate::{
    console::Console,
    fault::{Context, Fault},
    mounts::make_folder,
    paths,
    pod::{
        claims,
        values::{self, Values},
    },
};

/// Half of the memory, as the kernel's own default for a tmpfs.
const DEFAULT_TMPFS: &str = "50%";

/// A volume that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system operation failed.
    #[error("volume {volume}")]
    System {
        /// The volume.
        volume: String,
        /// What failed.
        source: Fault,
    },
    /// A value for one of its files is missing.
    #[error(transparent)]
    Value(#[from] values::Error),
    /// What the guest has at that path is something else.
    #[error("volume {volume}: {path} is no {wanted}")]
    HostPath {
        /// The volume.
        volume: String,
        /// The path.
        path: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// Its disk cannot be used.
    #[error("volume {volume}")]
    Claim {
        /// The volume.
        volume: String,
        /// Why.
        source: claims::Error,
    },
}

/// Where a volume lies in the guest.
pub fn path(volume: &Volume) -> PathBuf {
    match &volume.source {
        Source::EmptyDir => Path::new(paths::VOLUMES).join(&volume.name),
        Source::HostPath { path, .. } => PathBuf::from(path),
        Source::Image => Path::new(paths::STORE)
            .join(IMAGE_VOLUMES)
            .join(&volume.name),
        Source::Memory { .. } | Source::HugePages { .. } | Source::Files(_) | Source::Claim(_) => {
            Path::new(paths::RUN_VOLUMES).join(&volume.name)
        }
    }
}

/// Makes all volumes.
///
/// # Errors
/// [`Error`] for the first that cannot be made.
pub fn prepare(contract: &Contract, values: &Values, console: &Console) -> Result<(), Error> {
    for volume in &contract.volumes {
        let system = |source| Error::System {
            volume: volume.name.clone(),
            source,
        };
        let own = path(volume);
        match &volume.source {
            // One of an earlier boot stays, as the kubelet keeps it when a node reboots.
            Source::EmptyDir if own.exists() => {}
            Source::EmptyDir => make_folder(&own, 0o777).map_err(system)?,
            Source::Memory { size_bytes } => tmpfs(&own, *size_bytes).map_err(system)?,
            Source::HugePages { page_bytes } => huge_pages(&own, *page_bytes).map_err(system)?,
            Source::Files(files) => generate(volume, &own, files, values)?,
            Source::HostPath { path, kind } => host_path(volume, path, *kind)?,
            Source::Image => {}
            Source::Claim(claim) => {
                let prepared = match claim.block {
                    // That it is there; a container's start looks for it again.
                    true => claims::find(&claim.name).map(drop),
                    false => claims::mount(claim, &own, console),
                };
                prepared.map_err(|source| Error::Claim {
                    volume: volume.name.clone(),
                    source,
                })?;
            }
        }
        let group = contract.fs_group.filter(|_| takes_group(&volume.source));
        if let Some(group) = group {
            // Generated files are read-only for everybody, the group included.
            let files = match volume.source {
                Source::Files(_) => 0o440,
                _ => 0o660,
            };
            give_to_group(&own, group, files).map_err(system)?;
        }
        share(volume, contract, &own).map_err(system)?;
    }
    Ok(())
}

/// Which containers may use how much of it is their cgroups' matter.
fn huge_pages(target: &Path, page_bytes: u64) -> Result<(), Fault> {
    in_memory(target, c"hugetlbfs", &format!("pagesize={page_bytes}"))
}

fn tmpfs(target: &Path, size: Option<u64>) -> Result<(), Fault> {
    let size = size.map_or_else(|| DEFAULT_TMPFS.to_owned(), |bytes| bytes.to_string());
    in_memory(target, c"tmpfs", &format!("size={size}"))
}

/// Mounts a file system of this kind that anybody may write to.
fn in_memory(target: &Path, kind: &CStr, option: &str) -> Result<(), Fault> {
    make_folder(target, 0o777)?;
    let options = CString::new(format!("mode=0777,{option}"));
    let options = options.context("mount", target.display())?;
    rustix::mount::mount(kind, target, kind, MountFlags::empty(), options.as_c_str())
        .context("mount", target.display())
}

/// Generated files live in memory: they may be secrets.
fn generate(volume: &Volume, own: &Path, files: &Files, values: &Values) -> Result<(), Error> {
    let system = |source| Error::System {
        volume: volume.name.clone(),
        source,
    };
    make_folder(own, 0o755).map_err(system)?;
    let wanted_by = format!("volume {}", volume.name);
    for file in &files.files {
        let bytes = match &file.content {
            Content::Text(text) => values.text(text, &wanted_by)?.into_bytes(),
            Content::Hex(hex) => values::from_hex(hex).unwrap_or_default(),
            Content::Secret { from, optional } => match values.secret(from) {
                Some(bytes) => bytes.to_vec(),
                None if *optional => continue,
                None => return Err(values.no_secret(from, &wanted_by).into()),
            },
        };
        write(own, &file.path, file.mode, &bytes).map_err(system)?;
    }
    for secret in &files.secrets {
        for (key, bytes) in values.secrets(&secret.name).into_iter().flatten() {
            write(own, key, secret.mode, bytes).map_err(system)?;
        }
    }
    Ok(())
}

fn write(own: &Path, relative: &str, mode: u32, bytes: &[u8]) -> Result<(), Fault> {
    let path = own.join(relative);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).context("create", parent.display())?;
    }
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&path).context("create", path.display())?;
    file.write_all(bytes).context("write", path.display())?;
    fs::set_permissions(&path, Permissions::from_mode(mode))
        .context("change the mode of", path.display())
}

fn host_path(volume: &Volume, path: &str, kind: HostPathType) -> Result<(), Error> {
    let system = |source| Error::System {
        volume: volume.name.clone(),
        source,
    };
    let found = fs::metadata(path).ok().map(|found| found.file_type());
    let is = |test: fn(&fs::FileType) -> bool| found.as_ref().is_some_and(test);
    let (fits, wanted) = match kind {
        HostPathType::Unset | HostPathType::DirectoryOrCreate if found.is_none() => {
            return make_folder(Path::new(path), 0o755).map_err(system);
        }
        HostPathType::FileOrCreate if found.is_none() => {
            return write(Path::new("/"), path, 0o644, b"").map_err(system);
        }
        HostPathType::Unset => (true, ""),
        HostPathType::DirectoryOrCreate | HostPathType::Directory => {
            (is(fs::FileType::is_dir), "folder")
        }
        HostPathType::FileOrCreate | HostPathType::File => (is(fs::FileType::is_file), "file"),
        HostPathType::Socket => (is(FileTypeExt::is_socket), "socket"),
        HostPathType::CharDevice => (is(FileTypeExt::is_char_device), "character device"),
        HostPathType::BlockDevice => (is(FileTypeExt::is_block_device), "block device"),
    };
    match fits {
        true => Ok(()),
        false => Err(Error::HostPath {
            volume: volume.name.clone(),
            path: path.to_owned(),
            wanted,
        }),
    }
}

/// Volumes that the kubelet manages, the guest's own paths not among them.
fn takes_group(source: &Source) -> bool {
    match source {
        Source::EmptyDir | Source::Memory { .. } | Source::HugePages { .. } | Source::Files(_) => {
            true
        }
        Source::Claim(claim) => !claim.read_only && !claim.block,
        Source::HostPath { .. } | Source::Image => false,
    }
}

/// The kubelet's `SetVolumeOwnership`: everything belongs to the group, which may read and write
/// it (read, where only that is possible); new files in a folder belong to it, too.
fn give_to_group(root: &Path, group: FsGroup, files: u32) -> Result<(), Fault> {
    if group.on_root_mismatch
        && let Ok(found) = fs::metadata(root)
        && found.gid() == group.gid
        && found.mode() & 0o2010 == 0o2010
    {
        return Ok(());
    }
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        give(&folder, group.gid, files)?;
        for entry in fs::read_dir(&folder).context("list", folder.display())? {
            let path = entry.context("list", folder.display())?.path();
            let found = fs::symlink_metadata(&path).context("look at", path.display())?;
            match found.file_type() {
                kind if kind.is_dir() => folders.push(path),
                kind if kind.is_symlink() => {}
                _ => give(&path, group.gid, files)?,
            }
        }
    }
    Ok(())
}

fn give(path: &Path, gid: u32, files: u32) -> Result<(), Fault> {
    std::os::unix::fs::lchown(path, None, Some(gid))
        .context("change the group of", path.display())?;
    let found = fs::symlink_metadata(path).context("look at", path.display())?;
    let more = match found.is_dir() {
        true => files | 0o2110,
        false => files,
    };
    let mode = found.mode() & 0o7777 | more;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .context("change the mode of", path.display())
}

/// Later mounts below a volume are seen elsewhere only when it is a shared mount.
fn share(volume: &Volume, contract: &Contract, own: &Path) -> Result<(), Fault> {
    let mounts = contract
        .all_containers()
        .flat_map(|container| &container.mounts);
    let mut mounts = mounts.filter(|mount: &&Mount| mount.volume == volume.name);
    if mounts.all(|mount| mount.propagation == Propagation::None) {
        return Ok(());
    }
    rustix::mount::mount_bind_recursive(own, own).context("bind", own.display())?;
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    rustix::mount::mount_change(own, shared).context("share", own.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_their_modes_and_folders() {
        let folder = std::env::temp_dir().join(format!("i2kit-volume-{}", std::process::id()));
        write(&folder, "a/b/c", 0o400, b"text").unwrap();
        let file = folder.join("a/b/c");
        assert_eq!(fs::read(&file).unwrap(), b"text");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o400);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_path_of_the_guest_is_what_was_asked_for() {
        let volume = Volume {
            name: "v".into(),
            source: Source::EmptyDir,
            size_limit_bytes: None,
        };
        let folder = std::env::temp_dir().join(format!("i2kit-host-{}", std::process::id()));
        let path = folder.display().to_string();
        let told = |path: &str, kind| host_path(&volume, path, kind).map_err(|e| e.to_string());
        assert_eq!(
            told(&path, HostPathType::Directory),
            Err(format!("volume v: {path} is no folder"))
        );
        told(&path, HostPathType::DirectoryOrCreate).unwrap();
        told(&path, HostPathType::Directory).unwrap();
        told(&format!("{path}/f"), HostPathType::FileOrCreate).unwrap();
        told(&format!("{path}/f"), HostPathType::File).unwrap();
        told("/dev/null", HostPathType::CharDevice).unwrap();
        assert!(told("/dev/null", HostPathType::Socket).is_err());
        assert!(told(&format!("{path}/f"), HostPathType::DirectoryOrCreate).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
