//! EROFS against the kernel's own mount, erofs-utils, and itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod canonical;
mod compressed;
mod fixture;
mod foreign;
mod golden;
mod hostile;
mod kernel;
mod limits;
mod placement;
mod random;
mod tools;
