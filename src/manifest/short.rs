//! The short form of a manifest: `name`, `replicas`, and `containers` as a mapping from names to
//! a container's fields or to an image. It is turned into the long form's nodes, which keep their
//! places, and decoded as such.

use std::rc::Rc;

use super::error::Position;
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
    Node::map(
        at,
        vec![
            Entry::new(at, "apiVersion", Node::text(at, "v1")),
            Entry::new(at, "kind", Node::text(at, "Pod")),
            Entry::new(at, "metadata", Node::map(at, metadata)),
            Entry::new(at, "spec", Node::map(at, spec)),
        ],
    )
}

/// The Pods are told by the label `app`, whose value is the name.
fn deployment(at: Position, metadata: Vec<Entry>, spec: Vec<Entry>, replicas: Entry) -> Rc<Node> {
    let value = |name: &str| {
        let found = metadata.iter().find(|entry| entry.key == name);
        found.map(|entry| Rc::clone(&entry.value))
    };
    let name = value("name").unwrap_or_else(|| Node::text(at, ""));
    let mut labels = match value("labels").as_deref().map(|node| &node.value) {
        Some(Value::Map(entries)) => entries.clone(),
        _ => Vec::new(),
    };
    if !labels.iter().any(|label| label.key == "app") {
        labels.push(Entry::new(at, "app", name));
    }
    let chosen = labels.iter().filter(|label| label.key == "app").cloned();
    let chosen = Node::map(at, chosen.collect());
    let template = Node::map(
        at,
        vec![
            Entry::new(
                at,
                "metadata",
                Node::map(at, vec![Entry::new(at, "labels", Node::map(at, labels))]),
            ),
            Entry::new(at, "spec", Node::map(at, spec)),
        ],
    );
    let selector = Node::map(at, vec![Entry::new(at, "matchLabels", chosen)]);
    Node::map(
        at,
        vec![
            Entry::new(at, "apiVersion", Node::text(at, "apps/v1")),
            Entry::new(at, "kind", Node::text(at, "Deployment")),
            Entry::new(at, "metadata", Node::map(at, metadata)),
            Entry::new(
                at,
                "spec",
                Node::map(
                    at,
                    vec![
                        replicas,
                        Entry::new(at, "selector", selector),
                        Entry::new(at, "template", template),
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
        let name = Entry::new(one.position, "name", Node::text(one.position, &one.key));
        let at = one.value.position;
        match &one.value.value {
            Value::Map(fields) => {
                let fields = [name].into_iter().chain(fields.iter().cloned());
                Node::map(at, fields.collect())
            }
            Value::Scalar { .. } => {
                let image = Entry::new(at, "image", Rc::clone(&one.value));
                Node::map(at, vec![name, image])
            }
            Value::Seq(_) => Rc::clone(&one.value),
        }
    });
    Rc::new(Node::new(node.position, Value::Seq(items.collect())))
}
