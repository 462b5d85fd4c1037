//! The containers' output: to the console, prefixed, and to files in the kubelet's format.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    rc::Rc,
    time::SystemTime,
};

use crate::{
    console::Console,
    pod::{output::Consumer, timestamp},
};

/// Longer lines are cut in pieces, as containerd's own log is.
pub const LONGEST_LINE: usize = 16 * 1024;
/// Records are written together up to about this many bytes.
const LONGEST_BATCH: usize = 128 * 1024;

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
    /// Records that wait for [`LogFile::flush`].
    pending: Vec<u8>,
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
            pending: Vec::new(),
        })
    }

    /// Takes one line in the CRI's format; [`LogFile::flush`] writes it.
    pub fn write(&mut self, stream: &str, line: &[u8], complete: bool) {
        let tag = if complete { 'F' } else { 'P' };
        let now = timestamp::nanoseconds(SystemTime::now());
        // Writing to a vector cannot fail.
        let _ = write!(self.pending, "{now} {stream} {tag} ");
        self.pending.extend_from_slice(line);
        self.pending.push(b'\n');
        if self.pending.len() > LONGEST_BATCH {
            self.flush();
        }
    }

    /// Writes what was taken, in one go. What cannot be written, on a full disk say, is lost: a
    /// container never waits for its log. No record is left there in part.
    pub fn flush(&mut self) {
        let records = std::mem::take(&mut self.pending);
        if records.is_empty() || self.size > self.limit && self.rotate().is_err() {
            return;
        }
        if self.file.write_all(&records).is_ok() {
            self.size = self.size.saturating_add(records.len() as u64);
        } else {
            // If not even this is possible, a reader meets half a record.
            let _ = self.file.set_len(self.size);
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            // A gap in the row is no error.
            let _ = fs::rename(self.numbered(number), self.numbered(number + 1));
        }
        match fs::rename(&self.path, self.numbered(1)) {
            // A rotation before this one found no room for the new file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
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

/// The end of a container's output: what the kubelet takes for a termination message.
#[derive(Debug, Default)]
pub struct Tail {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Tail {
    const LINES: usize = 80;
    const BYTES: usize = 2048;

    fn push(&mut self, line: &[u8]) {
        let from = line.len().saturating_sub(Self::BYTES - 1);
        let line = line.get(from..).unwrap_or_default();
        self.bytes = self.bytes.saturating_add(line.len() + 1);
        self.lines.push_back(line.to_vec());
        while self.lines.len() > Self::LINES || self.bytes > Self::BYTES {
            let first = self.lines.pop_front().unwrap_or_default();
            self.bytes = self.bytes.saturating_sub(first.len() + 1);
        }
    }

    /// The lines, oldest first.
    pub fn text(&self) -> String {
        let lines = self.lines.iter();
        let lines = lines.map(|line| format!("{}\n", String::from_utf8_lossy(line)));
        lines.collect()
    }
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
    pub file: Option<Rc<RefCell<LogFile>>>,
    /// The end of both streams.
    pub tail: Rc<RefCell<Tail>>,
}

impl Sink {
    fn line(&self, line: &[u8], complete: bool) {
        self.console.container_line(&self.container, line);
        self.tail.borrow_mut().push(line);
        if let Some(file) = &self.file {
            file.borrow_mut().write(self.stream, line, complete);
        }
    }

    fn flush(&self) {
        if let Some(file) = &self.file {
            file.borrow_mut().flush();
        }
    }
}

/// A sink and what has come of the line it is in.
pub struct Lines {
    splitter: LineSplitter,
    sink: Sink,
}

impl Lines {
    /// At the start of a line.
    pub fn new(sink: Sink) -> Self {
        let splitter = LineSplitter::default();
        Self { splitter, sink }
    }
}

impl Consumer for Lines {
    fn take(&mut self, data: &[u8]) {
        let sink = &self.sink;
        self.splitter
            .push(data, |line, complete| sink.line(line, complete));
        sink.flush();
    }

    fn finish(&mut self) {
        let sink = &self.sink;
        self.splitter
            .finish(|line, complete| sink.line(line, complete));
        sink.flush();
    }
}

#[cfg(test)]
mod tests {
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
            log.flush();
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

    /// The kernel's own full disk: what did not fit leaves no trace, and what fits again is there.
    #[test]
    fn a_full_disk_leaves_no_record_in_part() {
        let mut log = LogFile::open("/dev/full".into(), 100, 2).unwrap();
        log.write("stdout", b"lost", true);
        log.flush();
        assert_eq!((log.size, log.pending.len()), (0, 0));
    }

    #[test]
    fn the_tail_is_the_last_lines_and_bytes() {
        let mut tail = Tail::default();
        for number in 0..200 {
            tail.push(format!("{number}").as_bytes());
        }
        let text = tail.text();
        assert_eq!(text.lines().count(), Tail::LINES);
        assert!(text.starts_with("120\n") && text.ends_with("199\n"));
        for _ in 0..100 {
            tail.push(&[b'x'; 5000]);
        }
        assert_eq!(tail.text().len(), Tail::BYTES);
    }
}
