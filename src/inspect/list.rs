//! Files in a disk's store, as `ls -l` would show them.

use std::fmt;

use i2kit_contract::LABEL_STORE;
use i2kit_format::ReadAt;
use i2kit_format::erofs::{FileType, ReadInode, Reader};
use i2kit_format::gpt;

use super::{Error, window};

/// A file and its metadata.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Relative to what was listed; raw bytes, shown with escapes.
    pub path: Vec<u8>,
    /// A symlink's target.
    pub target: Option<Vec<u8>>,
    inode: ReadInode,
}

/// Lists `path`, a file or a folder of the store; `recursive` goes into folders.
///
/// # Errors
/// [`Error`] when the path is not there or the store cannot be read.
pub fn list(disk: &dyn ReadAt, path: &str, recursive: bool) -> Result<Vec<Listed>, Error> {
    let table = gpt::read(disk)?;
    let store = window(disk, &table, LABEL_STORE)?;
    let reader = Reader::open(&store)?;
    let path = path.trim_matches('/');
    let found = if path.is_empty() {
        Some(reader.root()?)
    } else {
        reader.lookup(path.as_bytes())?
    };
    let start = found.ok_or_else(|| Error::NoFile(format!("store/{path}")))?;
    if start.file_type != FileType::Directory {
        return Ok(vec![listed(&reader, path.as_bytes().to_vec(), start)?]);
    }
    let mut out = Vec::new();
    let mut stack = vec![(Vec::new(), start)];
    while let Some((prefix, folder)) = stack.pop() {
        let mut below = Vec::new();
        for entry in reader.read_dir(&folder)? {
            if matches!(&*entry.name, b"." | b"..") {
                continue;
            }
            let path = [&prefix, &*entry.name].concat();
            let inode = reader.inode(entry.nid)?;
            if recursive && inode.file_type == FileType::Directory {
                below.push(([&path[..], b"/"].concat(), inode.clone()));
            }
            out.push(listed(&reader, path, inode)?);
        }
        stack.extend(below.into_iter().rev());
    }
    Ok(out)
}

fn listed<R: ReadAt + ?Sized>(
    reader: &Reader<'_, R>,
    path: Vec<u8>,
    inode: ReadInode,
) -> Result<Listed, Error> {
    let target = match inode.file_type {
        FileType::Symlink => Some(reader.read_link(&inode)?),
        _ => None,
    };
    Ok(Listed {
        path,
        target,
        inode,
    })
}

impl fmt::Display for Listed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inode = &self.inode;
        let size = match inode.device() {
            Some((major, minor)) => format!("{major},{minor}"),
            None => inode.size.to_string(),
        };
        let (uid, gid, nlink) = (inode.uid, inode.gid, inode.nlink);
        write!(
            out,
            "{} {nlink:>3} {uid:>5} {gid:>5} {size:>10} ",
            mode(inode)
        )?;
        write!(out, "{:>10} {}", inode.mtime, self.path.escape_ascii())?;
        match &self.target {
            Some(target) => write!(out, " -> {}", target.escape_ascii()),
            None => Ok(()),
        }
    }
}

/// As `ls` writes it: `drwxr-sr-t`.
fn mode(inode: &ReadInode) -> String {
    let kind = match inode.file_type {
        FileType::Regular => '-',
        FileType::Directory => 'd',
        FileType::CharDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::Symlink => 'l',
    };
    let bit = |mask, set, unset| if inode.mode & mask == 0 { unset } else { set };
    let last = |special, execute, both, only| match (inode.mode & special, inode.mode & execute) {
        (0, 0) => '-',
        (0, _) => 'x',
        (_, 0) => only,
        _ => both,
    };
    let owner = [
        bit(0o400, 'r', '-'),
        bit(0o200, 'w', '-'),
        last(0o4000, 0o100, 's', 'S'),
    ];
    let group = [
        bit(0o040, 'r', '-'),
        bit(0o020, 'w', '-'),
        last(0o2000, 0o010, 's', 'S'),
    ];
    let other = [
        bit(0o004, 'r', '-'),
        bit(0o002, 'w', '-'),
        last(0o1000, 0o001, 't', 'T'),
    ];
    [kind]
        .into_iter()
        .chain(owner)
        .chain(group)
        .chain(other)
        .collect()
}
