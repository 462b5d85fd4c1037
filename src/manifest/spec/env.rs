//! `EnvVar`.

use super::super::decode::{Fields, Report};
use super::super::pod::EnvVar;
use super::super::{fields, names};

/// Reads a container's `env`.
pub fn env(report: &mut Report, container: &Fields<'_>) -> Vec<EnvVar> {
    let mut env = Vec::new();
    for item in container.items(report, "env") {
        let Some(fields) = item.fields(report, &fields::ENV_VAR) else {
            continue;
        };
        let name = fields
            .require(report, "name")
            .and_then(|f| f.checked(report, names::env_name));
        let value = fields
            .get("value")
            .map_or(Some(String::new()), |f| f.string(report));
        if let (Some(name), Some(value)) = (name, value) {
            env.push(EnvVar { name, value });
        }
    }
    env
}
