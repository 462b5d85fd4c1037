//! The first stage: compressed bytes are hashed and inflated on a thread of their own, and handed
//! on in chunks.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest, Sha256};

use super::gzip;

/// Bytes of a chunk.
const CHUNK: usize = 256 * 1024;
/// Chunks in flight: what bounds this stage's memory.
const IN_FLIGHT: usize = 8;

/// What was read.
pub(super) struct Compressed {
    pub(super) digest: [u8; 32],
    pub(super) len: u64,
}

/// Counts and hashes what passes.
struct Hashing<'a, R> {
    inner: R,
    hash: Sha256,
    len: u64,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buf)?;
        self.hash.update(buf.get(..got).unwrap_or_default());
        self.len += got as u64;
        (self.progress)(self.len);
        Ok(got)
    }
}

pub(super) type Chunks = Receiver<io::Result<Vec<u8>>>;

/// The two ends of the channel between the stages.
pub(super) fn channel() -> (SyncSender<io::Result<Vec<u8>>>, Chunks) {
    sync_channel(IN_FLIGHT)
}

/// Reads `blob` to its end, sends its uncompressed bytes. When the receiver is gone, or the bytes
/// do not inflate, the rest is only hashed, so that a wrong digest is always told as such; not
/// more than `limit` compressed bytes are read.
pub(super) fn run<R: Read>(
    blob: R,
    limit: u64,
    chunks: &SyncSender<io::Result<Vec<u8>>>,
    progress: &(dyn Fn(u64) + Sync),
) -> io::Result<Compressed> {
    let hashing = Hashing {
        inner: blob.take(limit),
        hash: Sha256::new(),
        len: 0,
        progress,
    };
    let mut reader = BufReader::with_capacity(CHUNK, hashing);
    let inflated = inflate(&mut reader, &mut |chunk| chunks.send(Ok(chunk)).is_ok());
    if let Err(error) = inflated {
        // Nobody listens any more when the parser failed first.
        let _ = chunks.send(Err(error));
    }
    io::copy(&mut reader, &mut io::sink())?;
    let hashing = reader.into_inner();
    Ok(Compressed {
        digest: hashing.hash.finalize().into(),
        len: hashing.len,
    })
}

/// Hands the uncompressed bytes of gzip, zstd or neither to `sink` in chunks, until it answers
/// false.
///
/// gzip's checksums are not looked at: whoever calls checks a digest of what comes.
///
/// # Errors
/// The reader's, and what is wrong with the compressed bytes.
pub fn inflate<R: BufRead>(
    reader: &mut R,
    sink: &mut dyn FnMut(Vec<u8>) -> bool,
) -> io::Result<()> {
    // Layers are told apart by their first bytes, as containerd does: media types lie.
    match reader.fill_buf()?.get(..4) {
        Some([0x1f, 0x8b, ..]) => members(reader, sink),
        Some([0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18]) => {
            send(&mut zstd::Decoder::with_buffer(reader)?, sink).map(|_| ())
        }
        _ => send(reader, sink).map(|_| ()),
    }
}

/// All members, and the zeros that some writers pad the last one with.
fn members<R: BufRead>(reader: &mut R, sink: &mut dyn FnMut(Vec<u8>) -> bool) -> io::Result<()> {
    while !skip_zeros(reader)? {
        if !send(&mut gzip::member(reader)?, sink)? {
            break;
        }
        gzip::trailer(reader)?;
    }
    Ok(())
}

/// Skips zeros; answers true at the end.
fn skip_zeros<R: BufRead>(reader: &mut R) -> io::Result<bool> {
    loop {
        let buffer = reader.fill_buf()?;
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        let (end, more) = (buffer.is_empty(), zeros < buffer.len());
        reader.consume(zeros);
        if end || more {
            return Ok(end);
        }
    }
}

/// Sends all of `reader` in chunks; false when nobody listens.
fn send<R: Read>(reader: &mut R, sink: &mut dyn FnMut(Vec<u8>) -> bool) -> io::Result<bool> {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let result = reader.take(CHUNK as u64).read_to_end(&mut chunk);
        let empty = chunk.is_empty();
        if !empty && !sink(chunk) {
            return Ok(false);
        }
        result?;
        if empty {
            return Ok(true);
        }
    }
}
