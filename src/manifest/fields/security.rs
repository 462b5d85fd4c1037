//! Tables of what stands in security contexts, and of names and name service.

use super::{Fate, Schema};

/// `Capabilities`.
pub const CAPABILITIES: Schema = Schema {
    name: "Capabilities",
    honoured: &["add", "drop"],
    special: &[],
};

/// `SeccompProfile`.
pub const SECCOMP_PROFILE: Schema = Schema {
    name: "SeccompProfile",
    honoured: &["localhostProfile", "type"],
    special: &[],
};

/// `AppArmorProfile`.
pub const APP_ARMOR_PROFILE: Schema = Schema {
    name: "AppArmorProfile",
    honoured: &["type"],
    special: &[(
        "localhostProfile",
        Fate::Refused("needs AppArmor, which the guest's kernel does not enforce"),
    )],
};

/// `Sysctl`.
pub const SYSCTL: Schema = Schema {
    name: "Sysctl",
    honoured: &["name", "value"],
    special: &[],
};

/// `HostAlias`.
pub const HOST_ALIAS: Schema = Schema {
    name: "HostAlias",
    honoured: &["hostnames", "ip"],
    special: &[],
};

/// `PodDNSConfig`.
pub const DNS_CONFIG: Schema = Schema {
    name: "PodDNSConfig",
    honoured: &["nameservers", "options", "searches"],
    special: &[],
};

/// `PodDNSConfigOption`.
pub const DNS_OPTION: Schema = Schema {
    name: "PodDNSConfigOption",
    honoured: &["name", "value"],
    special: &[],
};
