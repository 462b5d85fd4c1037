//! Kubernetes quantities (`resource.Quantity`): `128Mi`, `500m`, `1e3`, `0.5`.

/// An amount in billionths, as exact as Kubernetes keeps it: anything finer is rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

const NANO: i128 = 1_000_000_000;
/// Kubernetes caps amounts at 2^63 - 1.
const MAX: i128 = (i64::MAX as i128) * NANO;

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a number, or an unknown suffix.
    #[error(
        "is no quantity, which is a number with an optional suffix (n u m k M G T P E Ki Mi Gi Ti Pi Ei, or an exponent)"
    )]
    Syntax,
    /// More digits than fit.
    #[error("has more digits than a quantity can hold")]
    Range,
}

impl Quantity {
    /// Parses a quantity; white space around it is ignored.
    ///
    /// # Errors
    /// [`Error`] when `text` is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at_checked(end).ok_or(Error::Syntax)?;
        let scale = Scale::parse(suffix).ok_or(Error::Syntax)?;
        let magnitude = scale.apply(&Decimal::parse(number)?)?;
        Ok(Self(if negative { -magnitude } else { magnitude }))
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether it has no fraction.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.0 % NANO == 0
    }

    /// Whole units, rounded up. 0 when negative.
    #[must_use]
    pub fn value(self) -> u64 {
        ceil_to_u64(self.0, NANO)
    }

    /// Thousandths, rounded up. 0 when negative.
    #[must_use]
    pub fn milli_value(self) -> u64 {
        ceil_to_u64(self.0, NANO / 1000)
    }
}

fn ceil_to_u64(nanos: i128, unit: i128) -> u64 {
    let units = nanos.max(0).saturating_add(unit - 1) / unit;
    u64::try_from(units).unwrap_or(u64::MAX)
}

/// `digits * 10^-fraction`.
struct Decimal {
    digits: i128,
    fraction: u32,
}

impl Decimal {
    fn parse(text: &str) -> Result<Self, Error> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(Error::Syntax);
        }
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("0{whole}{fraction}");
        Ok(Self {
            digits: digits.parse().map_err(|_| Error::Range)?,
            fraction: u32::try_from(fraction.len()).map_err(|_| Error::Range)?,
        })
    }
}

enum Scale {
    /// Times 2 to this.
    Binary(u32),
    /// Times 10 to this.
    Decimal(i32),
}

impl Scale {
    fn parse(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "n" => Self::Decimal(-9),
            "u" => Self::Decimal(-6),
            "m" => Self::Decimal(-3),
            "" => Self::Decimal(0),
            "k" => Self::Decimal(3),
            "M" => Self::Decimal(6),
            "G" => Self::Decimal(9),
            "T" => Self::Decimal(12),
            "P" => Self::Decimal(15),
            "E" => Self::Decimal(18),
            "Ki" => Self::Binary(10),
            "Mi" => Self::Binary(20),
            "Gi" => Self::Binary(30),
            "Ti" => Self::Binary(40),
            "Pi" => Self::Binary(50),
            "Ei" => Self::Binary(60),
            _ => Self::Decimal(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
        })
    }

    /// The amount in billionths, rounded up and capped.
    fn apply(&self, number: &Decimal) -> Result<i128, Error> {
        let (digits, exponent) = match self {
            Self::Binary(bits) => (
                1_i128
                    .checked_shl(*bits)
                    .and_then(|n| number.digits.checked_mul(n)),
                0,
            ),
            Self::Decimal(exponent) => (Some(number.digits), *exponent),
        };
        let digits = match digits {
            Some(digits) => digits,
            None if number.fraction == 0 => return Ok(MAX),
            None => return Err(Error::Range),
        };
        // 9 more for billionths.
        let exponent = i64::from(exponent) + 9 - i64::from(number.fraction);
        Ok(shift(digits, exponent).min(MAX))
    }
}

/// `digits * 10^exponent`, rounded up, saturating.
fn shift(digits: i128, exponent: i64) -> i128 {
    let power = u32::try_from(exponent.unsigned_abs())
        .ok()
        .and_then(|e| 10_i128.checked_pow(e));
    match power {
        _ if digits == 0 => 0,
        Some(power) if exponent >= 0 => digits.saturating_mul(power),
        Some(power) => digits / power + i128::from(digits % power != 0),
        None if exponent >= 0 => i128::MAX,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Kubernetes takes for zero, or for anything: there is no number, or it does not fit.
    const REFUSED: &[&str] = &[
        "\".\"",
        "\"Gi\"",
        "\"m\"",
        "\"1e99999999999\"",
        "\"99999999999999999999999999999999999999999999\"",
    ];

    #[test]
    fn means_what_it_means_to_kubernetes() {
        let table = include_str!("../../fixtures/kubernetes/quantities.json");
        let rows: Vec<(String, Option<[String; 3]>)> = serde_json::from_str(table).unwrap();
        assert!(rows.len() > 80);
        for (text, want) in rows {
            let got = Quantity::parse(text.trim_matches('"'));
            let Some([value, milli, sign]) = want.filter(|_| !REFUSED.contains(&text.as_str()))
            else {
                assert!(got.is_err(), "{text}: {got:?}");
                continue;
            };
            let got = got.unwrap();
            assert_eq!(got.is_negative(), sign == "-1", "{text}");
            // Beyond 64 bits Go's numbers wrap around; ours stay at the end.
            let exact = |number: u64, want: &str| {
                number >= i64::MAX as u64 || sign == "-1" || number.to_string() == want
            };
            assert!(exact(got.value(), &value), "{text}: {got:?}");
            assert!(exact(got.milli_value(), &milli), "{text}: {got:?}");
        }
    }

    #[test]
    fn parses_as_kubernetes_does() {
        for (text, value, milli) in [
            ("0", 0, 0),
            ("128Mi", 128 << 20, (128 << 20) * 1000),
            ("1.5Gi", 3 << 29, (3 << 29) * 1000),
            ("500m", 1, 500),
            ("0.5", 1, 500),
            (".5", 1, 500),
            ("2.", 2, 2000),
            ("100u", 1, 1),
            ("1n", 1, 1),
            ("0.0000000001", 1, 1),
            ("1e3", 1000, 1_000_000),
            ("1E3", 1000, 1_000_000),
            ("1E", 1_000_000_000_000_000_000, u64::MAX),
            ("12e-1", 2, 1200),
            ("128974848000m", 128_974_848, 128_974_848_000),
            ("+1k", 1000, 1_000_000),
            ("1000Ei", i64::MAX as u64, u64::MAX),
        ] {
            let quantity = Quantity::parse(text).unwrap();
            assert_eq!(quantity.value(), value, "{text}");
            assert_eq!(quantity.milli_value(), milli, "{text}");
        }
        assert!(Quantity::parse("-1").unwrap().is_negative());
        for text in [
            "",
            "Mi",
            "1 Mi",
            "1mi",
            "1K",
            "1.2.3",
            "1e",
            "--1",
            ".",
            "1ee3",
            "0x10",
            "1e99999999999",
        ] {
            assert_eq!(Quantity::parse(text), Err(Error::Syntax), "{text:?}");
        }
        assert_eq!(Quantity::parse(&"9".repeat(60)), Err(Error::Range));
    }
}
