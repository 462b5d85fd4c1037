//! What there is in the account.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::super::random::Random;
use super::blocks::Digest;
use super::settings::Settings;

pub type Tags = BTreeMap<String, String>;
/// Digests of blocks by their index.
pub type Map = BTreeMap<u32, Digest>;

/// When something changes from pending to what it ends as.
#[derive(Clone, Debug)]
pub struct Change {
    pub at: Instant,
    /// None: it ends well.
    pub error: Option<String>,
}

impl Change {
    pub fn after(wait: Duration, error: Option<&str>) -> Self {
        Self {
            at: Instant::now() + wait,
            error: error.map(str::to_owned),
        }
    }

    /// Where it has happened, and everybody sees it.
    pub fn is_settled(&self, settings: &Settings) -> bool {
        Instant::now() >= self.at + settings.consistency
    }
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    pub id: String,
    pub region: String,
    pub description: String,
    pub volume_gib: u64,
    pub parent: Option<String>,
    /// Snapshots of one lineage can be compared.
    pub lineage: String,
    pub encrypted: bool,
    pub kms_key: Option<String>,
    pub tags: Tags,
    pub start_time: SystemTime,
    pub created: Instant,
    /// The parent's blocks.
    pub inherited: Map,
    /// Blocks that were put.
    pub put: Map,
    /// Since the last block came.
    pub change: Option<Change>,
    /// Accounts that may use it.
    pub shared: BTreeSet<String>,
    /// How often it was described.
    pub asked: u64,
}

impl Snapshot {
    /// `pending`, `completed` or `error`, whatever everybody sees.
    pub fn state(&self) -> &'static str {
        match &self.change {
            Some(change) if Instant::now() >= change.at => match change.error {
                None => "completed",
                Some(_) => "error",
            },
            _ => "pending",
        }
    }

    /// All blocks that it has.
    pub fn blocks(&self) -> Map {
        let mut blocks = self.inherited.clone();
        blocks.extend(&self.put);
        blocks
    }

    /// The digest of a block that it has.
    pub fn block(&self, index: u32) -> Option<Digest> {
        let own = self.put.get(&index);
        own.or_else(|| self.inherited.get(&index)).copied()
    }

    /// True for those that all calls may use.
    pub fn is_usable(&self, settings: &Settings) -> bool {
        let change = self.change.as_ref();
        self.state() == "completed" && change.is_some_and(|change| change.is_settled(settings))
    }
}

#[derive(Clone, Debug)]
pub struct Image {
    pub id: String,
    pub region: String,
    pub name: String,
    pub description: String,
    pub architecture: String,
    pub boot_mode: Option<String>,
    pub ena: bool,
    pub imds: Option<String>,
    pub tpm: Option<String>,
    pub uefi_data: Option<String>,
    pub virtualization: String,
    pub root_device: String,
    pub mapping: Mapping,
    pub tags: Tags,
    pub creation_date: SystemTime,
    pub created: Instant,
    pub change: Change,
    /// Accounts, `group:all`, ARNs of organisations and their units.
    pub launch_permissions: BTreeSet<String>,
    pub deprecation: Option<String>,
    pub is_protected: bool,
    pub asked: u64,
}

/// An image's root volume.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub device: String,
    pub snapshot: String,
    pub volume_type: String,
    pub volume_gib: u64,
    pub delete_on_termination: bool,
    pub encrypted: bool,
}

impl Image {
    /// `pending`, `available` or `failed`.
    pub fn state(&self) -> &'static str {
        match (Instant::now() >= self.change.at, &self.change.error) {
            (false, _) => "pending",
            (true, None) => "available",
            (true, Some(_)) => "failed",
        }
    }

    pub fn is_public(&self) -> bool {
        self.launch_permissions.contains("group:all")
    }
}

/// What uses images.
#[derive(Clone, Debug)]
pub enum User {
    /// Its state.
    Instance(String, &'static str),
    /// A launch template's versions, oldest first; the number of the default one.
    Template(Vec<String>, usize),
    LaunchConfiguration(String),
    /// An autoscaling group's template.
    Group(String),
}

/// What was answered to a client token.
#[derive(Clone, Debug)]
pub struct Token {
    pub parameters: String,
    pub id: String,
}

#[derive(Default)]
pub struct World {
    pub snapshots: BTreeMap<String, Snapshot>,
    pub images: BTreeMap<String, Image>,
    /// Images that are no more.
    pub deregistered: BTreeSet<String>,
    /// By region and token.
    pub tokens: BTreeMap<(String, String), Token>,
    /// By region and name: value and version.
    pub parameters: BTreeMap<(String, String), (Value, u64)>,
    /// By region and id.
    pub users: BTreeMap<(String, String), User>,
    serial: u64,
}

impl World {
    /// An id that nothing has yet.
    pub fn id(&mut self, prefix: &str) -> String {
        self.serial += 1;
        let number = Random::new(self.serial).next();
        format!("{prefix}-0{number:016x}")
    }

    /// The image that uses a snapshot.
    pub fn image_of(&self, snapshot: &str) -> Option<&Image> {
        let mut images = self.images.values();
        images.find(|image| image.mapping.snapshot == snapshot)
    }
}
