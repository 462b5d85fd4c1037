//! Where everything goes, before anything is written.
//!
//! The metadata area holds, in this order: inodes (each with its attributes, and an inline tail or
//! a chunk map), whole blocks of directories and long symlinks, shared attributes. Each part
//! starts at a block.

use std::collections::BTreeMap;

use super::chunk::{self, ExtentError, Run};
use super::clusters::{self, Map};
use super::dir;
use super::format::{BLOCK, InodeExtended, SLOT};
use super::walk::Walk;
use super::write::Error;
use super::xattr::Shared;
use super::{CompressedFile, Compression, Content, FileData, Inode, InodeId, Metadata, Tree};

const HEADER: usize = size_of::<InodeExtended>();
/// Nid 0 would be inode number 0, which tools take for a deleted file.
const FIRST_OFFSET: usize = 2 * SLOT;
/// The root's nid is a u16 and metadata is held in memory: far above what any image needs, far
/// below what a hostile sparse file could ask for.
const MAX_METADATA: usize = 1 << 30;
/// The kernel's `PATH_MAX` with its NUL.
const MAX_TARGET: usize = 4095;

/// The packed inode, but for its data.
static PACKED: Inode = Inode {
    metadata: Metadata {
        mode: 0o600,
        uid: 0,
        gid: 0,
        mtime: 0,
        mtime_nsec: 0,
        xattrs: BTreeMap::new(),
    },
    content: Content::Regular(FileData {
        size: 0,
        extents: Vec::new(),
    }),
};

/// Where a file's bytes are.
#[derive(Clone, Debug)]
pub(super) enum Data {
    /// No data: an empty file, a fifo, a socket.
    None,
    /// `rdev`.
    Device(u32),
    /// A regular file in one run from this block of the image.
    Flat(u32),
    /// A regular file in chunks of `1 << bits` blocks.
    Chunks { bits: u8, runs: Vec<Run> },
    /// A compressed regular file.
    Compressed(Map),
    /// A directory or symlink: `blocks` whole blocks from `first_block` of the metadata's block
    /// part; `tail` more bytes follow the inode.
    Own {
        first_block: u64,
        blocks: u64,
        tail: usize,
    },
}

/// An inode and its place.
#[derive(Debug)]
pub(super) struct Planned<'t> {
    pub id: InodeId,
    pub inode: &'t Inode,
    pub parent: InodeId,
    pub links: u32,
    /// Bytes from the start of the metadata.
    pub offset: usize,
    pub size: u64,
    pub xattrs: Vec<u8>,
    pub data: Data,
}

/// The whole layout.
#[derive(Debug)]
pub(super) struct Plan<'t> {
    pub inodes: Vec<Planned<'t>>,
    /// By [`InodeId`]; 0 for an inode that is not written.
    pub nids: Vec<u64>,
    /// 0 when there is no packed inode.
    pub packed_nid: u64,
    /// Bytes from the start of the metadata to the block part.
    pub block_part: usize,
    /// Bytes from the start of the metadata to the shared attributes.
    pub xattr_part: usize,
    pub shared: Vec<u8>,
}

impl<'t> Plan<'t> {
    pub(super) fn new(tree: &'t Tree, meta_start_block: u64) -> Result<Self, Error> {
        let walk = Walk::new(tree)?;
        let shared = Shared::collect(walk.order.iter().map(|(_, inode)| &inode.metadata));
        let mut placer = Placer {
            end: FIRST_OFFSET,
            blocks: 0,
            meta_start_block,
            compression: tree.compression.as_ref(),
            walk: &walk,
        };
        let mut nids = vec![0; tree.len()];
        let mut inodes = Vec::with_capacity(walk.order.len());
        for &(id, inode) in &walk.order {
            let planned = placer.place(id, inode, &shared)?;
            if let Some(nid) = nids.get_mut(id.0 as usize) {
                *nid = (planned.offset / SLOT) as u64;
            }
            inodes.push(planned);
        }
        let mut packed_nid = 0;
        if let Some(packed) = placer.packed(tree.compression.as_ref())? {
            packed_nid = (packed.offset / SLOT) as u64;
            inodes.push(packed);
        }
        let block_part = placer.end.next_multiple_of(BLOCK);
        let xattr_part = usize::try_from(placer.blocks)
            .ok()
            .and_then(|blocks| blocks.checked_mul(BLOCK)?.checked_add(block_part))
            .filter(|end| {
                end.checked_add(shared.area.len())
                    .is_some_and(|end| end <= MAX_METADATA)
            })
            .ok_or(Error::Metadata {
                path: "/".into(),
                limit: MAX_METADATA,
            })?;
        Ok(Self {
            inodes,
            nids,
            packed_nid,
            block_part,
            xattr_part,
            shared: shared.area,
        })
    }
}

struct Placer<'a, 't> {
    /// End of the inodes placed so far.
    end: usize,
    /// Whole blocks of directories and symlinks so far.
    blocks: u64,
    meta_start_block: u64,
    compression: Option<&'t Compression>,
    walk: &'a Walk<'t>,
}

impl<'t> Placer<'_, 't> {
    fn place(
        &mut self,
        id: InodeId,
        inode: &'t Inode,
        shared: &Shared<'_>,
    ) -> Result<Planned<'t>, Error> {
        let path = || self.walk.path(id);
        check(inode).map_err(|(field, value)| Error::Field {
            path: path(),
            field,
            value,
        })?;
        let xattrs = shared
            .body(&inode.metadata)
            .map_err(|(name, source)| Error::Xattr {
                path: path(),
                name: String::from_utf8_lossy(name).into_owned(),
                source,
            })?;
        let seen = self.walk.seen(id).copied().ok_or(Error::NoRoot)?;
        let (size, data) = self.data(id, seen.parent, inode, xattrs.len())?;
        let offset = self
            .reserve(xattrs.len(), &data)
            .ok_or_else(|| Error::Metadata {
                path: self.walk.path(id),
                limit: MAX_METADATA,
            })?;
        Ok(Planned {
            id,
            inode,
            parent: seen.parent,
            links: seen.links,
            offset,
            size,
            xattrs,
            data,
        })
    }

    fn data(
        &mut self,
        id: InodeId,
        parent: InodeId,
        inode: &Inode,
        xattrs: usize,
    ) -> Result<(u64, Data), Error> {
        Ok(match &inode.content {
            Content::Regular(file) => (file.size, self.regular(id, file)?),
            Content::Compressed(file) if file.size == 0 => (0, Data::None),
            Content::Compressed(file) => {
                let error = |(offset, source)| Error::Extent {
                    path: self.walk.path(id),
                    offset,
                    source,
                };
                (file.size, self.compressed(file, xattrs).map_err(error)?)
            }
            Content::Directory(directory) => {
                let entries = dir::entries(directory, id, parent);
                let blocks = dir::blocks(&entries);
                let last = blocks.last().map_or(0, |block| dir::used(block));
                let before = blocks.len().saturating_sub(1).saturating_mul(BLOCK);
                self.own(before.saturating_add(last), xattrs)
            }
            Content::Symlink(target) => self.own(target.len(), xattrs),
            Content::CharDevice { major, minor } | Content::BlockDevice { major, minor } => {
                (0, Data::Device(rdev(*major, *minor)))
            }
            Content::Fifo | Content::Socket => (0, Data::None),
        })
    }

    fn regular(&self, id: InodeId, file: &FileData) -> Result<Data, Error> {
        let runs =
            chunk::runs(file, self.meta_start_block).map_err(|(extent, source)| Error::Extent {
                path: self.walk.path(id),
                offset: extent.offset,
                source,
            })?;
        Ok(match runs.as_slice() {
            [] => Data::None,
            [
                Run {
                    start: Some(start), ..
                },
            ] => Data::Flat(*start),
            _ => Data::Chunks {
                bits: chunk::chunk_bits(&runs),
                runs,
            },
        })
    }

    fn compressed(&self, file: &CompressedFile, xattrs: usize) -> Result<Data, (u64, ExtentError)> {
        let compression = self.compression.ok_or((0, ExtentError::Cluster))?;
        clusters::check(file, compression, self.meta_start_block)?;
        let before = HEADER.saturating_add(xattrs);
        let map = clusters::map(file, compression.algorithm, before);
        Ok(Data::Compressed(map))
    }

    /// The packed inode, which no directory names.
    fn packed(&mut self, compression: Option<&Compression>) -> Result<Option<Planned<'t>>, Error> {
        let Some(compression) = compression.filter(|one| !one.packed.is_empty()) else {
            return Ok(None);
        };
        let clusters = compression.packed.clone();
        let mut file = CompressedFile {
            clusters,
            ..CompressedFile::default()
        };
        file.size = file.clusters_len();
        let data = self
            .compressed(&file, 0)
            .map_err(|(offset, source)| Error::Packed { offset, source })?;
        let offset = self.reserve(0, &data).ok_or(Error::Metadata {
            path: "/".to_owned(),
            limit: MAX_METADATA,
        })?;
        Ok(Some(Planned {
            id: InodeId(u32::MAX),
            inode: &PACKED,
            parent: Tree::ROOT,
            links: 1,
            offset,
            size: file.size,
            xattrs: Vec::new(),
            data,
        }))
    }

    /// The last, partial block follows its inode when the two fit one block together with the
    /// attributes, as the kernel's fast symlinks want; else it takes a whole block.
    fn own(&mut self, size: usize, xattrs: usize) -> (u64, Data) {
        let (whole, rest) = (size / BLOCK, size % BLOCK);
        let inline = rest > 0 && HEADER.saturating_add(xattrs).saturating_add(rest) <= BLOCK;
        let (tail, extra) = if inline {
            (rest, 0)
        } else {
            (0, usize::from(rest > 0))
        };
        let blocks = whole.saturating_add(extra) as u64;
        let first_block = self.blocks;
        self.blocks = self.blocks.saturating_add(blocks);
        (
            size as u64,
            Data::Own {
                first_block,
                blocks,
                tail,
            },
        )
    }

    /// The next place where the inode's header, or all of it if it has a tail, lies in one block.
    fn reserve(&mut self, xattrs: usize, data: &Data) -> Option<usize> {
        let base = HEADER.checked_add(xattrs)?;
        let (unsplit, total) = match data {
            Data::Own { tail, .. } if *tail > 0 => {
                (base.checked_add(*tail)?, base.checked_add(*tail)?)
            }
            Data::Chunks { bits, runs } => {
                let count = usize::try_from(chunk::chunk_count(runs, *bits)).ok()?;
                (
                    HEADER,
                    base.checked_add(count.checked_mul(size_of::<u32>())?)?,
                )
            }
            Data::Compressed(map) => (HEADER, base.checked_add(map.bytes.len())?),
            _ => (HEADER, base),
        };
        let start = self.end.checked_next_multiple_of(SLOT)?;
        let fits = (start % BLOCK).checked_add(unsplit)? <= BLOCK;
        let start = if fits {
            start
        } else {
            start.checked_next_multiple_of(BLOCK)?
        };
        self.end = start
            .checked_add(total)
            .filter(|&end| end <= MAX_METADATA)?;
        Some(start)
    }
}

/// Refuses what has no place in the inode: a field's name and its value.
fn check(inode: &Inode) -> Result<(), (&'static str, u64)> {
    let metadata = &inode.metadata;
    if metadata.mode > 0o7777 {
        return Err(("mode bits", metadata.mode.into()));
    }
    if metadata.mtime_nsec >= 1_000_000_000 {
        return Err(("mtime nanoseconds", metadata.mtime_nsec.into()));
    }
    match &inode.content {
        Content::Symlink(target) if target.is_empty() || target.len() > MAX_TARGET => {
            Err(("symlink target length", target.len() as u64))
        }
        Content::CharDevice { major, .. } | Content::BlockDevice { major, .. }
            if *major > 0xfff =>
        {
            Err(("device major", (*major).into()))
        }
        Content::CharDevice { minor, .. } | Content::BlockDevice { minor, .. }
            if *minor > 0xf_ffff =>
        {
            Err(("device minor", (*minor).into()))
        }
        Content::Regular(FileData { size, .. })
        | Content::Compressed(CompressedFile { size, .. })
            if i64::try_from(*size).is_err() =>
        {
            Err(("size", *size))
        }
        _ => Ok(()),
    }
}

/// The kernel's `new_encode_dev`.
fn rdev(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}
