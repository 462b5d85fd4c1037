//! The Pod as its manifest gives it: validated, defaults of the API server applied, variables not
//! yet expanded, nothing known of the images.

use std::collections::BTreeMap;

use i2kit_contract::{Life, Port, RestartPolicy};

use super::quantity::Quantity;

/// One Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.name` (of the Deployment, when the Pod is its template).
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `spec.hostname`.
    pub hostname: Option<String>,
    /// `spec.restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `spec.terminationGracePeriodSeconds`, default 30.
    pub termination_grace_period_seconds: u32,
    /// `spec.activeDeadlineSeconds`, at least 1.
    pub active_deadline_seconds: Option<u32>,
    /// `spec.securityContext`: what containers run as that don't say themselves.
    pub security: SecurityContext,
    /// `spec.volumes`: names of `emptyDir` volumes.
    pub volumes: Vec<String>,
    /// `spec.initContainers`, names unique among all containers.
    pub init_containers: Vec<Container>,
    /// `spec.containers`, at least one, names unique.
    pub containers: Vec<Container>,
}

impl Pod {
    /// Init containers and containers, in the manifest's order.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }
}

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// `name`, a DNS label.
    pub name: String,
    /// `image`, as written.
    pub image: String,
    /// `command`: replaces the image's Entrypoint (and Cmd) when not empty.
    pub command: Vec<String>,
    /// `args`: replaces the image's Cmd when not empty.
    pub args: Vec<String>,
    /// `env`, in order; of two with one name the later wins.
    pub env: Vec<EnvVar>,
    /// `workingDir`, absolute.
    pub working_dir: Option<String>,
    /// `ports`.
    pub ports: Vec<Port>,
    /// `resources`.
    pub resources: Resources,
    /// `securityContext`.
    pub security: SecurityContext,
    /// `volumeMounts`; paths are absolute and unique.
    pub mounts: Vec<VolumeMount>,
    /// Restarts, probes, hooks, terminal.
    pub life: Life,
    /// `lifecycle.stopSignal` (1-64), instead of the image's.
    pub stop_signal: Option<u8>,
}

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    /// `name`.
    pub name: String,
    /// `value`, `$(NAME)` not yet expanded.
    pub value: String,
}

/// `resources`: what a container asks for and may take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// `limits`.
    pub limits: ResourceList,
    /// `requests`, the limit where there is none.
    pub requests: ResourceList,
}

/// Amounts by resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceList {
    /// In CPUs.
    pub cpu: Option<Quantity>,
    /// In bytes.
    pub memory: Option<Quantity>,
}

/// `securityContext`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecurityContext {
    /// `runAsUser`, at most 2^31 - 1.
    pub run_as_user: Option<u32>,
    /// `runAsGroup`, at most 2^31 - 1.
    pub run_as_group: Option<u32>,
}

/// One `volumeMounts` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeMount {
    /// Name of one of the Pod's volumes.
    pub volume: String,
    /// Absolute path without `..`, doubled or trailing slashes.
    pub path: String,
    /// `readOnly`.
    pub read_only: bool,
}
