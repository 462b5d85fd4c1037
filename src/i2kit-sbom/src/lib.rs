//! Which packages are in a root file system, and the papers that say so.
//!
//! Package databases and binaries come in as bytes, [`Package`]s come out; a [`Bill`] of them is
//! written as SPDX 2.3 ([`spdx`]) or CycloneDX 1.6 ([`cyclonedx`]), an in-toto statement of how a
//! disk was built by [`provenance`]. Pure: no files, no clock, no environment, no randomness.
//!
//! No parser panics, whatever the bytes: what makes no sense is an error or left out, and
//! allocations are bounded by the input's length.

pub mod apk;
pub mod apt;
mod bill;
mod content;
pub mod copyright;
pub mod cyclonedx;
pub mod deb822;
pub mod debian_version;
pub mod dpkg;
pub mod dsse;
mod elf;
pub mod go;
pub mod licence;
pub mod node;
mod origin;
mod os_release;
mod package;
pub mod provenance;
mod purl;
pub mod python;
pub mod rpm;
pub mod rust;
pub mod spdx;
mod time;

pub use bill::{Bill, Part, PartKind, Unread};
pub use elf::Binary;
pub use origin::{MAX_DATABASE, MAX_METADATA, Origin};
pub use os_release::Distribution;
pub use package::{Ecosystem, Package, Source};
pub use purl::{Purl, oci as oci_purl};
pub use time::{MAX_TIME, rfc3339, seconds};

/// What is wrong with a package database or a binary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its bytes are not of the format.
    #[error("not a {format}: {reason}")]
    Format {
        /// The format.
        format: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// It cannot be read.
    #[error("read: {0}")]
    Read(String),
}

impl Error {
    fn format(format: &'static str, reason: &'static str) -> Self {
        Self::Format { format, reason }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Read(error.to_string())
    }
}
