//! What is known of a slab's bytes.

use i2kit_format::sha256;
use sha2::{Digest, Sha256};

/// SHA-256 of 512 KiB: what EBS asks for.
pub type SlabDigest = [u8; 32];

/// What a slab is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlabDigests {
    /// SHA-256: what EBS is told, and what bytes from elsewhere are checked by.
    pub sha256: SlabDigest,
    /// CRC-32C: what bytes that were checked once are checked by again. It takes a thirtieth of the
    /// time. Whoever could forge it could write the cache's index as well; the guest's hash tree
    /// trusts neither.
    pub crc32c: u32,
}

impl SlabDigests {
    /// Computes both.
    #[must_use]
    pub fn of(slab: &[u8]) -> Self {
        Self {
            sha256: Sha256::digest(slab).into(),
            crc32c: crc32c::crc32c(slab),
        }
    }

    /// Computes both of each slab. Quicker than one by one where slabs are of one length.
    #[must_use]
    pub fn of_each(slabs: &[&[u8]]) -> Vec<Self> {
        let digests = sha256::digests(slabs).into_iter().zip(slabs);
        digests
            .map(|(sha256, slab)| Self {
                sha256,
                crc32c: crc32c::crc32c(slab),
            })
            .collect()
    }

    /// True when `slab`, read back from local storage, is what the digests were computed of.
    #[must_use]
    pub fn match_bytes(&self, slab: &[u8]) -> bool {
        crc32c::crc32c(slab) == self.crc32c
    }
}
