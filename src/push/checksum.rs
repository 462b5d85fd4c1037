//! The checksum over a whole snapshot: aggregation method LINEAR.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::disk::SlabDigest;

/// The blocks put into one snapshot, by their digests. A block that was put twice counts once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linear {
    blocks: BTreeMap<u32, SlabDigest>,
}

impl Linear {
    /// Notes a block that was put.
    pub fn insert(&mut self, index: u32, sha256: SlabDigest) {
        self.blocks.insert(index, sha256);
    }

    /// The digest of a block that was put.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&SlabDigest> {
        self.blocks.get(&index)
    }

    /// How many blocks were put: the changed-blocks count.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)
    }

    /// The checksum: SHA-256 of the blocks' raw digests, one behind the other, by ascending index.
    /// Blocks that come from the parent are not part of it.
    #[must_use]
    pub fn checksum(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.blocks.values().for_each(|digest| hash.update(digest));
        hash.finalize().into()
    }
}

impl Extend<(u32, SlabDigest)> for Linear {
    fn extend<I: IntoIterator<Item = (u32, SlabDigest)>>(&mut self, blocks: I) {
        self.blocks.extend(blocks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors are from `printf`, `xxd -r -p` and `sha256sum`.
    #[test]
    fn digests_are_joined_by_ascending_index() {
        let mut linear = Linear::default();
        assert_eq!(
            hex::encode(linear.checksum()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        linear.insert(70_000, [0xbb; 32]);
        linear.insert(3, [0xcc; 32]);
        linear.insert(3, [0xaa; 32]);
        assert_eq!(linear.count(), 2);
        assert_eq!(linear.get(3), Some(&[0xaa; 32]));
        assert_eq!(hex::encode(linear.checksum()), JOINED);
    }

    /// `(printf 'aa%.0s' {1..32}; printf 'bb%.0s' {1..32}) | xxd -r -p | sha256sum`
    const JOINED: &str = "e2d80f78d79027556d6619a1400605abbdca6bb6eb24e0831e33ecd5466fa5f6";
}
