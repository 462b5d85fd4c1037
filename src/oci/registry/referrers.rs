//! What refers to a manifest: signatures, attestations (distribution-spec "Listing Referrers").

use oci_spec::image::{Descriptor, ImageIndex};
use ureq::http::{Method, header};

use super::auth::Access;
use super::client::{Client, Repository, Wanted, url};
use super::endpoint::Endpoint;
use super::error::{Error, Failure, Reason};
use super::url::Url;
use super::wire::{Payload, Request, Response};
use crate::oci::Digest;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Pages of one list that are read.
const MAX_PAGES: usize = 64;

impl Client {
    /// The manifests that refer to `subject`, of one artifact type or of all. A registry without
    /// the referrers API is asked for the tag `sha256-…` that stands for it. A mirror that knows
    /// of none is not believed.
    ///
    /// # Errors
    /// [`Error`] of the last place asked.
    pub fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        let places = self.places(repository, true);
        let mut last = Ok(Vec::new());
        for (index, endpoint) in places.iter().enumerate() {
            let is_last = index + 1 == places.len();
            let found = self.persist(is_last || !endpoint.is_mirror, || {
                self.referrers_at(endpoint, subject, artifact_type)
            });
            match found {
                Ok(found) if !found.is_empty() => return Ok(found),
                Ok(none) => last = Ok(none),
                Err(failure) => {
                    self.pass_over(endpoint, &failure);
                    last = Err(failure);
                }
            }
        }
        let object = repository.object(&Wanted::Digest(*subject));
        last.map_err(|failure| failure.of("list referrers of", &object))
    }

    fn referrers_at(
        &self,
        endpoint: &Endpoint,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Failure> {
        let first = url(endpoint, &format!("referrers/{subject}"))?;
        let asked = match artifact_type {
            Some(kind) => first.with_query(&[("artifactType", kind)]),
            None => Ok(first),
        };
        let mut next = Some(asked.map_err(|_| Reason::Nobody("no URL for that artifact type"))?);
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let Some(url) = next.take() else { break };
            let response = self.index(endpoint, url)?;
            if response.status == 404 {
                response.finish();
                return self.referrers_by_tag(endpoint, subject, artifact_type);
            }
            let response = response.accept(&[200])?;
            next = next_page(&response)?;
            found.extend(manifests(response)?);
        }
        Ok(of_type(found, artifact_type))
    }

    fn referrers_by_tag(
        &self,
        endpoint: &Endpoint,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Failure> {
        let tag = subject.to_string().replace(':', "-");
        let response = self.index(endpoint, url(endpoint, &format!("manifests/{tag}"))?)?;
        if response.status == 404 {
            response.finish();
            return Ok(Vec::new());
        }
        let found = manifests(response.accept(&[200])?)?;
        Ok(of_type(found, artifact_type))
    }

    fn index(&self, endpoint: &Endpoint, url: Url) -> Result<Response, Failure> {
        let request = Request {
            method: Method::GET,
            url,
            headers: vec![(header::ACCEPT, INDEX.to_owned())],
            by_digest: false,
        };
        self.exchange(endpoint, Access::Pull, &request, &Payload::None)
    }
}

fn manifests(response: Response) -> Result<Vec<Descriptor>, Failure> {
    let fail = Failure::at(&response.url);
    let (bytes, _) = response.document()?;
    let index: ImageIndex = serde_json::from_slice(&bytes).map_err(|error| {
        fail(Reason::BadAnswer {
            what: "referrers",
            reason: error.to_string(),
        })
    })?;
    Ok(index.manifests().clone())
}

/// A registry need not filter.
fn of_type(all: Vec<Descriptor>, artifact_type: Option<&str>) -> Vec<Descriptor> {
    let is_wanted = |one: &Descriptor| {
        let kind = one.artifact_type().as_ref().map(ToString::to_string);
        artifact_type.is_none_or(|wanted| kind.as_deref() == Some(wanted))
    };
    all.into_iter().filter(is_wanted).collect()
}

/// `Link: <URL>; rel="next"` (RFC 8288), of the same host.
fn next_page(response: &Response) -> Result<Option<Url>, Failure> {
    let Some(link) = response.header(&header::LINK) else {
        return Ok(None);
    };
    let target = link
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .filter(|(_, parameters)| parameters.contains("next"));
    let Some((target, _)) = target else {
        return Ok(None);
    };
    let next = response.url.join(target);
    match next {
        Ok(next) if next.origin() == response.url.origin() => Ok(Some(next)),
        _ => Err(Failure::at(&response.url)(Reason::BadAnswer {
            what: "Link",
            reason: "not of this registry".to_owned(),
        })),
    }
}
