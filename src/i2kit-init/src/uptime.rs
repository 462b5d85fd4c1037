//! The clock that began with the kernel.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the kernel started (CLOCK_BOOTTIME).
pub fn milliseconds() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(1000)
        .saturating_add(nanoseconds / 1_000_000)
}
