//! PAX extended headers (POSIX.1-2001 `pax`, Interchange Format), read as Go's `archive/tar` does.

use super::sparse::{Segment, pairs};

/// The records of one extended header, in order.
#[derive(Debug, Default)]
pub(super) struct Pax {
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

impl Pax {
    /// `LENGTH KEY=VALUE\n`, the length counting the whole record.
    pub(super) fn parse(mut rest: &[u8]) -> Result<Self, &'static str> {
        const BAD: &str = "a PAX record is malformed";
        let mut records = Vec::new();
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or(BAD)?;
            let digits = rest.get(..space).ok_or(BAD)?;
            let len = usize::try_from(decimal(digits).ok_or(BAD)?).map_err(|_| BAD)?;
            let (record, after) = rest.split_at_checked(len).ok_or(BAD)?;
            let body = record.get(space + 1..).ok_or(BAD)?;
            let body = body.strip_suffix(b"\n").ok_or(BAD)?;
            let equals = body.iter().position(|byte| *byte == b'=').ok_or(BAD)?;
            let (key, value) = body.split_at(equals);
            let value = value.get(1..).ok_or(BAD)?;
            let textual = [&b"path"[..], b"linkpath", b"uname", b"gname"].contains(&key);
            if key.is_empty() || (textual && value.contains(&0)) {
                return Err(BAD);
            }
            records.push((key.to_vec(), value.to_vec()));
            rest = after;
        }
        Ok(Self { records })
    }

    /// The last value of `key`; an empty one counts as absent.
    pub(super) fn value(&self, key: &[u8]) -> Option<&[u8]> {
        let found = self.records.iter().rev().find(|(name, _)| name == key);
        found
            .map(|(_, value)| value.as_slice())
            .filter(|value| !value.is_empty())
    }

    /// A sparse file's real name stands apart from the one that old readers see.
    pub(super) fn path(&self) -> Option<&[u8]> {
        self.value(b"GNU.sparse.name")
            .or_else(|| self.value(b"path"))
    }

    pub(super) fn number(&self, key: &[u8]) -> Result<Option<u64>, &'static str> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        decimal(value).map(Some).ok_or("a PAX number is malformed")
    }

    /// `[-]SECONDS[.FRACTION]`, the fraction cut to nanoseconds.
    pub(super) fn time(&self, key: &[u8]) -> Result<Option<(i64, u32)>, &'static str> {
        const BAD: &str = "a PAX time is malformed";
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let (negative, value) = match value.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, value),
        };
        let mut parts = value.splitn(2, |byte| *byte == b'.');
        let seconds = decimal(parts.next().unwrap_or_default()).ok_or(BAD)?;
        let seconds = i64::try_from(seconds).map_err(|_| BAD)?;
        let fraction = parts.next().unwrap_or_default();
        if !fraction.iter().all(u8::is_ascii_digit) {
            return Err(BAD);
        }
        let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
        let nsec = digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
        Ok(Some(match (negative, nsec) {
            (false, nsec) => (seconds, nsec),
            (true, 0) => (-seconds, 0),
            (true, nsec) => (-seconds - 1, 1_000_000_000 - nsec),
        }))
    }

    /// `SCHILY.xattr.NAME` raw, `LIBARCHIVE.xattr.NAME` URL- and base64-encoded; the former wins.
    pub(super) fn xattrs(&self) -> Result<Xattrs, &'static str> {
        let mut out = Xattrs::new();
        let mut set = |name: Vec<u8>, value: Vec<u8>| {
            out.retain(|(known, _)| *known != name);
            out.push((name, value));
        };
        for (key, value) in &self.records {
            if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                let bad = "a LIBARCHIVE.xattr record is malformed";
                set(unescape(name).ok_or(bad)?, base64(value).ok_or(bad)?);
            }
        }
        for (key, value) in &self.records {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                set(name.to_vec(), value.clone());
            }
        }
        Ok(out)
    }

    /// Real size and map of sparse formats 0.0 and 0.1.
    pub(super) fn sparse_map(&self) -> Result<Option<(u64, Vec<Segment>)>, &'static str> {
        const BAD: &str = "a GNU.sparse record is malformed";
        let Some(size) = self.number(b"GNU.sparse.size")? else {
            return Ok(None);
        };
        let numbers: Option<Vec<u64>> = match self.value(b"GNU.sparse.map") {
            Some(map) => map.split(|byte| *byte == b',').map(decimal).collect(),
            None => {
                let keys = [&b"GNU.sparse.offset"[..], b"GNU.sparse.numbytes"];
                let records = self
                    .records
                    .iter()
                    .filter(|(key, _)| keys.contains(&key.as_slice()));
                records.map(|(_, value)| decimal(value)).collect()
            }
        };
        let numbers = numbers.ok_or(BAD)?;
        if !numbers.len().is_multiple_of(2) {
            return Err(BAD);
        }
        Ok(Some((size, pairs(&numbers))))
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn unescape(name: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let mut digit = || char::from(*bytes.next()?).to_digit(16);
        let value = digit()? * 16 + digit()?;
        out.push(u8::try_from(value).ok()?);
    }
    Some(out)
}

/// Base64 with or without padding, as libarchive writes it.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.iter().filter(|byte| !matches!(byte, b'=' | b'\n')) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &str) -> Vec<u8> {
        let body = format!(" {key}={value}\n");
        let mut len = body.len() + 1;
        while len != body.len() + len.to_string().len() {
            len = body.len() + len.to_string().len();
        }
        format!("{len}{body}").into_bytes()
    }

    #[test]
    fn times() {
        let time = |text: &str| Pax::parse(&record("mtime", text)).unwrap().time(b"mtime");
        assert_eq!(time("5"), Ok(Some((5, 0))));
        assert_eq!(time("5.25"), Ok(Some((5, 250_000_000))));
        assert_eq!(time("-1.5"), Ok(Some((-2, 500_000_000))));
        assert_eq!(time("-7"), Ok(Some((-7, 0))));
        assert_eq!(time("1.1234567899"), Ok(Some((1, 123_456_789))));
        assert!(time("x").is_err() && time("1.-2").is_err());
    }

    #[test]
    fn xattrs_of_both_kinds() {
        let mut bytes = record("LIBARCHIVE.xattr.user.a%20b", "aGk=");
        bytes.extend(record("SCHILY.xattr.user.c", "raw\0value"));
        let xattrs = Pax::parse(&bytes).unwrap().xattrs().unwrap();
        assert_eq!(xattrs[0], (b"user.a b".to_vec(), b"hi".to_vec()));
        assert_eq!(xattrs[1], (b"user.c".to_vec(), b"raw\0value".to_vec()));
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            "5 a=",
            "x a=b\n",
            "100 a=b\n",
            "3 =\n",
            "6 ab=c",
            "0 a=b\n",
            "2 a=b\n",
        ] {
            assert!(Pax::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
