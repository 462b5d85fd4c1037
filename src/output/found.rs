//! The record of a disk that is there, to compare with the one that came with it.

use std::collections::BTreeMap;
use std::io;

use i2kit_contract::{Contract, LABEL_STORE, POD_JSON};
use i2kit_format::erofs::Reader;
use i2kit_format::{BLOCK, ReadAt, SLAB, gpt};
use rayon::prelude::*;
use serde_json::Value;

use super::disk_digest;
use super::record::{OutputsRecord, Partition, written};
use crate::assemble::partitions::{free_len, partition_len};
use crate::assemble::place::Place;
use crate::assemble::{LAYERS, LayerPart, UkiFacts, signature_of};
use crate::disk::{self, Blob};
use crate::inspect::{self, Error};

impl OutputsRecord {
    /// What a record says of `disk`. What nothing on a disk tells, its inputs' key and how much of its
    /// layers is dead or was left out, is this record's.
    ///
    /// # Errors
    /// [`Error`] when the disk cannot be read.
    pub fn found(&self, disk: &Blob) -> Result<Self, Error> {
        let unread = |source| Error::Read {
            what: "disk".to_owned(),
            source,
        };
        let table = gpt::read(disk)?;
        let uki = inspect::uki(disk)?;
        let facts = UkiFacts::of(&uki);
        let slabs = disk::slabs(disk).map_err(unread)?;
        let contract = Contract::from_json(&inspect::file(disk, POD_JSON)?)?;
        let ports = contract.all_containers().flat_map(|one| one.ports.clone());
        let free = free_len(&table, disk.len());
        let is_asked = partition_len(self.scratch) == free;
        let inputs = inspect::inputs(disk)?;
        let layers = self.placed(&inputs)?;
        Ok(Self {
            size: disk.len(),
            data_bytes: data_bytes(disk, slabs.keys().copied()).map_err(unread)?,
            scratch: if is_asked { self.scratch } else { free },
            root_hash: hex::encode(inspect::root_hash(&uki)?),
            disk_digest: disk_digest(&slabs),
            partitions: table.partitions.iter().map(Partition::from).collect(),
            holes: holes(&layers),
            layers,
            metadata: metadata_len(disk, &table)?,
            uki: facts.sections,
            signature: signature_of(&uki)?.map(hex::encode),
            measured_boot: facts.measured_boot,
            ports: ports.collect(),
            inputs,
            slabs: written(&slabs),
            ..self.clone()
        })
    }

    /// The layers where `inputs` says that they lie; what it does not name is left out.
    fn placed(&self, inputs: &Value) -> Result<Vec<LayerPart>, Error> {
        let places = inputs.get(LAYERS).cloned().unwrap_or_default();
        let places: BTreeMap<String, Place> = serde_json::from_value(places)?;
        let layers = self.layers.iter().filter_map(|layer| {
            let place = *places.get(&layer.diff_id)?;
            Some(LayerPart {
                place,
                ..layer.clone()
            })
        });
        Ok(layers.collect())
    }
}

/// Bytes between the superblock's slab and the last layer that no layer has.
fn holes(layers: &[LayerPart]) -> u64 {
    let places = || layers.iter().map(|layer| layer.place);
    let end = places().map(|one| one.slab.saturating_add(one.slabs)).max();
    let taken = places().map(|one| one.slabs).fold(1, u64::saturating_add);
    end.unwrap_or(1).saturating_sub(taken).saturating_mul(SLAB)
}

fn metadata_len(disk: &Blob, table: &gpt::Table) -> Result<u64, Error> {
    let store = table.named(LABEL_STORE);
    let store = store.and_then(|one| disk.part(one.offset(), one.size()));
    let store = store.ok_or_else(|| Error::NoPartition(LABEL_STORE.to_owned()))?;
    let summary = Reader::open(&store)?.summary();
    let blocks = summary.blocks.saturating_sub(summary.meta_start_block);
    Ok(u64::from(blocks) * BLOCK)
}

/// Bytes of blocks that are not zero.
fn data_bytes(disk: &Blob, slabs: impl Iterator<Item = u64>) -> io::Result<u64> {
    let slabs: Vec<u64> = slabs.collect();
    let counts = slabs.into_par_iter().map(|slab| -> io::Result<u64> {
        let offset = slab * SLAB;
        let len = SLAB.min(disk.len() - offset);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        disk.read_exact_at(&mut bytes, offset)?;
        let block = usize::try_from(BLOCK).unwrap_or(usize::MAX);
        let used = bytes
            .chunks(block)
            .filter(|one| one.iter().any(|byte| *byte != 0));
        Ok(used.map(|one| one.len() as u64).sum::<u64>())
    });
    counts.sum()
}
