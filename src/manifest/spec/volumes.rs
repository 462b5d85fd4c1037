//! `Volume` and `VolumeMount`.

use std::collections::BTreeSet;

use super::super::decode::{Field, Fields, Report};
use super::super::pod::VolumeMount;
use super::super::{fields, names};
use super::Unique;

/// Names of the volumes, in order.
pub fn volumes(report: &mut Report, spec: &Fields<'_>) -> Vec<String> {
    let mut unique = Unique::default();
    let mut volumes = Vec::new();
    for item in spec.items(report, "volumes") {
        let Some(fields) = item.fields(report, &fields::VOLUME) else {
            continue;
        };
        // A volume that names no source is an emptyDir (API server's default).
        if let Some(source) = fields.get("emptyDir") {
            source.fields(report, &fields::EMPTY_DIR);
        }
        let name = fields.require(report, "name");
        if let Some((field, name)) =
            name.and_then(|f| Some((f.clone(), f.checked(report, names::dns_label)?)))
        {
            unique.check(report, &field, &name);
            volumes.push(name);
        }
    }
    volumes
}

/// Reads a container's `volumeMounts`.
pub fn mounts(
    report: &mut Report,
    container: &Fields<'_>,
    volumes: &BTreeSet<&str>,
) -> Vec<VolumeMount> {
    let mut paths = Unique::default();
    let mut mounts = Vec::new();
    for item in container.items(report, "volumeMounts") {
        let Some(fields) = item.fields(report, &fields::VOLUME_MOUNT) else {
            continue;
        };
        let volume = fields.require(report, "name").and_then(|f| {
            let name = f.string(report)?;
            if !volumes.contains(name.as_str()) {
                f.refuse(report, no_volume(volumes));
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
        if let (Some(volume), Some(path)) = (volume, path) {
            mounts.push(VolumeMount {
                volume,
                path,
                read_only,
            });
        }
    }
    mounts
}

/// Most volumes that a message lists.
const MAX_LISTED: usize = 10;

fn no_volume(volumes: &BTreeSet<&str>) -> String {
    let mut names: Vec<_> = volumes.iter().take(MAX_LISTED).copied().collect();
    match volumes.len() {
        0 => names.push("none"),
        len if len > MAX_LISTED => names.push("more"),
        _ => {}
    }
    format!("is no volume of the Pod, which has {}", names.join(", "))
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
