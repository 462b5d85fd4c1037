//! The GET of probes and hooks: a client on a blocking socket, bounded in time and memory.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use i2kit_contract::{HttpGet, Scheme};
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use crate::{
    http::response::{self, Head},
    pod::probe::{
        location::{Place, follow},
        trust::TrustAll,
    },
};

/// A response's head is at most this long.
const LONGEST_HEAD: usize = 64 * 1024;
/// As much of a body is read, so that a server sees its answer taken (the kubelet's bound).
const LONGEST_BODY: usize = 10 * 1024;
/// How long a body without a length is waited for.
const BODY_PATIENCE: Duration = Duration::from_millis(100);
/// Go's `net/http`.
const MOST_REDIRECTS: usize = 10;
/// Servers know probes by its start.
const USER_AGENT: &str = concat!("kube-probe/1.37 i2kit/", env!("CARGO_PKG_VERSION"));

/// The status that a GET is answered with, redirects within the host followed.
///
/// # Errors
/// Why there is no answer by the deadline.
pub fn get(get: &HttpGet, address: IpAddr, deadline: Instant) -> Result<u16, String> {
    let mut place = Place {
        scheme: get.scheme,
        port: get.port,
        path: get.path.clone(),
    };
    for _ in 0..=MOST_REDIRECTS {
        let socket = SocketAddr::new(address, place.port);
        let head = exchange(get, &place, socket, deadline)
            .map_err(|error| format!("GET {}: {error}", place.url(address)))?;
        let next = head
            .location
            .as_deref()
            .filter(|_| matches!(head.status, 301 | 302 | 303 | 307 | 308))
            .and_then(|location| follow(&place, address, location));
        match next {
            Some(next) => place = next,
            None => return Ok(head.status),
        }
    }
    Err(format!("stopped after {MOST_REDIRECTS} redirects"))
}

fn exchange(get: &HttpGet, place: &Place, to: SocketAddr, deadline: Instant) -> io::Result<Head> {
    let stream = TcpStream::connect_timeout(&to, left(deadline)?)?;
    let timed = Timed { stream, deadline };
    let request = request(get, place, to);
    match place.scheme {
        Scheme::Http => converse(timed, &request),
        Scheme::Https => {
            let name = ServerName::IpAddress(to.ip().into());
            let connection = ClientConnection::new(Arc::new(tls()?), name);
            let connection = connection.map_err(io::Error::other)?;
            converse(StreamOwned::new(connection, timed), &request)
        }
    }
}

fn tls() -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trust = Arc::new(TrustAll(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(config
        .dangerous()
        .with_custom_certificate_verifier(trust)
        .with_no_client_auth())
}

/// The manifest's header fields, and those that every GET has unless it names them itself.
fn request(get: &HttpGet, place: &Place, to: SocketAddr) -> Vec<u8> {
    let mut text = format!("GET {} HTTP/1.1\r\n", place.path);
    let host = to.to_string();
    let defaults = [
        ("Host", host.as_str()),
        ("User-Agent", USER_AGENT),
        ("Accept", "*/*"),
        ("Connection", "close"),
    ];
    let named = |name: &str| {
        get.headers
            .iter()
            .any(|one| one.name.eq_ignore_ascii_case(name))
    };
    for (name, value) in defaults.into_iter().filter(|(name, _)| !named(name)) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    for header in &get.headers {
        text.push_str(&format!("{}: {}\r\n", header.name, header.value));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

fn converse(mut stream: impl Stream, request: &[u8]) -> io::Result<Head> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        match response::parse(&received).map_err(malformed)? {
            // Interim: the answer is yet to come (RFC 9110, 15.2).
            Some(head) if head.status < 200 => drop(received.drain(..head.len)),
            Some(head) => {
                let got = received.len().saturating_sub(head.len);
                drain(stream, &head, got);
                return Ok(head);
            }
            None if received.len() > LONGEST_HEAD => {
                let error = format!("a head of more than {LONGEST_HEAD} bytes");
                return Err(malformed_text(error));
            }
            None => {
                let length = stream.read(&mut buffer)?;
                if length == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                received.extend_from_slice(buffer.get(..length).unwrap_or_default());
            }
        }
    }
}

fn malformed_text(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Reads a body to its end or bound. Nothing depends on it.
fn drain(mut stream: impl Stream, head: &Head, got: usize) {
    let length = head.content_length.map(usize::try_from);
    let wanted = match length {
        Some(length) => length.unwrap_or(usize::MAX).min(LONGEST_BODY),
        None => {
            stream.hurry(BODY_PATIENCE);
            LONGEST_BODY
        }
    };
    let mut left = wanted.saturating_sub(got);
    let mut buffer = [0; 4096];
    while left > 0 {
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => left = left.saturating_sub(length),
            _ => return,
        }
    }
}

/// A connection that knows its deadline.
trait Stream: Read + Write {
    /// Brings the deadline nearer.
    fn hurry(&mut self, patience: Duration);
}

struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

fn left(deadline: Instant) -> io::Result<Duration> {
    deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
        .ok_or_else(|| io::ErrorKind::TimedOut.into())
}

/// A socket's own timeout is told as "would block".
fn told(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        self.stream.read(buffer).map_err(told)
    }
}

impl Write for Timed {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.deadline)?))?;
        self.stream.write(data).map_err(told)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Stream for Timed {
    fn hurry(&mut self, patience: Duration) {
        self.deadline = self.deadline.min(Instant::now() + patience);
    }
}

impl Stream for StreamOwned<ClientConnection, Timed> {
    fn hurry(&mut self, patience: Duration) {
        self.sock.hurry(patience);
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use i2kit_contract::Header;

    use super::*;

    /// Serves each of the answers to one connection; answers the port and, at the end, the
    /// requests.
    fn serve(answers: Vec<Vec<u8>>) -> (u16, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = thread::spawn(move || {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).unwrap();
                requests.push(String::from_utf8_lossy(&request[..length]).into_owned());
                // A probe that has seen enough hangs up.
                let _ = stream.write_all(&answer);
            }
            requests
        });
        (port, served)
    }

    fn probe(port: u16) -> HttpGet {
        HttpGet {
            scheme: Scheme::Http,
            host: None,
            port,
            path: "/health".into(),
            headers: vec![Header {
                name: "host".into(),
                value: "shop.example".into(),
            }],
        }
    }

    fn ask(port: u16, patience: u64) -> Result<u16, String> {
        let deadline = Instant::now() + Duration::from_millis(patience);
        get(&probe(port), [127, 0, 0, 1].into(), deadline)
    }

    #[test]
    fn the_status_counts_and_the_headers_are_the_manifests() {
        let (port, served) = serve(vec![
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 500 Oops\r\n\r\n".to_vec(),
        ]);
        assert_eq!(ask(port, 5000), Ok(500));
        let requests = served.join().unwrap();
        assert!(requests[0].starts_with("GET /health HTTP/1.1\r\n"));
        assert!(requests[0].contains("\r\nhost: shop.example\r\n"));
        assert!(!requests[0].contains("Host: "), "{}", requests[0]);
    }

    #[test]
    fn redirects_are_followed_within_the_host_and_end_elsewhere() {
        let redirect = |to: &str| format!("HTTP/1.1 302 x\r\nLocation: {to}\r\n\r\n").into_bytes();
        let (port, served) = serve(vec![redirect("/a?b"), redirect("https://other.example/")]);
        assert_eq!(ask(port, 5000), Ok(302));
        assert!(served.join().unwrap()[1].starts_with("GET /a?b HTTP/1.1"));
        let (port, _) = serve(vec![redirect("/again"); 20]);
        let error = ask(port, 5000).unwrap_err();
        assert_eq!(error, "stopped after 10 redirects");
    }

    #[test]
    fn answers_without_end_are_bounded() {
        let gigabyte = [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"[..],
            &vec![b'x'; 64 << 20],
        ]
        .concat();
        let head = [&b"HTTP/1.1 200 OK\r\nX: "[..], &vec![b'x'; 64 << 20]].concat();
        let (port, _served) = serve(vec![gigabyte, head]);
        assert_eq!(ask(port, 5000), Ok(200));
        let error = ask(port, 5000).unwrap_err();
        assert!(
            error.ends_with("a head of more than 65536 bytes"),
            "{error}"
        );
    }

    /// A server with a certificate of nobody's, for another name.
    fn serve_tls(answer: &'static [u8]) -> u16 {
        let names = ["other.example".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(answer).unwrap();
        });
        port
    }

    #[test]
    fn https_takes_any_certificate() {
        let port = serve_tls(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n");
        let probe = HttpGet {
            scheme: Scheme::Https,
            ..probe(port)
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        assert_eq!(get(&probe, [127, 0, 0, 1].into(), deadline), Ok(204));
    }

    #[test]
    fn a_silent_server_fails_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let begun = Instant::now();
        let error = ask(listener.local_addr().unwrap().port(), 200).unwrap_err();
        assert!(error.ends_with("timed out"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
}
