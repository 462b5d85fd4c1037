//! Documents → Pods: the kinds, their metadata, selectors.

use std::collections::BTreeMap;

use i2kit_contract::RestartPolicy;

use super::data::{Objects, claim_template};
use super::decode::{Field, Fields, Report, closest};
use super::error::{Position, quoted};
use super::pod::Pod;
use super::spec::{Spec, pod_spec};
use super::{fields, names};

/// Most bytes that annotations may have together.
const MAX_ANNOTATIONS: usize = 256 << 10;
/// Largest `replicas`, which is an int32.
const MAX_REPLICAS: u32 = i32::MAX.unsigned_abs();

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
        (_, Some(workload)) => self::workload(&mut own, object, objects, workload),
        (Some("List"), _) => {
            let found = list(&mut own, object, objects);
            report.errors.append(&mut own.errors);
            report.notes.append(&mut own.notes);
            return found;
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
        "Pod" | "List" => "v1",
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
    if fields::LATER_KINDS.contains(&kind) {
        return field.refuse(report, "is not supported yet");
    }
    let kinds = [fields::KINDS, fields::DATA_KINDS, fields::LATER_KINDS];
    let kinds = kinds.into_iter().flatten().copied();
    let message = format!(
        "{}: {} is no kind that holds a Pod",
        field.path,
        quoted(kind)
    );
    match closest(kind, kinds) {
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

/// A kind that makes Pods from a template.
struct Workload {
    kind: &'static str,
    version: &'static str,
    spec: &'static fields::Schema,
    /// Whether it must select its Pods.
    selects: bool,
    /// `restartPolicy` of its Pods, and how that is said.
    policies: &'static [RestartPolicy],
    policy: &'static str,
}

impl Workload {
    fn find(kind: &str) -> Option<&'static Self> {
        WORKLOADS.iter().find(|one| one.kind == kind)
    }
}

const ALWAYS: &[RestartPolicy] = &[RestartPolicy::Always];

const WORKLOADS: &[Workload] = &[
    Workload {
        kind: "Deployment",
        version: "apps/v1",
        spec: &fields::DEPLOYMENT_SPEC,
        selects: true,
        policies: ALWAYS,
        policy: "must be Always in a Deployment",
    },
    Workload {
        kind: "DaemonSet",
        version: "apps/v1",
        spec: &fields::DAEMON_SET_SPEC,
        selects: true,
        policies: ALWAYS,
        policy: "must be Always in a DaemonSet",
    },
    Workload {
        kind: "ReplicaSet",
        version: "apps/v1",
        spec: &fields::REPLICA_SET_SPEC,
        selects: true,
        policies: ALWAYS,
        policy: "must be Always in a ReplicaSet",
    },
    Workload {
        kind: "StatefulSet",
        version: "apps/v1",
        spec: &fields::STATEFUL_SET_SPEC,
        selects: true,
        policies: ALWAYS,
        policy: "must be Always in a StatefulSet",
    },
    Workload {
        kind: "Job",
        version: "batch/v1",
        spec: &fields::JOB_SPEC,
        selects: false,
        policies: &[RestartPolicy::OnFailure, RestartPolicy::Never],
        policy: "must be OnFailure or Never in a Job",
    },
];

fn workload(
    report: &mut Report,
    object: &Field<'_>,
    objects: &Objects,
    workload: &Workload,
) -> (String, Option<Pod>) {
    let Some(fields) = object.fields(report, &fields::DEPLOYMENT) else {
        return (String::new(), None);
    };
    let outer = required_metadata(report, &fields);
    let name = outer.name.clone();
    let spec = fields
        .require(report, "spec")
        .and_then(|f| f.fields(report, workload.spec));
    let Some(spec) = spec else {
        return (name, None);
    };
    let pod = spec
        .require(report, "template")
        .and_then(|f| f.fields(report, &fields::POD_TEMPLATE))
        .and_then(|template| self::template(report, workload, &spec, &template, outer, objects));
    (name, pod)
}

fn template(
    report: &mut Report,
    workload: &Workload,
    owner: &Fields<'_>,
    template: &Fields<'_>,
    outer: Metadata,
    objects: &Objects,
) -> Option<Pod> {
    replicas(report, owner);
    let before = report.errors.len();
    let mut meta = Metadata::default();
    let field = template.get("metadata");
    if let Some(fields) = field.and_then(|f| f.fields(report, &fields::METADATA)) {
        meta = metadata(report, &fields);
        let names = ["name", "generateName"].map(|name| fields.get_text(name));
        for field in names.iter().flatten() {
            let message = format!("{}: the {}'s name is used", field.path, workload.kind);
            report.note(field.position(), message);
        }
    }
    meta.name = outer.name;
    meta.namespace = outer.namespace.or(meta.namespace);
    let labels = (report.errors.len() == before).then_some(&meta.labels);
    if workload.selects {
        selector(report, owner, labels);
    }
    let field = template.require(report, "spec")?;
    let claims = claims(report, owner);
    let mut spec = pod_spec(report, &field, objects, &claims)?;
    let deadline = owner.get("activeDeadlineSeconds");
    let deadline = deadline.and_then(|f| f.ranged(report, 1, i32::MAX.unsigned_abs()));
    // The Job's one Pod ends when either time is up.
    spec.active_deadline_seconds = spec.active_deadline_seconds.into_iter().chain(deadline).min();
    let fields = field.fields(&mut Report::default(), &fields::POD_SPEC)?;
    if !workload.policies.contains(&spec.restart_policy) {
        match fields.get("restartPolicy") {
            Some(policy) => policy.refuse(report, workload.policy),
            None => {
                let message = format!("{}.restartPolicy {}", field.path, workload.policy);
                report.error(field.position(), message);
            }
        }
    }
    if workload.policies.contains(&RestartPolicy::Always)
        && let Some(deadline) = fields.get("activeDeadlineSeconds")
    {
        let kind = workload.kind;
        let reason = format!("has no place in a {kind}, whose Pods do not end");
        deadline.refuse(report, reason);
    }
    Some(assemble(meta, spec, objects))
}

/// `volumeClaimTemplates`: each names a volume, and the disk for it.
fn claims(report: &mut Report, owner: &Fields<'_>) -> Vec<String> {
    let mut claims = Vec::new();
    for item in owner.items(report, "volumeClaimTemplates") {
        if let Some(name) = claim_template(report, &item) {
            let message = format!("{}: its disk is the one that is called {name}", item.path);
            report.note(item.position(), message);
            claims.push(name);
        }
    }
    claims
}

fn replicas(report: &mut Report, deployment: &Fields<'_>) {
    let field = deployment.get("replicas");
    let count = field
        .clone()
        .and_then(|f| f.ranged(report, 0, MAX_REPLICAS));
    if let Some(field) = field.filter(|_| count.is_some()) {
        let why = "one VM is built; how many run is for who runs them";
        report.note(field.position(), format!("{}: {why}", field.path));
    }
}

fn assemble(meta: Metadata, spec: Spec, objects: &Objects) -> Pod {
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
        secrets: objects.secrets.clone(),
    }
}

#[derive(Default)]
struct Metadata {
    name: String,
    namespace: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn required_metadata(report: &mut Report, object: &Fields<'_>) -> Metadata {
    let Some(field) = object.require(report, "metadata") else {
        return Metadata::default();
    };
    let Some(fields) = field.fields(report, &fields::METADATA) else {
        return Metadata::default();
    };
    let name = fields.get_text("name");
    let generated = fields.get_text("generateName").map(|f| f.path);
    match (&name, generated) {
        (Some(name), Some(path)) => {
            report.note(name.position(), format!("{path}: metadata.name is used"));
        }
        (None, Some(_)) => {
            let message = "metadata.name is required, as there is no API server to generate one";
            report.error(field.position(), message);
        }
        (None, None) => report.error(field.position(), "metadata.name is required"),
        (Some(_), None) => {}
    }
    let name = name.and_then(|f| f.checked(report, names::dns_subdomain));
    Metadata {
        name: name.unwrap_or_default(),
        ..metadata(report, &fields)
    }
}

/// Labels and annotations.
fn metadata(report: &mut Report, fields: &Fields<'_>) -> Metadata {
    Metadata {
        name: String::new(),
        namespace: fields
            .get_text("namespace")
            .and_then(|f| f.checked(report, names::dns_label)),
        labels: fields
            .get("labels")
            .map(|f| labels(report, &f))
            .unwrap_or_default(),
        annotations: fields
            .get("annotations")
            .map(|f| annotations(report, &f))
            .unwrap_or_default(),
    }
}

fn labels(report: &mut Report, field: &Field<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (key, position, value) in field.entries(report) {
        if let Err(reason) = names::qualified_name(key) {
            report.error(position, bad_key(field, key, &reason));
        }
        if let Some(value) = optional_string(report, &value) {
            labels.insert(key.to_owned(), value);
        }
    }
    for (key, _, value) in field.entries(&mut Report::default()) {
        let text = labels.get(key).map(String::as_str).unwrap_or_default();
        if let Err(reason) = names::label_value(text) {
            value.refuse(report, reason);
        }
    }
    labels
}

fn annotations(report: &mut Report, field: &Field<'_>) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::new();
    for (key, position, value) in field.entries(report) {
        if let Err(reason) = names::qualified_name(&key.to_lowercase()) {
            report.error(position, bad_key(field, key, &reason));
        }
        if let Some(value) = optional_string(report, &value) {
            annotations.insert(key.to_owned(), value);
        }
    }
    let size = |(k, v): (&String, &String)| k.len().saturating_add(v.len());
    if annotations.iter().map(size).fold(0, usize::saturating_add) > MAX_ANNOTATIONS {
        field.refuse(
            report,
            format!("must be at most {MAX_ANNOTATIONS} bytes together"),
        );
    }
    annotations
}

fn bad_key(field: &Field<'_>, key: &str, reason: &str) -> String {
    format!("{}: key {} {reason}", field.path, quoted(key))
}

/// A map's null value is its zero value, as in Go.
fn optional_string(report: &mut Report, value: &Field<'_>) -> Option<String> {
    match value.node.is_null() {
        true => Some(String::new()),
        false => value.string(report),
    }
}

/// The selector must be there and match the template's labels; `None` when these are wrong.
fn selector(
    report: &mut Report,
    deployment: &Fields<'_>,
    labels: Option<&BTreeMap<String, String>>,
) {
    let Some(field) = deployment.require(report, "selector") else {
        return;
    };
    let before = report.errors.len();
    let Some(fields) = field.fields(report, &fields::LABEL_SELECTOR) else {
        return;
    };
    let wanted = fields
        .get("matchLabels")
        .map(|f| self::labels(report, &f))
        .unwrap_or_default();
    let expressions = fields.items(report, "matchExpressions");
    let none = BTreeMap::new();
    let had = labels.unwrap_or(&none);
    let mut matches = wanted.iter().all(|(k, v)| had.get(k) == Some(v));
    for expression in &expressions {
        matches &= requirement(report, expression, had).unwrap_or(true);
    }
    if report.errors.len() > before {
        return;
    }
    if wanted.is_empty() && expressions.is_empty() {
        field.refuse(report, "must select the template's labels, but is empty");
    } else if labels.is_some() && !matches {
        field.refuse(
            report,
            "does not match the labels in spec.template.metadata.labels",
        );
    }
}

/// Whether one `matchExpressions` entry holds; `None` when it is wrong.
fn requirement(
    report: &mut Report,
    field: &Field<'_>,
    labels: &BTreeMap<String, String>,
) -> Option<bool> {
    let fields = field.fields(report, &fields::LABEL_REQUIREMENT)?;
    let key = fields
        .require(report, "key")?
        .checked(report, names::qualified_name)?;
    let operator = fields.require(report, "operator")?;
    let values = fields.strings(report, "values");
    let label = labels.get(&key);
    let listed = label.is_some_and(|label| values.contains(label));
    let (takes_values, holds) = match operator.string(report)?.as_str() {
        "In" => (true, listed),
        "NotIn" => (true, !listed),
        "Exists" => (false, label.is_some()),
        "DoesNotExist" => (false, label.is_none()),
        _ => {
            operator.refuse(report, "must be one of In, NotIn, Exists, DoesNotExist");
            return None;
        }
    };
    if takes_values == values.is_empty() {
        let message = if takes_values {
            "needs values"
        } else {
            "takes no values"
        };
        operator.refuse(report, message);
        return None;
    }
    Some(holds)
}
