//! The head of an HTTP/1.x response.

use super::{Malformed, field, head};

/// What a probe wants to know of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code, 100-999.
    pub status: u16,
    /// `Location`, if it is text.
    pub location: Option<String>,
    /// `Content-Length`, if it is a number.
    pub content_length: Option<u64>,
    /// Bytes of the head, its empty line included.
    pub len: usize,
}

/// Reads a head; `None` while it is not whole.
///
/// # Errors
/// What comes is no response of HTTP/1.x.
pub fn parse(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    // Before the head is whole, so that a server of another protocol is known at once.
    let begins = bytes.get(..7).unwrap_or(bytes);
    if !b"HTTP/1.".starts_with(begins) {
        return Err(Malformed::Start);
    }
    let Some((lines, len)) = head(bytes) else {
        return Ok(None);
    };
    let (first, fields) = lines.split_first().ok_or(Malformed::Start)?;
    let mut found = Head {
        status: status(first)?,
        location: None,
        content_length: None,
        len,
    };
    for line in fields {
        // A line that begins with white space goes on with the one before (RFC 9112, 5.2).
        if line.first().is_some_and(u8::is_ascii_whitespace) {
            continue;
        }
        let (name, value) = field(line)?;
        let text = std::str::from_utf8(value).ok();
        if name.eq_ignore_ascii_case(b"location") {
            found.location = text.map(str::to_owned);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            found.content_length = text.and_then(|text| text.parse().ok());
        }
    }
    Ok(Some(found))
}

/// `HTTP/1.1 200 OK`; the reason may be missing.
fn status(line: &[u8]) -> Result<u16, Malformed> {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let version = words.next().unwrap_or_default();
    let code = words.next().unwrap_or_default();
    let is_sound = version.len() == 8 && code.len() == 3 && code.iter().all(u8::is_ascii_digit);
    let code = std::str::from_utf8(code).ok().filter(|_| is_sound);
    code.and_then(|code| code.parse().ok())
        .filter(|code| *code >= 100)
        .ok_or(Malformed::Start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heads_are_read_as_they_come() {
        let whole = b"HTTP/1.1 302 Found\r\nlocation: /next \r\nContent-Length:5\r\n\r\nhello";
        let head = parse(whole).unwrap().unwrap();
        let expected = Head {
            status: 302,
            location: Some("/next".into()),
            content_length: Some(5),
            len: whole.len() - 5,
        };
        assert_eq!(head, expected);
        for length in 0..expected.len {
            assert_eq!(parse(&whole[..length]), Ok(None), "{length}");
        }
        let bare = parse(b"HTTP/1.0 200\n\n").unwrap().unwrap();
        assert_eq!((bare.status, bare.len), (200, 14));
    }

    #[test]
    fn other_protocols_are_known_at_once() {
        for bytes in [&b"SSH-2.0-x\r\n"[..], b"\x15\x03\x01", b"HTTP/2", b"H2"] {
            assert_eq!(parse(bytes), Err(Malformed::Start), "{bytes:?}");
        }
        for line in [
            "HTTP/1.1 20 OK",
            "HTTP/1.1 099 x",
            "HTTP/1.1 2000",
            "HTTP/1.1x200",
        ] {
            let head = format!("{line}\r\n\r\n");
            assert_eq!(parse(head.as_bytes()), Err(Malformed::Start), "{line}");
        }
        let bad = b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n";
        assert_eq!(parse(bad), Err(Malformed::Header));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_a_head_lies_within_them(tail: Vec<u8>) {
            for bytes in [tail.clone(), [b"HTTP/1.1 200 OK\r\n", tail.as_slice()].concat()] {
                if let Ok(Some(head)) = parse(&bytes) {
                    prop_assert!(head.len <= bytes.len() && head.status >= 100);
                }
            }
        }
    }
}
