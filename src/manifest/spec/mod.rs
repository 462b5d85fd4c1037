//! `PodSpec` and what is in it.

mod container;
mod env;
mod ports;
mod resources;
mod security;
mod volumes;

use std::collections::{BTreeSet, HashMap};

use i2kit_contract::RestartPolicy;

use super::decode::{Field, Fields, Report};
use super::error::Position;
use super::pod::{Container, SecurityContext};
use super::{fields, names};
pub use container::absolute;
use container::containers;
use security::security;
use volumes::volumes;

/// What a `PodSpec` says.
#[derive(Debug, Default)]
pub struct Spec {
    /// `hostname`.
    pub hostname: Option<String>,
    /// `restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `terminationGracePeriodSeconds`.
    pub grace_period: u32,
    /// `securityContext`.
    pub security: SecurityContext,
    /// Names of `volumes`.
    pub volumes: Vec<String>,
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

/// Reads a `PodSpec`.
pub fn pod_spec(report: &mut Report, spec: &Field<'_>) -> Option<Spec> {
    let fields = spec.fields(report, &fields::POD_SPEC)?;
    let volumes = volumes(report, &fields);
    let known: BTreeSet<_> = volumes.iter().map(String::as_str).collect();
    let grace_period = fields
        .get("terminationGracePeriodSeconds")
        .map_or(Some(30), |f| f.ranged(report, 0, u32::MAX))
        .unwrap_or_default();
    let (init_containers, containers) = containers(report, &fields, &known, grace_period);
    Some(Spec {
        hostname: fields
            .get_text("hostname")
            .and_then(|f| f.checked(report, names::dns_label)),
        restart_policy: restart_policy(report, &fields),
        grace_period,
        active_deadline_seconds: fields
            .get("activeDeadlineSeconds")
            .and_then(|f| f.ranged(report, 1, i32::MAX.unsigned_abs())),
        security: security(report, &fields, &fields::POD_SECURITY_CONTEXT),
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
