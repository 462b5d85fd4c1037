//! The OCI runtime specification (version 1.0.2) of a container.
//!
//! The VM is the Pod's sandbox: containers share its network, IPC and UTS namespaces and have
//! their own PID, mount and cgroup namespaces. Capabilities, masked paths and mounts are those
//! that containerd gives a Kubernetes container.

use i2kit_contract::{Container, Resources};
use serde_json::{Value, json};

use crate::{cgroup, paths};

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
/// Period of `cpu.max` in microseconds, and the least quota the kernel takes.
const CPU_PERIOD: u64 = 100_000;
const LEAST_CPU_QUOTA: u64 = 1_000;

/// A folder or file of the guest that a container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Path in the guest.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Mounted read-only.
    pub read_only: bool,
}

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
            "capabilities": {
                "bounding": CAPABILITIES,
                "effective": CAPABILITIES,
                "permitted": CAPABILITIES,
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": OPEN_FILES, "hard": OPEN_FILES }],
            "oomScoreAdj": oom_score_adj(&container.resources, memory),
        },
        "root": { "path": "rootfs" },
        "mounts": mounts(binds),
        "linux": {
            "cgroupsPath": cgroup::container_path(&container.name),
            "resources": resources(&container.resources),
            "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "cgroup" }],
            "maskedPaths": MASKED.iter().copied().chain([MASKED_FIRMWARE]).collect::<Vec<_>>(),
            "readonlyPaths": READ_ONLY,
        },
    })
}

fn mounts(binds: &[Bind]) -> Vec<Value> {
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
            &["nosuid", "noexec", "nodev", "ro"],
        ),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
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
        let mode = if bind.read_only { "ro" } else { "rw" };
        mounts.push(mount(
            &bind.target,
            "bind",
            &bind.source,
            &["rbind", "rprivate", mode],
        ));
    }
    mounts
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

fn resources(resources: &Resources) -> Value {
    let mut value = json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "cpu": { "shares": cpu_shares(resources.cpu_request_millis) },
    });
    if let (Some(millis), Some(cpu)) = (
        resources.cpu_millis,
        value.get_mut("cpu").and_then(Value::as_object_mut),
    ) {
        cpu.insert("period".into(), CPU_PERIOD.into());
        cpu.insert(
            "quota".into(),
            millis.saturating_mul(100).max(LEAST_CPU_QUOTA).into(),
        );
    }
    if let (Some(bytes), Some(value)) = (resources.memory_bytes, value.as_object_mut()) {
        // `swap` is memory plus swap: equal values allow none. One process killed for want of
        // memory takes its container with it, as the kubelet sets since 1.28.
        value.insert("memory".into(), json!({ "limit": bytes, "swap": bytes }));
        value.insert("unified".into(), json!({ "memory.oom.group": "1" }));
    }
    value
}

/// The kubelet's `MilliCPUToShares`; runc turns shares into `cpu.weight`.
fn cpu_shares(millis: Option<u64>) -> u64 {
    let shares = millis.unwrap_or(0).saturating_mul(1024) / 1000;
    shares.clamp(2, 262_144)
}

/// The kubelet's `GetContainerOOMScoreAdjust` for the best-effort and burstable classes: who may
/// use more memory than was asked for goes first.
fn oom_score_adj(resources: &Resources, memory: u64) -> u64 {
    match resources.memory_bytes {
        None if resources.is_empty() => 1000,
        bytes => {
            let thousandths = bytes.unwrap_or(0).saturating_mul(1000) / memory.max(1);
            1000u64.saturating_sub(thousandths).clamp(2, 999)
        }
    }
}

#[cfg(test)]
mod tests {
    use i2kit_contract::User;

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

    #[test]
    fn volumes_come_after_those_they_lie_in() {
        let bind = |target: &str, read_only| Bind {
            source: "/x".into(),
            target: target.into(),
            read_only,
        };
        let mounts = mounts(&[bind("/data/deep", true), bind("/data", false)]);
        let last: Vec<&Value> = mounts.iter().rev().take(2).collect();
        assert_eq!(last[1]["destination"], "/data");
        assert_eq!(last[0]["destination"], "/data/deep");
        assert_eq!(last[0]["options"], json!(["rbind", "rprivate", "ro"]));
    }

    #[test]
    fn shares_quota_and_scores_have_the_kubelets_bounds() {
        assert_eq!(
            [None, Some(1), Some(1000), Some(u64::MAX)].map(cpu_shares),
            [2, 2, 1024, 262_144]
        );
        let mut limits = Resources {
            cpu_millis: Some(1),
            ..Resources::default()
        };
        assert_eq!(resources(&limits)["cpu"]["quota"], LEAST_CPU_QUOTA);
        assert_eq!(oom_score_adj(&limits, 1 << 30), 999);
        limits.memory_bytes = Some(1 << 40);
        assert_eq!(oom_score_adj(&limits, 1 << 30), 2);
        assert_eq!(oom_score_adj(&Resources::default(), 1 << 30), 1000);
    }
}
