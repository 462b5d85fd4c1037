//! One streaming pass over a layer: bytes → digest → inflate → diffID → tar → slabs.
//!
//! Four threads, joined by bounded channels: two of [`super::inflate`] read and hash, and inflate;
//! this one hashes the tar and parses it; [`super::slabs`] hashes and writes the data. Nothing
//! becomes an entry of the cache before both digests are right.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use i2kit_format::erofs::Metadata;
use sha2::{Digest, Sha256};

use super::buffers::{self, Bytes, Sender};
use super::clusters::ClusterPacker;
use super::inflate::{self, Compressed};
use super::keep::{Keeper, Tee};
use super::key::key;
use super::pack::{HOLE, NewFile, Pack, Packer};
use super::run::Gone;
use super::stored::Packed;
use super::tar::{Header, Kind, Reader};
use super::{
    Compression, ConvertedLayer, Entry, EntryKind, Error, Origin, Refusal, compress, path, slabs,
    stored,
};
use crate::cache::{self, Cache};

/// Entries of one layer.
const MAX_ENTRIES: usize = 16 << 20;

/// Which layer, and what its bytes must be.
#[derive(Clone, Debug)]
pub struct LayerSpec {
    /// Digest of the compressed bytes, `sha256:…`.
    pub digest: String,
    /// Length of the compressed bytes.
    pub size: u64,
    /// As the manifest has it; layers are told apart by their first bytes.
    pub media_type: String,
    /// Digest of the uncompressed bytes, `sha256:…`.
    pub diff_id: String,
    /// How its files are to be compressed, if at all.
    pub compression: Option<Compression>,
}

/// How layers are converted.
#[derive(Clone, Debug)]
pub struct ConvertOptions {
    /// Uncompressed bytes that a layer may have.
    pub max_layer_size: u64,
    /// Also keep the compressed bytes, so that a later conversion needs no source.
    pub keep_blobs: bool,
    /// How files are compressed, if at all.
    pub compression: Option<Compression>,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        Self {
            max_layer_size: 64 << 30,
            keep_blobs: false,
            compression: Some(Compression::DEFAULT),
        }
    }
}

/// The layer, if the cache has it whole.
///
/// # Errors
/// [`Error`] when the machine lacks what it takes to look.
pub fn find_in_cache(cache: &Cache, spec: &LayerSpec) -> Result<Option<ConvertedLayer>, Error> {
    let key = key(&spec.diff_id, spec.compression);
    Ok(match find(cache, &key, spec)? {
        Found::Sound(layer) => Some(*layer),
        Found::Damaged(_) | Found::Nothing => None,
    })
}

/// The layer from the cache, converted now if it is not there. `open` is called only then.
/// `progress` hears how many compressed bytes were read so far.
///
/// # Errors
/// [`Error`]; the cache then holds nothing of the layer.
pub fn convert_into_cache(
    cache: &Cache,
    spec: &LayerSpec,
    open: impl FnOnce() -> io::Result<Box<dyn Read + Send>>,
    options: &ConvertOptions,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ConvertedLayer, Error> {
    let key = key(&spec.diff_id, spec.compression);
    if let Found::Sound(layer) = find(cache, &key, spec)? {
        return Ok(*layer);
    }
    let lock = cache.lock(&key)?;
    match find(cache, &key, spec)? {
        Found::Sound(layer) => return Ok(*layer),
        Found::Damaged(entry) => drop(cache.discard(&entry, &lock)?),
        Found::Nothing => {}
    }
    let conversion = Conversion {
        cache,
        key: &key,
        spec,
        options,
        progress,
    };
    if let Some(blob) = cache.blob(&spec.digest) {
        match conversion.convert(Box::new(blob), false) {
            // The kept blob was damaged: the source has it.
            Err(Error::Read { .. } | Error::Size { .. } | Error::Digest { .. }) => {
                cache.discard_blob(&spec.digest);
            }
            done => return done,
        }
    }
    let blob = open().map_err(|source| Error::Read {
        layer: spec.digest.clone(),
        source,
    })?;
    conversion.convert(blob, options.keep_blobs)
}

/// What the cache has under a key.
pub(super) enum Found {
    Sound(Box<ConvertedLayer>),
    Damaged(Arc<cache::Entry>),
    Nothing,
}

pub(super) fn find(cache: &Cache, key: &str, spec: &LayerSpec) -> Result<Found, Error> {
    let Some(entry) = cache.find(key).map(Arc::new) else {
        return Ok(Found::Nothing);
    };
    match stored::load(&entry, spec, Origin::Cached) {
        Ok(Some(layer)) => Ok(Found::Sound(Box::new(layer))),
        // Too many open files, or no memory, says nothing of the entry.
        Err(source) if is_exhaustion(&source) => Err(Error::Store {
            operation: "read",
            layer: spec.digest.clone(),
            source,
        }),
        _ => Ok(Found::Damaged(entry)),
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)
    )
}

struct Conversion<'a> {
    cache: &'a Cache,
    key: &'a str,
    spec: &'a LayerSpec,
    options: &'a ConvertOptions,
    progress: &'a (dyn Fn(u64) + Sync),
}

/// What stops the parser.
enum Stop {
    Error(Error),
    /// The slab writer has failed.
    Gone,
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

type Converted = (slabs::Hashed, Packed);

impl Conversion<'_> {
    /// Converts the blob's bytes into a new entry; keeps them too, if asked to.
    fn convert(&self, blob: Box<dyn Read + Send>, keep: bool) -> Result<ConvertedLayer, Error> {
        let keeper = if keep {
            Keeper::begin(self.cache, &self.spec.digest)?
        } else {
            None
        };
        let draft = self.cache.draft(self.key)?;
        let (hashed, packed) = self.run(blob, draft.folder(), keeper)?;
        stored::write(draft.folder(), hashed, packed)
            .map_err(|source| self.store_error("write", source))?;
        let entry = Arc::new(draft.commit()?);
        let layer = stored::load(&entry, self.spec, Origin::Converted)
            .map_err(|source| self.store_error("read", source))?;
        layer.ok_or_else(|| self.store_error("read", io::ErrorKind::InvalidData.into()))
    }

    fn run(
        &self,
        blob: Box<dyn Read + Send>,
        folder: &Path,
        mut keeper: Option<Keeper>,
    ) -> Result<Converted, Error> {
        let data = folder.join(stored::DATA);
        let blob = Tee {
            inner: blob,
            keeper: keeper.as_mut(),
        };
        let (fetched, compressed) = buffers::channel();
        let (inflated, tar) = buffers::channel();
        let (packed, slabs) = buffers::channel();
        let limit = self.spec.size.saturating_add(1);
        let (compressed, hashed, parsed) = std::thread::scope(|scope| {
            let fetcher = scope.spawn(move || inflate::fetch(blob, limit, &fetched, self.progress));
            scope.spawn(move || inflate::run(compressed, &inflated));
            let writer = scope.spawn(move || slabs::run(&data, &slabs));
            let parsed = match self.spec.compression {
                None => self.plain(Bytes::new(tar), packed),
                Some(compression) => self.compressed(Bytes::new(tar), packed, compression),
            };
            (join(fetcher), join(writer), parsed)
        });
        if let Some(source) = keeper.as_mut().and_then(Keeper::take_failure) {
            return Err(self.store_error("keep", source));
        }
        self.check(&compressed.map_err(|source| self.read_error(source))?)?;
        if let Some(keeper) = keeper {
            keeper.commit()?;
        }
        let hashed = hashed.map_err(|source| self.store_error("write", source))?;
        match parsed {
            Ok(packed) => Ok((hashed, packed)),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Gone) => Err(self.read_error(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn read_error(&self, source: io::Error) -> Error {
        Error::Read {
            layer: self.spec.digest.clone(),
            source,
        }
    }

    fn store_error(&self, operation: &'static str, source: io::Error) -> Error {
        Error::Store {
            operation,
            layer: self.spec.digest.clone(),
            source,
        }
    }

    /// Wrong bytes are told before whatever they made the parser say.
    fn check(&self, compressed: &Compressed) -> Result<(), Error> {
        let layer = || self.spec.digest.clone();
        if compressed.len != self.spec.size {
            let (found, expected) = (compressed.len, self.spec.size);
            return Err(Error::Size {
                layer: layer(),
                found,
                expected,
            });
        }
        let found = format!("sha256:{}", hex::encode(compressed.digest));
        if found != self.spec.digest {
            return Err(Error::Digest {
                layer: layer(),
                found,
            });
        }
        Ok(())
    }

    fn plain(&self, bytes: Bytes, slabs: Sender) -> Result<Packed, Stop> {
        let mut packer = Packer::new(slabs);
        let (entries, tar_len) = self.parse(bytes, &mut packer)?;
        packer.finish()?;
        Ok(Packed {
            entries,
            packed: Vec::new(),
            tar_len,
        })
    }

    /// Compresses on threads of their own, and puts clusters' places in when all are known.
    fn compressed(
        &self,
        bytes: Bytes,
        slabs: Sender,
        compression: Compression,
    ) -> Result<Packed, Stop> {
        let (sender, items) = buffers::channel();
        std::thread::scope(|scope| {
            let layout = scope.spawn(move || compress::run(&items, compression, slabs));
            let mut packer = ClusterPacker::new(sender, compression.cluster_size);
            let parsed = self.parse(bytes, &mut packer);
            let finished = packer.finish();
            let placements =
                join(layout).map_err(|source| Stop::Error(self.store_error("compress", source)))?;
            let (mut entries, tar_len) = parsed?;
            let mut packed = finished?;
            compress::resolve(&mut entries, &mut packed, &placements);
            Ok(Packed {
                entries,
                packed,
                tar_len,
            })
        })
    }

    fn parse(&self, bytes: Bytes, packer: &mut dyn Pack) -> Result<(Vec<Entry>, u64), Stop> {
        let stream = TarStream {
            bytes,
            hash: Sha256::new(),
            len: 0,
            limit: self.options.max_layer_size,
            over: false,
        };
        let mut reader = Reader::new(stream);
        let mut entries = Vec::new();
        let result = self.entries(&mut reader, packer, &mut entries);
        let mut stream = reader.into_inner();
        // The diffID covers what follows the archive's end too.
        let drained = io::copy(&mut stream, &mut io::sink());
        if stream.over {
            let (layer, limit) = (self.spec.digest.clone(), stream.limit);
            return Err(Stop::Error(Error::TooLarge { layer, limit }));
        }
        result?;
        drained.map_err(|source| Stop::Error(self.read_error(source)))?;
        let found = format!("sha256:{}", hex::encode(stream.hash.finalize()));
        if found != self.spec.diff_id {
            let (layer, expected) = (self.spec.digest.clone(), self.spec.diff_id.clone());
            return Err(Stop::Error(Error::DiffId {
                layer,
                found,
                expected,
            }));
        }
        Ok((entries, stream.len))
    }

    fn entries(
        &self,
        reader: &mut Reader<TarStream>,
        packer: &mut dyn Pack,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Stop> {
        let tar = |source| {
            Stop::Error(Error::Tar {
                layer: self.spec.digest.clone(),
                source,
            })
        };
        let mut buffer = vec![0; HOLE];
        while let Some(header) = reader.next_entry().map_err(tar)? {
            if entries.len() >= MAX_ENTRIES {
                return Err(self.refused(&header, Refusal::TooMany));
            }
            let path = path::clean(&header.path).map_err(|why| self.refused(&header, why))?;
            let kind = match header.kind {
                Kind::Regular => self.regular(&header, reader, packer, &mut buffer)?,
                _ => special(&header, &path).map_err(|why| self.refused(&header, why))?,
            };
            if path.is_empty() && kind != EntryKind::Directory {
                return Err(self.refused(&header, Refusal::Root));
            }
            entries.push(Entry {
                path,
                metadata: metadata(header),
                kind,
            });
        }
        Ok(())
    }

    fn refused(&self, header: &Header, reason: Refusal) -> Stop {
        let path = String::from_utf8_lossy(&header.path)
            .chars()
            .take(300)
            .collect();
        Stop::Error(Error::Refused {
            layer: self.spec.digest.clone(),
            path,
            reason,
        })
    }

    fn regular(
        &self,
        header: &Header,
        reader: &mut Reader<TarStream>,
        packer: &mut dyn Pack,
        buffer: &mut [u8],
    ) -> Result<EntryKind, Stop> {
        let read_error = |source: io::Error| {
            Stop::Error(Error::Tar {
                layer: self.spec.digest.clone(),
                source: source.into(),
            })
        };
        let mut window = Window::new(header);
        let head = window.next(reader, buffer).map_err(read_error)?;
        packer.begin(NewFile {
            size: header.size,
            is_sparse: is_sparse(header),
            head: buffer.get(..head.len).unwrap_or_default(),
        })?;
        let mut now = head;
        loop {
            packer.skip(now.hole);
            packer.append(buffer.get(..now.len).unwrap_or_default())?;
            if window.at >= header.size {
                return Ok(packer.end()?);
            }
            now = window.next(reader, buffer).map_err(read_error)?;
        }
    }
}

/// Whether the archive leaves out parts of the file.
fn is_sparse(header: &Header) -> bool {
    let stored: u64 = header.segments.iter().map(|segment| segment.len).sum();
    stored < header.size
}

fn join<T>(handle: std::thread::ScopedJoinHandle<'_, T>) -> T {
    handle
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn metadata(header: Header) -> Metadata {
    // An image's marks for overlay would steer the mount that the guest makes of it.
    let xattrs = header.xattrs.into_iter();
    let xattrs = xattrs.filter(|(name, _)| !name.starts_with(b"trusted.overlay."));
    // Linux gives every symlink all bits, whatever the archive says.
    let mode = match header.kind {
        Kind::Symlink => 0o777,
        _ => header.mode,
    };
    Metadata {
        mode,
        uid: header.uid,
        gid: header.gid,
        mtime: header.mtime,
        mtime_nsec: header.mtime_nsec,
        xattrs: xattrs
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
    }
}

/// What is no regular file.
fn special(header: &Header, path: &[u8]) -> Result<EntryKind, Refusal> {
    let (major, minor) = header.device;
    if matches!(header.kind, Kind::CharDevice | Kind::BlockDevice) {
        // Overlay's own whiteouts are 0:0 devices, which would hide a file once mounted.
        if path::file_name(path).starts_with(b".wh.") || (major, minor) == (0, 0) {
            return Err(Refusal::WhiteoutDevice);
        }
        if major >= 1 << 12 || minor >= 1 << 20 {
            return Err(Refusal::DeviceNumber);
        }
    }
    Ok(match header.kind {
        Kind::HardLink => EntryKind::HardLink(path::hard_link(&header.link)?),
        Kind::Symlink => EntryKind::Symlink(path::symlink(&header.link)?),
        Kind::CharDevice => EntryKind::CharDevice { major, minor },
        Kind::BlockDevice => EntryKind::BlockDevice { major, minor },
        Kind::Fifo => EntryKind::Fifo,
        Kind::Directory | Kind::Regular => EntryKind::Directory,
    })
}

/// Walks a file's contents in pieces of [`HOLE`] bytes, holes of a sparse file included.
struct Window<'a> {
    header: &'a Header,
    at: u64,
    segment: usize,
}

/// A hole, a multiple of [`HOLE`], and the bytes after it.
struct Piece {
    hole: u64,
    len: usize,
}

impl<'a> Window<'a> {
    fn new(header: &'a Header) -> Self {
        Self {
            header,
            at: 0,
            segment: 0,
        }
    }

    fn next<R: Read>(&mut self, reader: &mut Reader<R>, buffer: &mut [u8]) -> io::Result<Piece> {
        let unit = HOLE as u64;
        let segments = self.header.segments.get(self.segment..).unwrap_or_default();
        let stored = segments
            .first()
            .map_or(self.header.size, |segment| segment.offset);
        let hole = match self.header.size {
            size if stored >= size => (size - self.at).next_multiple_of(unit),
            _ => (stored - self.at.min(stored)) / unit * unit,
        };
        self.at += hole;
        if self.at >= self.header.size {
            return Ok(Piece { hole, len: 0 });
        }
        let end = self.header.size.min(self.at + unit);
        let len = usize::try_from(end - self.at).unwrap_or(0);
        let piece = buffer.get_mut(..len).unwrap_or_default();
        let mut filled = 0;
        for segment in segments {
            let (from, to) = (
                segment.offset.max(self.at),
                (segment.offset + segment.len).min(end),
            );
            if from < to {
                let within = usize::try_from(from - self.at).unwrap_or(0);
                let until = usize::try_from(to - self.at).unwrap_or(0);
                piece.get_mut(filled..within).unwrap_or_default().fill(0);
                filled = until;
                fill(reader, piece.get_mut(within..until).unwrap_or_default())?;
            }
            if segment.offset + segment.len > end {
                break;
            }
            self.segment += 1;
        }
        piece.get_mut(filled..).unwrap_or_default().fill(0);
        self.at = end;
        Ok(Piece { hole, len })
    }
}

fn fill<R: Read>(reader: &mut Reader<R>, mut buf: &mut [u8]) -> io::Result<()> {
    while !buf.is_empty() {
        let got = reader.read_data(buf)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buf = buf.get_mut(got..).unwrap_or_default();
    }
    Ok(())
}

/// The uncompressed bytes as they come from the inflating thread, hashed as they pass.
struct TarStream {
    bytes: Bytes,
    hash: Sha256,
    len: u64,
    limit: u64,
    over: bool,
}

impl Read for TarStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.bytes.rest().is_empty() {
            let chunk = self.bytes.next()?;
            self.hash.update(chunk);
            self.len += chunk.len() as u64;
            if self.len > self.limit {
                self.over = true;
                return Err(io::Error::other("larger than allowed"));
            }
        }
        self.bytes.read(buf)
    }
}
