//! `ObjectMeta`.

use std::collections::BTreeMap;

use i2kit_contract::{SECRET_ANNOTATION, SecretPlace};

use super::decode::{Field, Fields, Report};
use super::error::quoted;
use super::{fields, names};

/// Most bytes that annotations may have together.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// What of an object's `metadata` counts.
#[derive(Default)]
pub struct Metadata {
    /// `name`; empty when it is missing or wrong.
    pub name: String,
    /// `namespace`.
    pub namespace: Option<String>,
    /// `labels`.
    pub labels: BTreeMap<String, String>,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
}

/// An object's `metadata`, which must have a name.
pub fn required_metadata(report: &mut Report, object: &Fields<'_>) -> Metadata {
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

/// All but the name.
pub fn metadata(report: &mut Report, fields: &Fields<'_>) -> Metadata {
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

/// A mapping of labels.
pub fn labels(report: &mut Report, field: &Field<'_>) -> BTreeMap<String, String> {
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
        if let Some(text) = optional_string(report, &value) {
            // The guest reads it there; what it could not read is found here.
            if key.starts_with(SECRET_ANNOTATION)
                && let Err(error) = text.parse::<SecretPlace>()
            {
                value.refuse(report, format!("is {error}"));
            }
            annotations.insert(key.to_owned(), text);
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
