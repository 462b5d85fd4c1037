//! i2kit: one Kubernetes Pod, one immutable virtual machine.
//!
//! The modules are the floors of the house, top to bottom; imports point down only (a test
//! refuses the rest).

pub mod assemble;
pub mod cache;
#[cfg(feature = "cli")]
pub mod cli;
pub mod disk;
pub mod inspect;
pub mod layer;
pub mod manifest;
pub mod oci;
pub mod output;
pub mod pipeline;
#[cfg(feature = "cli")]
pub mod push;
pub mod run;
pub mod sign;
