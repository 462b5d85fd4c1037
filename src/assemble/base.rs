//! What the base image says of itself: `boot/record.json`, as far as papers need it.

use std::path::Path;
use std::sync::Arc;

use i2kit_contract::SYSTEM;
use i2kit_format::erofs::InodeId;
use i2kit_sbom::{Distribution, Ecosystem, Package, Source, dpkg};
use serde::Deserialize;
use serde_json::Value;

use super::merged::Merged;
use super::{Error, boot, papers};
use crate::layer::ConvertedLayer;

/// Where the base says what it was made of.
const RECORD: &str = "boot/record.json";

/// What a base image says of itself.
#[derive(Debug)]
pub struct Contents {
    /// Its record.
    pub record: BaseRecord,
    /// Its packages with their licences.
    pub packages: Vec<Package>,
}

/// Reads a base image that lies in the cache.
///
/// # Errors
/// [`Error`] when it is no base image.
pub fn read(layers: &[Arc<ConvertedLayer>]) -> Result<Contents, Error> {
    let mut merged = Merged::new();
    let root = merged.apply(layers).map_err(Error::Base)?;
    let base = boot::Base {
        layers,
        merged: &merged,
        root,
    };
    let record = BaseRecord::of(&base.record()?);
    let system = merged.lookup(root, Path::new(SYSTEM));
    let system = system.ok_or_else(|| boot::Error::Missing {
        path: SYSTEM.to_owned(),
    })?;
    Ok(Contents {
        packages: record.packages(&merged, system),
        record,
    })
}

/// The base's record. What older ones lack is optional.
#[derive(Debug, Default)]
pub struct BaseRecord {
    /// The distribution that its packages come from.
    pub distribution: Distribution,
    /// The release's name in the mirror: `bookworm`.
    pub codename: Option<String>,
    /// Its packages, in the record's order.
    pub packages: Vec<RecordedPackage>,
}

/// A Debian package in the base.
#[derive(Clone, Debug, Deserialize)]
pub struct RecordedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// The source package.
    pub source: Option<String>,
    /// The source package's version.
    pub source_version: Option<String>,
}

impl BaseRecord {
    /// Reads the record; what is no package in it is left out.
    #[must_use]
    pub fn of(record: &Value) -> Self {
        let text = |path: &str| record.pointer(path).and_then(Value::as_str);
        let packages = record.get("packages").and_then(Value::as_array);
        Self {
            distribution: Distribution {
                id: text("/distribution/id").unwrap_or("debian").to_owned(),
                version: text("/distribution/version").unwrap_or_default().to_owned(),
                name: None,
            },
            codename: text("/distribution/codename").map(str::to_owned),
            packages: packages
                .into_iter()
                .flatten()
                .filter_map(|one| RecordedPackage::deserialize(one).ok())
                .collect(),
        }
    }
    /// Its packages, with the licences that `system` (the base's `system/` in `merged`) keeps.
    pub(super) fn packages(&self, merged: &Merged, system: InodeId) -> Vec<Package> {
        let packages = self.packages.iter().cloned();
        let with_licence = packages.map(|one| Package {
            ecosystem: Ecosystem::Deb,
            purl: dpkg::purl(
                &one.name,
                &one.version,
                &one.architecture,
                &self.distribution,
            ),
            licence: papers::debian_licence(merged, system, &one.name),
            source: one.source.map(|name| Source {
                name,
                version: one.source_version,
            }),
            supplier: None,
            origin: RECORD.to_owned(),
            name: one.name,
            version: one.version,
        });
        with_licence.collect()
    }
}
