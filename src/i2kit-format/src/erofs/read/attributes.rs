//! Extended attributes of an inode.

use std::collections::BTreeMap;

use zerocopy::FromBytes as _;

use super::super::format::{XattrEntry, XattrIbodyHeader};
use super::super::xattr::join;
use super::{BLOCK_BYTES, ReadError, ReadInode, Reader};
use crate::ReadAt;

type Bytes = Box<[u8]>;
type Attributes = BTreeMap<Bytes, Bytes>;

impl<R: ReadAt + ?Sized> Reader<'_, R> {
    /// An inode's extended attributes, by full name.
    ///
    /// # Errors
    /// When they reach past their place, a name is there twice, or a prefix index is unknown.
    pub fn xattrs(&self, inode: &ReadInode) -> Result<Attributes, ReadError> {
        let mut attributes = Attributes::new();
        if inode.xattr_size == 0 {
            return Ok(attributes);
        }
        let short = || inode.corrupt("attributes reach past their place");
        // 256 KiB at most: the size comes from a u16.
        let mut body = vec![0; usize::try_from(inode.xattr_size).map_err(|_| short())?];
        self.read("extended attributes", &mut body, inode.body)?;
        let (header, rest) = XattrIbodyHeader::read_from_prefix(&body).map_err(|_| short())?;
        let shared = usize::from(header.h_shared_count).saturating_mul(4);
        let (ids, mut own) = rest.split_at_checked(shared).ok_or_else(short)?;
        for id in ids.as_chunks().0 {
            let (name, value) = self.shared_attribute(inode, u32::from_le_bytes(*id))?;
            insert(inode, &mut attributes, name, value)?;
        }
        while !own.is_empty() {
            let (entry, after) = XattrEntry::read_from_prefix(own).map_err(|_| short())?;
            let (name, value, len) = split(&entry, after).ok_or_else(short)?;
            insert(
                inode,
                &mut attributes,
                full_name(&entry, name)?,
                value.into(),
            )?;
            own = after.get(len.next_multiple_of(4)..).ok_or_else(short)?;
        }
        Ok(attributes)
    }

    fn shared_attribute(&self, inode: &ReadInode, id: u32) -> Result<(Bytes, Bytes), ReadError> {
        let at = u64::from(self.superblock.xattr_blkaddr) * BLOCK_BYTES + u64::from(id) * 4;
        let entry: XattrEntry = self.record("shared attribute", at)?;
        let len = usize::from(entry.e_name_len) + usize::from(entry.e_value_size.get());
        let mut bytes = vec![0; len];
        self.read(
            "shared attribute",
            &mut bytes,
            at + size_of::<XattrEntry>() as u64,
        )?;
        let parts = split(&entry, &bytes);
        let (name, value, _) = parts.ok_or_else(|| inode.corrupt("shared attribute is short"))?;
        Ok((full_name(&entry, name)?, value.into()))
    }
}

/// Name, value, and the length of both.
fn split<'b>(entry: &XattrEntry, bytes: &'b [u8]) -> Option<(&'b [u8], &'b [u8], usize)> {
    let (name_len, value_len) = (
        usize::from(entry.e_name_len),
        usize::from(entry.e_value_size.get()),
    );
    let (name, rest) = bytes.split_at_checked(name_len)?;
    Some((name, rest.get(..value_len)?, name_len + value_len))
}

fn full_name(entry: &XattrEntry, name: &[u8]) -> Result<Bytes, ReadError> {
    let unknown = ReadError::Unsupported {
        what: "attribute name index",
        value: entry.e_name_index.into(),
    };
    join(entry.e_name_index, name).ok_or(unknown)
}

fn insert(
    inode: &ReadInode,
    attributes: &mut Attributes,
    name: Bytes,
    value: Bytes,
) -> Result<(), ReadError> {
    match attributes.insert(name, value) {
        None => Ok(()),
        Some(_) => Err(inode.corrupt("an attribute is there twice")),
    }
}
