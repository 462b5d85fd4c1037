//! Comparing Debian versions (deb-version(7); Debian policy 5.6.12).

use std::cmp::Ordering;

/// Compares `[EPOCH:]UPSTREAM[-REVISION]` as dpkg does.
#[must_use]
pub fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (Parts::of(one), Parts::of(other));
    one.epoch
        .cmp(&other.epoch)
        .then_with(|| part(one.upstream, other.upstream))
        .then_with(|| part(one.revision, other.revision))
}

struct Parts<'a> {
    epoch: u64,
    upstream: &'a [u8],
    revision: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(version: &'a str) -> Self {
        let version = version.trim();
        let (epoch, rest) = match version.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
            None => (0, version),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self {
            epoch,
            upstream: upstream.as_bytes(),
            revision: revision.as_bytes(),
        }
    }
}

/// Runs of other characters and runs of digits in turn.
fn part(one: &[u8], other: &[u8]) -> Ordering {
    let (mut one, mut other) = (one, other);
    while !one.is_empty() || !other.is_empty() {
        let (one_run, one_rest) = split(one, |byte| !byte.is_ascii_digit());
        let (other_run, other_rest) = split(other, |byte| !byte.is_ascii_digit());
        let order = letters(one_run, other_run);
        if order != Ordering::Equal {
            return order;
        }
        let (one_digits, one_rest) = split(one_rest, |byte| byte.is_ascii_digit());
        let (other_digits, other_rest) = split(other_rest, |byte| byte.is_ascii_digit());
        let order = numbers(one_digits, other_digits);
        if order != Ordering::Equal {
            return order;
        }
        (one, other) = (one_rest, other_rest);
    }
    Ordering::Equal
}

fn split(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !belongs(*byte));
    bytes.split_at(end.unwrap_or(bytes.len()))
}

/// A tilde comes before the end, the end before letters, letters before the rest.
fn letters(one: &[u8], other: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(rest) => i32::from(*rest) + 256,
    };
    (0..one.len().max(other.len()))
        .map(|at| weight(one.get(at)).cmp(&weight(other.get(at))))
        .find(|order| *order != Ordering::Equal)
        .unwrap_or(Ordering::Equal)
}

/// Of any length, so compared as text.
fn numbers(one: &[u8], other: &[u8]) -> Ordering {
    let significant = |digits| split(digits, |byte| byte == b'0').1;
    let (one, other) = (significant(one), significant(other));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}
