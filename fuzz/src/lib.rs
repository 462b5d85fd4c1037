//! Fuzz targets for every parser of outside data, and what they start from. The integration tests
//! replay all of it with a stable compiler.

pub mod seeds;
pub mod targets;

#[path = "../../tests/support/tarball.rs"]
#[allow(dead_code)]
mod tarball;
