//! The first two stages, each on a thread of its own: compressed bytes are read and hashed, then
//! inflated.

use std::io::{self, BufRead, Read};

use sha2::{Digest, Sha256};

use super::buffers::{Bytes, Receiver, Sender};
use super::gzip::Members;

/// Bytes of a chunk.
const CHUNK: usize = 256 * 1024;

/// What was read.
pub(super) struct Compressed {
    pub(super) digest: [u8; 32],
    pub(super) len: u64,
}

/// Counts the bytes that pass, and tells how many.
pub(crate) struct Counting<'a, R> {
    inner: R,
    len: u64,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl<'a, R> Counting<'a, R> {
    pub(crate) fn new(inner: R, progress: &'a (dyn Fn(u64) + Sync)) -> Self {
        let len = 0;
        Self {
            inner,
            len,
            progress,
        }
    }
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buf)?;
        self.len += got as u64;
        (self.progress)(self.len);
        Ok(got)
    }
}

/// Reads `blob` to its end and sends its bytes. When the receiver is gone, the rest is only hashed,
/// so that a wrong digest is always told as such; not more than `limit` bytes are read.
pub(super) fn fetch<R: Read>(
    blob: R,
    limit: u64,
    chunks: &Sender,
    progress: &(dyn Fn(u64) + Sync),
) -> io::Result<Compressed> {
    let mut blob = Counting::new(blob.take(limit), progress);
    let mut hash = Sha256::new();
    let mut is_heard = true;
    loop {
        let mut chunk = chunks.spare();
        chunk.resize(CHUNK, 0);
        let (len, result) = fill(&mut blob, &mut chunk);
        chunk.truncate(len);
        hash.update(&chunk);
        result?;
        if len == 0 {
            return Ok(Compressed {
                digest: hash.finalize().into(),
                len: blob.len,
            });
        }
        is_heard = is_heard && chunks.send(chunk);
    }
}

/// Inflates what comes and sends it on. When nobody listens any more, or the bytes do not inflate,
/// it listens no more either.
pub(super) fn run(compressed: Receiver, chunks: &Sender) {
    let mut send = |chunk| chunks.send(chunk).then(|| chunks.spare());
    if let Err(error) = inflate(&mut Bytes::new(compressed), &mut send) {
        chunks.fail(error);
    }
}

/// Hands the uncompressed bytes of gzip, zstd or neither to `sink` in chunks, until it has no buffer
/// for the next.
///
/// gzip's checksums are not looked at: whoever calls checks a digest of what comes.
///
/// # Errors
/// The reader's, and what is wrong with the compressed bytes.
pub fn inflate<R: BufRead>(
    reader: &mut R,
    sink: &mut dyn FnMut(Vec<u8>) -> Option<Vec<u8>>,
) -> io::Result<()> {
    // Layers are told apart by their first bytes, as containerd does: media types lie.
    match reader.fill_buf()?.get(..4) {
        Some([0x1f, 0x8b, ..]) => send(&mut Members::new(reader)?, sink),
        Some([0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18]) => {
            send(&mut zstd::Decoder::with_buffer(reader)?, sink)
        }
        _ => send(reader, sink),
    }
}

/// Sends all of `reader` in chunks, until nobody listens.
fn send<R: Read>(
    reader: &mut R,
    sink: &mut dyn FnMut(Vec<u8>) -> Option<Vec<u8>>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let (len, result) = fill(reader, &mut chunk);
        if len == 0 {
            return result;
        }
        chunk.truncate(len);
        match sink(chunk) {
            Some(next) => chunk = next,
            None => return Ok(()),
        }
        result?;
        chunk.resize(CHUNK, 0);
    }
}

/// Reads until `buffer` is full or `reader` ends; answers how many bytes that were, and the error
/// that came after them.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> (usize, io::Result<()>) {
    let mut len = 0;
    loop {
        let rest = buffer.get_mut(len..).unwrap_or_default();
        if rest.is_empty() {
            return (len, Ok(()));
        }
        match reader.read(rest) {
            Ok(0) => return (len, Ok(())),
            Ok(got) => len += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (len, Err(error)),
        }
    }
}
