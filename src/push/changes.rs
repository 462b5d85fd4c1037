//! In which blocks two snapshots of i2kit's disks differ, without reading them.

use std::collections::BTreeSet;

use super::cloud::{CallError, Kind, Region, Retry};
use super::index::{Content, Index};

/// The blocks that EBS lists as changed between two snapshots of one region; none where it cannot
/// compare them since neither descends from the other's line.
///
/// # Errors
/// What EBS answers.
pub async fn listed(
    region: &Region,
    one: &str,
    other: &str,
) -> Result<Option<BTreeSet<u32>>, CallError> {
    let mut blocks = BTreeSet::new();
    let mut next: Option<String> = None;
    loop {
        let call = async || region.ebs.list_changed(one, other, next.as_deref()).await;
        let page = match Retry::default().run(call, |_| {}).await {
            Err(error) if error.kind == Kind::Invalid => return Ok(None),
            page => page?,
        };
        blocks.extend(page.items.iter().map(|changed| changed.index));
        match page.next {
            None => return Ok(Some(blocks)),
            token => next = token,
        }
    }
}

/// The blocks that may differ, by partition tables and hash trees; of blocks of which those say
/// nothing, the ones that are `listed`, or all without a list.
#[must_use]
pub fn differing(one: &Index, other: &Index, listed: Option<&BTreeSet<u32>>) -> BTreeSet<u32> {
    let may_differ = |block: &u32| match (one.content(*block), other.content(*block)) {
        (Content::Slab(one), Content::Slab(other)) => one != other,
        (Content::Plain(Some(one)), Content::Plain(Some(other))) => one != other,
        // Both are zeros to whoever reads.
        (Content::Unread | Content::ZeroSlab, Content::Unread | Content::ZeroSlab) => false,
        _ => listed.is_none_or(|listed| listed.contains(block)),
    };
    let blocks = one.blocks().max(other.blocks());
    (0..blocks).filter(may_differ).collect()
}
