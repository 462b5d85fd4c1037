//! Points in time as text.

/// The last second that RFC 3339 has a notation for: the end of the year 9999.
pub const MAX_TIME: u64 = 253_402_300_799;

/// Seconds since 1970 as RFC 3339 in UTC: `2024-02-29T12:00:00Z`; later than [`MAX_TIME`] is that.
#[must_use]
pub fn rfc3339(seconds: u64) -> String {
    let seconds = seconds.min(MAX_TIME);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to a civil date, counting years from March so that the leap day comes last, in eras of
    // 400 years, which all have as many days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z",
        second % 60
    )
}

/// Seconds since 1970 of an RFC 3339 time, fractions left out; `None` for another text and for
/// times before 1970.
#[must_use]
pub fn seconds(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<u64>().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let zone = text.get(19..)?;
    let zone = zone.strip_prefix('.').map_or(zone, |rest| {
        rest.trim_start_matches(|c: char| c.is_ascii_digit())
    });
    let is_in_range = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_in_range || hour > 23 || minute > 59 || second > 60 || year < 1970 {
        return None;
    }
    // As in `rfc3339`: years begin in March.
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    let local = days.checked_sub(719_468)? * 86_400 + hour * 3600 + minute * 60 + second;
    if zone.eq_ignore_ascii_case("z") {
        return Some(local);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let offset = hours.parse::<u64>().ok()? * 3600 + minutes.parse::<u64>().ok()? * 60;
    match zone.as_bytes().first()? {
        b'+' => local.checked_sub(offset.min(86_400)),
        b'-' => Some(local + offset.min(86_400)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_back() {
        for time in [
            0,
            951_782_399,
            951_782_400,
            951_868_800,
            4_107_542_400,
            MAX_TIME,
        ] {
            assert_eq!(seconds(&rfc3339(time)), Some(time));
        }
        assert_eq!(
            seconds("2024-02-29T13:30:00.123456789+01:30"),
            Some(1_709_208_000)
        );
        assert_eq!(seconds("2024-02-29T04:00:00-08:00"), Some(1_709_208_000));
        for bad in [
            "",
            "2024",
            "1969-12-31T23:59:59Z",
            "2024-13-01T00:00:00Z",
            "2024-02-29T12:00:00",
            "2024-02-29T12:00:00+",
            "2024-02-29T12:00:0éZ",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    /// Compared with `date -u -d @N`.
    #[test]
    fn known_times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_208_000, "2024-02-29T12:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (MAX_TIME, "9999-12-31T23:59:59Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
