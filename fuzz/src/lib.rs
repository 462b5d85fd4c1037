//! Fuzz targets for every parser of outside data. The integration tests replay them with a stable
//! compiler, from the seeds of `seeds.rs` and the inputs kept in `corpus/`.

pub mod targets;
