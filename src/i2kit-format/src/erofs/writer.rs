//! The second pass: bytes.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::dirents::{self, Named};
use super::format::{
    COMPAT_MTIME, COMPAT_SB_CHKSUM, INCOMPAT_CHUNKED_FILE, INODE_EXTENDED, InodeExtended,
    LAYOUT_CHUNK_BASED, LAYOUT_FLAT_INLINE, LAYOUT_FLAT_PLAIN, MAGIC, NULL_ADDR, SUPER_OFFSET,
    SuperBlock, file_type, mode,
};
use super::plan::{Data, Plan, Planned, address, with_dots};
use super::tree::{Content, Directory, FileExtent, Inode, InodeId, Tree};
use super::xattrs::icount;

const BLOCK: u64 = 4096;

/// Where the metadata goes and what the file system is called.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// First 4 KiB block of the metadata: behind the data, at least 1.
    pub meta_start_block: u64,
    /// The file system's UUID.
    pub uuid: [u8; 16],
    /// The volume's name, zero-filled.
    pub volume_name: [u8; 16],
}

/// A file system but for its data blocks.
#[derive(Clone, Debug)]
pub struct Image {
    /// Block 0; the superblock lies at its byte 1024.
    pub first_block: [u8; 4096],
    /// What lies at `meta_start_block`: a multiple of 4 KiB.
    pub metadata: Vec<u8>,
}

/// A tree that EROFS cannot hold.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("write EROFS: the root is not a directory")]
    RootNotADirectory,
    #[error("write EROFS: inode {id} is named but not in the tree")]
    Dangling { id: u32 },
    #[error("write EROFS: directory inode {id} has two names")]
    DirectoryLinkedTwice { id: u32 },
    #[error("write EROFS: {name:?} is no file name of 1 to 255 bytes")]
    Name { name: String },
    #[error("write EROFS: a symlink's target has {bytes} bytes, 1 to 4095 are possible")]
    SymlinkTarget { bytes: usize },
    #[error("write EROFS: extended attribute {name:?} is of no known kind")]
    XattrName { name: String },
    #[error("write EROFS: extended attribute {name:?} has {bytes} bytes, at most 65535 are possible")]
    XattrValue { name: String, bytes: usize },
    #[error("write EROFS: one file's extended attributes need {bytes} bytes, at most 262148 are possible")]
    XattrsTooLarge { bytes: usize },
    #[error("write EROFS: too many different extended attributes")]
    TooManyXattrs,
    #[error("write EROFS: extents of a file of {size} bytes overlap, run past it or are not aligned")]
    Extents { size: u64 },
    #[error("write EROFS: block {block} is past what 32 bits can name")]
    TooLarge { block: u64 },
    #[error("write EROFS: device {major}:{minor} does not fit 12 and 20 bits")]
    Device { major: u32, minor: u32 },
}

/// Writes `tree`. Same tree, same bytes.
///
/// # Errors
/// [`Error`] when EROFS cannot hold the tree.
pub fn write(tree: &Tree, options: &Options) -> Result<Image, Error> {
    let plan = Plan::new(tree)?;
    let blocks = address(options.meta_start_block.saturating_add(plan.len / BLOCK))?;
    let mut writer = Writer { tree, plan: &plan, options, metadata: Vec::new() };
    writer.metadata.resize(usize::try_from(plan.len).map_err(|_| too_large(plan.len))?, 0);
    for (number, planned) in (1u32..).zip(&plan.inodes) {
        writer.inode(number, planned)?;
    }
    writer.put(plan.shared_offset, &plan.shared.bytes);
    let chunked = plan.inodes.iter().any(|one| matches!(one.data, Data::Chunks { .. }));
    let super_block = super_block(&plan, options, blocks, chunked)?;
    Ok(Image { first_block: first_block(super_block), metadata: writer.metadata })
}

fn too_large(bytes: u64) -> Error {
    Error::TooLarge { block: bytes / BLOCK }
}

fn super_block(
    plan: &Plan<'_>,
    options: &Options,
    blocks: u32,
    chunked: bool,
) -> Result<SuperBlock, Error> {
    let meta_blkaddr = address(options.meta_start_block)?;
    let xattr_blkaddr = address(options.meta_start_block + plan.shared_offset / BLOCK)?;
    let root_nid = plan.nid(Tree::ROOT).and_then(|nid| u16::try_from(nid).ok());
    Ok(SuperBlock {
        magic: U32::new(MAGIC),
        checksum: U32::new(0),
        feature_compat: U32::new(COMPAT_SB_CHKSUM | COMPAT_MTIME),
        blkszbits: 12,
        sb_extslots: 0,
        root_nid: U16::new(root_nid.ok_or(Error::RootNotADirectory)?),
        inos: U64::new(plan.inodes.len() as u64),
        epoch: U64::new(0),
        fixed_nsec: U32::new(0),
        blocks: U32::new(blocks),
        meta_blkaddr: U32::new(meta_blkaddr),
        xattr_blkaddr: U32::new(xattr_blkaddr),
        uuid: options.uuid,
        volume_name: options.volume_name,
        feature_incompat: U32::new(if chunked { INCOMPAT_CHUNKED_FILE } else { 0 }),
        available_compr_algs: U16::new(0),
        extra_devices: U16::new(0),
        devt_slotoff: U16::new(0),
        dirblkbits: 0,
        xattr_prefix_count: 0,
        xattr_prefix_start: U32::new(0),
        packed_nid: U64::new(0),
        xattr_filter_reserved: 0,
        reserved2: [0; 23],
    })
}

fn first_block(mut super_block: SuperBlock) -> [u8; 4096] {
    let place = |super_block: &SuperBlock| {
        let mut block = [0; 4096];
        let at = block.iter_mut().skip(SUPER_OFFSET as usize);
        at.zip(super_block.as_bytes()).for_each(|(to, from)| *to = *from);
        block
    };
    let block = place(&super_block);
    super_block.checksum = U32::new(checksum(&block));
    place(&super_block)
}

/// CRC-32C over the block from the superblock on, seeded with ~0 and not inverted at the end, the
/// checksum field being zero (`fs/erofs/super.c`, `erofs_superblock_csum_verify`).
pub(super) fn checksum(block: &[u8; 4096]) -> u32 {
    let (_, covered) = block.split_at(SUPER_OFFSET as usize);
    !crc32c::crc32c(covered)
}

struct Writer<'a> {
    tree: &'a Tree,
    plan: &'a Plan<'a>,
    options: &'a Options,
    metadata: Vec<u8>,
}

/// What the inode itself says of its data.
struct Stored {
    layout: u16,
    size: u64,
    i_u: u32,
}

impl Writer<'_> {
    fn inode(&mut self, number: u32, planned: &Planned<'_>) -> Result<(), Error> {
        let inode = self.tree.get(planned.id).ok_or(Error::Dangling { id: planned.id.0 })?;
        let stored = self.stored(inode, planned)?;
        let metadata = &inode.metadata;
        let record = InodeExtended {
            i_format: U16::new(INODE_EXTENDED | stored.layout << 1),
            i_xattr_icount: U16::new(icount(&planned.xattrs)?),
            i_mode: U16::new((metadata.mode & 0o7777) | file_kind(&inode.content).0),
            i_nb: U16::new(0),
            i_size: U64::new(stored.size),
            i_u: U32::new(stored.i_u),
            i_ino: U32::new(number),
            i_uid: U32::new(metadata.uid),
            i_gid: U32::new(metadata.gid),
            i_mtime: U64::new(metadata.mtime.cast_unsigned()),
            i_mtime_nsec: U32::new(metadata.mtime_nsec),
            i_nlink: U32::new(planned.nlink),
            i_reserved2: [0; 16],
        };
        self.put(planned.offset, record.as_bytes());
        self.put(planned.offset + size_of::<InodeExtended>() as u64, &planned.xattrs);
        self.data(inode, planned)
    }

    fn stored(&self, inode: &Inode, planned: &Planned<'_>) -> Result<Stored, Error> {
        Ok(match &planned.data {
            Data::None => {
                Stored { layout: LAYOUT_FLAT_PLAIN, size: 0, i_u: device(&inode.content)? }
            }
            Data::Plain { size, start_block } => {
                Stored { layout: LAYOUT_FLAT_PLAIN, size: *size, i_u: *start_block }
            }
            Data::Chunks { file, bits, .. } => {
                Stored { layout: LAYOUT_CHUNK_BASED, size: file.size, i_u: bits - 12 }
            }
            Data::Meta { size, tail, blocks_offset, .. } => Stored {
                layout: if *tail > 0 { LAYOUT_FLAT_INLINE } else { LAYOUT_FLAT_PLAIN },
                size: *size,
                i_u: address(self.options.meta_start_block + blocks_offset / BLOCK)?,
            },
        })
    }

    fn data(&mut self, inode: &Inode, planned: &Planned<'_>) -> Result<(), Error> {
        let after = planned.offset + 64 + planned.xattrs.len() as u64;
        match (&planned.data, &inode.content) {
            (Data::Meta { size, tail, blocks_offset, dirents }, content) => {
                let bytes = match content {
                    Content::Directory(entries) => self.directory(planned, entries, dirents)?,
                    Content::Symlink(target) => target.to_vec(),
                    _ => Vec::new(),
                };
                let in_blocks = usize::try_from(size - tail).unwrap_or(bytes.len());
                let (blocks, tail) = bytes.split_at(in_blocks.min(bytes.len()));
                self.put(*blocks_offset, blocks);
                self.put(after, tail);
            }
            (Data::Chunks { file, runs, bits }, _) => {
                let addresses = chunk_addresses(file.size, runs, *bits)?;
                self.put(after, &addresses);
            }
            _ => {}
        }
        Ok(())
    }

    fn directory(
        &self,
        planned: &Planned<'_>,
        entries: &Directory,
        counts: &[usize],
    ) -> Result<Vec<u8>, Error> {
        let names: Result<Vec<_>, Error> = with_dots(entries)
            .map(|(name, id)| {
                let id = id.unwrap_or(if name == b"." { planned.id } else { planned.parent });
                self.named(name, id)
            })
            .collect();
        Ok(dirents::emit(&names?, counts))
    }

    fn named<'n>(&self, name: &'n [u8], id: InodeId) -> Result<Named<'n>, Error> {
        let dangling = || Error::Dangling { id: id.0 };
        let inode = self.tree.get(id).ok_or_else(dangling)?;
        let nid = self.plan.nid(id).ok_or_else(dangling)?;
        Ok(Named { name, nid, file_type: file_kind(&inode.content).1 })
    }

    /// Copies `bytes` to `offset`; the plan has made room for them.
    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(place) = self.metadata.get_mut(from..from.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        } else {
            debug_assert!(false, "the plan is too short for {offset}");
        }
    }
}

fn chunk_addresses(size: u64, runs: &[FileExtent], bits: u32) -> Result<Vec<u8>, Error> {
    let chunk = 1u64 << bits;
    let mut out = Vec::new();
    let mut runs = runs.iter().peekable();
    for index in 0..size.div_ceil(chunk) {
        let offset = index * chunk;
        while runs.next_if(|run| run.offset + run.len <= offset).is_some() {}
        let found = runs.peek().filter(|run| run.offset <= offset);
        let block = match found {
            Some(run) => address(run.start_block + (offset - run.offset) / BLOCK)?,
            None => NULL_ADDR,
        };
        out.extend_from_slice(&block.to_le_bytes());
    }
    Ok(out)
}

/// The type bits of the mode, and the directory entry's type.
fn file_kind(content: &Content) -> (u16, u8) {
    match content {
        Content::Directory(_) => (mode::S_IFDIR, file_type::DIR),
        Content::Regular(_) => (mode::S_IFREG, file_type::REG),
        Content::Symlink(_) => (mode::S_IFLNK, file_type::SYMLINK),
        Content::CharDevice { .. } => (mode::S_IFCHR, file_type::CHR),
        Content::BlockDevice { .. } => (mode::S_IFBLK, file_type::BLK),
        Content::Fifo => (mode::S_IFIFO, file_type::FIFO),
        Content::Socket => (mode::S_IFSOCK, file_type::SOCK),
    }
}

/// A device number as the kernel's `new_encode_dev` packs it; 0 for what is no device.
fn device(content: &Content) -> Result<u32, Error> {
    match *content {
        Content::CharDevice { major, minor } | Content::BlockDevice { major, minor } => {
            if major >= 1 << 12 || minor >= 1 << 20 {
                return Err(Error::Device { major, minor });
            }
            Ok((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
        }
        _ => Ok(0),
    }
}
