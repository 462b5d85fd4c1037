//! Manifests without the values of their Secrets, for whoever keeps manifests or names them by a
//! digest.

use std::rc::Rc;

use super::Input;
use super::emit;
use super::error::{Errors, Position};
use super::scalar::Scalar;
use super::yaml::{self, Entry, Node, Value};

/// The annotation of a Secret whose values were left out, and what it says then.
pub const MARK: (&str, &str) = ("i2kit.io/values", "omitted");

/// Fields of a Secret that hold no value. Annotations are none of them: `kubectl apply` keeps the
/// whole object in one.
const KEPT: [&str; 4] = ["apiVersion", "kind", "type", "immutable"];
/// Likewise of its metadata.
const KEPT_METADATA: [&str; 3] = ["name", "namespace", "labels"];

/// The inputs' bytes; one with Secrets is written anew without their values, each marked as such.
/// Their keys stay, since what a Pod is made of depends on them. What is without values already
/// stays as it is.
///
/// # Errors
/// An input is no YAML.
pub fn without_secret_values(inputs: &[Input]) -> Result<Vec<Vec<u8>>, Errors> {
    let one = |input: &Input| {
        let documents = yaml::parse(&input.name, &input.bytes).map_err(Errors::from)?;
        let redacted: Vec<_> = documents.iter().map(object).collect();
        if redacted.iter().all(Option::is_none) {
            return Ok(input.bytes.clone());
        }
        let texts = redacted.iter().zip(&documents).map(|(new, old)| {
            let node: &Node = new.as_ref().unwrap_or(old);
            emit::emit(node)
        });
        Ok(texts.collect::<Vec<_>>().join("---\n").into_bytes())
    };
    inputs.iter().map(one).collect()
}

/// The object without values; `None` when it has none.
fn object(node: &Rc<Node>) -> Option<Rc<Node>> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    match text_of(entries, "kind")? {
        "Secret" => secret(node.position, entries),
        "List" => list(node.position, entries),
        _ => None,
    }
}

fn text_of<'a>(entries: &'a [Entry], key: &str) -> Option<&'a str> {
    let entry = entries.iter().find(|entry| entry.key == key)?;
    match &entry.value.value {
        Value::Scalar {
            scalar: Scalar::Str(text),
            ..
        } => Some(text),
        _ => None,
    }
}

fn list(at: Position, entries: &[Entry]) -> Option<Rc<Node>> {
    let items = entries.iter().find(|entry| entry.key == "items")?;
    let Value::Seq(objects) = &items.value.value else {
        return None;
    };
    let redacted: Vec<_> = objects.iter().map(object).collect();
    redacted.iter().any(Option::is_some).then(|| {
        let all = redacted.into_iter().zip(objects);
        let all = all.map(|(new, old)| new.unwrap_or_else(|| Rc::clone(old)));
        let seq = Rc::new(Node::new(items.value.position, Value::Seq(all.collect())));
        let entries = entries.iter().map(|entry| match entry.key.as_str() {
            "items" => with_value(entry, Rc::clone(&seq)),
            _ => entry.clone(),
        });
        Node::map(at, entries.collect())
    })
}

fn secret(at: Position, entries: &[Entry]) -> Option<Rc<Node>> {
    if is_redacted(entries) {
        return None;
    }
    let entries = entries.iter().filter_map(|entry| match entry.key.as_str() {
        "data" | "stringData" => Some(with_value(entry, keys(&entry.value))),
        "metadata" => Some(with_value(entry, metadata(&entry.value))),
        key => KEPT.contains(&key).then(|| entry.clone()),
    });
    Some(Node::map(at, entries.collect()))
}

/// Without values, and with the mark that says so.
fn is_redacted(entries: &[Entry]) -> bool {
    let node = |name: &str| {
        let entry = entries.iter().find(|entry| entry.key == name);
        entry.map(|entry| &entry.value)
    };
    let values = ["data", "stringData"].into_iter().filter_map(node);
    let is_null = |entry: &Entry| {
        matches!(
            entry.value.value,
            Value::Scalar {
                scalar: Scalar::Null,
                ..
            }
        )
    };
    let mut maps = values.map(|node| match &node.value {
        Value::Map(values) => values.iter().all(is_null),
        _ => false,
    });
    let marked = node("metadata").is_some_and(|metadata| is_marked(&metadata.value));
    marked && maps.all(|is_empty| is_empty)
}

fn is_marked(metadata: &Value) -> bool {
    let Value::Map(metadata) = metadata else {
        return false;
    };
    let found = metadata.iter().find(|entry| entry.key == "annotations");
    match found.map(|entry| &entry.value.value) {
        Some(Value::Map(annotations)) => {
            annotations.len() == 1 && text_of(annotations, MARK.0) == Some(MARK.1)
        }
        _ => false,
    }
}

/// The keys, each with null.
fn keys(values: &Rc<Node>) -> Rc<Node> {
    let at = values.position;
    let Value::Map(entries) = &values.value else {
        return Node::map(at, Vec::new());
    };
    let null = |at| {
        let scalar = Scalar::Null;
        let text = "null".to_owned();
        Rc::new(Node::new(at, Value::Scalar { scalar, text }))
    };
    let entries = entries
        .iter()
        .map(|entry| with_value(entry, null(entry.value.position)));
    Node::map(at, entries.collect())
}

fn metadata(node: &Rc<Node>) -> Rc<Node> {
    let at = node.position;
    let Value::Map(entries) = &node.value else {
        return Node::map(at, Vec::new());
    };
    let kept = entries
        .iter()
        .filter(|entry| KEPT_METADATA.contains(&entry.key.as_str()));
    let (key, value) = MARK;
    let mark = Entry::new(at, key, Node::text(at, value));
    let marked = Entry::new(at, "annotations", Node::map(at, vec![mark]));
    Node::map(at, kept.cloned().chain([marked]).collect())
}

fn with_value(entry: &Entry, value: Rc<Node>) -> Entry {
    Entry {
        value,
        ..entry.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str) -> String {
        let input = Input {
            name: "m.yaml".to_owned(),
            bytes: text.into(),
        };
        let bytes = without_secret_values(&[input]).unwrap().remove(0);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_value_is_left_and_every_key_is() {
        let secret = "kind: Secret\napiVersion: v1\nmetadata:\n  name: db\n  labels: {a: b}\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: hunter2\ndata: {key: aHVudGVyMg==}\nstringData: {password: hunter2}\nother: hunter2\n";
        let expected = "kind: Secret\napiVersion: v1\nmetadata:\n  name: db\n  labels:\n    a: b\n  annotations:\n    i2kit.io/values: omitted\ndata:\n  key: null\nstringData:\n  password: null\n";
        assert_eq!(redacted(secret), expected);
        // It is what it stays.
        assert_eq!(redacted(expected), expected);
        let pod = "# said\nkind: Pod\n";
        assert_eq!(redacted(pod), pod);
        let both = redacted(&format!("{pod}---\n{secret}"));
        assert_eq!(both, format!("kind: Pod\n---\n{expected}"));
        assert_eq!(redacted(&both), both);
        let list = "kind: List\nitems: [{kind: Pod}, {kind: Secret, data: {k: aHVudGVyMg==}, metadata: {name: a}}]\n";
        let told = redacted(list);
        assert!(told.contains("k: null") && !told.contains("aHVu"), "{told}");
        assert_eq!(redacted(&told), told);
    }

    /// A mark alone hides nothing.
    #[test]
    fn a_marked_secret_with_values_loses_them() {
        let text = "kind: Secret\nmetadata:\n  name: db\n  annotations: {i2kit.io/values: omitted}\nstringData: {password: hunter2}\n";
        assert!(!redacted(text).contains("hunter2"));
    }
}
