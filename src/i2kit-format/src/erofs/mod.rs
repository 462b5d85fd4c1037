//! EROFS: the store's file system.

pub mod tree;

pub use tree::*;
