//! One container.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Life, Mount, Resources, RestartPolicy, User};

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
    /// Restarts, probes, hooks.
    #[serde(default)]
    pub life: Life,
}

impl Container {
    /// True for an init container that stays: `restartPolicy: Always` of its own.
    #[must_use]
    pub fn is_sidecar(&self) -> bool {
        self.life.restart_policy == Some(RestartPolicy::Always)
    }
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
    /// `hostPort`: the port of the local host that leads here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// `hostIP`: the local host's address for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
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
    /// SCTP.
    Sctp,
}
