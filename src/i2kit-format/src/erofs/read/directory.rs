//! Directory entries.

use std::ops::ControlFlow;

use zerocopy::FromBytes as _;

use super::super::format::{BLOCK, Dirent, NAME_LEN};
use super::{BLOCK_BYTES, FileType, ReadError, ReadInode, Reader};
use crate::ReadAt;

const DIRENT: usize = size_of::<Dirent>();

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// 1 to 255 bytes, without slash or NUL.
    pub name: Box<[u8]>,
    /// The inode.
    pub nid: u64,
    /// What the entry says of its type (`FT_*`); the inode decides.
    pub file_type: u8,
}

impl<R: ReadAt + ?Sized> Reader<'_, R> {
    /// A directory's entries in the order of the disk, `.` and `..` among them.
    ///
    /// # Errors
    /// When the inode is no directory, or an entry is not valid.
    pub fn read_dir(&self, inode: &ReadInode) -> Result<Vec<DirEntry>, ReadError> {
        let mut entries = Vec::new();
        self.scan(inode, |name, dirent| {
            let (nid, file_type) = (dirent.nid.get(), dirent.file_type);
            entries.push(DirEntry {
                name: name.into(),
                nid,
                file_type,
            });
            ControlFlow::Continue(())
        })?;
        Ok(entries)
    }

    /// The nid of a name in a directory.
    pub(super) fn find(&self, inode: &ReadInode, wanted: &[u8]) -> Result<Option<u64>, ReadError> {
        let mut found = None;
        self.scan(inode, |name, dirent| {
            if name == wanted {
                found = Some(dirent.nid.get());
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Shows every entry until told to stop. Ends: each block must be in the image and hold one
    /// entry at least.
    fn scan(
        &self,
        inode: &ReadInode,
        mut visit: impl FnMut(&[u8], &Dirent) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        inode.require(FileType::Directory, "directory")?;
        let mut buf = [0; BLOCK];
        let mut offset = 0;
        while offset < inode.size {
            let len = self.read_data(inode, &mut buf, offset)?;
            let block = buf.get(..len).unwrap_or_default();
            if scan_block(inode, block, &mut visit)?.is_break() {
                return Ok(());
            }
            offset = offset.saturating_add(BLOCK_BYTES);
        }
        Ok(())
    }
}

fn scan_block(
    inode: &ReadInode,
    block: &[u8],
    visit: &mut impl FnMut(&[u8], &Dirent) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadError> {
    let corrupt = || inode.corrupt("directory block is not valid");
    let (first, _) = Dirent::read_from_prefix(block).map_err(|_| corrupt())?;
    let names = usize::from(first.nameoff.get());
    let table = block
        .get(..names)
        .filter(|table| !table.is_empty() && table.len().is_multiple_of(DIRENT));
    let mut dirents = table.ok_or_else(corrupt)?.chunks_exact(DIRENT).peekable();
    while let Some(bytes) = dirents.next() {
        let dirent = Dirent::read_from_bytes(bytes).map_err(|_| corrupt())?;
        let next = dirents
            .peek()
            .and_then(|bytes| Dirent::read_from_bytes(bytes).ok());
        let start = usize::from(dirent.nameoff.get());
        let end = next.map_or(block.len(), |next| usize::from(next.nameoff.get()));
        let name = block
            .get(start.max(names)..end)
            .filter(|_| start >= names)
            .ok_or_else(corrupt)?;
        // The last name of a block ends at a NUL or at the block's end.
        let name = match next {
            None => name.split(|&byte| byte == 0).next().unwrap_or_default(),
            Some(_) => name,
        };
        if name.is_empty() || name.len() > NAME_LEN || name.iter().any(|b| matches!(b, 0 | b'/')) {
            return Err(inode.corrupt("directory entry with a name that is not valid"));
        }
        if visit(name, &dirent).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
