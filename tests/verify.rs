//! Tests: a disk checked, compared with its record and with what a build gives, and built again.

mod disk;
mod expected;
mod faults;
mod forged;
mod provenance;
mod rebuild;
