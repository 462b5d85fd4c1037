//! Extended attributes: which are shared, and an inode's attribute body.

use std::collections::BTreeMap;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::format::{XATTR_PREFIXES, XattrEntry, XattrIbodyHeader};
use super::tree::{Inode, Metadata};
use super::writer::Error;

/// `h_shared_count` is one byte.
const MAX_SHARED: usize = 255;
/// `i_xattr_icount` is 16 bits, in units of 4 bytes after the 12-byte header.
const MAX_BODY: usize = 12 + 4 * (u16::MAX as usize - 1);

type Pair<'a> = (&'a [u8], &'a [u8]);

/// The attributes that several inodes have in common, stored once.
#[derive(Debug, Default)]
pub(super) struct Shared<'a> {
    ids: BTreeMap<Pair<'a>, u32>,
    /// The shared attribute area, a multiple of 4 bytes.
    pub(super) bytes: Vec<u8>,
}

impl<'a> Shared<'a> {
    /// Finds what at least two of `inodes` have with the same value.
    pub(super) fn collect(inodes: impl Iterator<Item = &'a Inode>) -> Result<Self, Error> {
        let mut counts: BTreeMap<Pair<'a>, usize> = BTreeMap::new();
        for (name, value) in inodes.flat_map(|inode| &inode.metadata.xattrs) {
            *counts.entry((name, value)).or_default() += 1;
        }
        let mut shared = Self::default();
        for (pair, _) in counts.into_iter().filter(|(_, count)| *count > 1) {
            let id = u32::try_from(shared.bytes.len() / 4).map_err(|_| Error::TooManyXattrs)?;
            append_entry(&mut shared.bytes, pair)?;
            shared.ids.insert(pair, id);
        }
        Ok(shared)
    }

    /// The bytes between an inode and what follows it; empty when it has no attributes.
    pub(super) fn body(&self, metadata: &Metadata) -> Result<Vec<u8>, Error> {
        if metadata.xattrs.is_empty() {
            return Ok(Vec::new());
        }
        let pairs = metadata.xattrs.iter().map(|(name, value)| (&**name, &**value));
        let (mut ids, mut inline) = (Vec::new(), Vec::new());
        for pair in pairs {
            match self.ids.get(&pair) {
                Some(id) if ids.len() < MAX_SHARED => ids.push(*id),
                _ => append_entry(&mut inline, pair)?,
            }
        }
        let header = XattrIbodyHeader {
            h_name_filter: U32::new(0),
            h_shared_count: u8::try_from(ids.len()).unwrap_or(u8::MAX),
            h_reserved2: [0; 7],
        };
        let mut body = header.as_bytes().to_vec();
        body.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
        body.extend(inline);
        if body.len() > MAX_BODY {
            return Err(Error::XattrsTooLarge { bytes: body.len() });
        }
        Ok(body)
    }
}

/// `i_xattr_icount` of a body.
pub(super) fn icount(body: &[u8]) -> Result<u16, Error> {
    match body.len() {
        0 => Ok(0),
        bytes => u16::try_from(1 + (bytes - 12) / 4).map_err(|_| Error::XattrsTooLarge { bytes }),
    }
}

fn append_entry(out: &mut Vec<u8>, (name, value): Pair<'_>) -> Result<(), Error> {
    let unsupported = || Error::XattrName { name: String::from_utf8_lossy(name).into_owned() };
    let (index, rest) = XATTR_PREFIXES
        .iter()
        .find_map(|(index, prefix)| Some((*index, name.strip_prefix(*prefix)?)))
        .ok_or_else(unsupported)?;
    // The two ACL names are whole names, the rest are prefixes of one.
    if matches!(index, 2 | 3) != rest.is_empty() {
        return Err(unsupported());
    }
    let entry = XattrEntry {
        e_name_len: u8::try_from(rest.len()).map_err(|_| unsupported())?,
        e_name_index: index,
        e_value_size: U16::new(u16::try_from(value.len()).map_err(|_| Error::XattrValue {
            name: String::from_utf8_lossy(name).into_owned(),
            bytes: value.len(),
        })?),
    };
    out.extend_from_slice(entry.as_bytes());
    out.extend_from_slice(rest);
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    Ok(())
}
