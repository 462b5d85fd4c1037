//! A container's log in a session, as it was printed: without time, stream and tag.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use i2kit_contract::control::Kind;

use super::Session;
use crate::paths;

/// How often a log is looked at for more.
const POLL: Duration = Duration::from_millis(250);
/// Most lines that `tail` holds.
const MOST_LINES: usize = 10_000;
/// The longest record: a line's piece and what stands before it.
const LONGEST_RECORD: u64 = 32 * 1024;

/// Sends the log, from its end with `tail`; with `follow` until the session is closed.
pub async fn send(
    session: &Session,
    container: &str,
    follow: bool,
    tail: Option<usize>,
) -> Result<u32, String> {
    let path = Path::new(paths::LOGS).join(format!("{container}.log"));
    let told = |error: io::Error| format!("read {}: {error}", path.display());
    let mut log = Log::open(&path).map_err(told)?;
    if let Some(tail) = tail {
        let mut last = VecDeque::new();
        while let Some(text) = log.next().map_err(told)? {
            last.push_back(text);
            if last.len() > tail.min(MOST_LINES) {
                last.pop_front();
            }
        }
        for text in last {
            session.send(Kind::Data, &text).await;
        }
    }
    loop {
        while let Some(text) = log.next().map_err(told)? {
            session.send(Kind::Data, &text).await;
        }
        if !follow {
            return Ok(0);
        }
        tokio::time::sleep(POLL).await;
        log.follow_rotation().map_err(told)?;
    }
}

/// A log that may be rotated while it is read.
struct Log {
    path: PathBuf,
    reader: BufReader<File>,
    partial: Vec<u8>,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::new(File::open(path)?),
            partial: Vec::new(),
        })
    }

    /// The text of the next whole record, with its line's end where it has one.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let room = LONGEST_RECORD.saturating_sub(self.partial.len() as u64);
        io::Read::take(&mut self.reader, room).read_until(b'\n', &mut self.partial)?;
        let is_whole = self.partial.ends_with(b"\n");
        if !is_whole && (self.partial.len() as u64) < LONGEST_RECORD {
            return Ok(None);
        }
        let record = std::mem::take(&mut self.partial);
        Ok(Some(text(&record)))
    }

    /// Goes on with the new file once the old one has been read to its end.
    fn follow_rotation(&mut self) -> io::Result<()> {
        let old = self.reader.get_ref().metadata()?.ino();
        match std::fs::metadata(&self.path) {
            Ok(new) if new.ino() != old => *self = Self::open(&self.path)?,
            // Between two names for a moment.
            _ => {}
        }
        Ok(())
    }
}

/// `TIME STREAM TAG TEXT`: the text, and the line's end unless the tag says that there is more.
fn text(record: &[u8]) -> Vec<u8> {
    let line = record.strip_suffix(b"\n").unwrap_or(record);
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let (_, _, tag) = (parts.next(), parts.next(), parts.next());
    let mut text = parts.next().unwrap_or_default().to_vec();
    if tag != Some(b"P") {
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn records_become_what_was_printed() {
        assert_eq!(text(b"2026-01-01T00:00:00Z stdout F a b  c\n"), b"a b  c\n");
        assert_eq!(text(b"2026-01-01T00:00:00Z stderr P half"), b"half");
        assert_eq!(text(b"2026-01-01T00:00:00Z stdout F \n"), b"\n");
    }

    #[test]
    fn a_log_is_followed_across_a_rotation() {
        let folder = std::env::temp_dir().join(format!("i2kit-follow-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("web.log");
        let append = |text: &str| {
            let mut file = File::options()
                .create(true)
                .append(true)
                .open(&path)
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append("t stdout F one\nt stdout F tw");
        let mut log = Log::open(&path).unwrap();
        assert_eq!(log.next().unwrap().as_deref(), Some(&b"one\n"[..]));
        assert_eq!(log.next().unwrap(), None);
        append("o\n");
        assert_eq!(log.next().unwrap().as_deref(), Some(&b"two\n"[..]));
        std::fs::rename(&path, folder.join("web.log.1")).unwrap();
        log.follow_rotation().unwrap();
        append("t stdout F three\n");
        log.follow_rotation().unwrap();
        assert_eq!(log.next().unwrap().as_deref(), Some(&b"three\n"[..]));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
