//! A disk to Amazon: EBS snapshots written block by block, and the AMIs registered of them.
//!
//! ```text
//! publish        one disk to several regions, with an AMI in each, or nothing
//! regions        side by side, or copied by Amazon
//! plan           what a push would do
//! prune          old AMIs and their snapshots
//! identity, tags who a disk is, and how it is known again
//! image, settle  an AMI registered, waited for, shared
//! known, there   what is there already, asked for while the disk is put together
//! find           AMIs and snapshots by their names, and the parent for a delta
//! price, policy  what it costs, and what it must be allowed
//! snapshot       one disk to one region: begin, put, complete, wait, read back
//! estimate       what that would take
//! download       a snapshot to a raw file
//! snapshot_disk  a snapshot as a disk that can be read at any place
//! begin          which parent a snapshot has, and whether it was begun before
//! verify         reading a snapshot back
//! upload         blocks on their way, read once, as many at once as limiter allows
//! blocks         which blocks are put, and which the parent has: pure
//! own            what the disk is made of
//! parent         whether an older snapshot can be the parent
//! remote         a completed snapshot's blocks
//! index, tree    what lies in each block, as partition table and hash tree tell
//! esp            what lies in the ESP, as tags tell
//! changes        in which blocks two snapshots differ
//! ledger         what a push made so far, on disk before it is made
//! source         the disk that is pushed
//! cloud          one account's services: a single attempt of each call, and the one retry layer
//! ```

mod begin;
pub mod blocks;
pub mod changes;
pub mod checksum;
pub mod cloud;
pub mod download;
mod error;
pub mod esp;
pub mod estimate;
pub mod find;
pub mod identity;
pub mod image;
pub mod index;
pub mod known;
pub mod ledger;
pub mod limiter;
pub mod own;
pub mod parent;
pub mod plan;
pub mod policy;
pub mod price;
pub mod progress;
pub mod prune;
pub mod publish;
mod regions;
pub mod remote;
#[cfg(test)]
mod sample;
pub mod settle;
pub mod share;
pub mod snapshot;
pub mod snapshot_disk;
pub mod source;
pub mod tags;
mod there;
pub mod times;
pub mod tree;
pub mod upload;
pub mod verify;
pub mod wait;

pub use error::Error;

/// Bytes of a GiB, the unit of volumes and prices.
pub const GIB: u64 = 1 << 30;
