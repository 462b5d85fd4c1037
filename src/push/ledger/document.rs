//! What is in a ledger's file.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::push::cloud::StartSnapshot;

/// The document's version.
const VERSION: u32 = 1;

/// What a ledger is of: one push of one disk to one region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The region.
    pub region: String,
    /// The digest over all slabs of the disk.
    pub disk_digest: String,
    /// The name that versions of the image share.
    pub name: String,
    /// The key that its snapshot is encrypted with.
    pub kms_key: Option<String>,
}

impl Subject {
    /// Names its ledger: 32 hex digits.
    #[must_use]
    pub fn id(&self) -> String {
        let hash = hashed("i2kit ledger", &self.words());
        hex::encode(hash.first_chunk::<16>().unwrap_or(&[0; 16]))
    }

    fn words(&self) -> [&str; 4] {
        let key = self.kms_key.as_deref().unwrap_or_default();
        [&self.region, &self.disk_digest, &self.name, key]
    }
}

/// A kind of thing that a push makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Made {
    /// A snapshot, block by block.
    Snapshot,
    /// A copy of a snapshot.
    SnapshotCopy,
    /// An AMI of a snapshot that the ledger names.
    Ami,
    /// A copy of an AMI, with a snapshot of its own.
    AmiCopy,
}

/// One thing that was made, or was about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is.
    pub kind: Made,
    /// Where.
    pub region: String,
    /// Its client token, or what its tag [`TOKEN_TAG`](super::TOKEN_TAG) says; empty where it has
    /// neither.
    pub token: String,
    /// An AMI's name; empty for anything else.
    pub name: String,
    /// Its id, once it was made.
    pub id: Option<String>,
    /// What a snapshot was begun with: the same again gives the same snapshot.
    pub request: Option<Start>,
}

impl Entry {
    /// A thing about to be made.
    #[must_use]
    pub fn new(kind: Made, region: &str, token: String) -> Self {
        Self {
            kind,
            region: region.to_owned(),
            token,
            name: String::new(),
            id: None,
            request: None,
        }
    }

    /// An AMI of that name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self
        }
    }

    /// True for the same thing, whether its id is known or not.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let key = |entry: &Self| {
            (
                entry.kind,
                entry.region.clone(),
                entry.token.clone(),
                entry.name.clone(),
            )
        };
        key(self) == key(other)
    }
}

/// An entry and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub entry: Entry,
    /// When it was about to be made, seconds since 1970.
    pub at: u64,
    /// It is being removed: that it is not found means that it is gone.
    pub is_going: bool,
}

/// The parameters of StartSnapshot but for the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Size of the volumes made of it, GiB.
    pub volume_gib: u64,
    /// The parent.
    pub parent: Option<String>,
    /// The parent's root hash, hex, where it was known.
    pub parent_root_hash: Option<String>,
    /// What the parent's tags tell of its ESP, where they do.
    #[serde(default)]
    pub parent_esp: Option<String>,
    /// For people.
    pub description: String,
    /// Tags, in their order.
    pub tags: Vec<(String, String)>,
    /// ARN or id of the key.
    pub kms_key: Option<String>,
    /// Minutes.
    pub timeout_minutes: u32,
}

impl Start {
    /// The request.
    #[must_use]
    pub fn request(&self, token: &str) -> StartSnapshot {
        // A child has its parent's encryption, and may not ask for any.
        let key = self.kms_key.clone().filter(|_| self.parent.is_none());
        StartSnapshot {
            volume_gib: self.volume_gib,
            parent: self.parent.clone(),
            client_token: token.to_owned(),
            description: self.description.clone(),
            tags: self.tags.clone(),
            encrypted: key.is_some(),
            kms_key: key,
            timeout_minutes: self.timeout_minutes,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    version: u32,
    pub subject: Subject,
    /// Drawn once: a push that begins anew has other tokens than one that is done, whose snapshot EBS
    /// would answer with.
    nonce: String,
    /// How often a snapshot was given up.
    pub attempt: u32,
    pub records: Vec<Record>,
}

impl Document {
    pub fn new(subject: Subject) -> std::io::Result<Self> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(std::io::Error::other)?;
        Ok(Self {
            version: VERSION,
            subject,
            nonce: hex::encode(nonce),
            attempt: 0,
            records: Vec::new(),
        })
    }

    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let value: serde_json::Value =
            serde_json::from_slice(json).map_err(|error| error.to_string())?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(found) if found == u64::from(VERSION) => {}
            Some(found) => return Err(format!("version {found}, {VERSION} is known")),
            None => return Err("it has no version".to_owned()),
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    pub fn token(&self, words: &[&str]) -> String {
        let attempt = self.attempt.to_string();
        let mut all = vec![self.nonce.as_str(), &attempt];
        all.extend(self.subject.words());
        all.extend(words);
        hex::encode(hashed("i2kit token", &all))
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.records
            .iter()
            .map(|record| record.entry.clone())
            .collect()
    }

    pub fn intend(&mut self, entry: Entry, at: u64) -> usize {
        let mut records = self.records.iter();
        if let Some(number) = records.position(|one| one.entry.is_same(&entry)) {
            return number;
        }
        self.records.push(Record {
            entry,
            at,
            is_going: false,
        });
        self.records.len() - 1
    }

    pub fn forget(&mut self, entry: &Entry) {
        self.records.retain(|one| !one.entry.is_same(entry));
        self.attempt = self.attempt.saturating_add(1);
    }
}

/// Each word with its length before it, so that no two lists are the same bytes.
fn hashed(what: &str, words: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(what);
    for word in words {
        hash.update((word.len() as u64).to_le_bytes());
        hash.update(word);
    }
    hash.finalize().into()
}
