//! The store through dm-verity: the table, the superblock, the kernel's reports of bad blocks.

pub mod dm;
pub mod superblock;
pub mod watch;
