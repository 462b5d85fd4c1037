//! The short form of a manifest: `name`, `replicas`, and `containers` as a mapping from names to
//! a container's fields or to an image. It is turned into the long form's nodes, which keep their
//! places, and decoded as such.

use std::rc::Rc;

use super::error::Position;
use super::scalar::Scalar;
use super::yaml::{Entry, Node, Value};

/// What `i2kit explain --short` prints.
pub const HELP: &str = "\
A short manifest has no kind. It says the same in fewer lines:

    name: web                 # metadata.name
    replicas: 2               # optional; makes it a Deployment
    labels: {tier: front}     # optional; metadata.labels, and annotations likewise
    containers:
      nginx: nginx:1.27       # a name and an image
      app:                    # or a name and any fields of a container
        image: example/app:1
        env: [{name: PORT, value: \"8080\"}]
    volumes: []               # and any other field of a Pod's spec

i2kit convert-manifest -f web.yaml prints the long form.
";

/// The long form of a document; `None` when it is no short one.
pub fn long(document: &Rc<Node>) -> Option<Rc<Node>> {
    let Value::Map(entries) = &document.value else {
        return None;
    };
    let has = |name: &str| entries.iter().any(|entry| entry.key == name);
    if has("kind") || has("apiVersion") || has("spec") || !has("containers") {
        return None;
    }
    let at = document.position;
    let mut metadata = Vec::new();
    let mut spec = Vec::new();
    let mut replicas = None;
    for entry in entries {
        match entry.key.as_str() {
            "name" | "namespace" | "labels" | "annotations" => metadata.push(entry.clone()),
            "replicas" => replicas = Some(entry.clone()),
            "containers" | "initContainers" => spec.push(Entry {
                value: containers(&entry.value),
                ..entry.clone()
            }),
            _ => spec.push(entry.clone()),
        }
    }
    Some(match replicas {
        None => pod(at, metadata, spec),
        Some(replicas) => deployment(at, metadata, spec, replicas),
    })
}

fn pod(at: Position, metadata: Vec<Entry>, spec: Vec<Entry>) -> Rc<Node> {
    map(
        at,
        vec![
            entry(at, "apiVersion", text(at, "v1")),
            entry(at, "kind", text(at, "Pod")),
            entry(at, "metadata", map(at, metadata)),
            entry(at, "spec", map(at, spec)),
        ],
    )
}

/// The Pods are told by the label `app`, whose value is the name.
fn deployment(at: Position, metadata: Vec<Entry>, spec: Vec<Entry>, replicas: Entry) -> Rc<Node> {
    let value = |name: &str| {
        let found = metadata.iter().find(|entry| entry.key == name);
        found.map(|entry| Rc::clone(&entry.value))
    };
    let name = value("name").unwrap_or_else(|| text(at, ""));
    let mut labels = match value("labels").as_deref().map(|node| &node.value) {
        Some(Value::Map(entries)) => entries.clone(),
        _ => Vec::new(),
    };
    if !labels.iter().any(|label| label.key == "app") {
        labels.push(entry(at, "app", name));
    }
    let chosen = labels.iter().filter(|label| label.key == "app").cloned();
    let chosen = map(at, chosen.collect());
    let template = map(
        at,
        vec![
            entry(
                at,
                "metadata",
                map(at, vec![entry(at, "labels", map(at, labels))]),
            ),
            entry(at, "spec", map(at, spec)),
        ],
    );
    let selector = map(at, vec![entry(at, "matchLabels", chosen)]);
    map(
        at,
        vec![
            entry(at, "apiVersion", text(at, "apps/v1")),
            entry(at, "kind", text(at, "Deployment")),
            entry(at, "metadata", map(at, metadata)),
            entry(
                at,
                "spec",
                map(
                    at,
                    vec![
                        replicas,
                        entry(at, "selector", selector),
                        entry(at, "template", template),
                    ],
                ),
            ),
        ],
    )
}

/// A mapping becomes a list; a list stays, and so does anything that the decoder will refuse.
fn containers(node: &Rc<Node>) -> Rc<Node> {
    let Value::Map(entries) = &node.value else {
        return Rc::clone(node);
    };
    let items = entries.iter().map(|one| {
        let name = entry(one.position, "name", text(one.position, &one.key));
        let at = one.value.position;
        match &one.value.value {
            Value::Map(fields) => {
                let fields = [name].into_iter().chain(fields.iter().cloned());
                map(at, fields.collect())
            }
            Value::Scalar { .. } => {
                let image = entry(at, "image", Rc::clone(&one.value));
                map(at, vec![name, image])
            }
            Value::Seq(_) => Rc::clone(&one.value),
        }
    });
    Rc::new(Node::new(node.position, Value::Seq(items.collect())))
}

fn map(at: Position, entries: Vec<Entry>) -> Rc<Node> {
    Rc::new(Node::new(at, Value::Map(entries)))
}

fn text(at: Position, text: &str) -> Rc<Node> {
    let scalar = Scalar::Str(text.to_owned());
    let text = text.to_owned();
    Rc::new(Node::new(at, Value::Scalar { scalar, text }))
}

fn entry(position: Position, key: &str, value: Rc<Node>) -> Entry {
    Entry {
        key: key.to_owned(),
        position,
        value,
    }
}
