//! Documents → Pods: the kinds.

use super::data::Objects;
use super::decode::{Field, Report, closest};
use super::error::{Position, quoted};
use super::fields;
use super::metadata::{Metadata, required_metadata};
use super::pod::Pod;
use super::service::service;
use super::spec::{Spec, pod_spec};
use super::workload::Workload;

/// A Pod, and where in the input it starts.
#[derive(Debug)]
pub struct Found {
    /// `metadata.name`, as far as it could be read.
    pub name: String,
    /// Where the object starts.
    pub position: Position,
    /// The Pod, complete only when `report` has no errors.
    pub pod: Option<Pod>,
    /// What was found in it.
    pub report: Report,
}

/// Reads one document, or one item of a List. What is wrong with a Pod goes to its own report,
/// what is wrong outside of any to `report`.
pub fn object(report: &mut Report, object: &Field<'_>, objects: &Objects) -> Vec<Found> {
    let mut own = Report::new(&report.file);
    let kind = kind(&mut own, object);
    let workload = kind.as_deref().and_then(Workload::find);
    let found = match (kind.as_deref(), workload) {
        (Some("Pod"), _) => pod(&mut own, object, objects),
        (_, Some(workload)) => workload.pod(&mut own, object, objects),
        (Some("List"), _) => {
            let found = list(&mut own, object, objects);
            report.errors.append(&mut own.errors);
            report.notes.append(&mut own.notes);
            return found;
        }
        (Some("Service"), _) => {
            service(report, object);
            return Vec::new();
        }
        _ => {
            report.errors.append(&mut own.errors);
            return Vec::new();
        }
    };
    let (name, pod) = found;
    let sound = own.errors.is_empty();
    vec![Found {
        name,
        position: object.position(),
        pod: pod.filter(|_| sound),
        report: own,
    }]
}

/// The document's kind, checked together with its `apiVersion`.
fn kind(report: &mut Report, object: &Field<'_>) -> Option<String> {
    // Unknown fields are judged once the kind is known.
    let fields = object.fields(report, &fields::ANY)?;
    let kind = fields.require(report, "kind")?;
    let text = kind.string(report)?;
    if fields::DATA_KINDS.contains(&text.as_str()) {
        return None;
    }
    let version = match text.as_str() {
        "Pod" | "List" | "Service" => "v1",
        other => match Workload::find(other) {
            Some(workload) => workload.version,
            None => {
                unknown_kind(report, &kind, other);
                return None;
            }
        },
    };
    let field = fields.require(report, "apiVersion")?;
    if field.string(report)? != version {
        field.refuse(report, format!("must be {version} for a {text}"));
        return None;
    }
    Some(text)
}

fn unknown_kind(report: &mut Report, field: &Field<'_>, kind: &str) {
    let mut others = fields::OTHER_KINDS.iter();
    if let Some((_, reason)) = others.find(|(name, _)| *name == kind) {
        return field.refuse(report, reason);
    }
    let others = fields::OTHER_KINDS.iter().map(|(name, _)| *name);
    let kinds = fields::KINDS.iter().chain(fields::DATA_KINDS).copied();
    let message = format!(
        "{}: {} is no kind that holds a Pod",
        field.path,
        quoted(kind)
    );
    match closest(kind, kinds.chain(others)) {
        Some(name) => {
            report.error_hint(field.position(), message, format!("did you mean {name:?}?"));
        }
        None => report.error_hint(field.position(), message, "use a Pod or a Deployment"),
    }
}

fn list(report: &mut Report, object: &Field<'_>, objects: &Objects) -> Vec<Found> {
    let Some(fields) = object.fields(report, &fields::LIST) else {
        return Vec::new();
    };
    let items = fields.items(report, "items");
    items
        .iter()
        .flat_map(|item| self::object(report, item, objects))
        .collect()
}

/// The object's name, also when the rest is wrong.
fn pod(report: &mut Report, object: &Field<'_>, objects: &Objects) -> (String, Option<Pod>) {
    let Some(fields) = object.fields(report, &fields::POD) else {
        return (String::new(), None);
    };
    let meta = required_metadata(report, &fields);
    let spec = fields
        .require(report, "spec")
        .and_then(|f| pod_spec(report, &f, objects, &[]));
    let name = meta.name.clone();
    (name, spec.map(|spec| assemble(meta, spec, objects)))
}

/// A Pod of its parts.
pub fn assemble(meta: Metadata, spec: Spec, objects: &Objects) -> Pod {
    Pod {
        name: meta.name,
        namespace: meta.namespace.unwrap_or_else(|| "default".to_owned()),
        labels: meta.labels,
        annotations: meta.annotations,
        hostname: spec.hostname,
        hostname_override: spec.hostname_override,
        subdomain: spec.subdomain,
        hostname_as_fqdn: spec.hostname_as_fqdn,
        service_account: spec.service_account,
        names: spec.names,
        process_namespace: spec.process_namespace,
        restart_policy: spec.restart_policy,
        termination_grace_period_seconds: spec.grace_period,
        security: spec.security,
        pod_security: spec.pod_security,
        resources: spec.resources,
        active_deadline_seconds: spec.active_deadline_seconds,
        volumes: spec.volumes,
        init_containers: spec.init_containers,
        containers: spec.containers,
        seccomp_profiles: Default::default(),
        secrets: objects.secrets.clone(),
    }
}
