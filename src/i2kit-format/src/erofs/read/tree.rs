//! A whole image back into a [`Tree`].

use std::collections::BTreeMap;

use super::super::{Content, Directory, FileData, Inode, InodeId, Metadata, Tree};
use super::compressed::is_compressed;
use super::{FileType, ReadError, ReadInode, Reader};
use crate::ReadAt;

impl<R: ReadAt + ?Sized> Reader<'_, R> {
    /// All that the root reaches, with extents as [`Reader::extents`] gives them. Hard links are
    /// names of one inode again.
    ///
    /// # Errors
    /// The first inode that is not valid; a directory with two names; inline data of a regular
    /// file, which a [`Tree`] can't hold.
    pub fn read_tree(&self) -> Result<Tree, ReadError> {
        let root = self.root()?;
        let mut tree = Tree::new(self.metadata(&root)?);
        tree.compression = self.compression()?;
        let mut ids = BTreeMap::from([(root.nid, Tree::ROOT)]);
        let mut pending = vec![(Tree::ROOT, root)];
        while let Some((id, directory)) = pending.pop() {
            for entry in self.read_dir(&directory)? {
                if matches!(&*entry.name, b"." | b"..") {
                    continue;
                }
                let child = match ids.get(&entry.nid) {
                    Some(&child) if tree.directory(child).is_none() => child,
                    Some(_) => return Err(directory.corrupt("names a directory a second time")),
                    None => self.add(&mut tree, &mut pending, entry.nid)?,
                };
                ids.insert(entry.nid, child);
                let names = tree.directory_mut(id);
                if names.is_some_and(|names| names.insert(entry.name, child).is_some()) {
                    return Err(directory.corrupt("holds a name twice"));
                }
            }
        }
        Ok(tree)
    }

    fn add(
        &self,
        tree: &mut Tree,
        pending: &mut Vec<(InodeId, ReadInode)>,
        nid: u64,
    ) -> Result<InodeId, ReadError> {
        let inode = self.inode(nid)?;
        let content = self.content(&inode)?;
        let id = tree.add(Inode {
            metadata: self.metadata(&inode)?,
            content,
        });
        if inode.file_type == FileType::Directory {
            pending.push((id, inode));
        }
        Ok(id)
    }

    fn metadata(&self, inode: &ReadInode) -> Result<Metadata, ReadError> {
        Ok(Metadata {
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime,
            mtime_nsec: inode.mtime_nsec,
            xattrs: self.xattrs(inode)?,
        })
    }

    fn content(&self, inode: &ReadInode) -> Result<Content, ReadError> {
        let (major, minor) = inode.device().unwrap_or_default();
        Ok(match inode.file_type {
            FileType::Regular if is_compressed(inode) && inode.size > 0 => {
                Content::Compressed(self.clusters(inode)?)
            }
            FileType::Regular => Content::Regular(FileData {
                size: inode.size,
                extents: self.extents(inode)?,
            }),
            FileType::Directory => Content::Directory(Directory::new()),
            FileType::Symlink => Content::Symlink(self.read_link(inode)?.into()),
            FileType::CharDevice => Content::CharDevice { major, minor },
            FileType::BlockDevice => Content::BlockDevice { major, minor },
            FileType::Fifo => Content::Fifo,
            FileType::Socket => Content::Socket,
        })
    }
}
