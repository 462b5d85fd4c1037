//! Reads the guest's status lines: bounded, and never surprised.

use std::io::{self, BufRead};

use i2kit_contract::Status;

/// A longer line is not one of ours.
const LONGEST_LINE: usize = 64 * 1024;
/// How much of a bad line a warning shows.
const SHOWN: usize = 80;

/// Reads the next status line. `Ok(None)` is the end of the stream; the inner error says what was
/// read instead of a status.
///
/// # Errors
/// When the stream cannot be read.
pub fn read(stream: &mut impl BufRead) -> io::Result<Option<Result<Status, String>>> {
    loop {
        let Some(line) = read_line(stream)? else {
            return Ok(None);
        };
        if line.trim_ascii().is_empty() {
            continue;
        }
        return Ok(Some(parse(&line)));
    }
}

fn parse(line: &[u8]) -> Result<Status, String> {
    if line.len() > LONGEST_LINE {
        return Err(format!(
            "status line of more than {LONGEST_LINE} bytes: '{}…'",
            shown(line)
        ));
    }
    serde_json::from_slice(line)
        .map_err(|error| format!("not a status line ({error}): '{}'", shown(line)))
}

fn shown(line: &[u8]) -> String {
    let start = line.get(..SHOWN).unwrap_or(line);
    start.escape_ascii().to_string()
}

/// One line without its end, of at most [`LONGEST_LINE`] + 1 bytes: what is longer is read but
/// not kept. A last line without an end counts.
fn read_line(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut any = false;
    loop {
        let buffer = stream.fill_buf()?;
        if buffer.is_empty() {
            return Ok(any.then_some(line));
        }
        any = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let piece = end.and_then(|end| buffer.get(..end)).unwrap_or(buffer);
        let room = (LONGEST_LINE + 1).saturating_sub(line.len());
        line.extend_from_slice(piece.get(..room).unwrap_or(piece));
        let used = piece.len().saturating_add(usize::from(end.is_some()));
        stream.consume(used);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    fn read_all(bytes: &[u8], buffer: usize) -> Vec<Result<Status, String>> {
        let mut stream = BufReader::with_capacity(buffer, bytes);
        std::iter::from_fn(|| read(&mut stream).unwrap()).collect()
    }

    #[test]
    fn garbage_between_lines_is_reported_and_skipped() {
        let stage = Status::Stage {
            name: "verity".into(),
            at_ms: 7,
        };
        let mut bytes = b"hello\n\n".to_vec();
        bytes.extend(serde_json::to_vec(&stage).unwrap());
        bytes.push(b'\n');
        bytes.extend(vec![b'x'; LONGEST_LINE + 10]);
        bytes.push(b'\n');
        bytes.extend(serde_json::to_vec(&stage).unwrap());
        for buffer in [1, 7, 8192] {
            let all = read_all(&bytes, buffer);
            assert_eq!(all.len(), 4, "{all:?}");
            assert!(all[0].as_ref().unwrap_err().contains("'hello'"));
            assert_eq!(all[1], Ok(stage.clone()));
            assert!(all[2].as_ref().unwrap_err().contains("65536 bytes"));
            assert_eq!(all[3], Ok(stage.clone()));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_statuses_or_warnings(bytes: Vec<u8>, buffer in 1usize..64) {
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
            prop_assert_eq!(read_all(&bytes, buffer).len(), lines);
        }
    }
}
