//! FAT16 volumes (Microsoft "FAT: General Overview of On-Disk Format" 1.03; UEFI 2.10,
//! section 13.3).
//!
//! Ours, since `fatfs` 0.3 writes long-name entries for `.` and `..`, which `fsck.fat` rejects,
//! and takes its bytes through a seekable device where we only want to plan; `hadris-fat` is
//! still a release candidate.

mod disk;
mod geometry;
mod names;
mod plan;
mod read;
mod tree;

pub use plan::{NewFile, Options, plan};
pub use read::{Entry, Extent, Volume, read, structure};

/// The fewest clusters of a FAT16 volume; fewer make it FAT12.
pub const MIN_CLUSTERS: u32 = 4085;
/// The most clusters of a FAT16 volume; more make it FAT32.
pub const MAX_CLUSTERS: u32 = 65524;
/// UTF-16 units of a path: 260 with the NUL at its end (specification, section 7).
pub(crate) const MAX_PATH: usize = 259;
/// Bytes of a directory: 65536 entries (specification, section 6).
pub(crate) const MAX_DIRECTORY: u64 = 2 << 20;
/// The most files and directories. All but empty files have a cluster each, so that there are
/// hardly more; and a reader's memory is bounded.
pub(crate) const MAX_ENTRIES: usize = 65_536;

/// A volume that cannot be planned or read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(
        "plan FAT16: path {0:?} is not relative, with components of 1 to 255 UTF-16 units, none \
         of them \".\" or \"..\", without control characters and any of \"*:<>?\\|, none starting \
         with a space or ending in a dot or a space"
    )]
    Path(String),
    #[error("plan FAT16: path {path:?} has {units} UTF-16 units, at most {MAX_PATH}")]
    PathTooLong { path: String, units: usize },
    #[error("plan FAT16: {0:?} is there twice (FAT ignores case), or is file and directory")]
    Duplicate(String),
    #[error("plan FAT16: {path:?} has {size} bytes, at most 4 GiB - 1")]
    FileTooLarge { path: String, size: u64 },
    #[error("plan FAT16: {count} files and directories, at most {MAX_ENTRIES}")]
    TooManyFiles { count: usize },
    #[error("plan FAT16: {size} bytes of clusters, at most {max}")]
    VolumeTooLarge { size: u64, max: u64 },
    #[error("plan FAT16: directory {path:?} has more entries than fit")]
    DirectoryFull { path: String },
    #[error(
        "plan FAT16: label {0:?} is not 1 to 11 of A-Z, 0-9, space, - and _, or starts with a \
         space, or is \"NO NAME\""
    )]
    Label(String),
    #[error("read FAT16: {0}")]
    Io(#[from] std::io::Error),
    #[error("read FAT16: no boot sector")]
    NotFat,
    #[error("read FAT16: boot sector: {field} is {value}")]
    BootSector { field: &'static str, value: u64 },
    #[error("read FAT16: {0} clusters make it another kind of FAT")]
    NotFat16(u64),
    #[error("read FAT16: volume of {volume} bytes, but only {len} are there")]
    Truncated { volume: u64, len: u64 },
    #[error(
        "read FAT16: {path:?}: cluster chain reaches {cluster}, which is free, bad or used twice"
    )]
    Chain { path: String, cluster: u16 },
    #[error("read FAT16: {path:?} has {size} bytes, its cluster chain {chain}")]
    ChainLength { path: String, size: u64, chain: u64 },
    #[error("read FAT16: directory \"/{path}\" holds the name {name:?}, which can not be")]
    Name { path: String, name: String },
    #[error("read FAT16: directory \"/{path}\" has {size} bytes, at most {MAX_DIRECTORY}")]
    DirectorySize { path: String, size: u64 },
    #[error("read FAT16: path {path:?} has {units} UTF-16 units, at most {MAX_PATH}")]
    PathLength { path: String, units: usize },
    #[error("read FAT16: more than {MAX_ENTRIES} files and directories")]
    TooManyEntries,
}
