//! What the builder and the guest agree on: the Pod as the guest runs it.
//!
//! The builder writes one [`Contract`] as `pod.json` into the store's root; `i2kit-init` reads it
//! there. Every name in it is already resolved: variables are expanded, users are numbers, image
//! defaults are applied. The guest decides nothing that the builder could have decided; what it
//! alone knows stands there as a [`Reference`].
//! Unknown fields are refused, so builder and guest of different versions never half-agree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod container;
pub mod control;
mod life;
mod network;
mod paths;
mod probe;
mod resources;
pub mod runtime;
mod secret_place;
mod security;
mod status;
mod text;
mod volume;

pub use container::*;
pub use life::*;
pub use network::*;
pub use paths::*;
pub use probe::*;
pub use resources::*;
pub use secret_place::*;
pub use security::*;
pub use status::*;
pub use text::*;
pub use volume::*;

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
    /// The VM's host name (`spec.hostname`, else the Pod's name), at most 63 bytes; the fully
    /// qualified one with `setHostnameAsFQDN`, at most 64.
    pub hostname: String,
    /// Names and name service.
    #[serde(default, skip_serializing_if = "Names::is_default")]
    pub names: Names,
    /// Kernel parameters, set before the containers start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sysctls: Vec<Sysctl>,
    /// `spec.resources`: what all containers may take together.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// Huge pages to reserve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub huge_pages: Vec<HugePages>,
    /// Whose processes containers see.
    #[serde(default, skip_serializing_if = "ProcessNamespace::is_default")]
    pub process_namespace: ProcessNamespace,
    /// The group of the volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<FsGroup>,
    /// When an ended container starts again.
    pub restart_policy: RestartPolicy,
    /// Seconds between the stop signal and SIGKILL.
    pub termination_grace_period_seconds: u32,
    /// Seconds from the Pod's start after which it is ended and has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<u32>,
    /// What PID 1 does when the store fails verification or the boot cannot go on.
    pub on_failure: FailurePolicy,
    /// The guest answers on the [`control`] channel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub control: bool,
    /// Secrets that were baked into the disk, by name and key, in hexadecimal. What is not here
    /// must be delivered at run time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub baked_secrets: BTreeMap<String, BTreeMap<String, String>>,
    /// The Pod's volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// The containers that come before the others, in the manifest's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub init_containers: Vec<Container>,
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

    /// Init containers and containers, in the manifest's order.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
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
