//! Times as EC2 writes them.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

/// Seconds since 1970 of `2026-01-31T12:00:00.000Z`; none for what is no such time, or before 1970.
#[must_use]
pub fn seconds(time: &str) -> Option<u64> {
    let time = DateTime::from_str(time, Format::DateTime).ok()?;
    u64::try_from(time.secs()).ok()
}

/// Now, in seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

/// `2026-01-31T12:00:00Z`, so many seconds since 1970; none past the year 9999.
#[must_use]
pub fn text(seconds: u64) -> Option<String> {
    let seconds = i64::try_from(seconds).ok()?;
    DateTime::from_secs(seconds).fmt(Format::DateTime).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        assert_eq!(seconds("2026-01-31T12:00:00.000Z"), Some(1_769_860_800));
        assert_eq!(seconds("2026-01-31T12:00:00Z"), Some(1_769_860_800));
        assert_eq!(text(1_769_860_800).as_deref(), Some("2026-01-31T12:00:00Z"));
        for bad in ["", "yesterday", "1960-01-01T00:00:00Z"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
