//! `EnvVar` and `EnvFromSource`.

use i2kit_contract::SecretEnv;

use super::super::decode::{Field, Fields, Report};
use super::super::pod::{EnvFrom, EnvValue, EnvVar};
use super::super::{fields, names};
use super::downward::{field_ref, resource_ref};
use super::known::{Known, listed, optional, secret_key};
use super::one_source;

/// Reads a container's `env`.
pub fn env(report: &mut Report, container: &Fields<'_>, known: &Known<'_>) -> Vec<EnvVar> {
    let mut env = Vec::new();
    for item in container.items(report, "env") {
        let Some(fields) = item.fields(report, &fields::ENV_VAR) else {
            continue;
        };
        let name = fields
            .require(report, "name")
            .and_then(|f| f.checked(report, names::env_name));
        let value = match fields.get("valueFrom") {
            Some(source) => {
                if let Some(value) = fields.get_text("value") {
                    value.refuse(report, "must not be set together with valueFrom");
                }
                value_from(report, &source, known)
            }
            None => fields
                .get("value")
                .map_or(Some(String::new()), |f| f.string(report))
                .map(EnvValue::Template),
        };
        if let (Some(name), Some(value)) = (name, value) {
            env.push(EnvVar { name, value });
        }
    }
    env
}

/// `None` when it is wrong, or when an optional value is not there.
fn value_from(report: &mut Report, field: &Field<'_>, known: &Known<'_>) -> Option<EnvValue> {
    let fields = field.fields(report, &fields::ENV_VAR_SOURCE)?;
    let sources = [
        "configMapKeyRef",
        "fieldRef",
        "resourceFieldRef",
        "secretKeyRef",
    ];
    let (name, source) = one_source(report, field, &fields, &sources)?;
    match name {
        "configMapKeyRef" => config_map_value(report, &source, known),
        "fieldRef" => field_ref(report, &source, false).map(EnvValue::Field),
        "resourceFieldRef" => resource_ref(report, &source, None).map(EnvValue::Resource),
        _ => {
            let fields = source.fields(report, &fields::SECRET_KEY)?;
            let optional = optional(report, &fields);
            let from = secret_key(report, &fields, known, optional)?;
            Some(EnvValue::Secret { from, optional })
        }
    }
}

fn config_map_value(report: &mut Report, field: &Field<'_>, known: &Known<'_>) -> Option<EnvValue> {
    let fields = field.fields(report, &fields::CONFIG_MAP_KEY)?;
    let optional = optional(report, &fields);
    let name = fields.require(report, "name")?;
    let key = fields.require(report, "key")?;
    let map = known.config_map(report, &name, optional)?;
    let text = key.string(report)?;
    if let Some(value) = map.text.get(&text) {
        return Some(EnvValue::Literal(value.clone()));
    }
    if !optional {
        let there = listed(map.text.keys().map(String::as_str));
        key.refuse(
            report,
            format!("is no key of the ConfigMap, which has {there}"),
        );
    }
    None
}

/// Reads a container's `envFrom`.
pub fn env_from(report: &mut Report, container: &Fields<'_>, known: &Known<'_>) -> Vec<EnvFrom> {
    let mut out = Vec::new();
    for item in container.items(report, "envFrom") {
        let Some(fields) = item.fields(report, &fields::ENV_FROM) else {
            continue;
        };
        let prefix = fields
            .get_text("prefix")
            .and_then(|f| f.checked(report, names::env_name))
            .unwrap_or_default();
        let source = one_source(report, &item, &fields, &["configMapRef", "secretRef"]);
        match source {
            Some(("configMapRef", source)) => {
                from_config_map(report, &source, &prefix, known, &mut out);
            }
            Some((_, source)) => from_secret(report, &source, prefix, known, &mut out),
            None => {}
        }
    }
    out
}

fn from_config_map(
    report: &mut Report,
    field: &Field<'_>,
    prefix: &str,
    known: &Known<'_>,
    out: &mut Vec<EnvFrom>,
) {
    let Some(fields) = field.fields(report, &fields::CONFIG_MAP_ENV) else {
        return;
    };
    let optional = optional(report, &fields);
    let Some(name) = fields.require(report, "name") else {
        return;
    };
    let Some(map) = known.config_map(report, &name, optional) else {
        return;
    };
    out.extend(map.text.iter().map(|(key, value)| {
        EnvFrom::Var(EnvVar {
            name: format!("{prefix}{key}"),
            value: EnvValue::Literal(value.clone()),
        })
    }));
}

/// A Secret whose document is there has known keys, so that `$(NAME)` can name them.
fn from_secret(
    report: &mut Report,
    field: &Field<'_>,
    prefix: String,
    known: &Known<'_>,
    out: &mut Vec<EnvFrom>,
) {
    let Some(fields) = field.fields(report, &fields::SECRET_ENV) else {
        return;
    };
    let optional = optional(report, &fields);
    let name = fields.require(report, "name");
    let Some(name) = name.and_then(|f| f.string(report)) else {
        return;
    };
    let Some(secret) = known.objects.secrets.get(&name) else {
        out.push(EnvFrom::Secret(SecretEnv {
            secret: name,
            prefix,
            optional,
        }));
        return;
    };
    out.extend(secret.keys().map(|key| {
        let from = i2kit_contract::SecretKey {
            name: name.clone(),
            key: key.clone(),
        };
        EnvFrom::Var(EnvVar {
            name: format!("{prefix}{key}"),
            value: EnvValue::Secret { from, optional },
        })
    }));
}
