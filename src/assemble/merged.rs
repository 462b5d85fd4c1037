//! The merged tree: the base's and every container's layers replayed into one arena, before it is
//! known where on the disk each layer will lie.
//!
//! Until then an extent's block number names its layer and the block within it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use i2kit_format::erofs::{
    Cluster, Compression, Content, Directory, Inode, InodeId, Metadata, Tree,
};
use i2kit_format::{BLOCK, ReadAt, SLAB};

use super::file::{Altered, Check, File, Recent};
use super::kept::Kept;
use super::live::Live;
use super::merge;
use super::place::{self, Like, Place};
use crate::disk::{Blob, BlobError};
use crate::layer::{ConvertedLayer, Origin};

/// Bits of a block number that count within a layer: 2^40 bytes * 4096.
pub(super) const LAYER_SHIFT: u32 = 40;
const SLAB_BLOCKS: u64 = SLAB / BLOCK;
/// A path runs through at most this many symlinks, as in the kernel.
const MAX_SYMLINKS: usize = 40;

/// Why layers do not make a tree, or a file of it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A layer's entries do not apply.
    #[error("merge layer {layer}: {source}")]
    Merge {
        /// Its diffID.
        layer: String,
        /// Which entry, and why.
        source: merge::Error,
    },
    /// A cached blob cannot be opened.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A cached blob cannot be read.
    #[error("read {path}: {source}")]
    Read {
        /// Path in the merged tree.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A cached blob's slab is not what was hashed.
    #[error("read {path}: {blob} was altered in the cache")]
    Altered {
        /// Path in the merged tree.
        path: String,
        /// The cached file.
        blob: PathBuf,
    },
    /// A layer's data cannot be read.
    #[error("read layer {layer}: {source}")]
    Layer {
        /// Its diffID.
        layer: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Layers that were compressed in different ways.
    #[error("merge layer {layer}: it is not compressed as the others are")]
    Compression {
        /// Its diffID.
        layer: String,
    },
    /// A file that must be small is not.
    #[error("read {path}: {size} bytes, at most {max} are expected")]
    TooLarge {
        /// Path in the merged tree.
        path: String,
        /// Its size.
        size: u64,
        /// The bound.
        max: u64,
    },
}

impl Error {
    /// Reading a layer's data failed.
    fn of_layer(layer: &str, source: std::io::Error) -> Self {
        match Self::of(&format!("layer {layer}"), source) {
            Self::Read { source, .. } => Self::Layer {
                layer: layer.to_owned(),
                source,
            },
            altered => altered,
        }
    }

    /// Reading the file at `path` failed.
    fn of(path: &str, source: std::io::Error) -> Self {
        let path = path.to_owned();
        let inner = source.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(Altered { blob }) => Self::Altered {
                path,
                blob: blob.clone(),
            },
            None => Self::Read { path, source },
        }
    }
}

/// A tree and the layers that its extents point into.
pub struct Merged {
    /// The inodes; extents are virtual until [`Merged::place`].
    pub tree: Tree,
    pub(super) layers: Vec<Arc<ConvertedLayer>>,
    /// Clusters that were read last.
    pub(super) recent: Recent,
}

/// How layers are placed.
#[derive(Clone, Copy, Debug)]
pub struct Placing<'a> {
    /// Where an old disk has them.
    pub like: &'a Like,
    /// Leave out what no file has.
    pub compact: bool,
}

/// Layers in their places.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The layers, ascending.
    pub layers: Vec<PlacedLayer>,
    /// The block after the last.
    pub next: u64,
    /// Bytes between them that none has.
    pub holes: u64,
}

/// A layer whose bytes the tree needs, and where they lie.
#[derive(Clone, Debug)]
pub struct PlacedLayer {
    /// The layer's diffID.
    pub diff_id: String,
    /// How the cache came to have it.
    pub origin: Origin,
    /// Its data in the store, whole slabs.
    pub data: Blob,
    /// The level-0 verity hash blocks of that.
    pub hash_blocks: Blob,
    /// First 4 KiB block in the file system.
    pub start_block: u64,
    /// Bytes of it that no file of the tree has: layers above deleted or replaced theirs.
    pub dead: u64,
    /// Bytes of the layer that were left out for that.
    pub dropped: u64,
}

impl PlacedLayer {
    fn new(layer: &ConvertedLayer, kept: &Kept, start_block: u64) -> Self {
        Self {
            diff_id: layer.diff_id.clone(),
            origin: layer.origin,
            data: kept.data.clone(),
            hash_blocks: kept.hash_blocks.clone(),
            start_block,
            dead: kept.dead,
            dropped: kept.dropped,
        }
    }

    /// Its place, in slabs.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            slab: self.start_block / SLAB_BLOCKS,
            slabs: self.data.len() / SLAB,
        }
    }
}

/// A directory that root owns, of no particular time.
#[must_use]
pub fn plain_directory() -> Inode {
    let metadata = Metadata {
        mode: 0o755,
        ..Metadata::default()
    };
    Inode {
        metadata,
        content: Content::Directory(Directory::new()),
    }
}

impl Default for Merged {
    fn default() -> Self {
        Self::new()
    }
}

impl Merged {
    /// An empty root.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tree: Tree::new(plain_directory().metadata),
            layers: Vec::new(),
            recent: Recent::default(),
        }
    }

    /// Replays `layers`, lowest first, into a new directory that nothing names yet.
    ///
    /// # Errors
    /// [`Error`] naming the layer.
    pub fn apply(&mut self, layers: &[Arc<ConvertedLayer>]) -> Result<InodeId, Error> {
        let root = self.tree.add(plain_directory());
        self.apply_onto(root, layers)?;
        Ok(root)
    }

    /// Replays `layers`, lowest first, onto what the directory `root` has.
    ///
    /// # Errors
    /// [`Error`] naming the layer; the tree is then of no use.
    pub fn apply_onto(
        &mut self,
        root: InodeId,
        layers: &[Arc<ConvertedLayer>],
    ) -> Result<(), Error> {
        for layer in layers {
            self.agree(layer)?;
            let first_block = (self.number(layer)? as u64) << LAYER_SHIFT;
            merge::apply(&mut self.tree, root, &layer.entries, first_block).map_err(|source| {
                Error::Merge {
                    layer: layer.diff_id.clone(),
                    source,
                }
            })?;
        }
        Ok(())
    }

    /// One file system has one algorithm and one size of clusters.
    fn agree(&mut self, layer: &ConvertedLayer) -> Result<(), Error> {
        let Some(compression) = layer.compression else {
            return Ok(());
        };
        let mine = Compression {
            algorithm: compression.algorithm,
            cluster_size: compression.cluster_size,
            packed: Vec::new(),
        };
        if *self.tree.compression.get_or_insert_with(|| mine.clone()) == mine {
            return Ok(());
        }
        Err(Error::Compression {
            layer: layer.diff_id.clone(),
        })
    }

    /// The layer's number; one that two containers share has one number and one place.
    fn number(&mut self, layer: &Arc<ConvertedLayer>) -> Result<usize, Error> {
        let known = self
            .layers
            .iter()
            .position(|one| one.diff_id == layer.diff_id);
        if let Some(number) = known {
            return Ok(number);
        }
        self.layers.push(Arc::clone(layer));
        Ok(self.layers.len() - 1)
    }

    /// The inode at `path` below `root`, symlinks followed as a process with that root would.
    #[must_use]
    pub fn lookup(&self, root: InodeId, path: &Path) -> Option<InodeId> {
        use std::os::unix::ffi::OsStrExt;
        let mut links = 0;
        let mut trail = vec![root];
        let mut rest: Vec<Box<[u8]>> = components(path.as_os_str().as_bytes());
        while let Some(name) = rest.pop() {
            let here = *trail.last()?;
            match &*name {
                b"." | b"" => {}
                b".." if trail.len() > 1 => drop(trail.pop()),
                b".." => {}
                _ => {
                    let id = *self.tree.directory(here)?.get(&name)?;
                    let Content::Symlink(target) = &self.tree.get(id)?.content else {
                        trail.push(id);
                        continue;
                    };
                    links += 1;
                    if links > MAX_SYMLINKS {
                        return None;
                    }
                    if target.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    rest.extend(components(target));
                }
            }
        }
        trail.last().copied()
    }

    /// The bytes of the regular file at `path` below `root`, each slab checked; `None` when there
    /// is no such file.
    ///
    /// # Errors
    /// [`Error`] when it is longer than `max` or its bytes cannot be had.
    pub fn read(&self, root: InodeId, path: &str, max: u64) -> Result<Option<Vec<u8>>, Error> {
        let inode = self
            .lookup(root, Path::new(path))
            .and_then(|id| self.tree.get(id));
        let file = inode.and_then(|inode| File::of(self, &inode.content, Check::EverySlab));
        let Some(file) = file else {
            return Ok(None);
        };
        if file.len() > max {
            return Err(Error::TooLarge {
                path: path.to_owned(),
                size: file.len(),
                max,
            });
        }
        let too_large = |_| Error::of(path, std::io::ErrorKind::OutOfMemory.into());
        let mut bytes = vec![0; usize::try_from(file.len()).map_err(too_large)?];
        let read = file.read_exact_at(&mut bytes, 0);
        read.map_err(|source| Error::of(path, source))?;
        Ok(Some(bytes))
    }

    /// The regular file `id`, to be read piecemeal as the cache has it, unchecked: for files that go
    /// into the store, whose slabs are checked when the disk is written. `None` for other inodes.
    #[must_use]
    pub fn unchecked(&self, id: InodeId) -> Option<File<'_>> {
        File::of(self, &self.tree.get(id)?.content, Check::Nothing)
    }

    /// Gives every layer that a file of the tree needs its place from `first_block` on, a slab's
    /// first, and makes all extents absolute. The layers' packed streams become one.
    ///
    /// # Errors
    /// [`Error`] when a layer that is to be compacted cannot be read, or was altered in the cache.
    pub fn place(&mut self, first_block: u64, how: &Placing<'_>) -> Result<Placement, Error> {
        let reachable = self.reachable();
        let numbers: Vec<usize> = self.needed(&reachable).into_iter().collect();
        let kept = self.kept(&reachable, &numbers, how.compact)?;
        let slabs = |kept: &Kept| kept.data.len() / SLAB;
        let layers = numbers.iter().filter_map(|number| self.layers.get(*number));
        let wanted = layers.clone().zip(&kept).map(|(one, kept)| place::Layer {
            diff_id: &one.diff_id,
            slabs: slabs(kept),
        });
        let wanted: Vec<_> = wanted.collect();
        let places = place::place(&wanted, first_block / SLAB_BLOCKS, &how.like.layers);
        let starts = places.slabs.iter().map(|slab| slab * SLAB_BLOCKS);
        let mut placed: Vec<PlacedLayer> = layers
            .zip(&kept)
            .zip(starts)
            .map(|((one, kept), start_block)| PlacedLayer::new(one, kept, start_block))
            .collect();
        self.settle(&reachable, &numbers, &kept, &placed);
        placed.sort_by_key(|one| one.start_block);
        Ok(Placement {
            layers: placed,
            next: places.end * SLAB_BLOCKS,
            holes: places.holes * SLAB,
        })
    }

    /// What of the layers of these numbers goes into the store.
    fn kept(
        &self,
        reachable: &BTreeSet<InodeId>,
        numbers: &[usize],
        compact: bool,
    ) -> Result<Vec<Kept>, Error> {
        let inodes = reachable.iter().filter_map(|id| self.tree.get(*id));
        let layers = self.layers.iter().map(|one| &**one);
        let live = Live::of(inodes.map(|inode| &inode.content), layers);
        let known = numbers
            .iter()
            .filter_map(|number| Some((*number, self.layers.get(*number)?)));
        known
            .map(|(number, layer)| match compact {
                false => Ok(Kept::whole(layer, &live, number)),
                true => Kept::compacted(layer, &live, number)
                    .map_err(|source| Error::of_layer(&layer.diff_id, source)),
            })
            .collect()
    }

    /// Makes all extents absolute, and one packed stream of those of the layers.
    fn settle(
        &mut self,
        reachable: &BTreeSet<InodeId>,
        numbers: &[usize],
        kept: &[Kept],
        placed: &[PlacedLayer],
    ) {
        let mut targets = vec![None; self.layers.len()];
        let mut packed = Vec::new();
        let mut packed_len = 0;
        for ((number, kept), placed) in numbers.iter().zip(kept).zip(placed) {
            if let Some(target) = targets.get_mut(*number) {
                *target = Some(Target {
                    start_block: placed.start_block,
                    packed: packed_len,
                    kept,
                });
            }
            packed.extend(kept.packed.iter().map(|cluster| Cluster {
                start_block: cluster.start_block + placed.start_block,
                ..*cluster
            }));
            packed_len += clusters_len(&kept.packed);
        }
        if let Some(compression) = &mut self.tree.compression {
            compression.packed = packed;
        }
        for id in reachable {
            if let Some(inode) = self.tree.get_mut(*id) {
                settle(&mut inode.content, &targets);
            }
        }
    }

    /// The numbers of the layers whose bytes some inode has.
    fn needed(&self, reachable: &BTreeSet<InodeId>) -> BTreeSet<usize> {
        let contents = reachable.iter().filter_map(|id| self.tree.get(*id));
        contents
            .flat_map(|inode| match &inode.content {
                Content::Regular(file) => file.extents.iter().map(|one| one.start_block).collect(),
                Content::Compressed(file) => {
                    let clusters = file.clusters.iter().map(|one| one.start_block);
                    clusters.chain(file.fragment).collect()
                }
                _ => Vec::new(),
            })
            .map(|place| split(place).0)
            .collect()
    }

    /// Every inode that the root reaches, once.
    fn reachable(&self) -> BTreeSet<InodeId> {
        let mut seen = BTreeSet::from([Tree::ROOT]);
        let mut stack = vec![Tree::ROOT];
        while let Some(id) = stack.pop() {
            let Some(entries) = self.tree.directory(id) else {
                continue;
            };
            stack.extend(entries.values().copied().filter(|id| seen.insert(*id)));
        }
        seen
    }
}

/// Where a layer's blocks and the bytes of its packed stream went.
#[derive(Clone)]
struct Target<'a> {
    start_block: u64,
    packed: u64,
    kept: &'a Kept,
}

/// Makes a file's extents absolute.
fn settle(content: &mut Content, targets: &[Option<Target<'_>>]) {
    let block = |start_block: &mut u64| {
        let (number, within) = split(*start_block);
        if let Some(Some(target)) = targets.get(number) {
            *start_block = target.start_block + target.kept.blocks.of(within);
        }
    };
    match content {
        Content::Regular(file) => {
            let extents = file.extents.iter_mut();
            extents.for_each(|extent| block(&mut extent.start_block));
        }
        Content::Compressed(file) => {
            let clusters = file.clusters.iter_mut();
            clusters.for_each(|cluster| block(&mut cluster.start_block));
            file.fragment = file.fragment.map(|at| {
                let (number, within) = split(at);
                let target = targets.get(number).and_then(Option::as_ref);
                target.map_or(at, |target| target.packed + target.kept.stream.of(within))
            });
        }
        _ => {}
    }
}

fn clusters_len(clusters: &[Cluster]) -> u64 {
    clusters.iter().map(|cluster| u64::from(cluster.len)).sum()
}

/// Layer number and block within it, or offset in its packed stream.
pub(super) fn split(block: u64) -> (usize, u64) {
    (
        usize::try_from(block >> LAYER_SHIFT).unwrap_or(usize::MAX),
        block & ((1 << LAYER_SHIFT) - 1),
    )
}

/// The names of a path, the last first.
fn components(path: &[u8]) -> Vec<Box<[u8]>> {
    path.split(|byte| *byte == b'/')
        .rev()
        .map(Into::into)
        .collect()
}
