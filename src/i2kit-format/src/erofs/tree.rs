//! The file tree that the EROFS writer emits: an arena of inodes and directories that name them.
//!
//! A hard link is a second directory entry for the same [`InodeId`]; link counts are derived by
//! the writer. Inodes that no directory names are not written.

use std::collections::BTreeMap;

use super::codec::Algorithm;

/// Index of an inode in its [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(pub u32);

/// Entries of a directory by name, in byte order, without `.` and `..`.
pub type Directory = BTreeMap<Box<[u8]>, InodeId>;

/// A whole file tree. `InodeId(0)` is the root directory.
#[derive(Clone, Debug)]
pub struct Tree {
    inodes: Vec<Inode>,
    /// What [`Content::Compressed`] refers to.
    pub compression: Option<Compression>,
}

/// Permission bits, owner, times and extended attributes: what every kind of file has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Permission, setuid, setgid and sticky bits (`0o7777`); the file type is the content's.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds since 1970, may be negative.
    pub mtime: i64,
    /// Nanoseconds, 0..1_000_000_000.
    pub mtime_nsec: u32,
    /// Full names (`user.x`, `security.capability`, `trusted.y`) to values.
    pub xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

/// One inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Owner, mode, times, xattrs.
    pub metadata: Metadata,
    /// Type and data.
    pub content: Content,
}

/// What an inode holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A directory.
    Directory(Directory),
    /// A regular file.
    Regular(FileData),
    /// A regular file whose bytes are compressed.
    Compressed(CompressedFile),
    /// A symbolic link's target, 1..=4095 bytes.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice {
        /// 12 bits.
        major: u32,
        /// 20 bits.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// 12 bits.
        major: u32,
        /// 20 bits.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// A regular file's size and where its bytes lie. What no extent covers reads as zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileData {
    /// Bytes.
    pub size: u64,
    /// Ascending by `offset`, never overlapping.
    pub extents: Vec<FileExtent>,
}

/// A run of a file's bytes that lies contiguously.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileExtent {
    /// Where in the file, bytes; a multiple of 64 KiB where holes are involved, else 0.
    pub offset: u64,
    /// Bytes. A multiple of 4 KiB, but for the file's last extent.
    pub len: u64,
    /// First 4 KiB block. In a converted layer: of its data blob. In a [`Tree`] handed to the
    /// writer: of the file-system image. The last block is zero after the last byte.
    pub start_block: u64,
}

/// What all compressed files of a tree share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// How their clusters are compressed.
    pub algorithm: Algorithm,
    /// Bytes that no cluster is longer than: a power of 2, 4 KiB to 4 MiB. As read, the largest that
    /// the image's settings allow: ZSTD's name the window only, which ends at 1 MiB.
    pub cluster_size: u32,
    /// The packed inode: clusters whose bytes, one after another, fragments are offsets into.
    pub packed: Vec<Cluster>,
}

/// A compressed regular file: clusters from its first byte on, without gaps, and then perhaps a
/// fragment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompressedFile {
    /// Bytes.
    pub size: u64,
    /// In order. All but the file's last cluster have whole blocks of bytes.
    pub clusters: Vec<Cluster>,
    /// Where in the packed inode the bytes lie that the clusters do not have.
    pub fragment: Option<u64>,
}

/// Bytes that are compressed together, or lie plain where that saves no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// Bytes, 1 to 1 MiB.
    pub len: u32,
    /// Blocks of 4 KiB on the disk. As many as the bytes fill: they lie there plain. Fewer: they
    /// are compressed.
    pub blocks: u32,
    /// First 4 KiB block, counted as [`FileExtent::start_block`] is.
    pub start_block: u64,
}

impl Cluster {
    /// Whether its bytes lie on the disk as they are.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.blocks >= self.logical_blocks()
    }

    /// Blocks that its bytes fill.
    #[must_use]
    pub fn logical_blocks(&self) -> u32 {
        self.len.div_ceil(4096)
    }
}

impl CompressedFile {
    /// Bytes that the clusters have.
    #[must_use]
    pub fn clusters_len(&self) -> u64 {
        self.clusters
            .iter()
            .map(|cluster| u64::from(cluster.len))
            .sum()
    }
}

impl Tree {
    /// A tree with an empty root directory.
    #[must_use]
    pub fn new(root: Metadata) -> Self {
        Self {
            inodes: vec![Inode {
                metadata: root,
                content: Content::Directory(Directory::new()),
            }],
            compression: None,
        }
    }

    /// The root directory's inode.
    pub const ROOT: InodeId = InodeId(0);

    /// Adds an inode that no directory names yet.
    ///
    /// # Panics
    /// Never; past `u32::MAX` inodes the id saturates and [`Tree::get`] answers `None`.
    pub fn add(&mut self, inode: Inode) -> InodeId {
        let id = u32::try_from(self.inodes.len()).unwrap_or(u32::MAX);
        self.inodes.push(inode);
        InodeId(id)
    }

    /// The inode, if the id is of this tree.
    #[must_use]
    pub fn get(&self, id: InodeId) -> Option<&Inode> {
        self.inodes.get(id.0 as usize)
    }

    /// The inode, to change it.
    pub fn get_mut(&mut self, id: InodeId) -> Option<&mut Inode> {
        self.inodes.get_mut(id.0 as usize)
    }

    /// The directory's entries, if the inode is one.
    #[must_use]
    pub fn directory(&self, id: InodeId) -> Option<&Directory> {
        match &self.get(id)?.content {
            Content::Directory(entries) => Some(entries),
            _ => None,
        }
    }

    /// The directory's entries, to change them.
    pub fn directory_mut(&mut self, id: InodeId) -> Option<&mut Directory> {
        match &mut self.get_mut(id)?.content {
            Content::Directory(entries) => Some(entries),
            _ => None,
        }
    }

    /// How many inodes the arena holds, named or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inodes.len()
    }

    /// Never true: the root is always there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inodes.is_empty()
    }
}
