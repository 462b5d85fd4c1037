//! A large blob in several ranges at once, delivered in order. If ranges are refused on the way,
//! one stream goes on from the byte reached.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::client::Client;
use super::error::{Failure, Reason};
use super::transfer::{Plan, Stream};

pub(super) struct Parallel {
    client: Client,
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    source: Source,
    at: u64,
}

/// Where the next bytes come from.
enum Source {
    /// The first range, which nobody waited for.
    First(Box<Stream>),
    /// A range that came whole, and how much of it was delivered.
    Chunk(Vec<u8>, usize),
    /// All the rest.
    Rest(Box<Stream>),
}

struct Shared {
    size: u64,
    chunk: u64,
    /// Chunks in memory, the one being delivered apart.
    window: u64,
    place: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The next chunk to fetch.
    next: u64,
    /// The next chunk to deliver.
    wanted: u64,
    ready: BTreeMap<u64, Result<Vec<u8>, Failure>>,
    workers: usize,
    is_over: bool,
}

impl Parallel {
    /// A blob of `size` bytes whose first range has an answer: `first`.
    pub fn new(client: &Client, plan: &Arc<Plan>, first: Stream, size: u64) -> Self {
        let ranges = &client.options().ranges;
        let shared = Arc::new(Shared {
            size,
            chunk: ranges.chunk.max(1),
            window: ranges.streams as u64,
            place: first.place,
            state: Mutex::new(State {
                next: 1,
                wanted: 1,
                ready: BTreeMap::new(),
                workers: 0,
                is_over: false,
            }),
            changed: Condvar::new(),
        });
        for _ in 0..ranges.streams {
            shared.lock().workers += 1;
            let (client, plan, worker) = (client.clone(), Arc::clone(plan), Arc::clone(&shared));
            let thread = std::thread::Builder::new().name("range".to_owned());
            if thread.spawn(move || worker.work(&client, &plan)).is_err() {
                shared.lock().workers -= 1;
            }
        }
        Self {
            client: client.clone(),
            plan: Arc::clone(plan),
            shared,
            source: Source::First(Box::new(first)),
            at: 0,
        }
    }

    /// Some bytes, none at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        loop {
            let len = match &mut self.source {
                Source::First(stream) | Source::Rest(stream) => stream.read(buffer)?,
                Source::Chunk(bytes, done) => {
                    let mut rest = bytes.get(*done..).unwrap_or_default();
                    // A slice reads without error.
                    let len = rest.read(buffer).unwrap_or_default();
                    *done += len;
                    len
                }
            };
            self.at += len as u64;
            if len > 0 || self.at >= self.shared.size || buffer.is_empty() {
                return Ok(len);
            }
            self.source = self.next()?;
        }
    }

    fn next(&mut self) -> Result<Source, Failure> {
        match self.shared.take() {
            Some(Ok(bytes)) => Ok(Source::Chunk(bytes, 0)),
            Some(Err(failure)) if !matches!(*failure.reason, Reason::NoRanges) => Err(failure),
            _ => {
                self.shared.end();
                self.client.note("ranges refused: going on with one stream");
                let place = self.shared.place;
                let rest = Stream::whole(&self.client, &self.plan, place, self.at);
                Ok(Source::Rest(Box::new(rest)))
            }
        }
    }
}

impl Drop for Parallel {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// A worker's turn: whatever happens, the chunk gets its answer, so that nobody waits for ever.
struct Turn<'a> {
    shared: &'a Shared,
    chunk: u64,
    result: Result<Vec<u8>, Failure>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let result = std::mem::replace(&mut self.result, Ok(Vec::new()));
        let mut state = self.shared.lock();
        if !state.is_over {
            state.ready.insert(self.chunk, result);
        }
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        state.ready.clear();
        self.changed.notify_all();
    }

    /// The next chunk in order; none when nobody works any more.
    fn take(&self) -> Option<Result<Vec<u8>, Failure>> {
        let mut state = self.lock();
        loop {
            let wanted = state.wanted;
            if let Some(result) = state.ready.remove(&wanted) {
                state.wanted += 1;
                self.changed.notify_all();
                return Some(result);
            }
            if state.workers == 0 {
                return None;
            }
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self, client: &Client, plan: &Arc<Plan>) {
        while let Some(chunk) = self.turn() {
            let mut turn = Turn {
                shared: self,
                chunk,
                result: Err(Reason::NoRanges.into()),
            };
            turn.result = self.fetch(client, plan, chunk);
        }
        self.lock().workers -= 1;
        self.changed.notify_all();
    }

    /// The next chunk to fetch, once there is room for it.
    fn turn(&self) -> Option<u64> {
        let mut state = self.lock();
        loop {
            if state.is_over || state.next.saturating_mul(self.chunk) >= self.size {
                return None;
            }
            if state.next < state.wanted + self.window {
                state.next += 1;
                return Some(state.next - 1);
            }
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn fetch(&self, client: &Client, plan: &Arc<Plan>, chunk: u64) -> Result<Vec<u8>, Failure> {
        let start = chunk * self.chunk;
        let end = (start + self.chunk).min(self.size);
        let mut stream = Stream::range(client, plan, self.place, start, end);
        let mut bytes = Vec::with_capacity(usize::try_from(end - start).unwrap_or_default());
        let mut piece = vec![0; 64 << 10];
        loop {
            let len = stream.read(&mut piece)?;
            bytes.extend_from_slice(piece.get(..len).unwrap_or_default());
            if len == 0 || self.lock().is_over {
                return Ok(bytes);
            }
        }
    }
}
