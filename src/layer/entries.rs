//! The entry index: a compact encoding of a layer's entries, with a checksum.
//!
//! Numbers are little-endian base-128 (LEB128), byte strings have their length in front. The last
//! 32 bytes are the BLAKE3 hash of what is before them.

use i2kit_format::erofs::{Cluster, CompressedFile, FileData, FileExtent, Metadata};

use super::{Entry, EntryKind};
use crate::disk::SlabDigests;

const MAGIC: &[u8] = b"i2kit entries 3\n";
const CHECKSUM: usize = 32;

mod tag {
    pub const DIRECTORY: u64 = 0;
    pub const REGULAR: u64 = 1;
    pub const HARD_LINK: u64 = 2;
    pub const SYMLINK: u64 = 3;
    pub const CHAR_DEVICE: u64 = 4;
    pub const BLOCK_DEVICE: u64 = 5;
    pub const FIFO: u64 = 6;
    pub const COMPRESSED: u64 = 7;
}

/// What stands in the index besides the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) tar_len: u64,
    pub(super) data_len: u64,
    pub(super) hash_blocks_checksum: [u8; 32],
    pub(super) slab_digests: Vec<SlabDigests>,
    pub(super) packed: Vec<Cluster>,
    pub(super) entries: Vec<Entry>,
}

impl Index {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        number(&mut out, self.tar_len);
        number(&mut out, self.data_len);
        out.extend_from_slice(&self.hash_blocks_checksum);
        number(&mut out, self.slab_digests.len() as u64);
        for slab in &self.slab_digests {
            out.extend_from_slice(&slab.sha256);
            out.extend_from_slice(&slab.crc32c.to_le_bytes());
        }
        clusters(&mut out, &self.packed);
        number(&mut out, self.entries.len() as u64);
        self.entries.iter().for_each(|one| entry(&mut out, one));
        let checksum = blake3::hash(&out);
        out.extend_from_slice(checksum.as_bytes());
        out
    }

    /// The index, or `None` when a single byte of it is not as it was written.
    pub(super) fn decode(encoded: &[u8]) -> Option<Self> {
        let (body, checksum) = encoded.split_at_checked(encoded.len().checked_sub(CHECKSUM)?)?;
        if blake3::hash(body).as_bytes() != checksum {
            return None;
        }
        let mut input = Input(body.strip_prefix(MAGIC)?);
        let tar_len = input.number()?;
        let data_len = input.number()?;
        let hash_blocks_checksum = input.take(CHECKSUM)?.try_into().ok()?;
        let slabs = input.number()?;
        let slab_digests = (0..slabs)
            .map(|_| input.slab_digests())
            .collect::<Option<_>>()?;
        let packed = input.clusters()?;
        let count = input.number()?;
        let entries = (0..count).map(|_| input.entry()).collect::<Option<_>>()?;
        Some(Self {
            tar_len,
            data_len,
            hash_blocks_checksum,
            slab_digests,
            packed,
            entries,
        })
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = (value & 0x7f).to_le_bytes()[0];
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    number(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn entry(out: &mut Vec<u8>, entry: &Entry) {
    let Metadata {
        mode,
        uid,
        gid,
        mtime,
        mtime_nsec,
        xattrs,
    } = &entry.metadata;
    bytes(out, &entry.path);
    for value in [
        u64::from(*mode),
        (*uid).into(),
        (*gid).into(),
        mtime.cast_unsigned(),
        (*mtime_nsec).into(),
    ] {
        number(out, value);
    }
    number(out, xattrs.len() as u64);
    for (name, value) in xattrs {
        bytes(out, name);
        bytes(out, value);
    }
    match &entry.kind {
        EntryKind::Directory => number(out, tag::DIRECTORY),
        EntryKind::Fifo => number(out, tag::FIFO),
        EntryKind::Regular(file) => {
            number(out, tag::REGULAR);
            number(out, file.size);
            number(out, file.extents.len() as u64);
            for extent in &file.extents {
                for value in [extent.offset, extent.len, extent.start_block] {
                    number(out, value);
                }
            }
        }
        EntryKind::Compressed(file) => {
            number(out, tag::COMPRESSED);
            number(out, file.size);
            clusters(out, &file.clusters);
            // 0 for none.
            number(
                out,
                file.fragment.map_or(0, |offset| offset.saturating_add(1)),
            );
        }
        EntryKind::HardLink(target) => tagged(out, tag::HARD_LINK, target),
        EntryKind::Symlink(target) => tagged(out, tag::SYMLINK, target),
        EntryKind::CharDevice { major, minor } => device(out, tag::CHAR_DEVICE, *major, *minor),
        EntryKind::BlockDevice { major, minor } => device(out, tag::BLOCK_DEVICE, *major, *minor),
    }
}

fn clusters(out: &mut Vec<u8>, clusters: &[Cluster]) {
    number(out, clusters.len() as u64);
    for cluster in clusters {
        number(out, cluster.len.into());
        number(out, cluster.blocks.into());
        number(out, cluster.start_block);
    }
}

fn tagged(out: &mut Vec<u8>, tag: u64, target: &[u8]) {
    number(out, tag);
    bytes(out, target);
}

fn device(out: &mut Vec<u8>, tag: u64, major: u32, minor: u32) {
    for value in [tag, major.into(), minor.into()] {
        number(out, value);
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn slab_digests(&mut self) -> Option<SlabDigests> {
        Some(SlabDigests {
            sha256: self.take(32)?.try_into().ok()?,
            crc32c: u32::from_le_bytes(self.take(4)?.try_into().ok()?),
        })
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        self.take(len)
    }

    fn metadata(&mut self) -> Option<Metadata> {
        let mode = u16::try_from(self.number()?).ok()?;
        let (uid, gid) = (self.small()?, self.small()?);
        let (mtime, mtime_nsec) = (self.number()?.cast_signed(), self.small()?);
        let count = self.number()?;
        let xattrs = (0..count)
            .map(|_| Some((self.bytes()?.into(), self.bytes()?.into())))
            .collect::<Option<_>>()?;
        Some(Metadata {
            mode,
            uid,
            gid,
            mtime,
            mtime_nsec,
            xattrs,
        })
    }

    fn entry(&mut self) -> Option<Entry> {
        let path = self.bytes()?.into();
        let metadata = self.metadata()?;
        let kind = match self.number()? {
            tag::DIRECTORY => EntryKind::Directory,
            tag::FIFO => EntryKind::Fifo,
            tag::REGULAR => EntryKind::Regular(self.file()?),
            tag::COMPRESSED => EntryKind::Compressed(CompressedFile {
                size: self.number()?,
                clusters: self.clusters()?,
                fragment: self.number()?.checked_sub(1),
            }),
            tag::HARD_LINK => EntryKind::HardLink(self.bytes()?.into()),
            tag::SYMLINK => EntryKind::Symlink(self.bytes()?.into()),
            tag::CHAR_DEVICE => EntryKind::CharDevice {
                major: self.small()?,
                minor: self.small()?,
            },
            tag::BLOCK_DEVICE => EntryKind::BlockDevice {
                major: self.small()?,
                minor: self.small()?,
            },
            _ => return None,
        };
        Some(Entry {
            path,
            metadata,
            kind,
        })
    }

    fn clusters(&mut self) -> Option<Vec<Cluster>> {
        let count = self.number()?;
        let cluster = |_| {
            Some(Cluster {
                len: self.small()?,
                blocks: self.small()?,
                start_block: self.number()?,
            })
        };
        (0..count).map(cluster).collect()
    }

    fn file(&mut self) -> Option<FileData> {
        let size = self.number()?;
        let count = self.number()?;
        let extents = (0..count)
            .map(|_| {
                let (offset, len) = (self.number()?, self.number()?);
                Some(FileExtent {
                    offset,
                    len,
                    start_block: self.number()?,
                })
            })
            .collect::<Option<_>>()?;
        Some(FileData { size, extents })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_altered_byte_is_noticed() {
        let metadata = Metadata {
            mtime: -3,
            uid: u32::MAX,
            ..Metadata::default()
        };
        let extents = vec![FileExtent {
            offset: 0,
            len: 5,
            start_block: 1 << 40,
        }];
        let cluster = Cluster {
            len: 65_536,
            blocks: 3,
            start_block: 9,
        };
        let kinds = [
            EntryKind::Directory,
            EntryKind::Fifo,
            EntryKind::Regular(FileData { size: 5, extents }),
            EntryKind::Compressed(CompressedFile {
                size: 70_000,
                clusters: vec![cluster],
                fragment: Some(0),
            }),
            EntryKind::HardLink((*b"x").into()),
            EntryKind::Symlink((*b"\xff").into()),
            EntryKind::CharDevice {
                major: 1,
                minor: 1 << 19,
            },
            EntryKind::BlockDevice { major: 8, minor: 0 },
        ];
        let entries = kinds.map(|kind| Entry {
            path: (*b"a/b").into(),
            metadata: metadata.clone(),
            kind,
        });
        let index = Index {
            tar_len: 512,
            data_len: 1 << 30,
            hash_blocks_checksum: [3; 32],
            slab_digests: vec![SlabDigests::of(b"slab"); 2],
            packed: vec![cluster],
            entries: entries.to_vec(),
        };
        let encoded = index.encode();
        assert_eq!(Index::decode(&encoded), Some(index));
        for at in 0..encoded.len() {
            let mut bad = encoded.clone();
            bad[at] ^= 0x10;
            assert_eq!(Index::decode(&bad), None, "byte {at}");
        }
        assert_eq!(Index::decode(&[]), None);
    }
}
