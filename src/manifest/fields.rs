//! What becomes of each field of the Kubernetes API (core/v1, apps/v1, batch/v1) that may stand in a
//! manifest. A field that is in none of these tables does not exist.

mod security;
mod sources;
mod workloads;

pub use security::*;
pub use sources::*;
pub use workloads::*;

/// The fields of one API type.
#[derive(Debug)]
pub struct Schema {
    /// What a mapping of this type is called in messages.
    pub name: &'static str,
    /// Fields that a decoder reads.
    pub honoured: &'static [&'static str],
    /// Fields with a fate of their own.
    pub special: &'static [(&'static str, Fate)],
}

/// What becomes of a field that is set.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// A decoder reads it.
    Honoured,
    /// Accepted with these values, which say what i2kit does anyway; others are behind feature gates,
    /// and refused.
    Only(&'static [&'static str]),
    /// As [`Fate::Only`], for a boolean, and why.
    Bool(bool, &'static str),
    /// Accepted with a note that says why it changes nothing.
    Noted(&'static str),
    /// Refused for a reason that will not change.
    Refused(&'static str),
}

use Fate::{Bool, Noted, Refused};

impl Schema {
    /// What becomes of a field; `None` when there is no such field.
    #[must_use]
    pub fn fate(&self, field: &str) -> Option<Fate> {
        if self.honoured.contains(&field) || self.honoured.contains(&"*") {
            return Some(Fate::Honoured);
        }
        self.special
            .iter()
            .find(|(name, _)| *name == field)
            .map(|(_, fate)| *fate)
    }

    /// All names, for suggestions.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let special = self.special.iter().map(|(name, _)| *name);
        self.honoured.iter().copied().chain(special)
    }
}

const SERVER: Fate = Noted("set by the API server, no meaning in a VM");
const SCHEDULING: Fate = Noted("there is nothing to schedule, the Pod is the VM");
const BUILD_TIME: Fate = Noted("no meaning in a VM, the images are in its disk");
const NO_API: Fate = Noted("no meaning in a VM, there is no API server");
const ROLLOUT: Fate = Noted("one VM is built; how many run is for who runs them");
const SELINUX: Fate = Noted("no meaning in a VM, its kernel has no SELinux policy");
const DRIVER: Fate = Refused("needs a driver of a cluster, which a VM does not have");
const WINDOWS: Fate = Refused("is for Windows, and the VM runs Linux");
const GATED: Fate = Refused("is behind a feature gate in Kubernetes, and may still change");
const DISK: Fate = Refused(
    "needs a driver of a cluster; use a persistentVolumeClaim, whose disk the guest finds by its name",
);
/// Why a device that a cluster's plugin hands out is refused.
pub const NO_DEVICE: &str = "needs a device plugin of a cluster, which a VM does not have";

/// A Pod's top level.
pub const POD: Schema = Schema {
    name: "Pod",
    honoured: &["apiVersion", "kind", "metadata", "spec"],
    special: &[("status", SERVER)],
};

/// A Deployment's top level.
pub const DEPLOYMENT: Schema = Schema {
    name: "Deployment",
    ..POD
};

/// A `kind: List`.
pub const LIST: Schema = Schema {
    name: "List",
    honoured: &["apiVersion", "kind", "items"],
    special: &[("metadata", SERVER)],
};

/// `ObjectMeta`.
pub const METADATA: Schema = Schema {
    name: "metadata",
    honoured: &["annotations", "generateName", "labels", "name", "namespace"],
    special: &[
        ("creationTimestamp", SERVER),
        ("deletionGracePeriodSeconds", SERVER),
        ("deletionTimestamp", SERVER),
        ("finalizers", SERVER),
        ("generation", SERVER),
        ("managedFields", SERVER),
        ("ownerReferences", SERVER),
        ("resourceVersion", SERVER),
        ("selfLink", SERVER),
        ("uid", SERVER),
    ],
};

/// `DeploymentSpec`.
pub const DEPLOYMENT_SPEC: Schema = Schema {
    name: "DeploymentSpec",
    honoured: &["replicas", "selector", "template"],
    special: &[
        ("minReadySeconds", ROLLOUT),
        ("paused", ROLLOUT),
        ("progressDeadlineSeconds", ROLLOUT),
        ("revisionHistoryLimit", ROLLOUT),
        ("strategy", ROLLOUT),
    ],
};

/// `LabelSelector`.
pub const LABEL_SELECTOR: Schema = Schema {
    name: "LabelSelector",
    honoured: &["matchLabels", "matchExpressions"],
    special: &[],
};

/// `LabelSelectorRequirement`.
pub const LABEL_REQUIREMENT: Schema = Schema {
    name: "LabelSelectorRequirement",
    honoured: &["key", "operator", "values"],
    special: &[],
};

/// `PodTemplateSpec`.
pub const POD_TEMPLATE: Schema = Schema {
    name: "PodTemplateSpec",
    honoured: &["metadata", "spec"],
    special: &[],
};

/// `PodSpec`.
pub const POD_SPEC: Schema = Schema {
    name: "PodSpec",
    honoured: &[
        "activeDeadlineSeconds",
        "dnsConfig",
        "dnsPolicy",
        "hostAliases",
        "hostPID",
        "serviceAccount",
        "serviceAccountName",
        "setHostnameAsFQDN",
        "shareProcessNamespace",
        "subdomain",
        "containers",
        "hostname",
        "hostnameOverride",
        "initContainers",
        "os",
        "resources",
        "restartPolicy",
        "securityContext",
        "terminationGracePeriodSeconds",
        "volumes",
    ],
    special: &[
        (
            "ephemeralContainers",
            Refused("come into a running Pod over the API; i2kit exec is for that"),
        ),
        ("evictionResponders", NO_API),
        ("overhead", SCHEDULING),
        ("resourceClaims", Refused(NO_DEVICE)),
        (
            "runtimeClassName",
            Noted("no meaning in a VM, which is the Pod's sandbox"),
        ),
        ("schedulingGroup", SCHEDULING),
        ("affinity", SCHEDULING),
        ("nodeName", SCHEDULING),
        ("nodeSelector", SCHEDULING),
        ("preemptionPolicy", SCHEDULING),
        ("priority", SCHEDULING),
        ("priorityClassName", SCHEDULING),
        ("schedulerName", SCHEDULING),
        ("schedulingGates", SCHEDULING),
        ("tolerations", SCHEDULING),
        ("topologySpreadConstraints", SCHEDULING),
        ("automountServiceAccountToken", NO_API),
        ("enableServiceLinks", NO_API),
        (
            "hostNetwork",
            Noted("always true here, the Pod has the VM's network"),
        ),
        ("imagePullSecrets", BUILD_TIME),
        (
            "readinessGates",
            Refused("must be empty, nobody sets a condition from outside here"),
        ),
        (
            "hostIPC",
            Noted("always true here, the Pod has the VM's IPC namespace"),
        ),
        (
            "hostUsers",
            Bool(true, "since containers have the VM's users"),
        ),
    ],
};

/// `PodOS`.
pub const POD_OS: Schema = Schema {
    name: "PodOS",
    honoured: &["name"],
    special: &[],
};

/// `Container`.
pub const CONTAINER: Schema = Schema {
    name: "Container",
    honoured: &[
        "envFrom",
        "args",
        "command",
        "env",
        "image",
        "lifecycle",
        "livenessProbe",
        "name",
        "ports",
        "readinessProbe",
        "resources",
        "restartPolicy",
        "restartPolicyRules",
        "securityContext",
        "startupProbe",
        "stdin",
        "stdinOnce",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "tty",
        "volumeDevices",
        "volumeMounts",
        "workingDir",
    ],
    special: &[("imagePullPolicy", BUILD_TIME), ("resizePolicy", NO_API)],
};

/// `EnvVar`.
pub const ENV_VAR: Schema = Schema {
    name: "EnvVar",
    honoured: &["valueFrom", "name", "value"],
    special: &[],
};

/// `ContainerPort`.
pub const PORT: Schema = Schema {
    name: "ContainerPort",
    honoured: &["containerPort", "hostIP", "hostPort", "name", "protocol"],
    special: &[],
};

/// `ResourceRequirements`.
pub const RESOURCES: Schema = Schema {
    name: "ResourceRequirements",
    honoured: &["limits", "requests"],
    special: &[("claims", Refused(NO_DEVICE))],
};

/// The resources of a container that have names of their own; `hugepages-SIZE` and names with a
/// domain (`example.com/gpu`) come besides.
pub const RESOURCES_KNOWN: &[&str] = &["cpu", "ephemeral-storage", "memory"];

/// A container's `SecurityContext`.
pub const SECURITY_CONTEXT: Schema = Schema {
    name: "SecurityContext",
    honoured: &[
        "allowPrivilegeEscalation",
        "appArmorProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "runAsNonRoot",
        "seccompProfile",
        "privileged",
        "procMount",
        "runAsGroup",
        "runAsUser",
    ],
    special: &[("seLinuxOptions", SELINUX), ("windowsOptions", WINDOWS)],
};

/// `PodSecurityContext`.
pub const POD_SECURITY_CONTEXT: Schema = Schema {
    name: "PodSecurityContext",
    honoured: &[
        "appArmorProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "runAsNonRoot",
        "seccompProfile",
        "supplementalGroups",
        "sysctls",
        "supplementalGroupsPolicy",
        "runAsGroup",
        "runAsUser",
    ],
    special: &[
        ("seLinuxChangePolicy", SELINUX),
        ("seLinuxOptions", SELINUX),
        ("windowsOptions", WINDOWS),
    ],
};

/// `VolumeMount`.
pub const VOLUME_MOUNT: Schema = Schema {
    name: "VolumeMount",
    honoured: &[
        "mountPropagation",
        "subPath",
        "subPathExpr",
        "mountPath",
        "name",
        "readOnly",
        "recursiveReadOnly",
    ],
    special: &[("bindMountOptions", GATED)],
};

/// `Volume`.
pub const VOLUME: Schema = Schema {
    name: "Volume",
    honoured: &[
        "configMap",
        "downwardAPI",
        "hostPath",
        "persistentVolumeClaim",
        "projected",
        "secret",
        "emptyDir",
        "image",
        "name",
    ],
    special: &[
        ("awsElasticBlockStore", DISK),
        ("azureDisk", DRIVER),
        ("azureFile", DRIVER),
        ("cephfs", DRIVER),
        ("cinder", DRIVER),
        ("csi", DISK),
        ("ephemeral", DISK),
        ("fc", DRIVER),
        ("flexVolume", DRIVER),
        ("flocker", DRIVER),
        ("gcePersistentDisk", DISK),
        ("gitRepo", DRIVER),
        ("glusterfs", DRIVER),
        ("iscsi", DRIVER),
        ("nfs", DRIVER),
        ("photonPersistentDisk", DRIVER),
        ("portworxVolume", DRIVER),
        ("quobyte", DRIVER),
        ("rbd", DRIVER),
        ("scaleIO", DRIVER),
        ("storageos", DRIVER),
        ("vsphereVolume", DRIVER),
    ],
};

/// `EmptyDirVolumeSource`.
pub const EMPTY_DIR: Schema = Schema {
    name: "EmptyDirVolumeSource",
    honoured: &["medium", "sizeLimit"],
    special: &[("mode", GATED)],
};

/// Where fields are looked for that stand in another of these places.
const HOMES: [(&Schema, &str); 6] = [
    (&METADATA, "metadata"),
    (&POD_SPEC, "the Pod's spec"),
    (&CONTAINER, "a container"),
    (&DEPLOYMENT_SPEC, "the Deployment's spec"),
    (&POD, ""),
    (&DEPLOYMENT, ""),
];

/// The place that a field which `schema` does not know belongs in, when a wrong indentation or
/// nesting explains it.
#[must_use]
pub fn home(field: &str, schema: &Schema) -> Option<&'static str> {
    let is_home = |one: &Schema| one.name == schema.name;
    HOMES.iter().find(|(one, _)| is_home(one))?;
    let found = HOMES.iter().find(|(one, _)| one.fate(field).is_some());
    found
        .map(|(_, place)| *place)
        .filter(|place| !place.is_empty())
}

/// Any document: nothing is judged before its kind is known.
pub const ANY: Schema = Schema {
    name: "any",
    honoured: &["*"],
    special: &[],
};

/// Kinds that hold a Pod, but not for a VM, and why.
pub const OTHER_KINDS: &[(&str, &str)] = &[
    (
        "CronJob",
        "starts Pods by a schedule, which is for who runs VMs; make its jobTemplate a Job",
    ),
    ("PodTemplate", "is run by nobody; make it a Pod"),
    (
        "ReplicationController",
        "came before Deployments; make it one",
    ),
];

/// The kinds that hold a Pod, how they may come, and what stands beside them.
pub const KINDS: &[&str] = &[
    "Pod",
    "Deployment",
    "DaemonSet",
    "ReplicaSet",
    "StatefulSet",
    "Job",
    "List",
    "Service",
];

/// The kinds that Pods take from.
pub const DATA_KINDS: &[&str] = &["ConfigMap", "Secret", "PersistentVolumeClaim"];

#[cfg(test)]
mod tests;
