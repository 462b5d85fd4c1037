//! Slabs of the data blob in the making, and where runs of them may begin anew.
//!
//! So that a file which grows shifts its neighbours and not the whole rest of the layer, packing
//! resynchronises: at some files it starts a new slab. Whether a file *may* do so depends on itself
//! alone (its size and first bytes), with a probability that grows with its size, but not soon after
//! another that may; that it does
//! depends on how much was written since the last time, and on how much of the slab is left. So runs
//! are [`MIN_RUN`] and a little long, whatever the sizes are, and a quarter of a slab of padding is lost
//! at each: less than 2 %.

use i2kit_format::{BLOCK, SLAB};

use super::buffers::Sender;

/// Bytes written between two cuts, at least.
const MIN_RUN: u64 = 5 << 20;
/// Padding that a run as long as that is not ended for; one twice as long is.
const MAX_PADDING: u64 = SLAB / 2;
/// Bytes of files between two that may cut, at least.
const SPACING: u64 = 2 << 20;
/// Mean bytes of files between those that may, beyond that. A file at least as long always may.
const CANDIDATES: u64 = 1 << 20;
/// Bytes of a file that decide whether it may.
const HEAD: usize = 1024;

/// The stage behind is gone: it has failed, and its own error tells why.
#[derive(Debug)]
pub(super) struct Gone;

/// Collects slabs and sends them off when they are full.
pub(super) struct Slabs {
    slab: Vec<u8>,
    /// Bytes of the slabs sent before.
    sent: u64,
    /// Where the last run began.
    run: u64,
    slabs: Sender<Vec<u8>>,
}

/// Picks the files at which packing may start a new slab.
#[derive(Default)]
pub(super) struct Candidates {
    /// Bytes of files since the last one.
    since: u64,
}

impl Candidates {
    /// Whether packing may cut at the next file, of `size` bytes, whose first ones are `head`.
    pub(super) fn is_next(&mut self, size: u64, head: &[u8]) -> bool {
        let is_candidate = self.since >= SPACING && is_picked(size, head);
        if is_candidate {
            self.since = 0;
        }
        self.since = self.since.saturating_add(size);
        is_candidate
    }
}

fn is_picked(size: u64, head: &[u8]) -> bool {
    let mut hash = blake3::Hasher::new();
    hash.update(&size.to_le_bytes())
        .update(head.get(..HEAD).unwrap_or(head));
    let hash = hash.finalize();
    let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    u128::from(u64::from_le_bytes(first)) * u128::from(CANDIDATES) < u128::from(size) << 64
}

impl Slabs {
    pub(super) fn new(slabs: Sender<Vec<u8>>) -> Self {
        Self {
            slab: empty_slab(&slabs),
            sent: 0,
            run: 0,
            slabs,
        }
    }

    /// The block that what is appended next begins at, after zeros up to there.
    pub(super) fn next_block(&mut self) -> Result<u64, Gone> {
        self.pad_to(BLOCK)?;
        Ok(self.position() / BLOCK)
    }

    /// Starts a new slab, if the run is long enough.
    pub(super) fn cut(&mut self) -> Result<(), Gone> {
        let run = self.position() - self.run;
        let padding = self.position().next_multiple_of(SLAB) - self.position();
        if run >= 2 * MIN_RUN || (run >= MIN_RUN && padding <= MAX_PADDING) {
            self.pad_to(SLAB)?;
            self.run = self.position();
        }
        Ok(())
    }

    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let room = usize::try_from(SLAB).unwrap_or(0) - self.slab.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.slab.extend_from_slice(now);
            bytes = later;
            self.send_if_full()?;
        }
        Ok(())
    }

    /// Fills the last slab up and sends it.
    pub(super) fn finish(mut self) -> Result<(), Gone> {
        self.pad_to(SLAB)
    }

    pub(super) fn position(&self) -> u64 {
        self.sent + self.slab.len() as u64
    }

    fn pad_to(&mut self, multiple: u64) -> Result<(), Gone> {
        let len = (self.slab.len() as u64).next_multiple_of(multiple);
        self.slab.resize(usize::try_from(len).unwrap_or(0), 0);
        self.send_if_full()
    }

    fn send_if_full(&mut self) -> Result<(), Gone> {
        if self.slab.len() as u64 == SLAB {
            let full = std::mem::replace(&mut self.slab, empty_slab(&self.slabs));
            self.sent += SLAB;
            return self.slabs.send(full).then_some(()).ok_or(Gone);
        }
        Ok(())
    }
}

fn empty_slab(slabs: &Sender<Vec<u8>>) -> Vec<u8> {
    let mut slab = slabs.spare();
    slab.clear();
    slab.reserve_exact(usize::try_from(SLAB).unwrap_or(0));
    slab
}
