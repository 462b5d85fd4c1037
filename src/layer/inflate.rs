//! The first two stages, each on a thread of its own: compressed bytes are read and hashed, then
//! inflated.

use std::io::{self, BufRead, Read};

use sha2::{Digest, Sha256};

use super::chunks::{CHUNK, Receiver, Sender, fill};
use super::gzip;

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
        let mut chunk = chunks.buffer();
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
pub(super) fn run(mut compressed: Receiver, chunks: &Sender) {
    let mut send = |chunk| chunks.send(chunk).then(|| chunks.buffer());
    if let Err(error) = inflate(&mut compressed, &mut send) {
        chunks.fail(error);
    }
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
    sink: &mut dyn FnMut(Vec<u8>) -> Option<Vec<u8>>,
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
fn members<R: BufRead>(
    reader: &mut R,
    sink: &mut dyn FnMut(Vec<u8>) -> Option<Vec<u8>>,
) -> io::Result<()> {
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
fn send<R: Read>(
    reader: &mut R,
    sink: &mut dyn FnMut(Vec<u8>) -> Option<Vec<u8>>,
) -> io::Result<bool> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let (len, result) = fill(reader, &mut chunk);
        if len == 0 {
            return result.map(|()| true);
        }
        chunk.truncate(len);
        match sink(chunk) {
            Some(next) => chunk = next,
            None => return Ok(false),
        }
        result?;
        chunk.resize(CHUNK, 0);
    }
}
