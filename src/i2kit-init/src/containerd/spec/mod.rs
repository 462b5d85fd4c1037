//! The OCI runtime specification (version 1.0.2) of a container.
//!
//! The VM is the Pod's sandbox: containers share its network, IPC and UTS namespaces and have
//! their own PID, mount and cgroup namespaces. Capabilities, masked paths and mounts are those
//! that containerd gives a Kubernetes container.

mod mounts;
mod resources;

use i2kit_contract::Container;
use serde_json::{Value, json};

use crate::cgroup;
pub use mounts::Bind;

/// containerd's default capabilities.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
];

/// Masked too; apart because it is no part of `/proc`.
const MASKED_FIRMWARE: &str = "/sys/firmware";

const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Open files: what the kernel allows one process at most by default (`fs.nr_open`), the common
/// setting on Kubernetes nodes.
const OPEN_FILES: u64 = 1_048_576;

/// The specification of a container with these volumes, on a VM with this much memory in bytes.
pub fn spec(container: &Container, binds: &[Bind], memory: u64) -> Value {
    let user = &container.user;
    let gids: Vec<u32> = [user.gid]
        .into_iter()
        .chain(user.additional_gids.iter().copied())
        .collect();
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": user.uid, "gid": user.gid, "additionalGids": gids },
            "args": container.args,
            "env": container.env,
            "cwd": container.working_dir,
            "terminal": container.life.tty,
            "capabilities": {
                "bounding": CAPABILITIES,
                "effective": CAPABILITIES,
                "permitted": CAPABILITIES,
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": OPEN_FILES, "hard": OPEN_FILES }],
            "oomScoreAdj": resources::oom_score_adj(&container.resources, memory),
        },
        "root": { "path": "rootfs" },
        "mounts": mounts::mounts(binds),
        "linux": {
            "cgroupsPath": cgroup::container_path(&container.name),
            "resources": resources::resources(&container.resources),
            "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "cgroup" }],
            "maskedPaths": MASKED.iter().copied().chain([MASKED_FIRMWARE]).collect::<Vec<_>>(),
            "readonlyPaths": READ_ONLY,
        },
    })
}

#[cfg(test)]
mod tests {
    use i2kit_contract::{Resources, User};

    use super::*;

    fn container() -> Container {
        Container {
            name: "web".into(),
            args: vec!["nginx".into(), "-g".into()],
            env: vec!["PATH=/bin".into()],
            working_dir: "/srv".into(),
            user: User {
                uid: 101,
                gid: 102,
                additional_gids: vec![7],
            },
            mounts: Vec::new(),
            image_volumes: Vec::new(),
            ports: Vec::new(),
            resources: Resources {
                memory_bytes: Some(64 << 20),
                cpu_millis: Some(250),
                cpu_request_millis: Some(100),
            },
            stop_signal: 15,
            life: i2kit_contract::Life::default(),
        }
    }

    #[test]
    fn process_and_limits_are_the_contracts() {
        let spec = spec(&container(), &[], 1 << 30);
        let process = &spec["process"];
        assert_eq!(process["args"], json!(["nginx", "-g"]));
        assert_eq!(
            process["user"],
            json!({ "uid": 101, "gid": 102, "additionalGids": [102, 7] })
        );
        assert_eq!(process["cwd"], "/srv");
        assert_eq!(process["oomScoreAdj"], 938);
        let linux = &spec["linux"];
        assert_eq!(linux["cgroupsPath"], "/pod/web");
        assert_eq!(
            linux["resources"]["memory"],
            json!({ "limit": 67_108_864, "swap": 67_108_864 })
        );
        assert_eq!(
            linux["resources"]["cpu"],
            json!({ "shares": 102, "quota": 25_000, "period": 100_000 })
        );
    }

    #[test]
    fn the_vm_is_the_sandbox() {
        let spec = spec(&container(), &[], 1 << 30);
        let namespaces = spec["linux"]["namespaces"].as_array().unwrap();
        let kinds: Vec<&str> = namespaces
            .iter()
            .map(|entry| entry["type"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["pid", "mount", "cgroup"]);
        assert!(spec.get("hostname").is_none(), "needs a UTS namespace");
    }
}
