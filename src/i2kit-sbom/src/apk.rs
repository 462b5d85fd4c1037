//! Alpine's database, `lib/apk/db/installed` (apk-tools, apk_installed(5); one letter, a colon, the
//! value; a blank line ends a package).

use crate::{Distribution, Ecosystem, Package, Purl, Source, licence};

const FIELDS: [&str; 6] = ["P", "V", "A", "L", "o", "m"];

/// The installed packages.
#[must_use]
pub fn packages(bytes: &[u8], distribution: &Distribution, origin: &str) -> Vec<Package> {
    stanzas(bytes)
        .filter_map(|fields| package(&fields, distribution, origin))
        .collect()
}

/// One package's values, in the order of [`FIELDS`].
type Fields<'a> = [Option<&'a [u8]>; FIELDS.len()];

/// Letters of either case mean different things here, unlike in Debian's files.
fn stanzas(bytes: &[u8]) -> impl Iterator<Item = Fields<'_>> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    std::iter::from_fn(move || {
        let mut fields: Fields<'_> = [None; FIELDS.len()];
        let mut any = false;
        for line in lines.by_ref() {
            if line.is_empty() {
                if any {
                    return Some(fields);
                }
                continue;
            }
            any = true;
            for (name, value) in FIELDS.iter().zip(&mut fields) {
                let found = line.strip_prefix(name.as_bytes());
                if let Some(found) = found.and_then(|rest| rest.strip_prefix(b":")) {
                    *value = Some(found);
                }
            }
        }
        any.then_some(fields)
    })
}

fn package(fields: &Fields<'_>, distribution: &Distribution, origin: &str) -> Option<Package> {
    let text = fields.map(|value| value.map(|one| String::from_utf8_lossy(one).into_owned()));
    let [name, version, architecture, declared, source, maintainer] = text;
    let name = name.filter(|name| !name.is_empty())?;
    let version = version.unwrap_or_default();
    Some(Package {
        ecosystem: Ecosystem::Apk,
        purl: Purl::new(
            "apk",
            distribution.id_or("alpine"),
            &name.to_lowercase(),
            &version,
            &[
                ("arch", &architecture.unwrap_or_default()),
                ("distro", &distribution.qualifier()),
            ],
        ),
        licence: declared
            .map(|text| licence::tidy(&text))
            .filter(|text| !text.is_empty()),
        source: source.map(|name| Source {
            name,
            version: Some(version.clone()),
        }),
        supplier: maintainer,
        origin: origin.to_owned(),
        name,
        version,
    })
}
