//! How a service is reached: straight, or through the machine's proxy.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use i2kit_contract::runtime::Proxy;
use rustls::ClientConfig;

use super::{Error, tls};
use crate::{
    config::http::{self, Request, Response, Timed},
    net::dns,
};

const HTTPS: u16 = 443;
const PROXY: u16 = 80;
/// How long one try at one address may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest head of a proxy's answer, bytes.
const MAX_HEAD: usize = 16 * 1024;

/// A way to any service.
pub struct Route {
    /// Where to connect to, and who is asked to lead on; none asks the service itself.
    proxy: Option<(String, u16)>,
    /// Hosts and domains that no proxy is asked for.
    direct: Vec<String>,
    tls: Arc<ClientConfig>,
    resolve: fn(&str) -> io::Result<Vec<std::net::IpAddr>>,
    port: u16,
}

impl Route {
    /// By the run-time configuration's proxy, if it has one; servers are checked by `tls`.
    ///
    /// # Errors
    /// The proxy's URL is none.
    pub fn new(proxy: &Proxy, tls: Arc<ClientConfig>) -> Result<Self, Error> {
        let url = proxy.https.as_ref().map(|url| url.as_str());
        let url = url.filter(|url| !url.is_empty());
        let no = proxy.no.iter().flat_map(|one| one.as_str().split(','));
        Ok(Self {
            proxy: url.map(|url| parse(url).ok_or(Error::Proxy)).transpose()?,
            direct: no.map(|one| one.trim().to_owned()).collect(),
            tls,
            resolve: dns::resolve,
            port: HTTPS,
        })
    }

    /// Straight to this address, whatever a service's name is.
    #[cfg(test)]
    pub fn straight(port: u16, tls: Arc<ClientConfig>) -> Self {
        Self {
            proxy: None,
            direct: Vec::new(),
            tls,
            resolve: |_| Ok(vec![std::net::Ipv4Addr::LOCALHOST.into()]),
            port,
        }
    }

    /// One exchange with `request.host`, at the first of its addresses that answers.
    ///
    /// # Errors
    /// The last address's.
    pub fn exchange(&self, request: &Request<'_>, limit: usize) -> Result<Response, http::Error> {
        let host = request.host;
        let proxy = self.proxy.as_ref().filter(|_| !self.is_direct(host));
        let (at, port) = match proxy {
            Some((proxy, port)) => (proxy.as_str(), *port),
            None => (host, self.port),
        };
        let mut last = io::Error::from(io::ErrorKind::NotFound).into();
        for address in (self.resolve)(at)? {
            let stream = Timed::connect(SocketAddr::new(address, port), PATIENCE);
            let stream = stream.and_then(|stream| match proxy {
                Some(_) => tunnel(stream, host),
                None => Ok(stream),
            });
            let answer = stream
                .map_err(http::Error::from)
                .and_then(|stream| tls::exchange(stream, &self.tls, request, limit));
            match answer {
                Ok(response) => return Ok(response),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn is_direct(&self, host: &str) -> bool {
        self.direct.iter().any(|one| {
            let name = one.trim_start_matches('.');
            let rest = host.strip_suffix(name);
            one == "*"
                || (!name.is_empty()
                    && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
        })
    }
}

/// Host and port of a proxy's URL. One that wants a login is none.
fn parse(url: &str) -> Option<(String, u16)> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let place = rest.strip_suffix('/').unwrap_or(rest);
    if place.contains(['/', '@', '[', ' ']) {
        return None;
    }
    let (host, port) = match place.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (place, PROXY),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// Asks the proxy at the other end to lead on to a host (RFC 9110, 9.3.6).
fn tunnel<S: Read + Write>(mut stream: S, host: &str) -> io::Result<S> {
    let request = format!("CONNECT {host}:{HTTPS} HTTP/1.1\r\nHost: {host}:{HTTPS}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    // Byte by byte: what follows the head is the host's.
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
        if head.len() > MAX_HEAD {
            return Err(io::Error::other("the proxy's answer has no end"));
        }
    }
    let text = String::from_utf8_lossy(&head);
    let status: Option<u16> = text
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5)?.parse().ok());
    match status {
        Some(200..300) => Ok(stream),
        Some(status) => {
            let error = format!("the proxy refuses with HTTP status {status}");
            Err(io::Error::new(io::ErrorKind::InvalidInput, error))
        }
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the proxy speaks no HTTP",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::http::tests::Said;

    #[test]
    fn proxies_are_read_and_passed_by() {
        let place = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(parse("http://proxy.x:3128/"), place("proxy.x", 3128));
        assert_eq!(parse("10.0.2.2"), place("10.0.2.2", 80));
        for bad in [
            "https://proxy:3128",
            "http://me:hunter2@proxy",
            "http://proxy:x",
            "http://",
            "http://a/b",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let tls = tls::tests::nobody();
        let mut route = Route::straight(1, tls);
        let is_direct = |route: &Route| {
            ["ssm.eu.example.org", "example.org", "notexample.org"]
                .map(|host| route.is_direct(host))
        };
        assert_eq!(is_direct(&route), [false; 3]);
        for (no, expected) in [
            ("*", [true; 3]),
            (".example.org", [true, true, false]),
            ("example.org", [true, true, false]),
            ("ssm.eu.example.org", [true, false, false]),
            ("", [false; 3]),
        ] {
            route.direct = vec![no.to_owned()];
            assert_eq!(is_direct(&route), expected, "{no}");
        }
    }

    #[test]
    fn a_proxy_leads_on_or_says_why_not() {
        let stream = Said(b"HTTP/1.1 200 Connected\r\nVia: x\r\n\r\nTLS", Vec::new());
        let stream = tunnel(stream, "ssm.x").unwrap();
        assert_eq!(stream.0, b"TLS");
        assert!(stream.1.starts_with(b"CONNECT ssm.x:443 HTTP/1.1\r\n"));
        let endless = "x".repeat(MAX_HEAD + 10);
        for (answer, expected) in [
            ("HTTP/1.1 407 Login\r\n\r\n", "HTTP status 407"),
            ("SSH-2.0\r\n\r\n", "no HTTP"),
            ("HTTP/1.1 200 OK\r\n", "fill whole buffer"),
            (&endless, "no end"),
        ] {
            let error = tunnel(Said(answer.as_bytes(), Vec::new()), "ssm.x").err();
            let error = error.unwrap().to_string();
            assert!(error.contains(expected), "{answer:.30}: {error}");
        }
    }
}
