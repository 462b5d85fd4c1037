//! A streaming tar reader for image layers.
//!
//! The `tar` crate is not used: it knows neither PAX sparse files nor sparse files longer than
//! memory-cheap zeros, applies global headers that Go's `archive/tar` (and so containerd) ignores,
//! and bounds no extended header. What a header means is Go's reading of POSIX.1-2001 (pax) and
//! GNU tar, since that is what made and what unpacks nearly all layers.

mod header;
mod pax;
mod sparse;

use std::io::{self, Read, Seek};
use std::ops::Range;

use header::{BLOCK, RawHeader};
use pax::Pax;
pub use sparse::Segment;

/// PAX headers and GNU long names may be this long.
const MAX_EXTENSION: u64 = 1 << 20;
/// A file may be this long, as in Go: offsets are signed.
const MAX_STORED: u64 = i64::MAX as u64;

/// What a tar header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name, raw.
    pub path: Vec<u8>,
    /// The link's target, raw.
    pub link: Vec<u8>,
    /// Type.
    pub kind: Kind,
    /// Permission bits and setuid, setgid, sticky.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds.
    pub mtime_nsec: u32,
    /// Device numbers.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The file's size, holes included.
    pub size: u64,
    /// Where the data that follows belongs; what no segment covers is zeros.
    pub segments: Vec<Segment>,
}

/// Type of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kind {
    Regular,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// Why a stream is no tar that i2kit unpacks.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream itself failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A header is none.
    #[error("tar header at byte {offset}: {reason}")]
    Header {
        /// In the uncompressed stream.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// An entry of a type that is no file.
    #[error("entry {path:?}: type {typeflag:?} is not one of a file")]
    Type {
        /// The entry's name.
        path: String,
        /// The header's type flag.
        typeflag: char,
    },
}

/// Reads headers and data, one entry after the other.
pub struct Reader<R> {
    inner: R,
    offset: u64,
    /// Bytes of the current entry's data and padding not yet read.
    data: u64,
    padding: u64,
}

impl<R: Read> Reader<R> {
    /// Starts at the first header.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            offset: 0,
            data: 0,
            padding: 0,
        }
    }

    /// The stream behind, to drain it.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The next entry; `None` after the last. What is left of the one before is skipped.
    ///
    /// # Errors
    /// [`Error`].
    pub fn next_entry(&mut self) -> Result<Option<Header>, Error> {
        let mut pax = Pax::default();
        let (mut long_path, mut long_link) = (None, None);
        loop {
            self.skip()?;
            let at = self.offset;
            let Some(raw) = self.header()? else {
                return Ok(None);
            };
            let size = raw
                .size()
                .map_err(|reason| Error::Header { offset: at, reason })?;
            match raw.typeflag() {
                b'x' => {
                    pax = self
                        .extension(size)
                        .and_then(|bytes| self.pax(&bytes, at))?
                }
                b'g' => drop(self.extension(size)?),
                b'L' => long_path = Some(c_string(self.extension(size)?)),
                b'K' => long_link = Some(c_string(self.extension(size)?)),
                _ => {
                    let mut header = self.entry(&raw, size, &pax, at)?;
                    // A PAX record outranks GNU's long name (Go's `archive/tar`).
                    if let Some(path) = long_path.filter(|_| !header.1) {
                        header.0.path = path;
                    }
                    if let Some(link) = long_link.filter(|_| !header.2) {
                        header.0.link = link;
                    }
                    let mut header = header.0;
                    if header.kind == Kind::Regular && header.path.ends_with(b"/") {
                        header.kind = Kind::Directory;
                    }
                    return Ok(Some(header));
                }
            }
        }
    }

    /// Reads of the current entry's stored data; 0 at its end.
    ///
    /// # Errors
    /// The stream's, and `UnexpectedEof` when it ends within the data.
    pub fn read_data(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.data)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        if want == 0 {
            return Ok(0);
        }
        let got = self.inner.read(buf.get_mut(..want).unwrap_or_default())?;
        if got == 0 {
            return Err(eof("the stream ends within a file's data"));
        }
        self.data -= got as u64;
        self.offset += got as u64;
        Ok(got)
    }

    /// Where what is left of the current entry's stored data lies.
    pub fn data(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.data)
    }

    fn pax(&self, bytes: &[u8], offset: u64) -> Result<Pax, Error> {
        Pax::parse(bytes).map_err(|reason| Error::Header { offset, reason })
    }

    /// Header with whether PAX named path and link.
    fn entry(
        &mut self,
        raw: &RawHeader,
        size: u64,
        pax: &Pax,
        offset: u64,
    ) -> Result<(Header, bool, bool), Error> {
        let bad = |reason| Error::Header { offset, reason };
        let path = pax.path().map_or_else(|| raw.path(), <[u8]>::to_vec);
        let link = pax
            .value(b"linkpath")
            .map_or_else(|| raw.link(), <[u8]>::to_vec);
        let kind = kind(raw.typeflag()).ok_or_else(|| Error::Type {
            path: String::from_utf8_lossy(&path).into_owned(),
            typeflag: char::from(raw.typeflag()),
        })?;
        let stored = match kind {
            Kind::Regular => pax.number(b"size").map_err(bad)?.unwrap_or(size),
            // Go reads no data for these, whatever their size says.
            _ => 0,
        };
        if stored > MAX_STORED {
            return Err(bad("a size does not fit 63 bits"));
        }
        self.data = stored;
        self.padding = stored.next_multiple_of(BLOCK as u64) - stored;
        let (mtime, mtime_nsec) = match pax.time(b"mtime").map_err(bad)? {
            Some(time) => time,
            None => (raw.mtime().map_err(bad)?, 0),
        };
        let (size, segments) = if kind == Kind::Regular {
            self.sparse(raw, pax, stored, offset)?
        } else {
            (0, Vec::new())
        };
        let id = |record: &[u8], raw: Result<u32, &'static str>| match pax.number(record) {
            Ok(Some(value)) => u32::try_from(value).map_err(|_| bad("owner out of range")),
            Ok(None) => raw.map_err(bad),
            Err(reason) => Err(bad(reason)),
        };
        let header = Header {
            link,
            kind,
            mode: raw.mode().map_err(bad)?,
            uid: id(b"uid", raw.uid())?,
            gid: id(b"gid", raw.gid())?,
            mtime,
            mtime_nsec,
            device: match kind {
                Kind::CharDevice | Kind::BlockDevice => raw.device().map_err(bad)?,
                _ => (0, 0),
            },
            xattrs: pax.xattrs().map_err(bad)?,
            size,
            segments,
            path,
        };
        Ok((
            header,
            pax.path().is_some(),
            pax.value(b"linkpath").is_some(),
        ))
    }

    /// The real size and the map of a regular file's data.
    fn sparse(
        &mut self,
        raw: &RawHeader,
        pax: &Pax,
        stored: u64,
        offset: u64,
    ) -> Result<(u64, Vec<Segment>), Error> {
        let bad = |reason| Error::Header { offset, reason };
        let (size, segments) = if raw.typeflag() == b'S' {
            self.old_gnu_map(raw, offset)?
        } else if let Some(found) = pax.sparse_map().map_err(bad)? {
            found
        } else if pax.value(b"GNU.sparse.major") == Some(b"1") {
            let size = pax.number(b"GNU.sparse.realsize").map_err(bad)?;
            (
                size.ok_or(bad("sparse file without its real size"))?,
                self.map_in_data(offset)?,
            )
        } else {
            let whole = Segment {
                offset: 0,
                len: stored,
            };
            return Ok((stored, if stored == 0 { Vec::new() } else { vec![whole] }));
        };
        let segments = sparse::check(segments, size, self.data).map_err(bad)?;
        Ok((size, segments))
    }

    fn old_gnu_map(&mut self, raw: &RawHeader, at: u64) -> Result<(u64, Vec<Segment>), Error> {
        let bad = |reason| Error::Header { offset: at, reason };
        let (size, mut segments, mut more) = raw.gnu_sparse().map_err(bad)?;
        while more {
            let mut block = [0; BLOCK];
            self.inner.read_exact(&mut block)?;
            self.offset += BLOCK as u64;
            more = sparse::extended(&block, &mut segments).map_err(bad)?;
        }
        Ok((size, segments))
    }

    /// GNU sparse 1.0: the map stands in front of the data, in decimal lines.
    fn map_in_data(&mut self, offset: u64) -> Result<Vec<Segment>, Error> {
        let mut map = sparse::MapParser::default();
        loop {
            let mut block = [0; BLOCK];
            if self.data < BLOCK as u64 {
                return Err(Error::Header {
                    offset,
                    reason: "sparse map is cut off",
                });
            }
            self.inner.read_exact(&mut block)?;
            self.data -= BLOCK as u64;
            self.offset += BLOCK as u64;
            let done = map
                .feed(&block)
                .map_err(|reason| Error::Header { offset, reason })?;
            if let Some(segments) = done {
                return Ok(segments);
            }
        }
    }

    /// The next header block that is not the end of the archive.
    fn header(&mut self) -> Result<Option<RawHeader>, Error> {
        let offset = self.offset;
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if block.iter().all(|byte| *byte == 0) {
            // One block of zeros may be followed by nothing or another: the end either way.
            return match self.block()? {
                Some(second) if second.iter().any(|byte| *byte != 0) => Err(Error::Header {
                    offset,
                    reason: "data after the end of the archive",
                }),
                _ => Ok(None),
            };
        }
        RawHeader::parse(block)
            .map(Some)
            .map_err(|reason| Error::Header { offset, reason })
    }

    /// A block, or `None` at the end of the stream.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.inner.read(rest)? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(eof("the stream ends within a tar header").into()),
                got => filled += got,
            }
        }
        self.offset += BLOCK as u64;
        Ok(Some(block))
    }

    /// The data of a header that extends the next one.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > MAX_EXTENSION {
            let reason = "an extended header is longer than 1 MiB";
            return Err(Error::Header {
                offset: self.offset,
                reason,
            });
        }
        let padded = size.next_multiple_of(BLOCK as u64);
        let mut bytes = vec![0; usize::try_from(padded).unwrap_or(0)];
        self.inner.read_exact(&mut bytes)?;
        self.offset += padded;
        bytes.truncate(usize::try_from(size).unwrap_or(0));
        Ok(bytes)
    }

    fn skip(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.data) + std::mem::take(&mut self.padding);
        let skipped = io::copy(&mut (&mut self.inner).take(rest), &mut io::sink())?;
        self.offset += skipped;
        if skipped == rest {
            Ok(())
        } else {
            Err(eof("the stream ends within a file's data"))
        }
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Steps over what is left of the current entry without reading it. Says nothing of whether
    /// the stream goes on that far.
    ///
    /// # Errors
    /// The stream's.
    pub fn seek_past(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.data) + std::mem::take(&mut self.padding);
        let step = i64::try_from(rest).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.inner.seek_relative(step)?;
        self.offset = self.offset.saturating_add(rest);
        Ok(())
    }
}

fn kind(typeflag: u8) -> Option<Kind> {
    Some(match typeflag {
        b'0' | 0 | b'7' | b'S' => Kind::Regular,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        _ => return None,
    })
}

fn eof(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, reason)
}

fn c_string(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}
