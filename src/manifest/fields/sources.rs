//! Tables of what variables and volumes take their content from.

use super::Fate::{Noted, Refused};
use super::{BUILD_TIME, Fate, GATED, Schema};

/// Owners of single files, and of all files of a volume.
const USER: &[(&str, Fate)] = &[("user", GATED)];
const DEFAULT_USER: &[(&str, Fate)] = &[("defaultUser", GATED)];
const NO_ISSUER: Fate = Refused("has no meaning in a VM, there is no API server to ask");
const FILLED: Fate = Refused("is for a cluster's driver, here a disk comes with its data or blank");

/// `EnvVarSource`.
pub const ENV_VAR_SOURCE: Schema = Schema {
    name: "EnvVarSource",
    honoured: &[
        "configMapKeyRef",
        "fieldRef",
        "resourceFieldRef",
        "secretKeyRef",
    ],
    special: &[("fileKeyRef", GATED)],
};

/// `ObjectFieldSelector`.
pub const FIELD_REF: Schema = Schema {
    name: "ObjectFieldSelector",
    honoured: &["apiVersion", "fieldPath"],
    special: &[],
};

/// `ResourceFieldSelector`.
pub const RESOURCE_REF: Schema = Schema {
    name: "ResourceFieldSelector",
    honoured: &["containerName", "divisor", "resource"],
    special: &[],
};

/// `ConfigMapKeySelector`.
pub const CONFIG_MAP_KEY: Schema = Schema {
    name: "ConfigMapKeySelector",
    honoured: &["key", "name", "optional"],
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
    special: &[],
};

/// `ConfigMapEnvSource`.
pub const CONFIG_MAP_ENV: Schema = Schema {
    name: "ConfigMapEnvSource",
    honoured: &["name", "optional"],
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
    special: DEFAULT_USER,
};

/// `SecretVolumeSource`.
pub const SECRET_VOLUME: Schema = Schema {
    name: "SecretVolumeSource",
    honoured: &["defaultMode", "items", "optional", "secretName"],
    special: DEFAULT_USER,
};

/// `DownwardAPIVolumeSource`.
pub const DOWNWARD_VOLUME: Schema = Schema {
    name: "DownwardAPIVolumeSource",
    honoured: &["defaultMode", "items"],
    special: DEFAULT_USER,
};

/// `ProjectedVolumeSource`.
pub const PROJECTED_VOLUME: Schema = Schema {
    name: "ProjectedVolumeSource",
    honoured: &["defaultMode", "sources"],
    special: DEFAULT_USER,
};

/// `VolumeProjection`.
pub const VOLUME_PROJECTION: Schema = Schema {
    name: "VolumeProjection",
    honoured: &["configMap", "downwardAPI", "secret"],
    special: &[
        ("clusterTrustBundle", NO_ISSUER),
        ("podCertificate", NO_ISSUER),
        ("serviceAccountToken", NO_ISSUER),
    ],
};

/// `ConfigMapProjection`.
pub const CONFIG_MAP_PROJECTION: Schema = Schema {
    name: "ConfigMapProjection",
    honoured: &["items", "name", "optional"],
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
    special: &[],
};

/// `KeyToPath`.
pub const KEY_TO_PATH: Schema = Schema {
    name: "KeyToPath",
    honoured: &["key", "mode", "path"],
    special: USER,
};

/// `DownwardAPIVolumeFile`.
pub const DOWNWARD_FILE: Schema = Schema {
    name: "DownwardAPIVolumeFile",
    honoured: &["fieldRef", "mode", "path", "resourceFieldRef"],
    special: USER,
};

/// `HostPathVolumeSource`.
pub const HOST_PATH: Schema = Schema {
    name: "HostPathVolumeSource",
    honoured: &["path", "type"],
    special: &[],
};

/// `ImageVolumeSource`.
pub const IMAGE_VOLUME: Schema = Schema {
    name: "ImageVolumeSource",
    honoured: &["reference"],
    special: &[("pullPolicy", BUILD_TIME)],
};

/// `VolumeDevice`.
pub const VOLUME_DEVICE: Schema = Schema {
    name: "VolumeDevice",
    honoured: &["devicePath", "name"],
    special: &[],
};

/// `PersistentVolumeClaimVolumeSource`.
pub const CLAIM_VOLUME: Schema = Schema {
    name: "PersistentVolumeClaimVolumeSource",
    honoured: &["claimName", "readOnly"],
    special: &[],
};

/// `ConfigMap`.
pub const CONFIG_MAP: Schema = Schema {
    name: "ConfigMap",
    honoured: &["apiVersion", "binaryData", "data", "kind", "metadata"],
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
    special: &[("immutable", Noted("always true here"))],
};

/// `PersistentVolumeClaim`.
pub const CLAIM: Schema = Schema {
    name: "PersistentVolumeClaim",
    honoured: &["apiVersion", "kind", "metadata", "spec"],
    special: &[("status", super::SERVER)],
};

/// Where a claim's disk comes from is for who attaches it.
const ATTACHED: Fate = Noted("whoever attaches the disk chooses it");

/// `PersistentVolumeClaimSpec`.
pub const CLAIM_SPEC: Schema = Schema {
    name: "PersistentVolumeClaimSpec",
    honoured: &["accessModes", "volumeMode"],
    special: &[
        ("dataSource", FILLED),
        ("dataSourceRef", FILLED),
        ("resources", ATTACHED),
        ("selector", ATTACHED),
        ("storageClassName", ATTACHED),
        ("volumeAttributesClassName", ATTACHED),
        ("volumeName", ATTACHED),
    ],
};
