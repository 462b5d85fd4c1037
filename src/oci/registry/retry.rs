//! The one retry layer: how often, how long between, when to give up.

use std::time::{Duration, Instant};

use super::clock::Clock;

/// When a failed request is tried again. Which failures: [`super::Reason::is_transient`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included; a transfer counts anew after each [`Self::progress`].
    pub attempts: u32,
    /// The wait after the first failure; each later one is twice as long. Half of it is chance.
    pub first_wait: Duration,
    /// No wait grows longer.
    pub longest_wait: Duration,
    /// A registry that asks for more (`Retry-After`) is not waited for.
    pub longest_asked: Duration,
    /// Tries and waits after the first failure take no longer than this in all.
    pub budget: Duration,
    /// So many new bytes of a transfer are worth a fresh set of attempts.
    pub progress: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_wait: Duration::from_millis(400),
            longest_wait: Duration::from_secs(20),
            longest_asked: Duration::from_secs(120),
            budget: Duration::from_secs(300),
            progress: 64 << 10,
        }
    }
}

/// The tries of one piece of work.
#[derive(Debug)]
pub(super) struct Attempts {
    left: u32,
    wait: Duration,
    first_failure: Option<Instant>,
}

impl Attempts {
    pub fn new(policy: &RetryPolicy) -> Self {
        Self {
            left: policy.attempts,
            wait: policy.first_wait,
            first_failure: None,
        }
    }

    /// A single try.
    pub fn once(policy: &RetryPolicy) -> Self {
        Self {
            left: 1,
            ..Self::new(policy)
        }
    }

    /// Waits for the next try after a failure; false when there is to be none. `asked` is what
    /// the registry wants waited at least.
    pub fn again(
        &mut self,
        policy: &RetryPolicy,
        clock: &dyn Clock,
        asked: Option<Duration>,
    ) -> bool {
        self.left = self.left.saturating_sub(1);
        let began = *self.first_failure.get_or_insert_with(|| clock.now());
        let asked = asked.unwrap_or_default();
        if self.left == 0 || asked > policy.longest_asked {
            return false;
        }
        let wait = jittered(self.wait, clock.random()).max(asked);
        self.wait = (self.wait * 2).min(policy.longest_wait);
        if clock.now().duration_since(began) + wait > policy.budget {
            return false;
        }
        clock.sleep(wait);
        true
    }
}

/// Between half of `wait` and all of it.
fn jittered(wait: Duration, random: u64) -> Duration {
    let half = wait / 2;
    half + half.mul_f64(f64::from(u16::try_from(random & 0xffff).unwrap_or_default()) / 65535.0)
}

/// `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3).
pub(super) fn retry_after(value: &str, clock: &dyn Clock) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(clock.date()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::clock::fake::FakeClock;
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            attempts: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(4),
            longest_asked: Duration::from_secs(60),
            budget: Duration::from_secs(100),
            progress: 1,
        }
    }

    fn waits(policy: &RetryPolicy, random: u64, asked: &[Option<u64>]) -> Vec<u64> {
        let clock = FakeClock::new(random);
        let mut attempts = Attempts::new(policy);
        let mut asked = asked.iter().copied().chain(std::iter::repeat(None));
        while attempts.again(
            policy,
            &clock,
            asked.next().unwrap().map(Duration::from_secs),
        ) {}
        let slept = clock.slept.into_inner().unwrap();
        slept
            .iter()
            .map(|wait| u64::try_from(wait.as_millis()).unwrap())
            .collect()
    }

    #[test]
    fn waits_double_up_to_the_longest_and_end() {
        assert_eq!(waits(&policy(), 0xffff, &[]), [1000, 2000, 4000, 4000]);
        assert_eq!(waits(&policy(), 0, &[]), [500, 1000, 2000, 2000]);
    }

    #[test]
    fn what_the_registry_asks_is_a_minimum_and_has_a_bound() {
        let asked = [Some(3), Some(0), Some(60)];
        assert_eq!(waits(&policy(), 0, &asked), [3000, 1000, 60_000, 2000]);
        assert_eq!(waits(&policy(), 0, &[None, Some(61)]), [500]);
    }

    #[test]
    fn the_budget_ends_it_before_the_attempts_do() {
        let policy = RetryPolicy {
            attempts: 1000,
            budget: Duration::from_secs(10),
            ..policy()
        };
        assert_eq!(waits(&policy, 0xffff, &[]), [1000, 2000, 4000]);
        assert_eq!(waits(&policy, 0xffff, &[Some(20)]), [0; 0]);
    }

    #[test]
    fn a_single_try_waits_for_nothing() {
        let clock = FakeClock::new(0);
        assert!(!Attempts::once(&policy()).again(&policy(), &clock, None));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let clock = FakeClock::new(0);
        assert_eq!(retry_after(" 7 ", &clock), Some(Duration::from_secs(7)));
        let date = httpdate::fmt_http_date(clock.date() + Duration::from_secs(90));
        assert_eq!(retry_after(&date, &clock), Some(Duration::from_secs(90)));
        let past = httpdate::fmt_http_date(clock.date() - Duration::from_secs(90));
        assert_eq!(retry_after(&past, &clock), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", &clock), None);
        assert_eq!(retry_after("-1", &clock), None);
    }
}
