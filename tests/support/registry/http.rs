//! As much of HTTP/1.1 as a registry needs, and the ways to break it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::Fault;

/// A connection, encrypted or not.
pub trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Arc<Vec<u8>>,
}

impl Response {
    pub fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers
            .retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Arc<Vec<u8>>>) -> Self {
        self.body = body.into();
        self
    }

    /// An error as registries say it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Self::new(status)
            .with("Content-Type", "application/json")
            .body(body.to_string().into_bytes())
    }
}

/// The next request of a connection; none at its end.
pub fn read_request(wire: &mut BufReader<Box<dyn Wire>>) -> Option<Request> {
    let mut line = String::new();
    let first = wire.read_line(&mut line);
    if first.is_err() {
        // As servers answer a TLS greeting that they didn't expect.
        let answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request";
        wire.get_mut().write_all(answer).ok()?;
    }
    first.ok().filter(|len| *len > 0)?;
    let mut words = line.split_whitespace();
    let mut request = Request {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        ..Request::default()
    };
    loop {
        line.clear();
        wire.read_line(&mut line).ok().filter(|len| *len > 0)?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        let name = name.to_ascii_lowercase();
        request.headers.insert(name, value.trim().to_owned());
    }
    Some(request)
}

/// The body, once it is known that it is wanted.
pub fn read_body(wire: &mut BufReader<Box<dyn Wire>>, request: &mut Request) -> Option<()> {
    if request.headers.contains_key("expect") {
        let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
        wire.get_mut().write_all(go_on).ok()?;
    }
    let len = request
        .headers
        .get("content-length")
        .map_or(0, |len| len.parse().unwrap());
    request.body = vec![0; len];
    wire.read_exact(&mut request.body).ok()
}

/// How a response went.
pub struct Sent {
    /// Bytes of the body.
    pub bytes: u64,
    /// The connection may serve again.
    pub is_open: bool,
}

/// One response on its way.
pub struct Sending<'a> {
    pub wire: &'a mut dyn Wire,
    /// For resets.
    pub socket: &'a TcpStream,
    pub is_head: bool,
    pub is_over: &'a dyn Fn() -> bool,
}

impl Sending<'_> {
    pub fn send(&mut self, response: &Response, fault: Option<&Fault>) -> Sent {
        let mut sent = 0;
        let done = self.try_send(response, fault, &mut sent);
        if !matches!(done, Ok(true)) {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
        Sent {
            bytes: sent,
            is_open: matches!(done, Ok(true)),
        }
    }

    fn try_send(
        &mut self,
        response: &Response,
        fault: Option<&Fault>,
        sent: &mut u64,
    ) -> std::io::Result<bool> {
        match fault {
            Some(Fault::Drop) => return Ok(false),
            Some(Fault::Silent) => {
                self.wait_for_the_end();
                return Ok(false);
            }
            Some(Fault::Garbage) => {
                self.wire
                    .write_all(b"\x15\x03\x01\x00\x02\x02\x16 no HTTP\r\n\r\n")?;
                return Ok(false);
            }
            _ => {}
        }
        let length = response.body.len() as u64;
        self.head(response, length, fault)?;
        if self.is_head {
            return Ok(true);
        }
        self.body(&response.body, fault, sent)
    }

    fn head(
        &mut self,
        response: &Response,
        length: u64,
        fault: Option<&Fault>,
    ) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Some reason\r\n", response.status);
        for (name, value) in &response.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match fault {
            Some(Fault::Chunked | Fault::CutChunk(_) | Fault::Endless(None)) => {
                head.push_str("Transfer-Encoding: chunked\r\n");
            }
            Some(Fault::Endless(Some(length))) => {
                head.push_str(&format!("Content-Length: {length}\r\n"));
            }
            Some(Fault::Length(more)) => {
                let length = length.saturating_add_signed(*more);
                head.push_str(&format!("Content-Length: {length}\r\n"));
            }
            _ => head.push_str(&format!("Content-Length: {length}\r\n")),
        }
        head.push_str("\r\n");
        self.wire.write_all(head.as_bytes())
    }

    fn body(
        &mut self,
        body: &[u8],
        fault: Option<&Fault>,
        sent: &mut u64,
    ) -> std::io::Result<bool> {
        match fault {
            Some(Fault::Cut(at)) => {
                self.pieces(body.get(..*at).unwrap_or(body), sent)?;
                Ok(false)
            }
            Some(Fault::Stall(at)) => {
                self.pieces(body.get(..*at).unwrap_or(body), sent)?;
                self.wait_for_the_end();
                Ok(false)
            }
            Some(Fault::Trickle(pause)) => {
                for byte in body {
                    self.pieces(std::slice::from_ref(byte), sent)?;
                    self.wire.flush()?;
                    std::thread::sleep(*pause);
                    if (self.is_over)() {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Some(Fault::Corrupt(at)) => {
                let mut body = body.to_vec();
                if let Some(byte) = body.get_mut(*at) {
                    *byte ^= 1;
                }
                self.pieces(&body, sent)?;
                Ok(true)
            }
            Some(Fault::Chunked) => {
                for chunk in body.chunks(1000) {
                    write!(self.wire, "{:x}\r\n", chunk.len())?;
                    self.pieces(chunk, sent)?;
                    self.wire.write_all(b"\r\n")?;
                }
                self.wire.write_all(b"0\r\n\r\n")?;
                Ok(true)
            }
            Some(Fault::CutChunk(at)) => {
                write!(self.wire, "{:x}\r\n", body.len())?;
                self.pieces(body.get(..*at).unwrap_or(body), sent)?;
                Ok(false)
            }
            Some(Fault::Endless(length)) => self.endless(length.is_none(), sent),
            Some(Fault::Length(more)) => {
                let end = body
                    .len()
                    .saturating_add_signed(isize::try_from(*more).unwrap());
                self.pieces(body.get(..end).unwrap_or(body), sent)?;
                Ok(false)
            }
            _ => {
                self.pieces(body, sent)?;
                Ok(true)
            }
        }
    }

    fn pieces(&mut self, body: &[u8], sent: &mut u64) -> std::io::Result<()> {
        for piece in body.chunks(64 << 10) {
            self.wire.write_all(piece)?;
            *sent += piece.len() as u64;
        }
        self.wire.flush()
    }

    /// Spaces, until the client has had enough or 200 MB went out.
    fn endless(&mut self, is_chunked: bool, sent: &mut u64) -> std::io::Result<bool> {
        let piece = [b' '; 1 << 16];
        while *sent < 200 << 20 && !(self.is_over)() {
            if is_chunked {
                self.wire.write_all(b"10000\r\n")?;
            }
            self.wire.write_all(&piece)?;
            if is_chunked {
                self.wire.write_all(b"\r\n")?;
            }
            *sent += piece.len() as u64;
        }
        Ok(false)
    }

    /// Nothing more is sent; the client is expected to leave.
    fn wait_for_the_end(&mut self) {
        self.socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        for _ in 0..500 {
            let mut byte = [0];
            match (&*self.socket).read(&mut byte) {
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                _ if (self.is_over)() => return,
                _ => {}
            }
        }
    }
}
