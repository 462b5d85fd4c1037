//! What cannot be read in place: compressed archives, pipes, an engine's stream.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lzma_rust2::XzReader;

use super::super::Error;
use crate::layer::inflate;

/// Memory that an xz stream may ask for, in KiB: twice what `xz -9` makes one ask.
const XZ_MEMORY: u32 = 128 << 10;

/// Told in one line what takes time.
#[derive(Clone)]
pub struct Notice(Arc<dyn Fn(&str) + Send + Sync>);

impl Notice {
    /// Calls `tell` with each line.
    pub fn new(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl Default for Notice {
    /// Tells nobody.
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Notice")
    }
}

/// Room for an archive that cannot be read in place. Its members are wanted in an order that the
/// archive need not have (`docker save` writes `manifest.json` last) and by several readers at
/// once, so a stream is kept in a file without a name, which goes with the process.
#[derive(Clone, Debug)]
pub struct Scratch {
    /// The folder whose file system has the room; made when it is first needed.
    pub folder: PathBuf,
    /// Bytes that one archive may take.
    pub limit: u64,
    /// Told when an archive is being kept.
    pub notice: Notice,
}

impl Default for Scratch {
    /// The system's folder for temporary files, 64 GiB, silent.
    fn default() -> Self {
        Self {
            folder: std::env::temp_dir(),
            limit: 64 << 30,
            notice: Notice::default(),
        }
    }
}

impl Scratch {
    /// `file` itself when it is a tar that can be read in place, else its uncompressed copy.
    pub(super) fn plain(&self, path: &Path, mut file: File) -> Result<File, Error> {
        let read = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let is_file = file.metadata().map_err(read)?.is_file();
        let mut reader = BufReader::new(&mut file);
        let compression = Compression::of(reader.fill_buf().map_err(read)?);
        if compression == Compression::None && is_file {
            // The index walks from where the file stands.
            io::Seek::rewind(&mut file).map_err(read)?;
            return Ok(file);
        }
        let fail = |source| Error::Unpack {
            path: path.to_owned(),
            folder: self.folder.clone(),
            source,
        };
        if compression == Compression::Bzip2 {
            return Err(fail(io::Error::new(
                io::ErrorKind::Unsupported,
                "bzip2 is not supported",
            )));
        }
        self.tell(&format!(
            "unpacking {}: {} cannot be read in place",
            path.display(),
            compression.name()
        ));
        if compression == Compression::Xz {
            let reader = XzReader::new_mem_limit(reader, true, XZ_MEMORY);
            return self.keep(&mut BufReader::new(reader)).map_err(fail);
        }
        self.keep(&mut reader).map_err(fail)
    }

    pub(in super::super) fn tell(&self, line: &str) {
        (self.notice.0)(line);
    }

    /// The uncompressed bytes of `reader` in a file without a name, at its beginning.
    pub(in super::super) fn keep(&self, reader: &mut impl BufRead) -> io::Result<File> {
        std::fs::create_dir_all(&self.folder)?;
        let mut file = tempfile::tempfile_in(&self.folder)?;
        let (mut len, mut failed) = (0, None);
        inflate(reader, &mut |chunk| {
            len += chunk.len() as u64;
            failed = match len > self.limit {
                true => Some(too_large(self.limit)),
                false => file.write_all(&chunk).err(),
            };
            failed.is_none().then_some(chunk)
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        io::Seek::rewind(&mut file)?;
        Ok(file)
    }
}

fn too_large(limit: u64) -> io::Error {
    let reason = format!("more than {limit} bytes");
    io::Error::new(io::ErrorKind::FileTooLarge, reason)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Compression {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            _ => Self::None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "a pipe",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }
}
