//! One container.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Device, Life, Mount, Resources, RestartPolicy, Security, Text, User};

/// One container, its image's defaults already applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Unique in the Pod; a DNS label. Its root lies in the store at `containers/NAME`.
    pub name: String,
    /// What the process is started with. Never empty; `args[0]` may need a look-up in `PATH`.
    pub args: Vec<Text>,
    /// Variables, in order; a later one takes the place of an earlier one of its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// The working directory, absolute; made when missing.
    pub working_dir: String,
    /// Who the process runs as.
    pub user: User,
    /// What the process may do.
    #[serde(default, skip_serializing_if = "Security::is_default")]
    pub security: Security,
    /// Volumes of the Pod that this container sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Data disks that this container sees as devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
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

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EnvVar {
    /// `NAME=value`.
    Plain(String),
    /// One with a value of the guest.
    Value(EnvValue),
    /// All keys of a Secret.
    Secret(SecretEnv),
}

/// A variable with a value of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvValue {
    /// Its name.
    pub name: String,
    /// Its value; `name` and `value` tell it from a [`SecretEnv`].
    pub value: Text,
    /// It does not exist when its value does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// An `envFrom` entry for a Secret whose keys the builder does not know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretEnv {
    /// The Secret's name.
    pub secret: String,
    /// What stands before each key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// No variables when there is no such Secret.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl EnvVar {
    /// Bytes that are known, `=` included.
    #[must_use]
    pub fn known_len(&self) -> usize {
        match self {
            Self::Plain(text) => text.len(),
            Self::Value(var) => var
                .name
                .len()
                .saturating_add(1)
                .saturating_add(var.value.len()),
            Self::Secret(_) => 0,
        }
    }
}

impl PartialEq<&str> for EnvVar {
    fn eq(&self, other: &&str) -> bool {
        matches!(self, Self::Plain(text) if text == other)
    }
}

impl PartialEq<String> for EnvVar {
    fn eq(&self, other: &String) -> bool {
        *self == other.as_str()
    }
}
