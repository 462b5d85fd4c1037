//! What a push would take: an estimate, for which nothing is made.

use std::time::Duration;

use i2kit_format::SLAB;

use super::begin;
use super::blocks;
use super::limiter::Limits;
use super::own::Own;
use super::parent::FallBack;
use super::price::PaidCalls;
use super::remote::Reads;
use super::snapshot::Order;

/// One call and its answer, as it is from afar.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// StartSnapshot, CompleteSnapshot, and three answers that it is completed.
const FIXED_CALLS: u64 = 5;
/// How often these wait for one another: the three answers come together.
const FIXED_TURNS: u64 = 3;
/// What EBS takes to complete a small snapshot.
const COMPLETING: Duration = Duration::from_secs(2);

/// What making a snapshot would take.
#[derive(Debug)]
pub struct Estimate {
    /// Its parent.
    pub parent: Option<String>,
    /// Why the parent that was named is not.
    pub fall_back: Option<FallBack>,
    /// The blocks that would be put, ascending.
    pub indexes: Vec<u32>,
    /// How many it would be without a parent.
    pub full_blocks: u64,
    /// Bytes that would be put.
    pub bytes: u64,
    /// Calls that are paid for, those that read the parent among them.
    pub calls: PaidCalls,
    /// All calls to EBS and EC2 for the snapshot.
    pub requests: u64,
    /// Some time that it would take, at 100 ms a call and with a line that is fast enough.
    pub time: Duration,
}

/// Reads the parent and plans. Makes nothing.
pub async fn estimate(order: &Order, own: &Own) -> Estimate {
    let full_blocks = blocks::plan(&own.index, &own.written, None).len() as u64;
    let (parent, fall_back) = begin::parent(order, own).await;
    let known = parent.as_ref().map(|parent| &parent.known);
    let indexes = blocks::plan(&own.index, &own.written, known);
    let reads = parent
        .as_ref()
        .map(|parent| parent.reads)
        .unwrap_or_default();
    let put = indexes.len() as u64;
    Estimate {
        parent: parent.map(|parent| parent.snapshot),
        fall_back,
        indexes,
        full_blocks,
        bytes: put * SLAB,
        calls: PaidCalls {
            put,
            got: reads.got,
            listed: reads.listed,
        },
        requests: put + reads.got + reads.listed + FIXED_CALLS,
        time: time(put, reads, Limits::default()),
    }
}

/// The time for `put` blocks: as many begin in a second as the quota allows and as are under way at
/// once; listing the parent's blocks and what is never parallel comes on top. Its tree is read while the
/// snapshot is begun.
fn time(put: u64, reads: Reads, limits: Limits) -> Duration {
    let put = u32::try_from(put).unwrap_or(u32::MAX);
    let most = u32::try_from(limits.most).unwrap_or(u32::MAX).max(1);
    let by_rate = Duration::from_secs(1) * put / limits.rate.max(1);
    let by_latency = ROUND_TRIP * put.div_ceil(most);
    let fixed = FIXED_TURNS + reads.listed;
    let fixed = ROUND_TRIP * u32::try_from(fixed).unwrap_or(u32::MAX);
    by_rate.max(by_latency) + fixed + COMPLETING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_or_the_round_trips_decide() {
        let limits = Limits {
            start: 64,
            most: 100,
            rate: 1000,
        };
        let fixed = COMPLETING + ROUND_TRIP * 3;
        let none = Reads::default();
        assert_eq!(time(0, none, limits), fixed);
        assert_eq!(time(1000, none, limits), fixed + Duration::from_secs(1));
        let few = Limits { most: 10, ..limits };
        assert_eq!(time(1000, none, few), fixed + Duration::from_secs(10));
        let reads = Reads { listed: 2, got: 11 };
        assert_eq!(time(0, reads, limits), fixed + ROUND_TRIP * 2);
    }
}
