//! The crates that cargo-auditable writes into a program: zlib-compressed JSON in the section
//! `.dep-v0` (cargo-auditable, PARSING.md).

use std::io::Read;

use serde::Deserialize;

use crate::{Binary, Ecosystem, Error, Package, Purl};

const SECTION: &[u8] = b".dep-v0";
/// Lists of a thousand crates take some 100 KB.
const MAX_JSON: u64 = 16 << 20;

#[derive(Deserialize)]
struct List {
    packages: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    /// `build` for what only ran at build time.
    #[serde(default)]
    kind: String,
}

/// The crates that are linked in; empty when nothing says.
///
/// # Errors
/// [`Error`] when the list makes no sense.
pub fn packages(binary: &Binary<'_>, origin: &str) -> Result<Vec<Package>, Error> {
    let Some(section) = binary.section(SECTION)? else {
        return Ok(Vec::new());
    };
    parse(&section, origin)
}

/// The crates in the bytes of such a section.
///
/// # Errors
/// [`Error`] when they are not compressed with zlib, too many, or no list.
pub fn parse(section: &[u8], origin: &str) -> Result<Vec<Package>, Error> {
    let bad = |reason| Error::format("list of crates", reason);
    let mut json = Vec::new();
    let mut reader = flate2::read::ZlibDecoder::new(section).take(MAX_JSON);
    let got = reader.read_to_end(&mut json);
    got.map_err(|_| bad("not compressed with zlib"))?;
    let list: List = serde_json::from_slice(&json).map_err(|_| bad("no list in JSON"))?;
    let linked = list.packages.into_iter().filter(|one| one.kind != "build");
    Ok(linked.map(|one| package(one, origin)).collect())
}

fn package(one: Crate, origin: &str) -> Package {
    Package {
        ecosystem: Ecosystem::Cargo,
        purl: Purl::new("cargo", "", &one.name, &one.version, &[]),
        name: one.name,
        version: one.version,
        licence: None,
        source: None,
        supplier: None,
        origin: origin.to_owned(),
    }
}
