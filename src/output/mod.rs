//! Sinks of a [`Disk`](crate::disk::Disk): a raw file today.

mod beside;
mod found;
mod raw;
mod record;

pub use beside::{Beside, BesideError};
pub use raw::{RawError, Written, nonzero_runs, write_raw};
pub use record::{
    Memory, OutputsRecord, Partition, RecordError, Resigned, disk_digest, record_path,
};

use std::path::{Path, PathBuf};

/// A sink's file could not be made durable in its folder.
fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
