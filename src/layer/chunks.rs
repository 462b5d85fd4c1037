//! Bytes on their way from one stage to the next: in chunks, a bounded number of them, whose buffers
//! come back to be filled again. Fresh ones would have to be zeroed, which costs as much as hashing.

use std::io::{self, BufRead, Read};
use std::sync::mpsc;

/// Bytes of a chunk.
pub(super) const CHUNK: usize = 256 * 1024;
/// Chunks in flight: what bounds a stage's memory.
const IN_FLIGHT: usize = 8;

/// The end that chunks are put into.
pub(super) struct Sender {
    chunks: mpsc::SyncSender<io::Result<Vec<u8>>>,
    used: mpsc::Receiver<Vec<u8>>,
}

/// The end that bytes come out of.
pub(super) struct Receiver {
    chunks: mpsc::Receiver<io::Result<Vec<u8>>>,
    used: mpsc::Sender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

/// The two ends of a channel.
pub(super) fn channel() -> (Sender, Receiver) {
    let (chunks, receiver) = mpsc::sync_channel(IN_FLIGHT);
    let (back, used) = mpsc::channel();
    let receiver = Receiver {
        chunks: receiver,
        used: back,
        chunk: Vec::new(),
        at: 0,
    };
    (Sender { chunks, used }, receiver)
}

impl Sender {
    /// A buffer of [`CHUNK`] bytes, whatever is in them.
    pub(super) fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.used.try_recv().unwrap_or_default();
        buffer.resize(CHUNK, 0);
        buffer
    }

    /// False when nobody listens any more.
    pub(super) fn send(&self, chunk: Vec<u8>) -> bool {
        self.chunks.send(Ok(chunk)).is_ok()
    }

    /// Why no more chunks come.
    pub(super) fn fail(&self, error: io::Error) {
        // Nobody to hear it is the same as one who heard.
        let _ = self.chunks.send(Err(error));
    }
}

impl Receiver {
    /// Puts the next chunk in the place of the last; answers it, empty at the end.
    ///
    /// # Errors
    /// The sender's.
    pub(super) fn next(&mut self) -> io::Result<&[u8]> {
        // The sender hangs up after the last chunk.
        let chunk = self.chunks.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
        self.at = 0;
        // A sender that is gone needs no buffers.
        let _ = self.used.send(std::mem::replace(&mut self.chunk, chunk));
        Ok(&self.chunk)
    }

    /// What is left of the chunk.
    pub(super) fn rest(&self) -> &[u8] {
        self.chunk.get(self.at..).unwrap_or_default()
    }
}

impl BufRead for Receiver {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest().is_empty() {
            self.next()?;
        }
        Ok(self.rest())
    }

    fn consume(&mut self, len: usize) {
        self.at = self.chunk.len().min(self.at + len);
    }
}

impl Read for Receiver {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.read(buf)?;
        self.consume(len);
        Ok(len)
    }
}

/// Reads until `buffer` is full or `reader` ends; answers how many bytes that were, and the error
/// that came after them.
pub(super) fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> (usize, io::Result<()>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_in_order_and_buffers_come_back() {
        let (sender, mut receiver) = channel();
        let mut first = sender.buffer();
        assert_eq!(first.len(), CHUNK);
        first.truncate(3);
        first.copy_from_slice(b"abc");
        let place = first.as_ptr();
        assert!(sender.send(first) && sender.send(b"de".to_vec()));
        let mut bytes = [0; 4];
        receiver.read_exact(&mut bytes).unwrap();
        assert_eq!((&bytes, receiver.rest()), (b"abcd", &b"e"[..]));
        // The empty one that the receiver began with, then the first.
        let buffers = [sender.buffer(), sender.buffer()];
        assert_eq!(buffers[1].as_ptr(), place);
        sender.fail(io::ErrorKind::TimedOut.into());
        let error = receiver.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(sender);
        assert!(receiver.next().unwrap().is_empty());
        let (sender, receiver) = channel();
        drop(receiver);
        assert!(!sender.send(Vec::new()));
    }
}
