//! What the EBS direct APIs are asked, and say.

/// A snapshot to begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartSnapshot {
    /// Size of the volumes made of it, GiB, 1 to 65,536.
    pub volume_gib: u64,
    /// The snapshot whose blocks it has wherever none is put. Its encryption is inherited.
    pub parent: Option<String>,
    /// The same token and parameters give the same snapshot again; at most 255 characters.
    pub client_token: String,
    /// At most 255 characters.
    pub description: String,
    /// Tags.
    pub tags: Vec<(String, String)>,
    /// ARN of the key to encrypt with; only together with `encrypted`.
    pub kms_key: Option<String>,
    /// Whether its blocks are encrypted. Never together with `parent`.
    pub encrypted: bool,
    /// After so long without a block put, EBS gives it up (state `error`); minutes, 10 to 4,320.
    pub timeout_minutes: u32,
}

/// A snapshot begun, or found begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// `snap-…`.
    pub snapshot: String,
    /// Bytes of a block.
    pub block_size: u32,
    /// Size of the volumes made of it, GiB.
    pub volume_gib: u64,
    /// `pending`, `completed` or `error`.
    pub status: String,
    /// Account, 12 digits.
    pub owner: Option<String>,
    /// The snapshot whose blocks it has wherever none is put.
    pub parent: Option<String>,
    /// ARN of the key it is encrypted with.
    pub kms_key: Option<String>,
}

/// A block of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Which block: its place on the volume divided by the block size.
    pub index: u32,
    /// What EBS wants to see when the block is asked for. Good for seven days.
    pub token: String,
}

/// A block in which two snapshots differ, or that only one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which block.
    pub index: u32,
    /// The first snapshot's token for it.
    pub first: Option<String>,
    /// The second's.
    pub second: Option<String>,
}

/// Part of a list. It may be empty and yet not the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// In ascending order of their index.
    pub items: Vec<T>,
    /// What asks for the next part, good for 60 minutes; none after the last.
    pub next: Option<String>,
    /// Bytes of a block.
    pub block_size: u32,
    /// Size of the volume, GiB.
    pub volume_gib: u64,
}
