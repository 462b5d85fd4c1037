//! The console: every active kernel console gets every line, and nobody waits for a slow one.
//!
//! `/dev/console` reaches only the last `console=` of the command line, so the terminals that
//! `/sys/class/tty/console/active` lists are opened one by one. A thread writes; the queue to it
//! is bounded, and container lines that find it full are dropped and counted.

use std::{
    collections::VecDeque,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Container lines are dropped while more than this many bytes wait.
const QUEUE_BYTES: usize = 1 << 20;
/// How long one line may wait for one terminal before the rest of it is given up.
const TERMINAL_PATIENCE: Duration = Duration::from_secs(1);

/// A handle to the console; clones share one queue.
#[derive(Clone)]
pub struct Console {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
    writing: bool,
    terminals: Vec<Arc<File>>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A writer that panicked leaves a usable queue: each change is one push or pop.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Console {
    /// Starts the writer. Until [`Console::attach`] is called, lines go to standard error, which the
    /// kernel connects to `/dev/console` for PID 1.
    pub fn start() -> Self {
        let queue = Arc::new(Queue::default());
        let shared = Arc::clone(&queue);
        let started = thread::Builder::new()
            .name("console".into())
            .spawn(move || write_lines(&shared));
        if started.is_err() {
            // Without a thread the lines stay queued; the boot itself can still go on.
            queue.lock().dropped = 0;
        }
        Self { queue }
    }

    /// Sends lines to these terminals from now on. None means standard error.
    pub fn attach(&self, terminals: Vec<File>) {
        self.queue.lock().terminals = terminals.into_iter().map(Arc::new).collect();
    }

    /// Prints a line of PID 1 itself. Never dropped.
    pub fn say(&self, message: impl fmt::Display) {
        self.push(format!("i2kit: {message}\n").into_bytes(), true);
    }

    /// Prints a line as it is. Never dropped.
    pub fn raw_line(&self, line: &str) {
        self.push(format!("{line}\n").into_bytes(), true);
    }

    /// Prints `[name] line`, or drops and counts it when the terminals are too slow.
    pub fn prefixed(&self, name: &str, line: &[u8]) {
        let mut bytes = Vec::with_capacity(name.len() + line.len() + 4);
        bytes.push(b'[');
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b"] ");
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        self.push(bytes, false);
    }

    fn push(&self, line: Vec<u8>, always: bool) {
        let mut state = self.queue.lock();
        if !always && state.bytes.saturating_add(line.len()) > QUEUE_BYTES {
            state.dropped = state.dropped.saturating_add(1);
            return;
        }
        state.bytes = state.bytes.saturating_add(line.len());
        state.lines.push_back(line);
        self.queue.changed.notify_all();
    }

    /// Waits until everything is written, at most `patience`.
    pub fn flush(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let mut state = self.queue.lock();
        while !state.lines.is_empty() || state.writing {
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return;
            };
            state = match self.queue.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

fn write_lines(queue: &Queue) {
    let mut state = queue.lock();
    loop {
        if let Some(line) = state.lines.pop_front() {
            state.bytes = state.bytes.saturating_sub(line.len());
            state.writing = true;
            let terminals = state.terminals.clone();
            drop(state);
            write_everywhere(&terminals, &line);
            state = queue.lock();
            state.writing = false;
            if state.lines.is_empty() && state.dropped > 0 {
                let notice = format!("i2kit: console too slow: {} lines dropped\n", state.dropped);
                state.dropped = 0;
                state.bytes = state.bytes.saturating_add(notice.len());
                state.lines.push_back(notice.into_bytes());
            }
            queue.changed.notify_all();
        } else {
            state = queue
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn write_everywhere(terminals: &[Arc<File>], line: &[u8]) {
    // A terminal that fails cannot be reported anywhere but on the others.
    if terminals.is_empty() {
        let _ = io::stderr().write_all(line);
    }
    for terminal in terminals {
        let _ = write_patiently(terminal, line, TERMINAL_PATIENCE);
    }
}

/// Writes to a file opened with `O_NONBLOCK`, giving up after `patience`.
///
/// # Errors
/// `TimedOut` when the reader took too long, with part of the data possibly written.
pub fn write_patiently(mut file: &File, mut data: &[u8], patience: Duration) -> io::Result<()> {
    let end = Instant::now() + patience;
    while !data.is_empty() {
        match file.write(data) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => data = data.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left = end
                    .checked_duration_since(Instant::now())
                    .ok_or(io::ErrorKind::TimedOut)?;
                let timeout = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
                let mut fds = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::OUT)];
                poll(&mut fds, Some(&timeout))?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Opens each console the kernel writes to; `/dev/console` when the list is missing.
pub fn active_terminals() -> Vec<File> {
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let mut terminals: Vec<File> = active
        .split_ascii_whitespace()
        .filter_map(|name| open_terminal(&format!("/dev/{name}")).ok())
        .collect();
    if terminals.is_empty() {
        terminals.extend(open_terminal("/dev/console"));
    }
    terminals
}

fn open_terminal(path: &str) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::fd::OwnedFd};

    use super::*;

    fn pipe() -> (File, File) {
        let (reader, writer) = io::pipe().unwrap();
        let writer: OwnedFd = writer.into();
        rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
        (File::from(OwnedFd::from(reader)), File::from(writer))
    }

    #[test]
    fn every_terminal_gets_every_line_in_order() {
        let (mut first, one) = pipe();
        let (mut second, two) = pipe();
        let console = Console::start();
        console.attach(vec![one, two]);
        console.say("hello");
        console.prefixed("web", b"GET /");
        console.flush(Duration::from_secs(5));
        console.attach(Vec::new());
        let (mut a, mut b) = (String::new(), String::new());
        first.read_to_string(&mut a).unwrap();
        second.read_to_string(&mut b).unwrap();
        assert_eq!(a, "i2kit: hello\n[web] GET /\n");
        assert_eq!(a, b);
    }

    #[test]
    fn a_stuck_terminal_drops_container_lines_and_counts_them() {
        let (_reader, stuck) = pipe();
        let console = Console::start();
        console.attach(vec![stuck]);
        let line = vec![b'x'; 64 * 1024];
        let begun = Instant::now();
        for _ in 0..64 {
            console.prefixed("web", &line);
        }
        assert!(
            begun.elapsed() < TERMINAL_PATIENCE,
            "a container had to wait"
        );
        let state = console.queue.lock();
        assert!(state.dropped >= 40, "dropped {}", state.dropped);
        assert!(state.bytes <= QUEUE_BYTES);
    }
}
