//! Time and chance, handed in so that tests can hold both still.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant, SystemTime};

/// What the client knows of time and chance.
pub trait Clock: Debug + Send + Sync {
    /// Time that only goes forward.
    fn now(&self) -> Instant;
    /// The date, for `Retry-After`.
    fn date(&self) -> SystemTime;
    /// Waits.
    fn sleep(&self, time: Duration);
    /// Any number.
    fn random(&self) -> u64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn date(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn random(&self) -> u64 {
        // Each one has its own random keys.
        std::collections::hash_map::RandomState::new()
            .build_hasher()
            .finish()
    }
}

#[cfg(test)]
pub(super) mod fake {
    //! A clock that only moves when someone sleeps.

    use std::sync::Mutex;

    use super::{Clock, Duration, Instant, SystemTime};

    #[derive(Debug)]
    pub struct FakeClock {
        start: Instant,
        pub slept: Mutex<Vec<Duration>>,
        pub random: u64,
    }

    impl FakeClock {
        pub fn new(random: u64) -> Self {
            Self {
                start: Instant::now(),
                slept: Mutex::default(),
                random,
            }
        }

        fn passed(&self) -> Duration {
            self.slept.lock().unwrap().iter().sum()
        }
    }

    impl Clock for FakeClock {
        fn now(&self) -> Instant {
            self.start + self.passed()
        }

        fn date(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + self.passed()
        }

        fn sleep(&self, time: Duration) {
            self.slept.lock().unwrap().push(time);
        }

        fn random(&self) -> u64 {
            self.random
        }
    }
}
