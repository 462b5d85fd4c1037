//! Names and name service of the Pod.

use serde::{Deserialize, Serialize};

/// What stands in `/etc/hosts` and `/etc/resolv.conf` besides what the network tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Names {
    /// The fully qualified name, which stands before the host name in `/etc/hosts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<String>,
    /// `hostAliases`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<HostAlias>,
    /// `dnsPolicy: None`: nothing of what the network tells is used.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignore_network: bool,
    /// `dnsConfig.nameservers`, addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// `dnsConfig.searches`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<String>,
    /// `dnsConfig.options`, each `NAME` or `NAME:VALUE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Names {
    /// True when nothing is asked for.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A line of `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostAlias {
    /// An address.
    pub ip: String,
    /// Its names.
    pub hostnames: Vec<String>,
}

/// Whose processes a container sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessNamespace {
    /// Its own.
    #[default]
    Container,
    /// The Pod's: `shareProcessNamespace`.
    Pod,
    /// The guest's: `hostPID`.
    Guest,
}

impl ProcessNamespace {
    /// True for a container of its own.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::Container
    }
}

/// A kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    /// With dots, as in `net.core.somaxconn`.
    pub name: String,
    /// What is written.
    pub value: String,
}

/// `fsGroup`: the group that volumes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FsGroup {
    /// Its number.
    pub gid: u32,
    /// Left alone where the volume's own folder has it already (`OnRootMismatch`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_root_mismatch: bool,
}
