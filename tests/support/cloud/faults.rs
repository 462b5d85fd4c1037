//! What goes wrong on purpose, as a seed decides.

use std::time::Duration;

use super::super::random::Random;

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The service failed, and did nothing.
    Internal,
    /// The service failed after it had done what was asked.
    InternalAfter,
    /// The request was one too many.
    Throttle,
    /// The connection ends before anything is done.
    Reset,
    /// The connection ends when all is done.
    ResetAfter,
    /// The connection ends within the answer.
    Cut,
    /// The answer comes in pieces.
    Slow,
    /// No answer comes.
    Hang,
}

/// How often things go wrong, of 1,000 requests.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub internal: u64,
    pub throttle: u64,
    pub reset: u64,
    pub slow: u64,
    pub hang: u64,
    /// So many requests hang at most.
    pub hangs: u64,
    /// The first so many requests are spared.
    pub spared: u64,
    /// Between the pieces of slow answers.
    pub pause: Duration,
}

impl Plan {
    /// Everything now and then, but hangs.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            internal: 20,
            throttle: 20,
            reset: 30,
            slow: 10,
            hang: 0,
            hangs: 0,
            spared: 0,
            pause: Duration::from_millis(20),
        }
    }

    /// What goes wrong with the request of that number, when `hung` hang already.
    pub fn fault(&self, number: u64, hung: u64) -> Option<Fault> {
        if number < self.spared {
            return None;
        }
        let mut random = Random::new(self.seed ^ number.wrapping_mul(0x9e37_79b9));
        let (roll, other) = (random.below(1000), random.below(3));
        let mut bound = 0;
        let mut within = |share: u64| {
            bound += share;
            roll < bound
        };
        if within(self.internal) {
            return Some([Fault::Internal, Fault::Internal, Fault::InternalAfter][index(other)]);
        }
        if within(self.throttle) {
            return Some(Fault::Throttle);
        }
        if within(self.reset) {
            return Some([Fault::Reset, Fault::ResetAfter, Fault::Cut][index(other)]);
        }
        if within(self.slow) {
            return Some(Fault::Slow);
        }
        (within(self.hang) && hung < self.hangs).then_some(Fault::Hang)
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}
