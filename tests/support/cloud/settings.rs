//! How the fake behaves.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::faults::Plan;

/// Quotas, requests a second, of an account in a region.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// PutSnapshotBlock; of one snapshot, too.
    pub put: u32,
    pub get: u32,
    /// ListSnapshotBlocks and ListChangedBlocks.
    pub list: u32,
    pub start: u32,
    pub complete: u32,
    /// Each action of the other services.
    pub other: u32,
}

/// The switches. Those that are not told stand for a service that does what it should, at once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// 0: a free one.
    pub port: u16,
    /// What every answer waits.
    pub latency: Duration,
    pub rates: Rates,
    /// Snapshots that may be pending at once.
    pub pending: usize,
    pub block_size: u32,
    /// Where blocks lie; none: in memory.
    pub folder: Option<PathBuf>,
    /// For so long nobody sees what was made, and sees in turn what was changed and what was before.
    pub consistency: Duration,
    /// How long a block's token is good for.
    pub token_lifetime: Duration,
    /// How long a page's token is good for.
    pub page_lifetime: Duration,
    /// Every other page is empty.
    pub empty_pages: bool,
    /// No page has more.
    pub page_size: usize,
    /// How long a snapshot that has all its blocks is pending.
    pub completing: Duration,
    /// Snapshots end in `error`.
    pub snapshots_fail: bool,
    /// A second CompleteSnapshot is refused.
    pub complete_once: bool,
    /// How long an image is pending.
    pub pending_image: Duration,
    /// Images end in `failed`.
    pub images_fail: bool,
    /// How long a copy is pending.
    pub copying: Duration,
    /// Seconds that the services' clock is ahead.
    pub clock_skew: i64,
    /// How long a session's keys are good for.
    pub session_lifetime: Duration,
    /// After so many requests, a session's keys have expired.
    pub session_requests: Option<u64>,
    /// Whoever uses the fake gets keys of sessions, again and again.
    pub container_keys: bool,
    /// Actions that the account's policy allows; none: all.
    pub allowed: Option<Arc<BTreeSet<String>>>,
    /// KMS keys that the account may not use.
    pub denied_keys: Vec<String>,
    pub faults: Option<Plan>,
}

impl Default for Settings {
    fn default() -> Self {
        let rates = Rates {
            put: 1000,
            get: 1000,
            list: 50,
            start: 10,
            complete: 10,
            other: 100,
        };
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
        Self {
            port: 0,
            latency: Duration::ZERO,
            rates,
            pending: 100,
            block_size: 512 << 10,
            folder: None,
            consistency: Duration::ZERO,
            token_lifetime: 7 * day,
            page_lifetime: hour,
            empty_pages: false,
            page_size: 10_000,
            completing: Duration::ZERO,
            snapshots_fail: false,
            complete_once: false,
            pending_image: Duration::ZERO,
            images_fail: false,
            copying: Duration::ZERO,
            clock_skew: 0,
            session_lifetime: hour,
            session_requests: None,
            container_keys: false,
            allowed: None,
            denied_keys: Vec::new(),
            faults: None,
        }
    }
}
