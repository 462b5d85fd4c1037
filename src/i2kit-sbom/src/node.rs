//! Node's installed packages: `node_modules/NAME/package.json` (npm's package-json(5)).

use serde_json::Value;

use crate::{Ecosystem, Error, Package, Purl, licence};

/// The package that the file is of; `None` when it names none, as an application's own may.
///
/// # Errors
/// [`Error::Format`] when it is no JSON object.
pub fn package(bytes: &[u8], origin: &str) -> Result<Option<Package>, Error> {
    let bad = |reason| Error::format("package.json", reason);
    let value: Value = serde_json::from_slice(bytes).map_err(|_| bad("no JSON"))?;
    let object = value.as_object().ok_or(bad("no object"))?;
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let Some(name) = text("name").filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let version = text("version").unwrap_or_default();
    let (scope, bare) = match name.rsplit_once('/') {
        Some((scope, bare)) => (scope, bare),
        None => ("", name),
    };
    let author = object.get("author").and_then(|author| {
        let name = author
            .as_str()
            .or(author.get("name").and_then(Value::as_str));
        name.filter(|name| !name.is_empty()).map(str::to_owned)
    });
    Ok(Some(Package {
        ecosystem: Ecosystem::Npm,
        purl: Purl::new(
            "npm",
            &scope.to_lowercase(),
            &bare.to_lowercase(),
            version,
            &[],
        ),
        name: name.to_owned(),
        version: version.to_owned(),
        licence: declared(&value),
        source: None,
        supplier: author,
        origin: origin.to_owned(),
    }))
}

/// `license`, or the forms of old: an object with `type`, a list of such as `licenses`.
fn declared(package: &Value) -> Option<String> {
    let one = |value: &Value| {
        let text = value.as_str().or(value.get("type").and_then(Value::as_str));
        text.filter(|text| !text.is_empty()).map(licence::tidy)
    };
    let listed = || {
        let all = package.get("licenses").and_then(Value::as_array)?;
        let all: Vec<String> = all.iter().filter_map(one).collect();
        (!all.is_empty()).then(|| licence::tidy(&all.join(" OR ")))
    };
    package.get("license").and_then(one).or_else(listed)
}
