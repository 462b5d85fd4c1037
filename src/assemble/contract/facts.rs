//! The downward API: what a Pod's fields and resources are, or where the guest finds them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use i2kit_contract::{Capacity, Reference, Text};

use crate::manifest::{Pod, PodField, ResourceField, ResourceName, Resources};

/// A Pod that is asked for its fields.
pub(super) struct Facts<'a>(pub &'a Pod);

impl Facts<'_> {
    /// A `fieldRef`'s value.
    pub(super) fn field(&self, field: &PodField) -> Text {
        let Self(pod) = self;
        let value = |map: &BTreeMap<String, String>, key| -> Text {
            map.get(key).cloned().unwrap_or_default().into()
        };
        match field {
            PodField::Name => pod.name.as_str().into(),
            PodField::Namespace => pod.namespace.as_str().into(),
            PodField::Labels => lines(&pod.labels).into(),
            PodField::Annotations => lines(&pod.annotations).into(),
            PodField::Label(key) => value(&pod.labels, key),
            PodField::Annotation(key) => value(&pod.annotations, key),
            PodField::ServiceAccountName => pod.service_account.as_str().into(),
            PodField::Uid => Reference::PodUid.into(),
            PodField::NodeName => Reference::NodeName.into(),
            PodField::Ip => Reference::PodIp.into(),
            PodField::Ips => Reference::PodIps.into(),
        }
    }

    /// A `resourceFieldRef`'s value, of the container that it names or else of `own`. Without a
    /// limit it is what the VM has, without a request 0 (`ExtractContainerResourceValue`).
    pub(super) fn resource(&self, field: &ResourceField, own: &str) -> Text {
        let name = field.container.as_deref().unwrap_or(own);
        let container = self.0.all_containers().find(|one| one.name == name);
        let amount = container.and_then(|one| amount(&one.resources, field));
        // Without a limit of its own, a container has the Pod's.
        let amount = amount.or_else(|| amount_of_pod(&self.0.resources, field));
        let divisor = field.divisor.max(1);
        match amount {
            Some(amount) => amount.div_ceil(divisor).to_string().into(),
            None if field.is_limit => Reference::Capacity {
                resource: match field.resource {
                    ResourceName::Cpu => Capacity::Cpu,
                    ResourceName::Memory => Capacity::Memory,
                    ResourceName::EphemeralStorage => Capacity::EphemeralStorage,
                    // None are there but those that containers have limits for.
                    ResourceName::HugePages(_) => return "0".into(),
                },
                divisor,
            }
            .into(),
            None => "0".into(),
        }
    }
}

fn amount_of_pod(resources: &Resources, field: &ResourceField) -> Option<u64> {
    field.is_limit.then(|| amount(resources, field)).flatten()
}

/// In thousandths of a CPU or in bytes.
fn amount(resources: &Resources, field: &ResourceField) -> Option<u64> {
    let list = match field.is_limit {
        true => &resources.limits,
        false => &resources.requests,
    };
    match field.resource {
        ResourceName::Cpu => list.cpu.map(|q| q.milli_value()),
        ResourceName::Memory => list.memory.map(|q| q.value()),
        ResourceName::EphemeralStorage => list.ephemeral_storage.map(|q| q.value()),
        ResourceName::HugePages(page) => list.huge_pages.get(&page).copied(),
    }
    .filter(|amount| *amount > 0)
}

/// `KEY="value"`, a line each, sorted, without a last line end (`fieldpath.FormatMap`).
fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<_> = map
        .iter()
        .map(|(k, v)| format!("{k}={}", quote(v)))
        .collect();
    lines.join("\n")
}

/// Go's `strconv.Quote`, as far as what the YAML reader lets through needs it.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            // Writing to a String cannot fail.
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_lines_as_go_quotes_them() {
        let map = [("b", "a\"b\\c\n\u{1}"), ("a", "é'")];
        let map = map.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(lines(&map), "a=\"é'\"\nb=\"a\\\"b\\\\c\\n\\x01\"");
        assert_eq!(lines(&BTreeMap::new()), "");
    }
}
