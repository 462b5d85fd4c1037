//! The folders on scratch that a container's start needs.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
};

use containerd_client::types::Mount;
use i2kit_contract::{CONTAINERS, Container, Source, Volume};

use crate::{
    containerd::spec::{Bind, BlockDevice, Views},
    fault::{Context, Fault},
    mounts::make_folder,
    paths,
    pod::{
        claims, copy, message, sub_path,
        values::{self, Process, Values},
        volumes,
    },
};

/// Makes the Pod's folders on scratch. Writable layers of an earlier boot go.
///
/// # Errors
/// A folder cannot be made.
pub fn prepare_pod() -> Result<(), Fault> {
    for folder in [paths::UPPERS, paths::VOLUMES, paths::TRASH, paths::LOGS] {
        make_folder(Path::new(folder), 0o755)?;
    }
    // What an earlier boot was still deleting.
    for entry in fs::read_dir(paths::TRASH).into_iter().flatten().flatten() {
        delete_behind(entry.path());
    }
    discard(Path::new(paths::UPPERS))?;
    make_folder(Path::new(paths::UPPERS), 0o755)?;
    fs::create_dir_all(paths::STDIO).context("create", paths::STDIO)
}

/// A container's root, mounted explicitly: its merged root in the store below a fresh writable
/// layer.
pub struct Prepared {
    /// The overlay.
    pub rootfs: Mount,
    /// Its volumes.
    pub views: Views,
    /// What it is started with.
    pub process: Process,
}

/// A container that cannot be started yet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system operation failed.
    #[error(transparent)]
    System(#[from] Fault),
    /// A value is missing.
    #[error(transparent)]
    Value(#[from] values::Error),
    /// A data disk is gone.
    #[error(transparent)]
    Claim(#[from] claims::Error),
}

/// Makes a container's folders anew and looks up its values.
///
/// # Errors
/// A folder cannot be made, an image volume not be seeded, or a value is missing.
pub fn prepare_container(
    container: &Container,
    volumes: &[Volume],
    values: &Values,
) -> Result<Prepared, Error> {
    let process = values.process(container)?;
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
    let mut binds = volume_binds(container, volumes, values)?;
    for (index, target) in container.image_volumes.iter().enumerate() {
        let folder = own.join(format!("volume-{index}"));
        make_folder(&folder, 0o755)?;
        copy::seed(&lower, target, &folder)?;
        binds.push(Bind {
            source: folder.display().to_string(),
            target: target.clone(),
            ..Bind::default()
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
        ..Bind::default()
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
    let devices = volume_devices(container, volumes)?;
    Ok(Prepared {
        rootfs,
        views: Views { binds, devices },
        process,
    })
}

fn volume_binds(
    container: &Container,
    volumes: &[Volume],
    values: &Values,
) -> Result<Vec<Bind>, Error> {
    sub_path::clear(&container.name);
    let mut binds = Vec::new();
    for (index, mount) in container.mounts.iter().enumerate() {
        let Some(volume) = volumes.iter().find(|one| one.name == mount.volume) else {
            continue;
        };
        let mut source = volumes::path(volume);
        if let Some(path) = &mount.sub_path {
            let path = values.text(path, &format!("container {}", container.name))?;
            source = sub_path::bind(&container.name, index, &source, &path)?;
        }
        binds.push(Bind {
            source: source.display().to_string(),
            target: mount.mount_path.clone(),
            read_only: mount.read_only,
            recursive: mount.recursive_read_only,
            no_exec: volume.source == Source::Image,
            propagation: mount.propagation,
        });
    }
    Ok(binds)
}

/// The disks that the container sees as devices.
fn volume_devices(container: &Container, volumes: &[Volume]) -> Result<Vec<BlockDevice>, Error> {
    let mut devices = Vec::new();
    for device in &container.devices {
        let volume = volumes.iter().find(|one| one.name == device.volume);
        let Some(Source::Claim(claim)) = volume.map(|one| &one.source) else {
            continue;
        };
        let node = claims::find(&claim.name)?;
        let found = fs::metadata(&node).context("look at", node.display())?;
        devices.push(BlockDevice {
            path: device.path.clone(),
            number: found.rdev(),
            read_only: claim.read_only,
        });
    }
    Ok(devices)
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
