//! `VolumeMount`.

use i2kit_contract::{Device, Propagation};

use super::super::decode::{Field, Fields, Report};
use super::super::pod::{SubPath, VolumeMount};
use super::super::{fields, names};
use super::known::{Known, listed};
use super::{Unique, one_of};

/// Reads a container's `volumeMounts`.
pub fn mounts(
    report: &mut Report,
    container: &Fields<'_>,
    known: &Known<'_>,
    privileged: bool,
) -> Vec<VolumeMount> {
    let mut paths = Unique::default();
    let mut mounts = Vec::new();
    for item in container.items(report, "volumeMounts") {
        let Some(fields) = item.fields(report, &fields::VOLUME_MOUNT) else {
            continue;
        };
        let volume = fields.require(report, "name").and_then(|f| {
            let name = f.string(report)?;
            if !known.volumes.contains(name.as_str()) {
                let there = listed(known.volumes.iter().copied());
                f.refuse(
                    report,
                    format!("is no volume of the Pod, which has {there}"),
                );
            }
            Some(name)
        });
        let path = fields.require(report, "mountPath").and_then(|f| {
            let path = mount_path(report, &f)?;
            paths.check(report, &f, &path);
            Some(path)
        });
        let read_only = fields
            .get("readOnly")
            .and_then(|f| f.boolean(report))
            .unwrap_or_default();
        let sub_path = sub_path(report, &fields);
        let propagation = propagation(report, &fields, privileged);
        let recursive_read_only = recursive(report, &fields, read_only, propagation);
        if let (Some(volume), Some(path)) = (volume, path) {
            mounts.push(VolumeMount {
                volume,
                path,
                read_only,
                recursive_read_only,
                sub_path,
                propagation,
            });
        }
    }
    mounts
}

/// Reads a container's `volumeDevices`.
pub fn devices(
    report: &mut Report,
    container: &Fields<'_>,
    known: &Known<'_>,
    mounts: &[VolumeMount],
) -> Vec<Device> {
    let mut paths = Unique::default();
    let mut devices = Vec::new();
    for item in container.items(report, "volumeDevices") {
        let Some(fields) = item.fields(report, &fields::VOLUME_DEVICE) else {
            continue;
        };
        let volume = fields.require(report, "name").and_then(|f| {
            let name = f.string(report)?;
            if !known.claims.contains(name.as_str()) {
                let there = listed(known.claims.iter().copied());
                let reason =
                    format!("is no volume with a persistentVolumeClaim; there are {there}");
                f.refuse(report, reason);
            }
            Some(name)
        });
        let path = fields.require(report, "devicePath").and_then(|f| {
            let path = mount_path(report, &f)?;
            paths.check(report, &f, &path);
            if mounts.iter().any(|mount| mount.path == path) {
                f.refuse(report, "is a mountPath, too");
            }
            Some(path)
        });
        if let (Some(volume), Some(path)) = (volume, path) {
            devices.push(Device { volume, path });
        }
    }
    devices
}

/// `IfPossible` always is: the guest's kernel and runc can.
fn recursive(
    report: &mut Report,
    fields: &Fields<'_>,
    read_only: bool,
    propagation: Propagation,
) -> bool {
    let all = [("Disabled", false), ("IfPossible", true), ("Enabled", true)];
    let recursive = one_of(report, fields, "recursiveReadOnly", &all).unwrap_or_default();
    if recursive
        && (!read_only || propagation != Propagation::None)
        && let Some(field) = fields.get("recursiveReadOnly")
    {
        field.refuse(report, "needs readOnly: true, and no mountPropagation");
    }
    recursive
}

fn sub_path(report: &mut Report, fields: &Fields<'_>) -> Option<SubPath> {
    let literal = fields.get_text("subPath");
    let Some(template) = fields.get_text("subPathExpr") else {
        let path = literal?.checked(report, names::relative_path)?;
        return Some(SubPath::Literal(path));
    };
    if literal.is_some() {
        template.refuse(report, "must not be set together with subPath");
    }
    let path = template.checked(report, names::relative_path)?;
    Some(SubPath::Template(path))
}

fn propagation(report: &mut Report, fields: &Fields<'_>, privileged: bool) -> Propagation {
    let all = [
        ("None", Propagation::None),
        ("HostToContainer", Propagation::HostToContainer),
        ("Bidirectional", Propagation::Bidirectional),
    ];
    let found = one_of(report, fields, "mountPropagation", &all).unwrap_or_default();
    if found == Propagation::Bidirectional
        && !privileged
        && let Some(field) = fields.get("mountPropagation")
    {
        field.refuse(report, "is for privileged containers only");
    }
    found
}

/// Absolute and without empty or `.` components; the kubelet takes a relative one from `/`.
fn mount_path(report: &mut Report, field: &Field<'_>) -> Option<String> {
    let path = field.string(report)?;
    let parts: Vec<_> = path
        .split('/')
        .filter(|p| !p.is_empty() && *p != ".")
        .collect();
    let reason = if path.is_empty() {
        "is no path"
    } else if path.contains(':') {
        "must not contain ':'"
    } else if parts.contains(&"..") {
        "must not contain \"..\""
    } else if parts.is_empty() {
        "is the container's own root"
    } else {
        return Some(format!("/{}", parts.join("/")));
    };
    field.refuse(report, reason);
    None
}
