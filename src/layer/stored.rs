//! A converted layer's files in the cache.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use i2kit_format::{BLOCK, SLAB};

use super::ConvertedLayer;
use super::entries::Index;
use super::slabs::Hashed;

const DATA: &str = "data";
const HASH_BLOCKS: &str = "hashes";
const INDEX: &str = "entries";

pub(super) fn data_path(folder: &Path) -> std::path::PathBuf {
    folder.join(DATA)
}

pub(super) fn index_path(folder: &Path) -> std::path::PathBuf {
    folder.join(INDEX)
}

/// Writes what belongs beside the data, which is already there. The small files are fsynced; the
/// data is not, since each of its slabs is checked when it is copied.
pub(super) fn write(
    folder: &Path,
    hashed: Hashed,
    entries: Vec<super::Entry>,
    tar_len: u64,
) -> io::Result<()> {
    let index = Index {
        tar_len,
        data_len: hashed.digests.len() as u64 * SLAB,
        hash_blocks_checksum: blake3::hash(&hashed.hash_blocks).into(),
        slab_digests: hashed.digests,
        entries,
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

/// The layer in `folder`, or `None` when something of it is missing or not as it was written.
pub(super) fn load(
    folder: &Path,
    diff_id: &str,
    reused: bool,
) -> io::Result<Option<ConvertedLayer>> {
    let (data, hash_blocks) = (folder.join(DATA), folder.join(HASH_BLOCKS));
    let Some(index) = Index::decode(&fs::read(folder.join(INDEX))?) else {
        return Ok(None);
    };
    let hashes = fs::read(&hash_blocks)?;
    let slabs = index.data_len / SLAB;
    let whole = fs::metadata(&data)?.len() == index.data_len
        && hashes.len() as u64 == slabs * BLOCK
        && index.slab_digests.len() as u64 == slabs
        && *blake3::hash(&hashes).as_bytes() == index.hash_blocks_checksum;
    Ok(whole.then(|| ConvertedLayer {
        diff_id: diff_id.to_owned(),
        entries: index.entries,
        data,
        hash_blocks,
        slab_digests: index.slab_digests,
        tar_len: index.tar_len,
        reused,
    }))
}
