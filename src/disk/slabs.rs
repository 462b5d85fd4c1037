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
        let digests = numbers
            .par_iter()
            .map(|number| match self.known_digests(*number) {
                Some(known) => Ok((*number, known.sha256)),
                None => hashed(self, *number),
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
    let digests = numbers.into_par_iter().map(|number| hashed(disk, number));
    Ok(without_zeros(digests.collect::<io::Result<_>>()?))
}

fn without_zeros(mut slabs: Slabs) -> Slabs {
    let zero = zero_slab();
    slabs.retain(|_, digest| *digest != zero);
    slabs
}

fn hashed<R: ReadAt + ?Sized>(disk: &R, number: u64) -> io::Result<(u64, SlabDigest)> {
    let offset = number * SLAB;
    let mut bytes = vec![0; usize::try_from(SLAB).unwrap_or(0)];
    let len = usize::try_from(disk.len().saturating_sub(offset)).unwrap_or(usize::MAX);
    let len = len.min(bytes.len());
    disk.read_exact_at(bytes.get_mut(..len).unwrap_or_default(), offset)?;
    Ok((number, Sha256::digest(&bytes).into()))
}

fn zero_slab() -> SlabDigest {
    Sha256::digest(vec![0; usize::try_from(SLAB).unwrap_or(0)]).into()
}
