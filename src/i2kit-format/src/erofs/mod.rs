//! EROFS: the store's file system.
//!
//! [`write()`] turns a [`Tree`] into a superblock and one metadata area that lies after the data,
//! so that data can be laid out and cached long before it is known which tree names it.
//! [`Compressor`] makes the clusters of compressed files.
//! [`Reader`] reads any image of 4 KiB blocks. Sources: `fs/erofs/erofs_fs.h` and
//! `Documentation/filesystems/erofs.rst` of Linux.

mod chunk;
mod clusters;
mod codec;
mod dir;
mod format;
mod plan;
mod read;
pub mod tree;
mod walk;
mod write;
mod xattr;

pub use chunk::ExtentError;
pub use codec::{Algorithm, Compressor, MAX_CLUSTER, MAX_PHYSICAL_CLUSTER};
pub use read::{DirEntry, FileType, Owner, ReadError, ReadInode, Reader, Role, Summary};
pub use tree::*;
pub use write::{Error, Image, Options, write};
pub use xattr::XattrError;
