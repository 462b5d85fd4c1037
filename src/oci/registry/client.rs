//! Asking a registry: which place, as whom, and again when it failed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use oci_spec::image::{Descriptor, MediaType};
use serde::Deserialize;
use ureq::http::{Method, header};

use super::auth::{Access, Auth, Credentials, challenges};
use super::clock::{Clock, SystemClock};
use super::endpoint::{Endpoint, Scheme};
use super::error::{Error, Failure, Reason};
use super::options::Options;
use super::retry::Attempts;
use super::url::Url;
use super::wire::{Payload, Request, Response, Wire};
use crate::oci::{Digest, Document};

/// A mirror that could not be reached is not asked again for so long.
const MIRROR_REST: Duration = Duration::from_secs(60);
/// A token is renewed so often for one request, beside the tokens that other threads renewed:
/// they may have used it up meanwhile.
const MAX_RENEWALS: usize = 3;
/// What manifests may be. Schema 1 is asked for last, so that it can be refused by name.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.1, */*;q=0.1";

/// A repository, and where it is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// How messages call it: `docker.io/library/nginx`.
    pub name: String,
    /// In the order to ask: mirrors, and the registry last.
    pub endpoints: Vec<Endpoint>,
}

/// Which manifest of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one that a tag names today.
    Tag(String),
    /// The one with these bytes.
    Digest(Digest),
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => formatter.write_str(tag),
            Self::Digest(digest) => digest.fmt(formatter),
        }
    }
}

impl Repository {
    /// What messages call an image of it.
    pub(super) fn object(&self, wanted: &Wanted) -> String {
        let separator = match wanted {
            Wanted::Tag(_) => ':',
            Wanted::Digest(_) => '@',
        };
        format!("{}{separator}{wanted}", self.name)
    }
}

/// A client of any number of registries, for any number of threads. Its copies share connections,
/// tokens and bounds.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    wire: Wire,
    auth: Auth,
    notes: Notes,
    /// Mirrors that could not be reached, and until when they are left alone.
    resting: Mutex<HashMap<String, Instant>>,
}

/// Who is told what went wrong and was got over.
type Tell = dyn Fn(&str) + Send + Sync;
struct Notes(Box<Tell>);

impl fmt::Debug for Notes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Notes")
    }
}

impl Client {
    /// A client by the machine's clock, whose notes nobody reads. Nothing is read or asked yet.
    #[must_use]
    pub fn new(options: Options, credentials: Box<dyn Credentials>) -> Self {
        Self::with(
            options,
            credentials,
            Arc::new(SystemClock),
            Box::new(|_| ()),
        )
    }

    /// A client by `clock`, which tells `notes` of mirrors passed over and the like.
    #[must_use]
    pub fn with(
        options: Options,
        credentials: Box<dyn Credentials>,
        clock: Arc<dyn Clock>,
        notes: Box<Tell>,
    ) -> Self {
        Self(Arc::new(Inner {
            wire: Wire::new(options, clock),
            auth: Auth::new(credentials),
            notes: Notes(notes),
            resting: Mutex::default(),
        }))
    }

    /// The manifest or index that `wanted` names, its bytes checked against the digest in the
    /// reference and the one that the registry gives.
    ///
    /// # Errors
    /// [`Error`] of the last place asked.
    pub fn manifest(&self, repository: &Repository, wanted: &Wanted) -> Result<Document, Error> {
        let object = repository.object(wanted);
        self.first_of(repository, wanted, |endpoint| {
            let request = manifest_request(endpoint, wanted, Method::GET)?;
            let response = self.exchange(endpoint, Access::Pull, &request, &Payload::None)?;
            manifest(response.accept(&[200])?, wanted)
        })
        .map_err(|failure| failure.of("fetch manifest", &object))
    }

    /// What `wanted` names, without fetching it: Docker Hub counts only fetches.
    ///
    /// # Errors
    /// [`Error`] of the last place asked, also where it doesn't say.
    pub fn describe(&self, repository: &Repository, wanted: &Wanted) -> Result<Descriptor, Error> {
        let object = repository.object(wanted);
        self.first_of(repository, wanted, |endpoint| {
            let request = manifest_request(endpoint, wanted, Method::HEAD)?;
            let response = self.exchange(endpoint, Access::Pull, &request, &Payload::None)?;
            description(&response.accept(&[200])?, wanted)
        })
        .map_err(|failure| failure.of("look up manifest", &object))
    }

    pub(super) fn options(&self) -> &Options {
        &self.0.wire.options
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.0.wire
    }

    pub(super) fn note(&self, text: &str) {
        (self.0.notes.0)(text);
    }

    /// Waits for another try; false when there is to be none.
    pub(super) fn again(&self, attempts: &mut Attempts, failure: &Failure) -> bool {
        failure.reason.is_transient()
            && attempts.again(
                &self.options().retry,
                &*self.0.wire.clock,
                failure.retry_after(),
            )
    }

    /// Mirrors get one try, since there is someone else to ask.
    pub(super) fn attempts(&self, is_patient: bool) -> Attempts {
        let policy = &self.options().retry;
        if is_patient {
            Attempts::new(policy)
        } else {
            Attempts::once(policy)
        }
    }

    /// The first good answer: each place in order, and again where that may help.
    pub(super) fn first_of<T>(
        &self,
        repository: &Repository,
        wanted: &Wanted,
        ask: impl Fn(&Endpoint) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let by_digest = matches!(wanted, Wanted::Digest(_));
        let mut last = Reason::Nobody("no registry or mirror may be asked by tag").into();
        let places = self.places(repository, by_digest);
        for (index, endpoint) in places.iter().enumerate() {
            let is_last = index + 1 == places.len();
            match self.persist(is_last || !endpoint.is_mirror, || ask(endpoint)) {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    self.pass_over(endpoint, &failure);
                    last = failure;
                }
            }
        }
        Err(last)
    }

    /// Who may be asked, in order: without the mirrors that could not be reached a moment ago, as
    /// long as anyone is left.
    pub(super) fn places<'a>(
        &self,
        repository: &'a Repository,
        by_digest: bool,
    ) -> Vec<&'a Endpoint> {
        let all = repository.endpoints.iter();
        let all: Vec<_> = all.filter(|one| by_digest || one.by_tag).collect();
        let now = self.0.wire.clock.now();
        let mut resting = self.resting();
        resting.retain(|_, until| now < *until);
        let rests = |one: &Endpoint| one.is_mirror && resting.contains_key(&one.host);
        match all
            .iter()
            .copied()
            .filter(|one| !rests(one))
            .collect::<Vec<_>>()
        {
            none if none.is_empty() => all,
            awake => awake,
        }
    }

    /// Tries until it works, helps no more, or was enough.
    pub(super) fn persist<T>(
        &self,
        is_patient: bool,
        one: impl Fn() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut attempts = self.attempts(is_patient);
        loop {
            match one() {
                Err(failure) if self.again(&mut attempts, &failure) => {}
                answer => return answer,
            }
        }
    }

    /// Notes that a mirror did not help.
    pub(super) fn pass_over(&self, endpoint: &Endpoint, failure: &Failure) {
        if !endpoint.is_mirror {
            return;
        }
        self.note(&format!("mirror {} passed over: {failure}", endpoint.host));
        if !matches!(
            *failure.reason,
            Reason::Status {
                status: 400..=499,
                ..
            }
        ) {
            let until = self.0.wire.clock.now() + MIRROR_REST;
            self.resting().insert(endpoint.host.clone(), until);
        }
    }

    fn resting(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        let resting = &self.0.resting;
        resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request to a place, as whom it wants; a token that has run out is renewed.
    pub(super) fn exchange(
        &self,
        endpoint: &Endpoint,
        access: Access,
        request: &Request,
        payload: &Payload<'_>,
    ) -> Result<Response, Failure> {
        let Inner { wire, auth, .. } = &*self.0;
        // Elsewhere, as an upload's location may be, nobody is told who one is.
        let is_home = base(endpoint)?.origin() == request.url.origin();
        let stranger = super::endpoint::Tls {
            client: None,
            ..endpoint.tls.clone()
        };
        let tls = if is_home { &endpoint.tls } else { &stranger };
        let send = |authorization: Option<&_>| match payload {
            Payload::None => wire.follow(request, authorization, tls),
            _ => wire.send(request, authorization, payload, tls),
        };
        if !is_home {
            return send(None);
        }
        let mut authorization = auth.current(wire, endpoint, access)?;
        let mut renewals = 0;
        loop {
            let response = send(authorization.as_ref())?;
            if response.status != 401 || !response.at_home || renewals == MAX_RENEWALS {
                return Ok(response);
            }
            let challenges = challenges(&response);
            // Ends the exchange: a token server on the same host needs its permit.
            let refusal = response.complaint();
            let refused = authorization.as_ref();
            let renewed = auth.renew(wire, endpoint, access, challenges, refused)?;
            let Some((renewed, ours)) = renewed else {
                return Err(refusal);
            };
            authorization = Some(renewed);
            renewals += usize::from(ours);
        }
    }
}

/// `…/v2/`.
fn base(endpoint: &Endpoint) -> Result<Url, Failure> {
    let scheme = match endpoint.scheme {
        Scheme::Https => "https",
        Scheme::Http => "http",
    };
    let (host, prefix) = (&endpoint.host, &endpoint.prefix);
    let url = Url::parse(&format!("{scheme}://{host}{prefix}/v2/"));
    url.map_err(|_| Reason::Nobody("the registry's name makes no URL").into())
}

/// `…/v2/REPOSITORY/REST`.
pub(super) fn url(endpoint: &Endpoint, rest: &str) -> Result<Url, Failure> {
    let url = base(endpoint)?.join(&format!(
        "{}/v2/{}/{rest}",
        endpoint.prefix, endpoint.repository
    ));
    url.map_err(|_| Reason::Nobody("the repository's name makes no URL").into())
}

fn manifest_request(
    endpoint: &Endpoint,
    wanted: &Wanted,
    method: Method,
) -> Result<Request, Failure> {
    Ok(Request {
        method,
        url: url(endpoint, &format!("manifests/{wanted}"))?,
        headers: vec![(header::ACCEPT, MANIFESTS.to_owned())],
        by_digest: matches!(wanted, Wanted::Digest(_)),
    })
}

/// The digest that the registry gives with its answer, where it is one that i2kit can check.
pub(super) fn said_digest(response: &Response) -> Option<Digest> {
    response.other_header("docker-content-digest")?.parse().ok()
}

/// The media type without parameters.
fn said_type(response: &Response) -> Option<String> {
    let kind = response.header(&header::CONTENT_TYPE)?;
    let kind = kind.split(';').next()?.trim();
    Some(kind.to_owned()).filter(|kind| !kind.is_empty())
}

fn description(response: &Response, wanted: &Wanted) -> Result<Descriptor, Failure> {
    let fail = Failure::at(&response.url);
    let missing = |what| {
        fail(Reason::BadAnswer {
            what,
            reason: "not given".to_owned(),
        })
    };
    let digest = said_digest(response).ok_or_else(|| missing("Docker-Content-Digest"))?;
    let size = response.length().ok_or_else(|| missing("Content-Length"))?;
    same(digest, wanted).map_err(&fail)?;
    let kind = said_type(response).ok_or_else(|| missing("Content-Type"))?;
    descriptor(&digest, size, &kind).map_err(&fail)
}

pub(super) fn descriptor(digest: &Digest, size: u64, kind: &str) -> Result<Descriptor, Reason> {
    let bad = |reason: String| Reason::BadAnswer {
        what: "Docker-Content-Digest",
        reason,
    };
    let parsed: Result<oci_spec::image::Digest, _> = digest.to_string().parse();
    let parsed = parsed.map_err(|error| bad(error.to_string()))?;
    Ok(Descriptor::new(MediaType::from(kind), size, parsed))
}

/// Refuses other bytes than asked for.
fn same(found: Digest, wanted: &Wanted) -> Result<(), Reason> {
    match wanted {
        Wanted::Digest(expected) if *expected != found => Err(Reason::OtherDigest {
            found,
            expected: *expected,
        }),
        _ => Ok(()),
    }
}

fn manifest(response: Response, wanted: &Wanted) -> Result<Document, Failure> {
    let fail = Failure::at(&response.url);
    let (bytes, response) = response.document()?;
    let digest = Digest::of(&bytes);
    same(digest, wanted).map_err(&fail)?;
    if let Some(said) = said_digest(&response)
        && said != digest
    {
        return Err(fail(Reason::OtherDigest {
            found: digest,
            expected: said,
        }));
    }
    let media_type = media_type(said_type(&response), &bytes).map_err(&fail)?;
    Ok(Document {
        media_type,
        digest,
        bytes,
    })
}

/// What the document says of itself, else what the registry says. The two must agree: an index
/// served as a manifest is a trick (CVE-2021-41190).
fn media_type(said: Option<String>, bytes: &[u8]) -> Result<String, Reason> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Own {
        media_type: Option<String>,
    }
    // What is no JSON is told by whoever parses it.
    let own = serde_json::from_slice(bytes).map(|own: Own| own.media_type);
    let own = own.ok().flatten();
    let is_specific = |kind: &&String| kind.starts_with("application/vnd.");
    match (own, said) {
        (Some(own), Some(said))
            if Some(&said)
                .filter(is_specific)
                .is_some_and(|said| *said != own) =>
        {
            Err(Reason::BadAnswer {
                what: "media type",
                reason: format!("{own} served as {said}"),
            })
        }
        (Some(own), _) => Ok(own),
        (None, said) => Ok(said.unwrap_or_else(|| "application/octet-stream".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_must_agree() {
        let of = |said: &str, body: &str| media_type(Some(said.to_owned()), body.as_bytes());
        let index = "application/vnd.oci.image.index.v1+json";
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        let body = format!(r#"{{"mediaType":"{index}"}}"#);
        assert_eq!(of(index, &body).unwrap(), index);
        assert_eq!(of("application/json", &body).unwrap(), index);
        assert_eq!(of("text/plain", "{}").unwrap(), "text/plain");
        assert_eq!(of(manifest, "no JSON").unwrap(), manifest);
        assert!(of(manifest, &body).is_err());
    }
}
