//! The order in which inodes are written, their link counts, and their paths for messages.

use super::format::NAME_LEN;
use super::write::Error;
use super::{Content, Directory, Inode, InodeId, Tree};

/// What the walk learns of an inode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'t> {
    /// The directory that names it first.
    pub parent: InodeId,
    /// Its name there.
    pub name: &'t [u8],
    /// `st_nlink`.
    pub links: u32,
}

/// All inodes that the root reaches.
#[derive(Debug)]
pub(super) struct Walk<'t> {
    tree: &'t Tree,
    /// Children of a directory stand together, and a subtree stands together: listing a directory
    /// and descending from it both read neighbouring metadata blocks. The root is the first, since
    /// its nid must fit a u16.
    pub order: Vec<(InodeId, &'t Inode)>,
    /// By [`InodeId`].
    seen: Vec<Option<Seen<'t>>>,
}

impl<'t> Walk<'t> {
    pub(super) fn new(tree: &'t Tree) -> Result<Self, Error> {
        let root = tree.get(Tree::ROOT).ok_or(Error::NoRoot)?;
        let mut walk = Self {
            tree,
            order: Vec::new(),
            seen: vec![None; tree.len()],
        };
        walk.visit(Tree::ROOT, Tree::ROOT, b"", root);
        let mut pending = vec![(Tree::ROOT, tree.directory(Tree::ROOT).ok_or(Error::NoRoot)?)];
        while let Some((id, directory)) = pending.pop() {
            let before = pending.len();
            for (name, &child) in directory {
                pending.extend(walk.enter(id, name, child)?);
            }
            if let Some(added) = pending.get_mut(before..) {
                added.reverse();
            }
        }
        Ok(walk)
    }

    /// Notes one name; gives back a directory that is to be walked.
    fn enter(
        &mut self,
        parent: InodeId,
        name: &'t [u8],
        child: InodeId,
    ) -> Result<Option<(InodeId, &'t Directory)>, Error> {
        let path = |walk: &Self| join(&walk.path(parent), name);
        if matches!(name, b"" | b"." | b"..")
            || name.len() > NAME_LEN
            || name.iter().any(|b| matches!(b, 0 | b'/'))
        {
            return Err(Error::Name { path: path(self) });
        }
        let Some(inode) = self.tree.get(child) else {
            return Err(Error::Dangling { path: path(self) });
        };
        let directory = self.tree.directory(child);
        match self.slot(child) {
            Some(_) if directory.is_some() => {
                return Err(Error::DirectoryTwice { path: path(self) });
            }
            Some(seen) => {
                seen.links = seen.links.saturating_add(1);
                return Ok(None);
            }
            None => self.visit(parent, child, name, inode),
        }
        if directory.is_some()
            && let Some(seen) = self.slot(parent)
        {
            seen.links = seen.links.saturating_add(1);
        }
        Ok(directory.map(|directory| (child, directory)))
    }

    fn visit(&mut self, parent: InodeId, id: InodeId, name: &'t [u8], inode: &'t Inode) {
        let links = if matches!(inode.content, Content::Directory(_)) {
            2
        } else {
            1
        };
        if let Some(slot) = self.seen.get_mut(id.0 as usize) {
            *slot = Some(Seen {
                parent,
                name,
                links,
            });
        }
        self.order.push((id, inode));
    }

    fn slot(&mut self, id: InodeId) -> Option<&mut Seen<'t>> {
        self.seen.get_mut(id.0 as usize)?.as_mut()
    }

    pub(super) fn seen(&self, id: InodeId) -> Option<&Seen<'t>> {
        self.seen.get(id.0 as usize)?.as_ref()
    }

    /// The path by which the inode was met first.
    pub(super) fn path(&self, id: InodeId) -> String {
        let mut names = Vec::new();
        let mut at = id;
        while at != Tree::ROOT
            && let Some(seen) = self.seen(at)
        {
            names.push(seen.name);
            at = seen.parent;
        }
        names
            .iter()
            .rev()
            .fold(String::from("/"), |path, name| join(&path, name))
    }
}

fn join(path: &str, name: &[u8]) -> String {
    let slash = if path.ends_with('/') { "" } else { "/" };
    format!("{path}{slash}{}", String::from_utf8_lossy(name))
}
