//! The containers' output: to the console, prefixed, and to files in the kubelet's format.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::{net::unix::pipe, sync::oneshot};

use crate::console::Console;

/// Longer lines are cut in pieces, as containerd's own log is.
pub const LONGEST_LINE: usize = 16 * 1024;

/// Cuts a stream of bytes into lines.
#[derive(Default)]
pub struct LineSplitter {
    partial: Vec<u8>,
}

impl LineSplitter {
    /// Hands out every line that `data` ends, and pieces of lines that are too long; the second
    /// argument is true for a line's last piece.
    pub fn push(&mut self, data: &[u8], mut emit: impl FnMut(&[u8], bool)) {
        let mut rest = data;
        while !rest.is_empty() {
            let room = LONGEST_LINE.saturating_sub(self.partial.len());
            let window = rest.get(..room.saturating_add(1)).unwrap_or(rest);
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                let (line, after) = rest.split_at(end);
                self.partial.extend_from_slice(line);
                emit(&self.partial, true);
                self.partial.clear();
                rest = after.get(1..).unwrap_or_default();
            } else if rest.len() > room {
                let (piece, after) = rest.split_at(room);
                self.partial.extend_from_slice(piece);
                emit(&self.partial, false);
                self.partial.clear();
                rest = after;
            } else {
                self.partial.extend_from_slice(rest);
                return;
            }
        }
    }

    /// Hands out what has come since the last line's end.
    pub fn finish(&mut self, mut emit: impl FnMut(&[u8], bool)) {
        if !self.partial.is_empty() {
            emit(&self.partial, true);
            self.partial.clear();
        }
    }
}

/// A log file that is rotated by size, as the kubelet does.
pub struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
    keep: u8,
}

impl LogFile {
    /// Appends to `path`; beyond `limit` bytes it becomes `path.1`, and so on up to `path.keep`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: PathBuf, limit: u64, keep: u8) -> io::Result<Self> {
        let file = append(&path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path,
            file,
            size,
            limit,
            keep,
        })
    }

    /// Writes one line in the CRI's format. What cannot be written, on a full disk say, is lost:
    /// a container never waits for its log.
    pub fn write(&mut self, stream: &str, line: &[u8], complete: bool) {
        if self.size > self.limit && self.rotate().is_err() {
            return;
        }
        let tag = if complete { 'F' } else { 'P' };
        let mut record = format!("{} {stream} {tag} ", rfc3339(SystemTime::now())).into_bytes();
        record.extend_from_slice(line);
        record.push(b'\n');
        if self.file.write_all(&record).is_ok() {
            self.size = self.size.saturating_add(record.len() as u64);
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            // A gap in the row is no error.
            let _ = fs::rename(self.numbered(number), self.numbered(number + 1));
        }
        fs::rename(&self.path, self.numbered(1))?;
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }

    fn numbered(&self, number: u8) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// UTC with nanoseconds. Days are turned into a date by the proleptic Gregorian rule.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_nanos()
    )
}

/// Year, month and day of a day since 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

/// Where the lines of one stream of one container go.
pub struct Sink {
    /// Container name.
    pub container: String,
    /// `stdout` or `stderr`.
    pub stream: &'static str,
    /// The console.
    pub console: Console,
    /// The log file, if it could be opened.
    pub file: Option<std::rc::Rc<std::cell::RefCell<LogFile>>>,
}

impl Sink {
    fn line(&self, line: &[u8], complete: bool) {
        self.console.container_line(&self.container, line);
        if let Some(file) = &self.file {
            file.borrow_mut().write(self.stream, line, complete);
        }
    }
}

/// Reads a fifo until `done`, and then what is still in it.
pub async fn pump(fifo: pipe::Receiver, sink: Sink, mut done: oneshot::Receiver<()>) {
    let mut splitter = LineSplitter::default();
    let mut buffer = vec![0; 64 * 1024];
    let mut ending = false;
    loop {
        match fifo.try_read(&mut buffer) {
            Ok(length @ 1..) => {
                splitter.push(
                    buffer.get(..length).unwrap_or_default(),
                    |line, complete| {
                        sink.line(line, complete);
                    },
                );
                // A container that never stops writing must not keep the others waiting.
                tokio::task::yield_now().await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !ending => {
                tokio::select! {
                    ready = fifo.readable() => if ready.is_err() { break },
                    _ = &mut done => ending = true,
                }
            }
            _ => break,
        }
    }
    splitter.finish(|line, complete| sink.line(line, complete));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(chunk, |line, complete| {
                lines.push((line.to_vec(), complete))
            });
        }
        splitter.finish(|line, complete| lines.push((line.to_vec(), complete)));
        lines
    }

    #[test]
    fn lines_are_joined_across_reads() {
        let lines = split(&[b"one\ntw", b"o\n\nthree"]);
        let text: Vec<&[u8]> = lines.iter().map(|(line, _)| line.as_slice()).collect();
        assert_eq!(text, [b"one".as_slice(), b"two", b"", b"three"]);
    }

    #[test]
    fn a_line_of_the_longest_length_is_whole_and_a_longer_one_is_cut() {
        let mut exact = vec![b'x'; LONGEST_LINE];
        exact.push(b'\n');
        assert_eq!(split(&[&exact]), [(vec![b'x'; LONGEST_LINE], true)]);
        let mut longer = vec![b'x'; LONGEST_LINE + 1];
        longer.push(b'\n');
        assert_eq!(
            split(&[&longer]),
            [(vec![b'x'; LONGEST_LINE], false), (vec![b'x'], true)]
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_it_is_cut(
            data in proptest::collection::vec(prop_oneof![9 => Just(b'a'), 1 => Just(b'\n')], 0..60_000),
            size in 1usize..40_000,
        ) {
            let chunks: Vec<&[u8]> = data.chunks(size).collect();
            let mut joined = Vec::new();
            for (line, complete) in split(&chunks) {
                prop_assert!(line.len() <= LONGEST_LINE);
                joined.extend(line);
                if complete {
                    joined.push(b'\n');
                }
            }
            let mut expected = data.clone();
            if !expected.is_empty() && !expected.ends_with(b"\n") {
                expected.push(b'\n');
            }
            prop_assert_eq!(joined, expected);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59.000000000Z");
        assert_eq!(at(951_868_799), "2000-02-29T23:59:59.000000000Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000000000Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59.000000000Z");
    }

    #[test]
    fn a_full_log_is_rotated_and_the_oldest_dropped() {
        let folder = std::env::temp_dir().join(format!("i2kit-logs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("web.log");
        let mut log = LogFile::open(path.clone(), 100, 2).unwrap();
        for number in 0..12 {
            log.write(
                "stdout",
                format!("line {number:02} {}", "x".repeat(60)).as_bytes(),
                true,
            );
        }
        let mut names: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["web.log", "web.log.1", "web.log.2"]);
        let last = fs::read_to_string(&path).unwrap();
        assert!(last.contains(" stdout F line 11 "), "{last}");
        fs::remove_dir_all(folder).unwrap();
    }
}
