//! `PodSpec` and what is in it.

mod container;
mod downward;
mod env;
mod known;
mod mounts;
mod network;
mod ports;
mod projected;
mod resources;
mod security;
mod volumes;

use std::collections::HashMap;

use i2kit_contract::{Names, ProcessNamespace, RestartPolicy};

use super::data::Objects;
use super::decode::{Field, Fields, Report};
use super::error::Position;
use super::pod::{Container, PodSecurity, SecurityContext, Volume};
use super::{fields, names};
pub use container::absolute;
use container::containers;
use known::Known;
use security::pod_security;
use volumes::{container_names, volumes};

/// What a `PodSpec` says.
#[derive(Debug, Default)]
pub struct Spec {
    /// `hostname`.
    pub hostname: Option<String>,
    /// `subdomain`.
    pub subdomain: Option<String>,
    /// `setHostnameAsFQDN`.
    pub hostname_as_fqdn: bool,
    /// `serviceAccountName`.
    pub service_account: String,
    /// `hostAliases`, `dnsPolicy`, `dnsConfig`.
    pub names: Names,
    /// `shareProcessNamespace`, `hostPID`.
    pub process_namespace: ProcessNamespace,
    /// `restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `terminationGracePeriodSeconds`.
    pub grace_period: u32,
    /// `securityContext`.
    pub security: SecurityContext,
    /// `securityContext`, what is the Pod's alone.
    pub pod_security: PodSecurity,
    /// `volumes`.
    pub volumes: Vec<Volume>,
    /// `activeDeadlineSeconds`.
    pub active_deadline_seconds: Option<u32>,
    /// `initContainers`.
    pub init_containers: Vec<Container>,
    /// `containers`.
    pub containers: Vec<Container>,
}

/// Refuses the second of two equal names.
#[derive(Default)]
struct Unique(HashMap<String, Position>);

impl Unique {
    fn check(&mut self, report: &mut Report, field: &Field<'_>, name: &str) {
        if let Some(first) = self.0.insert(name.to_owned(), field.position()) {
            field.refuse(
                report,
                format!("is used twice, first in line {}", first.line),
            );
        }
    }
}

/// Reads a `PodSpec`, which may take from `objects`.
pub fn pod_spec(report: &mut Report, spec: &Field<'_>, objects: &Objects) -> Option<Spec> {
    let fields = spec.fields(report, &fields::POD_SPEC)?;
    let volumes = volumes(report, &fields, objects, &container_names(&fields));
    let known = Known {
        volumes: volumes.iter().map(|volume| volume.name.as_str()).collect(),
        objects,
    };
    let grace_period = fields
        .get("terminationGracePeriodSeconds")
        .map_or(Some(30), |f| f.ranged(report, 0, u32::MAX))
        .unwrap_or_default();
    let (init_containers, containers) = containers(report, &fields, &known, grace_period);
    let label = |report: &mut Report, name| {
        let field = fields.get_text(name);
        field.and_then(|f| f.checked(report, names::dns_label))
    };
    let (security, pod_security) = pod_security(report, &fields);
    Some(Spec {
        hostname: label(report, "hostname"),
        subdomain: label(report, "subdomain"),
        hostname_as_fqdn: fields
            .get("setHostnameAsFQDN")
            .and_then(|f| f.boolean(report))
            .unwrap_or_default(),
        service_account: network::service_account(report, &fields),
        names: network::read_names(report, &fields),
        process_namespace: network::process_namespace(report, &fields),
        restart_policy: restart_policy(report, &fields),
        grace_period,
        active_deadline_seconds: fields
            .get("activeDeadlineSeconds")
            .and_then(|f| f.ranged(report, 1, i32::MAX.unsigned_abs())),
        security,
        pod_security,
        volumes,
        init_containers,
        containers,
    })
}

/// `restartPolicy` of a Pod or a container.
pub const RESTART_POLICIES: [(&str, RestartPolicy); 3] = [
    ("Always", RestartPolicy::Always),
    ("OnFailure", RestartPolicy::OnFailure),
    ("Never", RestartPolicy::Never),
];

fn restart_policy(report: &mut Report, fields: &Fields<'_>) -> RestartPolicy {
    one_of(report, fields, "restartPolicy", &RESTART_POLICIES).unwrap_or_default()
}

/// A string field that has one of these values.
pub fn one_of<T: Copy>(
    report: &mut Report,
    fields: &Fields<'_>,
    name: &str,
    all: &[(&str, T)],
) -> Option<T> {
    let field = fields.get_text(name)?;
    let text = field.string(report)?;
    let found = all.iter().find(|(name, _)| *name == text);
    if found.is_none() {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        field.refuse(report, format!("must be one of {}", names.join(", ")));
    }
    found.map(|(_, value)| *value)
}

/// The one of these fields that is set, with its name; `item` is to blame when it is not one.
fn one_source<'a>(
    report: &mut Report,
    item: &Field<'_>,
    fields: &Fields<'a>,
    names: &[&'static str],
) -> Option<(&'static str, Field<'a>)> {
    let set = names
        .iter()
        .filter_map(|name| Some((*name, fields.get(name)?)));
    let mut set: Vec<_> = set.collect();
    match set.len() {
        1 => return set.pop(),
        // What is set may be a field that has been refused, and that is told already.
        0 if !report.errors.is_empty() => {}
        _ => {
            let message = format!("must have exactly one of {}", names.join(", "));
            item.refuse(report, message);
        }
    }
    None
}
