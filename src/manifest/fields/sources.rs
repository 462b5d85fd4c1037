//! Tables of what variables and volumes take their content from.

use super::Fate::{Noted, Refused};
use super::{Schema, USER};

/// `EnvVarSource`.
pub const ENV_VAR_SOURCE: Schema = Schema {
    name: "EnvVarSource",
    honoured: &[
        "configMapKeyRef",
        "fieldRef",
        "resourceFieldRef",
        "secretKeyRef",
    ],
    later: &["fileKeyRef"],
    special: &[],
};

/// `ObjectFieldSelector`.
pub const FIELD_REF: Schema = Schema {
    name: "ObjectFieldSelector",
    honoured: &["apiVersion", "fieldPath"],
    later: &[],
    special: &[],
};

/// `ResourceFieldSelector`.
pub const RESOURCE_REF: Schema = Schema {
    name: "ResourceFieldSelector",
    honoured: &["containerName", "divisor", "resource"],
    later: &[],
    special: &[],
};

/// `ConfigMapKeySelector`.
pub const CONFIG_MAP_KEY: Schema = Schema {
    name: "ConfigMapKeySelector",
    honoured: &["key", "name", "optional"],
    later: &[],
    special: &[],
};

/// `SecretKeySelector`.
pub const SECRET_KEY: Schema = Schema {
    name: "SecretKeySelector",
    ..CONFIG_MAP_KEY
};

/// `EnvFromSource`.
pub const ENV_FROM: Schema = Schema {
    name: "EnvFromSource",
    honoured: &["configMapRef", "prefix", "secretRef"],
    later: &[],
    special: &[],
};

/// `ConfigMapEnvSource`.
pub const CONFIG_MAP_ENV: Schema = Schema {
    name: "ConfigMapEnvSource",
    honoured: &["name", "optional"],
    later: &[],
    special: &[],
};

/// `SecretEnvSource`.
pub const SECRET_ENV: Schema = Schema {
    name: "SecretEnvSource",
    ..CONFIG_MAP_ENV
};

/// `ConfigMapVolumeSource`.
pub const CONFIG_MAP_VOLUME: Schema = Schema {
    name: "ConfigMapVolumeSource",
    honoured: &["defaultMode", "items", "name", "optional"],
    later: &["defaultUser"],
    special: &[],
};

/// `SecretVolumeSource`.
pub const SECRET_VOLUME: Schema = Schema {
    name: "SecretVolumeSource",
    honoured: &["defaultMode", "items", "optional", "secretName"],
    later: &["defaultUser"],
    special: &[],
};

/// `DownwardAPIVolumeSource`.
pub const DOWNWARD_VOLUME: Schema = Schema {
    name: "DownwardAPIVolumeSource",
    honoured: &["defaultMode", "items"],
    later: &["defaultUser"],
    special: &[],
};

/// `ProjectedVolumeSource`.
pub const PROJECTED_VOLUME: Schema = Schema {
    name: "ProjectedVolumeSource",
    honoured: &["defaultMode", "sources"],
    later: &["defaultUser"],
    special: &[],
};

/// `VolumeProjection`.
pub const VOLUME_PROJECTION: Schema = Schema {
    name: "VolumeProjection",
    honoured: &["configMap", "downwardAPI", "secret"],
    later: &[],
    special: &[
        (
            "clusterTrustBundle",
            Refused("has no meaning in a VM, there is no API server to ask"),
        ),
        (
            "podCertificate",
            Refused("has no meaning in a VM, there is no API server to ask"),
        ),
        (
            "serviceAccountToken",
            Refused("has no meaning in a VM, there is no API server to ask"),
        ),
    ],
};

/// `ConfigMapProjection`.
pub const CONFIG_MAP_PROJECTION: Schema = Schema {
    name: "ConfigMapProjection",
    honoured: &["items", "name", "optional"],
    later: &[],
    special: &[],
};

/// `SecretProjection`.
pub const SECRET_PROJECTION: Schema = Schema {
    name: "SecretProjection",
    ..CONFIG_MAP_PROJECTION
};

/// `DownwardAPIProjection`.
pub const DOWNWARD_PROJECTION: Schema = Schema {
    name: "DownwardAPIProjection",
    honoured: &["items"],
    later: &[],
    special: &[],
};

/// `KeyToPath`.
pub const KEY_TO_PATH: Schema = Schema {
    name: "KeyToPath",
    honoured: &["key", "mode", "path"],
    later: USER,
    special: &[],
};

/// `DownwardAPIVolumeFile`.
pub const DOWNWARD_FILE: Schema = Schema {
    name: "DownwardAPIVolumeFile",
    honoured: &["fieldRef", "mode", "path", "resourceFieldRef"],
    later: USER,
    special: &[],
};

/// `HostPathVolumeSource`.
pub const HOST_PATH: Schema = Schema {
    name: "HostPathVolumeSource",
    honoured: &["path", "type"],
    later: &[],
    special: &[],
};

/// `PersistentVolumeClaimVolumeSource`.
pub const CLAIM_VOLUME: Schema = Schema {
    name: "PersistentVolumeClaimVolumeSource",
    honoured: &["claimName", "readOnly"],
    later: &[],
    special: &[],
};

/// `ConfigMap`.
pub const CONFIG_MAP: Schema = Schema {
    name: "ConfigMap",
    honoured: &["apiVersion", "binaryData", "data", "kind", "metadata"],
    later: &[],
    special: &[("immutable", Noted("always true here"))],
};

/// `Secret`.
pub const SECRET: Schema = Schema {
    name: "Secret",
    honoured: &[
        "apiVersion",
        "data",
        "kind",
        "metadata",
        "stringData",
        "type",
    ],
    later: &[],
    special: &[("immutable", Noted("always true here"))],
};

/// `PersistentVolumeClaim`.
pub const CLAIM: Schema = Schema {
    name: "PersistentVolumeClaim",
    honoured: &["apiVersion", "kind", "metadata", "spec"],
    later: &[],
    special: &[("status", super::SERVER)],
};

/// Where a claim's disk comes from is for who attaches it.
const ATTACHED: super::Fate = Noted("the disk is who attaches it's choice");

/// `PersistentVolumeClaimSpec`.
pub const CLAIM_SPEC: Schema = Schema {
    name: "PersistentVolumeClaimSpec",
    honoured: &["accessModes", "volumeMode"],
    later: &["dataSource", "dataSourceRef"],
    special: &[
        ("resources", ATTACHED),
        ("selector", ATTACHED),
        ("storageClassName", ATTACHED),
        ("volumeAttributesClassName", ATTACHED),
        ("volumeName", ATTACHED),
    ],
};
