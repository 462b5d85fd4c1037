//! What EC2 says of snapshots and AMIs, as far as a push asks.

use std::collections::BTreeMap;

/// A snapshot of one's own or one named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// `snap-…`.
    pub id: String,
    /// `pending`, `completed`, `error`, `recoverable` or `recovering`.
    pub state: String,
    /// Why it is in `error`.
    pub state_message: Option<String>,
    /// `100%`.
    pub progress: String,
    /// Size of the volumes made of it, GiB.
    pub volume_gib: u64,
    /// True where its blocks are encrypted.
    pub encrypted: bool,
    /// ARN of the key they are encrypted with.
    pub kms_key: Option<String>,
    /// Account, 12 digits.
    pub owner: String,
    /// When it was begun: `2026-01-31T12:00:00.000Z`.
    pub start_time: String,
    /// Tags by key.
    pub tags: BTreeMap<String, String>,
    /// What its maker says of it.
    pub description: String,
}

/// An AMI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ami {
    /// `ami-…`.
    pub id: String,
    /// Unique to account and region.
    pub name: String,
    /// `pending`, `available`, `failed`, `error`, `invalid`, `deregistered`, `transient` or
    /// `disabled`.
    pub state: String,
    /// Why it is `failed` or `error`.
    pub state_reason: Option<String>,
    /// Account, 12 digits.
    pub owner: String,
    /// When it was registered: `2026-01-31T12:00:00.000Z`.
    pub creation_date: String,
    /// `x86_64`, `arm64`, …
    pub architecture: String,
    /// `uefi`, `legacy-bios` or `uefi-preferred`; none where it was never said.
    pub boot_mode: Option<String>,
    /// The snapshot of its root device.
    pub root_snapshot: Option<String>,
    /// Size of its root device, GiB; 0 where it has none of EBS.
    pub volume_gib: u64,
    /// True where every account may launch it.
    pub public: bool,
    /// What its maker says of it.
    pub description: String,
    /// When it is deprecated.
    pub deprecation: Option<String>,
    /// True where it cannot be deregistered now.
    pub protected: bool,
    /// Tags by key.
    pub tags: BTreeMap<String, String>,
}

/// Whether a key's ARN, as EC2 tells it, is of the key that is `wanted` by its ARN or id.
#[must_use]
pub fn is_key(arn: &str, wanted: &str) -> bool {
    arn == wanted || arn.rsplit_once(":key/").is_some_and(|(_, id)| id == wanted)
}

/// An AMI to register. What every disk of i2kit needs is fixed: boot mode `uefi`, ENA, instance
/// metadata by IMDSv2 only, hardware virtualisation, and one gp3 volume as `/dev/xvda` that goes
/// with its instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegisterImage {
    /// 3 to 128 characters, unique to account and region.
    pub name: String,
    /// At most 255 characters.
    pub description: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// A completed snapshot.
    pub snapshot: String,
    /// Size of the root volume, GiB; at least the snapshot's.
    pub volume_gib: u64,
    /// The Secure Boot variables, in EC2's own form.
    pub uefi_data: Option<String>,
    /// Whether instances have a TPM 2.0, which bars instance types without NitroTPM.
    pub tpm: bool,
    /// Tags of the AMI.
    pub tags: Vec<(String, String)>,
}

/// An AMI of another region, to be had in this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyImage {
    /// 3 to 128 characters, unique to account and region.
    pub name: String,
    /// At most 255 characters.
    pub description: String,
    /// The region it is in.
    pub from_region: String,
    /// `ami-…` there.
    pub from: String,
    /// Tags of the copy and of its snapshot.
    pub tags: Vec<(String, String)>,
    /// Key to encrypt the copy with: id, alias or ARN.
    pub kms_key: Option<String>,
    /// The same token and parameters give the same copy again; at most 64 characters.
    pub client_token: String,
}
