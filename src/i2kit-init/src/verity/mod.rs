//! The store through dm-verity: the table and the superblock.

pub mod dm;
pub mod recheck;
pub mod superblock;
