//! The OCI runtime specification (version 1.0.2) of a container.
//!
//! The VM is the Pod's sandbox: containers share its network, IPC and UTS namespaces and have
//! their own PID, mount and cgroup namespaces. Capabilities, masked paths and mounts are those
//! that containerd gives a Kubernetes container.

mod devices;
mod mounts;
mod resources;
mod seccomp;

use std::path::Path;

use i2kit_contract::Container;
use serde_json::{Value, json};

use crate::{cgroup, pod::values::Process};
pub use devices::BlockDevice;
pub use mounts::Bind;

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

/// What a container sees of the volumes.
#[derive(Debug, Default)]
pub struct Views {
    /// Folders and files.
    pub binds: Vec<Bind>,
    /// Disks.
    pub devices: Vec<BlockDevice>,
}

/// What the VM brings to every specification.
pub struct Machine<'a> {
    /// Its memory in bytes.
    pub memory: u64,
    /// Where the container's processes live.
    pub process_namespace: Processes<'a>,
}

/// A process namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processes<'a> {
    /// The container's own.
    Own,
    /// The one at this path.
    At(&'a str),
    /// The guest's.
    Guest,
}

/// The specification of a container with this process and these volumes.
pub fn spec(
    container: &Container,
    process: &Process,
    views: &Views,
    machine: &Machine<'_>,
) -> Value {
    let security = &container.security;
    let (masked, read_only) = match security.unmasked_proc {
        true => (Vec::new(), Vec::new()),
        false => (masked(), READ_ONLY.to_vec()),
    };
    let mut linux = json!({
        "cgroupsPath": cgroup::container_path(&container.name),
        "resources": resources::resources(&container.resources, &devices::rules(security.privileged, &views.devices)),
        "namespaces": namespaces(machine.process_namespace),
        "maskedPaths": masked,
        "readonlyPaths": read_only,
    });
    if let Some(linux) = linux.as_object_mut() {
        let mut devices: Vec<Value> = views.devices.iter().map(BlockDevice::entry).collect();
        if security.privileged {
            devices.extend(devices::all(Path::new("/dev")));
        }
        linux.insert("devices".into(), devices.into());
        let filter = seccomp::filter(&security.seccomp, &security.granted());
        linux.extend(filter.map(|filter| ("seccomp".to_owned(), filter)));
        let propagation = mounts::root_propagation(&views.binds);
        linux.extend(propagation.map(|one| ("rootfsPropagation".to_owned(), one.into())));
    }
    json!({
        "ociVersion": "1.0.2",
        "process": self::process(container, process, machine.memory),
        "root": { "path": "rootfs", "readonly": security.read_only_root },
        "mounts": mounts::mounts(&views.binds, security.privileged),
        "linux": linux,
    })
}

fn process(container: &Container, process: &Process, memory: u64) -> Value {
    let user = &container.user;
    let gids: Vec<u32> = [user.gid]
        .into_iter()
        .chain(user.additional_gids.iter().copied())
        .collect();
    let capabilities = container.security.granted();
    json!({
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": gids },
        "args": process.args,
        "env": process.env,
        "cwd": container.working_dir,
        "terminal": container.life.tty,
        "capabilities": {
            "bounding": capabilities,
            "effective": capabilities,
            "permitted": capabilities,
        },
        "noNewPrivileges": container.security.no_new_privileges,
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": OPEN_FILES, "hard": OPEN_FILES }],
        "oomScoreAdj": resources::oom_score_adj(&container.resources, memory),
    })
}

fn masked() -> Vec<&'static str> {
    MASKED.iter().copied().chain([MASKED_FIRMWARE]).collect()
}

/// Network, IPC and UTS are the VM's.
fn namespaces(processes: Processes<'_>) -> Vec<Value> {
    let mut all = match processes {
        Processes::Own => vec![json!({ "type": "pid" })],
        Processes::At(path) => vec![json!({ "type": "pid", "path": path })],
        Processes::Guest => Vec::new(),
    };
    all.extend([json!({ "type": "mount" }), json!({ "type": "cgroup" })]);
    all
}

#[cfg(test)]
mod tests {
    use i2kit_contract::{Resources, Seccomp, Security, User};

    use super::*;

    fn container() -> Container {
        Container {
            name: "web".into(),
            args: vec!["nginx".into()],
            env: Vec::new(),
            working_dir: "/srv".into(),
            user: User {
                uid: 101,
                gid: 102,
                additional_gids: vec![7],
            },
            security: Security::default(),
            mounts: Vec::new(),
            devices: Vec::new(),
            image_volumes: Vec::new(),
            ports: Vec::new(),
            resources: Resources {
                memory_bytes: Some(64 << 20),
                cpu_millis: Some(250),
                cpu_request_millis: Some(100),
                ..Resources::default()
            },
            stop_signal: 15,
            life: i2kit_contract::Life::default(),
        }
    }

    fn spec_of(container: &Container) -> Value {
        let process = Process {
            args: vec!["nginx".into(), "-g".into()],
            env: vec!["PATH=/bin".into()],
        };
        let machine = Machine {
            memory: 1 << 30,
            process_namespace: Processes::Own,
        };
        spec(container, &process, &Views::default(), &machine)
    }

    #[test]
    fn what_a_container_may_do_is_the_contracts() {
        let plain = spec_of(&container());
        assert_eq!(plain["process"]["noNewPrivileges"], false);
        assert_eq!(plain["root"]["readonly"], false);
        assert!(plain["linux"].get("seccomp").is_none());
        assert_eq!(
            plain["process"]["capabilities"]["bounding"]
                .as_array()
                .unwrap()
                .len(),
            14
        );
        let strict = spec_of(&Container {
            security: Security {
                capabilities: Some(vec!["CAP_CHOWN".into()]),
                no_new_privileges: true,
                read_only_root: true,
                unmasked_proc: true,
                seccomp: Seccomp::RuntimeDefault,
                ..Security::default()
            },
            ..container()
        });
        assert_eq!(
            strict["process"]["capabilities"]["effective"],
            json!(["CAP_CHOWN"])
        );
        assert_eq!(strict["process"]["noNewPrivileges"], true);
        assert_eq!(strict["root"]["readonly"], true);
        assert_eq!(strict["linux"]["maskedPaths"], json!([]));
        assert_eq!(
            strict["linux"]["seccomp"]["defaultAction"],
            "SCMP_ACT_ERRNO"
        );
        let all = spec_of(&Container {
            security: Security {
                privileged: true,
                ..Security::default()
            },
            ..container()
        });
        let devices = all["linux"]["devices"].as_array().unwrap();
        assert!(
            devices.iter().any(|one| one["path"] == "/dev/null"),
            "{devices:?}"
        );
        assert_eq!(all["linux"]["resources"]["devices"][0]["allow"], true);
    }

    #[test]
    fn processes_live_where_the_pod_says() {
        let kinds = |processes| namespaces(processes).len();
        assert_eq!([Processes::Own, Processes::Guest].map(kinds), [3, 2]);
        let shared = namespaces(Processes::At("/proc/7/ns/pid"));
        assert_eq!(
            shared[0],
            json!({ "type": "pid", "path": "/proc/7/ns/pid" })
        );
    }

    #[test]
    fn process_and_limits_are_the_contracts() {
        let spec = spec_of(&container());
        let process = &spec["process"];
        assert_eq!(process["args"], json!(["nginx", "-g"]));
        assert_eq!(
            process["user"],
            json!({ "uid": 101, "gid": 102, "additionalGids": [102, 7] })
        );
        assert_eq!(process["cwd"], "/srv");
        assert_eq!(process["oomScoreAdj"], 938);
        assert_eq!(process["env"], json!(["PATH=/bin"]));
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
        let spec = spec_of(&container());
        let namespaces = spec["linux"]["namespaces"].as_array().unwrap();
        let kinds: Vec<&str> = namespaces
            .iter()
            .map(|entry| entry["type"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["pid", "mount", "cgroup"]);
        assert!(spec.get("hostname").is_none(), "needs a UTS namespace");
    }
}
