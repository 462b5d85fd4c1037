//! Tests: what a manifest means, or the exact words that it is refused with.

mod bounds;
mod build;
mod contract;
mod documents;
mod examples;
mod explain;
mod fields;
mod life;
mod random;
mod short;
mod sources;
mod spec;
mod yaml;

use i2kit::manifest::{Container, EnvValue, EnvVar, Errors, Input, Note, Pod, load};

type Loaded = Result<(Pod, Vec<Note>), Errors>;

fn input(name: &str, text: impl AsRef<[u8]>) -> Input {
    Input {
        name: name.to_owned(),
        bytes: text.as_ref().to_vec(),
    }
}

fn read(text: impl AsRef<[u8]>) -> Loaded {
    load(&[input("m.yaml", text)], None)
}

/// A line for each problem or note, with the problem's hint after a bar; the Pod's name when it is
/// taken without any.
fn told(loaded: &Loaded) -> String {
    let lines: Vec<String> = match loaded {
        Ok((pod, notes)) if notes.is_empty() => vec![format!("ok {}", pod.name)],
        Ok((_, notes)) => notes.iter().map(|note| format!("note {note}")).collect(),
        Err(errors) => {
            let line = |e: &i2kit::manifest::Error| match &e.hint {
                Some(hint) => format!("{e} | {hint}"),
                None => e.to_string(),
            };
            errors.0.iter().map(line).collect()
        }
    };
    lines.join("\n")
}

/// Compares each text's outcome with the one expected, and shows all that differ.
fn check(rows: &[(&str, &str)], manifest: impl Fn(&str) -> String) {
    let mut wrong = String::new();
    for (text, expected) in rows {
        let got = told(&read(manifest(text)));
        if got != *expected {
            wrong += &format!("{text}\n  expected {expected}\n  got      {got}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn whole(text: &str) -> String {
    text.to_owned()
}

/// A Pod whose container has the fields, which begin at 8:5.
fn in_container(fields: &str) -> String {
    let fields = fields.replace('\n', "\n    ");
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n  - name: c\n    image: i\n    {fields}\n  volumes: [{{name: v}}, {{name: w, emptyDir: {{}}}}]\n"
    )
}

/// A Pod whose spec has the fields, which begin at 6:3.
fn in_spec(fields: &str) -> String {
    let fields = fields.replace('\n', "\n  ");
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers: [{{name: c, image: i}}]\n  {fields}\n"
    )
}

/// A Pod whose metadata has the fields, which begin at 4:3.
fn in_metadata(fields: &str) -> String {
    let fields = fields.replace('\n', "\n  ");
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  {fields}\nspec:\n  containers: [{{name: c, image: i}}]\n"
    )
}

fn pod(text: &str) -> Pod {
    match read(text) {
        Ok((pod, _)) => pod,
        Err(e) => panic!("{text}\n{e}"),
    }
}

/// A variable's `value`.
fn template(var: &EnvVar) -> &str {
    match &var.value {
        EnvValue::Template(text) => text,
        other => panic!("{other:?}"),
    }
}

fn container(fields: &str) -> Container {
    pod(&in_container(fields)).containers.remove(0)
}
