//! What a push would do, for which nothing is made.

use serde::Serialize;

use super::Error;
use super::estimate::estimate;
use super::price::{self, Microdollars};
use super::publish::Push;

/// Calls of a push that makes an AMI besides those of its snapshot: the search for the same disk and
/// for a parent, RegisterImage, and three answers that it is available.
const AMI_CALLS: u64 = 6;

/// What a push would do in one region.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Planned {
    /// The region.
    pub region: String,
    /// The name that the AMI would have, or has.
    pub name: String,
    /// The AMI, or the snapshot alone, that is there already: nothing would be done.
    pub unchanged: Option<String>,
    /// Amazon would copy it from the first region.
    pub copied: bool,
    /// The snapshot that only differences would be sent to.
    pub parent: Option<String>,
    /// Why no parent would be used that is to be.
    pub full_because: Option<String>,
    /// Blocks to send.
    pub blocks_to_send: u64,
    /// Which blocks: the first of each run and how many, by their place on the disk.
    pub blocks: Vec<(u32, u32)>,
    /// Blocks that would be sent without a parent.
    pub blocks_total: u64,
    /// Bytes to send.
    pub bytes: u64,
    /// HTTP requests.
    pub requests: u64,
    /// About how long, on a line that is fast enough.
    pub seconds: f64,
    /// What the calls cost, millionths of a United States dollar.
    pub cost: Microdollars,
    /// The most that the snapshot costs a month, millionths of a dollar.
    pub cost_a_month: Microdollars,
}

/// Plans a push to all regions, one after the other.
///
/// # Errors
/// What keeps the push from being planned would keep it from being made.
pub async fn plan(push: &Push) -> Result<Vec<Planned>, Error> {
    let mut plans = Vec::new();
    for name in &push.wish.regions {
        plans.push(plan_one(push, name).await?);
    }
    Ok(plans)
}

async fn plan_one(push: &Push, name: &str) -> Result<Planned, Error> {
    let region = push.cloud.region(name);
    let copied = push.wish.is_copied_to(name);
    let known = push.known(&region).await?;
    let planned = Planned {
        region: name.to_owned(),
        name: push.identity.ami_name(),
        cost_a_month: price::kept_a_month(push.source.len()),
        copied,
        ..Planned::default()
    };
    if let Some(there) = push.there(&region, &known).await? {
        return Ok(Planned {
            unchanged: Some(there.ami.unwrap_or(there.snapshot)),
            blocks_total: there.blocks_total,
            copied: false,
            ..planned
        });
    }
    if copied {
        return Ok(planned);
    }
    let estimate = estimate(&push.order(&region, known).await?, &push.own).await;
    let more = if push.wish.snapshot_only {
        1
    } else {
        AMI_CALLS
    };
    Ok(Planned {
        parent: estimate.parent,
        full_because: estimate.fall_back.map(|why| why.to_string()),
        blocks_to_send: estimate.indexes.len() as u64,
        blocks: runs(&estimate.indexes),
        blocks_total: estimate.full_blocks,
        bytes: estimate.bytes,
        requests: estimate.requests + more,
        seconds: estimate.time.as_secs_f64(),
        cost: estimate.calls.cost(),
        ..planned
    })
}

/// Ascending numbers as runs.
fn runs(numbers: &[u32]) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers.iter().copied() {
        match runs.last_mut() {
            Some((first, count)) if first.checked_add(*count) == Some(number) => *count += 1,
            _ => runs.push((number, 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_one_run() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[0, 1, 2, 5, 7, 8]), [(0, 3), (5, 1), (7, 2)]);
        assert_eq!(runs(&[u32::MAX]), [(u32::MAX, 1)]);
    }
}
