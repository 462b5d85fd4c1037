//! What is known of a slab's bytes.

use i2kit_format::sha256;
use sha2::{Digest, Sha256};

/// SHA-256 of 512 KiB: what EBS asks for.
pub type SlabDigest = [u8; 32];

/// Both digests of a slab: SHA-256 for those who must be told it, BLAKE3 to check the bytes by,
/// which takes a quarter of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlabDigests {
    /// SHA-256.
    pub sha256: SlabDigest,
    /// BLAKE3.
    pub blake3: [u8; 32],
}

impl SlabDigests {
    /// Computes both.
    #[must_use]
    pub fn of(slab: &[u8]) -> Self {
        Self {
            sha256: Sha256::digest(slab).into(),
            blake3: blake3::hash(slab).into(),
        }
    }

    /// Computes both of each slab. Quicker than one by one where slabs are of one length.
    #[must_use]
    pub fn of_each(slabs: &[&[u8]]) -> Vec<Self> {
        let digests = sha256::digests(slabs).into_iter().zip(slabs);
        digests
            .map(|(sha256, slab)| Self {
                sha256,
                blake3: blake3::hash(slab).into(),
            })
            .collect()
    }

    /// True when `slab` is what the digests were computed of.
    #[must_use]
    pub fn match_bytes(&self, slab: &[u8]) -> bool {
        blake3::hash(slab) == self.blake3
    }
}
