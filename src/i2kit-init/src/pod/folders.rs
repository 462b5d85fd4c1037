//! The folders on scratch that a container's start needs.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
};

use containerd_client::types::Mount;
use i2kit_contract::{CONTAINERS, Container, Contract};

use crate::{
    containerd::spec::Bind,
    fault::{Context, Fault},
    mounts::make_folder,
    paths,
    pod::{copy, message},
};

/// Makes the Pod's folders on scratch. Writable layers of an earlier boot go; `emptyDir` volumes
/// stay, as the kubelet keeps them when a node reboots.
///
/// # Errors
/// A folder cannot be made.
pub fn prepare_pod(contract: &Contract) -> Result<(), Fault> {
    for folder in [paths::UPPERS, paths::VOLUMES, paths::TRASH, paths::LOGS] {
        make_folder(Path::new(folder), 0o755)?;
    }
    // What an earlier boot was still deleting.
    for entry in fs::read_dir(paths::TRASH).into_iter().flatten().flatten() {
        delete_behind(entry.path());
    }
    discard(Path::new(paths::UPPERS))?;
    make_folder(Path::new(paths::UPPERS), 0o755)?;
    for volume in &contract.volumes {
        let path = Path::new(paths::VOLUMES).join(&volume.name);
        if !path.exists() {
            make_folder(&path, 0o777)?;
        }
    }
    fs::create_dir_all(paths::STDIO).context("create", paths::STDIO)
}

/// A container's root, mounted explicitly: its merged root in the store below a fresh writable
/// layer.
pub struct Prepared {
    /// The overlay.
    pub rootfs: Mount,
    /// Its volumes.
    pub binds: Vec<Bind>,
}

/// Makes a container's folders anew.
///
/// # Errors
/// A folder cannot be made or an image volume not be seeded.
pub fn prepare_container(container: &Container) -> Result<Prepared, Fault> {
    let lower = Path::new(paths::STORE)
        .join(CONTAINERS)
        .join(&container.name);
    let own = Path::new(paths::UPPERS).join(&container.name);
    discard(&own)?;
    let (upper, work) = (own.join("upper"), own.join("work"));
    make_folder(&upper, 0o755)?;
    make_folder(&work, 0o700)?;
    // overlayfs shows the upper layer's root where both have one.
    copy::attributes(&lower, &upper)?;
    let volumes = container.mounts.iter().map(|mount| Bind {
        source: format!("{}/{}", paths::VOLUMES, mount.volume),
        target: mount.mount_path.clone(),
        read_only: mount.read_only,
    });
    let mut binds: Vec<Bind> = volumes.collect();
    for (index, target) in container.image_volumes.iter().enumerate() {
        let folder = own.join(format!("volume-{index}"));
        make_folder(&folder, 0o755)?;
        copy::seed(&lower, target, &folder)?;
        binds.push(Bind {
            source: folder.display().to_string(),
            target: target.clone(),
            read_only: false,
        });
    }
    let message = message::file(&container.name);
    fs::write(&message, "").context("create", message.display())?;
    // Whoever the container runs as.
    fs::set_permissions(&message, fs::Permissions::from_mode(0o666))
        .context("change the mode of", message.display())?;
    binds.push(Bind {
        source: message.display().to_string(),
        target: container.life.termination_message.path.clone(),
        read_only: false,
    });
    let rootfs = Mount {
        r#type: "overlay".into(),
        source: "overlay".into(),
        target: String::new(),
        options: vec![
            format!("lowerdir={}", lower.display()),
            format!("upperdir={}", upper.display()),
            format!("workdir={}", work.display()),
        ],
    };
    Ok(Prepared { rootfs, binds })
}

/// Moves a folder aside, and deletes it in a thread: a writable layer may hold a million files.
///
/// # Errors
/// The folder cannot be moved.
pub fn discard(folder: &Path) -> Result<(), Fault> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    // Unique: time since the boot in nanoseconds, after names that boot has moved already.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let aside = (0u32..)
        .map(|count| {
            Path::new(paths::TRASH).join(format!("{name}-{}-{}-{count}", now.tv_sec, now.tv_nsec))
        })
        .find(|path| !path.exists())
        .unwrap_or_default();
    match fs::rename(folder, &aside) {
        Ok(()) => {
            delete_behind(aside);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Fault::new("discard", folder.display(), error)),
    }
}

/// What cannot be deleted only takes room; the next boot tries again.
fn delete_behind(path: PathBuf) {
    thread::spawn(move || fs::remove_dir_all(path));
}
