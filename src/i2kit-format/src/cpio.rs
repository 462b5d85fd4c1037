//! Initial RAM file systems: newc cpio archives (kernel
//! `Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! Headers come from the `cpio` crate; the bytes of files are never passed through it, since a
//! planned [`Layout`] puts them where they belong without a copy. Owner, times and devices are 0
//! and inode numbers count up, so that equal entries give equal bytes.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::ops::Range;

use cpio::newc;

use crate::layout::{Content, Layout, Piece};

/// The longest path: the kernel skips an entry whose name, with its NUL, exceeds `PATH_MAX`.
const MAX_PATH: usize = 4095;
/// The name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";
/// File type bits of a mode (`stat(2)`).
const S_IFMT: u32 = 0o170_000;

/// One file of an initramfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative, `/` between components, none of them empty, `.` or `..`. A directory comes
    /// before what it holds: the kernel makes no parents.
    pub path: String,
    /// Permission, setuid, setgid and sticky bits (`0o7777`).
    pub mode: u16,
    /// Type and data.
    pub kind: Kind,
}

/// What kind of file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    Regular {
        /// Which of the layout's inputs holds its bytes.
        input: usize,
        /// Bytes, below 4 GiB.
        size: u64,
    },
    /// A symbolic link's target, 1..=4095 bytes.
    Symlink(String),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// An entry of an archive that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedEntry {
    /// As the archive has it.
    pub path: String,
    /// Type and permission bits, as in `stat(2)`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Inode number.
    pub ino: u32,
    /// Where its data lies in the archive, bytes.
    pub data: Range<usize>,
}

/// An archive that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(
        "write cpio: path {0:?} is not relative, of 1 to {MAX_PATH} bytes, without NUL and without \
         empty, \".\" or \"..\" components"
    )]
    Path(String),
    #[error("write cpio: \"{TRAILER}\" would end the archive")]
    Trailer,
    #[error("write cpio: {0:?} is there twice")]
    Duplicate(String),
    #[error("write cpio: {0:?} comes before its directory, or has none")]
    NoParent(String),
    #[error("write cpio: {path:?} has mode {mode:#o}, at most 0o7777")]
    Mode { path: String, mode: u16 },
    #[error("write cpio: {path:?} has {size} bytes, newc holds files below 4 GiB")]
    FileTooLarge { path: String, size: u64 },
    #[error("write cpio: symbolic link {0:?} has no target of 1 to {MAX_PATH} bytes without NUL")]
    Target(String),
    #[error("write cpio: more entries than inode numbers")]
    TooManyEntries,
    #[error("write cpio: header of {path:?}: {source}")]
    Header {
        path: String,
        source: std::io::Error,
    },
    #[error("read cpio: entry {number}: {source}")]
    Read {
        number: usize,
        source: std::io::Error,
    },
    #[error("read cpio: {path:?} has data past the archive's end")]
    Truncated { path: String },
}

/// Plans an archive of these entries, in this order.
///
/// # Errors
/// [`Error`] when a path is bad, there twice or not in a directory, or a file is too large.
pub fn plan(entries: &[Entry]) -> Result<Layout, Error> {
    check_paths(entries)?;
    let mut archive = Archive::default();
    for (index, entry) in entries.iter().enumerate() {
        let ino = u32::try_from(index)
            .ok()
            .and_then(|index| index.checked_add(1));
        archive.entry(entry, ino.ok_or(Error::TooManyEntries)?)?;
    }
    archive.bytes = newc::trailer(archive.bytes).map_err(|source| Error::Header {
        path: TRAILER.to_owned(),
        source,
    })?;
    Ok(archive.finish())
}

fn check_paths(entries: &[Entry]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    let mut directories = BTreeSet::new();
    for Entry { path, mode, kind } in entries {
        let bad = |component: &str| matches!(component, "" | "." | "..");
        if path.len() > MAX_PATH || path.contains('\0') || path.split('/').any(bad) {
            return Err(Error::Path(path.clone()));
        }
        if path == TRAILER {
            return Err(Error::Trailer);
        }
        if *mode > 0o7777 {
            return Err(Error::Mode {
                path: path.clone(),
                mode: *mode,
            });
        }
        if path
            .rsplit_once('/')
            .is_some_and(|(parent, _)| !directories.contains(parent))
        {
            return Err(Error::NoParent(path.clone()));
        }
        if !seen.insert(path.as_str()) {
            return Err(Error::Duplicate(path.clone()));
        }
        if *kind == Kind::Directory {
            directories.insert(path.as_str());
        }
    }
    Ok(())
}

/// The archive so far: finished pieces, then bytes that are not a piece yet.
#[derive(Default)]
struct Archive {
    pieces: Vec<Piece>,
    /// Where `bytes` start.
    offset: u64,
    bytes: Vec<u8>,
}

impl Archive {
    fn entry(&mut self, entry: &Entry, ino: u32) -> Result<(), Error> {
        let error = |source| Error::Header {
            path: entry.path.clone(),
            source,
        };
        let size = data_size(entry)?;
        // An unfinished entry of the crate's writer is its header alone, padded to 4 bytes.
        let buffer = std::mem::take(&mut self.bytes);
        self.bytes = header(entry, ino)
            .write(buffer, size)
            .finish()
            .map_err(error)?;
        match &entry.kind {
            Kind::Symlink(target) => self.bytes.extend(target.as_bytes()),
            Kind::Regular { input, size } if *size > 0 => self.input(*input, *size),
            _ => (),
        }
        let end = self.offset + self.bytes.len() as u64;
        let padding = end.next_multiple_of(4) - end;
        self.bytes.extend((0..padding).map(|_| 0));
        Ok(())
    }

    fn input(&mut self, index: usize, size: u64) {
        self.flush();
        self.pieces.push(Piece {
            offset: self.offset,
            content: Content::Input { index, size },
        });
        self.offset += size;
    }

    fn flush(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if !bytes.is_empty() {
            let offset = self.offset;
            self.offset += bytes.len() as u64;
            self.pieces.push(Piece {
                offset,
                content: Content::Bytes(bytes),
            });
        }
    }

    fn finish(mut self) -> Layout {
        self.flush();
        Layout {
            size: self.offset,
            pieces: self.pieces,
        }
    }
}

fn data_size(entry: &Entry) -> Result<u32, Error> {
    match &entry.kind {
        Kind::Regular { size, .. } => u32::try_from(*size).map_err(|_| Error::FileTooLarge {
            path: entry.path.clone(),
            size: *size,
        }),
        Kind::Symlink(target) => u32::try_from(target.len())
            .ok()
            .filter(|len| {
                usize::try_from(*len).is_ok_and(|len| (1..=MAX_PATH).contains(&len))
                    && !target.contains('\0')
            })
            .ok_or_else(|| Error::Target(entry.path.clone())),
        _ => Ok(0),
    }
}

fn header(entry: &Entry, ino: u32) -> newc::Builder {
    let (file_type, (major, minor)) = match entry.kind {
        Kind::Directory => (newc::ModeFileType::Directory, (0, 0)),
        Kind::Regular { .. } => (newc::ModeFileType::Regular, (0, 0)),
        Kind::Symlink(_) => (newc::ModeFileType::Symlink, (0, 0)),
        Kind::CharDevice { major, minor } => (newc::ModeFileType::Char, (major, minor)),
        Kind::BlockDevice { major, minor } => (newc::ModeFileType::Block, (major, minor)),
        Kind::Fifo => (newc::ModeFileType::Fifo, (0, 0)),
    };
    let links = if entry.kind == Kind::Directory { 2 } else { 1 };
    newc::Builder::new(&entry.path)
        .ino(ino)
        .mode(u32::from(entry.mode))
        .set_mode_file_type(file_type)
        .nlink(links)
        .rdev_major(major)
        .rdev_minor(minor)
}

/// Lists an uncompressed archive, up to its trailer.
///
/// # Errors
/// [`Error::Read`] at the first damaged header or a missing trailer, [`Error::Truncated`] when
/// data runs past the end.
pub fn read(archive: &[u8]) -> Result<Vec<ListedEntry>, Error> {
    let mut listed = Vec::new();
    let mut cursor = Cursor::new(archive);
    loop {
        let error = |source| Error::Read {
            number: listed.len() + 1,
            source,
        };
        let mut reader = newc::Reader::new(cursor).map_err(error)?;
        if reader.entry().is_trailer() {
            return Ok(listed);
        }
        let start = reader.offset().map_err(error)?;
        let entry = list(reader.entry(), start, archive.len())?;
        cursor = reader.skip().map_err(error)?;
        listed.push(entry);
    }
}

fn list(entry: &newc::Entry, start: u64, len: usize) -> Result<ListedEntry, Error> {
    let truncated = || Error::Truncated {
        path: entry.name().to_owned(),
    };
    let end = start
        .checked_add(u64::from(entry.file_size()))
        .ok_or_else(truncated)?;
    let start = usize::try_from(start).map_err(|_| truncated())?;
    let end = usize::try_from(end)
        .ok()
        .filter(|end| *end <= len)
        .ok_or_else(truncated)?;
    Ok(ListedEntry {
        path: entry.name().to_owned(),
        mode: entry.mode(),
        uid: entry.uid(),
        gid: entry.gid(),
        mtime: entry.mtime(),
        ino: entry.ino(),
        data: start..end,
    })
}

impl ListedEntry {
    /// True for a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.mode & S_IFMT == 0o040_000
    }
}
