//! Times as AWS writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// `2015-08-30T12:36:00.000Z`.
pub fn iso(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap();
    let (seconds, milliseconds) = (since.as_secs(), since.subsec_millis());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// Of `20150830T123600Z` (a signature's date) or `2015-08-30T12:36:00[.000]Z`.
pub fn parse(text: &str) -> Option<SystemTime> {
    let text = text.strip_suffix('Z')?;
    let text = text.split('.').next()?;
    let digits: String = text.chars().filter(|c| !"-:T".contains(*c)).collect();
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| digits[from..to].parse::<u64>().unwrap();
    let (year, month, day) = (number(0, 4), number(4, 6), number(6, 8));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    let days = days(year, month, day);
    let second = number(8, 10) * 3600 + number(10, 12) * 60 + number(12, 14);
    Some(UNIX_EPOCH + Duration::from_secs(days * 86_400 + second))
}

/// Days from 1 January 1970 to that day.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // As if years began in March: leap days are then the last of their years.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    before + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// Year, month and day of so many days since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let is_after = |year: u64| self::days(year, 1, 1) > days;
    let mut year = 1970 + days / 366;
    while !is_after(year + 1) {
        year += 1;
    }
    let mut month = 12;
    while self::days(year, month, 1) > days {
        month -= 1;
    }
    (year, month, days - self::days(year, month, 1) + 1)
}

#[test]
fn times_are_written_as_they_are_read() {
    for (text, seconds) in [
        ("1970-01-01T00:00:00.000Z", 0),
        ("2000-02-29T00:00:00.000Z", 951_782_400),
        ("2015-08-30T12:36:00.000Z", 1_440_938_160),
        ("2024-12-31T23:59:59.000Z", 1_735_689_599),
        ("2100-03-01T00:00:00.000Z", 4_107_542_400),
    ] {
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(iso(time), text);
        assert_eq!(parse(text), Some(time));
        assert_eq!(
            parse(&text.replace(['-', ':'], "").replace(".000", "")),
            Some(time)
        );
    }
}
