//! `Volume`.

use std::collections::BTreeSet;

use i2kit_contract::HostPathType;

use super::super::decode::{Field, Fields, Report};
use super::super::pod::{Container, Volume, VolumeSource};
use super::super::{data::Objects, fields, names};
use super::container::image_name;
use super::known::{Known, listed};
use super::projected::{Projection, projected};
use super::resources::{bytes, page_size};
use super::{Unique, one_of};

/// The volume sources that a decoder reads.
const SOURCES: [&str; 8] = [
    "configMap",
    "downwardAPI",
    "emptyDir",
    "hostPath",
    "image",
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
        claims: Default::default(),
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
            let source = source.unwrap_or(VolumeSource::EmptyDir(None));
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
        return Some(VolumeSource::EmptyDir(None));
    };
    if let Some((other, _)) = set.next() {
        item.refuse(report, format!("has both {name} and {other}"));
        return None;
    }
    let projection = Projection::new(known, containers);
    match name {
        "emptyDir" => empty_dir(report, &field),
        "hostPath" => host_path(report, &field),
        "image" => image(report, &field),
        "persistentVolumeClaim" => claim(report, &field, known),
        "configMap" => projection.config_map_volume(report, &field),
        "secret" => projection.secret_volume(report, &field),
        "downwardAPI" => projection.downward_volume(report, &field),
        _ => projected(report, &field, projection),
    }
}

fn empty_dir(report: &mut Report, field: &Field<'_>) -> Option<VolumeSource> {
    let fields = field.fields(report, &fields::EMPTY_DIR)?;
    let size = fields.get("sizeLimit").and_then(|f| bytes(report, &f));
    let size = size.filter(|size| *size > 0);
    let Some(medium) = fields.get_text("medium") else {
        return Some(VolumeSource::EmptyDir(size));
    };
    match medium.string(report)?.as_str() {
        "Memory" => Some(VolumeSource::Memory(size)),
        // What it holds is limited by the containers' limits, as in the kubelet.
        "HugePages" => Some(VolumeSource::HugePages(None)),
        text => {
            let page = text.strip_prefix("HugePages-").and_then(page_size);
            if page.is_none() {
                medium.refuse(
                    report,
                    "must be Memory, HugePages, HugePages-2Mi or HugePages-1Gi",
                );
            }
            Some(VolumeSource::HugePages(Some(page?)))
        }
    }
}

/// Files of another image; `reference` is as a container's `image`.
fn image(report: &mut Report, field: &Field<'_>) -> Option<VolumeSource> {
    let fields = field.fields(report, &fields::IMAGE_VOLUME)?;
    let reference = fields.require(report, "reference")?;
    Some(VolumeSource::Image(reference.checked(report, image_name)?))
}

/// What a volume is for shows only in the containers: a claim that one takes as a device is one,
/// and huge pages are of the size that the Pod asks for. `spec` is to blame for a volume that does
/// not stand there.
pub fn settle(
    report: &mut Report,
    spec: &Field<'_>,
    volumes: &mut [Volume],
    containers: &[&Container],
    objects: &Objects,
) {
    let fields = spec.fields(&mut Report::default(), &fields::ANY);
    let items = fields.map_or_else(Vec::new, |f| f.items(&mut Report::default(), "volumes"));
    for volume in volumes {
        let item = items
            .iter()
            .find(|item| name_of(item).as_ref() == Some(&volume.name));
        let item = item.unwrap_or(spec);
        match &mut volume.source {
            VolumeSource::Claim { name, block, .. } => {
                let documented = objects.claims.get(name).copied();
                *block = is_device(report, item, &volume.name, documented, containers);
            }
            VolumeSource::HugePages(page) => *page = page_of(report, item, *page, containers),
            _ => {}
        }
    }
}

/// The size of a volume's huge pages, which some container must be allowed to use.
fn page_of(
    report: &mut Report,
    item: &Field<'_>,
    wanted: Option<u64>,
    containers: &[&Container],
) -> Option<u64> {
    let limits = containers.iter().map(|one| &one.resources.limits);
    let sizes: BTreeSet<u64> = limits
        .flat_map(|all| all.huge_pages.keys().copied())
        .collect();
    let reason = match (wanted, sizes.len()) {
        (Some(wanted), _) if sizes.contains(&wanted) => return Some(wanted),
        (None, 1) => return sizes.first().copied(),
        (None, 2..) => "must be of HugePages-2Mi or HugePages-1Gi, since the Pod asks for both",
        _ => "is of huge pages for which no container has a limit",
    };
    item.refuse(report, reason);
    None
}

/// A disk is a device for all containers or a file system for all.
fn is_device(
    report: &mut Report,
    item: &Field<'_>,
    name: &str,
    documented: Option<bool>,
    containers: &[&Container],
) -> bool {
    let mut devices = containers.iter().flat_map(|one| &one.devices);
    let is_device = devices.any(|device| device.volume == name);
    let mut mounts = containers.iter().flat_map(|one| &one.mounts);
    let is_mounted = mounts.any(|mount| mount.volume == name);
    let reason = match (is_device, is_mounted, documented) {
        (true, true, _) => "is in volumeDevices and in volumeMounts, and can be in one of them",
        (true, _, Some(false)) => "is in volumeDevices, so its claim needs volumeMode: Block",
        (_, true, Some(true)) => "has a claim of volumeMode: Block, so it belongs in volumeDevices",
        _ => return is_device,
    };
    item.refuse(report, reason);
    is_device
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
    if !claims.is_empty() && !claims.contains_key(&text) {
        let there = listed(claims.keys().map(String::as_str));
        let message = format!("is no PersistentVolumeClaim in the manifests, which have {there}");
        name.refuse(report, message);
    }
    Some(VolumeSource::Claim {
        name: text,
        read_only: read_only.unwrap_or_default(),
        block: false,
    })
}

/// The names of the Pod's containers, as far as they can be read.
pub fn container_names(spec: &Fields<'_>) -> Vec<String> {
    let mut silent = Report::default();
    let lists = ["containers", "initContainers"].map(|list| spec.items(&mut silent, list));
    lists.iter().flatten().filter_map(name_of).collect()
}

fn name_of(item: &Field<'_>) -> Option<String> {
    let fields = item.fields(&mut Report::default(), &fields::ANY)?;
    fields.get("name")?.string(&mut Report::default())
}
