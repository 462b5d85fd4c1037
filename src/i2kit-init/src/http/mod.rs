//! As much of HTTP/1.1 as probes and the Pod's state need. Pure: heads of messages and nothing of
//! sockets.

pub mod request;
pub mod response;

/// Why bytes are no head of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The first line.
    #[error("malformed first line")]
    Start,
    /// A later line.
    #[error("malformed header")]
    Header,
}

/// The lines of a head and its length in bytes, its empty line included; `None` while it has none.
fn head(bytes: &[u8]) -> Option<(Vec<&[u8]>, usize)> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        // RFC 9112, 2.2: a lone LF ends a line, too.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Some((lines, bytes.len() - rest.len()));
        }
        lines.push(line);
    }
    None
}

/// A header line's name and value, without the white space around it.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = line.split_at(colon.ok_or(Malformed::Header)?);
    if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
        return Err(Malformed::Header);
    }
    Ok((name, value.get(1..).unwrap_or_default().trim_ascii()))
}
