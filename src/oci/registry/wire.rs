//! One HTTP exchange: a permit, a request, an answer whose body keeps to the time limits; and
//! redirects, which take no credential to another host.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{self, HeaderMap, HeaderValue, Method, header};
use ureq::{BodyReader, SendBody};

use super::agents::Agents;
use super::clock::Clock;
use super::endpoint::{Secret, Tls};
use super::error::{Failure, Reason, said};
use super::gate::{Gates, Permit};
use super::options::Options;
use super::retry::retry_after;
use super::url::Url;
use crate::oci::document::MAX_DOCUMENT;

/// Of an answer that is not what was wanted, so much is read for its message.
const MAX_COMPLAINT: u64 = 64 << 10;
/// Bodies from this size on are only sent when the registry has said that it wants them.
const EXPECT_FROM: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Wire {
    pub options: Options,
    pub clock: Arc<dyn Clock>,
    agents: Agents,
    gates: Gates,
}

/// A request, without credentials.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(header::HeaderName, String)>,
    /// The answer is checked against a digest, so it may come over plain HTTP.
    pub by_digest: bool,
}

/// What a request carries.
pub(super) enum Payload<'a> {
    None,
    Bytes(&'a [u8]),
    /// Opened for each try, and as long as said.
    Stream(&'a dyn Fn() -> io::Result<Box<dyn Read + Send>>, u64),
}

/// A credential on its way, and what must not be shown of it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Authorization {
    /// The header's value.
    pub header: Secret,
    /// Its parts.
    pub parts: Vec<Secret>,
    /// True where it stands for a user, false for an anonymous token.
    pub known: bool,
}

pub(super) struct Response {
    pub status: u16,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Body,
    /// It comes from the host that was asked, not from one it redirected to.
    pub at_home: bool,
    authorization: Option<Authorization>,
}

/// A body, which ends the exchange when it ends.
pub(super) struct Body {
    reader: Option<BodyReader<'static>>,
    /// Given back as soon as the body has ended.
    permit: Option<Permit>,
    clock: Arc<dyn Clock>,
    rate: u64,
    window: Duration,
    waited: Duration,
    came: u64,
}

impl Wire {
    pub fn new(options: Options, clock: Arc<dyn Clock>) -> Self {
        Self {
            gates: Gates::new(options.requests_per_host),
            agents: Agents::default(),
            options,
            clock,
        }
    }

    /// Sends `request`, following no redirect.
    pub fn send(
        &self,
        request: &Request,
        authorization: Option<&Authorization>,
        payload: &Payload<'_>,
        tls: &Tls,
    ) -> Result<Response, Failure> {
        let fail = Failure::at(&request.url);
        let agent = self.agents.agent(&self.options, tls, &request.url);
        let agent = agent.map_err(&fail)?;
        let permit = self.gates.enter(&request.url.origin());
        let head = head(request, authorization).map_err(&fail)?;
        let bad = |error: http::Error| fail(bad_request(error.to_string()));
        let answer = match payload {
            Payload::None => agent.run(head.body(()).map_err(bad)?).map_err(reason),
            Payload::Bytes(bytes) => {
                let request = head.body(*bytes).map_err(bad)?;
                self.sending(&agent, request).map_err(reason)
            }
            Payload::Stream(open, len) => self.stream(&agent, head, *open, *len),
        };
        let (parts, body) = answer.map_err(&fail)?.into_parts();
        Ok(Response {
            status: parts.status.as_u16(),
            url: request.url.clone(),
            headers: parts.headers,
            body: Body {
                reader: Some(body.into_reader()),
                permit: Some(permit),
                clock: Arc::clone(&self.clock),
                rate: self.options.timeouts.rate,
                window: self.options.timeouts.rate_window,
                waited: Duration::ZERO,
                came: 0,
            },
            at_home: true,
            authorization: authorization.cloned(),
        })
    }

    /// Who has been given something may think about it longer than for a byte.
    fn sending<S: ureq::AsSendBody>(
        &self,
        agent: &ureq::Agent,
        request: http::Request<S>,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        let timeouts = &self.options.timeouts;
        let patience = timeouts.idle.max(timeouts.response);
        let request = agent.configure_request(request);
        agent.run(request.timeout_per_read(Some(patience)).build())
    }

    fn stream(
        &self,
        agent: &ureq::Agent,
        head: http::request::Builder,
        open: &dyn Fn() -> io::Result<Box<dyn Read + Send>>,
        len: u64,
    ) -> Result<http::Response<ureq::Body>, Reason> {
        let mut head = head.header(header::CONTENT_LENGTH, len);
        if len >= EXPECT_FROM {
            head = head.header(header::EXPECT, "100-continue");
        }
        let mut source = Watched {
            inner: open().map_err(Reason::Source)?,
            left: len,
            failed: None,
        };
        let body = SendBody::from_reader(&mut source);
        let request = head.body(body);
        let request = request.map_err(|error| bad_request(error.to_string()))?;
        let answer = self.sending(agent, request);
        match source.failed {
            Some(error) => Err(Reason::Source(error)),
            None => answer.map_err(reason),
        }
    }

    /// As [`Self::send`], following redirects. Another host gets neither credential nor client
    /// certificate, nor does this one once another has been asked.
    pub fn follow(
        &self,
        request: &Request,
        authorization: Option<&Authorization>,
        tls: &Tls,
    ) -> Result<Response, Failure> {
        let home = request.url.origin();
        let (mut request, mut authorization, mut at_home) = (request.clone(), authorization, true);
        let stranger = Tls {
            client: None,
            ..tls.clone()
        };
        let mut seen = vec![request.url.clone()];
        loop {
            let tls = if at_home { tls } else { &stranger };
            let response = self.send(&request, authorization, &Payload::None, tls)?;
            let Some(next) = self.next(&request, &response, &seen)? else {
                return Ok(Response {
                    at_home,
                    ..response
                });
            };
            if next.origin() != home {
                (authorization, at_home) = (None, false);
            }
            seen.push(next.clone());
            request.url = next;
        }
    }

    /// Where `response` redirects to, if it does.
    fn next(
        &self,
        request: &Request,
        response: &Response,
        seen: &[Url],
    ) -> Result<Option<Url>, Failure> {
        if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let fail = |reason: String| Failure::at(&request.url)(Reason::Redirect(reason));
        let Some(location) = response.header(&header::LOCATION) else {
            return Err(fail("to nowhere".to_owned()));
        };
        let next = request.url.join(location);
        let next = next.map_err(|reason| fail(format!("to {reason}")))?;
        if seen.contains(&next) {
            return Err(fail(format!("to {next}, which was asked before")));
        }
        if seen.len() > self.options.redirects {
            return Err(fail(format!("to {next}, after {} others", seen.len() - 1)));
        }
        if request.url.is_encrypted() && !next.is_encrypted() && !request.by_digest {
            return Err(fail(format!("to {next}, which is not encrypted")));
        }
        Ok(Some(next))
    }
}

fn bad_request(reason: String) -> Reason {
    Reason::BadAnswer {
        what: "request",
        reason,
    }
}

fn head(
    request: &Request,
    authorization: Option<&Authorization>,
) -> Result<http::request::Builder, Reason> {
    let mut head = http::Request::builder()
        .method(request.method.clone())
        .uri(request.url.uri().clone());
    for (name, value) in &request.headers {
        head = head.header(name, value);
    }
    if let Some(authorization) = authorization {
        let value = HeaderValue::from_str(authorization.header.reveal());
        let mut value =
            value.map_err(|_| bad_request("a credential that no header can carry".to_owned()))?;
        value.set_sensitive(true);
        head = head.header(header::AUTHORIZATION, value);
    }
    Ok(head)
}

/// Tells a source that fails from a connection that does. One that ends too early fails: ureq
/// would wait for the rest for ever.
struct Watched {
    inner: Box<dyn Read + Send>,
    left: u64,
    failed: Option<io::Error>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let room = room.min(buffer.len());
        let read = match self.inner.read(buffer.get_mut(..room).unwrap_or_default()) {
            Ok(0) if room > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => read,
        };
        let len = read.map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            io::Error::from(kind)
        })?;
        self.left -= len as u64;
        Ok(len)
    }
}

impl Response {
    /// A header's value, where it is text.
    pub fn header(&self, name: &header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A header's value, by a name that HTTP does not know; in lower case.
    pub fn other_header(&self, name: &'static str) -> Option<&str> {
        self.header(&header::HeaderName::from_static(name))
    }

    /// `Content-Length`.
    pub fn length(&self) -> Option<u64> {
        self.header(&header::CONTENT_LENGTH)?.trim().parse().ok()
    }

    /// The answer, when its status is one of `statuses`.
    pub fn accept(self, statuses: &[u16]) -> Result<Self, Failure> {
        if statuses.contains(&self.status) {
            return Ok(self);
        }
        Err(self.complaint())
    }

    /// The answer as a failure.
    pub fn complaint(mut self) -> Failure {
        let clock = Arc::clone(&self.body.clock);
        let retry = self.header(&header::RETRY_AFTER);
        let retry_after = retry.and_then(|value| retry_after(value, &*clock));
        // A complaint that doesn't come is none.
        let body = self.body.read_bounded(MAX_COMPLAINT).unwrap_or_default();
        let said = said(self.header(&header::CONTENT_TYPE), &body);
        Failure::at(&self.url)(Reason::Status {
            status: self.status,
            said: said.map(|said| self.hide(said)),
            retry_after,
            known: self.authorization.as_ref().is_some_and(|one| one.known),
        })
    }

    /// A registry may repeat what it was told.
    fn hide(&self, said: String) -> String {
        let parts = self.authorization.iter().flat_map(|one| &one.parts);
        let parts = parts.filter(|part| !part.reveal().is_empty());
        parts.fold(said, |said, part| said.replace(part.reveal(), "…"))
    }

    /// Makes sure that `secret`, sent in the body, is not shown; it stood for a user.
    pub fn conceal(&mut self, secret: &Secret) {
        self.authorization = Some(Authorization {
            header: secret.clone(),
            parts: vec![secret.clone()],
            known: true,
        });
    }

    /// The body, when it is no longer than a document may be.
    pub fn document(mut self) -> Result<(Vec<u8>, Self), Failure> {
        Ok((self.bytes(MAX_DOCUMENT)?, self))
    }

    /// The body, when it is no longer than `limit`.
    pub fn bytes(&mut self, limit: u64) -> Result<Vec<u8>, Failure> {
        let fail = Failure::at(&self.url);
        let expected = self.length();
        if expected.is_some_and(|length| length > limit) {
            return Err(fail(Reason::TooLarge { limit }));
        }
        let bytes = self.body.read_bounded(limit).map_err(&fail)?;
        let found = bytes.len() as u64;
        match expected {
            Some(expected) if found < expected => Err(fail(Reason::Short { found, expected })),
            _ => Ok(bytes),
        }
    }

    /// Reads on to the end if that is near, so that the connection serves again.
    pub fn finish(mut self) {
        // A connection that cannot be kept is closed.
        let _ = self.body.read_bounded(MAX_COMPLAINT);
    }
}

impl Body {
    /// Some bytes, none at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Reason> {
        let Some(reader) = &mut self.reader else {
            return Ok(0);
        };
        let begin = self.clock.now();
        let read = reader.read(buffer).map_err(io_reason);
        self.waited += self.clock.now().duration_since(begin);
        match read {
            Ok(0) | Err(_) => (self.reader, self.permit) = (None, None),
            Ok(len) => {
                self.came += len as u64;
                self.check_rate()?;
            }
        }
        read
    }

    /// Only the time spent waiting for bytes counts, not what is done with them.
    fn check_rate(&mut self) -> Result<(), Reason> {
        if self.waited < self.window {
            return Ok(());
        }
        let (rate, over) = (self.rate, self.waited);
        if (self.came as f64) < over.as_secs_f64() * (rate as f64) {
            return Err(Reason::Slow { rate, over });
        }
        (self.waited, self.came) = (Duration::ZERO, 0);
        Ok(())
    }

    /// All of it, when it is no longer than `limit`.
    fn read_bounded(&mut self, limit: u64) -> Result<Vec<u8>, Reason> {
        let mut bytes = Vec::new();
        let mut piece = [0; 16 << 10];
        loop {
            let len = self.read(&mut piece)?;
            if len == 0 {
                return Ok(bytes);
            }
            bytes.extend_from_slice(piece.get(..len).unwrap_or_default());
            if bytes.len() as u64 > limit {
                return Err(Reason::TooLarge { limit });
            }
        }
    }
}

/// What ureq's error is, without whatever URL it holds.
fn reason(error: ureq::Error) -> Reason {
    use ureq::Error;
    let bad = |what, reason: String| Reason::BadAnswer { what, reason };
    match error {
        Error::Io(error) => io_reason(error),
        Error::Timeout(phase) => Reason::Timeout(while_doing(phase)),
        Error::Rustls(error) => Reason::Tls(error),
        Error::Tls(reason) => bad("TLS", reason.to_owned()),
        Error::HostNotFound => Reason::Resolve(io::Error::other("no such host")),
        Error::ConnectProxyFailed(reason) => Reason::Proxy(reason),
        Error::LargeResponseHeader(_, limit) => Reason::TooLarge {
            limit: limit as u64,
        },
        Error::Protocol(error) => bad("HTTP", error.to_string()),
        Error::Http(error) => bad("HTTP", error.to_string()),
        _ => bad("HTTP", "the exchange failed".to_owned()),
    }
}

fn io_reason(error: io::Error) -> Reason {
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.is::<ureq::Error>()) {
        return reason(error.into());
    }
    if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Reason::Tls(tls.clone());
    }
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            Reason::Timeout("waiting for the next byte")
        }
        _ if error.to_string().contains("failed to lookup address") => Reason::Resolve(error),
        _ => Reason::Io(error),
    }
}

fn while_doing(phase: ureq::Timeout) -> &'static str {
    use ureq::Timeout;
    match phase {
        Timeout::Resolve => "looking up the host's name",
        Timeout::Connect => "connecting",
        Timeout::SendRequest | Timeout::SendBody | Timeout::PerWrite => "sending",
        Timeout::RecvResponse => "waiting for the answer",
        _ => "waiting for the next byte",
    }
}
