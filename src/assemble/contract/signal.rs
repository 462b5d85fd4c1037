//! Signal names and numbers, as Docker and containerd read `StopSignal` (moby `sys/signal`).

/// SIGTERM.
pub(super) const TERM: u8 = 15;
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

/// Numbers of `signal(7)` on x86-64, from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// `SIGQUIT`, `quit`, `3`, `RTMIN+3`, `RTMAX-2`.
pub(super) fn parse(text: &str) -> Option<u8> {
    if let Ok(number) = text.parse() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(rest) = name.strip_prefix("RTMIN") {
        let number = RTMIN.checked_add(offset(rest, '+')?)?;
        return (number <= RTMAX).then_some(number);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        let number = RTMAX.checked_sub(offset(rest, '-')?)?;
        return (number >= RTMIN).then_some(number);
    }
    let known = NAMES.iter().position(|known| *known == name)?;
    u8::try_from(known + 1).ok()
}

fn offset(rest: &str, sign: char) -> Option<u8> {
    if rest.is_empty() {
        Some(0)
    } else {
        rest.strip_prefix(sign)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_and_numbers() {
        let cases = [
            ("SIGQUIT", 3),
            ("term", 15),
            ("9", 9),
            ("SIGRTMIN+3", 37),
            ("RTMAX-2", 62),
            ("SIGSYS", 31),
        ];
        for (text, number) in cases {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for bad in ["", "0", "65", "SIGFOO", "RTMIN+40", "RTMIN-1", "-1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
