//! dpkg's database: `var/lib/dpkg/status`, and the files of `var/lib/dpkg/status.d/` that images
//! without dpkg have (deb-control(5), dpkg-query(1)).

use crate::deb822::{self, Stanza};
use crate::{Distribution, Ecosystem, Package, Purl, Source};

const FIELDS: [&str; 6] = [
    "Package",
    "Status",
    "Version",
    "Architecture",
    "Source",
    "Maintainer",
];

/// The installed packages. One that is removed, of which only configuration is left, is not
/// among them; one that is half installed is.
#[must_use]
pub fn packages(bytes: &[u8], distribution: &Distribution, origin: &str) -> Vec<Package> {
    deb822::stanzas(bytes, &FIELDS)
        .filter_map(|stanza| package(&stanza, distribution, origin))
        .collect()
}

fn package(stanza: &Stanza, distribution: &Distribution, origin: &str) -> Option<Package> {
    let name = stanza.get("Package").filter(|name| !name.is_empty())?;
    // Without a status it stands in status.d, where everything is installed.
    let state = stanza.get("Status").and_then(|one| one.split(' ').nth(2));
    if matches!(state, Some("not-installed" | "config-files")) {
        return None;
    }
    let version = stanza.get("Version").unwrap_or_default();
    let architecture = stanza.get("Architecture").unwrap_or_default();
    Some(Package {
        purl: purl(name, version, architecture, distribution),
        ecosystem: Ecosystem::Deb,
        name: name.to_owned(),
        version: version.to_owned(),
        licence: None,
        source: Some(source(stanza.get("Source"), name, version)),
        supplier: stanza.get("Maintainer").map(str::to_owned),
        origin: origin.to_owned(),
    })
}

/// The package URL of a Debian package.
#[must_use]
pub fn purl(name: &str, version: &str, architecture: &str, distribution: &Distribution) -> Purl {
    Purl::new(
        "deb",
        distribution.id_or("debian"),
        &name.to_lowercase(),
        version,
        &[
            ("arch", architecture),
            ("distro", &distribution.qualifier()),
        ],
    )
}

/// `Source: NAME`, `Source: NAME (VERSION)`, or no such field when both are the binary package's.
#[must_use]
pub fn source(field: Option<&str>, name: &str, version: &str) -> Source {
    let field = field.unwrap_or(name);
    let (source, other) = match field.split_once('(') {
        Some((source, rest)) => (source, Some(rest.trim_end_matches([')', ' ']).trim())),
        None => (field, None),
    };
    Source {
        name: source.trim().to_owned(),
        version: Some(other.unwrap_or(version).to_owned()),
    }
}
