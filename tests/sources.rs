//! Tests: images on the command line: pulled, resolved, locked, bundled, shared.

mod bundles;
pub mod fleet;
mod locks;
mod secrets;
mod sharing;
