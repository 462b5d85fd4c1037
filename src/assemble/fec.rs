//! Error correction of the store, in a partition of its own: what `veritysetup` writes to a FEC
//! device.

use std::io;

use i2kit_contract::CMDLINE_FEC;
use i2kit_format::fec::{self, Encoder};
use i2kit_format::{BLOCK, Guid, ReadAt};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::partitions;
use super::store::Store;
use crate::disk::{Blob, Builder, Disk, OverlapError};

/// Why there is no error correction.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The parity cannot be computed.
    #[error(transparent)]
    Encode(#[from] fec::Error),
    /// Two parts of the store overlap: a fault of the store.
    #[error(transparent)]
    Overlap(#[from] OverlapError),
}

/// The store's parity, and what dm-verity is told of it.
pub struct Fec {
    /// Parity bytes of a code word of 255.
    pub roots: u8,
    /// Blocks that are covered: the store's, then its hash partition's but for the superblock.
    pub blocks: u64,
    /// The partition's own GUID, derived from the root hash.
    pub guid: Guid,
    /// The parity, part after part: the partition's content.
    pub parity: Vec<Blob>,
}

impl Fec {
    /// The word of the command line by which the guest finds it.
    #[must_use]
    pub fn word(&self) -> String {
        format!("{CMDLINE_FEC}={}:{}:{}", self.guid, self.roots, self.blocks)
    }
}

/// Computes the store's parity on all processors. It holds the parity, some `roots / 253` of the
/// store; the store itself is read once, and checked only when the disk is written.
///
/// # Errors
/// [`Error`].
pub fn build(store: &Store, roots: u8) -> Result<Fec, Error> {
    let covered = Covered {
        data: disk(&store.data, store.data_len)?,
        hash: disk(&store.hash, partitions::partition_len(store.hash_len))?,
    };
    let encoder = Encoder::new(covered.len(), roots)?;
    let parity = (0..encoder.groups())
        .into_par_iter()
        .map(|group| encoder.group(group, &covered).map(Blob::bytes))
        .collect::<Result<_, _>>()?;
    let digest = Sha256::new_with_prefix(b"i2kit fec\0").chain_update(store.root_hash);
    let digest: [u8; 32] = digest.finalize().into();
    Ok(Fec {
        roots,
        blocks: encoder.blocks(),
        guid: Guid::from_digest(digest.first_chunk().unwrap_or(&[0; 16])),
        parity,
    })
}

fn disk(pieces: &[(u64, Blob)], len: u64) -> Result<Disk, OverlapError> {
    let mut disk = Builder::new();
    for (offset, blob) in pieces {
        disk.place(*offset, blob.clone())?;
    }
    Ok(disk.finish(len))
}

/// The data, then the hash partition from the block after its superblock to its end: whoever opens
/// the partitions knows their sizes only.
struct Covered {
    data: Disk,
    hash: Disk,
}

impl ReadAt for Covered {
    fn len(&self) -> u64 {
        self.data.len() + self.hash.len() - BLOCK
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let of_data = self.data.len().saturating_sub(offset);
        let of_data = usize::try_from(of_data)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        let (data, hash) = buf.split_at_mut(of_data);
        if !data.is_empty() {
            self.data.read_exact_at(data, offset)?;
        }
        if hash.is_empty() {
            return Ok(());
        }
        let within = (offset + of_data as u64) - self.data.len();
        self.hash.read_exact_at(hash, within + BLOCK)
    }
}
