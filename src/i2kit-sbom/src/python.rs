//! Python's installed packages: `*.dist-info/METADATA` and `*.egg-info/PKG-INFO` (PyPA core
//! metadata; the fields stand before the first blank line).

use crate::deb822::{self, Stanza};
use crate::{Ecosystem, Package, Purl, licence};

const FIELDS: [&str; 7] = [
    "Name",
    "Version",
    "License",
    "License-Expression",
    "Classifier",
    "Author",
    "Maintainer",
];

/// The package that the metadata is of; `None` when it has no name.
#[must_use]
pub fn package(bytes: &[u8], origin: &str) -> Option<Package> {
    let stanza = deb822::stanzas(bytes, &FIELDS).next()?;
    let name = stanza.get("Name").filter(|name| !name.is_empty())?;
    let version = stanza.get("Version").unwrap_or_default();
    let supplier = ["Maintainer", "Author"].iter().find_map(|one| {
        let value = stanza.get(one)?;
        (!value.is_empty() && value != "UNKNOWN").then(|| value.to_owned())
    });
    Some(Package {
        ecosystem: Ecosystem::PyPi,
        purl: Purl::new("pypi", "", &normalised(name), version, &[]),
        name: name.to_owned(),
        version: version.to_owned(),
        licence: declared(&stanza),
        source: None,
        supplier,
        origin: origin.to_owned(),
    })
}

/// As purl-spec has it for `pypi`: lower case, hyphens for underscores.
fn normalised(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

/// `License-Expression`, else `License` unless that is a whole text, else the trove classifiers.
fn declared(stanza: &Stanza) -> Option<String> {
    let is_name = |text: &&str| {
        !text.is_empty() && *text != "UNKNOWN" && text.len() <= 100 && !text.contains('\n')
    };
    let direct = ["License-Expression", "License"]
        .iter()
        .find_map(|field| stanza.get(field).filter(is_name));
    if let Some(direct) = direct {
        return Some(licence::tidy(direct));
    }
    let classifiers: Vec<&str> = stanza
        .all("Classifier")
        .filter_map(|one| one.strip_prefix("License ::")?.rsplit("::").next())
        .map(str::trim)
        .filter(|one| *one != "OSI Approved")
        .collect();
    (!classifiers.is_empty()).then(|| classifiers.join(", "))
}
