//! What a container finds mounted.

use i2kit_contract::Propagation;
use serde_json::{Value, json};

use crate::paths;

/// A folder or file of the guest that a container sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bind {
    /// Path in the guest.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Mounted read-only.
    pub read_only: bool,
    /// So is what is mounted below it.
    pub recursive: bool,
    /// No file of it can be executed.
    pub no_exec: bool,
    /// Whose later mounts are seen where.
    pub propagation: Propagation,
}

/// The kernel's file systems, the generated files and the volumes, in the order of mounting.
/// A privileged container may write to sysfs and cgroups.
pub fn mounts(binds: &[Bind], privileged: bool) -> Vec<Value> {
    let kernel = if privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ),
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", kernel],
        ),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", kernel],
        ),
        mount("/dev/shm", "bind", "/dev/shm", &["rbind", "rprivate", "rw"]),
    ];
    for name in ["hosts", "hostname", "resolv.conf"] {
        let source = format!("{}/{name}", paths::ETC);
        mounts.push(mount(
            &format!("/etc/{name}"),
            "bind",
            &source,
            &["rbind", "rprivate", "rw"],
        ));
    }
    // A mount below another one comes after it.
    let mut binds: Vec<&Bind> = binds.iter().collect();
    binds.sort_by_key(|bind| {
        bind.target
            .split('/')
            .filter(|part| !part.is_empty())
            .count()
    });
    for bind in binds {
        let mode = match (bind.read_only, bind.recursive) {
            (false, _) => "rw",
            (true, false) => "ro",
            (true, true) => "rro",
        };
        let mut options = vec!["rbind", propagation(bind.propagation), mode];
        options.extend(bind.no_exec.then_some("noexec"));
        mounts.push(mount(&bind.target, "bind", &bind.source, &options));
    }
    mounts
}

fn propagation(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::None => "rprivate",
        Propagation::HostToContainer => "rslave",
        Propagation::Bidirectional => "rshared",
    }
}

/// What the container's root must be for its volumes' propagation to work; `None` for runc's
/// default.
pub fn root_propagation(binds: &[Bind]) -> Option<&'static str> {
    let has = |one| binds.iter().any(|bind| bind.propagation == one);
    if has(Propagation::Bidirectional) {
        Some("rshared")
    } else {
        has(Propagation::HostToContainer).then_some("rslave")
    }
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_come_after_those_they_lie_in() {
        let bind = |target: &str, read_only| Bind {
            source: "/x".into(),
            target: target.into(),
            read_only,
            ..Bind::default()
        };
        let mounts = mounts(&[bind("/data/deep", true), bind("/data", false)], false);
        let last: Vec<&Value> = mounts.iter().rev().take(2).collect();
        assert_eq!(last[1]["destination"], "/data");
        assert_eq!(last[0]["destination"], "/data/deep");
        assert_eq!(last[0]["options"], json!(["rbind", "rprivate", "ro"]));
        let image = Bind {
            recursive: true,
            no_exec: true,
            ..bind("/image", true)
        };
        let mounts = super::mounts(&[image], false);
        let options = &mounts.last().unwrap()["options"];
        assert_eq!(*options, json!(["rbind", "rprivate", "rro", "noexec"]));
    }
}
