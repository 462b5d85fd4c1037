//! `PodSecurityContext` and `SecurityContext`.

use i2kit_contract::{ALL_CAPABILITIES, FsGroup, Sysctl, short_capability};

use super::super::decode::{Field, Fields, Report, closest};
use super::super::pod::{PodSecurity, SeccompType, SecurityContext};
use super::super::{fields, names};
use super::one_of;

/// Highest user or group id that Kubernetes takes.
const MAX_ID: u32 = i32::MAX.unsigned_abs();
/// Longest name of a kernel parameter (`SysctlMaxLength`).
const MAX_SYSCTL: usize = 253;

/// Reads a Pod's `securityContext`.
pub fn pod_security(report: &mut Report, spec: &Fields<'_>) -> (SecurityContext, PodSecurity) {
    let context = spec.get("securityContext");
    let fields = context.and_then(|f| f.fields(report, &fields::POD_SECURITY_CONTEXT));
    let Some(fields) = fields else {
        return Default::default();
    };
    let policy = [("Merge", false), ("Strict", true)];
    let pod = PodSecurity {
        supplemental_groups: groups(report, &fields),
        strict_groups: one_of(report, &fields, "supplementalGroupsPolicy", &policy)
            .unwrap_or_default(),
        fs_group: fs_group(report, &fields),
        sysctls: sysctls(report, &fields),
    };
    (common(report, &fields), pod)
}

/// Reads a container's `securityContext`.
pub fn security(report: &mut Report, container: &Fields<'_>) -> SecurityContext {
    let context = container.get("securityContext");
    let Some(fields) = context.and_then(|f| f.fields(report, &fields::SECURITY_CONTEXT)) else {
        return SecurityContext::default();
    };
    let proc_mount = [("Default", false), ("Unmasked", true)];
    let capabilities = fields
        .get("capabilities")
        .and_then(|f| f.fields(report, &fields::CAPABILITIES));
    let mut list = |name| {
        let field = capabilities.as_ref().map(|f| f.items(report, name));
        capability_names(report, field.unwrap_or_default())
    };
    let (add, drop) = (list("add"), list("drop"));
    let mut flag = |name| fields.get(name).and_then(|f| f.boolean(report));
    let privileged = flag("privileged").unwrap_or_default();
    let read_only_root = flag("readOnlyRootFilesystem").unwrap_or_default();
    let context = SecurityContext {
        add,
        drop,
        privileged,
        allow_privilege_escalation: flag("allowPrivilegeEscalation"),
        read_only_root,
        unmasked_proc: one_of(report, &fields, "procMount", &proc_mount).unwrap_or_default(),
        ..common(report, &fields)
    };
    escalation(report, &fields, &context);
    context
}

/// What Pods and containers can both say.
fn common(report: &mut Report, fields: &Fields<'_>) -> SecurityContext {
    let mut id = |name| fields.get(name).and_then(|f| f.ranged(report, 0, MAX_ID));
    let (run_as_user, run_as_group) = (id("runAsUser"), id("runAsGroup"));
    app_armor(report, fields);
    SecurityContext {
        run_as_user,
        run_as_group,
        run_as_non_root: fields.get("runAsNonRoot").and_then(|f| f.boolean(report)),
        seccomp: seccomp(report, fields),
        ..SecurityContext::default()
    }
}

/// The API server refuses what contradicts itself.
fn escalation(report: &mut Report, fields: &Fields<'_>, context: &SecurityContext) {
    if context.allow_privilege_escalation != Some(false) {
        return;
    }
    let Some(field) = fields.get("allowPrivilegeEscalation") else {
        return;
    };
    if context.privileged {
        field.refuse(report, "contradicts privileged");
    } else if context.add.iter().any(|one| one == "SYS_ADMIN") {
        field.refuse(report, "contradicts the capability SYS_ADMIN");
    }
}

fn seccomp(report: &mut Report, fields: &Fields<'_>) -> Option<SeccompType> {
    let profile = fields.get("seccompProfile")?;
    let profile = profile.fields(report, &fields::SECCOMP_PROFILE)?;
    profile.require(report, "type")?;
    let types = [
        ("Unconfined", Some(false)),
        ("RuntimeDefault", Some(true)),
        ("Localhost", None),
    ];
    let found = one_of(report, &profile, "type", &types)?;
    let Some(is_default) = found else {
        let name = profile.require(report, "localhostProfile")?;
        let name = name.checked(report, names::relative_path)?;
        return Some(SeccompType::Localhost(name));
    };
    if let Some(name) = profile.get_text("localhostProfile") {
        name.refuse(report, "is for type Localhost alone");
    }
    Some(match is_default {
        true => SeccompType::RuntimeDefault,
        false => SeccompType::Unconfined,
    })
}

/// Without AppArmor in the guest, only a profile of the user's own is missed.
fn app_armor(report: &mut Report, fields: &Fields<'_>) {
    let profile = fields.get("appArmorProfile");
    let Some(profile) = profile.and_then(|f| f.fields(report, &fields::APP_ARMOR_PROFILE)) else {
        return;
    };
    let Some(field) = profile.require(report, "type") else {
        return;
    };
    let types = [
        ("Unconfined", true),
        ("RuntimeDefault", true),
        ("Localhost", false),
    ];
    match one_of(report, &profile, "type", &types) {
        Some(true) => {
            let message = format!("{}: the guest has no AppArmor profiles", field.path);
            report.note(field.position(), message);
        }
        Some(false) => field.refuse(report, "needs a profile, which the guest does not have"),
        None => {}
    }
}

/// Names without `CAP_`, as the API has them.
fn capability_names(report: &mut Report, items: Vec<Field<'_>>) -> Vec<String> {
    let mut names = Vec::new();
    for item in items {
        let Some(text) = item.string(report) else {
            continue;
        };
        let upper = text.to_ascii_uppercase();
        let name = short_capability(&upper);
        let mut all = ALL_CAPABILITIES.iter().map(|one| short_capability(one));
        if name == "ALL" || all.any(|one| one == name) {
            names.push(name.to_owned());
            continue;
        }
        let known = ALL_CAPABILITIES.iter().map(|one| short_capability(one));
        let meant = closest(name, known).map(|name| format!(", did you mean {name}?"));
        item.refuse(
            report,
            format!("is no capability{}", meant.unwrap_or_default()),
        );
    }
    names
}

fn groups(report: &mut Report, fields: &Fields<'_>) -> Vec<u32> {
    let items = fields.items(report, "supplementalGroups");
    let groups = items
        .iter()
        .filter_map(|item| item.ranged(report, 0, MAX_ID));
    groups.collect()
}

fn fs_group(report: &mut Report, fields: &Fields<'_>) -> Option<FsGroup> {
    let policies = [("Always", false), ("OnRootMismatch", true)];
    let policy = one_of(report, fields, "fsGroupChangePolicy", &policies);
    let gid = fields.get("fsGroup")?.ranged(report, 0, MAX_ID)?;
    let on_root_mismatch = policy.unwrap_or_default();
    Some(FsGroup {
        gid,
        on_root_mismatch,
    })
}

fn sysctls(report: &mut Report, fields: &Fields<'_>) -> Vec<Sysctl> {
    let mut sysctls = Vec::new();
    for item in fields.items(report, "sysctls") {
        let Some(fields) = item.fields(report, &fields::SYSCTL) else {
            continue;
        };
        let name = fields
            .require(report, "name")
            .and_then(|f| f.checked(report, sysctl_name));
        let value = fields
            .require(report, "value")
            .and_then(|f| f.string(report));
        if let (Some(name), Some(value)) = (name, value) {
            sysctls.push(Sysctl {
                name: dotted(&name),
                value,
            });
        }
    }
    sysctls
}

/// With dots between the parts; in a name with slashes, a dot belongs to a part (sysctl(8)).
fn dotted(name: &str) -> String {
    if !name.contains('/') {
        return name.to_owned();
    }
    let swapped = name.chars().map(|c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    });
    swapped.collect()
}

fn sysctl_name(name: &str) -> Result<(), String> {
    let part = |part: &str| {
        let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*' | b'@');
        !part.is_empty() && part.bytes().all(ok)
    };
    match name.len() <= MAX_SYSCTL && name.split(['.', '/']).all(part) {
        true => Ok(()),
        false => Err("is no kernel parameter, such as net.core.somaxconn".to_owned()),
    }
}
