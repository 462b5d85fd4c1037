//! `--place-like` and `--compact`: what of an old disk's layout a new one keeps.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::args::PlaceArgs;
use super::error::Error;
use super::summary::Summary;
use crate::assemble::LAYERS;
use crate::assemble::place::{Like, Place};
use crate::disk::FileDisk;
use crate::inspect;
use crate::output::OutputsRecord;

/// In the inputs record: what was kept of an old disk's layout.
const PLACE_LIKE: &str = "place_like";

/// How layers are placed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placing {
    /// What is kept of an old disk's layout.
    pub like: Like,
    /// Leave out bytes that no file has.
    pub compact: bool,
}

impl Placing {
    /// What the flags say about a disk with the layers of these diffIDs; nothing is kept of others.
    pub fn of(
        arguments: &PlaceArgs,
        diff_ids: impl Iterator<Item = String>,
    ) -> Result<Self, Error> {
        let old = arguments.place_like.as_deref().map(layout).transpose()?;
        let mut like = old.unwrap_or_default();
        let mut layers = std::mem::take(&mut like.layers);
        like.layers = diff_ids.filter_map(|id| layers.remove_entry(&id)).collect();
        Ok(Self {
            like,
            compact: arguments.compact,
        })
    }

    /// Notes it in an inputs record.
    pub fn record(&self, record: &mut Map<String, Value>) -> Result<(), Error> {
        let like = (self.like != Like::default()).then_some(&self.like);
        record.insert(PLACE_LIKE.to_owned(), serde_json::to_value(like)?);
        record.insert("compact".to_owned(), self.compact.into());
        Ok(())
    }
}

/// What a disk's own build kept of an older one's layout, by its inputs record.
pub fn recorded(inputs: &Value) -> Result<Like, serde_json::Error> {
    let like = inputs.get(PLACE_LIKE).cloned().unwrap_or_default();
    Ok(serde_json::from_value::<Option<Like>>(like)?.unwrap_or_default())
}

/// Where partitions and layers of the disk at `path` lie, which may also be the record beside one.
fn layout(path: &Path) -> Result<Like, Error> {
    if let Some(record) = OutputsRecord::<Summary>::read(path) {
        let partitions = record.summary.partitions.into_iter();
        let layers = record.summary.layers.into_iter();
        return Ok(Like {
            partitions: partitions.map(|one| (one.name, one.offset)).collect(),
            layers: layers.map(|one| (one.diff_id, one.place)).collect(),
        });
    }
    let context = |reason: String| Error::PlaceLike {
        path: path.to_owned(),
        reason,
    };
    let disk = FileDisk::open(path)?;
    let partitions = inspect::partitions(&disk).map_err(|error| context(error.to_string()))?;
    let inputs = inspect::inputs(&disk).map_err(|error| context(error.to_string()))?;
    let layers = inputs.get(LAYERS).cloned().unwrap_or_default();
    let layers: BTreeMap<String, Place> = serde_json::from_value(layers)
        .map_err(|error| context(format!("{LAYERS} of its inputs record: {error}")))?;
    Ok(Like {
        partitions: partitions
            .into_iter()
            .map(|one| (one.name, one.offset))
            .collect(),
        layers,
    })
}
