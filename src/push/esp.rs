//! What lies in the ESP: no hash tree covers it, so a snapshot's tags tell.
//!
//! A build changes little of it: the file system's serial number and the UKI's command line in its first
//! block, a signature in its last one. Kernel and initramfs lie between.

use std::ops::Range;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use i2kit_contract::LABEL_ESP;
use i2kit_format::{SLAB, gpt};
use sha2::{Digest as _, Sha256};

use crate::disk::{self, SlabDigest, Slabs};

/// Runs of blocks that a tag tells of: more digests than these have no room in the 255 characters that
/// EBS direct takes.
const RUNS: usize = 5;

/// The digests of an ESP's blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Esp {
    first: u32,
    blocks: Vec<SlabDigest>,
}

/// The blocks of the partition, where it has whole ones.
pub(super) fn range(table: &gpt::Table) -> Option<Range<u32>> {
    let found = table.named(LABEL_ESP)?;
    let end = found.offset().checked_add(found.size())?;
    let number = |at: u64| {
        u32::try_from(at / SLAB)
            .ok()
            .filter(|_| at.is_multiple_of(SLAB))
    };
    Some(number(found.offset())?..number(end)?)
}

impl Esp {
    /// Of a disk with these slabs; nothing where the partition has not whole blocks.
    #[must_use]
    pub fn of(table: &gpt::Table, slabs: &Slabs) -> Self {
        let range = range(table).unwrap_or_default();
        let zeros = disk::zero_digest();
        let digest = |block| slabs.get(&u64::from(block)).copied().unwrap_or(zeros);
        Self {
            first: range.start,
            blocks: range.map(digest).collect(),
        }
    }

    /// Which blocks they are.
    #[must_use]
    pub fn range(&self) -> Range<u32> {
        let count = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        self.first..self.first.saturating_add(count)
    }

    /// The blocks and their digests.
    pub fn blocks(&self) -> impl Iterator<Item = (u32, SlabDigest)> + '_ {
        self.range().zip(self.blocks.iter().copied())
    }

    /// The value of the tag: the digests of its runs in base64; none of no ESP.
    #[must_use]
    pub fn tag(&self) -> Option<String> {
        let digests: Vec<SlabDigest> = self.runs().map(|(_, digest)| digest).collect();
        (!digests.is_empty()).then(|| BASE64_STANDARD.encode(digests.concat()))
    }

    /// The blocks, with their digests, that an ESP in the same place has as well, by its tag.
    #[must_use]
    pub fn same_as(&self, tag: &str) -> Vec<(u32, SlabDigest)> {
        let told = BASE64_STANDARD.decode(tag).unwrap_or_default();
        let (told, rest) = told.as_chunks::<32>();
        let own: Vec<_> = self.runs().collect();
        if !rest.is_empty() || told.len() != own.len() {
            return Vec::new();
        }
        let same = own.into_iter().zip(told);
        let same = same.filter(|((_, own), told)| own == *told);
        let same = same.map(|((run, _), _)| run);
        let blocks: Vec<_> = self.blocks().collect();
        same.flat_map(|run| blocks.get(run).unwrap_or_default().to_vec())
            .collect()
    }

    /// Its runs, each with the digest over its blocks' digests.
    fn runs(&self) -> impl Iterator<Item = (Range<usize>, SlabDigest)> + '_ {
        runs(self.blocks.len()).map(|run| {
            let blocks = self.blocks.get(run.clone()).unwrap_or_default();
            (run, Sha256::digest(blocks.concat()).into())
        })
    }
}

/// So many blocks as at most [`RUNS`] runs: the first and the last alone, those between in equal parts.
fn runs(count: usize) -> impl Iterator<Item = Range<usize>> {
    let inner = count.saturating_sub(2);
    let parts = inner.min(RUNS - 2);
    let between =
        (0..parts).map(move |part| 1 + inner * part / parts..1 + inner * (part + 1) / parts);
    let first = (count > 0).then_some(0..1);
    let last = (count > 1).then(|| count - 1..count);
    first.into_iter().chain(between).chain(last)
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::super::source::BLOCK_LEN;
    use super::*;

    fn esp(blocks: &[u8]) -> Esp {
        Esp {
            first: 2,
            blocks: blocks.iter().map(|number| [*number; 32]).collect(),
        }
    }

    #[test]
    fn runs_have_each_block_once() {
        for count in 0..100 {
            let all: Vec<_> = runs(count).collect();
            assert!(all.len() == count.min(RUNS), "{count}: {all:?}");
            assert!(all.into_iter().flatten().eq(0..count), "{count}");
        }
        let of_30: Vec<_> = runs(30).collect();
        assert_eq!(of_30, [0..1, 1..10, 10..19, 19..29, 29..30]);
    }

    #[test]
    fn a_tag_tells_which_runs_are_the_same() {
        let one: Vec<u8> = (0..30).collect();
        let tag = esp(&one).tag().unwrap();
        assert!(tag.len() <= 255, "{tag}");
        let numbers = |same: Vec<(u32, SlabDigest)>| {
            let is_own = |(block, digest): &(u32, SlabDigest)| u32::from(digest[0]) + 2 == *block;
            assert!(same.iter().all(is_own));
            same.into_iter().map(|(block, _)| block).collect::<Vec<_>>()
        };
        assert_eq!(
            numbers(esp(&one).same_as(&tag)),
            (2..32).collect::<Vec<_>>()
        );
        let mut other = one.clone();
        (other[0], other[12]) = (77, 77);
        let other = esp(&other).tag().unwrap();
        let expected: Vec<u32> = (3..12).chain(21..32).collect();
        assert_eq!(numbers(esp(&one).same_as(&other)), expected);
    }

    #[test]
    fn what_is_no_tag_of_as_many_blocks_tells_nothing() {
        let own = esp(&[1, 2, 3]);
        let tag = own.tag().unwrap();
        for wrong in ["", "?", &tag[..40], &esp(&[1, 2]).tag().unwrap()] {
            assert_eq!(own.same_as(wrong), [], "{wrong}");
        }
        assert_eq!(Esp::default().tag(), None);
        assert_eq!(Esp::default().same_as(""), []);
    }

    #[test]
    fn blocks_are_those_of_the_partition() {
        let sample = Sample::new(&[1], 2);
        let table = gpt::read(&sample.bytes).unwrap();
        let slabs = disk::slabs(&sample.bytes).unwrap();
        let esp = Esp::of(&table, &slabs);
        assert_eq!(esp.range(), sample.esp()..sample.esp() + 4);
        let digest = |block| <[u8; 32]>::from(Sha256::digest(sample.block(block)));
        assert!(esp.blocks().all(|(block, found)| found == digest(block)));
        let of_zeros = Esp::of(&table, &Slabs::new());
        let zeros = <[u8; 32]>::from(Sha256::digest([0; BLOCK_LEN]));
        assert!(of_zeros.blocks().all(|(_, found)| found == zeros));
    }
}
