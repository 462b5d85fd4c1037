//! How many blocks are under way at once, and how many calls begin in a second.
//!
//! Nobody tells what the account's quota leaves. So the number under way doubles with each round
//! trip until something is throttled, then is halved, and grows slowly from there; the rate has a
//! cap of its own, since 64 quick answers would be too many already.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::cloud::{CallError, Kind};

/// What a limiter may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Blocks under way at first.
    pub start: usize,
    /// Most blocks under way; at 512 KiB each they bound the memory.
    pub most: usize,
    /// Calls that begin in a second, at most.
    pub rate: u32,
}

impl Default for Limits {
    /// 64, at most 192 (96 MiB), 1,000 a second: the quota of one snapshot, and of an account that
    /// asked for no more. At 100 ms a call, 100 under way reach it.
    fn default() -> Self {
        Self {
            start: 64,
            most: 192,
            rate: 1000,
        }
    }
}

/// Never fewer are under way.
const LEAST: usize = 2;
/// Round trips it takes to grow by one, once something was throttled: a quarter.
const GROWTH: f64 = 4.0;
/// Calls may begin that much late without slowing down the next ones.
const SLACK: Duration = Duration::from_millis(50);
/// Until a call was answered, a round trip is thought to take so long.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// Shared by all who put blocks in one region.
#[derive(Debug)]
pub struct Limiter {
    limits: Limits,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many may be under way; the fraction is what it has grown since it was whole.
    limit: f64,
    /// Permits there are, held or not. More than the limit until enough were given back.
    size: usize,
    /// Nothing was throttled yet.
    is_first: bool,
    halved: Option<Instant>,
    round_trip: Duration,
    /// When the next call may begin.
    next: Option<Instant>,
}

/// Leave to have one block under way.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<Limiter>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Limiter {
    /// Nothing is under way.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        let start = limits.start.clamp(LEAST, limits.most.max(LEAST));
        let size = u32::try_from(start).unwrap_or(u32::MAX);
        Arc::new(Self {
            limits,
            permits: Arc::new(Semaphore::new(start)),
            state: Mutex::new(State {
                limit: f64::from(size),
                size: start,
                is_first: true,
                halved: None,
                round_trip: ROUND_TRIP,
                next: None,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one more block may be under way. Dropped while it waits, it takes nothing.
    pub async fn acquire(self: &Arc<Self>) -> Permit {
        // It is never closed; if it were, nothing would be bounded but nothing would hang.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let limiter = Arc::clone(self);
        Permit { limiter, permit }
    }

    /// Waits until one more call may begin. Each attempt is a call.
    pub async fn begin(&self) {
        let at = {
            let mut state = self.state();
            let now = Instant::now();
            let earliest = now.checked_sub(SLACK).unwrap_or(now);
            let at = state.next.map_or(now, |next| next.max(earliest));
            state.next = Some(at + Duration::from_secs(1) / self.limits.rate.max(1));
            at
        };
        sleep_until(at).await;
    }

    /// A call was answered after so long.
    pub fn succeeded(&self, round_trip: Duration) {
        let mut state = self.state();
        state.round_trip = (state.round_trip * 7 + round_trip) / 8;
        // Whoever is not held up learns nothing of how many would be too many.
        if self.permits.available_permits() > 0 {
            return;
        }
        state.limit += if state.is_first {
            1.0
        } else {
            GROWTH / state.limit
        };
        let whole = whole(state.limit).min(self.limits.most);
        if whole == self.limits.most {
            state.limit = state
                .limit
                .min(f64::from(u32::try_from(whole).unwrap_or(u32::MAX)));
        }
        let more = whole.saturating_sub(state.size);
        state.size += more;
        self.permits.add_permits(more);
    }

    /// A call failed: half as many may be under way where it was throttled, unless that was said
    /// within the same round trip.
    pub fn failed(&self, error: &CallError) {
        if error.kind != Kind::Throttled {
            return;
        }
        let mut state = self.state();
        let now = Instant::now();
        if state
            .halved
            .is_some_and(|then| now - then < state.round_trip)
        {
            return;
        }
        state.halved = Some(now);
        state.is_first = false;
        let least = f64::from(u32::try_from(LEAST).unwrap_or(u32::MAX));
        state.limit = (state.limit / 2.0).max(least);
        let surplus = state.size.saturating_sub(whole(state.limit));
        state.size -= self.permits.forget_permits(surplus);
    }

    /// How many may be under way now.
    #[must_use]
    pub fn limit(&self) -> usize {
        whole(self.state().limit)
    }
}

/// The whole part.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 2 and the most there may be"
)]
fn whole(limit: f64) -> usize {
    limit as usize
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        if let Some(permit) = self
            .permit
            .take()
            .filter(|_| state.size > whole(state.limit))
        {
            state.size -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests;
