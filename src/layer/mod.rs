//! A layer, converted once: tar entries in order, and a data blob of slab-aligned extents.
//!
//! Knows nothing of registries or images: a reader and the digests that its bytes must have come
//! in, a [`ConvertedLayer`] in the cache comes out.

mod buffers;
mod clusters;
mod compress;
mod compression;
mod convert;
mod entries;
mod error;
mod gzip;
mod inflate;
mod keep;
mod key;
mod pack;
mod packed;
mod path;
mod run;
mod slabs;
mod stored;
pub mod tar;
mod verify;

use std::sync::Arc;

use i2kit_format::erofs::{Cluster, CompressedFile, FileData, Metadata};

use crate::cache;
use crate::disk::{Blob, SlabDigests};

pub use compression::{Compression, CompressionError};
pub use convert::{ConvertOptions, LayerSpec, convert_into_cache, find_in_cache};
pub use error::{Error, Refusal};
pub(crate) use inflate::Counting;
pub use inflate::inflate;
pub use key::{KeyParts, discard, touch, writer};
pub use packed::{UnpackError, unpack_into_cache};
pub use verify::{Damage, verify};

/// One tar entry, in the order of the tar. Order and duplicates matter: a path may run through a
/// symlink of a lower layer, so only the merge can say which file it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The entry's name as the tar has it: no leading `/` or `./`, no trailing `/`, no empty or `.`
    /// component; `..` was refused at conversion. Empty for the root itself. Whiteouts (`.wh.*`)
    /// keep their names.
    pub path: Box<[u8]>,
    /// Mode, owner, times, xattrs.
    pub metadata: Metadata,
    /// Type and data.
    pub kind: EntryKind,
}

/// What kind of entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory; over an existing one only its metadata changes.
    Directory,
    /// A regular file; extents' blocks count from the start of this layer's data blob.
    Regular(FileData),
    /// A regular file that is compressed; clusters' blocks count from the start of this layer's data
    /// blob, its fragment from the start of this layer's packed stream.
    Compressed(CompressedFile),
    /// A second name of the file that this path names, at this moment of the replay.
    HardLink(Box<[u8]>),
    /// A symbolic link, with its target's raw bytes.
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
}

/// How the cache came to have a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was converted now.
    Converted,
    /// The cache had it.
    Cached,
    /// A shared cache had it.
    Shared,
}

impl Origin {
    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Converted => "converted",
            Self::Cached => "cached",
            Self::Shared => "shared",
        }
    }
}

/// A layer in the cache, converted: where its files lie and what is known of them.
#[derive(Clone, Debug)]
pub struct ConvertedLayer {
    /// The diffID, `sha256:…`.
    pub diff_id: String,
    /// The entries in order.
    pub entries: Vec<Entry>,
    /// The data blob, with its slabs' digests: a whole number of slabs, possibly none.
    pub data: Blob,
    /// The level-0 verity hash blocks of the data, 4 KiB for each slab.
    pub hash_blocks: Blob,
    /// The packed stream: what fragments are offsets into. Whole blocks, blocks counted from the
    /// start of the data blob.
    pub packed: Vec<Cluster>,
    /// How its files are compressed, if they are.
    pub compression: Option<Compression>,
    /// The digests of each slab.
    pub slab_digests: Vec<SlabDigests>,
    /// Bytes of the uncompressed tar.
    pub tar_len: u64,
    /// How the cache came to have it.
    pub origin: Origin,
    /// Its entry in the cache, which nothing evicts while this lives.
    pub entry: Arc<cache::Entry>,
}
