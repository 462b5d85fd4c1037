//! Pure writers and readers of on-disk formats.
//!
//! Nothing here touches files, the clock, the environment, randomness or processes: bytes in,
//! bytes out, so that every format can be tested against another project's tool and is the same
//! on every run. `clippy.toml` beside this package bans the rest.

pub mod authenticode;
pub mod cpio;
pub mod efi;
pub mod erofs;
pub mod fat;
pub mod fec;
pub mod gpt;
pub mod guid;
pub mod layout;
pub mod pcr;
pub mod read_at;
pub mod sha256;
pub mod uki;
pub mod verity;

pub use guid::Guid;
pub use layout::Layout;
pub use read_at::ReadAt;

/// One EBS block, one dm-verity level-0 hash block's worth of data: 512 KiB.
pub const SLAB: u64 = 512 * 1024;
/// The block of EROFS and dm-verity: 4 KiB.
pub const BLOCK: u64 = 4096;
