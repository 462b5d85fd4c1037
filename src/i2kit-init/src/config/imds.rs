//! EC2's instance metadata service, version 2 only: a token by PUT, then GET with it. Version 1
//! answers anyone who can make a Pod fetch a URL, so it is never spoken.

use std::{
    fmt, fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use super::http::{self, Request, Response, Timed};
use crate::config::Found;

/// The service's address on every instance.
pub const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);
/// EC2 takes 16 KiB of user data.
const MAX_USER_DATA: usize = 16 * 1024;
/// A token is 56 characters today.
const MAX_TOKEN: usize = 1024;
/// How long one exchange may take. A hop limit that is too low shows as an answer that never comes.
const EXCHANGE_PATIENCE: Duration = Duration::from_secs(3);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(12);
/// Between tries; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Seconds that a token is good for: one boot.
const TOKEN_SECONDS: &str = "300";

/// The service could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An exchange failed.
    #[error("{method} {path}")]
    Exchange {
        /// Method.
        method: &'static str,
        /// Path.
        path: String,
        /// Why.
        source: http::Error,
    },
    /// It answered with a status that is no success.
    #[error("{method} {path}: {status}")]
    Refused {
        /// Method.
        method: &'static str,
        /// Path.
        path: String,
        /// Its status.
        status: Refusal,
    },
    /// What it gave as a token is none.
    #[error("PUT {TOKEN}: the answer is no token")]
    Token,
}

const TOKEN: &str = "/latest/api/token";
const USER_DATA: &str = "/latest/user-data";

/// A status other than 200, in words where we know some.
#[derive(Debug)]
pub struct Refusal(u16);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.0)?;
        match self.0 {
            300..=399 => f.write_str(", a redirect, which is not followed"),
            401 => f.write_str(", the token is not accepted"),
            403 => f.write_str(", the service is turned off for this instance"),
            _ => Ok(()),
        }
    }
}

impl Error {
    /// Whether another try may do better.
    fn is_passing(&self) -> bool {
        match self {
            Self::Exchange { source, .. } => matches!(source, http::Error::Io(_)),
            Self::Refused { status, .. } => matches!(status.0, 401 | 429 | 500..),
            Self::Token => false,
        }
    }
}

/// True on an instance of EC2 (Nitro), by its firmware's tables.
pub fn is_ec2() -> bool {
    is_ec2_by(Path::new("/sys/class/dmi/id/sys_vendor"))
}

fn is_ec2_by(vendor: &Path) -> bool {
    fs::read_to_string(vendor).is_ok_and(|vendor| vendor.trim() == "Amazon EC2")
}

/// The instance's user data, if it has any.
///
/// # Errors
/// The last try's, after 12 s at most.
pub fn user_data() -> Result<Option<Found>, Error> {
    let mut client = Client::new(ADDRESS, PATIENCE);
    let bytes = client.get(USER_DATA, MAX_USER_DATA)?;
    Ok(bytes.map(|bytes| Found {
        bytes,
        source: "EC2's user data".into(),
        ours: false,
    }))
}

/// A session with the service.
pub struct Client {
    address: SocketAddr,
    deadline: Instant,
    token: Option<String>,
}

impl Client {
    /// A client that gives up after `patience`.
    pub fn new(address: SocketAddr, patience: Duration) -> Self {
        Self {
            address,
            deadline: Instant::now() + patience,
            token: None,
        }
    }

    /// What lies at a path; `None` where nothing does.
    ///
    /// # Errors
    /// [`Error`]: what can pass was tried again.
    pub fn get(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut pause = FIRST_PAUSE;
        let mut refused = false;
        loop {
            let error = match self.try_get(path, limit) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            if matches!(&error, Error::Refused { status, .. } if status.0 == 401) {
                // A new token helps once, or never.
                self.token = None;
                if std::mem::replace(&mut refused, true) {
                    return Err(error);
                }
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if !error.is_passing() || left <= pause {
                return Err(error);
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
    }

    fn try_get(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => self.new_token()?,
        };
        let headers = [("X-aws-ec2-metadata-token", token.as_str())];
        let response = self.exchange("GET", path, &headers, limit)?;
        self.token = Some(token);
        match response.status {
            200 => Ok(Some(response.body)),
            404 => Ok(None),
            status => Err(refused("GET", path, status)),
        }
    }

    fn new_token(&self) -> Result<String, Error> {
        let headers = [("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS)];
        let response = self.exchange("PUT", TOKEN, &headers, MAX_TOKEN)?;
        if response.status != 200 {
            return Err(refused("PUT", TOKEN, response.status));
        }
        let token = String::from_utf8(response.body).map_err(|_| Error::Token)?;
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Token);
        }
        Ok(token)
    }

    fn exchange(
        &self,
        method: &'static str,
        path: &str,
        headers: &[(&str, &str)],
        limit: usize,
    ) -> Result<Response, Error> {
        let request = Request {
            method,
            host: &self.address.ip().to_string(),
            target: path,
            headers,
            body: b"",
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let patience = left.clamp(Duration::from_millis(1), EXCHANGE_PATIENCE);
        Timed::connect(self.address, patience)
            .map_err(http::Error::from)
            .and_then(|mut stream| http::exchange(&mut stream, &request, limit))
            .map_err(|source| Error::Exchange {
                method,
                path: path.to_owned(),
                source,
            })
    }
}

fn refused(method: &'static str, path: &str, status: u16) -> Error {
    Error::Refused {
        method,
        path: path.to_owned(),
        status: Refusal(status),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        sync::{Arc, Mutex},
        thread,
    };

    use super::*;
    use crate::fault::Chain;

    /// A service that answers each connection with the next of these and keeps the requests.
    fn service(answers: Vec<String>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        thread::spawn(move || {
            let mut silent = Vec::new();
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else {
                    return;
                };
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0)
                {
                    request.push(byte[0]);
                }
                kept.lock()
                    .unwrap()
                    .push(String::from_utf8(request).unwrap());
                if answer.is_empty() {
                    // It hangs: the connection stays open.
                    silent.push(stream);
                } else {
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        });
        (address, requests)
    }

    fn ok(body: &str) -> String {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn status(line: &str) -> String {
        format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n")
    }

    fn get(answers: Vec<String>) -> (Result<Option<Vec<u8>>, String>, Vec<String>, Duration) {
        let (address, requests) = service(answers);
        let begun = Instant::now();
        let found = Client::new(address, Duration::from_secs(2)).get(USER_DATA, 20);
        let found = found.map_err(|error| Chain(&error).to_string());
        let requests = requests.lock().unwrap().clone();
        (found, requests, begun.elapsed())
    }

    #[test]
    fn a_token_comes_first_and_goes_with_the_request() {
        let (found, requests, _) = get(vec![ok("t0ken=="), ok("hello")]);
        assert_eq!(found, Ok(Some(b"hello".to_vec())));
        assert!(requests[0].starts_with("PUT /latest/api/token HTTP/1.1\r\n"));
        assert!(requests[0].contains("X-aws-ec2-metadata-token-ttl-seconds: 300\r\n"));
        assert!(requests[1].starts_with("GET /latest/user-data HTTP/1.1\r\n"));
        assert!(requests[1].contains("X-aws-ec2-metadata-token: t0ken==\r\n"));
    }

    #[test]
    fn no_user_data_is_no_error() {
        assert_eq!(get(vec![ok("t"), status("404 Not Found")]).0, Ok(None));
    }

    #[test]
    fn a_refused_token_is_renewed_once() {
        let refused = || status("401 Unauthorized");
        let (found, requests, _) = get(vec![ok("old"), refused(), ok("new"), ok("x")]);
        assert_eq!(found, Ok(Some(b"x".to_vec())));
        assert!(requests[3].contains("token: new\r\n"), "{requests:?}");
        let (found, requests, _) = get(vec![
            ok("a"),
            refused(),
            ok("b"),
            refused(),
            ok("c"),
            ok("x"),
        ]);
        assert!(
            found
                .unwrap_err()
                .contains("status 401, the token is not accepted")
        );
        assert_eq!(requests.len(), 4);
    }

    /// Version 1 would be the next thing to try for a client that knows it.
    #[test]
    fn without_a_token_nothing_is_asked() {
        for (answer, expected) in [
            (status("403 Forbidden"), "turned off"),
            (status("404 Not Found"), "PUT /latest/api/token: status 404"),
            (status("302 Found"), "a redirect, which is not followed"),
            (ok("two\r\nlines"), "no token"),
            (ok(""), "no token"),
        ] {
            let (found, requests, _) = get(vec![answer, ok("x")]);
            assert!(found.clone().unwrap_err().contains(expected), "{found:?}");
            assert_eq!(requests.len(), 1);
        }
    }

    #[test]
    fn a_service_that_hangs_or_says_too_much_is_given_up() {
        let (found, _, took) = get(vec![String::new(); 20]);
        assert!(
            found
                .unwrap_err()
                .contains("PUT /latest/api/token: timed out")
        );
        assert!(took < Duration::from_secs(4), "{took:?}");
        let (found, ..) = get(vec![ok("t"), ok(&"x".repeat(21))]);
        assert!(found.unwrap_err().contains("more than 20 bytes"));
        let (found, ..) = get(vec![ok("t"), status("302 Found")]);
        assert!(found.unwrap_err().contains("not followed"));
    }

    #[test]
    fn trouble_that_passes_is_waited_out() {
        let busy = status("503 Service Unavailable");
        let (found, ..) = get(vec![busy, ok("t"), ok("x")]);
        assert_eq!(found, Ok(Some(b"x".to_vec())));
    }

    #[test]
    fn ec2_is_known_by_its_vendor() {
        let path = std::env::temp_dir().join(format!("i2kit-vendor-{}", std::process::id()));
        assert!(!is_ec2_by(&path));
        for (vendor, expected) in [("Amazon EC2\n", true), ("QEMU\n", false), ("", false)] {
            fs::write(&path, vendor).unwrap();
            assert_eq!(is_ec2_by(&path), expected);
        }
        fs::remove_file(path).unwrap();
    }
}
