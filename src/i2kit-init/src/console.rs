//! The console: every active kernel console gets every line, and nobody waits for a slow one.
//!
//! `/dev/console` reaches only the last `console=` of the command line, so the terminals that
//! `/sys/class/tty/console/active` lists are opened one by one. One thread writes, whole lines
//! only, the kernel's among them (see [`crate::kmsg`]): so no two lines mix. The queue to it is
//! bounded, and relayed lines that find it full are dropped and counted.

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

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// Relayed lines are dropped while more than this many bytes wait.
const QUEUE_BYTES: usize = 1 << 20;
/// Lines are written together up to about this many bytes: a terminal's buffer.
const BATCH_BYTES: usize = 4096;
/// How long a batch may wait for one terminal before the rest of it is given up. A terminal that
/// has failed so once gets no patience until it takes something again.
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
    lines: VecDeque<Line>,
    bytes: usize,
    dropped: u64,
    writing: bool,
    terminals: Vec<Arc<Terminal>>,
}

struct Line {
    bytes: Vec<u8>,
    /// Somebody else's rather than PID 1's.
    droppable: bool,
}

struct Terminal {
    file: File,
    gap: Mutex<Gap>,
}

/// What a terminal that took too long has missed.
#[derive(Default)]
struct Gap {
    /// It has not taken all of the last batch.
    stuck: bool,
    /// The rest of a line that it has the start of.
    tail: Vec<u8>,
    /// Lines it has missed without being told.
    lines: usize,
}

impl Gap {
    fn notice(&self) -> String {
        match self.lines {
            0 => String::new(),
            lines => format!("i2kit: console stuck: {lines} lines lost here\n"),
        }
    }

    /// Keeps the books: of the tail, the notice and the batch that were due, `written` bytes are
    /// out. A line that has been begun is always finished, the others are lost.
    fn written(&mut self, notice: &str, batch: &[u8], written: usize) {
        let due = [self.tail.as_slice(), notice.as_bytes(), batch].concat();
        let (out, rest) = due.split_at_checked(written).unwrap_or((&due, &[]));
        let is_whole = match out.last() {
            Some(last) => *last == b'\n',
            None => self.tail.is_empty(),
        };
        let end = if is_whole { 0 } else { end_of_line(rest) };
        if written > self.tail.len() {
            self.lines = 0;
        }
        let lost = rest.get(end..).unwrap_or_default();
        let of_batch = lost.len().min(batch.len());
        self.lines = self.lines.saturating_add(count_lines(
            batch.get(batch.len() - of_batch..).unwrap_or_default(),
        ));
        self.tail = rest.get(..end).unwrap_or_default().to_vec();
    }
}

impl Terminal {
    fn new(file: File) -> Self {
        Self {
            file,
            gap: Mutex::default(),
        }
    }

    fn write(&self, batch: &[u8]) {
        // Only the writer's thread takes this lock.
        let mut gap = self.gap.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = if gap.stuck {
            Duration::ZERO
        } else {
            TERMINAL_PATIENCE
        };
        let notice = gap.notice();
        let due = [gap.tail.as_slice(), notice.as_bytes(), batch].concat();
        let (written, result) = write_patiently(&self.file, &due, patience);
        gap.written(&notice, batch, written);
        gap.stuck = result.is_err();
    }
}

fn end_of_line(data: &[u8]) -> usize {
    data.iter()
        .position(|byte| *byte == b'\n')
        .map_or(data.len(), |end| end + 1)
}

fn count_lines(data: &[u8]) -> usize {
    data.iter().filter(|byte| **byte == b'\n').count()
}

impl State {
    fn enqueue(&mut self, line: Line) {
        self.bytes = self.bytes.saturating_add(line.bytes.len());
        self.lines.push_back(line);
    }

    fn next_batch(&mut self) -> Vec<u8> {
        let mut batch = Vec::new();
        while let Some(line) = self.lines.pop_front() {
            if !batch.is_empty() && batch.len().saturating_add(line.bytes.len()) > BATCH_BYTES {
                self.lines.push_front(line);
                break;
            }
            self.bytes = self.bytes.saturating_sub(line.bytes.len());
            batch.extend(line.bytes);
        }
        batch
    }
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
        let terminals = terminals.into_iter().map(Terminal::new).map(Arc::new);
        self.queue.lock().terminals = terminals.collect();
    }

    /// Prints a line of PID 1 itself. Never dropped.
    pub fn say(&self, message: impl fmt::Display) {
        self.push(format!("i2kit: {message}\n").into_bytes(), true);
    }

    /// Prints a line as it is. Never dropped.
    pub fn raw_line(&self, line: &str) {
        self.push(format!("{line}\n").into_bytes(), true);
    }

    /// Prints a container's line as `[name] line`, or drops and counts it when the terminals are
    /// too slow.
    pub fn container_line(&self, name: &str, line: &[u8]) {
        self.push([b"[", name.as_bytes(), b"] ", line, b"\n"].concat(), false);
    }

    /// Prints `name: line` for a part of the system, or drops and counts it as
    /// [`Console::container_line`] does.
    pub fn system_line(&self, name: &str, line: &[u8]) {
        self.push([name.as_bytes(), b": ", line, b"\n"].concat(), false);
    }

    fn push(&self, bytes: Vec<u8>, always: bool) {
        let mut state = self.queue.lock();
        if !always && state.bytes.saturating_add(bytes.len()) > QUEUE_BYTES {
            state.dropped = state.dropped.saturating_add(1);
            return;
        }
        state.enqueue(Line {
            bytes,
            droppable: !always,
        });
        self.queue.changed.notify_all();
    }

    /// Drops the relayed lines that wait, so that what comes now is seen at once.
    pub fn drop_backlog(&self) {
        let mut state = self.queue.lock();
        let before = state.lines.len();
        state.lines.retain(|line| !line.droppable);
        let dropped = before.saturating_sub(state.lines.len());
        state.dropped = state
            .dropped
            .saturating_add(u64::try_from(dropped).unwrap_or(u64::MAX));
        state.bytes = state.lines.iter().map(|line| line.bytes.len()).sum();
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
        if state.lines.is_empty() {
            state = queue
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let batch = state.next_batch();
        state.writing = true;
        let terminals = state.terminals.clone();
        drop(state);
        write_everywhere(&terminals, &batch);
        state = queue.lock();
        state.writing = false;
        if state.lines.is_empty() && state.dropped > 0 {
            let notice = format!("i2kit: console too slow: {} lines dropped\n", state.dropped);
            state.dropped = 0;
            state.enqueue(Line {
                bytes: notice.into_bytes(),
                droppable: false,
            });
        }
        queue.changed.notify_all();
    }
}

fn write_everywhere(terminals: &[Arc<Terminal>], data: &[u8]) {
    if terminals.is_empty() {
        // A failure could be reported nowhere else.
        let _ = io::stderr().write_all(data);
    }
    for terminal in terminals {
        terminal.write(data);
    }
}

/// Writes to a file opened with `O_NONBLOCK`, giving up after `patience`: how many bytes were
/// written, and `TimedOut` when the reader took too long for the rest.
pub fn write_patiently(
    mut file: &File,
    data: &[u8],
    patience: Duration,
) -> (usize, io::Result<()>) {
    let end = Instant::now() + patience;
    let mut written = 0;
    while let Some(rest) = data.get(written..).filter(|rest| !rest.is_empty()) {
        let outcome = match file.write(rest) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                written += count;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => await_room(file, end),
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            return (written, outcome);
        }
    }
    (written, Ok(()))
}

fn await_room(file: &File, end: Instant) -> io::Result<()> {
    let left = end
        .checked_duration_since(Instant::now())
        .ok_or(io::ErrorKind::TimedOut)?;
    let timeout = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut fds = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::OUT)];
    match poll(&mut fds, Some(&timeout)) {
        // Any thread may get the SIGCHLD of a child that ended, and poll never starts again.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
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
        console.container_line("web", b"GET /");
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
            console.container_line("web", &line);
        }
        assert!(
            begun.elapsed() < TERMINAL_PATIENCE,
            "a container had to wait"
        );
        let state = console.queue.lock();
        assert!(state.dropped >= 40, "dropped {}", state.dropped);
        assert!(state.bytes <= QUEUE_BYTES);
    }

    #[test]
    fn a_stuck_terminal_keeps_nobody_waiting_for_long() {
        let (_reader, stuck) = pipe();
        let (mut reader, working) = pipe();
        let console = Console::start();
        console.attach(vec![stuck, working]);
        let collector = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        for number in 0..4000 {
            console.say(format_args!("{number} {}", "x".repeat(100)));
        }
        console.flush(Duration::from_secs(20));
        console.attach(Vec::new());
        let text = collector.join().unwrap().unwrap();
        assert_eq!(text.lines().count(), 4000);
    }

    /// What a terminal shows that was stuck for a while: whole lines, and how many are missing.
    #[test]
    fn a_terminal_that_was_stuck_shows_whole_lines_and_the_gap() {
        let (mut reader, terminal) = pipe();
        rustix::pipe::fcntl_setpipe_size(&terminal, 4096).unwrap();
        let console = Console::start();
        console.attach(vec![terminal]);
        let line = |number: usize| format!("line {number} {}", "x".repeat(90));
        for number in 0..200 {
            console.say(line(number));
        }
        // Nobody reads until the writer has given up on all of them.
        console.flush(Duration::from_secs(10));
        let collector = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        let mut seen_again = 200;
        while console.queue.lock().terminals[0].gap.lock().unwrap().stuck {
            console.say(line(seen_again));
            console.flush(Duration::from_secs(10));
            seen_again += 1;
        }
        console.attach(Vec::new());
        let text = collector.join().unwrap().unwrap();
        let lost: Vec<usize> = text
            .lines()
            .filter_map(|line| line.strip_prefix("i2kit: console stuck: "))
            .map(|rest| {
                rest.strip_suffix(" lines lost here")
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        let whole = text
            .lines()
            .filter(|shown| {
                (0..seen_again).any(|number| **shown == format!("i2kit: {}", line(number)))
            })
            .count();
        assert!(lost.iter().sum::<usize>() > 100, "{text}");
        assert_eq!(whole + lost.iter().sum::<usize>(), seen_again, "{text}");
        assert_eq!(text.lines().count(), whole + lost.len(), "{text}");
    }

    #[test]
    fn a_failure_does_not_wait_for_containers_lines() {
        let (mut reader, terminal) = pipe();
        // The writer starts only after the backlog is there.
        let console = Console {
            queue: Arc::default(),
        };
        for _ in 0..1000 {
            console.container_line("web", b"line");
        }
        console.drop_backlog();
        console.attach(vec![terminal]);
        console.say("the reason");
        let queue = Arc::clone(&console.queue);
        thread::spawn(move || write_lines(&queue));
        console.flush(Duration::from_secs(5));
        console.attach(Vec::new());
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(
            text,
            "i2kit: the reason\ni2kit: console too slow: 1000 lines dropped\n"
        );
    }
}
