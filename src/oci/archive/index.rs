//! Where an archive's members lie. An archive may come from anywhere: what it claims is bounded,
//! and what no tool writes is refused by name.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{self, BufReader};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::Error;
use crate::layer::tar::{self, Header, Kind, Reader};

/// Members of one archive, folders included. An image has two for each layer.
const MAX_MEMBERS: usize = 100_000;
/// Bytes of all names and link targets together.
const MAX_NAMES: usize = 16 << 20;
/// Links that lead to a file one after the other.
const MAX_LINKS: usize = 16;
/// Headers are read in pieces of so many bytes: most of what lies between them is not wanted.
const WINDOW: usize = 4096;

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Refused {
    #[error(transparent)]
    Tar(#[from] tar::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("member {name:?}: {reason}")]
    Member { name: String, reason: &'static str },
    #[error("more than {MAX_MEMBERS} members")]
    Members,
    #[error("more than {MAX_NAMES} bytes of names")]
    Names,
}

impl Refused {
    fn member(name: &[u8], reason: &'static str) -> Self {
        let name = String::from_utf8_lossy(name).chars().take(300).collect();
        Self::Member { name, reason }
    }

    /// As the error of the archive at `path`.
    pub(in super::super) fn of(self, what: &'static str, path: &Path) -> Error {
        Error::NotA {
            what,
            path: path.to_owned(),
            reason: self.to_string(),
        }
    }
}

/// Where a file's bytes lie in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) len: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Member {
    File(Extent),
    /// The name of another member.
    Link(Box<[u8]>),
}

/// The members by name. Folders are left out: nobody asks for one.
#[derive(Debug, Default)]
pub(super) struct Index {
    members: BTreeMap<Box<[u8]>, Member>,
}

impl Index {
    /// Walks the headers of `file`.
    pub(super) fn read(file: &File) -> Result<Self, Refused> {
        let end = file.metadata()?.len();
        let mut reader = Reader::new(BufReader::with_capacity(WINDOW, file));
        let mut index = Self::default();
        let (mut count, mut names) = (0, 0);
        while let Some(header) = reader.next_entry()? {
            count += 1;
            names += header.path.len() + header.link.len();
            if count > MAX_MEMBERS {
                return Err(Refused::Members);
            }
            if names > MAX_NAMES {
                return Err(Refused::Names);
            }
            if let Some((name, member)) = member(&header, &reader.data(), end)? {
                index.add(file, name, member)?;
            }
            reader.seek_past()?;
        }
        Ok(index)
    }

    fn add(&mut self, file: &File, name: Box<[u8]>, member: Member) -> Result<(), Refused> {
        match self.members.entry(name) {
            Entry::Vacant(vacant) => {
                vacant.insert(member);
                Ok(())
            }
            // Some writers repeat a config that two tags share. Of two that differ, tools would
            // take one or the other.
            Entry::Occupied(first) if same(file, first.get(), &member)? => Ok(()),
            Entry::Occupied(first) => Err(Refused::member(
                first.key(),
                "it is there twice, with different contents",
            )),
        }
    }

    /// The file of that name, links followed.
    pub(super) fn find(&self, name: &str) -> Result<Option<Extent>, Refused> {
        let mut at = clean(name.as_bytes()).map_err(|why| Refused::member(name.as_bytes(), why))?;
        for _ in 0..=MAX_LINKS {
            match self.members.get(&at) {
                None => return Ok(None),
                Some(Member::File(extent)) => return Ok(Some(*extent)),
                Some(Member::Link(target)) => at.clone_from(target),
            }
        }
        Err(Refused::member(
            name.as_bytes(),
            "its links lead to no file, or through too many",
        ))
    }
}

type Named = (Box<[u8]>, Member);

/// What a header stands for; `None` for what holds no bytes.
fn member(header: &Header, data: &Range<u64>, end: u64) -> Result<Option<Named>, Refused> {
    let bad = |reason| Refused::member(&header.path, reason);
    let name = clean(&header.path).map_err(bad)?;
    let member = match header.kind {
        Kind::Regular => {
            let len = data.end - data.start;
            let stored: u64 = header.segments.iter().map(|segment| segment.len).sum();
            if header.size != len || stored != len {
                return Err(bad("a sparse file cannot be read in place"));
            }
            if data.end > end {
                return Err(bad("the archive ends within it"));
            }
            let offset = data.start;
            Member::File(Extent { offset, len })
        }
        Kind::Symlink => Member::Link(beside(&name, &header.link).map_err(bad)?),
        Kind::HardLink => Member::Link(clean(&header.link).map_err(|_| bad(OUTSIDE))?),
        Kind::Directory | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => return Ok(None),
    };
    Ok(Some((name, member)))
}

const OUTSIDE: &str = "it is a link out of the archive";

/// The name without empty and `.` components.
fn clean(raw: &[u8]) -> Result<Box<[u8]>, &'static str> {
    if raw.starts_with(b"/") {
        return Err("its name is absolute");
    }
    if raw.contains(&0) {
        return Err("its name has a NUL byte");
    }
    let mut components = Vec::new();
    for component in raw.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err("its name has a .. component"),
            other => components.push(other),
        }
    }
    Ok(components.join(&b'/').into())
}

/// The name that a symlink called `name` leads to: relative to its folder, within the archive.
fn beside(name: &[u8], target: &[u8]) -> Result<Box<[u8]>, &'static str> {
    if target.starts_with(b"/") {
        return Err(OUTSIDE);
    }
    let mut components: Vec<&[u8]> = name.split(|byte| *byte == b'/').collect();
    components.pop();
    for component in target.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(components.pop().ok_or(OUTSIDE)?),
            other => components.push(other),
        }
    }
    Ok(components.join(&b'/').into())
}

/// True for two members of one name that are the same.
fn same(file: &File, one: &Member, other: &Member) -> io::Result<bool> {
    let (Member::File(one), Member::File(other)) = (one, other) else {
        return Ok(one == other);
    };
    if one.len != other.len {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut at = 0;
    while at < one.len {
        let len = usize::try_from(one.len - at).unwrap_or(usize::MAX);
        let len = len.min(left.len());
        let (Some(left), Some(right)) = (left.get_mut(..len), right.get_mut(..len)) else {
            break;
        };
        file.read_exact_at(left, one.offset + at)?;
        file.read_exact_at(right, other.offset + at)?;
        if left != right {
            return Ok(false);
        }
        at += len as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_within_the_archive() {
        let to = |name: &str, target: &str| {
            beside(name.as_bytes(), target.as_bytes())
                .map(|found| String::from_utf8(found.into()).unwrap())
        };
        assert_eq!(to("a/layer.tar", "../b/layer.tar").unwrap(), "b/layer.tar");
        assert_eq!(to("a/layer.tar", "./x//y").unwrap(), "a/x/y");
        assert_eq!(to("top", "b").unwrap(), "b");
        assert_eq!(to("a/b", "../../c"), Err(OUTSIDE));
        assert_eq!(to("a/b", "/etc/passwd"), Err(OUTSIDE));
    }

    #[test]
    fn names() {
        assert_eq!(clean(b"./a//b/.").unwrap().into_vec(), b"a/b");
        for bad in [&b"/a"[..], b"a/../b", b"..", b"a\0b"] {
            assert!(clean(bad).is_err());
        }
    }
}
