//! The merged tree: the base's and every container's layers replayed into one arena, before it is
//! known where on the disk each layer will lie.
//!
//! Until then an extent's block number names its layer and the block within it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use i2kit_format::erofs::{Content, Directory, FileData, Inode, InodeId, Metadata, Tree};
use i2kit_format::{BLOCK, ReadAt, SLAB};

use super::merge;
use crate::disk::{Blob, BlobError};
use crate::layer::ConvertedLayer;

/// Bits of a block number that count within a layer: 2^40 bytes * 4096.
const LAYER_SHIFT: u32 = 40;
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

/// A tree and the layers that its extents point into.
pub struct Merged {
    /// The inodes; extents are virtual until [`Merged::place`].
    pub tree: Tree,
    layers: Vec<Placed>,
}

struct Placed {
    layer: Arc<ConvertedLayer>,
    blob: Blob,
}

/// A layer whose bytes the tree needs, and where they lie.
#[derive(Clone, Debug)]
pub struct PlacedLayer {
    /// The layer.
    pub layer: Arc<ConvertedLayer>,
    /// Its data.
    pub data: Blob,
    /// First 4 KiB block in the file system.
    pub start_block: u64,
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
        }
    }

    /// Replays `layers`, lowest first, into a new directory that nothing names yet.
    ///
    /// # Errors
    /// [`Error`] naming the layer.
    pub fn apply(&mut self, layers: &[Arc<ConvertedLayer>]) -> Result<InodeId, Error> {
        let root = self.tree.add(plain_directory());
        for layer in layers {
            let first_block = (self.number(layer)? as u64) << LAYER_SHIFT;
            merge::apply(&mut self.tree, root, &layer.entries, first_block).map_err(|source| {
                Error::Merge {
                    layer: layer.diff_id.clone(),
                    source,
                }
            })?;
        }
        Ok(root)
    }

    /// The layer's number; one that two containers share has one number and one place.
    fn number(&mut self, layer: &Arc<ConvertedLayer>) -> Result<usize, Error> {
        let known = self
            .layers
            .iter()
            .position(|one| one.layer.diff_id == layer.diff_id);
        if let Some(number) = known {
            return Ok(number);
        }
        self.layers.push(Placed {
            layer: Arc::clone(layer),
            blob: layer.data.clone(),
        });
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
        match inode.map(|inode| &inode.content) {
            Some(Content::Regular(file)) if file.size > max => Err(Error::TooLarge {
                path: path.to_owned(),
                size: file.size,
                max,
            }),
            Some(Content::Regular(file)) => self.read_data(file, path).map(Some),
            _ => Ok(None),
        }
    }

    /// The regular file `id`, to be read piecemeal as the cache has it, unchecked: for files that go
    /// into the store, whose slabs are checked when the disk is written. `None` for other inodes.
    #[must_use]
    pub fn unchecked(&self, id: InodeId) -> Option<Unchecked<'_>> {
        match &self.tree.get(id)?.content {
            Content::Regular(file) => Some(Unchecked { merged: self, file }),
            _ => None,
        }
    }

    fn read_data(&self, file: &FileData, path: &str) -> Result<Vec<u8>, Error> {
        let read = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let too_large = || read(std::io::ErrorKind::OutOfMemory.into());
        let mut out = vec![0; usize::try_from(file.size).map_err(|_| too_large())?];
        for extent in &file.extents {
            let start = usize::try_from(extent.offset).map_err(|_| too_large())?;
            let end = usize::try_from(extent.offset + extent.len).map_err(|_| too_large())?;
            let part = out.get_mut(start..end).ok_or_else(too_large)?;
            self.read_run(extent.start_block, part, path)?;
        }
        Ok(out)
    }

    fn read_run(&self, start_block: u64, out: &mut [u8], path: &str) -> Result<(), Error> {
        let (number, block) = split(start_block);
        let missing = || Error::Read {
            path: path.to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        let blob = &self.layers.get(number).ok_or_else(missing)?.blob;
        let mut at = block * BLOCK;
        let mut rest = out;
        let mut slab = vec![0; usize::try_from(SLAB).unwrap_or(0)];
        while !rest.is_empty() {
            let index = at / SLAB;
            blob.read_exact_at(&mut slab, index * SLAB)
                .map_err(|source| Error::Read {
                    path: path.to_owned(),
                    source,
                })?;
            if !blob
                .slab_digests(index)
                .is_some_and(|known| known.match_bytes(&slab))
            {
                let blob = blob.path().unwrap_or(Path::new("")).to_owned();
                return Err(Error::Altered {
                    path: path.to_owned(),
                    blob,
                });
            }
            let within = usize::try_from(at % SLAB).unwrap_or(0);
            let from = slab.get(within..).unwrap_or_default();
            let len = from.len().min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(from.get(..len).unwrap_or_default());
            rest = later;
            at += len as u64;
        }
        Ok(())
    }

    /// Gives every layer that a file of the tree needs its place from `first_block` on, slab
    /// after slab in the order in which they were first applied, and makes all extents absolute.
    /// Answers the layers and the block after the last.
    pub fn place(&mut self, first_block: u64) -> (Vec<PlacedLayer>, u64) {
        let reachable = self.reachable();
        let needed: BTreeSet<usize> = reachable
            .iter()
            .filter_map(|id| match &self.tree.get(*id)?.content {
                Content::Regular(file) => Some(file.extents.iter()),
                _ => None,
            })
            .flatten()
            .map(|extent| split(extent.start_block).0)
            .collect();
        let mut next = first_block;
        let mut starts = vec![0; self.layers.len()];
        let mut placed = Vec::new();
        for number in needed {
            let (Some(one), Some(start)) = (self.layers.get(number), starts.get_mut(number)) else {
                continue;
            };
            *start = next;
            let (layer, data) = (Arc::clone(&one.layer), one.blob.clone());
            next += (data.len() / BLOCK).next_multiple_of(SLAB / BLOCK);
            placed.push(PlacedLayer {
                layer,
                data,
                start_block: *start,
            });
        }
        for id in reachable {
            if let Some(Inode {
                content: Content::Regular(file),
                ..
            }) = self.tree.get_mut(id)
            {
                for extent in &mut file.extents {
                    let (number, block) = split(extent.start_block);
                    extent.start_block = starts.get(number).copied().unwrap_or(0) + block;
                }
            }
        }
        (placed, next)
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

/// A file of the merged tree; see [`Merged::unchecked`].
pub struct Unchecked<'a> {
    merged: &'a Merged,
    file: &'a FileData,
}

impl ReadAt for Unchecked<'_> {
    fn len(&self) -> u64 {
        self.file.size
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        let eof = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let end = offset.checked_add(buf.len() as u64).ok_or_else(eof)?;
        if end > self.file.size {
            return Err(eof());
        }
        // What no extent holds is zero.
        buf.fill(0);
        for extent in &self.file.extents {
            let from = extent.offset.max(offset);
            let to = (extent.offset + extent.len).min(end);
            if from >= to {
                continue;
            }
            let (number, block) = split(extent.start_block);
            let layer = self.merged.layers.get(number).ok_or_else(eof)?;
            let within = |at: u64| usize::try_from(at - offset).map_err(|_| eof());
            let part = buf.get_mut(within(from)?..within(to)?).ok_or_else(eof)?;
            let at = block * BLOCK + (from - extent.offset);
            layer.blob.read_exact_at(part, at)?;
        }
        Ok(())
    }
}

/// Layer number and block within it.
fn split(block: u64) -> (usize, u64) {
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
