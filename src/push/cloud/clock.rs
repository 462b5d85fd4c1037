//! The services' time: a signature is good for five minutes around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// Further apart than this, this machine's clock and the service's explain a refused signature.
/// The services bear five minutes.
const BEARABLE: Duration = Duration::from_secs(4 * 60);

/// This machine's clock, put right by what the services say.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    /// Milliseconds by which the services are ahead.
    ahead: Arc<AtomicI64>,
}

impl Clock {
    /// What the services take for now.
    pub fn now(&self) -> SystemTime {
        let now = SystemTime::now();
        let ahead = self.ahead.load(Ordering::Relaxed);
        let by = Duration::from_millis(ahead.unsigned_abs());
        let corrected = match ahead {
            0.. => now.checked_add(by),
            _ => now.checked_sub(by),
        };
        corrected.unwrap_or(now)
    }

    /// Hears an answer's `Date`. True where this machine's own clock is too wrong for a signature.
    pub fn hears(&self, date: Option<&str>) -> bool {
        let Some(date) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
            return false;
        };
        let now = SystemTime::now();
        let (apart, sign) = match date.duration_since(now) {
            Ok(ahead) => (ahead, 1),
            Err(behind) => (behind.duration(), -1),
        };
        let is_skewed = apart > BEARABLE;
        // A date has whole seconds and was under way: what is right is left alone.
        let ahead = match is_skewed {
            true => i64::try_from(apart.as_millis()).unwrap_or_default() * sign,
            false => 0,
        };
        self.ahead.store(ahead, Ordering::Relaxed);
        is_skewed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(clock: &Clock) -> i64 {
        match clock.now().duration_since(SystemTime::now()) {
            Ok(ahead) => i64::try_from(ahead.as_secs()).unwrap(),
            Err(behind) => -i64::try_from(behind.duration().as_secs()).unwrap(),
        }
    }

    #[test]
    fn the_services_date_puts_it_right() {
        let clock = Clock::default();
        let other = clock.clone();
        let hour = Duration::from_secs(3600);
        let ahead = httpdate::fmt_http_date(SystemTime::now() + hour);
        assert!(clock.hears(Some(&ahead)));
        assert!((3590..=3601).contains(&apart(&other)));
        let behind = httpdate::fmt_http_date(SystemTime::now() - hour);
        assert!(clock.hears(Some(&behind)));
        assert!((-3602..=-3590).contains(&apart(&other)));
        let right = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(30));
        assert!(!clock.hears(Some(&right)));
        assert_eq!(apart(&other), 0);
    }

    #[test]
    fn what_is_no_date_changes_nothing() {
        let clock = Clock::default();
        let hour = SystemTime::now() + Duration::from_secs(3600);
        assert!(clock.hears(Some(&httpdate::fmt_http_date(hour))));
        assert!(!clock.hears(None));
        assert!(!clock.hears(Some("tomorrow")));
        assert!(apart(&clock) > 3500);
    }
}
