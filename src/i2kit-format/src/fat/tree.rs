//! The directories that a list of paths names.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{self, ShortName, Shortener};
use super::plan::NewFile;
use super::{Error, MAX_ENTRIES, MAX_PATH, disk::ENTRY};

/// Entries of the root directory; the usual number.
pub(super) const ROOT_ENTRIES: u16 = 512;
/// The most entries of another directory: drivers may refuse 2 MiB and more.
const MAX_SLOTS: usize = 65_535;

/// Index 0 is the root; a parent comes before its children.
pub(super) struct Tree {
    pub directories: Vec<Directory>,
}

#[derive(Default)]
pub(super) struct Directory {
    /// Empty for the root.
    pub path: String,
    pub parent: usize,
    children: BTreeMap<String, Child>,
    /// Names as FAT compares them.
    folded: BTreeSet<String>,
}

#[derive(Clone, Copy)]
pub(super) enum Child {
    Directory(usize),
    File(usize),
}

/// A named child, ready to be written.
pub(super) struct Slot<'a> {
    pub name: &'a str,
    pub short: ShortName,
    pub child: Child,
}

impl Tree {
    pub fn new(files: &[NewFile]) -> Result<Self, Error> {
        let mut tree = Self {
            directories: vec![Directory::default()],
        };
        for (index, file) in files.iter().enumerate() {
            tree.add(&file.path, index)?;
            if file.size > u64::from(u32::MAX) {
                return Err(Error::FileTooLarge {
                    path: file.path.clone(),
                    size: file.size,
                });
            }
        }
        let count = files.len() + tree.directories.len() - 1;
        if count > MAX_ENTRIES {
            return Err(Error::TooManyFiles { count });
        }
        Ok(tree)
    }

    fn add(&mut self, path: &str, file: usize) -> Result<(), Error> {
        let components: Vec<&str> = path.split('/').collect();
        if !components.iter().all(|name| names::is_valid(name)) {
            return Err(Error::Path(path.to_owned()));
        }
        let units = path.encode_utf16().count();
        if units > MAX_PATH {
            return Err(Error::PathTooLong {
                path: path.to_owned(),
                units,
            });
        }
        let Some((name, parents)) = components.split_last() else {
            return Ok(());
        };
        let mut at = 0;
        for parent in parents {
            at = self.descend(at, parent, path)?;
        }
        self.insert(at, name, Child::File(file), path)
    }

    fn descend(&mut self, at: usize, name: &str, path: &str) -> Result<usize, Error> {
        let directory = self.directories.get(at);
        match directory.and_then(|directory| directory.children.get(name)) {
            Some(Child::Directory(index)) => return Ok(*index),
            Some(Child::File(_)) => return Err(Error::Duplicate(path.to_owned())),
            None => (),
        }
        let index = self.directories.len();
        let above = directory.map_or("", |directory| directory.path.as_str());
        let full = if above.is_empty() {
            name.to_owned()
        } else {
            format!("{above}/{name}")
        };
        self.insert(at, name, Child::Directory(index), path)?;
        self.directories.push(Directory {
            path: full,
            parent: at,
            ..Directory::default()
        });
        Ok(index)
    }

    fn insert(&mut self, at: usize, name: &str, child: Child, path: &str) -> Result<(), Error> {
        let Some(directory) = self.directories.get_mut(at) else {
            return Ok(());
        };
        if !directory.folded.insert(name.to_uppercase()) {
            return Err(Error::Duplicate(path.to_owned()));
        }
        directory.children.insert(name.to_owned(), child);
        Ok(())
    }
}

impl Directory {
    fn is_root(&self) -> bool {
        self.path.is_empty()
    }

    /// The children in the order of their names.
    pub fn slots(&self) -> Result<Vec<Slot<'_>>, Error> {
        let mut shortener = Shortener::new(&self.folded);
        let slots = self.children.iter().map(|(name, child)| {
            let short = shortener.shorten(name).ok_or_else(|| self.full())?;
            Ok(Slot {
                name,
                short,
                child: *child,
            })
        });
        slots.collect()
    }

    /// Bytes of its entries: with the label in the root, with `.` and `..` elsewhere.
    pub fn size(&self, slots: &[Slot<'_>]) -> Result<u64, Error> {
        let entries = slots.iter().map(|slot| {
            let long = if slot.short.needs_long {
                names::long_entry_count(slot.name)
            } else {
                0
            };
            long + 1
        });
        let fixed = if self.is_root() { 1 } else { 2 };
        let count = entries.sum::<usize>() + fixed;
        let max = if self.is_root() {
            usize::from(ROOT_ENTRIES)
        } else {
            MAX_SLOTS
        };
        if count > max {
            Err(self.full())
        } else {
            Ok((count * ENTRY) as u64)
        }
    }

    fn full(&self) -> Error {
        Error::DirectoryFull {
            path: format!("/{}", self.path),
        }
    }
}
