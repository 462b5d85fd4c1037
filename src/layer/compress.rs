//! Compresses clusters, several at once, and lays them out in order.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use i2kit_format::BLOCK;
use i2kit_format::erofs::{Cluster, Compressor, MAX_PHYSICAL_CLUSTER};
use rayon::prelude::*;

use super::buffers::{Receiver, Sender};
use super::clusters::Item;
use super::compression::Compression;
use super::run::{Gone, Slabs};
use super::{Entry, EntryKind};

const BLOCK_LEN: usize = 4096;

/// Clusters for each thread that are compressed before any of them is laid out.
const BATCH_PER_THREAD: usize = 4;

/// Where an item lies: its clusters, one unless it had to be halved.
pub(super) type Placement = Vec<Cluster>;

/// What became of an item.
struct Squeezed {
    parts: Vec<Part>,
    /// By which another of the same bytes is known.
    digest: Option<blake3::Hash>,
}

/// A cluster of an item.
struct Part {
    /// Bytes of the item.
    len: usize,
    /// None where they stay as they are.
    bytes: Option<Vec<u8>>,
}

/// Compressors that wait for work: making one takes longer than compressing a cluster.
struct Pool {
    compression: Compression,
    idle: Mutex<Vec<Compressor>>,
}

impl Pool {
    fn compress(&self, item: &Item) -> io::Result<Squeezed> {
        if !item.is_compressed {
            let (len, bytes) = (item.bytes.len(), None);
            return Ok(Squeezed {
                parts: vec![Part { len, bytes }],
                digest: None,
            });
        }
        let digest = self.compression.dedupe.then(|| blake3::hash(&item.bytes));
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle().pop();
        let mut compressor = match waiting {
            Some(compressor) => compressor,
            None => Compressor::new(self.compression.algorithm, self.compression.level)?,
        };
        let mut parts = Vec::with_capacity(1);
        squeeze(&mut compressor, &item.bytes, &mut parts)?;
        idle().push(compressor);
        Ok(Squeezed { parts, digest })
    }
}

/// Compresses bytes as one cluster, or as two where one would take too many blocks.
fn squeeze(compressor: &mut Compressor, bytes: &[u8], parts: &mut Vec<Part>) -> io::Result<()> {
    let compressed = compressor.compress(bytes)?;
    match compressed {
        Some(compressed) if compressed.len() > MAX_PHYSICAL_CLUSTER => {
            let half = (bytes.len() / 2).next_multiple_of(BLOCK_LEN);
            let (first, second) = bytes.split_at(half.min(bytes.len()));
            squeeze(compressor, first, parts)?;
            squeeze(compressor, second, parts)
        }
        bytes_or_none => {
            parts.push(Part {
                len: bytes.len(),
                bytes: bytes_or_none,
            });
            Ok(())
        }
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
            return Ok(found.clone());
        }
        let mut placement = Placement::with_capacity(squeezed.parts.len());
        let mut rest = item.bytes.as_slice();
        for part in &squeezed.parts {
            let (plain, later) = rest.split_at(part.len.min(rest.len()));
            rest = later;
            let bytes = part.bytes.as_deref().unwrap_or(plain);
            let start_block = self.slabs.next_block()?;
            self.slabs.append(bytes)?;
            placement.push(Cluster {
                len: u32::try_from(part.len).unwrap_or(u32::MAX),
                blocks: u32::try_from((bytes.len() as u64).div_ceil(BLOCK)).unwrap_or(u32::MAX),
                start_block,
            });
        }
        if let Some(digest) = squeezed.digest {
            self.seen.insert(digest, placement.clone());
        }
        Ok(placement)
    }
}

/// Puts clusters in the place of items' numbers.
pub(super) fn resolve(entries: &mut [Entry], packed: &mut Vec<Cluster>, placements: &[Placement]) {
    let find = |number: u64| -> &[Cluster] {
        let found = usize::try_from(number).ok();
        found
            .and_then(|at| placements.get(at))
            .map_or(&[], Vec::as_slice)
    };
    let settle = |clusters: &mut Vec<Cluster>| {
        let settled = clusters.iter().flat_map(|item| find(item.start_block));
        *clusters = settled.copied().collect();
    };
    settle(packed);
    for entry in entries {
        match &mut entry.kind {
            EntryKind::Compressed(file) => settle(&mut file.clusters),
            EntryKind::Regular(file) => file.extents.iter_mut().for_each(|extent| {
                let first = find(extent.start_block).first();
                extent.start_block = first.map_or(0, |cluster| cluster.start_block);
            }),
            _ => {}
        }
    }
}
