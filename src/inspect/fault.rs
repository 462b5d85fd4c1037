//! The first thing that is wrong with a disk, by name.

use std::fmt;

use serde::Serialize;

/// What is wrong, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What it is a part of: `partition table`, `esp`, `store`, …
    pub part: String,
    /// The layer whose data it is (diffID), where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The file that it belongs to, from the part's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The structure in it: `second FAT`, `.cmdline`, `directory entries`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structure: Option<String>,
    /// The block of 4 KiB, counted from the part's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<u64>,
    /// The byte, counted from the disk's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What is wrong with it.
    pub reason: String,
}

impl Fault {
    /// Something wrong with a part.
    #[must_use]
    pub fn new(part: &str, reason: impl Into<String>) -> Self {
        Self {
            part: part.to_owned(),
            reason: reason.into(),
            ..Self::default()
        }
    }

    /// In that structure.
    #[must_use]
    pub fn structure(mut self, structure: impl Into<String>) -> Self {
        self.structure = Some(structure.into());
        self
    }

    /// In that file.
    #[must_use]
    pub fn file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// At that byte of the disk.
    #[must_use]
    pub fn offset(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// In that block of the part.
    #[must_use]
    pub fn block(mut self, block: u64) -> Self {
        self.block = Some(block);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.part)?;
        let named = [
            (", layer ", &self.layer),
            (", file ", &self.file),
            (", ", &self.structure),
        ];
        for (before, name) in named {
            if let Some(name) = name {
                write!(formatter, "{before}{name}")?;
            }
        }
        if let Some(block) = self.block {
            write!(formatter, ", block {block}")?;
        }
        if let Some(offset) = self.offset {
            write!(formatter, " (byte {offset} of the disk)")?;
        }
        write!(formatter, ": {}", self.reason)
    }
}
