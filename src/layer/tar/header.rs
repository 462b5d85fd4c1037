//! The 512-byte header (POSIX.1-1988 ustar, GNU, star).

use super::sparse::{Segment, segment};

/// Bytes of a header, and what data is padded to.
pub(super) const BLOCK: usize = 512;

/// Where the fields lie.
mod field {
    use std::ops::Range;
    pub const NAME: Range<usize> = 0..100;
    pub const MODE: Range<usize> = 100..108;
    pub const UID: Range<usize> = 108..116;
    pub const GID: Range<usize> = 116..124;
    pub const SIZE: Range<usize> = 124..136;
    pub const MTIME: Range<usize> = 136..148;
    pub const CHECKSUM: Range<usize> = 148..156;
    pub const LINKNAME: Range<usize> = 157..257;
    pub const MAGIC: Range<usize> = 257..263;
    pub const DEVMAJOR: Range<usize> = 329..337;
    pub const DEVMINOR: Range<usize> = 337..345;
    pub const PREFIX: Range<usize> = 345..500;
    pub const STAR_PREFIX: Range<usize> = 345..476;
    pub const STAR_TRAILER: Range<usize> = 508..512;
    pub const GNU_SPARSE: Range<usize> = 386..482;
    pub const GNU_REALSIZE: Range<usize> = 483..495;
}
const TYPEFLAG: usize = 156;
const GNU_ISEXTENDED: usize = 482;

/// A header whose checksum is right.
pub(super) struct RawHeader([u8; BLOCK]);

impl RawHeader {
    pub(super) fn parse(block: [u8; BLOCK]) -> Result<Self, &'static str> {
        let header = Self(block);
        const NOT_TAR: &str = "checksum is wrong: not a tar header";
        let wanted = header.number(field::CHECKSUM).map_err(|_| NOT_TAR)?;
        let sum = |signed: bool| -> i64 {
            let in_checksum = |at: &usize| field::CHECKSUM.contains(at);
            let bytes = block.iter().enumerate();
            bytes
                .map(|(at, byte)| match (in_checksum(&at), signed) {
                    (true, _) => i64::from(b' '),
                    (false, true) => i64::from(byte.cast_signed()),
                    (false, false) => i64::from(*byte),
                })
                .sum()
        };
        if wanted != sum(false) && wanted != sum(true) {
            return Err(NOT_TAR);
        }
        Ok(header)
    }

    fn bytes(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.0.get(range).unwrap_or_default()
    }

    fn text(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.bytes(range)
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default()
    }

    fn number(&self, range: std::ops::Range<usize>) -> Result<i64, &'static str> {
        number(self.bytes(range))
    }

    fn unsigned(&self, range: std::ops::Range<usize>) -> Result<u64, &'static str> {
        u64::try_from(self.number(range)?).map_err(|_| "a size is negative")
    }

    pub(super) fn typeflag(&self) -> u8 {
        self.0.get(TYPEFLAG).copied().unwrap_or(0)
    }

    pub(super) fn size(&self) -> Result<u64, &'static str> {
        self.unsigned(field::SIZE)
    }

    pub(super) fn mtime(&self) -> Result<i64, &'static str> {
        self.number(field::MTIME)
    }

    pub(super) fn mode(&self) -> Result<u16, &'static str> {
        Ok(u16::try_from(self.number(field::MODE)? & 0o7777).unwrap_or(0))
    }

    pub(super) fn uid(&self) -> Result<u32, &'static str> {
        u32::try_from(self.number(field::UID)?).map_err(|_| "owner out of range")
    }

    pub(super) fn gid(&self) -> Result<u32, &'static str> {
        u32::try_from(self.number(field::GID)?).map_err(|_| "group out of range")
    }

    pub(super) fn device(&self) -> Result<(u32, u32), &'static str> {
        let part = |range| u32::try_from(self.number(range)?).map_err(|_| "device out of range");
        Ok((part(field::DEVMAJOR)?, part(field::DEVMINOR)?))
    }

    pub(super) fn link(&self) -> Vec<u8> {
        self.text(field::LINKNAME).to_vec()
    }

    /// The name, behind the prefix that ustar and star put elsewhere.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = self.text(field::NAME);
        let is_ustar = self.bytes(field::MAGIC) == b"ustar\0";
        let is_star = self.bytes(field::STAR_TRAILER) == b"tar\0";
        let prefix = match (is_ustar, is_star) {
            (true, true) => self.text(field::STAR_PREFIX),
            (true, false) => self.text(field::PREFIX),
            _ => b"",
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }

    /// Real size, first segments, and whether more follow in a block of their own.
    pub(super) fn gnu_sparse(&self) -> Result<(u64, Vec<Segment>, bool), &'static str> {
        let mut segments = Vec::new();
        for record in self.bytes(field::GNU_SPARSE).chunks_exact(24) {
            segments.extend(segment(record)?);
        }
        let more = self.0.get(GNU_ISEXTENDED).is_some_and(|byte| *byte != 0);
        Ok((self.unsigned(field::GNU_REALSIZE)?, segments, more))
    }
}

/// Octal digits between spaces and NULs, or GNU's base-256 when the first bit is set.
pub(super) fn number(field: &[u8]) -> Result<i64, &'static str> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field),
        _ => octal(field),
    }
}

fn base256(field: &[u8]) -> Result<i64, &'static str> {
    let negative = field.first().is_some_and(|byte| byte & 0x40 != 0);
    let mut value: i128 = if negative { -1 } else { 0 };
    for (index, byte) in field.iter().enumerate() {
        let byte = match (index, negative) {
            (0, false) => byte & 0x7f,
            (0, true) => byte | 0x80,
            _ => *byte,
        };
        value = value << 8 | i128::from(byte);
        if i64::try_from(value).is_err() {
            return Err("a number does not fit 64 bits");
        }
    }
    i64::try_from(value).map_err(|_| "a number does not fit 64 bits")
}

fn octal(field: &[u8]) -> Result<i64, &'static str> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(field.len());
    let digits = field.get(start..).unwrap_or_default();
    let digits = digits.split(blank).next().unwrap_or_default();
    digits.iter().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => value
            .checked_mul(8)
            .map(|value| value + i64::from(digit - b'0'))
            .ok_or("a number does not fit 64 bits"),
        _ => Err("a number is not octal"),
    })
}
