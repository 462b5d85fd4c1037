//! Extended attributes: prefix indexes, the area of shared ones, and an inode's own.

use std::collections::BTreeMap;

use zerocopy::IntoBytes as _;

use super::Metadata;
use super::format::{XattrEntry, XattrIbodyHeader};

/// `e_name_index` and the part of a name that it stands for.
const PREFIXES: [(u8, &[u8]); 5] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
];
/// `h_shared_count` is a u8.
const MAX_SHARED: usize = 255;
/// `i_xattr_icount` is a u16 that counts the header as one and 4 bytes each after it.
pub(super) const MAX_BODY: usize = size_of::<XattrIbodyHeader>() + (u16::MAX as usize - 1) * 4;

/// Why an attribute can't be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XattrError {
    /// Not one of the five prefixes.
    #[error("EROFS stores user., trusted., security. and POSIX ACL attributes alone")]
    Prefix,
    /// Nothing after the prefix, more than 255 bytes, or a NUL.
    #[error("the name after its prefix must have 1 to 255 bytes, none of them NUL")]
    Name,
    /// The value's length is a u16.
    #[error("its value has {0} bytes, at most 65535 can be stored")]
    Value(usize),
    /// One inode's attributes are too large together.
    #[error("with it the file's attributes take {0} bytes, at most {MAX_BODY} can be stored")]
    Body(usize),
}

/// Splits a full name into prefix index and the rest.
fn split(name: &[u8]) -> Result<(u8, &[u8]), XattrError> {
    let (index, prefix, rest) = PREFIXES
        .iter()
        .find_map(|&(index, prefix)| Some((index, prefix, name.strip_prefix(prefix)?)))
        .ok_or(XattrError::Prefix)?;
    let is_family = prefix.ends_with(b".");
    if !is_family && !rest.is_empty() {
        return Err(XattrError::Prefix);
    }
    if (is_family && rest.is_empty()) || rest.len() > 255 || rest.contains(&0) {
        return Err(XattrError::Name);
    }
    Ok((index, rest))
}

/// The full name, if the index is known.
pub(super) fn join(index: u8, rest: &[u8]) -> Option<Box<[u8]>> {
    let (_, prefix) = PREFIXES.iter().find(|(known, _)| *known == index)?;
    Some([prefix, rest].concat().into())
}

/// An attribute's record: header, name, value, padded to 4 bytes.
fn entry(name: &[u8], value: &[u8]) -> Result<Vec<u8>, XattrError> {
    let (index, rest) = split(name)?;
    let header = XattrEntry {
        e_name_len: u8::try_from(rest.len()).map_err(|_| XattrError::Name)?,
        e_name_index: index,
        e_value_size: u16::try_from(value.len())
            .map_err(|_| XattrError::Value(value.len()))?
            .into(),
    };
    let mut out = [header.as_bytes(), rest, value].concat();
    out.resize(out.len().next_multiple_of(4), 0);
    Ok(out)
}

/// Attributes that several inodes have, stored once.
#[derive(Debug, Default)]
pub(super) struct Shared<'t> {
    /// Offset in the area, in units of 4 bytes, by name and value.
    ids: BTreeMap<(&'t [u8], &'t [u8]), u32>,
    /// The area's bytes.
    pub area: Vec<u8>,
}

impl<'t> Shared<'t> {
    /// Those that at least two of the inodes have, in the order in which they first appear.
    pub(super) fn collect(inodes: impl Iterator<Item = &'t Metadata> + Clone) -> Self {
        let mut uses: BTreeMap<(&[u8], &[u8]), u32> = BTreeMap::new();
        for (name, value) in inodes.clone().flat_map(|metadata| &metadata.xattrs) {
            let count = uses.entry((name, value)).or_default();
            *count = count.saturating_add(1);
        }
        let mut shared = Self::default();
        for (name, value) in inodes.flat_map(|metadata| &metadata.xattrs) {
            let key = (&**name, &**value);
            if uses.get(&key).is_some_and(|&count| count > 1) && !shared.ids.contains_key(&key) {
                shared.add(key);
            }
        }
        shared
    }

    /// What can't be encoded stays out; [`Shared::body`] then names it with its file.
    fn add(&mut self, key: (&'t [u8], &'t [u8])) {
        if let (Ok(bytes), Ok(id)) = (entry(key.0, key.1), u32::try_from(self.area.len() / 4)) {
            self.ids.insert(key, id);
            self.area.extend_from_slice(&bytes);
        }
    }

    /// What follows an inode: header, ids of shared attributes, the others. Empty without any.
    pub(super) fn body<'m>(
        &self,
        metadata: &'m Metadata,
    ) -> Result<Vec<u8>, (&'m [u8], XattrError)> {
        if metadata.xattrs.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids: Vec<u32> = Vec::new();
        let mut own = Vec::new();
        for (name, value) in &metadata.xattrs {
            match self.ids.get(&(&**name, &**value)) {
                Some(&id) if ids.len() < MAX_SHARED => ids.push(id),
                _ => own.extend(entry(name, value).map_err(|error| (&**name, error))?),
            }
            let size = size_of::<XattrIbodyHeader>()
                .saturating_add(ids.len().saturating_mul(4))
                .saturating_add(own.len());
            if size > MAX_BODY {
                return Err((name, XattrError::Body(size)));
            }
        }
        let header = XattrIbodyHeader {
            h_name_filter: 0.into(),
            h_shared_count: u8::try_from(ids.len()).unwrap_or(u8::MAX),
            h_reserved2: [0; 7],
        };
        let ids: Vec<u8> = ids.into_iter().flat_map(u32::to_le_bytes).collect();
        Ok([header.as_bytes(), &ids, &own].concat())
    }
}
