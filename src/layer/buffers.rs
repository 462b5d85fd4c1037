//! Buffers on their way from one stage to the next, a bounded number of them, and back to be filled
//! again. Fresh ones would have to be zeroed and paged in, which costs as much as hashing.

use std::io::{self, BufRead, Read};
use std::sync::mpsc;

/// Buffers in flight: what bounds a stage's memory.
const IN_FLIGHT: usize = 8;

/// The end that full buffers are put into.
pub(super) struct Sender<T = Vec<u8>> {
    full: mpsc::SyncSender<io::Result<T>>,
    used: mpsc::Receiver<Vec<u8>>,
}

/// The end that full buffers come out of.
pub(super) struct Receiver<T = Vec<u8>> {
    full: mpsc::Receiver<io::Result<T>>,
    used: mpsc::Sender<Vec<u8>>,
}

/// The two ends of a channel for buffers, or for items that have one each.
pub(super) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, full) = mpsc::sync_channel(IN_FLIGHT);
    let (back, used) = mpsc::channel();
    let receiver = Receiver { full, used: back };
    (Sender { full: sender, used }, receiver)
}

impl<T> Sender<T> {
    /// A buffer that came back, with whatever is in it, or a new one.
    pub(super) fn spare(&self) -> Vec<u8> {
        self.used.try_recv().unwrap_or_default()
    }

    /// False when nobody listens any more.
    pub(super) fn send(&self, full: T) -> bool {
        self.full.send(Ok(full)).is_ok()
    }

    /// Why no more buffers come.
    pub(super) fn fail(&self, error: io::Error) {
        // Nobody to hear it is the same as one who heard.
        let _ = self.full.send(Err(error));
    }
}

impl<T> Receiver<T> {
    /// The buffers, until the sender hangs up, and its error.
    pub(super) fn iter(&self) -> impl Iterator<Item = io::Result<T>> {
        self.full.iter()
    }

    /// Lets the sender fill the buffer again.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        // A sender that is gone needs none.
        let _ = self.used.send(buffer);
    }
}

/// The bytes in the buffers that come.
pub(super) struct Bytes {
    buffers: Receiver,
    buffer: Vec<u8>,
    at: usize,
}

impl Bytes {
    pub(super) fn new(buffers: Receiver) -> Self {
        Self {
            buffers,
            buffer: Vec::new(),
            at: 0,
        }
    }

    /// Puts the next buffer in the place of the last; answers its bytes, none at the end.
    ///
    /// # Errors
    /// The sender's.
    pub(super) fn next(&mut self) -> io::Result<&[u8]> {
        let next = self.buffers.iter().next().unwrap_or(Ok(Vec::new()))?;
        self.at = 0;
        let last = std::mem::replace(&mut self.buffer, next);
        self.buffers.give_back(last);
        Ok(&self.buffer)
    }

    /// What is left of the buffer.
    pub(super) fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }
}

impl BufRead for Bytes {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest().is_empty() {
            self.next()?;
        }
        Ok(self.rest())
    }

    fn consume(&mut self, len: usize) {
        self.at = self.buffer.len().min(self.at + len);
    }
}

impl Read for Bytes {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.read(buf)?;
        self.consume(len);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_in_order_and_buffers_come_back() {
        let (sender, receiver) = channel();
        let mut bytes = Bytes::new(receiver);
        let first = b"abc".to_vec();
        let place = first.as_ptr();
        assert!(sender.send(first) && sender.send(b"de".to_vec()));
        let mut some = [0; 4];
        bytes.read_exact(&mut some).unwrap();
        assert_eq!((&some, bytes.rest()), (b"abcd", &b"e"[..]));
        // The empty one that there was before, then the first.
        let spares = [sender.spare(), sender.spare()];
        assert_eq!(spares[1].as_ptr(), place);
        sender.fail(io::ErrorKind::TimedOut.into());
        let error = bytes.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(sender);
        assert!(bytes.next().unwrap().is_empty());
        let (sender, receiver) = channel::<Vec<u8>>();
        drop(receiver);
        assert!(!sender.send(Vec::new()));
    }
}
