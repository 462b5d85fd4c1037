//! The Pod as its manifest gives it: validated, defaults of the API server applied, variables not
//! yet expanded, nothing known of the images.

use std::collections::BTreeMap;

use i2kit_contract::{
    FsGroup, HostPathType, Life, Names, Port, ProcessNamespace, Propagation, RestartPolicy,
    SecretEnv, SecretKey, Sysctl,
};

use super::quantity::Quantity;
use super::secrets::Secrets;

/// One Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.name` (of the Deployment, when the Pod is its template).
    pub name: String,
    /// `metadata.namespace`, `default` when not set.
    pub namespace: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `spec.hostname`.
    pub hostname: Option<String>,
    /// `spec.hostnameOverride`: the whole name, at most 64 characters.
    pub hostname_override: Option<String>,
    /// `spec.subdomain`.
    pub subdomain: Option<String>,
    /// `spec.setHostnameAsFQDN`.
    pub hostname_as_fqdn: bool,
    /// `spec.serviceAccountName`, `default` when not set.
    pub service_account: String,
    /// `spec.hostAliases`, `dnsPolicy` and `dnsConfig`; no name yet.
    pub names: Names,
    /// `spec.shareProcessNamespace` and `hostPID`.
    pub process_namespace: ProcessNamespace,
    /// `spec.restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `spec.terminationGracePeriodSeconds`, default 30.
    pub termination_grace_period_seconds: u32,
    /// `spec.activeDeadlineSeconds`, at least 1.
    pub active_deadline_seconds: Option<u32>,
    /// `spec.securityContext`: what containers run as that don't say themselves.
    pub security: SecurityContext,
    /// `spec.securityContext`: what is the Pod's alone.
    pub pod_security: PodSecurity,
    /// `spec.resources`: what all containers may take together.
    pub resources: Resources,
    /// `spec.volumes`.
    pub volumes: Vec<Volume>,
    /// `spec.initContainers`, names unique among all containers.
    pub init_containers: Vec<Container>,
    /// `spec.containers`, at least one, names unique.
    pub containers: Vec<Container>,
    /// The profiles of `seccompProfile`s of type Localhost, by name.
    pub seccomp_profiles: BTreeMap<String, serde_json::Value>,
    /// The Secrets that go into the disk, as far as the Pod takes from them.
    pub secrets: Secrets,
}

impl Pod {
    /// Init containers and containers, in the manifest's order.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }

    /// The names of `seccompProfile`s of type Localhost.
    pub fn seccomp_names(&self) -> impl Iterator<Item = &str> {
        let containers = self.all_containers().map(|one| &one.security);
        let all = [&self.security].into_iter().chain(containers);
        all.filter_map(|context| match &context.seccomp {
            Some(SeccompType::Localhost(name)) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The image volumes: each one's name and its image's.
    pub fn image_volumes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.volumes.iter().filter_map(|one| match &one.source {
            VolumeSource::Image(image) => Some((one.name.as_str(), image.as_str())),
            _ => None,
        })
    }

    /// The names of all images, those of volumes last.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        let containers = self.all_containers().map(|one| one.image.as_str());
        containers.chain(self.image_volumes().map(|(_, image)| image))
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
    /// `envFrom`, in order; what `env` says wins.
    pub env_from: Vec<EnvFrom>,
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
    /// `volumeDevices`: a claim's name among the volumes, and an absolute path.
    pub devices: Vec<i2kit_contract::Device>,
    /// Restarts, probes, hooks, terminal.
    pub life: Life,
    /// `lifecycle.stopSignal` (1-64), instead of the image's.
    pub stop_signal: Option<u8>,
}

/// Variables by the dozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvFrom {
    /// One of a ConfigMap's, or of a Secret's whose keys are known.
    Var(EnvVar),
    /// A Secret whose keys nobody knows yet.
    Secret(SecretEnv),
}

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    /// `name`.
    pub name: String,
    /// `value` or `valueFrom`.
    pub value: EnvValue,
}

/// Where a variable's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    /// `value`, `$(NAME)` not yet expanded.
    Template(String),
    /// A ConfigMap's value, which is not expanded.
    Literal(String),
    /// `fieldRef`.
    Field(PodField),
    /// `resourceFieldRef`.
    Resource(ResourceField),
    /// `secretKeyRef`.
    Secret {
        /// Which value.
        from: SecretKey,
        /// Without it there is no variable.
        optional: bool,
    },
}

/// `fieldRef.fieldPath`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodField {
    /// `metadata.name`.
    Name,
    /// `metadata.namespace`.
    Namespace,
    /// `metadata.uid`.
    Uid,
    /// `metadata.labels`, a line each; in files only.
    Labels,
    /// `metadata.annotations`, likewise.
    Annotations,
    /// `metadata.labels['KEY']`.
    Label(String),
    /// `metadata.annotations['KEY']`.
    Annotation(String),
    /// `spec.nodeName`.
    NodeName,
    /// `spec.serviceAccountName`.
    ServiceAccountName,
    /// `status.podIP` and `status.hostIP`.
    Ip,
    /// `status.podIPs` and `status.hostIPs`.
    Ips,
}

/// `resourceFieldRef`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceField {
    /// Whose, by name; the container's own when not set.
    pub container: Option<String>,
    /// `limits` or else `requests`.
    pub is_limit: bool,
    /// Which resource.
    pub resource: ResourceName,
    /// In units of so many thousandths of a CPU or bytes; never 0.
    pub divisor: u64,
}

/// A resource that a `resourceFieldRef` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceName {
    /// `cpu`.
    Cpu,
    /// `memory`.
    Memory,
    /// `ephemeral-storage`.
    EphemeralStorage,
    /// `hugepages-SIZE`, with pages of so many bytes.
    HugePages(u64),
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
    /// In bytes.
    pub ephemeral_storage: Option<Quantity>,
    /// `hugepages-SIZE`, both in bytes.
    pub huge_pages: BTreeMap<u64, u64>,
}

/// `securityContext`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityContext {
    /// `runAsUser`, at most 2^31 - 1.
    pub run_as_user: Option<u32>,
    /// `runAsGroup`, at most 2^31 - 1.
    pub run_as_group: Option<u32>,
    /// `runAsNonRoot`.
    pub run_as_non_root: Option<bool>,
    /// `seccompProfile`.
    pub seccomp: Option<SeccompType>,
    /// `capabilities.add`, without `CAP_`; `ALL` stands for all.
    pub add: Vec<String>,
    /// `capabilities.drop`, likewise.
    pub drop: Vec<String>,
    /// `privileged`.
    pub privileged: bool,
    /// `allowPrivilegeEscalation`.
    pub allow_privilege_escalation: Option<bool>,
    /// `readOnlyRootFilesystem`.
    pub read_only_root: bool,
    /// `procMount: Unmasked`.
    pub unmasked_proc: bool,
}

/// `seccompProfile`, or what was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeccompType {
    /// No filter.
    Unconfined,
    /// containerd's.
    RuntimeDefault,
    /// The one of this name, a relative path.
    Localhost(String),
    /// These calls, by name, as [`super::profile`] has them.
    Calls(Vec<String>),
}

/// What of a Pod's `securityContext` no container can say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSecurity {
    /// `supplementalGroups`.
    pub supplemental_groups: Vec<u32>,
    /// `supplementalGroupsPolicy: Strict`: the image's groups do not count.
    pub strict_groups: bool,
    /// `fsGroup` and `fsGroupChangePolicy`.
    pub fs_group: Option<FsGroup>,
    /// `sysctls`.
    pub sysctls: Vec<Sysctl>,
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// `name`.
    pub name: String,
    /// What is in it.
    pub source: VolumeSource,
}

/// What is in a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeSource {
    /// `emptyDir` on scratch, of so many bytes at most.
    EmptyDir(Option<u64>),
    /// `emptyDir` in memory, of so many bytes at most.
    Memory(Option<u64>),
    /// `emptyDir` of huge pages of so many bytes; without, those that the Pod asks for.
    HugePages(Option<u64>),
    /// `image`: its name, as written.
    Image(String),
    /// `configMap`, `secret`, `downwardAPI`, `projected`.
    Files(Vec<VolumeFile>),
    /// `hostPath`.
    HostPath {
        /// Absolute.
        path: String,
        /// `type`.
        kind: HostPathType,
    },
    /// `persistentVolumeClaim`.
    Claim {
        /// `claimName`.
        name: String,
        /// `readOnly`.
        read_only: bool,
        /// Containers take it as a device (`volumeDevices`).
        block: bool,
    },
}

/// One generated file, or all those of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeFile {
    /// One file.
    File {
        /// Relative, without `..`.
        path: String,
        /// Permission bits.
        mode: u32,
        /// What is in it.
        content: FileContent,
    },
    /// All keys of a Secret of which nobody knows the keys yet.
    Secret(i2kit_contract::SecretFiles),
}

/// What is in a generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    /// A ConfigMap's value.
    Bytes(Vec<u8>),
    /// `fieldRef`.
    Field(PodField),
    /// `resourceFieldRef`; names a container.
    Resource(ResourceField),
    /// A Secret's value.
    Secret {
        /// Which one.
        from: SecretKey,
        /// Without it there is no file.
        optional: bool,
    },
}

/// One `volumeMounts` entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeMount {
    /// Name of one of the Pod's volumes.
    pub volume: String,
    /// Absolute path without `..`, doubled or trailing slashes.
    pub path: String,
    /// `readOnly`.
    pub read_only: bool,
    /// `recursiveReadOnly`: what is mounted below it is read-only, too.
    pub recursive_read_only: bool,
    /// `subPath`, or `subPathExpr` with `$(NAME)` not yet expanded.
    pub sub_path: Option<SubPath>,
    /// `mountPropagation`.
    pub propagation: Propagation,
}

/// A path in a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubPath {
    /// As written.
    Literal(String),
    /// To be expanded.
    Template(String),
}
