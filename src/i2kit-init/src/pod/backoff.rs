//! The kubelet's back-off between restarts of a container (client-go `util/flowcontrol`, as used
//! in `kuberuntime_manager.go`): the first restart is immediate, then 10 s doubling to 5 min,
//! counted from the exit; a run of more than 10 min starts over. Pure: the caller has the clock.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
const RESET: Duration = Duration::from_secs(600);

/// The state between two restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    next: Option<Duration>,
}

impl Backoff {
    /// The pause before the next start of a container that ran for `ran`.
    pub fn pause_after(&mut self, ran: Duration) -> Duration {
        match self.next {
            Some(pause) if ran <= RESET => {
                self.next = Some((pause * 2).min(LONGEST));
                pause
            }
            _ => {
                self.next = Some(FIRST);
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a container that crashes after `ran` each time, on a clock that only this test moves.
    fn start_times(runs: &[u64]) -> Vec<u64> {
        let mut backoff = Backoff::default();
        let mut clock = 0;
        let mut starts = vec![0];
        for ran in runs {
            clock += ran;
            clock += backoff.pause_after(Duration::from_secs(*ran)).as_secs();
            starts.push(clock);
        }
        starts
    }

    #[test]
    fn a_crash_loop_starts_at_these_seconds() {
        assert_eq!(
            start_times(&[0; 9]),
            [0, 0, 10, 30, 70, 150, 310, 610, 910, 1210]
        );
    }

    #[test]
    fn ten_minutes_of_running_reset_it_and_less_do_not() {
        let mut backoff = Backoff::default();
        for _ in 0..4 {
            backoff.pause_after(Duration::ZERO);
        }
        assert_eq!(backoff.pause_after(RESET), Duration::from_secs(80));
        assert_eq!(
            backoff.pause_after(RESET + Duration::from_secs(1)),
            Duration::ZERO
        );
        assert_eq!(backoff.pause_after(Duration::ZERO), FIRST);
    }

    #[test]
    fn the_pause_never_exceeds_five_minutes() {
        let mut backoff = Backoff::default();
        for _ in 0..200 {
            assert!(backoff.pause_after(Duration::ZERO) <= LONGEST);
        }
    }
}
