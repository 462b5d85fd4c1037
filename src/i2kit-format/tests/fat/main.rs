//! FAT16 volumes against `fsck.fat` and mtools, chance and damage.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

#[path = "../support/mod.rs"]
mod support;

mod golden;
mod hostile;
mod limits;
mod random;
mod tools;
mod volume;
