//! What the builder and the guest agree on: the Pod as the guest runs it.
//!
//! The builder writes one [`Contract`] as `pod.json` into the store's root; `i2kit-init` reads it
//! there. Every name in it is already resolved: variables are expanded, users are numbers, image
//! defaults are applied. The guest decides nothing that the builder could have decided.
//! Unknown fields are refused, so builder and guest of different versions never half-agree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub mod control;
mod paths;
pub mod runtime;
mod status;

pub use paths::*;
pub use status::*;

/// The contract's version. The guest refuses any other.
pub const VERSION: u32 = 1;

/// A contract that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON, or not of this version's shape.
    #[error("parse contract: {0}")]
    Parse(#[from] serde_json::Error),
    /// Written by another version of i2kit.
    #[error("contract version {found}, this guest knows {VERSION}")]
    Version {
        /// The version that the contract names.
        found: u32,
    },
}

/// One Pod, as the guest runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Always [`VERSION`].
    pub version: u32,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The VM's host name (`spec.hostname`, else the Pod's name), at most 63 bytes.
    pub hostname: String,
    /// When an ended container starts again.
    pub restart_policy: RestartPolicy,
    /// Seconds between the stop signal and SIGKILL.
    pub termination_grace_period_seconds: u32,
    /// What PID 1 does when the store fails verification or the boot cannot go on.
    pub on_failure: FailurePolicy,
    /// The guest answers on the [`control`] channel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub control: bool,
    /// The Pod's `emptyDir` volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// The containers, in the manifest's order. Never empty.
    pub containers: Vec<Container>,
}

impl Contract {
    /// Parses `pod.json`.
    ///
    /// # Errors
    /// [`Error`] when it is not JSON, has an unknown field or another version.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Peek {
            version: u32,
        }
        let Peek { version } = serde_json::from_slice(json)?;
        if version != VERSION {
            return Err(Error::Version { found: version });
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// The bytes of `pod.json`: the same value always gives the same bytes.
    ///
    /// # Errors
    /// None in practice; serialising these types cannot fail.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }
}

/// `spec.restartPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Start again whatever the exit code.
    #[default]
    Always,
    /// Start again unless the exit code is 0.
    OnFailure,
    /// Never start again.
    Never,
}

/// What PID 1 does when it cannot go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailurePolicy {
    /// Power off.
    #[default]
    PowerOff,
    /// Reboot.
    Reboot,
}

/// A volume that lives as long as the Pod: one directory on the scratch partition or tmpfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Unique in the Pod; a DNS label.
    pub name: String,
}

/// One container, its image's defaults already applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Unique in the Pod; a DNS label. Its root lies in the store at `containers/NAME`.
    pub name: String,
    /// What the process is started with. Never empty; `args[0]` may need a look-up in `PATH`.
    pub args: Vec<String>,
    /// `NAME=value`, in order, each name once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The working directory, absolute; made when missing.
    pub working_dir: String,
    /// Who the process runs as.
    pub user: User,
    /// Volumes of the Pod that this container sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// The image's own volumes (config `Volumes`): absolute paths, each a fresh writable
    /// directory per container, seeded from the store. A path that `mounts` covers is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_volumes: Vec<String>,
    /// Ports the container says it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// cgroup v2 limits.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// The signal that asks for an end, as a number (1-64). From the image's `StopSignal`, else 15.
    pub stop_signal: u8,
}

/// Numbers for the process's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, from the image's `/etc/group`, ascending, without `gid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// A `volumeMounts` entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Name of a [`Volume`].
    pub volume: String,
    /// Absolute path in the container.
    pub mount_path: String,
    /// Mounted read-only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// A `ports` entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// 1-65535.
    pub container_port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// cgroup v2 limits of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// `memory.max`, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// `cpu.max` in thousandths of a CPU (the kubelet's milliCPU): quota = milli * 100 µs in a
    /// period of 100 ms, at least 1 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// `cpu.weight`'s source: the request (or limit) in thousandths of a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_request_millis: Option<u64>,
}

impl Resources {
    /// True when no limit is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
