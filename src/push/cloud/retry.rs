//! The one retry layer: what is tried again, how long between, when to give up.
//!
//! The SDK's own is off. Two layers multiply: the attempts of one inside each attempt of the
//! other, and neither knows the time that is left.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::call::Call;
use super::{CallError, Kind};

/// How long a small call is tried, all its attempts together.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// How often in a row credentials may be refused as run out. Each time new ones are asked for; who
/// gets none that are better has none.
const EXPIRED: u32 = 5;

/// When a failed call is tried again.
#[derive(Clone, Debug)]
pub struct Retry {
    deadline: Duration,
    base: Duration,
    cap: Duration,
    not_found_is_transient: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self::new(DEADLINE)
    }
}

impl Retry {
    /// All attempts and the waits between them end within `deadline`.
    #[must_use]
    pub fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            base: Duration::from_millis(200),
            cap: Duration::from_secs(10),
            not_found_is_transient: false,
        }
    }

    /// Whether what is not found may appear yet: for two minutes or so after StartSnapshot, other
    /// servers of the service do not know the snapshot.
    #[must_use]
    pub fn not_found_is_transient(self, yes: bool) -> Self {
        Self {
            not_found_is_transient: yes,
            ..self
        }
    }

    /// Another range of waits: a random one up to `base` after the first failure, up to twice as
    /// much after each further one, never more than `cap`.
    #[must_use]
    pub fn waits(self, base: Duration, cap: Duration) -> Self {
        Self { base, cap, ..self }
    }

    /// Calls until it succeeds, fails for good, or the time is up. `seen` hears of each failure,
    /// those tried again too.
    ///
    /// `call` is no `AsyncFn`: of those the compiler does not see that they can run in a task.
    ///
    /// # Errors
    /// The failure that ended it; the last one heard of when the time was up.
    pub async fn run<T, F: Future<Output = Result<T, CallError>>>(
        &self,
        call: impl Fn() -> F,
        seen: impl Fn(&CallError),
    ) -> Result<T, CallError> {
        let end = Instant::now() + self.deadline;
        let mut wait = self.base;
        let mut expired = 0;
        let mut last = None;
        loop {
            let Ok(answer) = timeout_at(end, call()).await else {
                return Err(last.unwrap_or_else(|| self.too_late()));
            };
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            seen(&error);
            expired = match error.kind {
                Kind::Expired => expired + 1,
                _ => 0,
            };
            let pause = jittered(wait).max(error.retry_after.unwrap_or_default());
            if !self.is_again(error.kind) || expired == EXPIRED || Instant::now() + pause >= end {
                return Err(error);
            }
            last = Some(error);
            sleep(pause).await;
            wait = (wait * 2).min(self.cap);
        }
    }

    fn is_again(&self, kind: Kind) -> bool {
        match kind {
            Kind::Throttled | Kind::Transient | Kind::Expired => true,
            Kind::NotFound => self.not_found_is_transient,
            Kind::Conflict | Kind::Denied | Kind::Quota | Kind::Invalid | Kind::Other => false,
        }
    }

    /// The very first attempt did not end in time.
    fn too_late(&self) -> CallError {
        let message = format!("none came within {} s", self.deadline.as_secs_f32());
        Call::new("wait for", "an answer").failed(Kind::Transient, CallError::TIMEOUT, message)
    }
}

/// Anything from nothing to `wait`: clients that failed together must not come back together.
/// Half a wait and half chance, as for a registry, would keep a hundred of them in step.
fn jittered(wait: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    wait.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    fn error(kind: Kind) -> CallError {
        Call::new("put block", "1 of snap-1").failed(kind, "Code", "words")
    }

    /// Fails with these kinds, then succeeds; answers with what came of it and the seconds it took.
    async fn tried(retry: &Retry, kinds: &[Kind]) -> (Result<usize, CallError>, f32, usize) {
        let began = Instant::now();
        let at = Cell::new(0);
        let seen = Cell::new(0);
        let call = async || {
            let now = at.get();
            at.set(now + 1);
            match kinds.get(now) {
                Some(kind) => Err(error(*kind)),
                None => Ok(now),
            }
        };
        let result = retry.run(call, |_| seen.set(seen.get() + 1)).await;
        (result, began.elapsed().as_secs_f32(), seen.get())
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_and_heard_of() {
        let kinds = [Kind::Throttled, Kind::Transient, Kind::Expired];
        let (result, seconds, seen) = tried(&Retry::default(), &kinds).await;
        assert_eq!((result.unwrap(), seen), (3, 3));
        assert!(seconds <= 0.2 + 0.4 + 0.8 + 0.01, "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_pass_ends_at_once() {
        for kind in [
            Kind::NotFound,
            Kind::Conflict,
            Kind::Denied,
            Kind::Quota,
            Kind::Invalid,
            Kind::Other,
        ] {
            let (result, seconds, seen) = tried(&Retry::default(), &[kind]).await;
            assert_eq!((result.unwrap_err().kind, seen), (kind, 1));
            assert!(seconds < 0.001);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn not_found_may_be_not_seen_yet() {
        let retry = Retry::default().not_found_is_transient(true);
        let (result, ..) = tried(&retry, &[Kind::NotFound; 4]).await;
        assert_eq!(result.unwrap(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_ends_it_with_the_last_failure() {
        let retry = Retry::new(Duration::from_secs(20));
        let (result, seconds, seen) = tried(&retry, &[Kind::Throttled; 1000]).await;
        assert_eq!(result.unwrap_err(), error(Kind::Throttled));
        assert!(seconds <= 20.0 && seen > 3, "{seconds} s, {seen} tries");
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_stay_refused_are_refused() {
        let (result, _, seen) = tried(&Retry::default(), &[Kind::Expired; 100]).await;
        assert_eq!((result.unwrap_err().kind, seen), (Kind::Expired, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_is_cut_at_the_deadline() {
        let retry = Retry::new(Duration::from_secs(3));
        let began = Instant::now();
        let call = async || -> Result<(), CallError> { std::future::pending().await };
        let error = retry.run(call, |_| ()).await.unwrap_err();
        assert_eq!(error.code, CallError::TIMEOUT);
        assert_eq!(began.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_service_asks_is_waited_for() {
        let waits = RefCell::new(Vec::new());
        let began = Instant::now();
        let call = async || {
            waits.borrow_mut().push(began.elapsed().as_secs());
            let error = error(Kind::Throttled).told(None, Some(Duration::from_secs(7)));
            Err::<(), _>(error)
        };
        let retry = Retry::new(Duration::from_secs(20));
        assert!(retry.run(call, |_| ()).await.is_err());
        assert_eq!(*waits.borrow(), [0, 7, 14]);
    }

    #[test]
    fn waits_are_chance_up_to_the_whole() {
        let longest = Duration::from_secs(1);
        let waits: Vec<_> = (0..200).map(|_| jittered(longest)).collect();
        assert!(waits.iter().all(|wait| *wait <= longest));
        assert!(waits.iter().any(|wait| *wait < longest / 4));
        assert!(waits.iter().any(|wait| *wait > longest * 3 / 4));
    }

    /// Blocks are put by tasks, which may run on any thread.
    #[tokio::test]
    async fn it_runs_in_a_task() {
        let name = "snap-1".to_owned();
        let task = tokio::spawn(async move {
            let call = async || {
                tokio::task::yield_now().await;
                Ok::<_, CallError>(name.len())
            };
            Retry::default().run(call, |_| ()).await
        });
        assert_eq!(task.await.unwrap().unwrap(), 6);
    }
}
