//! `fieldRef` and `resourceFieldRef`: the downward API.

use super::super::decode::{Field, Fields, Report};
use super::super::pod::{PodField, ResourceField, ResourceName};
use super::super::quantity::Quantity;
use super::super::{fields, names};
use super::resources::page_size;

/// Reads an `ObjectFieldSelector`. Only files can hold all labels or annotations, and only
/// variables what is known once the Pod runs.
pub fn field_ref(report: &mut Report, field: &Field<'_>, in_file: bool) -> Option<PodField> {
    let fields = field.fields(report, &fields::FIELD_REF)?;
    if let Some(version) = fields.get_text("apiVersion")
        && version.string(report)? != "v1"
    {
        version.refuse(report, "must be v1");
    }
    let path = fields.require(report, "fieldPath")?;
    let text = path.string(report)?;
    let found = pod_field(&text);
    let fits = match &found {
        None => false,
        Some(PodField::Labels | PodField::Annotations) => in_file,
        Some(PodField::NodeName | PodField::ServiceAccountName | PodField::Ip | PodField::Ips) => {
            !in_file
        }
        Some(_) => true,
    };
    if fits {
        return found;
    }
    let reason = if in_file {
        "must be metadata.name, namespace, uid, labels, annotations, labels['KEY'] or annotations['KEY']"
    } else {
        "must be metadata.name, namespace, uid, labels['KEY'], annotations['KEY'], spec.nodeName, \
         spec.serviceAccountName, status.podIP, podIPs, hostIP or hostIPs"
    };
    path.refuse(report, reason);
    None
}

fn pod_field(path: &str) -> Option<PodField> {
    Some(match path {
        "metadata.name" => PodField::Name,
        "metadata.namespace" => PodField::Namespace,
        "metadata.uid" => PodField::Uid,
        "metadata.labels" => PodField::Labels,
        "metadata.annotations" => PodField::Annotations,
        "spec.nodeName" => PodField::NodeName,
        "spec.serviceAccountName" => PodField::ServiceAccountName,
        "status.podIP" | "status.hostIP" => PodField::Ip,
        "status.podIPs" | "status.hostIPs" => PodField::Ips,
        _ => {
            let (map, key) = path.strip_suffix("']")?.split_once("['")?;
            names::qualified_name(&key.to_lowercase()).ok()?;
            match map {
                "metadata.labels" => PodField::Label(key.to_owned()),
                "metadata.annotations" => PodField::Annotation(key.to_owned()),
                _ => return None,
            }
        }
    })
}

/// Reads a `ResourceFieldSelector`. A file's names its container, one of `containers`.
pub fn resource_ref(
    report: &mut Report,
    field: &Field<'_>,
    containers: Option<&[String]>,
) -> Option<ResourceField> {
    let fields = field.fields(report, &fields::RESOURCE_REF)?;
    let container = container_name(report, &fields, containers)?;
    let resource = fields.require(report, "resource")?;
    let text = resource.string(report)?;
    let known = text
        .split_once('.')
        .and_then(|(list, name)| Some((is_limit(list)?, resource_name(name)?)));
    let Some((is_limit, name)) = known else {
        resource.refuse(
            report,
            "must be limits or requests, '.', and cpu, memory, ephemeral-storage or hugepages-SIZE",
        );
        return None;
    };
    Some(ResourceField {
        container,
        is_limit,
        resource: name,
        divisor: divisor(report, &fields, name)?,
    })
}

fn container_name(
    report: &mut Report,
    fields: &Fields<'_>,
    containers: Option<&[String]>,
) -> Option<Option<String>> {
    let Some(containers) = containers else {
        let named = fields.get_text("containerName");
        return named.map_or(Some(None), |f| f.string(report).map(Some));
    };
    let field = fields.require(report, "containerName")?;
    let name = field.string(report)?;
    if !containers.contains(&name) {
        field.refuse(report, "is no container of the Pod");
    }
    Some(Some(name))
}

fn is_limit(list: &str) -> Option<bool> {
    match list {
        "limits" => Some(true),
        "requests" => Some(false),
        _ => None,
    }
}

fn resource_name(name: &str) -> Option<ResourceName> {
    match name {
        "cpu" => Some(ResourceName::Cpu),
        "memory" => Some(ResourceName::Memory),
        "ephemeral-storage" => Some(ResourceName::EphemeralStorage),
        _ => {
            let page = page_size(name.strip_prefix("hugepages-")?)?;
            Some(ResourceName::HugePages(page))
        }
    }
}

/// In thousandths of a CPU, or in bytes; 0 and nothing mean 1.
fn divisor(report: &mut Report, fields: &Fields<'_>, resource: ResourceName) -> Option<u64> {
    const BYTES: [&str; 13] = [
        "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
    ];
    let (known, unit): (&[&str], fn(Quantity) -> u64) = match resource {
        ResourceName::Cpu => (&["1", "1m"], Quantity::milli_value),
        _ => (&BYTES, Quantity::value),
    };
    let text = match fields.get("divisor") {
        Some(field) => {
            let text = field.number_or_string(report)?;
            if text != "0" && !known.contains(&text.as_str()) {
                field.refuse(report, format!("must be one of {}", known.join(", ")));
                return None;
            }
            text
        }
        None => "0".to_owned(),
    };
    let text = if text == "0" { "1" } else { &text };
    Quantity::parse(text).ok().map(unit)
}
