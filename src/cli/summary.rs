//! What a build tells at its end.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use i2kit_format::gpt;
use serde::{Deserialize, Serialize};

use crate::assemble::MeasuredBoot;
use crate::assemble::place::Place;

/// What was built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub disk: PathBuf,
    pub size: u64,
    /// Bytes that are not holes.
    pub data_bytes: u64,
    pub root_hash: String,
    /// What the UKI calls the image's version.
    pub image_version: Option<u64>,
    /// The disk was already there.
    pub unchanged: bool,
    pub partitions: Vec<Partition>,
    pub layers: Vec<Layer>,
    /// Bytes between layers that none has.
    pub holes: u64,
    /// Bytes of the store's metadata.
    pub metadata: u64,
    /// The PCRs to expect. The outputs record has them beside the summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_boot: Option<MeasuredBoot>,
    pub ports: Vec<i2kit_contract::Port>,
    pub stages: Vec<Stage>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    pub name: String,
    pub offset: u64,
    pub size: u64,
}

impl From<&gpt::Partition> for Partition {
    fn from(one: &gpt::Partition) -> Self {
        Self {
            name: one.name.clone(),
            offset: one.offset(),
            size: one.size(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    pub diff_id: String,
    /// Bytes in the store.
    pub size: u64,
    /// Where it lies there.
    pub place: Place,
    /// Bytes of files that layers above deleted or replaced.
    pub dead: u64,
    /// Bytes that were left out for that.
    pub dropped: u64,
    pub reused: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    pub name: String,
    pub seconds: f64,
}

impl Stage {
    pub fn new(name: &str, duration: Duration) -> Self {
        Self {
            name: name.to_owned(),
            seconds: duration.as_secs_f64(),
        }
    }
}

impl Summary {
    /// For a person, without a line end.
    pub fn render(&self) -> String {
        let mut out = format!(
            "{}: {}{}",
            self.disk.display(),
            bytes(self.data_bytes),
            if self.unchanged { ", unchanged" } else { "" },
        );
        for partition in &self.partitions {
            let _ = write!(
                out,
                "\n  {:<14}{:>11}",
                partition.name,
                bytes(partition.size)
            );
        }
        let reused = self.layers.iter().filter(|layer| layer.reused).count();
        let _ = write!(
            out,
            "\n  layers: {}, {reused} from the cache",
            self.layers.len()
        );
        let dead = self.layers.iter().map(|layer| layer.dead).sum();
        let dropped = self.layers.iter().map(|layer| layer.dropped).sum();
        let parts: [(u64, &str); 3] = [(dead, "dead"), (dropped, "dropped"), (self.holes, "holes")];
        for (len, what) in parts.into_iter().filter(|(len, _)| *len > 0) {
            let _ = write!(out, ", {} {what}", bytes(len));
        }
        let stages = self
            .stages
            .iter()
            .map(|stage| format!("{} {:.2} s", stage.name, stage.seconds));
        let _ = write!(out, "\n  time: {}", stages.collect::<Vec<_>>().join(", "));
        let _ = write!(out, "\n  root hash: {}", self.root_hash);
        if let Some(measured) = &self.measured_boot {
            let registers = &measured.sha256;
            let _ = write!(out, "\n  PCR 4: {}", registers.pcr4);
            let _ = write!(out, "\n  PCR 11: {}", registers.pcr11);
        }
        out
    }
}

/// A size as people read it.
pub fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
