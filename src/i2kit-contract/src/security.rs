//! Who a container runs as and what it may do.

use serde::{Deserialize, Serialize};

/// Numbers for the process's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, from the image's `/etc/group` and the manifest, ascending, without
    /// `gid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// What a container may do; the default is containerd's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// Capabilities such as `CAP_CHOWN`, in place of [`DEFAULT_CAPABILITIES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// Sees every device, and all of `/proc` and `/sys`, writable.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// `no_new_privs`: a program's set-user-id bit and file capabilities have no effect.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_new_privileges: bool,
    /// The root file system is read-only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only_root: bool,
    /// `/proc` as the kernel shows it, nothing masked or read-only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unmasked_proc: bool,
    /// The filter of system calls.
    #[serde(skip_serializing_if = "Seccomp::is_default")]
    pub seccomp: Seccomp,
}

impl Security {
    /// True when nothing is asked for.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The capabilities that it has.
    #[must_use]
    pub fn granted(&self) -> Vec<&str> {
        match &self.capabilities {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => DEFAULT_CAPABILITIES.to_vec(),
        }
    }
}

/// A capability's name as Kubernetes has it, without `CAP_`.
#[must_use]
pub fn short_capability(name: &str) -> &str {
    name.strip_prefix("CAP_").unwrap_or(name)
}

/// `seccompProfile`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seccomp {
    /// No filter.
    #[default]
    Unconfined,
    /// containerd's default filter, which follows from the capabilities.
    RuntimeDefault,
    /// A filter as the OCI runtime specification has it (`linux.seccomp`).
    Profile(serde_json::Value),
}

impl Seccomp {
    fn is_default(&self) -> bool {
        *self == Self::Unconfined
    }
}

/// containerd's default capabilities.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
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

/// All capabilities of Linux 5.9 and later, by number (`include/uapi/linux/capability.h`).
pub const ALL_CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];
