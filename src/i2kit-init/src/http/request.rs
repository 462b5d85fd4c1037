//! The head of an HTTP/1.x request.

use super::{Malformed, field, head};

/// What the Pod's state is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, ….
    pub method: String,
    /// Path without query.
    pub path: String,
}

/// Reads a head; `None` while it is not whole.
///
/// # Errors
/// What comes is no request of HTTP/1.x.
pub fn parse(bytes: &[u8]) -> Result<Option<Request>, Malformed> {
    let Some((lines, _)) = head(bytes) else {
        return Ok(None);
    };
    let (first, fields) = lines.split_first().ok_or(Malformed::Start)?;
    for line in fields {
        field(line)?;
    }
    let first = std::str::from_utf8(first).map_err(|_| Malformed::Start)?;
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, version] = words.as_slice() else {
        return Err(Malformed::Start);
    };
    let is_sound = method.bytes().all(|byte| byte.is_ascii_uppercase())
        && !method.is_empty()
        && target.starts_with('/')
        && version.starts_with("HTTP/1.");
    let path = target.split('?').next().unwrap_or_default();
    let request = Request {
        method: (*method).to_owned(),
        path: path.to_owned(),
    };
    is_sound.then_some(Some(request)).ok_or(Malformed::Start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_read_and_others_refused() {
        let request = parse(b"GET /readyz?verbose HTTP/1.1\r\nHost: x\r\n\r\n");
        let expected = Request {
            method: "GET".into(),
            path: "/readyz".into(),
        };
        assert_eq!(request, Ok(Some(expected)));
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: x\r\n"), Ok(None));
        for bytes in [
            &b"\r\n\r\n"[..],
            b"GET /\r\n\r\n",
            b"get / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/2\r\n\r\n",
            b"GET http://x/ HTTP/1.1\r\n\r\n",
            b"GET / a HTTP/1.1\r\n\r\n",
            b"\xff / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(parse(bytes), Err(Malformed::Start), "{bytes:?}");
        }
        let folded = b"GET / HTTP/1.1\r\n Host: x\r\n\r\n";
        assert_eq!(parse(folded), Err(Malformed::Header));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
            let _ = parse(&[b"GET /a HTTP/1.1\r\n", bytes.as_slice(), b"\r\n\r\n"].concat());
        }
    }
}
