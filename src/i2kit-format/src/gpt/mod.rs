//! GUID Partition Tables (UEFI 2.10, chapter 5), for 512-byte sectors.
//!
//! Ours, since the `gpt` crate (4.1) cannot do two things: its reader asserts the entry size and
//! allocates what the header claims, so that a hostile disk ends the process; and its writer
//! wants the whole disk as one seekable device, where we only have the two ends.

mod disk;
mod read;
mod write;

pub use read::read;
pub use write::write;

use crate::guid::Guid;

/// Bytes of a logical block (LBA).
pub const SECTOR: u64 = 512;
/// The same, as a length in memory.
pub(crate) const SECTOR_LEN: usize = 512;
/// Sectors before the first usable one: protective MBR, header, entries.
pub const PRIMARY_SECTORS: u64 = 34;
/// Sectors after the last usable one: entries, header.
pub const BACKUP_SECTORS: u64 = 33;
/// The most sectors of a disk: its bytes can be counted in 64 bits.
pub(crate) const MAX_LBAS: u64 = u64::MAX / SECTOR;
/// Entries that [`write()`] makes room for.
pub const MAX_PARTITIONS: usize = 128;
/// The same, as it stands in the header.
pub(crate) const MAX_PARTITIONS_U32: u32 = 128;
/// UTF-16 units of a partition's name.
pub const MAX_NAME: usize = 36;

/// Partition types, from the UEFI and the Discoverable Partitions Specifications.
pub mod types {
    use crate::guid::Guid;

    /// EFI system partition.
    pub const ESP: Guid = Guid::from_u128(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
    /// Root file system, x86-64.
    pub const ROOT_X86_64: Guid = Guid::from_u128(0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709);
    /// dm-verity hashes of the root file system, x86-64.
    pub const ROOT_X86_64_VERITY: Guid = Guid::from_u128(0x2c7357ed_ebd2_46d9_aec1_23d437ec2bf5);
    /// Root file system, 64-bit Arm.
    pub const ROOT_ARM64: Guid = Guid::from_u128(0xb921b045_1df0_41c3_af44_4c6f280d3fae);
    /// dm-verity hashes of the root file system, 64-bit Arm.
    pub const ROOT_ARM64_VERITY: Guid = Guid::from_u128(0xdf3300ce_d69f_4c92_978c_9bfb0f38d820);
    /// Generic Linux data.
    pub const LINUX_GENERIC: Guid = Guid::from_u128(0x0fc63daf_8483_4772_8e79_3d69d8477de4);
    /// Reed-Solomon parity of a dm-verity device. No specification has a type for it: i2kit's own.
    pub const VERITY_FEC: Guid = Guid::from_u128(0x6f1b2d0c_5a8e_4c37_9f42_d3b7a1e6c850);

    /// What a type is called, for a person; `None` for one that is not listed above.
    #[must_use]
    pub fn name(type_guid: Guid) -> Option<&'static str> {
        match type_guid {
            ESP => Some("EFI system"),
            ROOT_X86_64 => Some("root x86-64"),
            ROOT_X86_64_VERITY => Some("root x86-64 verity"),
            ROOT_ARM64 => Some("root arm64"),
            ROOT_ARM64_VERITY => Some("root arm64 verity"),
            LINUX_GENERIC => Some("Linux data"),
            VERITY_FEC => Some("verity error correction"),
            _ => None,
        }
    }
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What it is for: one of [`types`], or another; never [`Guid::NIL`].
    pub type_guid: Guid,
    /// Its own id, the PARTUUID.
    pub unique_guid: Guid,
    /// Label, at most [`MAX_NAME`] UTF-16 units.
    pub name: String,
    /// First sector.
    pub first_lba: u64,
    /// Last sector, itself part of the partition.
    pub last_lba: u64,
    /// Attribute bits: 60 is read-only, 63 no auto-mount (Discoverable Partitions).
    pub attributes: u64,
}

impl Partition {
    /// Where it starts, bytes. Saturates for a start past the address space.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.first_lba.saturating_mul(SECTOR)
    }

    /// Its length, bytes. Saturates likewise.
    #[must_use]
    pub fn size(&self) -> u64 {
        (self.last_lba.saturating_sub(self.first_lba))
            .saturating_add(1)
            .saturating_mul(SECTOR)
    }

    /// Whether the disk's byte at `offset` is its.
    #[must_use]
    pub fn has(&self, offset: u64) -> bool {
        offset
            .checked_sub(self.offset())
            .is_some_and(|within| within < self.size())
    }
}

impl Table {
    /// The first partition of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|one| one.name == name)
    }
}

/// A table's two copies, ready to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpt {
    /// The disk's first [`PRIMARY_SECTORS`] sectors.
    pub primary: Vec<u8>,
    /// The disk's last [`BACKUP_SECTORS`] sectors.
    pub backup: Vec<u8>,
}

/// A table that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The disk's own id.
    pub disk_guid: Guid,
    /// Used entries, in the table's order.
    pub partitions: Vec<Partition>,
    /// Sectors of the disk that the table was written for, which may have grown since: one more
    /// than the LBA of its last copy.
    pub disk_lbas: u64,
    /// Which copy was whole.
    pub copy: TableCopy,
}

/// Which of a disk's two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableCopy {
    /// The one after the protective MBR.
    Primary,
    /// The one in the last sectors.
    Backup,
}

/// A table that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("write GPT: {count} partitions, at most {MAX_PARTITIONS}")]
    TooManyPartitions { count: usize },
    #[error("write GPT: a disk of {disk_lbas} sectors has no room for the table")]
    DiskTooSmall { disk_lbas: u64 },
    #[error("write GPT: a disk of {disk_lbas} sectors, at most {max}")]
    DiskTooLarge { disk_lbas: u64, max: u64 },
    #[error("write GPT: partition {name:?} has the nil type or the nil GUID")]
    NilGuid { name: String },
    #[error("write GPT: partition name {name:?} has {units} UTF-16 units, at most {MAX_NAME}")]
    NameTooLong { name: String, units: usize },
    #[error("write GPT: partition name {name:?} holds a NUL")]
    NameNul { name: String },
    #[error(
        "write GPT: partition {name:?} has sectors {first_lba}..={last_lba}, usable are \
         {first_usable}..={last_usable}"
    )]
    OutOfRange {
        name: String,
        first_lba: u64,
        last_lba: u64,
        first_usable: u64,
        last_usable: u64,
    },
    #[error("write GPT: partitions {first:?} and {second:?} overlap")]
    Overlap { first: String, second: String },
    #[error("write GPT: partitions {first:?} and {second:?} have the same GUID {guid}")]
    SameGuid {
        first: String,
        second: String,
        guid: Guid,
    },
    #[error("read GPT: {0}")]
    Io(#[from] std::io::Error),
    #[error("read GPT: the disk has no partition table")]
    NotGpt,
    #[error("read GPT: primary: {primary}; backup: {backup}")]
    Damaged { primary: Damage, backup: Damage },
}

/// What is wrong with one copy of a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Damage {
    #[error("the disk ends before it")]
    Truncated,
    #[error("no \"EFI PART\" signature")]
    Signature,
    #[error("revision {0:#x} is not 1.0")]
    Revision(u32),
    #[error("header size {0} is not 92..=512")]
    HeaderSize(u32),
    #[error("header CRC32 is {found:#010x}, should be {computed:#010x}")]
    HeaderCrc { found: u32, computed: u32 },
    #[error("header says it lies at LBA {found}, lies at {actual}")]
    MyLba { found: u64, actual: u64 },
    #[error("{count} entries of {size} bytes")]
    EntryArray { count: u32, size: u32 },
    #[error("the disk ends before its entries")]
    EntriesTruncated,
    #[error("entries' CRC32 is {found:#010x}, should be {computed:#010x}")]
    EntriesCrc { found: u32, computed: u32 },
    #[error("partition {number} has sectors {first_lba}..={last_lba}")]
    Sectors {
        number: usize,
        first_lba: u64,
        last_lba: u64,
    },
}
