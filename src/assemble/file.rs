//! Files of the merged tree, read piecemeal from the cache.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use i2kit_format::erofs::{Cluster, CompressedFile, Content, FileData};
use i2kit_format::{BLOCK, ReadAt, SLAB};

use super::merged::{LAYER_SHIFT, Merged, split};
use crate::disk::Blob;

/// Clusters that are kept: small files that are looked at one after another share them.
const RECENT: usize = 8;

/// A regular file of the merged tree.
pub struct File<'a> {
    merged: &'a Merged,
    data: Data<'a>,
    check: Check,
}

/// What is believed of the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Slabs that are what was hashed.
    EverySlab,
    /// Everything: for files that go into the store, whose slabs are checked when the disk is written.
    Nothing,
}

/// A cached blob's slab is not what was hashed.
#[derive(Debug, thiserror::Error)]
#[error("{} was altered in the cache", blob.display())]
pub(super) struct Altered {
    /// The cached file.
    pub(super) blob: PathBuf,
}

enum Data<'a> {
    Plain(&'a FileData),
    Compressed(&'a CompressedFile),
}

/// Clusters that were read last without a check, by their first block, the latest last.
#[derive(Default)]
pub(super) struct Recent(Mutex<Vec<(u64, Arc<[u8]>)>>);

impl Recent {
    fn get(&self, start_block: u64) -> Option<Arc<[u8]>> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = recent.iter().find(|(start, _)| *start == start_block)?;
        Some(Arc::clone(&found.1))
    }

    fn keep(&self, start_block: u64, bytes: &Arc<[u8]>) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT {
            recent.remove(0);
        }
        recent.push((start_block, Arc::clone(bytes)));
    }
}

impl<'a> File<'a> {
    /// The file of that content; None for what is no regular file.
    pub(super) fn of(merged: &'a Merged, content: &'a Content, check: Check) -> Option<Self> {
        let data = match content {
            Content::Regular(file) => Data::Plain(file),
            Content::Compressed(file) => Data::Compressed(file),
            _ => return None,
        };
        Some(Self {
            merged,
            data,
            check,
        })
    }

    fn plain(&self, file: &FileData, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + buf.len() as u64;
        // What no extent holds is zero.
        buf.fill(0);
        for extent in &file.extents {
            let from = extent.offset.max(offset);
            let to = (extent.offset + extent.len).min(end);
            if from >= to {
                continue;
            }
            let part = buf.get_mut(within(from, offset)?..within(to, offset)?);
            let at = from - extent.offset;
            self.stored(extent.start_block, at, part.ok_or_else(eof)?)?;
        }
        Ok(())
    }

    fn compressed(&self, file: &CompressedFile, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let own = file.clusters_len();
        let here = buf.len().min(within(own.max(offset), offset)?);
        let (now, rest) = buf.split_at_mut(here);
        self.clusters(file.clusters.iter().copied(), now, offset)?;
        if rest.is_empty() {
            return Ok(());
        }
        let (number, fragment) = split(file.fragment.ok_or_else(eof)?);
        let layer = self.merged.layers.get(number).ok_or_else(eof)?;
        let packed = layer.packed.iter().map(|cluster| Cluster {
            start_block: cluster.start_block + ((number as u64) << LAYER_SHIFT),
            ..*cluster
        });
        let skipped = offset.max(own) - own;
        self.clusters(packed, rest, fragment + skipped)
    }

    /// Fills `buf` from byte `offset` of what the clusters hold together.
    fn clusters(
        &self,
        clusters: impl Iterator<Item = Cluster>,
        mut buf: &mut [u8],
        mut offset: u64,
    ) -> io::Result<()> {
        for cluster in clusters {
            if buf.is_empty() {
                break;
            }
            let len = u64::from(cluster.len);
            if offset >= len {
                offset -= len;
                continue;
            }
            let bytes = self.cluster(&cluster)?;
            let from = bytes.get(within(offset, 0)?..).ok_or_else(eof)?;
            let taken = from.len().min(buf.len());
            let (now, rest) = buf.split_at_mut(taken);
            now.copy_from_slice(from.get(..taken).ok_or_else(eof)?);
            (buf, offset) = (rest, 0);
        }
        if buf.is_empty() { Ok(()) } else { Err(eof()) }
    }

    fn cluster(&self, cluster: &Cluster) -> io::Result<Arc<[u8]>> {
        let is_unchecked = self.check == Check::Nothing;
        let recent = Some(&self.merged.recent).filter(|_| is_unchecked);
        if let Some(bytes) = recent.and_then(|recent| recent.get(cluster.start_block)) {
            return Ok(bytes);
        }
        let len = cluster.len as usize;
        let on_disk = u64::from(cluster.blocks) * BLOCK;
        let mut blocks = vec![0; within(on_disk, 0)?];
        self.stored(cluster.start_block, 0, &mut blocks)?;
        let bytes: Arc<[u8]> = if cluster.is_plain() {
            blocks.get(..len).ok_or_else(eof)?.into()
        } else {
            let compression = self.merged.tree.compression.as_ref();
            let bytes = compression.and_then(|one| one.algorithm.decompress(&blocks, len));
            let failed = || io::Error::other("a cluster does not decompress");
            bytes.ok_or_else(failed)?.into()
        };
        if let Some(recent) = recent {
            recent.keep(cluster.start_block, &bytes);
        }
        Ok(bytes)
    }

    /// Bytes of a layer's data, `skip` bytes after the block.
    fn stored(&self, start_block: u64, skip: u64, buf: &mut [u8]) -> io::Result<()> {
        let (number, block) = split(start_block);
        let layer = self.merged.layers.get(number).ok_or_else(eof)?;
        let at = block * BLOCK + skip;
        match self.check {
            Check::Nothing => layer.data.read_exact_at(buf, at),
            Check::EverySlab => checked(&layer.data, at, buf),
        }
    }
}

/// Reads the slabs that have the bytes at `at`, and takes those of them.
fn checked(blob: &Blob, mut at: u64, mut rest: &mut [u8]) -> io::Result<()> {
    let mut slab = vec![0; within(SLAB, 0)?];
    while !rest.is_empty() {
        read_slab(blob, at / SLAB, &mut slab)?;
        let from = slab.get(within(at % SLAB, 0)?..).unwrap_or_default();
        let len = from.len().min(rest.len());
        let (now, later) = rest.split_at_mut(len);
        now.copy_from_slice(from.get(..len).ok_or_else(eof)?);
        rest = later;
        at += len as u64;
    }
    Ok(())
}

/// Reads a slab, which must be what was hashed.
pub(super) fn read_slab(blob: &Blob, index: u64, slab: &mut [u8]) -> io::Result<()> {
    blob.read_exact_at(slab, index * SLAB)?;
    let known = blob.slab_digests(index);
    if known.is_some_and(|known| known.match_bytes(slab)) {
        return Ok(());
    }
    let blob = blob.path().unwrap_or(Path::new("")).to_owned();
    Err(io::Error::other(Altered { blob }))
}

impl ReadAt for File<'_> {
    fn len(&self) -> u64 {
        match self.data {
            Data::Plain(file) => file.size,
            Data::Compressed(file) => file.size,
        }
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).ok_or_else(eof)?;
        if end > self.len() {
            return Err(eof());
        }
        match self.data {
            Data::Plain(file) => self.plain(file, buf, offset),
            Data::Compressed(file) => self.compressed(file, buf, offset),
        }
    }
}

fn eof() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

fn within(at: u64, start: u64) -> io::Result<usize> {
    usize::try_from(at - start).map_err(|_| eof())
}
