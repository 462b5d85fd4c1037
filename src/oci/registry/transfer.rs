//! A blob's bytes in order, whatever happens to connections: a cut one goes on from the byte
//! reached, at the same place or at the next.

use std::io::{self, Read};
use std::sync::Arc;

use ureq::http::{Method, header};

use super::auth::Access;
use super::client::{Client, Repository, url};
use super::endpoint::{Endpoint, Tls};
use super::error::{Error, Failure, Reason};
use super::ranges::Parallel;
use super::retry::Attempts;
use super::url::Url;
use super::wire::{Body, Payload, Request, Response};
use crate::oci::{self, Digest};

/// Which blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobSpec {
    /// The digest that names it. Whoever reads the bytes must check them against it.
    pub digest: Digest,
    /// Its length, where that is known.
    pub size: Option<u64>,
    /// Where else it is to be had (a non-distributable layer): asked last, and as nobody.
    pub urls: Vec<String>,
}

/// A blob being fetched: the bytes as they come, unchecked, none of them twice.
///
/// Errors that its reader gives hold an [`oci::Error`].
pub struct Blob {
    inner: Inner,
    name: String,
}

enum Inner {
    One(Box<Stream>),
    Many(Parallel),
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Blob of {}", self.name)
    }
}

const OPERATION: &str = "fetch a blob of";

impl Client {
    /// Opens a blob: the first answer is in when this returns.
    ///
    /// # Errors
    /// [`Error`] of the last place asked.
    pub fn blob(&self, repository: &Repository, blob: &BlobSpec) -> Result<Blob, Error> {
        let name = &repository.name;
        let inner = self.open(repository, blob);
        Ok(Blob {
            inner: inner.map_err(|failure| failure.of(OPERATION, name))?,
            name: name.clone(),
        })
    }

    fn open(&self, repository: &Repository, blob: &BlobSpec) -> Result<Inner, Failure> {
        let ranges = &self.options().ranges;
        let plan = Arc::new(Plan::new(self, repository, blob)?);
        let chunk = ranges.chunk.max(1);
        if let Some(size) = blob.size
            && size >= ranges.threshold
            && size > chunk
            && ranges.streams > 1
        {
            let mut first = Stream::range(self, &plan, 0, 0, chunk);
            match first.open() {
                Ok(()) => return Ok(Inner::Many(Parallel::new(self, &plan, first, size))),
                Err(failure) if matches!(*failure.reason, Reason::NoRanges) => {}
                Err(failure) => return Err(failure),
            }
        }
        let mut stream = Stream::whole(self, &plan, 0, 0);
        stream.open()?;
        Ok(Inner::One(Box::new(stream)))
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.inner {
            Inner::One(stream) => stream.read(buffer),
            Inner::Many(parallel) => parallel.read(buffer),
        };
        read.map_err(|failure| {
            let error = failure.of(OPERATION, &self.name);
            io::Error::other(oci::Error::from(error))
        })
    }
}

/// What is fetched, and where it may come from.
pub(super) struct Plan {
    digest: Digest,
    size: Option<u64>,
    places: Vec<Place>,
}

enum Place {
    Endpoint(Endpoint),
    /// A URL of the manifest, which may be anywhere.
    Elsewhere(Url),
}

impl Plan {
    fn new(client: &Client, repository: &Repository, blob: &BlobSpec) -> Result<Self, Failure> {
        let endpoints = client.places(repository, true).into_iter();
        let mut places: Vec<_> = endpoints.cloned().map(Place::Endpoint).collect();
        for url in &blob.urls {
            let url = Url::parse(url).map_err(|reason| Reason::BadAnswer {
                what: "the layer's urls",
                reason: reason.to_owned(),
            })?;
            places.push(Place::Elsewhere(url));
        }
        Ok(Self {
            digest: blob.digest,
            size: blob.size,
            places,
        })
    }

    fn attempts(&self, client: &Client, place: usize) -> Attempts {
        let is_last = place + 1 >= self.places.len();
        let is_mirror =
            matches!(self.places.get(place), Some(Place::Endpoint(one)) if one.is_mirror);
        client.attempts(is_last || !is_mirror)
    }
}

/// One stretch of a blob, read from one connection after another.
pub(super) struct Stream {
    client: Client,
    plan: Arc<Plan>,
    /// Index into the plan's places.
    pub place: usize,
    /// The byte that comes next.
    at: u64,
    /// The byte that is no longer wanted, once known.
    end: Option<u64>,
    /// Only this stretch is wanted, and only by a range.
    is_range: bool,
    /// False after this place has answered a range with something else.
    trusts_ranges: bool,
    /// Of the first answer, so that the rest is of the same bytes.
    etag: Option<String>,
    body: Option<Body>,
    attempts: Attempts,
    /// Where the attempts began to count.
    counted_from: u64,
}

impl Stream {
    /// From byte `at` to the end of the blob.
    pub fn whole(client: &Client, plan: &Arc<Plan>, place: usize, at: u64) -> Self {
        Self {
            client: client.clone(),
            plan: Arc::clone(plan),
            place,
            at,
            end: plan.size,
            is_range: false,
            trusts_ranges: true,
            etag: None,
            body: None,
            attempts: plan.attempts(client, place),
            counted_from: at,
        }
    }

    /// The bytes `at..end`, or [`Reason::NoRanges`].
    pub fn range(client: &Client, plan: &Arc<Plan>, place: usize, at: u64, end: u64) -> Self {
        Self {
            end: Some(end),
            is_range: true,
            ..Self::whole(client, plan, place, at)
        }
    }

    /// Some bytes, none at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        loop {
            if self.is_range && self.end == Some(self.at) {
                self.finish();
            }
            let Some(body) = &mut self.body else {
                if self.end == Some(self.at) {
                    return Ok(0);
                }
                self.open()?;
                continue;
            };
            let room = match self.end {
                Some(end) if self.is_range => usize::try_from(end - self.at).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            let room = room.min(buffer.len());
            match body.read(buffer.get_mut(..room).unwrap_or_default()) {
                Ok(0) => {
                    self.body = None;
                    match self.end {
                        Some(expected) if self.at < expected => {
                            let found = self.at;
                            self.recover(self.failure(Reason::Short { found, expected }))?;
                        }
                        _ => return Ok(0),
                    }
                }
                Ok(len) => {
                    self.advance(len as u64);
                    return Ok(len);
                }
                Err(reason) => {
                    self.body = None;
                    self.recover(self.failure(self.ended_early(reason)))?;
                }
            }
        }
    }

    /// A connection that ended is told by how far it came.
    fn ended_early(&self, reason: Reason) -> Reason {
        match (reason, self.end) {
            (Reason::Io(error), Some(expected))
                if error.kind() == io::ErrorKind::UnexpectedEof && self.at < expected =>
            {
                let found = self.at;
                Reason::Short { found, expected }
            }
            (reason, _) => reason,
        }
    }

    /// Sees the end of the answer, so that its connection serves again.
    fn finish(&mut self) {
        if let Some(mut body) = self.body.take() {
            // What comes after the range is not ours.
            let _ = body.read(&mut [0]);
        }
    }

    fn advance(&mut self, len: u64) {
        self.at += len;
        if self.at - self.counted_from >= self.client.options().retry.progress {
            self.attempts = self.plan.attempts(&self.client, self.place);
            self.counted_from = self.at;
        }
    }

    /// Gets the first answer, or the next.
    pub fn open(&mut self) -> Result<(), Failure> {
        while self.body.is_none() {
            match self.connect() {
                Ok(body) => self.body = Some(body),
                Err(failure) => self.recover(failure)?,
            }
        }
        Ok(())
    }

    /// Waits for the next try, or turns to the next place; else it is over.
    fn recover(&mut self, failure: Failure) -> Result<(), Failure> {
        if self.client.again(&mut self.attempts, &failure) {
            return Ok(());
        }
        let is_last = self.place + 1 >= self.plan.places.len();
        if is_last || matches!(*failure.reason, Reason::NoRanges) {
            return Err(failure);
        }
        match self.plan.places.get(self.place) {
            Some(Place::Endpoint(endpoint)) if endpoint.is_mirror => {
                self.client.pass_over(endpoint, &failure);
            }
            _ => self
                .client
                .note(&format!("the manifest's next URL is tried: {failure}")),
        }
        self.place += 1;
        self.attempts = self.plan.attempts(&self.client, self.place);
        (self.etag, self.trusts_ranges) = (None, true);
        Ok(())
    }

    fn failure(&self, reason: Reason) -> Failure {
        match self.request(false) {
            Ok(request) => Failure::at(&request.url)(reason),
            Err(_) => reason.into(),
        }
    }

    /// One answer that goes on where this stands.
    fn connect(&mut self) -> Result<Body, Failure> {
        let wants_range = (self.is_range || self.at > 0) && self.trusts_ranges;
        let response = self.ask(wants_range)?;
        let reply = match response.status {
            206 if wants_range => match self.check_range(&response) {
                Ok(()) => return Ok(response.body),
                Err(_) if self.is_range => Reason::NoRanges,
                Err(failure) => {
                    self.client.note(&failure.to_string());
                    self.trusts_ranges = false;
                    return self.connect();
                }
            },
            200 if self.is_range => Reason::NoRanges,
            416 if wants_range => {
                self.trusts_ranges = false;
                return if self.is_range {
                    Err(self.failure(Reason::NoRanges))
                } else {
                    self.connect()
                };
            }
            _ => {
                let response = response.accept(&[200])?;
                return self.skip(response);
            }
        };
        Err(Failure::at(&response.url)(reply))
    }

    fn ask(&self, wants_range: bool) -> Result<Response, Failure> {
        let request = self.request(wants_range)?;
        match self.plan.places.get(self.place) {
            Some(Place::Endpoint(endpoint)) => {
                self.client
                    .exchange(endpoint, Access::Pull, &request, &Payload::None)
            }
            Some(Place::Elsewhere(_)) => self.client.wire().follow(&request, None, &Tls::default()),
            None => Err(Reason::Nobody("there is nowhere to fetch it from").into()),
        }
    }

    fn request(&self, wants_range: bool) -> Result<Request, Failure> {
        let url = match self.plan.places.get(self.place) {
            Some(Place::Endpoint(endpoint)) => {
                url(endpoint, &format!("blobs/{}", self.plan.digest))?
            }
            Some(Place::Elsewhere(url)) => url.clone(),
            None => return Err(Reason::Nobody("there is nowhere to fetch it from").into()),
        };
        let mut headers = Vec::new();
        if wants_range {
            let end = self.end.filter(|_| self.is_range);
            let end = end.map_or(String::new(), |end| end.saturating_sub(1).to_string());
            headers.push((header::RANGE, format!("bytes={}-{end}", self.at)));
            if let Some(etag) = &self.etag {
                headers.push((header::IF_RANGE, etag.clone()));
            }
        }
        Ok(Request {
            method: Method::GET,
            url,
            headers,
            by_digest: true,
        })
    }

    /// A range must begin where this stands, within a blob of the right length.
    fn check_range(&mut self, response: &Response) -> Result<(), Failure> {
        let text = response.header(&header::CONTENT_RANGE).unwrap_or_default();
        let bad = || {
            Failure::at(&response.url)(Reason::BadAnswer {
                what: "Content-Range",
                reason: format!("{text:?} where bytes from {} were asked for", self.at),
            })
        };
        let (first, last, total) = content_range(text).ok_or_else(bad)?;
        let is_right = first == self.at
            && last >= first
            && total.is_none_or(|total| {
                last < total && self.plan.size.is_none_or(|size| size == total)
            });
        if !is_right {
            return Err(bad());
        }
        self.keep_etag(response);
        Ok(())
    }

    /// The whole blob: what was read before is read past.
    fn skip(&mut self, response: Response) -> Result<Body, Failure> {
        let fail = Failure::at(&response.url);
        if let Some(found) = response.length() {
            match self.end {
                Some(expected) if found != expected => {
                    return Err(fail(Reason::OtherSize { found, expected }));
                }
                _ => self.end = Some(found),
            }
        }
        self.keep_etag(&response);
        let mut body = response.body;
        let mut piece = vec![0; 64 << 10];
        let mut passed = 0;
        while passed < self.at {
            let room = usize::try_from(self.at - passed).unwrap_or(usize::MAX);
            let room = room.min(piece.len());
            let len = body.read(piece.get_mut(..room).unwrap_or_default());
            match len.map_err(&fail)? {
                0 => {
                    let (found, expected) = (passed, self.end.unwrap_or(self.at));
                    return Err(fail(Reason::Short { found, expected }));
                }
                len => passed += len as u64,
            }
        }
        Ok(body)
    }

    /// A weak one doesn't promise the same bytes (RFC 9110 §13.1.5).
    fn keep_etag(&mut self, response: &Response) {
        let etag = response.header(&header::ETAG);
        self.etag = etag.filter(|etag| etag.starts_with('"')).map(str::to_owned);
    }
}

/// `bytes FIRST-LAST/TOTAL`, or `*` for the total (RFC 9110 §14.4).
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some((first.parse().ok()?, last.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 3-9/10"), Some((3, 9, Some(10))));
        assert_eq!(content_range("bytes 3-9/*"), Some((3, 9, None)));
        for bad in [
            "",
            "bytes */10",
            "3-9/10",
            "bytes 3/10",
            "bytes -1-9/10",
            "bytes 3-9",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
