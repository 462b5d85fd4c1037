//! The guest's devices, for privileged containers.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use serde_json::{Value, json};

/// Folders below `/dev` that are mounts of a container's own.
const OWN: [&str; 3] = ["pts", "shm", "mqueue"];
/// Deepest folder below `/dev` that is looked into.
const DEPTH: u8 = 4;

/// Every device below `dev`, as the OCI runtime specification lists them. runc makes the usual
/// ones, such as `/dev/null`, by itself and does not mind them here.
pub fn all(dev: &Path) -> Vec<Value> {
    let mut devices = Vec::new();
    collect(dev, DEPTH, &mut devices);
    devices
}

fn collect(folder: &Path, depth: u8, devices: &mut Vec<Value>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(found) = fs::symlink_metadata(&path) else {
            continue;
        };
        let kind = found.file_type();
        if kind.is_dir() {
            let is_own = OWN.iter().any(|own| entry.file_name() == *own);
            if let (false, Some(depth)) = (is_own, depth.checked_sub(1)) {
                collect(&path, depth, devices);
            }
        } else if entry.file_name() == "console" {
            // Of the guest, and a container with a terminal has its own.
        } else if kind.is_char_device() || kind.is_block_device() {
            devices.push(json!({
                "path": path.display().to_string(),
                "type": if kind.is_block_device() { "b" } else { "c" },
                "major": rustix::fs::major(found.rdev()),
                "minor": rustix::fs::minor(found.rdev()),
                "fileMode": found.mode() & 0o7777,
                "uid": found.uid(),
                "gid": found.gid(),
            }));
        }
    }
}
