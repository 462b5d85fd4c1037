//! As much of HTTP/1.1 as AWS's clients need.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use percent_encoding::percent_decode_str;

use super::answer::Answer;

/// A request.
#[derive(Debug, Default)]
pub struct Request {
    pub method: String,
    /// As it was sent, without its query.
    pub path: String,
    /// As it was sent.
    pub query: String,
    /// By names in lower case; of one that comes twice, the values joined by commas.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Names and values of the query.
    pub fn pairs(&self) -> Vec<(String, String)> {
        pairs(&self.query)
    }
}

/// Names and values of a query or a form.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let parts = text.split('&').filter(|part| !part.is_empty());
    let parts = parts.map(|part| part.split_once('=').unwrap_or((part, "")));
    parts
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

/// A request's head and body; none at the connection's end. `spare` is a buffer for the body.
pub fn read(wire: &mut BufReader<TcpStream>, spare: &mut Vec<u8>) -> Option<Request> {
    let mut request = head(wire)?;
    if request.headers.contains_key("transfer-encoding") {
        // The services take no chunks without S3's own framing.
        return Some(request);
    }
    if request.headers.contains_key("expect") {
        let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
        wire.get_mut().write_all(go_on).ok()?;
    }
    let len = request.header("content-length").map_or(Ok(0), str::parse);
    request.body = std::mem::take(spare);
    request.body.resize(len.ok()?, 0);
    wire.read_exact(&mut request.body).ok()?;
    Some(request)
}

fn head(wire: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    wire.read_line(&mut line).ok().filter(|len| *len > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut request = Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        ..Request::default()
    };
    loop {
        line.clear();
        wire.read_line(&mut line).ok().filter(|len| *len > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Some(request);
        };
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        let all = request.headers.entry(name).or_default();
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(value);
    }
}

/// An answer's head.
fn first_bytes(answer: &Answer) -> String {
    let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let len = answer.body.bytes().len();
    head + &format!("Content-Length: {len}\r\n\r\n")
}

/// Sends an answer.
pub fn send(wire: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let (head, body) = (first_bytes(answer), answer.body.bytes());
    if body.len() < 1 << 16 {
        // One packet, where it fits.
        return wire.write_all(&[head.as_bytes(), body].concat());
    }
    wire.write_all(head.as_bytes())?;
    wire.write_all(body)
}

/// Sends the head and the first half of the rest.
pub fn send_half(wire: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let whole = [first_bytes(answer).as_bytes(), answer.body.bytes()].concat();
    wire.write_all(&whole[..whole.len() / 2])
}

/// Sends an answer in pieces with pauses between them.
pub fn send_slowly(
    wire: &mut TcpStream,
    answer: &Answer,
    pause: std::time::Duration,
) -> io::Result<()> {
    let whole = [first_bytes(answer).as_bytes(), answer.body.bytes()].concat();
    for piece in whole.chunks(whole.len().div_ceil(16)) {
        wire.write_all(piece)?;
        std::thread::sleep(pause);
    }
    Ok(())
}
