//! What the base image says of itself: `boot/record.json`, as far as papers need it.

use i2kit_sbom::Distribution;
use serde::Deserialize;
use serde_json::Value;

/// The base's record. What older ones lack is optional.
#[derive(Debug, Default)]
pub struct BaseRecord {
    /// The distribution that its packages come from.
    pub distribution: Distribution,
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
            packages: packages
                .into_iter()
                .flatten()
                .filter_map(|one| RecordedPackage::deserialize(one).ok())
                .collect(),
        }
    }
}
