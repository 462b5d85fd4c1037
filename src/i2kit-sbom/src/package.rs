//! A package, as every ecosystem knows it.

use crate::licence;
use crate::purl::Purl;

/// Who names packages, and by which rules; the type of a package URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecosystem {
    /// Debian and its descendants.
    Deb,
    /// Alpine and its descendants.
    Apk,
    /// Distributions with RPM.
    Rpm,
    /// The Python Package Index.
    PyPi,
    /// npm.
    Npm,
    /// Go modules.
    Golang,
    /// Rust's crates.
    Cargo,
}

impl Ecosystem {
    /// The type of a package URL (purl-spec, "known types").
    #[must_use]
    pub fn purl_type(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
            Self::PyPi => "pypi",
            Self::Npm => "npm",
            Self::Golang => "golang",
            Self::Cargo => "cargo",
        }
    }
}

/// The source package that a binary package was built from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its version, where the database tells.
    pub version: Option<String>,
}

/// A package that is installed or linked in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Who names it.
    pub ecosystem: Ecosystem,
    /// Its name, as its ecosystem writes it; npm's and Go's have slashes.
    pub name: String,
    /// Its version; empty where none is recorded.
    pub version: String,
    /// Its package URL.
    pub purl: Purl,
    /// What its maker declares, as it stands there: an SPDX expression or any other text.
    pub licence: Option<String>,
    /// The source package.
    pub source: Option<Source>,
    /// Who maintains or ships it.
    pub supplier: Option<String>,
    /// Path of the database or binary that says so, without a leading `/`.
    pub origin: String,
}

impl Package {
    /// The licence, where it is an SPDX expression.
    #[must_use]
    pub fn spdx_licence(&self) -> Option<&str> {
        self.licence
            .as_deref()
            .filter(|text| licence::is_expression(text))
    }
}
