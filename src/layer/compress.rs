//! Compresses clusters, several at once, and lays them out in order.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use i2kit_format::BLOCK;
use i2kit_format::erofs::{Cluster, Compressor};
use rayon::prelude::*;

use super::buffers::{Receiver, Sender};
use super::clusters::Item;
use super::compression::Compression;
use super::run::{Gone, Slabs};
use super::{Entry, EntryKind};

/// Clusters for each thread that are compressed before any of them is laid out.
const BATCH_PER_THREAD: usize = 4;

/// Where an item lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    start_block: u64,
    blocks: u32,
}

/// What became of an item.
#[derive(Default)]
struct Squeezed {
    /// None where it stays as it is.
    bytes: Option<Vec<u8>>,
    /// By which another of the same bytes is known.
    digest: Option<blake3::Hash>,
}

/// Compressors that wait for work: making one takes longer than compressing a cluster.
struct Pool {
    compression: Compression,
    idle: Mutex<Vec<Compressor>>,
}

impl Pool {
    fn compress(&self, item: &Item) -> io::Result<Squeezed> {
        if !item.is_compressed {
            return Ok(Squeezed::default());
        }
        let digest = self.compression.dedupe.then(|| blake3::hash(&item.bytes));
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle().pop();
        let mut compressor = match waiting {
            Some(compressor) => compressor,
            None => Compressor::new(self.compression.algorithm, self.compression.level)?,
        };
        let bytes = compressor.compress(&item.bytes)?;
        idle().push(compressor);
        Ok(Squeezed { bytes, digest })
    }
}

/// Lays the items that come out in slabs; answers where each lies. Nothing when the stage behind is
/// gone, whose error tells why.
pub(super) fn run(
    items: &Receiver<Item>,
    compression: Compression,
    slabs: Sender<Vec<u8>>,
) -> io::Result<Vec<Placement>> {
    let pool = Pool {
        compression,
        idle: Mutex::new(Vec::new()),
    };
    let mut layout = Layout {
        slabs: Slabs::new(slabs),
        seen: HashMap::new(),
    };
    let mut placements = Vec::new();
    let batch_len = rayon::current_num_threads().saturating_mul(BATCH_PER_THREAD);
    loop {
        let batch = items.iter().take(batch_len);
        let batch = batch.collect::<io::Result<Vec<_>>>()?;
        if batch.is_empty() {
            break;
        }
        let compressed: io::Result<Vec<_>> =
            batch.par_iter().map(|item| pool.compress(item)).collect();
        for (item, compressed) in batch.into_iter().zip(compressed?) {
            let Ok(placement) = layout.place(&item, &compressed) else {
                return Ok(placements);
            };
            placements.push(placement);
            items.give_back(item.bytes);
        }
    }
    let _: Result<(), Gone> = layout.slabs.finish();
    Ok(placements)
}

/// Where the next item goes.
struct Layout {
    slabs: Slabs,
    /// By the digest of their bytes, clusters that are stored once.
    seen: HashMap<blake3::Hash, Placement>,
}

impl Layout {
    fn place(&mut self, item: &Item, squeezed: &Squeezed) -> Result<Placement, Gone> {
        if item.may_cut {
            self.slabs.cut()?;
        }
        if let Some(found) = squeezed.digest.and_then(|digest| self.seen.get(&digest)) {
            return Ok(*found);
        }
        let bytes = squeezed.bytes.as_deref().unwrap_or(&item.bytes);
        let start_block = self.slabs.next_block()?;
        self.slabs.append(bytes)?;
        let placement = Placement {
            start_block,
            blocks: u32::try_from((bytes.len() as u64).div_ceil(BLOCK)).unwrap_or(u32::MAX),
        };
        if let Some(digest) = squeezed.digest {
            self.seen.insert(digest, placement);
        }
        Ok(placement)
    }
}

/// Puts blocks in the place of items' numbers.
pub(super) fn resolve(entries: &mut [Entry], packed: &mut [Cluster], placements: &[Placement]) {
    let find = |number: u64| {
        let found = usize::try_from(number)
            .ok()
            .and_then(|at| placements.get(at));
        found.copied().unwrap_or(Placement {
            start_block: 0,
            blocks: 0,
        })
    };
    let settle = |cluster: &mut Cluster| {
        let Placement {
            start_block,
            blocks,
        } = find(cluster.start_block);
        (cluster.start_block, cluster.blocks) = (start_block, blocks);
    };
    packed.iter_mut().for_each(settle);
    for entry in entries {
        match &mut entry.kind {
            EntryKind::Compressed(file) => file.clusters.iter_mut().for_each(settle),
            EntryKind::Regular(file) => file.extents.iter_mut().for_each(|extent| {
                extent.start_block = find(extent.start_block).start_block;
            }),
            _ => {}
        }
    }
}
