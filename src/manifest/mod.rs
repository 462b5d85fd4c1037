//! Kubernetes manifests → one [`Pod`].
//!
//! YAML is read as kubectl reads it ([`scalar`]) into nodes that know their line and column
//! ([`yaml`]), then decoded field by field ([`decode`], [`object`], [`spec`]). Each field is
//! honoured, accepted with a note, or refused with its place ([`fields`]).

mod data;
mod decode;
mod emit;
mod error;
mod expand;
mod explain;
mod fields;
mod from_image;
mod life;
mod metadata;
mod names;
mod object;
mod pod;
mod probe;
pub mod profile;
mod quantity;
mod redact;
mod scalar;
mod secrets;
mod selector;
mod service;
mod short;
mod signals;
mod spec;
mod workload;
mod yaml;

pub use error::{Error, Errors, Note, Position};
pub use expand::expand;
pub use explain::{Row, explain};
pub use from_image::from_image;
pub use pod::{
    Container, EnvFrom, EnvValue, EnvVar, FileContent, Pod, PodField, PodSecurity, ResourceField,
    ResourceList, ResourceName, Resources, SeccompType, SecurityContext, SubPath, Volume,
    VolumeFile, VolumeMount, VolumeSource,
};
pub use quantity::{Error as QuantityError, Quantity};
pub use redact::without_secret_values;
pub use secrets::Secrets;
pub use short::HELP as SHORT_HELP;
pub use signals::parse_signal;
pub use yaml::MAX_BYTES;

use std::rc::Rc;

use data::Objects;
use decode::{Field, Report};
use object::Found;
use yaml::Node;

/// One file of manifests.
#[derive(Clone, Debug)]
pub struct Input {
    /// What messages call it: the path as given, or `<stdin>`.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Reads the inputs and picks the one Pod in them, or the one that `name` names. With `name`,
/// problems within the other Pods do not count.
///
/// # Errors
/// All problems found, in the order of the inputs.
pub fn load(inputs: &[Input], name: Option<&str>) -> Result<(Pod, Vec<Note>), Errors> {
    let mut errors = Vec::new();
    let mut notes = Vec::new();
    let documents: Vec<(&Input, Vec<Rc<Node>>)> = inputs
        .iter()
        .map(|input| (input, parse(input, &mut errors)))
        .collect();
    // First what Pods take from: it may stand behind them.
    let mut objects = Objects::default();
    for (input, documents) in &documents {
        let mut report = Report::new(&input.name);
        for document in documents {
            objects.read(&mut report, &whole(document));
        }
        errors.append(&mut report.errors);
        notes.append(&mut report.notes);
    }
    let mut found = Vec::new();
    for (input, documents) in &documents {
        let mut report = Report::new(&input.name);
        for document in documents {
            found.append(&mut object::object(&mut report, &whole(document), &objects));
        }
        errors.append(&mut report.errors);
        notes.append(&mut report.notes);
    }
    if let Some(name) = name.filter(|_| errors.is_empty()) {
        pick_named(&mut found, name)?;
    }
    for one in &mut found {
        errors.append(&mut one.report.errors);
        notes.append(&mut one.report.notes);
    }
    if !errors.is_empty() {
        let order = |e: &Error| (inputs.iter().position(|i| i.name == e.file), e.position);
        errors.sort_by_key(order);
        return Err(Errors::first_of(errors));
    }
    match found.as_mut_slice() {
        [one] => one
            .pod
            .take()
            .map(|pod| (pod, notes))
            .ok_or_else(|| none(inputs)),
        [] => Err(none(inputs)),
        several => Err(too_many(several)),
    }
}

/// Whether one of the inputs holds a Secret's values, which no record may repeat. True for what is no
/// YAML: nobody knows.
#[must_use]
pub fn holds_secret(inputs: &[Input]) -> bool {
    without_secret_values(inputs).map_or(true, |kept| {
        let mut both = kept.iter().zip(inputs);
        both.any(|(kept, input)| *kept != input.bytes)
    })
}

/// The documents of the inputs as YAML text, short ones in their long form. Comments are lost.
///
/// # Errors
/// An input is no YAML.
pub fn long_form(inputs: &[Input]) -> Result<String, Errors> {
    let mut errors = Vec::new();
    let documents = inputs.iter().flat_map(|input| parse(input, &mut errors));
    let texts: Vec<String> = documents.map(|document| emit::emit(&document)).collect();
    match errors.is_empty() {
        true => Ok(texts.join("---\n")),
        false => Err(Errors::first_of(errors)),
    }
}

/// The documents that are not empty, in their long form.
fn parse(input: &Input, errors: &mut Vec<Error>) -> Vec<Rc<Node>> {
    match yaml::parse(&input.name, &input.bytes) {
        Ok(documents) => documents
            .into_iter()
            .filter(|document| !document.is_null())
            .map(|document| short::long(&document).unwrap_or(document))
            .collect(),
        Err(e) => {
            errors.push(e);
            Vec::new()
        }
    }
}

fn whole(document: &Node) -> Field<'_> {
    Field {
        path: String::new(),
        node: document,
    }
}

fn pick_named(found: &mut Vec<Found>, name: &str) -> Result<(), Errors> {
    let names = list(found);
    found.retain(|one| one.name == name);
    if !found.is_empty() {
        return Ok(());
    }
    let hint = (!names.is_empty()).then(|| format!("there is {names}"));
    let message = format!("no Pod or Deployment is named {name:?}");
    Err(Error::new(message, hint).into())
}

fn none(inputs: &[Input]) -> Errors {
    let names: Vec<_> = inputs.iter().map(|i| i.name.as_str()).collect();
    let message = format!("{}: no Pod or Deployment in it", names.join(", "));
    Error::new(message, None).into()
}

fn too_many(found: &[Found]) -> Errors {
    let first = found.first().map(|f| f.name.as_str()).unwrap_or_default();
    let message = format!("{} Pods, but a VM holds one: {}", found.len(), list(found));
    let hint = if found.iter().all(|f| f.name == first) {
        "remove all but one"
    } else {
        "pick one with --name"
    };
    Error::new(message, Some(hint.to_owned())).into()
}

/// Most Pods that a message lists.
const MAX_LISTED: usize = 10;

fn list(found: &[Found]) -> String {
    let one = |f: &Found| format!("{} ({}:{})", f.name, f.report.file, f.position.line);
    let mut names: Vec<_> = found.iter().take(MAX_LISTED).map(one).collect();
    if let Some(more) = found.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_seen_alone_among_others_and_in_a_list() {
        let input = |text: &str| Input {
            name: "f".to_owned(),
            bytes: text.as_bytes().to_vec(),
        };
        let pod = "kind: Pod\nmetadata: {name: Secret}\n";
        let secret = "apiVersion: v1\nkind: \"Secret\"\ndata: {a: b}\n";
        assert!(!holds_secret(&[input(pod)]));
        assert!(holds_secret(&[input(pod), input(secret)]));
        assert!(holds_secret(&[input(&format!("{pod}---\n{secret}"))]));
        let list = "kind: List\nitems:\n- kind: Pod\n- {kind: List, items: [{kind: Secret}]}\n";
        assert!(holds_secret(&[input(list)]));
        assert!(holds_secret(&[input("a: [")]));
    }
}
