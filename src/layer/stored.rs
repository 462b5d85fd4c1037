//! A converted layer's files in the cache.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use i2kit_format::erofs::Cluster;
use i2kit_format::{BLOCK, SLAB};

use super::entries::Index;
use super::slabs::Hashed;
use super::{ConvertedLayer, LayerSpec, Origin};
use crate::cache;
use crate::disk::Blob;

/// What a layer's entries became.
pub(super) struct Packed {
    pub(super) entries: Vec<super::Entry>,
    pub(super) packed: Vec<Cluster>,
    pub(super) tar_len: u64,
}

pub(super) const DATA: &str = "data";
pub(super) const HASH_BLOCKS: &str = "hashes";
pub(super) const INDEX: &str = "entries";

/// Writes what belongs beside the data, which is already there. The small files are fsynced; the
/// data is not, since each of its slabs is checked when it is copied.
pub(super) fn write(folder: &Path, hashed: Hashed, packed: Packed) -> io::Result<()> {
    let index = Index {
        tar_len: packed.tar_len,
        data_len: hashed.digests.len() as u64 * SLAB,
        hash_blocks_checksum: blake3::hash(&hashed.hash_blocks).into(),
        slab_digests: hashed.digests,
        packed: packed.packed,
        entries: packed.entries,
    };
    write_small(folder, &hashed.hash_blocks, &index.encode())
}

/// Writes the small files.
pub(super) fn write_small(folder: &Path, hash_blocks: &[u8], index: &[u8]) -> io::Result<()> {
    for (name, bytes) in [(HASH_BLOCKS, hash_blocks), (INDEX, index)] {
        let mut file = File::create_new(folder.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    Ok(())
}

/// The layer of the entry, its files open, or None when something of it is missing or not as it
/// was written. The slabs themselves are not read.
pub(super) fn load(
    entry: &Arc<cache::Entry>,
    spec: &LayerSpec,
    origin: Origin,
) -> io::Result<Option<ConvertedLayer>> {
    let folder = entry.folder();
    let Some((index, _)) = read_small(folder)? else {
        return Ok(None);
    };
    let data = Blob::file(&folder.join(DATA), index.slab_digests.clone())?;
    let hash_blocks = Blob::file(&folder.join(HASH_BLOCKS), Vec::new())?;
    let is_whole = data.len() == index.data_len;
    Ok(is_whole.then(|| ConvertedLayer {
        diff_id: spec.diff_id.clone(),
        compression: spec.compression,
        packed: index.packed,
        entries: index.entries,
        data,
        hash_blocks,
        slab_digests: index.slab_digests,
        tar_len: index.tar_len,
        origin,
        entry: Arc::clone(entry),
    }))
}

/// The index and the hash blocks, when both are as they were written.
pub(super) fn read_small(folder: &Path) -> io::Result<Option<(Index, Vec<u8>)>> {
    let Some(index) = Index::decode(&fs::read(folder.join(INDEX))?) else {
        return Ok(None);
    };
    let hash_blocks = fs::read(folder.join(HASH_BLOCKS))?;
    let slabs = index.data_len / SLAB;
    let agree = hash_blocks.len() as u64 == slabs * BLOCK
        && index.slab_digests.len() as u64 == slabs
        && *blake3::hash(&hash_blocks).as_bytes() == index.hash_blocks_checksum;
    Ok(agree.then_some((index, hash_blocks)))
}
