//! The integration tests: one binary, one module per subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
#![allow(missing_docs)]

mod base;
mod boot;
mod build;
mod cache;
mod cli;
mod extend;
mod fec;
mod floors;
mod fuzz_replay;
mod layer_compressed;
mod layer_convert;
mod layer_packed;
mod layers;
mod manifest;
mod measured;
mod oci;
mod package;
mod partitions;
mod place;
mod plan;
mod policy;
mod push;
mod readme;
mod registry;
mod registry_config;
mod sbom;
mod signing;
mod sources;
mod support;
mod transports;
mod verify;

/// The fuzz targets, which replay with a stable compiler.
#[path = "../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../fuzz/src/targets.rs"]
mod targets;

// Where the seeds look for it.
use support::tarball;
