//! Which blocks are put: pure, so that a dry run plans what a push does.
//!
//! A block never put reads back as the parent's, and without a parent, or where it has none either,
//! as anything: on an encrypted volume it is random. So a block is left out only where nobody reads
//! it, or where the parent has the same.

use std::collections::BTreeSet;

use super::index::{Content, Index};

/// A parent: what lies in its blocks, and which ones it has.
#[derive(Clone, Debug)]
pub struct Known {
    /// What its partition table and its hash tree tell.
    pub index: Index,
    /// The blocks that were ever put, in it or in its own parents.
    pub present: BTreeSet<u32>,
}

impl Known {
    /// What a block that is there holds.
    fn content(&self, block: u32) -> Option<Content<'_>> {
        self.present
            .contains(&block)
            .then(|| self.index.content(block))
    }

    /// True when a block of the parent is not zeros, or nobody knows. One that nobody reads is zeros
    /// where it is there at all: it was put to overwrite what an older one had.
    fn may_hold_something(&self, block: u32) -> bool {
        match self.content(block) {
            None | Some(Content::Unread | Content::ZeroSlab) => false,
            Some(Content::Slab(_) | Content::Plain(_)) => true,
        }
    }
}

/// The blocks to put, ascending. `written` are those that may hold something; all others are zeros.
#[must_use]
pub fn plan(own: &Index, written: &BTreeSet<u32>, parent: Option<&Known>) -> Vec<u32> {
    let is_put = |block: &u32| {
        let there = parent.and_then(|parent| parent.content(*block));
        match (own.content(*block), there) {
            (Content::Slab(one), Some(Content::Slab(other))) => one != other,
            (Content::Plain(Some(one)), Some(Content::Plain(Some(other)))) => one != other,
            (Content::Slab(_) | Content::Plain(_), _) => true,
            // Whatever lies outside of all partitions is part of the disk, too.
            (Content::Unread, _) if written.contains(block) => true,
            (Content::Unread | Content::ZeroSlab, _) => {
                parent.is_some_and(|parent| parent.may_hold_something(*block))
            }
        }
    };
    let last = parent.and_then(|parent| parent.present.last());
    let end = own.blocks().max(last.map_or(0, |last| last + 1));
    (0..end).filter(is_put).collect()
}

#[cfg(test)]
mod tests;
