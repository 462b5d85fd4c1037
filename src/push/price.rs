//! What a push and what it leaves cost, as an estimate in United States dollars.
//!
//! The prices are those of most regions in 2025; a bill says what is so.

use super::GIB;

/// Microdollars: a millionth of a dollar, so that sums are exact.
pub type Microdollars = u64;

/// A block put: $0.006 per 1,000.
const PUT: Microdollars = 6;
/// A block got: $0.003 per 1,000.
const GET: Microdollars = 3;
/// A thousand pages of a list: $0.0006.
const LISTS: Microdollars = 600;
/// A gibibyte of snapshot, kept a month: $0.05.
const GIB_MONTH: Microdollars = 50_000;

/// Calls that are paid for. Those of EC2 and Systems Manager are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaidCalls {
    /// Blocks put.
    pub put: u64,
    /// Blocks got.
    pub got: u64,
    /// Pages of lists.
    pub listed: u64,
}

impl PaidCalls {
    /// What they cost.
    #[must_use]
    pub fn cost(self) -> Microdollars {
        self.put * PUT + self.got * GET + (self.listed * LISTS).div_ceil(1000)
    }
}

/// What so many bytes of snapshot cost a month. A delta is charged only for the blocks in which it
/// differs from its parent, which nobody tells from outside: for a whole disk this is the most that
/// it can be.
#[must_use]
pub fn kept_a_month(bytes: u64) -> Microdollars {
    let cost = u128::from(bytes) * u128::from(GIB_MONTH) / u128::from(GIB);
    u64::try_from(cost).unwrap_or(u64::MAX)
}

/// For a person: `0.0072 USD`, rounded up to a hundredth of a cent.
#[must_use]
pub fn dollars(cost: Microdollars) -> String {
    let parts = cost.div_ceil(100);
    format!("{}.{:04} USD", parts / 10_000, parts % 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_months_cost_what_amazon_lists() {
        let calls = PaidCalls {
            put: 1000,
            got: 1000,
            listed: 1000,
        };
        assert_eq!(calls.cost(), 6000 + 3000 + 600);
        assert_eq!(PaidCalls::default().cost(), 0);
        assert_eq!(kept_a_month(GIB), 50_000);
        assert_eq!(kept_a_month(GIB / 2), 25_000);
        assert_eq!(kept_a_month(u64::MAX), 858_993_459_199_999);
    }

    #[test]
    fn money_is_rounded_up() {
        assert_eq!(dollars(0), "0.0000 USD");
        assert_eq!(dollars(1), "0.0001 USD");
        assert_eq!(dollars(7200), "0.0072 USD");
        assert_eq!(dollars(12_345_678), "12.3457 USD");
    }
}
