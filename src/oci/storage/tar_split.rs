//! A layer's tar, put together from its `tar-split` file and the layer's files
//! (vbatts/tar-split, `tar/storage/entry.go` and `tar/asm/assemble.go`).
//!
//! The file is JSON, one entry a line: a segment is bytes of the tar as they were (headers,
//! padding), a file stands for the contents of the file of that name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::Deserialize;

use super::Error;

/// A line may be this long: the writer cuts padding into segments of 1 MiB, and no header is
/// longer.
const MAX_LINE: u64 = 16 << 20;

/// An entry. A file's payload is its checksum, which the diffID makes needless.
#[derive(Deserialize)]
struct Entry {
    r#type: u8,
    #[serde(default)]
    name: String,
    /// The name in base64 where it is no UTF-8.
    name_raw: Option<String>,
    #[serde(default)]
    size: u64,
    payload: Option<String>,
}

const FILE: u8 = 1;
const SEGMENT: u8 = 2;

/// Reads the tar. Its bytes are unchecked: the files may have been changed.
pub struct TarSplit {
    lines: BufReader<Box<dyn Read + Send>>,
    root: OwnedFd,
    path: PathBuf,
    now: Now,
}

/// What is being read.
enum Now {
    Nothing,
    Segment(io::Cursor<Vec<u8>>),
    File {
        name: Vec<u8>,
        file: File,
        left: u64,
    },
    /// Whoever reads on after an error gets it again.
    Failed(io::ErrorKind, String),
}

impl TarSplit {
    /// The tar whose entries are in `lines` and whose files are below `root`.
    ///
    /// # Errors
    /// When `root` is no folder that can be opened.
    pub fn new(lines: Box<dyn Read + Send>, root: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self {
            lines: BufReader::new(lines),
            root: rustix::fs::open(root, flags, Mode::empty())?,
            path: root.to_owned(),
            now: Now::Nothing,
        })
    }

    fn error(&self, kind: io::ErrorKind, reason: &str) -> io::Error {
        io::Error::new(
            kind,
            Error::Stored {
                path: self.path.clone(),
                source: io::Error::new(kind, reason),
            },
        )
    }

    /// The next entry with bytes; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        loop {
            let mut line = Vec::new();
            let got = (&mut self.lines)
                .take(MAX_LINE)
                .read_until(b'\n', &mut line)?;
            if got == 0 {
                return Ok(false);
            }
            let entry: Entry = serde_json::from_slice(&line).map_err(invalid)?;
            self.now = match entry.r#type {
                SEGMENT => {
                    let payload = entry.payload.unwrap_or_default();
                    Now::Segment(io::Cursor::new(STANDARD.decode(payload).map_err(invalid)?))
                }
                FILE if entry.size == 0 => continue,
                FILE => self.open(entry)?,
                other => return Err(invalid(format!("entry of type {other}"))),
            };
            return Ok(true);
        }
    }

    fn open(&self, entry: Entry) -> io::Result<Now> {
        let name = match entry.name_raw {
            Some(raw) => STANDARD.decode(raw).map_err(invalid)?,
            None => entry.name.into_bytes(),
        };
        // The image chose the name: it must not lead out of the layer. Within it, a path may run
        // through a symlink of the layer's own, as it did when the layer was unpacked.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(&self.root, &*name, flags, Mode::empty(), resolve);
        let named = |error: io::Error| {
            let name = String::from_utf8_lossy(&name);
            io::Error::new(error.kind(), format!("file {name:?}: {error}"))
        };
        let file = File::from(file.map_err(|error| named(error.into()))?);
        let metadata = file.metadata().map_err(named)?;
        if !metadata.is_file() || metadata.len() != entry.size {
            return Err(named(invalid("it was changed after it was unpacked")));
        }
        Ok(Now::File {
            name,
            file,
            left: entry.size,
        })
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.now {
            Now::Nothing => Ok(0),
            Now::Segment(bytes) => bytes.read(buf),
            Now::File { left: 0, .. } => Ok(0),
            Now::File { name, file, left } => {
                let want = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
                let got = file.read(buf.get_mut(..want).unwrap_or_default())?;
                if got == 0 {
                    let name = String::from_utf8_lossy(name);
                    return Err(invalid(format!(
                        "file {name:?}: it shrank while it was read"
                    )));
                }
                *left -= got as u64;
                Ok(got)
            }
            Now::Failed(kind, reason) => Err(io::Error::new(*kind, reason.clone())),
        }
    }
}

impl Read for TarSplit {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut step = || loop {
            match self.read_now(buf)? {
                0 if self.advance()? => {}
                got => return Ok(got),
            }
        };
        let result: io::Result<usize> = step();
        result.map_err(|error| {
            let reason = error.to_string();
            self.now = Now::Failed(error.kind(), reason.clone());
            self.error(error.kind(), &reason)
        })
    }
}

fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
