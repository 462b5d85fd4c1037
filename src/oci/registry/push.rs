//! Writing to a registry: blobs whole, or in chunks where it wants them so; then manifests
//! (distribution-spec "Push"). Mirrors are not written to.

use std::cell::Cell;
use std::io::{self, Read};

use ureq::http::{Method, header};

use super::auth::Access;
use super::client::{Client, Repository, Wanted, said_digest, url};
use super::endpoint::Endpoint;
use super::error::{Error, Failure, Reason};
use super::url::Url;
use super::wire::{Payload, Request, Response};
use crate::oci::Digest;

/// A blob to be pushed; opened for each try.
pub struct Upload<'a> {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Opens it at its first byte.
    pub open: &'a dyn Fn() -> io::Result<Box<dyn Read + Send>>,
}

impl Client {
    /// True where the registry has the blob.
    ///
    /// # Errors
    /// [`Error`] when it says neither yes nor no.
    pub fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
        let answer = registry(repository)
            .and_then(|endpoint| self.persist(true, || self.has(endpoint, digest)));
        answer.map_err(|failure| failure.of("look for a blob in", &repository.name))
    }

    /// Pushes a blob, unless the registry has it; true when it had to.
    ///
    /// # Errors
    /// [`Error`], also where the bytes turn out not to be those of the digest.
    pub fn push_blob(&self, repository: &Repository, upload: &Upload<'_>) -> Result<bool, Error> {
        // The answer to an upload may be what was lost.
        let began = Cell::new(false);
        let answer = registry(repository).and_then(|endpoint| {
            self.persist(true, || {
                if !self.has(endpoint, &upload.digest)? {
                    began.set(true);
                    self.upload(endpoint, upload)?;
                }
                Ok(began.get())
            })
        });
        answer.map_err(|failure| failure.of("push a blob to", &repository.name))
    }

    /// Pushes a manifest, whose blobs must be there, under a tag or its digest.
    ///
    /// # Errors
    /// [`Error`], also where the registry says that it stored other bytes.
    pub fn push_manifest(
        &self,
        repository: &Repository,
        wanted: &Wanted,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        let put = |endpoint: &Endpoint| {
            let request = Request {
                method: Method::PUT,
                url: url(endpoint, &format!("manifests/{wanted}"))?,
                headers: vec![(header::CONTENT_TYPE, media_type.to_owned())],
                by_digest: false,
            };
            let payload = Payload::Bytes(bytes);
            let response = self.exchange(endpoint, Access::Push, &request, &payload)?;
            stored(response, &digest)
        };
        let answer = registry(repository).and_then(|endpoint| self.persist(true, || put(endpoint)));
        let object = repository.object(wanted);
        answer.map_err(|failure| failure.of("push manifest", &object))?;
        Ok(digest)
    }

    fn has(&self, endpoint: &Endpoint, digest: &Digest) -> Result<bool, Failure> {
        let request = Request {
            method: Method::HEAD,
            url: url(endpoint, &format!("blobs/{digest}"))?,
            headers: Vec::new(),
            by_digest: true,
        };
        let response = self.exchange(endpoint, Access::Push, &request, &Payload::None)?;
        Ok(response.accept(&[200, 404])?.status == 200)
    }

    fn upload(&self, endpoint: &Endpoint, upload: &Upload<'_>) -> Result<(), Failure> {
        let session = self.begin(endpoint)?;
        let url = session.with_query(&[("digest", &upload.digest.to_string())]);
        let request = put(url.map_err(bad_location)?);
        let payload = Payload::Stream(upload.open, upload.size);
        let response = self.exchange(endpoint, Access::Push, &request, &payload)?;
        // Too large for the registry or for a proxy before it, or not done there at all.
        if matches!(response.status, 405 | 413 | 501) {
            response.finish();
            return self.upload_in_chunks(endpoint, upload);
        }
        stored(response, &upload.digest)
    }

    /// A new upload's URL.
    fn begin(&self, endpoint: &Endpoint) -> Result<Url, Failure> {
        let request = Request {
            method: Method::POST,
            url: url(endpoint, "blobs/uploads/")?,
            headers: Vec::new(),
            by_digest: false,
        };
        let payload = Payload::Bytes(&[]);
        let response = self.exchange(endpoint, Access::Push, &request, &payload)?;
        location(response, 202)
    }

    fn upload_in_chunks(&self, endpoint: &Endpoint, upload: &Upload<'_>) -> Result<(), Failure> {
        let mut session = self.begin(endpoint)?;
        let mut source = (upload.open)().map_err(Reason::Source)?;
        let mut at = 0;
        while at < upload.size {
            let chunk = self.options().upload_chunk.max(1).min(upload.size - at);
            let mut bytes = Vec::new();
            let read = source.by_ref().take(chunk).read_to_end(&mut bytes);
            read.map_err(Reason::Source)?;
            if (bytes.len() as u64) < chunk {
                return Err(Reason::Source(io::ErrorKind::UnexpectedEof.into()).into());
            }
            let range = format!("{at}-{}", at + chunk - 1);
            let request = Request {
                method: Method::PATCH,
                url: session,
                headers: vec![
                    (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
                    (header::CONTENT_RANGE, range),
                ],
                by_digest: false,
            };
            let payload = Payload::Bytes(&bytes);
            let response = self.exchange(endpoint, Access::Push, &request, &payload)?;
            session = location(response, 202)?;
            at += chunk;
        }
        let url = session.with_query(&[("digest", &upload.digest.to_string())]);
        let request = put(url.map_err(bad_location)?);
        let response = self.exchange(endpoint, Access::Push, &request, &Payload::Bytes(&[]))?;
        stored(response, &upload.digest)
    }
}

/// The registry itself.
fn registry(repository: &Repository) -> Result<&Endpoint, Failure> {
    let found = repository.endpoints.iter().find(|one| !one.is_mirror);
    found.ok_or_else(|| Reason::Nobody("there is no registry to push to, only mirrors").into())
}

fn put(url: Url) -> Request {
    Request {
        method: Method::PUT,
        url,
        headers: vec![(header::CONTENT_TYPE, "application/octet-stream".to_owned())],
        by_digest: false,
    }
}

fn bad_location(reason: &'static str) -> Failure {
    let reason = reason.to_owned();
    Failure::from(Reason::BadAnswer {
        what: "Location",
        reason,
    })
}

/// Where an upload goes on, which must not be less safe than here.
fn location(response: Response, status: u16) -> Result<Url, Failure> {
    let response = response.accept(&[status])?;
    let location = response.header(&header::LOCATION).unwrap_or_default();
    let next = response.url.join(location).map_err(bad_location)?;
    if response.url.is_encrypted() && !next.is_encrypted() {
        return Err(bad_location("not encrypted"));
    }
    response.finish();
    Ok(next)
}

/// The registry has stored what it was given.
fn stored(response: Response, expected: &Digest) -> Result<(), Failure> {
    let response = response.accept(&[201, 204])?;
    match said_digest(&response) {
        Some(found) if found != *expected => Err(Failure::at(&response.url)(Reason::OtherDigest {
            found,
            expected: *expected,
        })),
        _ => {
            response.finish();
            Ok(())
        }
    }
}
