//! i2kit: one Kubernetes Pod, one immutable virtual machine.
//!
//! The modules are the floors of the house, top to bottom; imports point down only (a test
//! refuses the rest).

pub mod cli;
pub mod output;
pub mod run;
pub mod inspect;
pub mod assemble;
pub mod pipeline;
pub mod oci;
pub mod layer;
pub mod manifest;
pub mod disk;
pub mod cache;
