//! Reads all of a converted layer and compares it with what was noted when it was written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use i2kit_format::{BLOCK, SLAB, verity};
use rayon::prelude::*;

use super::stored;
use crate::disk::SlabDigests;

/// What is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The entries or the hash blocks are missing or altered.
    #[error("its index or hash blocks are missing or were altered")]
    Small,
    /// The data is missing, or not as long as it was.
    #[error("its data is missing or has another length")]
    Length,
    /// A slab has other bytes, or digests that are not those of its bytes.
    #[error("slab {0} of its data was altered")]
    Slab(u64),
}

/// Compares each slab of the layer in `folder` with its BLAKE3, its SHA-256 and its hash block.
///
/// # Errors
/// What reading answers, other than that a file is missing.
pub fn verify(folder: &Path) -> io::Result<Option<Damage>> {
    let missing_is = |damage| {
        move |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Ok(damage),
            _ => Err(error),
        }
    };
    let small = match stored::read_small(folder) {
        Ok(small) => small,
        Err(error) => return missing_is(Damage::Small)(error).map(Some),
    };
    let Some((index, hash_blocks)) = small else {
        return Ok(Some(Damage::Small));
    };
    let data = match File::open(folder.join(stored::DATA)) {
        Ok(data) => data,
        Err(error) => return missing_is(Damage::Length)(error).map(Some),
    };
    if data.metadata()?.len() != index.data_len {
        return Ok(Some(Damage::Length));
    }
    first_bad_slab(&data, &index.slab_digests, &hash_blocks)
}

fn first_bad_slab(
    data: &File,
    digests: &[SlabDigests],
    hash_blocks: &[u8],
) -> io::Result<Option<Damage>> {
    let block = usize::try_from(BLOCK).unwrap_or(usize::MAX);
    let buffer = || vec![0; usize::try_from(SLAB).unwrap_or(0)];
    let known = digests.par_iter().zip(hash_blocks.par_chunks(block));
    let first = known
        .enumerate()
        .map_init(buffer, |buffer, (slab, (digests, hash_block))| {
            let slab = slab as u64;
            data.read_exact_at(buffer, slab * SLAB)?;
            let is_sound =
                SlabDigests::of(buffer) == *digests && verity::hash_slab(buffer) == *hash_block;
            Ok((!is_sound).then_some(Damage::Slab(slab)))
        })
        .find_map_first(Result::transpose);
    first.transpose()
}
