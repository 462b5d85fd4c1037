//! containerd: its process, its API, and the OCI runtime specification handed to it.

pub mod client;
pub mod daemon;
pub mod keeper;
pub mod spec;
