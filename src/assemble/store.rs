//! The store: one EROFS over the layers' data, and its hash tree.
//!
//! ```text
//! slab 0          superblock, and files made for this build that fit behind it: pod.json, …
//! slab 1 ..       layers' data, each at a slab boundary, base first; or as in an old disk, with
//!                 holes of zeros between
//! next slab       files made for this build that did not fit, metadata
//! ```
//!
//! What changes with every build takes as few slabs as it can.

use i2kit_format::erofs::{self, Content, FileData, FileExtent, Inode, InodeId, Metadata, Tree};
use i2kit_format::verity::{self, HashBlock, Superblock, TreeBuilder};
use i2kit_format::{BLOCK, SLAB};
use sha2::{Digest, Sha256};

use super::merged::{Merged, PlacedLayer, Placement};
use crate::disk::{self, Blob, BlobError, SlabDigests};

/// The block where layers may begin: behind the superblock's slab.
pub const FIRST_BLOCK: u64 = SLAB / BLOCK;

/// Why no store came of a tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// EROFS cannot hold the tree.
    #[error(transparent)]
    Erofs(#[from] erofs::Error),
    /// A layer's hash blocks cannot be opened.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A layer's hash blocks cannot be read, or are not as many as its slabs.
    #[error("read hash blocks of layer {layer}: {reason}")]
    HashBlocks {
        /// Its diffID.
        layer: String,
        /// What is wrong.
        reason: String,
    },
}

/// A file made for this build, in the store's root.
pub struct BuildFile {
    /// Its name.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The store's two partitions as blobs to place.
pub struct Store {
    /// Pieces of the data partition, ascending by offset.
    pub data: Vec<(u64, Blob)>,
    /// Bytes of the data partition: whole slabs.
    pub data_len: u64,
    /// Pieces of the hash partition, ascending by offset.
    pub hash: Vec<(u64, Blob)>,
    /// Bytes of the hash partition.
    pub hash_len: u64,
    /// dm-verity root hash.
    pub root_hash: [u8; 32],
    /// Layers and their places.
    pub layers: Vec<PlacedLayer>,
    /// Bytes of EROFS metadata.
    pub metadata_len: u64,
    /// Where what comes after the layers begins, bytes from the store's start: the metadata.
    pub metadata_at: u64,
}

/// Builds the store from a merged tree, placed, whose root already names everything but `files`.
///
/// # Errors
/// [`Error`].
pub fn build(
    mut merged: Merged,
    placement: Placement,
    files: Vec<BuildFile>,
) -> Result<Store, Error> {
    let Placement { layers, next, .. } = placement;
    let built = add_files(&mut merged.tree, files, next);
    let options = erofs::Options {
        meta_start_block: next + blocks(&built.behind),
        uuid: uuid(&layers, &built),
        volume_name: *b"i2kit-store\0\0\0\0\0",
    };
    let image = erofs::write(&merged.tree, &options)?;
    let metadata_len = image.metadata.len() as u64;
    let first = [image.first_block.to_vec(), built.in_front].concat();
    let tail = [built.behind, image.metadata].concat();
    Assembly {
        first: own(padded(first)),
        tail: own(padded(tail)),
        tail_at: next * BLOCK,
        layers,
        metadata_len,
    }
    .finish()
}

/// Bytes of this build, with the digests of their slabs.
struct Own {
    blob: Blob,
    hash_blocks: Vec<HashBlock>,
}

fn own(bytes: Vec<u8>) -> Own {
    let slab = usize::try_from(SLAB).unwrap_or(usize::MAX);
    let slabs: Vec<&[u8]> = bytes.chunks(slab).collect();
    let digests = SlabDigests::of_each(&slabs);
    let hash_blocks = slabs.into_iter().map(verity::hash_slab).collect();
    Own {
        blob: Blob::bytes_with_digests(bytes, digests),
        hash_blocks,
    }
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    let slab = usize::try_from(SLAB).unwrap_or(usize::MAX);
    bytes.resize(bytes.len().next_multiple_of(slab), 0);
    bytes
}

/// Data of files made for this build, whole blocks.
#[derive(Default)]
struct Built {
    /// In the superblock's slab, from its second block on.
    in_front: Vec<u8>,
    /// Behind the layers.
    behind: Vec<u8>,
}

fn blocks(bytes: &[u8]) -> u64 {
    (bytes.len() as u64).div_ceil(BLOCK)
}

/// Adds the files to the root, their data to the superblock's slab as long as there is room, else
/// behind the layers, at block `next`.
fn add_files(tree: &mut Tree, files: Vec<BuildFile>, next: u64) -> Built {
    let mut built = Built::default();
    for file in files {
        let size = file.bytes.len() as u64;
        let used = 1 + blocks(&built.in_front);
        let (data, start_block) = if used + blocks(&file.bytes) <= FIRST_BLOCK {
            (&mut built.in_front, used)
        } else {
            let start_block = next + blocks(&built.behind);
            (&mut built.behind, start_block)
        };
        data.extend(&file.bytes);
        data.resize(data.len().next_multiple_of(4096), 0);
        let extent = FileExtent {
            offset: 0,
            len: size,
            start_block,
        };
        let extents = if size == 0 { Vec::new() } else { vec![extent] };
        let metadata = Metadata {
            mode: 0o644,
            ..Metadata::default()
        };
        let id = tree.add(Inode {
            metadata,
            content: Content::Regular(FileData { size, extents }),
        });
        name(tree, Tree::ROOT, file.name, id);
    }
    built
}

/// Gives `id` a name in `directory`.
pub fn name(tree: &mut Tree, directory: InodeId, name: &str, id: InodeId) {
    if let Some(entries) = tree.directory_mut(directory) {
        entries.insert(name.as_bytes().into(), id);
    }
}

/// Derived from what the file system holds, so that equal stores have equal UUIDs.
fn uuid(layers: &[PlacedLayer], built: &Built) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(b"i2kit store\0");
    layers
        .iter()
        .for_each(|placed| hash.update(placed.diff_id.as_bytes()));
    for data in [&built.in_front, &built.behind] {
        hash.update(Sha256::digest(data));
    }
    super::content_uuid(hash.finalize().as_slice())
}

struct Assembly {
    first: Own,
    tail: Own,
    tail_at: u64,
    layers: Vec<PlacedLayer>,
    metadata_len: u64,
}

impl Assembly {
    fn finish(self) -> Result<Store, Error> {
        let data_len = self.tail_at + self.tail.blob.len();
        let mut tree = TreeBuilder::new();
        let mut level0 = Vec::new();
        push_own(&mut tree, &mut level0, &self.first);
        let mut end = FIRST_BLOCK * BLOCK;
        for placed in &self.layers {
            let start = placed.start_block * BLOCK;
            push_hole(&mut tree, &mut level0, start.saturating_sub(end));
            push_cached(&mut tree, placed)?;
            level0.push(placed.hash_blocks.clone());
            end = start + placed.data.len();
        }
        push_own(&mut tree, &mut level0, &self.tail);
        let upper = tree.finish();
        let mut data = vec![(0, self.first.blob)];
        data.extend(
            self.layers
                .iter()
                .map(|one| (one.start_block * BLOCK, one.data.clone())),
        );
        data.push((self.tail_at, self.tail.blob));
        let mut start = Superblock::new(super::content_uuid(&upper.root_hash), data_len / BLOCK)
            .to_block()
            .to_vec();
        start.extend(upper.blocks);
        let mut hash = Vec::new();
        let mut hash_len = 0;
        for blob in std::iter::once(Blob::bytes(start)).chain(level0) {
            let len = blob.len();
            hash.push((hash_len, blob));
            hash_len += len;
        }
        Ok(Store {
            data,
            data_len,
            hash,
            hash_len,
            root_hash: upper.root_hash,
            layers: self.layers,
            metadata_len: self.metadata_len,
            metadata_at: self.tail_at,
        })
    }
}

fn push_own(tree: &mut TreeBuilder, level0: &mut Vec<Blob>, own: &Own) {
    own.hash_blocks.iter().for_each(|block| tree.push(block));
    level0.push(Blob::bytes(own.hash_blocks.concat()));
}

/// Pushes the hash blocks of `len` bytes of zeros.
fn push_hole(tree: &mut TreeBuilder, level0: &mut Vec<Blob>, len: u64) {
    for _ in 0..len / SLAB {
        tree.push(verity::zero_slab());
        level0.push(Blob::bytes(*verity::zero_slab()));
    }
}

/// Pushes a layer's cached hash blocks, one for each of its slabs.
fn push_cached(tree: &mut TreeBuilder, placed: &PlacedLayer) -> Result<(), Error> {
    use i2kit_format::ReadAt;
    let blob = &placed.hash_blocks;
    let error = |reason: String| Error::HashBlocks {
        layer: placed.diff_id.clone(),
        reason,
    };
    let slabs = placed.data.len().div_ceil(SLAB);
    if blob.len() != slabs * BLOCK {
        return Err(error(format!("{} bytes for {slabs} slabs", blob.len())));
    }
    let mut block: HashBlock = [0; verity::HASH_BLOCK];
    for slab in 0..slabs {
        blob.read_exact_at(&mut block, slab * BLOCK)
            .map_err(|source| error(source.to_string()))?;
        tree.push(&block);
    }
    Ok(())
}

/// Places the two partitions' pieces on a disk.
///
/// # Errors
/// [`disk::OverlapError`] when the disk's layout leaves too little room.
pub fn place(
    pieces: Vec<(u64, Blob)>,
    partition: u64,
    disk: &mut disk::Builder,
) -> Result<(), disk::OverlapError> {
    pieces
        .into_iter()
        .try_for_each(|(offset, blob)| disk.place(partition + offset, blob))
}
