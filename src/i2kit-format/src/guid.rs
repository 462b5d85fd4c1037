//! GUIDs: of partitions, their types and file systems.

use std::fmt;
use std::str::FromStr;

/// A GUID. Kept as the 16 bytes that its text form shows, in that order (RFC 9562, section 4);
/// GPT stores the first three fields little-endian, see [`Guid::to_mixed_endian`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid([u8; 16]);

/// A text that is no GUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse GUID {0:?}: expected 8-4-4-4-12 hex digits")]
pub struct ParseError(String);

impl Guid {
    /// All zeros: an unused partition entry's type.
    pub const NIL: Self = Self([0; 16]);

    /// The GUID whose text form shows exactly these bytes, whatever version they claim: the
    /// halves of a root hash, for one.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The GUID that a `u128` literal shows: `0xc12a7328_f81f_…`.
    #[must_use]
    pub const fn from_u128(value: u128) -> Self {
        Self(value.to_be_bytes())
    }

    /// A GUID derived from content: the bytes of a digest, marked as version 8 (custom) of the
    /// RFC's variant (RFC 9562, section 5.8). 122 bits of the digest are kept.
    #[must_use]
    pub const fn from_digest(digest: &[u8; 16]) -> Self {
        let mut bytes = *digest;
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// The PARTUUIDs that the Discoverable Partitions Specification asks of a verity-protected
    /// partition and of its hash partition: the first and the last 128 bits of the root hash.
    #[must_use]
    pub fn root_hash_halves(root_hash: &[u8; 32]) -> (Self, Self) {
        let (mut data, mut verity) = ([0; 16], [0; 16]);
        for (half, byte) in data.iter_mut().chain(&mut verity).zip(root_hash) {
            *half = *byte;
        }
        (Self(data), Self(verity))
    }

    /// The bytes in the order of the text form.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// From the bytes of a GPT: three little-endian fields, then eight bytes as they are (UEFI
    /// 2.10, appendix A).
    #[must_use]
    pub const fn from_mixed_endian(bytes: [u8; 16]) -> Self {
        Self(swap_fields(bytes))
    }

    /// The bytes as a GPT stores them.
    #[must_use]
    pub const fn to_mixed_endian(self) -> [u8; 16] {
        swap_fields(self.0)
    }
}

const fn swap_fields(b: [u8; 16]) -> [u8; 16] {
    let [b0, b1, b2, b3, b4, b5, b6, b7, rest @ ..] = b;
    let [b8, b9, b10, b11, b12, b13, b14, b15] = rest;
    [
        b3, b2, b1, b0, b5, b4, b7, b6, b8, b9, b10, b11, b12, b13, b14, b15,
    ]
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Guid {
    type Err = ParseError;

    /// Parses the text form, in either case, without braces.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError(text.to_owned());
        let lengths = text.split('-').map(str::len);
        if !lengths.eq([8, 4, 4, 4, 12]) {
            return Err(error());
        }
        let digits = text.replace('-', "");
        // from_str_radix would take a sign.
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(error());
        }
        u128::from_str_radix(&digits, 16)
            .map(Self::from_u128)
            .map_err(|_| error())
    }
}
