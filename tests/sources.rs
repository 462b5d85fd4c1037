//! Tests: images on the command line: pulled, resolved, locked, bundled, shared.

mod bundles;
mod fleet;
mod locks;
mod sharing;
