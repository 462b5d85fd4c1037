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
use super::pod::{Container, PodSecurity, Resources, SecurityContext, Volume, VolumeSource};
use super::{fields, names};
pub use container::absolute;
use container::containers;
use known::Known;
use resources::pod_resources;
use security::pod_security;
use volumes::{container_names, settle, volumes};

/// What a `PodSpec` says.
#[derive(Debug, Default)]
pub struct Spec {
    /// `hostname`.
    pub hostname: Option<String>,
    /// `hostnameOverride`.
    pub hostname_override: Option<String>,
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
    /// `resources`.
    pub resources: Resources,
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

/// Reads a `PodSpec`, which may take from `objects`. `claims` are volumes of the Pod that stand
/// outside of it, by name.
pub fn pod_spec(
    report: &mut Report,
    spec: &Field<'_>,
    objects: &Objects,
    claims: &[String],
) -> Option<Spec> {
    let fields = spec.fields(report, &fields::POD_SPEC)?;
    let mut volumes = volumes(report, &fields, objects, &container_names(&fields));
    volumes.retain(|volume| !claims.contains(&volume.name));
    volumes.extend(claims.iter().map(|name| claim_volume(name)));
    let is_claim = |volume: &&Volume| matches!(volume.source, VolumeSource::Claim { .. });
    let known = Known {
        volumes: volumes.iter().map(volume_name).collect(),
        claims: volumes.iter().filter(is_claim).map(volume_name).collect(),
        objects,
    };
    let grace_period = fields
        .get("terminationGracePeriodSeconds")
        .map_or(Some(30), |f| f.ranged(report, 0, u32::MAX))
        .unwrap_or_default();
    let (init_containers, containers) = containers(report, &fields, &known, grace_period);
    let all: Vec<&Container> = init_containers.iter().chain(&containers).collect();
    settle(report, spec, &mut volumes, &all, objects);
    os(report, &fields);
    let label = |report: &mut Report, name| {
        let field = fields.get_text(name);
        field.and_then(|f| f.checked(report, names::dns_label))
    };
    let (security, pod_security) = pod_security(report, &fields);
    Some(Spec {
        hostname: label(report, "hostname"),
        hostname_override: network::hostname_override(report, &fields),
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
        resources: pod_resources(report, &fields),
        volumes,
        init_containers,
        containers,
    })
}

fn volume_name(volume: &Volume) -> &str {
    &volume.name
}

fn claim_volume(name: &str) -> Volume {
    let source = VolumeSource::Claim {
        name: name.to_owned(),
        read_only: false,
        block: false,
    };
    let name = name.to_owned();
    Volume { name, source }
}

fn os(report: &mut Report, spec: &Fields<'_>) {
    let os = spec
        .get("os")
        .and_then(|f| f.fields(report, &fields::POD_OS));
    let name = os.and_then(|os| os.require(report, "name"));
    if let Some(name) = name
        && name.string(report).is_some_and(|text| text != "linux")
    {
        name.refuse(report, "is not what the VM runs, which is linux");
    }
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
