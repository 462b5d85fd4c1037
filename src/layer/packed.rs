//! A converted layer packed for transport, so that machines share the work of converting.
//!
//! ```text
//! zstd stream of:
//!   "i2kit converted 1\n"
//!   length of the entry index, 8 bytes, little-endian
//!   the entry index
//!   the level-0 hash blocks, 4 KiB for each slab
//!   the data blob, slab by slab
//! ```
//!
//! The entry index holds the digest of everything else, so the SHA-256 of the index names the whole
//! converted layer: [`ConvertedLayer::digest`]. Who unpacks knows that digest beforehand (from a
//! lock or a signature), and nothing is believed that does not agree with it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use i2kit_format::{BLOCK, ReadAt, SLAB};
use sha2::{Digest, Sha256};

use super::buffers;
use super::convert::{Found, LayerSpec, find};
use super::entries::Index;
use super::key::key;
use super::{ConvertedLayer, Error, Origin, slabs, stored};
use crate::cache::Cache;
use crate::disk::SlabDigests;

const MAGIC: &[u8] = b"i2kit converted 1\n";
/// Four million entries, with room. A layer with a larger index is not shared.
const MAX_INDEX: u64 = 512 << 20;
/// Data blobs that are mostly text and code shrink by two thirds at this level, at 400 MB/s.
const ZSTD_LEVEL: i32 = 3;

/// Why a packed layer is not used.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The bytes end early, are no zstd stream, or cannot be fetched.
    #[error("read: {0}")]
    Read(io::Error),
    /// It begins otherwise.
    #[error("it is no packed layer of version 1")]
    Magic,
    /// Its index is another.
    #[error("its index is sha256:{found}, not the sha256:{expected} that is trusted")]
    Untrusted {
        /// The index's digest.
        found: String,
        /// The trusted one.
        expected: String,
    },
    /// Its index is of another version of the format.
    #[error("its index cannot be read")]
    Index,
    /// Data or hash blocks are not those that the index names.
    #[error("{what} {number} is not what its index says")]
    Altered {
        /// `slab` or `hash blocks`.
        what: &'static str,
        /// Which.
        number: usize,
    },
    /// It cannot be kept.
    #[error(transparent)]
    Keep(#[from] Error),
}

impl ConvertedLayer {
    /// The digest that names everything in it, as bytes of SHA-256.
    ///
    /// # Errors
    /// When its index cannot be read in the cache.
    pub fn digest(&self) -> io::Result<[u8; 32]> {
        Ok(Sha256::digest(self.index()?).into())
    }

    fn index(&self) -> io::Result<Vec<u8>> {
        std::fs::read(self.entry.folder().join(stored::INDEX))
    }

    /// Packs the layer into `out`, checking each slab on the way.
    ///
    /// # Errors
    /// When the cache's files cannot be read, were altered, or `out` takes no more.
    pub fn pack(&self, out: impl Write) -> io::Result<()> {
        let index = self.index()?;
        if index.len() as u64 > MAX_INDEX {
            return Err(io::Error::other("too many entries for a packed layer"));
        }
        let mut zstd = zstd::Encoder::new(out, ZSTD_LEVEL)?;
        zstd.write_all(MAGIC)?;
        zstd.write_all(&(index.len() as u64).to_le_bytes())?;
        zstd.write_all(&index)?;
        let folder = self.entry.folder();
        io::copy(
            &mut File::open(folder.join(stored::HASH_BLOCKS))?,
            &mut zstd,
        )?;
        let mut slab = vec![0; usize::try_from(SLAB).unwrap_or(0)];
        for (number, digests) in self.slab_digests.iter().enumerate() {
            self.data.read_exact_at(&mut slab, number as u64 * SLAB)?;
            if !digests.match_bytes(&slab) {
                let folder = folder.display();
                return Err(io::Error::other(format!(
                    "{folder} was altered in the cache, slab {number}"
                )));
            }
            zstd.write_all(&slab)?;
        }
        zstd.finish()?.flush()
    }
}

/// Unpacks a layer into the cache, when its digest is `trusted`.
///
/// # Errors
/// [`UnpackError`]; the cache then holds nothing of it.
pub fn unpack_into_cache(
    cache: &Cache,
    spec: &LayerSpec,
    packed: impl Read + Send,
    trusted: &[u8; 32],
) -> Result<ConvertedLayer, UnpackError> {
    let key = key(&spec.diff_id, spec.compression);
    let store = |operation| {
        move |source| Error::Store {
            operation,
            layer: spec.digest.clone(),
            source,
        }
    };
    let lock = cache.lock(&key).map_err(Error::from)?;
    match find(cache, &key, spec)? {
        Found::Sound(layer) => return Ok(*layer),
        Found::Damaged(entry) => drop(cache.discard(&entry, &lock).map_err(Error::from)?),
        Found::Nothing => {}
    }
    let draft = cache.draft(&key).map_err(Error::from)?;
    let mut packed = zstd::Decoder::new(packed).map_err(UnpackError::Read)?;
    let (encoded, index) = read_index(&mut packed, trusted)?;
    let hash_blocks = read_hash_blocks(&mut packed, &index)?;
    let path = draft.folder().join(stored::DATA);
    let data = File::create_new(path).map_err(store("write"))?;
    copy_slabs(packed, &data, &index.slab_digests, &store("write"))?;
    data.set_len(index.data_len).map_err(store("write"))?;
    stored::write_small(draft.folder(), &hash_blocks, &encoded).map_err(store("write"))?;
    let entry = Arc::new(draft.commit().map_err(Error::from)?);
    let layer = stored::load(&entry, spec, Origin::Shared).map_err(store("read"))?;
    Ok(layer.ok_or_else(|| store("read")(io::ErrorKind::InvalidData.into()))?)
}

fn read_index(packed: &mut impl Read, trusted: &[u8; 32]) -> Result<(Vec<u8>, Index), UnpackError> {
    let mut magic = [0; MAGIC.len()];
    packed.read_exact(&mut magic).map_err(UnpackError::Read)?;
    if magic != MAGIC {
        return Err(UnpackError::Magic);
    }
    let mut len = [0; 8];
    packed.read_exact(&mut len).map_err(UnpackError::Read)?;
    let len = u64::from_le_bytes(len).min(MAX_INDEX);
    let mut encoded = Vec::new();
    let mut reader = packed.take(len);
    reader
        .read_to_end(&mut encoded)
        .map_err(UnpackError::Read)?;
    let found: [u8; 32] = Sha256::digest(&encoded).into();
    if found != *trusted {
        return Err(UnpackError::Untrusted {
            found: hex::encode(found),
            expected: hex::encode(trusted),
        });
    }
    let index = Index::decode(&encoded).ok_or(UnpackError::Index)?;
    Ok((encoded, index))
}

fn read_hash_blocks(packed: &mut impl Read, index: &Index) -> Result<Vec<u8>, UnpackError> {
    let mut blocks = Vec::new();
    let len = index.slab_digests.len() as u64 * BLOCK;
    let mut reader = packed.take(len);
    reader.read_to_end(&mut blocks).map_err(UnpackError::Read)?;
    if *blake3::hash(&blocks).as_bytes() != index.hash_blocks_checksum {
        return Err(UnpackError::Altered {
            what: "hash blocks",
            number: 0,
        });
    }
    Ok(blocks)
}

/// Unpacks the slabs on a thread of their own, and checks and writes them on this one.
fn copy_slabs(
    packed: impl Read + Send,
    data: &File,
    digests: &[SlabDigests],
    store: &impl Fn(io::Error) -> Error,
) -> Result<(), UnpackError> {
    let (sender, full) = buffers::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || send_slabs(packed, digests.len(), &sender));
        // Its own: whoever returns early hangs up, which stops the thread above.
        let full = full;
        let mut number = 0;
        for digests in digests.chunks(slabs::BATCH) {
            let batch = full.iter().take(digests.len());
            let batch = batch.collect::<io::Result<Vec<_>>>();
            let batch = batch.map_err(UnpackError::Read)?;
            let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
            for ((slab, found), known) in slices
                .iter()
                .zip(SlabDigests::of_each(&slices))
                .zip(digests)
            {
                if found != *known {
                    let what = "slab";
                    return Err(UnpackError::Altered { what, number });
                }
                slabs::write(data, slab, number as u64 * SLAB).map_err(store)?;
                number += 1;
            }
            batch.into_iter().for_each(|slab| full.give_back(slab));
        }
        Ok(())
    })
}

/// Sends the next `count` slabs, as long as somebody listens: nobody does when one was altered.
fn send_slabs(mut packed: impl Read, count: usize, sender: &buffers::Sender) {
    for _ in 0..count {
        let mut slab = sender.spare();
        slab.resize(usize::try_from(SLAB).unwrap_or(0), 0);
        if let Err(error) = packed.read_exact(&mut slab) {
            return sender.fail(error);
        }
        if !sender.send(slab) {
            return;
        }
    }
}
