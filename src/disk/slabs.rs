//! The slabs of a disk by their digests.

use std::collections::BTreeMap;
use std::io;

use i2kit_format::{ReadAt, SLAB};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{Disk, SlabDigest};

/// Slabs that are not all zeros, by their number on the disk.
pub type Slabs = BTreeMap<u64, SlabDigest>;

impl Disk {
    /// Its slabs. Those whose digests are known are not read.
    ///
    /// # Errors
    /// What reading the others answers.
    pub fn slabs(&self) -> io::Result<Slabs> {
        let numbers: Vec<u64> = self.written_slabs().collect();
        let digests = numbers.par_iter().map_init(empty_slab, |slab, number| {
            match self.known_digests(*number) {
                Some(known) => Ok((*number, known.sha256)),
                None => hashed(self, *number, slab),
            }
        });
        Ok(without_zeros(digests.collect::<io::Result<_>>()?))
    }
}

/// The slabs of what is read from; zeros follow a short last one.
///
/// # Errors
/// What reading answers.
pub fn slabs<R: ReadAt + Sync>(disk: &R) -> io::Result<Slabs> {
    let numbers = 0..disk.len().div_ceil(SLAB);
    let digests = numbers
        .into_par_iter()
        .map_init(empty_slab, |slab, number| hashed(disk, number, slab));
    Ok(without_zeros(digests.collect::<io::Result<_>>()?))
}

fn without_zeros(mut slabs: Slabs) -> Slabs {
    let zero = zero_digest();
    slabs.retain(|_, digest| *digest != zero);
    slabs
}

/// The digest of a slab that is all zeros: of each that [`Slabs`] have not.
#[must_use]
pub fn zero_digest() -> SlabDigest {
    Sha256::digest(empty_slab()).into()
}

/// The digest of a slab, which is read into `slab`.
fn hashed<R: ReadAt + ?Sized>(
    disk: &R,
    number: u64,
    slab: &mut [u8],
) -> io::Result<(u64, SlabDigest)> {
    let offset = number * SLAB;
    let len = usize::try_from(disk.len().saturating_sub(offset)).unwrap_or(usize::MAX);
    let (read, rest) = slab.split_at_mut(len.min(slab.len()));
    disk.read_exact_at(read, offset)?;
    rest.fill(0);
    Ok((number, Sha256::digest(&*slab).into()))
}

fn empty_slab() -> Vec<u8> {
    vec![0; usize::try_from(SLAB).unwrap_or(0)]
}
