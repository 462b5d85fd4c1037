//! Devices: the guest's for privileged containers, data disks for others.

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

/// A data disk as a container's device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockDevice {
    /// Absolute path in the container.
    pub path: String,
    /// Its device number.
    pub number: u64,
    /// It cannot be written.
    pub read_only: bool,
}

impl BlockDevice {
    /// What runc makes of it: for root, as the guest has it.
    pub fn entry(&self) -> Value {
        json!({
            "path": self.path,
            "type": "b",
            "major": rustix::fs::major(self.number),
            "minor": rustix::fs::minor(self.number),
            "fileMode": 0o600,
            "uid": 0,
            "gid": 0,
        })
    }

    fn rule(&self) -> Value {
        json!({
            "allow": true,
            "type": "b",
            "major": rustix::fs::major(self.number),
            "minor": rustix::fs::minor(self.number),
            "access": if self.read_only { "rm" } else { "rwm" },
        })
    }
}

/// Which devices may be used: all, or what runc allows everybody and these disks.
pub fn rules(privileged: bool, disks: &[BlockDevice]) -> Vec<Value> {
    let general = json!({ "allow": privileged, "access": "rwm" });
    [general]
        .into_iter()
        .chain(disks.iter().map(BlockDevice::rule))
        .collect()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_a_device_that_may_be_used() {
        let disk = BlockDevice {
            path: "/dev/data".into(),
            number: rustix::fs::makedev(254, 16),
            read_only: true,
        };
        assert_eq!(disk.entry()["major"], 254);
        let rules = rules(false, &[disk]);
        assert_eq!(rules[0]["allow"], false);
        assert_eq!(
            rules[1],
            json!({ "allow": true, "type": "b", "major": 254, "minor": 16, "access": "rm" })
        );
    }
}
