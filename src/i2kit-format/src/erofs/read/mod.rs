//! Reads an EROFS image. No byte of it is trusted.

mod attributes;
mod compressed;
mod data;
mod directory;
mod owner;
mod tree;

use std::io;

use zerocopy::FromBytes;

use super::format::{
    self, BLOCK, BLOCK_BITS, COMPAT_SB_CHKSUM, INCOMPAT_CHUNKED_FILE, INCOMPAT_COMPR_CFGS,
    INCOMPAT_FRAGMENTS, INCOMPAT_ZERO_PADDING, InodeCompact, InodeExtended, MAGIC, SLOT,
    SUPER_OFFSET, SuperBlock, XattrIbodyHeader, mode,
};
use crate::ReadAt;

pub use directory::DirEntry;
pub use owner::{Owner, Role};

const BLOCK_BYTES: u64 = BLOCK as u64;
const KNOWN_INCOMPAT: u32 =
    INCOMPAT_ZERO_PADDING | INCOMPAT_COMPR_CFGS | INCOMPAT_CHUNKED_FILE | INCOMPAT_FRAGMENTS;

/// Why an image, or a part of it, can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The source failed or is too short.
    #[error("EROFS: reading {what} ({len} bytes at byte {offset})")]
    Read {
        /// What was to be read.
        what: &'static str,
        /// Where.
        offset: u64,
        /// Bytes.
        len: usize,
        /// Why.
        source: io::Error,
    },
    /// No EROFS magic number.
    #[error("not an EROFS image: magic number {0:#010x}")]
    Magic(u32),
    /// The superblock's bytes are not those that were written.
    #[error("EROFS superblock: checksum {found:#010x}, computed {computed:#010x}")]
    Checksum {
        /// In the superblock.
        found: u32,
        /// Of its block.
        computed: u32,
    },
    /// A feature that this reader does not have.
    #[error("EROFS: {what} {value:#x} is not supported")]
    Unsupported {
        /// Which field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// Something that no valid image has.
    #[error("EROFS inode {nid}: {what}")]
    Corrupt {
        /// The inode.
        nid: u64,
        /// What.
        what: &'static str,
    },
    /// The wrong kind of file for the operation.
    #[error("EROFS inode {nid}: not a {wanted}")]
    Kind {
        /// The inode.
        nid: u64,
        /// What it should be.
        wanted: &'static str,
    },
}

/// What the superblock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The file system's UUID.
    pub uuid: [u8; 16],
    /// Its label, zero-filled.
    pub volume_name: [u8; 16],
    /// Blocks of 4 KiB.
    pub blocks: u32,
    /// Inodes.
    pub inodes: u64,
    /// First block of the metadata.
    pub meta_start_block: u32,
    /// First block of the shared extended attributes.
    pub xattr_start_block: u32,
    /// The root directory's nid.
    pub root_nid: u64,
    /// The packed inode's nid; 0 when there is none.
    pub packed_nid: u64,
}

/// Kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A symbolic link.
    Symlink,
}

/// An inode, as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadInode {
    /// Its number: where it lies in the metadata, in units of 32 bytes.
    pub nid: u64,
    /// What it is.
    pub file_type: FileType,
    /// Permission, setuid, setgid and sticky bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names.
    pub nlink: u32,
    /// Bytes.
    pub size: u64,
    /// Modification time: seconds since 1970, may be negative.
    pub mtime: i64,
    /// Nanoseconds.
    pub mtime_nsec: u32,
    /// The number for 32-bit `stat`.
    pub ino: u32,
    layout: u16,
    i_u: u32,
    /// Byte of the image at which the inode's record ends.
    body: u64,
    /// Bytes of the attributes there.
    xattr_size: u64,
}

impl ReadInode {
    /// Major and minor number, of a device.
    #[must_use]
    pub fn device(&self) -> Option<(u32, u32)> {
        let device = matches!(self.file_type, FileType::CharDevice | FileType::BlockDevice);
        let (major, minor) = (
            (self.i_u >> 8) & 0xfff,
            (self.i_u & 0xff) | ((self.i_u >> 12) & 0xf_ff00),
        );
        device.then_some((major, minor))
    }

    fn corrupt(&self, what: &'static str) -> ReadError {
        ReadError::Corrupt {
            nid: self.nid,
            what,
        }
    }

    fn require(&self, file_type: FileType, wanted: &'static str) -> Result<(), ReadError> {
        if self.file_type == file_type {
            Ok(())
        } else {
            Err(ReadError::Kind {
                nid: self.nid,
                wanted,
            })
        }
    }
}

/// An image that is being read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a, R: ReadAt + ?Sized> {
    source: &'a R,
    superblock: Numbers,
}

/// The superblock's values that locate things.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    root_nid: u16,
    packed_nid: u64,
    algorithms: u16,
    meta_blkaddr: u32,
    xattr_blkaddr: u32,
    blocks: u32,
    inos: u64,
    epoch: i64,
    fixed_nsec: u32,
    uuid: [u8; 16],
    volume_name: [u8; 16],
}

impl<'a, R: ReadAt + ?Sized> Reader<'a, R> {
    /// Reads and checks the superblock.
    ///
    /// # Errors
    /// When there is none, its checksum is wrong, or it has features that are not supported:
    /// blocks other than 4 KiB, more devices, incompatible features but chunks, compression and
    /// fragments.
    pub fn open(source: &'a R) -> Result<Self, ReadError> {
        let mut block = [0; BLOCK];
        read(source, "superblock", &mut block, 0)?;
        let raw = superblock(&block)?;
        for (what, value, supported) in [
            (
                "block size, log2",
                u64::from(raw.blkszbits),
                raw.blkszbits == BLOCK_BITS,
            ),
            (
                "directory block size, log2 over a block's,",
                raw.dirblkbits.into(),
                raw.dirblkbits == 0,
            ),
            (
                "number of further devices",
                raw.extra_devices.get().into(),
                raw.extra_devices.get() == 0,
            ),
            (
                "incompatible feature set",
                raw.feature_incompat.get().into(),
                raw.feature_incompat.get() & !KNOWN_INCOMPAT == 0,
            ),
        ] {
            if !supported {
                return Err(ReadError::Unsupported { what, value });
            }
        }
        let superblock = Numbers {
            root_nid: raw.root_nid.get(),
            packed_nid: raw.packed_nid.get(),
            algorithms: algorithms(&raw),
            meta_blkaddr: raw.meta_blkaddr.get(),
            xattr_blkaddr: raw.xattr_blkaddr.get(),
            blocks: raw.blocks.get(),
            inos: raw.inos.get(),
            epoch: raw.epoch.get().cast_signed(),
            fixed_nsec: raw.fixed_nsec.get(),
            uuid: raw.uuid,
            volume_name: raw.volume_name,
        };
        Ok(Self { source, superblock })
    }

    /// What the superblock says.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            uuid: self.superblock.uuid,
            volume_name: self.superblock.volume_name,
            blocks: self.superblock.blocks,
            inodes: self.superblock.inos,
            meta_start_block: self.superblock.meta_blkaddr,
            xattr_start_block: self.superblock.xattr_blkaddr,
            root_nid: self.superblock.root_nid.into(),
            packed_nid: self.superblock.packed_nid,
        }
    }

    /// The root directory.
    ///
    /// # Errors
    /// As [`Reader::inode`]; when it is not a directory.
    pub fn root(&self) -> Result<ReadInode, ReadError> {
        let root = self.inode(self.superblock.root_nid.into())?;
        root.require(FileType::Directory, "directory")?;
        Ok(root)
    }

    /// The inode of that number.
    ///
    /// # Errors
    /// When it lies outside the image, or has a format that is not supported or not valid.
    pub fn inode(&self, nid: u64) -> Result<ReadInode, ReadError> {
        let corrupt = |what| ReadError::Corrupt { nid, what };
        let meta = u64::from(self.superblock.meta_blkaddr) * BLOCK_BYTES;
        let at = nid
            .checked_mul(SLOT as u64)
            .and_then(|offset| offset.checked_add(meta));
        let at = at.ok_or_else(|| corrupt("number out of range"))?;
        let compact: InodeCompact = self.record("inode", at)?;
        let i_format = compact.i_format.get();
        let extended = i_format & 1 == 1;
        let (raw, size) = if extended {
            (
                self.record::<InodeExtended>("inode", at)?,
                size_of::<InodeExtended>(),
            )
        } else {
            (self.widen(&compact), size_of::<InodeCompact>())
        };
        let layout = i_format >> 1;
        if !data::KNOWN_LAYOUTS.contains(&layout) {
            return Err(ReadError::Unsupported {
                what: "inode format",
                value: i_format.into(),
            });
        }
        let i_mode = raw.i_mode.get();
        Ok(ReadInode {
            nid,
            file_type: file_type(i_mode).ok_or_else(|| corrupt("mode of no known file type"))?,
            mode: i_mode & !mode::TYPE,
            uid: raw.i_uid.get(),
            gid: raw.i_gid.get(),
            nlink: raw.i_nlink.get(),
            size: raw.i_size.get(),
            mtime: raw.i_mtime.get().cast_signed(),
            mtime_nsec: raw.i_mtime_nsec.get(),
            ino: raw.i_ino.get(),
            layout,
            i_u: raw.i_u.get(),
            body: at
                .checked_add(size as u64)
                .ok_or_else(|| corrupt("number out of range"))?,
            xattr_size: xattr_size(raw.i_xattr_icount.get()),
        })
    }

    /// The inode at a path from the root, or `None`. Symbolic links are not followed; empty
    /// components and `.` stay where they are.
    ///
    /// # Errors
    /// When an inode or directory on the way is not valid.
    pub fn lookup(&self, path: &[u8]) -> Result<Option<ReadInode>, ReadError> {
        let mut at = self.root()?;
        for name in path
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
        {
            if at.file_type != FileType::Directory {
                return Ok(None);
            }
            let Some(nid) = self.find(&at, name)? else {
                return Ok(None);
            };
            at = self.inode(nid)?;
        }
        Ok(Some(at))
    }

    /// A compact inode in the extended one's fields: its time is the image's.
    fn widen(&self, compact: &InodeCompact) -> InodeExtended {
        InodeExtended {
            i_format: compact.i_format,
            i_xattr_icount: compact.i_xattr_icount,
            i_mode: compact.i_mode,
            i_reserved: 0.into(),
            i_size: u64::from(compact.i_size.get()).into(),
            i_u: compact.i_u,
            i_ino: compact.i_ino,
            i_uid: u32::from(compact.i_uid.get()).into(),
            i_gid: u32::from(compact.i_gid.get()).into(),
            i_mtime: self.superblock.epoch.cast_unsigned().into(),
            i_mtime_nsec: self.superblock.fixed_nsec.into(),
            i_nlink: u32::from(compact.i_nlink.get()).into(),
            i_reserved2: [0; 16],
        }
    }

    fn read(&self, what: &'static str, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
        read(self.source, what, buf, offset)
    }

    fn record<T: FromBytes + zerocopy::IntoBytes>(
        &self,
        what: &'static str,
        offset: u64,
    ) -> Result<T, ReadError> {
        let mut record = T::new_zeroed();
        self.read(what, record.as_mut_bytes(), offset)?;
        Ok(record)
    }
}

fn read<R: ReadAt + ?Sized>(
    source: &R,
    what: &'static str,
    buf: &mut [u8],
    offset: u64,
) -> Result<(), ReadError> {
    let len = buf.len();
    source
        .read_exact_at(buf, offset)
        .map_err(|source| ReadError::Read {
            what,
            offset,
            len,
            source,
        })
}

fn superblock(block: &[u8; BLOCK]) -> Result<SuperBlock, ReadError> {
    let (_, bytes) = block.split_at(SUPER_OFFSET);
    let (raw, _) = SuperBlock::read_from_prefix(bytes).map_err(|_| ReadError::Magic(0))?;
    if raw.magic.get() != MAGIC {
        return Err(ReadError::Magic(raw.magic.get()));
    }
    let (found, computed) = (raw.checksum.get(), format::checksum(block));
    if raw.feature_compat.get() & COMPAT_SB_CHKSUM != 0 && found != computed {
        return Err(ReadError::Checksum { found, computed });
    }
    Ok(raw)
}

/// Bits of the algorithms; without settings for them, the field is LZ4's.
fn algorithms(raw: &SuperBlock) -> u16 {
    if raw.feature_incompat.get() & INCOMPAT_COMPR_CFGS == 0 {
        return 0;
    }
    raw.available_compr_algs.get()
}

fn xattr_size(icount: u16) -> u64 {
    match icount.checked_sub(1) {
        None => 0,
        Some(words) => size_of::<XattrIbodyHeader>() as u64 + u64::from(words) * 4,
    }
}

fn file_type(i_mode: u16) -> Option<FileType> {
    Some(match i_mode & mode::TYPE {
        mode::REGULAR => FileType::Regular,
        mode::DIRECTORY => FileType::Directory,
        mode::SYMLINK => FileType::Symlink,
        mode::CHAR => FileType::CharDevice,
        mode::BLOCK => FileType::BlockDevice,
        mode::FIFO => FileType::Fifo,
        mode::SOCKET => FileType::Socket,
        _ => return None,
    })
}
