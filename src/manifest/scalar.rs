//! What a plain scalar means: YAML 1.1 as `sigs.k8s.io/yaml` (its `goyaml.v2`) resolves it, which
//! is what kubectl reads manifests with.
//!
//! Differences from the YAML 1.2 core schema that matter: `yes`, `no`, `on`, `off`, `y` and `n`
//! are booleans, a leading 0 means octal, `_` may stand inside numbers. Base 60 is not read, and
//! what looks like a timestamp is a string.

/// A scalar's meaning.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `~`, `null`, or nothing.
    Null,
    /// One of the eleven spellings of each.
    Bool(bool),
    /// An integer that fits 64 bits, signed or not.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Everything else, and everything quoted.
    Str(String),
}

/// Resolves an unquoted scalar.
#[must_use]
pub fn resolve_plain(text: &str) -> Scalar {
    if let Some(word) = resolve_word(text) {
        return word;
    }
    let number = match text.bytes().next() {
        Some(b'.') => resolve_fraction(text),
        Some(b'+' | b'-' | b'0'..=b'9') => resolve_number(&text.replace('_', "")),
        _ => None,
    };
    // A float beyond f64's range stays a string, since Go's ParseFloat refuses it.
    number
        .filter(|n| !matches!(n, Scalar::Float(f) if f.is_infinite()))
        .unwrap_or_else(|| Scalar::Str(text.to_owned()))
}

fn resolve_word(text: &str) -> Option<Scalar> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

/// Go's `strconv.ParseFloat` on the text itself: `_` only between digits.
fn resolve_fraction(text: &str) -> Option<Scalar> {
    let bytes = text.as_bytes();
    let is_digit = |i: Option<usize>| i.and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_digit);
    let separates = |i: usize| is_digit(i.checked_sub(1)) && is_digit(i.checked_add(1));
    let sound = text.match_indices('_').all(|(i, _)| separates(i));
    let plain = text.replace('_', "");
    let number = plain.parse().ok().filter(|_| sound && is_float(&plain));
    number.map(Scalar::Float)
}

fn resolve_number(text: &str) -> Option<Scalar> {
    if let Some(int) = parse_int(text) {
        return Some(Scalar::Int(int));
    }
    if is_float(text) {
        return text.parse().ok().map(Scalar::Float);
    }
    None
}

/// Go's `strconv.ParseInt` with base 0: sign, then `0x`, `0o`, `0b` or `0` choose the base.
fn parse_int(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    // from_str_radix would take another sign.
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let value = if negative { -magnitude } else { magnitude };
    (value >= i128::from(i64::MIN)).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    mantissa_ok && exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_as_kubectl_does() {
        let str = |s: &str| Scalar::Str(s.into());
        for (text, want) in [
            ("0440", Scalar::Int(288)),
            ("0o440", Scalar::Int(288)),
            ("0x1F", Scalar::Int(31)),
            ("-0x10", Scalar::Int(-16)),
            ("0b101", Scalar::Int(5)),
            ("1_000", Scalar::Int(1000)),
            ("0_7", Scalar::Int(7)),
            ("+5", Scalar::Int(5)),
            (
                "18446744073709551615",
                Scalar::Int(18_446_744_073_709_551_615),
            ),
            (
                "-9223372036854775808",
                Scalar::Int(-9_223_372_036_854_775_808),
            ),
            ("08", Scalar::Float(8.0)),
            ("1e3", Scalar::Float(1000.0)),
            ("1.", Scalar::Float(1.0)),
            (".5", Scalar::Float(0.5)),
            ("-.5", Scalar::Float(-0.5)),
            (".inf", Scalar::Float(f64::INFINITY)),
            ("yes", Scalar::Bool(true)),
            ("Y", Scalar::Bool(true)),
            ("off", Scalar::Bool(false)),
            ("yEs", str("yEs")),
            ("~", Scalar::Null),
            ("", Scalar::Null),
            ("Null", Scalar::Null),
            ("nULL", str("nULL")),
            ("_1", str("_1")),
            ("--1", str("--1")),
            ("0x", str("0x")),
            ("0b102", str("0b102")),
            ("1e400", str("1e400")),
            ("190:20:30", str("190:20:30")),
            ("2001-01-01", str("2001-01-01")),
            ("1.2.3", str("1.2.3")),
            ("100m", str("100m")),
            ("0x1p-2", str("0x1p-2")),
            ("..", str("..")),
            ("+", str("+")),
            ("infinity", str("infinity")),
        ] {
            assert_eq!(resolve_plain(text), want, "{text:?}");
        }
        assert!(matches!(resolve_plain(".nan"), Scalar::Float(f) if f.is_nan()));
    }
}
