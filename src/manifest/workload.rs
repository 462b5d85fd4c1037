//! The kinds that make Pods from a template.

use i2kit_contract::RestartPolicy;

use super::data::{Objects, claim_template};
use super::decode::{Field, Fields, Report};
use super::fields;
use super::metadata::{Metadata, metadata, required_metadata};
use super::object::assemble;
use super::pod::Pod;
use super::selector::selector;
use super::spec::pod_spec;

/// Largest `replicas`, which is an int32.
const MAX_REPLICAS: u32 = i32::MAX.unsigned_abs();

/// A kind that makes Pods from a template.
pub struct Workload {
    kind: &'static str,
    /// Its `apiVersion`.
    pub version: &'static str,
    spec: &'static fields::Schema,
    /// Whether it must select its Pods.
    selects: bool,
    /// `restartPolicy` of its Pods, and how that is said.
    policies: &'static [RestartPolicy],
    policy: &'static str,
}

impl Workload {
    /// The kind of that name.
    pub fn find(kind: &str) -> Option<&'static Self> {
        WORKLOADS.iter().find(|one| one.kind == kind)
    }

    /// The object's name, also when the rest is wrong, and its Pod.
    pub fn pod(
        &self,
        report: &mut Report,
        object: &Field<'_>,
        objects: &Objects,
    ) -> (String, Option<Pod>) {
        let Some(fields) = object.fields(report, &fields::DEPLOYMENT) else {
            return (String::new(), None);
        };
        let outer = required_metadata(report, &fields);
        let name = outer.name.clone();
        let spec = fields
            .require(report, "spec")
            .and_then(|f| f.fields(report, self.spec));
        let Some(spec) = spec else {
            return (name, None);
        };
        let pod = spec
            .require(report, "template")
            .and_then(|f| f.fields(report, &fields::POD_TEMPLATE))
            .and_then(|template| self::template(report, self, &spec, &template, outer, objects));
        (name, pod)
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
    spec.active_deadline_seconds = spec
        .active_deadline_seconds
        .into_iter()
        .chain(deadline)
        .min();
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
