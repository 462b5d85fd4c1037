//! Replays a layer's entries onto a directory of a tree, as containerd's applier does to a real
//! directory (containerd 1.6 `archive/tar.go` `applyNaive`, continuity `fs/path.go` `RootPath`).
//!
//! Known deviations, all because there is no clock here or because a disk image can do better:
//! parents that no layer mentions get time 0 instead of now; a directory that the layer does not
//! mention keeps its time when something in it changes; times before 1970 are kept.

use std::collections::HashSet;

use i2kit_format::erofs::{
    CompressedFile, Content, Directory, FileData, Inode, InodeId, Metadata, Tree,
};

use crate::layer::{Entry, EntryKind};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// `RootPath` gives up after as many symlinks.
const MAX_SYMLINKS: usize = 255;

/// An entry that cannot be applied to the layers below.
#[derive(Debug, thiserror::Error)]
#[error("entry {path:?}: {reason}")]
pub struct Error {
    path: String,
    reason: Reason,
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("a component of its path is not a directory")]
    NotADirectory,
    #[error("its path runs through too many symlinks")]
    TooManySymlinks,
    #[error("the hard link's target does not exist")]
    NoTarget,
    #[error("the hard link's target is a directory")]
    DirectoryTarget,
    #[error("a whiteout of nothing")]
    Whiteout,
}

type Name = Box<[u8]>;

/// Applies `entries` in order below `root`, a directory of `tree`. `first_block` is added to the
/// block number of every extent.
///
/// # Errors
/// [`Error`] naming the entry; the tree is then of no use.
pub fn apply(
    tree: &mut Tree,
    root: InodeId,
    entries: &[Entry],
    first_block: u64,
) -> Result<(), Error> {
    let mut applier = Applier {
        tree,
        root,
        first_block,
        unpacked: HashSet::new(),
    };
    entries.iter().try_for_each(|entry| {
        applier.entry(entry).map_err(|reason| Error {
            path: String::from_utf8_lossy(&entry.path)
                .chars()
                .take(300)
                .collect(),
            reason,
        })
    })
}

struct Applier<'a> {
    tree: &'a mut Tree,
    root: InodeId,
    first_block: u64,
    /// Resolved paths that this layer has made: an opaque whiteout spares them, wherever in the
    /// layer it stands.
    unpacked: HashSet<Box<[u8]>>,
}

impl Applier<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<(), Reason> {
        let (parent_path, name) = split(&entry.path);
        if name.is_empty() {
            // The root's own entry is ignored, as there.
            return Ok(());
        }
        let parent_path = self.resolve(parent_path)?;
        let parent = self.make_parents(&parent_path)?;
        if name == OPAQUE {
            self.clear(parent, &parent_path);
        } else if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(Reason::Whiteout);
            }
            self.remove(parent, hidden);
        } else {
            self.make(entry, parent, name)?;
            self.unpacked.insert(joined(&parent_path, name));
        }
        Ok(())
    }

    fn make(&mut self, entry: &Entry, parent: InodeId, name: &[u8]) -> Result<(), Reason> {
        let existing = self.child(parent, name);
        if entry.kind == EntryKind::Directory
            && let Some(id) = existing.filter(|id| self.tree.directory(*id).is_some())
        {
            self.update(id, &entry.metadata);
            return Ok(());
        }
        self.remove(parent, name);
        let id = match &entry.kind {
            EntryKind::HardLink(target) => {
                let id = self.link_target(target)?;
                self.update(id, &entry.metadata);
                id
            }
            kind => {
                let content = content(kind, self.first_block);
                self.tree.add(Inode {
                    metadata: entry.metadata.clone(),
                    content,
                })
            }
        };
        self.name(parent, name, id);
        Ok(())
    }

    /// Owner, mode, times and attributes over those that an inode has.
    fn update(&mut self, id: InodeId, metadata: &Metadata) {
        let Some(inode) = self.tree.get_mut(id) else {
            return;
        };
        let mut xattrs = std::mem::take(&mut inode.metadata.xattrs);
        if !matches!(inode.content, Content::Directory(_)) {
            // The chown of a hard link's entry strips these (kernel `fs/attr.c`, ATTR_KILL_PRIV).
            xattrs.remove(&b"security.capability"[..]);
        }
        let mode = match inode.content {
            Content::Symlink(_) => inode.metadata.mode,
            _ => metadata.mode,
        };
        xattrs.extend(metadata.xattrs.clone());
        inode.metadata = Metadata {
            mode,
            xattrs,
            ..metadata.clone()
        };
    }

    fn link_target(&self, target: &[u8]) -> Result<InodeId, Reason> {
        let (parent, name) = split(target);
        let parent = self.resolve(parent)?;
        let found = self
            .find(&parent)
            .and_then(|parent| self.child(parent, name));
        let id = found.ok_or(Reason::NoTarget)?;
        if self.tree.directory(id).is_some() {
            Err(Reason::DirectoryTarget)
        } else {
            Ok(id)
        }
    }

    /// The path without symlinks, as far as it exists. Targets are cleaned as text, as Go's
    /// `filepath.Join` does, so `..` never leaves the root.
    fn resolve(&self, path: &[u8]) -> Result<Vec<Name>, Reason> {
        let mut names = Vec::new();
        push_cleaned(&mut names, path);
        let mut links = 0;
        'again: loop {
            let mut here = self.root;
            for at in 0..names.len() {
                let Some(name) = names.get(at) else { break };
                let Some(entries) = self.tree.directory(here) else {
                    return Err(Reason::NotADirectory);
                };
                let Some(id) = entries.get(name) else { break };
                here = *id;
                if let Some(Content::Symlink(target)) = self.tree.get(*id).map(|one| &one.content) {
                    links += 1;
                    if links > MAX_SYMLINKS {
                        return Err(Reason::TooManySymlinks);
                    }
                    let rest = names.split_off(at + 1);
                    names.truncate(if target.starts_with(b"/") { 0 } else { at });
                    push_cleaned(&mut names, target);
                    names.extend(rest);
                    continue 'again;
                }
            }
            return Ok(names);
        }
    }

    /// The directory at a resolved path, made with what is missing above it.
    fn make_parents(&mut self, path: &[Name]) -> Result<InodeId, Reason> {
        let mut here = self.root;
        for name in path {
            here = match self.child(here, name) {
                Some(id) => id,
                None => {
                    let id = self.tree.add(super::merged::plain_directory());
                    self.name(here, name, id);
                    id
                }
            };
            if self.tree.directory(here).is_none() {
                return Err(Reason::NotADirectory);
            }
        }
        Ok(here)
    }

    fn find(&self, path: &[Name]) -> Option<InodeId> {
        path.iter()
            .try_fold(self.root, |here, name| self.child(here, name))
    }

    fn child(&self, parent: InodeId, name: &[u8]) -> Option<InodeId> {
        self.tree.directory(parent)?.get(name).copied()
    }

    fn name(&mut self, parent: InodeId, name: &[u8], id: InodeId) {
        if let Some(entries) = self.tree.directory_mut(parent) {
            entries.insert(name.into(), id);
        }
    }

    fn remove(&mut self, parent: InodeId, name: &[u8]) {
        if let Some(entries) = self.tree.directory_mut(parent) {
            entries.remove(name);
        }
    }

    /// Removes all below a directory that this layer has not unpacked itself.
    fn clear(&mut self, directory: InodeId, path: &[Name]) {
        let mut stack = vec![(directory, path.join(&b'/'))];
        while let Some((id, path)) = stack.pop() {
            let unpacked = &self.unpacked;
            let Some(entries) = self.tree.directory_mut(id) else {
                continue;
            };
            entries.retain(|name, _| unpacked.contains(&*join(&path, name)));
            let kept = entries.iter().map(|(name, id)| (*id, join(&path, name)));
            stack.extend(kept);
        }
    }
}

fn content(kind: &EntryKind, first_block: u64) -> Content {
    match kind {
        // Hard links were looked up before; one that gets here has no inode of its own.
        EntryKind::Directory | EntryKind::HardLink(_) => Content::Directory(Directory::new()),
        EntryKind::Regular(file) => Content::Regular(shifted(file, first_block)),
        EntryKind::Compressed(file) => Content::Compressed(shifted_clusters(file, first_block)),
        EntryKind::Symlink(target) => Content::Symlink(target.clone()),
        EntryKind::CharDevice { major, minor } => Content::CharDevice {
            major: *major,
            minor: *minor,
        },
        EntryKind::BlockDevice { major, minor } => Content::BlockDevice {
            major: *major,
            minor: *minor,
        },
        EntryKind::Fifo => Content::Fifo,
    }
}

/// A fragment's offset has the layer where a block has it.
fn shifted_clusters(file: &CompressedFile, first_block: u64) -> CompressedFile {
    let mut file = file.clone();
    for cluster in &mut file.clusters {
        cluster.start_block += first_block;
    }
    file.fragment = file.fragment.map(|offset| offset + first_block);
    file
}

fn shifted(file: &FileData, first_block: u64) -> FileData {
    let mut file = file.clone();
    file.extents
        .iter_mut()
        .for_each(|extent| extent.start_block += first_block);
    file
}

/// Parent and last name of a cleaned path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => {
            let (parent, name) = path.split_at(at);
            (parent, name.get(1..).unwrap_or_default())
        }
        None => (b"", path),
    }
}

/// Appends a path's names, `..` taking one away.
fn push_cleaned(names: &mut Vec<Name>, path: &[u8]) {
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name.into()),
        }
    }
}

fn joined(parent: &[Name], name: &[u8]) -> Box<[u8]> {
    join(&parent.join(&b'/'), name).into()
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        name.to_vec()
    } else {
        [parent, b"/", name].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: EntryKind) -> Entry {
        let metadata = Metadata {
            mode: 0o644,
            mtime: 7,
            ..Metadata::default()
        };
        Entry {
            path: path.as_bytes().into(),
            metadata,
            kind,
        }
    }

    fn file(path: &str, size: u64) -> Entry {
        entry(
            path,
            EntryKind::Regular(FileData {
                size,
                extents: Vec::new(),
            }),
        )
    }

    fn directory(path: &str) -> Entry {
        entry(path, EntryKind::Directory)
    }

    fn symlink(path: &str, target: &str) -> Entry {
        entry(path, EntryKind::Symlink(target.as_bytes().into()))
    }

    fn hard_link(path: &str, target: &str) -> Entry {
        entry(path, EntryKind::HardLink(target.as_bytes().into()))
    }

    /// Every path with a letter for its type, a file with its size, in order.
    fn list(layers: &[&[Entry]]) -> Result<String, String> {
        let mut tree = Tree::new(Metadata::default());
        for layer in layers {
            apply(&mut tree, Tree::ROOT, layer, 0).map_err(|error| error.to_string())?;
        }
        let mut out = Vec::new();
        let mut stack = vec![(Tree::ROOT, String::new())];
        while let Some((id, path)) = stack.pop() {
            for (name, id) in tree.directory(id).unwrap() {
                let path = format!("{path}/{}", String::from_utf8_lossy(name));
                match &tree.get(*id).unwrap().content {
                    Content::Directory(_) => stack.push((*id, path.clone())),
                    Content::Regular(file) => {
                        out.push(format!("{path}={}", file.size));
                        continue;
                    }
                    Content::Symlink(_) => {
                        out.push(format!("{path}@"));
                        continue;
                    }
                    _ => {}
                }
                out.push(format!("{path}/"));
            }
        }
        out.sort();
        Ok(out.join(" "))
    }

    #[test]
    fn whiteouts_and_opaque_directories() {
        let lower = [
            directory("a"),
            file("a/x", 1),
            file("a/y", 1),
            directory("a/d"),
            file("a/d/z", 1),
        ];
        assert_eq!(
            list(&[&lower, &[file("a/.wh.x", 0)]]).unwrap(),
            "/a/ /a/d/ /a/d/z=1 /a/y=1"
        );
        assert_eq!(
            list(&[&lower, &[file("a/.wh.d", 0)]]).unwrap(),
            "/a/ /a/x=1 /a/y=1"
        );
        // What the layer itself has unpacked survives, before and after the marker.
        let opaque = [
            file("a/new", 2),
            file("a/.wh..wh..opq", 0),
            file("a/late", 3),
        ];
        assert_eq!(list(&[&lower, &opaque]).unwrap(), "/a/ /a/late=3 /a/new=2");
        // A parent that was only made, not unpacked, does not.
        let opaque = [file("a/d/new", 2), file("a/.wh..wh..opq", 0)];
        assert_eq!(list(&[&lower, &opaque]).unwrap(), "/a/");
        // A plain whiteout removes even what its own layer has made.
        assert_eq!(list(&[&[file("b", 1), file(".wh.b", 0)]]).unwrap(), "");
        assert!(
            list(&[&[file(".wh.", 0)]])
                .unwrap_err()
                .contains("whiteout")
        );
        assert!(
            list(&[&[file(".wh...", 0)]])
                .unwrap_err()
                .contains("whiteout")
        );
    }

    #[test]
    fn types_replace_each_other() {
        let lower = [directory("a"), file("a/x", 1), file("f", 1)];
        assert_eq!(list(&[&lower, &[file("a", 2)]]).unwrap(), "/a=2 /f=1");
        assert_eq!(
            list(&[&lower, &[directory("a"), directory("f")]]).unwrap(),
            "/a/ /a/x=1 /f/"
        );
        assert_eq!(
            list(&[&lower, &[file("f", 2), file("f", 3)]]).unwrap(),
            "/a/ /a/x=1 /f=3"
        );
        // A directory over a symlink to one replaces the symlink.
        let layers: [&[Entry]; 2] = [&[directory("d"), symlink("s", "d")], &[directory("s")]];
        assert_eq!(list(&layers).unwrap(), "/d/ /s/");
    }

    #[test]
    fn paths_run_through_symlinks_inside_the_root() {
        let lower = [
            directory("usr"),
            directory("usr/lib"),
            symlink("lib", "usr/lib"),
        ];
        assert_eq!(
            list(&[&lower, &[file("lib/x", 1)]]).unwrap(),
            "/lib@ /usr/ /usr/lib/ /usr/lib/x=1"
        );
        let escape = [symlink("e", "../../../etc"), file("e/passwd", 1)];
        assert_eq!(list(&[&escape]).unwrap(), "/e@ /etc/ /etc/passwd=1");
        let absolute = [symlink("e", "/x/./y"), file("e/z", 1), file("e/z", 2)];
        assert_eq!(list(&[&absolute]).unwrap(), "/e@ /x/ /x/y/ /x/y/z=2");
        let endless = [symlink("a", "b"), symlink("b", "a"), file("a/x", 1)];
        assert!(list(&[&endless]).unwrap_err().contains("too many symlinks"));
        assert!(
            list(&[&[file("f", 1), file("f/x", 1)]])
                .unwrap_err()
                .contains("not a directory")
        );
        assert_eq!(list(&[&[file("m/n/o", 1)]]).unwrap(), "/m/ /m/n/ /m/n/o=1");
    }

    #[test]
    fn hard_links_share_an_inode_until_one_is_replaced() {
        let lower = [file("a", 1)];
        assert_eq!(
            list(&[&lower, &[hard_link("b", "a"), file("a", 2)]]).unwrap(),
            "/a=2 /b=1"
        );
        assert!(
            list(&[&lower, &[hard_link("a", "a")]])
                .unwrap_err()
                .contains("does not exist")
        );
        assert!(
            list(&[&[directory("d"), hard_link("x", "d")]])
                .unwrap_err()
                .contains("directory")
        );
        let mut tree = Tree::new(Metadata::default());
        let mut link = hard_link("b", "/a");
        link.metadata.uid = 9;
        apply(&mut tree, Tree::ROOT, &[file("a", 1), link], 0).unwrap();
        let root = tree.directory(Tree::ROOT).unwrap();
        assert_eq!(root[&b"a"[..]], root[&b"b"[..]]);
        assert_eq!(tree.get(root[&b"a"[..]]).unwrap().metadata.uid, 9);
    }

    #[test]
    fn a_directory_over_a_directory_changes_metadata_and_keeps_attributes() {
        let with = |name: &[u8], mode| {
            let mut entry = directory("d");
            entry.metadata.mode = mode;
            entry.metadata.xattrs.insert(name.into(), (*b"v").into());
            entry
        };
        let mut tree = Tree::new(Metadata::default());
        apply(
            &mut tree,
            Tree::ROOT,
            &[with(b"user.a", 0o755), with(b"user.b", 0o700)],
            0,
        )
        .unwrap();
        let id = tree.directory(Tree::ROOT).unwrap()[&b"d"[..]];
        let metadata = &tree.get(id).unwrap().metadata;
        assert_eq!((metadata.mode, metadata.xattrs.len()), (0o700, 2));
    }
}
