//! Who one is: Basic, and bearer tokens from a token server (distribution-spec "Token
//! Authentication", RFC 6749 for identity tokens).
//!
//! Nothing is said of a user before a registry asks. Tokens are kept per host and scope, and made
//! anew when they have run out or are refused.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use ureq::http::{Method, header};

use super::challenge::{self, Challenge};
use super::endpoint::{Credential, Endpoint, Scheme, Secret, Tls};
use super::error::{Failure, Reason};
use super::url::{Url, encode};
use super::wire::{Authorization, Payload, Request, Response, Wire};

/// What token servers know us as.
const CLIENT_ID: &str = "i2kit";
/// How long a token is good where its server doesn't say.
const DEFAULT_LIFE: u64 = 60;
/// A token is renewed so long before it runs out, or earlier in a short life.
const MARGIN: Duration = Duration::from_secs(10);

/// Keeps credentials.
pub trait Credentials: Send + Sync {
    /// Who one is for a repository of `host`; none for nobody.
    ///
    /// # Errors
    /// Why the keeper cannot say, without any secret.
    fn credential(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Option<Credential>, Box<dyn std::error::Error + Send + Sync>>;
}

/// Nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Credentials for Anonymous {
    fn credential(
        &self,
        _: &str,
        _: &str,
    ) -> Result<Option<Credential>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(None)
    }
}

/// What is to be done with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Access {
    Pull,
    Push,
}

impl Access {
    fn scope(self, repository: &str) -> String {
        let actions = match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
        };
        format!("repository:{repository}:{actions}")
    }
}

pub(super) struct Auth {
    credentials: Box<dyn Credentials>,
    slots: Mutex<HashMap<Place, Arc<Mutex<Slot>>>>,
}

/// A host and a scope.
type Place = (String, String);

/// What is known for one host and scope. Its lock is held while a token is fetched, so that
/// several threads share one.
#[derive(Default)]
struct Slot {
    challenges: Vec<Challenge>,
    current: Option<(Authorization, Option<Instant>)>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Auth")
    }
}

impl Auth {
    pub fn new(credentials: Box<dyn Credentials>) -> Self {
        Self {
            credentials,
            slots: Mutex::default(),
        }
    }

    /// What to send along, as far as the registry has asked before.
    pub fn current(
        &self,
        wire: &Wire,
        endpoint: &Endpoint,
        access: Access,
    ) -> Result<Option<Authorization>, Failure> {
        let slot = self.slot(endpoint, access);
        let mut slot = lock(&slot);
        match &slot.current {
            Some((authorization, until)) if until.is_none_or(|until| wire.clock.now() < until) => {
                Ok(Some(authorization.clone()))
            }
            Some(_) => self.obtain(wire, endpoint, access, &mut slot),
            None => Ok(None),
        }
    }

    /// What to send along after a 401, unless there is nothing better than what was refused;
    /// and whether it was obtained for this call, not by another thread before it.
    pub fn renew(
        &self,
        wire: &Wire,
        endpoint: &Endpoint,
        access: Access,
        challenges: Vec<Challenge>,
        refused: Option<&Authorization>,
    ) -> Result<Option<(Authorization, bool)>, Failure> {
        let slot = self.slot(endpoint, access);
        let mut slot = lock(&slot);
        if let Some((current, _)) = &slot.current
            && refused.is_some()
            && refused != Some(current)
        {
            // Another thread was refused first.
            return Ok(Some((current.clone(), false)));
        }
        slot.challenges = challenges;
        let renewed = self.obtain(wire, endpoint, access, &mut slot)?;
        let better = renewed.filter(|renewed| Some(renewed) != refused);
        Ok(better.map(|renewed| (renewed, true)))
    }

    fn slot(&self, endpoint: &Endpoint, access: Access) -> Arc<Mutex<Slot>> {
        let key = (endpoint.host.clone(), access.scope(&endpoint.repository));
        Arc::clone(lock(&self.slots).entry(key).or_default())
    }

    fn obtain(
        &self,
        wire: &Wire,
        endpoint: &Endpoint,
        access: Access,
        slot: &mut Slot,
    ) -> Result<Option<Authorization>, Failure> {
        slot.current = None;
        let credential = self
            .credentials
            .credential(&endpoint.host, &endpoint.repository)
            .map_err(|source| Reason::Credential {
                host: endpoint.host.clone(),
                source,
            })?;
        let of = |scheme: &str| slot.challenges.iter().find(|one| one.scheme == scheme);
        let bearer = of("bearer").filter(|one| one.get("realm").is_some());
        slot.current = match (&credential, bearer) {
            (Some(Credential::RegistryToken(token)), _) => {
                Some((bearer_header(token, Vec::new(), true), None))
            }
            (_, Some(challenge)) => {
                let asking = Asking {
                    wire,
                    endpoint,
                    challenge,
                    scope: access.scope(&endpoint.repository),
                };
                Some(asking.token(credential.as_ref())?)
            }
            (Some(Credential::Password { username, password }), None) => {
                of("basic").map(|_| (basic(username, password), None))
            }
            _ => None,
        };
        Ok(slot.current.as_ref().map(|(current, _)| current.clone()))
    }
}

/// What a refusal asks for.
pub(super) fn challenges(answer: &Response) -> Vec<Challenge> {
    let headers = answer.headers.get_all(header::WWW_AUTHENTICATE).iter();
    headers
        .filter_map(|value| value.to_str().ok())
        .flat_map(challenge::parse)
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn basic(username: &str, password: &Secret) -> Authorization {
    let pair = BASE64_STANDARD.encode(format!("{username}:{}", password.reveal()));
    Authorization {
        header: Secret::new(format!("Basic {pair}")),
        parts: vec![Secret::new(pair), password.clone()],
        known: true,
    }
}

fn bearer_header(token: &Secret, mut parts: Vec<Secret>, known: bool) -> Authorization {
    parts.push(token.clone());
    Authorization {
        header: Secret::new(format!("Bearer {}", token.reveal())),
        parts,
        known,
    }
}

/// A token server's answer.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// One visit to a token server.
struct Asking<'a> {
    wire: &'a Wire,
    endpoint: &'a Endpoint,
    challenge: &'a Challenge,
    scope: String,
}

impl Asking<'_> {
    fn token(
        &self,
        credential: Option<&Credential>,
    ) -> Result<(Authorization, Option<Instant>), Failure> {
        let realm = self.realm()?;
        let asked = self.wire.clock.now();
        let response = match credential {
            Some(Credential::IdentityToken(token)) => self.post(&realm, token)?,
            Some(Credential::Password { username, password }) => {
                self.get(&realm, Some(username), Some(&basic(username, password)))?
            }
            _ => self.get(&realm, None, None)?,
        };
        let fail = Failure::at(&response.url);
        let (bytes, _) = response.accept(&[200])?.document()?;
        let bad = |reason: &str| {
            fail(Reason::BadAnswer {
                what: "the token server's answer",
                reason: reason.to_owned(),
            })
        };
        // The parser's message could show a piece of a token.
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| bad("not JSON"))?;
        let token = [answer.token, answer.access_token].into_iter().flatten();
        let token = token.into_iter().find(|token| !token.is_empty());
        let token = Secret::new(token.ok_or_else(|| bad("no token in it"))?);
        let life = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFE));
        let until = asked.checked_add(life - MARGIN.min(life / 4));
        let parts = match credential {
            Some(Credential::Password { username, password }) => basic(username, password).parts,
            _ => Vec::new(),
        };
        let known = credential.is_some();
        Ok((bearer_header(&token, parts, known), until))
    }

    /// Where tokens are made: over TLS, unless the registry itself has none.
    fn realm(&self) -> Result<Url, Failure> {
        let bad = |reason: &str| Reason::BadAnswer {
            what: "the registry's token server",
            reason: reason.to_owned(),
        };
        let realm = Url::parse(self.challenge.get("realm").unwrap_or_default());
        let realm = realm.map_err(bad)?;
        if !realm.is_encrypted() && self.endpoint.scheme == Scheme::Https {
            return Err(Failure::at(&realm)(bad("not encrypted")));
        }
        Ok(realm)
    }

    fn get(
        &self,
        realm: &Url,
        account: Option<&str>,
        authorization: Option<&Authorization>,
    ) -> Result<Response, Failure> {
        let service = self
            .challenge
            .get("service")
            .map(|value| ("service", value));
        let account = account.map(|value| ("account", value));
        let pairs = service.into_iter().chain([("scope", &*self.scope)]);
        let pairs: Vec<_> = pairs.chain(account).collect();
        let url = realm
            .with_query(&pairs)
            .map_err(|reason| Reason::BadAnswer {
                what: "the registry's token server",
                reason: reason.to_owned(),
            })?;
        let request = Request {
            method: Method::GET,
            url,
            headers: vec![(header::ACCEPT, "application/json".to_owned())],
            by_digest: false,
        };
        self.wire.follow(&request, authorization, &self.tls(realm))
    }

    fn post(&self, realm: &Url, token: &Secret) -> Result<Response, Failure> {
        let service = self.challenge.get("service").unwrap_or_default();
        let form = format!(
            "grant_type=refresh_token&client_id={CLIENT_ID}&service={}&scope={}&refresh_token={}",
            encode(service),
            encode(&self.scope),
            encode(token.reveal()),
        );
        let kind = "application/x-www-form-urlencoded".to_owned();
        let request = Request {
            method: Method::POST,
            url: realm.clone(),
            headers: vec![(header::CONTENT_TYPE, kind)],
            by_digest: false,
        };
        let payload = Payload::Bytes(form.as_bytes());
        let mut response = self.wire.send(&request, None, &payload, &self.tls(realm))?;
        response.conceal(token);
        Ok(response)
    }

    /// A client certificate is for the registry's own host.
    fn tls(&self, realm: &Url) -> Tls {
        let tls = self.endpoint.tls.clone();
        let home = Url::parse(&format!("https://{}/", self.endpoint.host));
        if home.is_ok_and(|home| home.origin().host == realm.origin().host) {
            return tls;
        }
        Tls {
            client: None,
            ..tls
        }
    }
}
