//! Volumes of the Pod, and where containers see them.

use serde::{Deserialize, Serialize};

/// A volume that lives as long as the Pod: one directory on the scratch partition or tmpfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Unique in the Pod; a DNS label.
    pub name: String,
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
