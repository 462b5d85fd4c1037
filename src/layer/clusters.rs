//! Packs files' data into clusters that are compressed.
//!
//! A file's whole clusters are its own; what is left of it, and all of a small file, goes into the
//! layer's packed stream, whose clusters are compressed as the others are. Where a file may cut, a new
//! cluster of that stream begins, so that no later byte of it moves when one before it does.

use i2kit_format::erofs::{Cluster, CompressedFile, FileData, FileExtent};

use super::EntryKind;
use super::buffers::Sender;
use super::pack::{NewFile, Pack, is_hole};
use super::run::{Candidates, Gone};

/// Bytes that are laid out together.
pub(super) struct Item {
    pub(super) bytes: Vec<u8>,
    pub(super) is_compressed: bool,
    /// A new slab may begin with it.
    pub(super) may_cut: bool,
}

/// Packs files into items. Until those are laid out, their numbers stand for their blocks.
pub(super) struct ClusterPacker {
    items: Sender<Item>,
    cluster_size: usize,
    /// Items sent.
    count: u64,
    candidates: Candidates,
    may_cut: bool,
    /// The packed stream's next cluster.
    fragments: Vec<u8>,
    packed: Vec<Cluster>,
    /// Bytes of `packed`.
    packed_len: u64,
    file: File,
}

/// The file that is being packed.
#[derive(Default)]
struct File {
    size: u64,
    at: u64,
    is_sparse: bool,
    /// Its next cluster.
    buffer: Vec<u8>,
    clusters: Vec<Cluster>,
    extents: Vec<FileExtent>,
}

impl ClusterPacker {
    pub(super) fn new(items: Sender<Item>, cluster_size: u32) -> Self {
        Self {
            items,
            cluster_size: cluster_size as usize,
            count: 0,
            candidates: Candidates::default(),
            may_cut: false,
            fragments: Vec::new(),
            packed: Vec::new(),
            packed_len: 0,
            file: File::default(),
        }
    }

    /// Sends what is left; answers the packed stream's clusters.
    pub(super) fn finish(mut self) -> Result<Vec<Cluster>, Gone> {
        self.close_fragments()?;
        Ok(self.packed)
    }

    /// Sends an item; answers its number.
    fn send(&mut self, bytes: Vec<u8>, is_compressed: bool) -> Result<u64, Gone> {
        let item = Item {
            bytes,
            is_compressed,
            may_cut: std::mem::take(&mut self.may_cut),
        };
        if !self.items.send(item) {
            return Err(Gone);
        }
        self.count += 1;
        Ok(self.count - 1)
    }

    fn cluster(&mut self, bytes: Vec<u8>) -> Result<Cluster, Gone> {
        let len = u32::try_from(bytes.len()).unwrap_or(0);
        let start_block = self.send(bytes, true)?;
        Ok(Cluster {
            len,
            blocks: 0,
            start_block,
        })
    }

    fn empty(&self) -> Vec<u8> {
        let mut buffer = self.items.spare();
        buffer.clear();
        buffer.reserve_exact(self.cluster_size);
        buffer
    }

    /// The packed stream's cluster ends here, at a block.
    fn close_fragments(&mut self) -> Result<(), Gone> {
        if self.fragments.is_empty() {
            return Ok(());
        }
        let len = self.fragments.len().next_multiple_of(4096);
        self.fragments.resize(len, 0);
        let next = self.empty();
        let full = std::mem::replace(&mut self.fragments, next);
        let cluster = self.cluster(full)?;
        self.packed.push(cluster);
        self.packed_len += len as u64;
        Ok(())
    }

    /// Puts bytes into the packed stream; answers where.
    fn fragment(&mut self, mut bytes: &[u8]) -> Result<u64, Gone> {
        let at = self.packed_len + self.fragments.len() as u64;
        while !bytes.is_empty() {
            let room = self.cluster_size - self.fragments.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.fragments.extend_from_slice(now);
            bytes = later;
            if self.fragments.len() == self.cluster_size {
                self.close_fragments()?;
            }
        }
        Ok(at)
    }

    fn append_plain(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        if is_hole(bytes, self.file.at) {
            return Ok(());
        }
        let start_block = self.send(bytes.to_vec(), false)?;
        self.file.extents.push(FileExtent {
            offset: self.file.at,
            len: bytes.len() as u64,
            start_block,
        });
        Ok(())
    }

    fn append_clusters(&mut self, mut bytes: &[u8]) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let room = self.cluster_size - self.file.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.file.buffer.extend_from_slice(now);
            bytes = later;
            if self.file.buffer.len() == self.cluster_size {
                let next = self.empty();
                let full = std::mem::replace(&mut self.file.buffer, next);
                let cluster = self.cluster(full)?;
                self.file.clusters.push(cluster);
            }
        }
        Ok(())
    }
}

impl Pack for ClusterPacker {
    fn begin(&mut self, file: NewFile<'_>) -> Result<(), Gone> {
        if self.candidates.is_next(file.size, file.head) {
            self.close_fragments()?;
            self.may_cut = true;
        }
        let mut buffer = std::mem::take(&mut self.file.buffer);
        buffer.clear();
        self.file = File {
            size: file.size,
            is_sparse: file.is_sparse,
            buffer,
            ..File::default()
        };
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        if self.file.is_sparse {
            self.append_plain(bytes)?;
        } else {
            self.append_clusters(bytes)?;
        }
        self.file.at += bytes.len() as u64;
        Ok(())
    }

    fn skip(&mut self, len: u64) {
        self.file.at += len;
    }

    fn end(&mut self) -> Result<EntryKind, Gone> {
        let size = self.file.size;
        if self.file.is_sparse || size == 0 {
            let extents = std::mem::take(&mut self.file.extents);
            return Ok(EntryKind::Regular(FileData { size, extents }));
        }
        let rest = std::mem::take(&mut self.file.buffer);
        let fragment = match rest.as_slice() {
            [] => None,
            bytes => Some(self.fragment(bytes)?),
        };
        self.file.buffer = rest;
        Ok(EntryKind::Compressed(CompressedFile {
            size,
            clusters: std::mem::take(&mut self.file.clusters),
            fragment,
        }))
    }
}
