//! `Volume`.

use i2kit_contract::HostPathType;

use super::super::decode::{Field, Fields, Report};
use super::super::pod::{Volume, VolumeSource};
use super::super::{data::Objects, fields, names};
use super::known::{Known, listed};
use super::projected::{Projection, projected};
use super::resources::bytes;
use super::{Unique, one_of};

/// The volume sources that a decoder reads.
const SOURCES: [&str; 7] = [
    "configMap",
    "downwardAPI",
    "emptyDir",
    "hostPath",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Reads a Pod's `volumes`, in order. `containers` are the names that a `resourceFieldRef` may
/// have.
pub fn volumes(
    report: &mut Report,
    spec: &Fields<'_>,
    objects: &Objects,
    containers: &[String],
) -> Vec<Volume> {
    let known = Known {
        volumes: Default::default(),
        objects,
    };
    let mut unique = Unique::default();
    let mut volumes = Vec::new();
    for item in spec.items(report, "volumes") {
        let Some(fields) = item.fields(report, &fields::VOLUME) else {
            continue;
        };
        let source = source(report, &item, &fields, &known, containers);
        let name = fields.require(report, "name");
        if let Some((field, name)) =
            name.and_then(|f| Some((f.clone(), f.checked(report, names::dns_label)?)))
        {
            unique.check(report, &field, &name);
            // A wrong source has been reported; the volume's name is known all the same.
            let source = source.unwrap_or(VolumeSource::EmptyDir);
            volumes.push(Volume { name, source });
        }
    }
    volumes
}

/// A volume that names no source is an emptyDir (API server's default).
fn source(
    report: &mut Report,
    item: &Field<'_>,
    fields: &Fields<'_>,
    known: &Known<'_>,
    containers: &[String],
) -> Option<VolumeSource> {
    let mut set = SOURCES
        .iter()
        .filter_map(|name| Some((*name, fields.get(name)?)));
    let Some((name, field)) = set.next() else {
        return Some(VolumeSource::EmptyDir);
    };
    if let Some((other, _)) = set.next() {
        item.refuse(report, format!("has both {name} and {other}"));
        return None;
    }
    let projection = Projection::new(known, containers);
    match name {
        "emptyDir" => empty_dir(report, &field),
        "hostPath" => host_path(report, &field),
        "persistentVolumeClaim" => claim(report, &field, known),
        "configMap" => projection.config_map_volume(report, &field),
        "secret" => projection.secret_volume(report, &field),
        "downwardAPI" => projection.downward_volume(report, &field),
        _ => projected(report, &field, projection),
    }
}

fn empty_dir(report: &mut Report, field: &Field<'_>) -> Option<VolumeSource> {
    let fields = field.fields(report, &fields::EMPTY_DIR)?;
    let medium = [("Memory", true), ("HugePages", false)];
    let medium = one_of(report, &fields, "medium", &medium);
    let limit = fields.get("sizeLimit").and_then(|f| {
        let size = bytes(report, &f)?;
        (size > 0).then_some((f, size))
    });
    match (medium, limit) {
        (Some(true), limit) => Some(VolumeSource::Memory(limit.map(|(_, size)| size))),
        (Some(false), _) => {
            let field = fields.get("medium")?;
            field.refuse(report, "is not supported yet");
            None
        }
        (None, None) => Some(VolumeSource::EmptyDir),
        (None, Some((field, _))) => {
            let message = format!("{} is not supported yet without medium: Memory", field.path);
            report.error(field.position(), message);
            None
        }
    }
}

fn host_path(report: &mut Report, field: &Field<'_>) -> Option<VolumeSource> {
    let fields = field.fields(report, &fields::HOST_PATH)?;
    let kinds = [
        ("DirectoryOrCreate", HostPathType::DirectoryOrCreate),
        ("Directory", HostPathType::Directory),
        ("FileOrCreate", HostPathType::FileOrCreate),
        ("File", HostPathType::File),
        ("Socket", HostPathType::Socket),
        ("CharDevice", HostPathType::CharDevice),
        ("BlockDevice", HostPathType::BlockDevice),
    ];
    let kind = one_of(report, &fields, "type", &kinds).unwrap_or_default();
    let path = fields.require(report, "path")?;
    let path = path.checked(report, guest_path)?;
    Some(VolumeSource::HostPath { path, kind })
}

/// The kubelet takes a relative path from its own folder, which no guest has.
fn guest_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("must be an absolute path".to_owned());
    }
    match path.split('/').any(|part| part == "..") {
        true => Err("must not contain \"..\"".to_owned()),
        false => Ok(()),
    }
}

/// A claim needs no document: the disk is found by the claim's name.
fn claim(report: &mut Report, field: &Field<'_>, known: &Known<'_>) -> Option<VolumeSource> {
    let fields = field.fields(report, &fields::CLAIM_VOLUME)?;
    let name = fields.require(report, "claimName")?;
    let read_only = fields.get("readOnly").and_then(|f| f.boolean(report));
    let text = name.checked(report, names::dns_subdomain)?;
    let claims = &known.objects.claims;
    if !claims.is_empty() && !claims.contains(&text) {
        let there = listed(claims.iter().map(String::as_str));
        let message = format!("is no PersistentVolumeClaim in the manifests, which have {there}");
        name.refuse(report, message);
    }
    Some(VolumeSource::Claim {
        name: text,
        read_only: read_only.unwrap_or_default(),
    })
}

/// The names of the Pod's containers, as far as they can be read.
pub fn container_names(spec: &Fields<'_>) -> Vec<String> {
    let mut silent = Report::default();
    let lists = ["containers", "initContainers"].map(|list| spec.items(&mut silent, list));
    let names = lists.iter().flatten().filter_map(|item| {
        let fields = item.fields(&mut Report::default(), &fields::ANY)?;
        fields.get("name")?.string(&mut Report::default())
    });
    names.collect()
}
