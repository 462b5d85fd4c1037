//! EROFS, the store's file system: a writer of uncompressed images whose data lies before their
//! metadata, and a reader.
//!
//! Authority: the kernel's `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst`.

mod dirents;
pub mod format;
mod plan;
pub mod tree;
mod writer;
mod xattrs;

pub use tree::*;
pub use writer::{Error, Image, Options, write};
