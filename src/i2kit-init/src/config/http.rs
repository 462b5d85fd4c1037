//! A small HTTP/1.1 client (RFC 9112): one request on one connection, everything bounded. It
//! follows no redirect: the caller sees its status.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// Longest status line and header fields together, bytes.
const MAX_HEAD: usize = 16 * 1024;
/// Longest line that announces a chunk, bytes.
const MAX_CHUNK_LINE: usize = 256;

/// An exchange that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not an HTTP answer.
    #[error("the answer is no HTTP/1.1: {0}")]
    Protocol(&'static str),
    /// The body is longer than the caller takes.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`, `PUT`, …
    pub method: &'a str,
    /// The `Host` field.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// More header fields. Neither names nor values may hold line breaks.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body, empty for none.
    pub body: &'a [u8],
}

impl Request<'_> {
    fn encode(&self) -> Result<Vec<u8>, Error> {
        let Self {
            method,
            host,
            target,
            headers,
            body,
        } = self;
        let fields = headers.iter().flat_map(|(name, value)| [*name, *value]);
        let parts = [*method, *host, *target].into_iter().chain(fields);
        if parts
            .into_iter()
            .any(|part| part.contains(['\r', '\n', '\0']))
        {
            return Err(Error::Protocol("a line break in the request"));
        }
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        for (name, value) in *headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        // RFC 9110, section 8.6: a method that expects content says that there is none.
        if !body.is_empty() || *method != "GET" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        Ok([head.as_bytes(), body].concat())
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 100 to 999.
    pub status: u16,
    /// Whole.
    pub body: Vec<u8>,
}

/// A TCP connection on which everything must be done by a deadline.
pub struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    /// Connects.
    ///
    /// # Errors
    /// Refused, unreachable, or not in time.
    pub fn connect(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + patience;
        let stream = TcpStream::connect_timeout(&address, patience)?;
        Ok(Self { stream, deadline })
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(Some(left))
        }
    }
}

/// A socket's time-out shows as `WouldBlock`, which would be read as "try again".
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Timed {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(data).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Sends a request and reads the answer, whose body may have `limit` bytes.
///
/// # Errors
/// [`Error`].
pub fn exchange(
    stream: &mut (impl Read + Write),
    request: &Request<'_>,
    limit: usize,
) -> Result<Response, Error> {
    stream.write_all(&request.encode()?)?;
    stream.flush()?;
    read_response(stream, limit)
}

/// Reads one answer. Interim ones (1xx) are passed over, within the head's bound.
///
/// # Errors
/// [`Error`].
pub fn read_response(stream: &mut impl Read, limit: usize) -> Result<Response, Error> {
    let mut reader = Buffered::new(stream);
    let mut room = MAX_HEAD;
    let head = loop {
        let head = read_head(&mut reader, &mut room)?;
        if head.status >= 200 {
            break head;
        }
    };
    let body = match head.framing {
        _ if matches!(head.status, 204 | 304) => Vec::new(),
        Framing::Length(length) if length > limit as u64 => return Err(Error::TooLarge(limit)),
        Framing::Length(length) => {
            let length = usize::try_from(length).map_err(|_| Error::TooLarge(limit))?;
            let mut body = Vec::new();
            reader.take(length, &mut body)?;
            body
        }
        Framing::Chunked => read_chunks(&mut reader, limit)?,
        Framing::Close => reader.rest(limit)?,
    };
    Ok(Response {
        status: head.status,
        body,
    })
}

struct Head {
    status: u16,
    framing: Framing,
}

/// Where the body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    Close,
}

fn read_head<R: Read>(reader: &mut Buffered<'_, R>, room: &mut usize) -> Result<Head, Error> {
    let line = reader.line(room)?;
    let status = parse_status(&line).ok_or(Error::Protocol("no status line"))?;
    let (mut length, mut chunked) = (None, false);
    loop {
        let line = reader.line(room)?;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = colon
            .and_then(|at| line.split_at_checked(at))
            .ok_or(Error::Protocol("a header field without a colon"))?;
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let parsed = parse_length(value).ok_or(Error::Protocol("a bad Content-Length"))?;
            if length.is_some_and(|other| other != parsed) {
                return Err(Error::Protocol("two Content-Lengths"));
            }
            length = Some(parsed);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Error::Protocol("an unknown Transfer-Encoding"));
            }
            chunked = true;
        }
    }
    let framing = match (chunked, length) {
        (true, Some(_)) => return Err(Error::Protocol("chunked with a Content-Length")),
        (true, None) => Framing::Chunked,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::Close,
    };
    Ok(Head { status, framing })
}

/// `HTTP/1.1 200 OK`, of either minor version.
fn parse_status(line: &[u8]) -> Option<u16> {
    let rest = line
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| line.strip_prefix(b"HTTP/1.0 "))?;
    let (digits, after) = rest.split_at_checked(3)?;
    let ends = after.first().is_none_or(|byte| *byte == b' ');
    let status = parse_length(digits)?;
    u16::try_from(status)
        .ok()
        .filter(|status| ends && *status >= 100)
}

/// Decimal digits only: no sign, no blank.
fn parse_length(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| all)?.parse().ok()
}

fn read_chunks<R: Read>(reader: &mut Buffered<'_, R>, limit: usize) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    loop {
        let line = reader.line(&mut { MAX_CHUNK_LINE })?;
        // What follows a semicolon are extensions.
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = parse_hex(size.trim_ascii()).ok_or(Error::Protocol("a bad chunk"))?;
        if size == 0 {
            // The trailer is of no use: the connection is closed.
            return Ok(body);
        }
        if size > limit.saturating_sub(body.len()) {
            return Err(Error::TooLarge(limit));
        }
        reader.take(size, &mut body)?;
        if !reader.line(&mut { MAX_CHUNK_LINE })?.is_empty() {
            return Err(Error::Protocol("a chunk longer than it says"));
        }
    }
}

fn parse_hex(digits: &[u8]) -> Option<usize> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = str::from_utf8(digits).ok().filter(|_| all)?;
    usize::from_str_radix(digits, 16).ok()
}

struct Buffered<'a, R> {
    stream: &'a mut R,
    buffer: Vec<u8>,
    at: usize,
}

impl<'a, R: Read> Buffered<'a, R> {
    fn new(stream: &'a mut R) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            at: 0,
        }
    }

    /// What has come and is not used yet; empty at the end only.
    fn fill(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.buffer.len() {
            self.buffer.resize(8192, 0);
            self.at = 0;
            let length = loop {
                match self.stream.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => break result,
                }
            };
            self.buffer.truncate(*length.as_ref().unwrap_or(&0));
            length?;
        }
        Ok(self.buffer.get(self.at..).unwrap_or_default())
    }

    /// One line without its end, CR LF or LF.
    fn line(&mut self, room: &mut usize) -> Result<Vec<u8>, Error> {
        let mut line = Vec::new();
        loop {
            let piece = self.fill()?;
            if piece.is_empty() {
                return Err(Error::Protocol("it ends too early"));
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(piece.len(), |end| end + 1);
            if length > *room {
                return Err(Error::Protocol("its head is too long"));
            }
            *room -= length;
            line.extend_from_slice(piece.get(..length).unwrap_or_default());
            self.at += length;
            if end.is_some() {
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                return Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec());
            }
        }
    }

    /// Exactly so many bytes.
    fn take(&mut self, mut length: usize, body: &mut Vec<u8>) -> Result<(), Error> {
        while length > 0 {
            let piece = self.fill()?;
            if piece.is_empty() {
                return Err(Error::Protocol("it ends too early"));
            }
            let piece = piece.get(..length).unwrap_or(piece);
            body.extend_from_slice(piece);
            let taken = piece.len();
            self.at += taken;
            length -= taken;
        }
        Ok(())
    }

    /// All up to the end of the stream.
    fn rest(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        loop {
            let piece = self.fill()?;
            if piece.is_empty() {
                return Ok(body);
            }
            if piece.len() > limit.saturating_sub(body.len()) {
                return Err(Error::TooLarge(limit));
            }
            body.extend_from_slice(piece);
            self.at = self.buffer.len();
        }
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A connection whose other end has said all it will; what is sent is kept.
    pub struct Said<'a>(pub &'a [u8], pub Vec<u8>);

    impl Read for Said<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Said<'_> {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.1.write(data)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answer(text: &str) -> Result<Response, String> {
        read_response(&mut text.as_bytes(), 20).map_err(|error| error.to_string())
    }

    fn body(text: &str) -> String {
        String::from_utf8(answer(text).unwrap().body).unwrap()
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        assert_eq!(
            body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello"),
            "he"
        );
        assert_eq!(body("HTTP/1.0 200\r\n\r\nhello"), "hello");
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(body(chunked), "abc0123456789");
        assert_eq!(
            body("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\n\nx"),
            ""
        );
        assert_eq!(
            answer("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n")
                .unwrap()
                .status,
            302
        );
    }

    #[test]
    fn bad_answers_are_refused() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        for (text, expected) in [
            ("", "ends too early"),
            ("SSH-2.0-x\r\n", "no status line"),
            ("HTTP/1.1 20\r\n\r\n", "no status line"),
            ("HTTP/1.1 2000 OK\r\n\r\n", "no status line"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                "bad Content-Length",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                "two Content-Lengths",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
                "ends too early",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n",
                "more than 20 bytes",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
                "bad Content-Length",
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\nxxxxxxxxxxxxxxxxxxxxx",
                "more than 20 bytes",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
                "bad chunk",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n",
                "more than 20 bytes",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
                "longer than it says",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
                "unknown Transfer-Encoding",
            ),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "without a colon"),
            (&long, "head is too long"),
        ] {
            let message = answer(text).unwrap_err();
            assert!(message.contains(expected), "{text:.60}: {message}");
        }
    }

    #[test]
    fn a_request_says_what_it_must() {
        let mut stream = Said(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Vec::new());
        let mut request = Request {
            method: "PUT",
            host: "example.org",
            target: "/a",
            headers: &[("X-A", "b")],
            body: b"",
        };
        exchange(&mut stream, &request, 0).unwrap();
        assert_eq!(
            String::from_utf8(stream.1).unwrap(),
            "PUT /a HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\nX-A: b\r\nContent-Length: 0\r\n\r\n"
        );
        request.headers = &[("X-A", "b\r\nX-B: c")];
        assert!(request.encode().is_err());
    }

    proptest! {
        #[test]
        fn no_answer_panics_or_grows(data in proptest::collection::vec(any::<u8>(), 0..300), head in 0usize..4) {
            let heads = ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"];
            let data = [heads[head].as_bytes(), &data].concat();
            if let Ok(response) = read_response(&mut data.as_slice(), 50) {
                prop_assert!(response.body.len() <= 50);
            }
        }
    }
}
