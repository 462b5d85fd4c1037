//! What a Pod's fields may refer to.

use std::collections::BTreeSet;

use i2kit_contract::SecretKey;

use super::super::data::{ConfigMap, Objects};
use super::super::decode::{Field, Fields, Report};

/// Most names that a message lists.
const MAX_LISTED: usize = 10;

/// Volumes, and documents besides the Pod's.
pub struct Known<'a> {
    /// Names of the Pod's volumes.
    pub volumes: BTreeSet<&'a str>,
    /// Those of them that are claims.
    pub claims: BTreeSet<&'a str>,
    /// ConfigMaps, Secrets and claims.
    pub objects: &'a Objects,
}

impl<'a> Known<'a> {
    /// The ConfigMap that the field names; `None` when there is none, which is refused unless it
    /// is optional.
    pub fn config_map(
        &self,
        report: &mut Report,
        name: &Field<'_>,
        optional: bool,
    ) -> Option<&'a ConfigMap> {
        let text = name.string(report)?;
        let maps = &self.objects.config_maps;
        let found = maps.get(&text);
        if found.is_none() && !optional {
            let there = listed(maps.keys().map(String::as_str));
            name.refuse(
                report,
                format!("is no ConfigMap in the manifests, which have {there}"),
            );
        }
        found
    }
}

/// `optional`, false when not set.
pub fn optional(report: &mut Report, fields: &Fields<'_>) -> bool {
    let field = fields.get("optional");
    field.and_then(|f| f.boolean(report)).unwrap_or_default()
}

/// The key of a Secret that `name` and `key` say; its document must have it unless it is optional.
pub fn secret_key(
    report: &mut Report,
    fields: &Fields<'_>,
    known: &Known<'_>,
    optional: bool,
) -> Option<SecretKey> {
    let name = fields
        .require(report, "name")
        .and_then(|f| f.string(report));
    let field = fields.require(report, "key");
    let (name, field) = (name?, field?);
    let key = field.string(report)?;
    if !optional {
        missing_key(report, &field, &name, &key, known);
    }
    Some(SecretKey { name, key })
}

/// Refuses a key that the Secret's document lacks; whoever delivers the value at run time will
/// have looked there.
pub fn missing_key(
    report: &mut Report,
    field: &Field<'_>,
    name: &str,
    key: &str,
    known: &Known<'_>,
) {
    let Some(secret) = known.objects.secrets.get(name) else {
        return;
    };
    if !secret.contains_key(key) {
        let there = listed(secret.keys().map(String::as_str));
        field.refuse(
            report,
            format!("is no key of Secret {name}, which has {there}"),
        );
    }
}

/// Names for a message.
pub fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut names: Vec<_> = names.take(MAX_LISTED + 1).collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    if let Some(last) = names.get_mut(MAX_LISTED) {
        *last = "more";
    }
    names.join(", ")
}
