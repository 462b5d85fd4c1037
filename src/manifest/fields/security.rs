//! Tables of what stands in security contexts, and of names and name service.

use super::Schema;

/// `Capabilities`.
pub const CAPABILITIES: Schema = Schema {
    name: "Capabilities",
    honoured: &["add", "drop"],
    later: &[],
    special: &[],
};

/// `SeccompProfile`.
pub const SECCOMP_PROFILE: Schema = Schema {
    name: "SeccompProfile",
    honoured: &["type"],
    later: &["localhostProfile"],
    special: &[],
};

/// `AppArmorProfile`.
pub const APP_ARMOR_PROFILE: Schema = Schema {
    name: "AppArmorProfile",
    honoured: &["type"],
    later: &["localhostProfile"],
    special: &[],
};

/// `Sysctl`.
pub const SYSCTL: Schema = Schema {
    name: "Sysctl",
    honoured: &["name", "value"],
    later: &[],
    special: &[],
};

/// `HostAlias`.
pub const HOST_ALIAS: Schema = Schema {
    name: "HostAlias",
    honoured: &["hostnames", "ip"],
    later: &[],
    special: &[],
};

/// `PodDNSConfig`.
pub const DNS_CONFIG: Schema = Schema {
    name: "PodDNSConfig",
    honoured: &["nameservers", "options", "searches"],
    later: &[],
    special: &[],
};

/// `PodDNSConfigOption`.
pub const DNS_OPTION: Schema = Schema {
    name: "PodDNSConfigOption",
    honoured: &["name", "value"],
    later: &[],
    special: &[],
};
