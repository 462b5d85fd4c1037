//! An RPM header as databases hold it: without the lead's magic (RPM's "Package format", section
//! Header; `lib/header.c`).

use crate::Error;

pub const NAME: u32 = 1000;
pub const VERSION: u32 = 1001;
pub const RELEASE: u32 = 1002;
pub const EPOCH: u32 = 1003;
pub const VENDOR: u32 = 1011;
pub const LICENSE: u32 = 1014;
pub const ARCH: u32 = 1022;
pub const SOURCERPM: u32 = 1044;

const INT32: u32 = 4;
const STRING: u32 = 6;
const I18NSTRING: u32 = 9;

/// The index (tag, type, offset, count; 16 bytes each) and the data that it points into.
pub struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    /// Two lengths, the index, the data; numbers big-endian.
    pub fn parse(blob: &'a [u8]) -> Result<Self, Error> {
        let bad = || Error::format("package header (RPM)", "it ends early");
        let entries = number(blob, 0).ok_or_else(bad)?;
        let data = number(blob, 4).ok_or_else(bad)?;
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let end = size(entries)
            .checked_mul(16)
            .and_then(|len| len.checked_add(8));
        let end = end.ok_or_else(bad)?;
        let data_end = end.checked_add(size(data)).ok_or_else(bad)?;
        Ok(Self {
            index: blob.get(8..end).ok_or_else(bad)?,
            data: blob.get(end..data_end).ok_or_else(bad)?,
        })
    }

    /// The tag's type and the data from its value on.
    fn find(&self, tag: u32) -> Option<(u32, &'a [u8])> {
        let mut entries = self.index.chunks_exact(16);
        let entry = entries.find(|entry| number(entry, 0) == Some(tag))?;
        let offset = usize::try_from(number(entry, 8)?).ok()?;
        Some((number(entry, 4)?, self.data.get(offset..)?))
    }

    /// A string; of translated ones the first, which is untranslated.
    pub fn text(&self, tag: u32) -> Option<String> {
        let (kind, data) = self.find(tag)?;
        if !matches!(kind, STRING | I18NSTRING) {
            return None;
        }
        let text = data.split(|byte| *byte == 0).next()?;
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }

    pub fn number(&self, tag: u32) -> Option<u32> {
        let (kind, data) = self.find(tag)?;
        (kind == INT32).then(|| number(data, 0))?
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}
