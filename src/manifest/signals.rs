//! Signals by name.

/// Linux signal names and numbers on x86-64 and arm64 (`signal(7)`).
const SIGNALS: &[(&str, u8)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];
/// glibc's first real-time signal, and the last.
const SIGRTMIN: u8 = 34;
const SIGRTMAX: u8 = 64;

/// The number of a signal: `SIGQUIT`, `quit`, `3`, `SIGRTMIN+3`, `RTMAX-1`.
#[must_use]
pub fn parse_signal(text: &str) -> Option<u8> {
    if let Ok(number) = text.parse() {
        return (1..=SIGRTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    let number = if let Some(offset) = name.strip_prefix("RTMIN") {
        SIGRTMIN.checked_add(real_time_offset(offset, '+')?)?
    } else {
        SIGRTMAX.checked_sub(real_time_offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (SIGRTMIN..=SIGRTMAX).contains(&number).then_some(number)
}

fn real_time_offset(text: &str, sign: char) -> Option<u8> {
    match text.strip_prefix(sign) {
        None => text.is_empty().then_some(0),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse_signal;

    #[test]
    fn signals_by_name_and_number() {
        for (text, want) in [
            ("SIGQUIT", Some(3)),
            ("QUIT", Some(3)),
            ("sigterm", Some(15)),
            ("3", Some(3)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("SIGRTMIN+31", None),
            ("SIGRTMIN-1", None),
            ("SIGRTMIN+", None),
            ("0", None),
            ("65", None),
            ("SIGNOPE", None),
            ("SIG", None),
            ("+", None),
        ] {
            assert_eq!(parse_signal(text), want, "{text}");
        }
    }
}
