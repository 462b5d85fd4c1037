//! Plain files by URL, over the same connections as images: a mirror's indexes.

use std::sync::Arc;

use ureq::http::Method;

use super::clock::SystemClock;
use super::endpoint::Tls;
use super::error::{Error, Failure, Reason};
use super::options::Options;
use super::proxy::Proxies;
use super::retry::Attempts;
use super::url::Url;
use super::wire::{Request, Wire};
use crate::oci::Environment;

/// Fetches files; proxies and certificates are the machine's.
#[derive(Debug)]
pub struct Files {
    wire: Wire,
}

impl Files {
    /// A client by the environment's proxies. Nothing is asked yet.
    #[must_use]
    pub fn new(environment: &Environment) -> Self {
        let options = Options {
            proxies: Proxies::of_environment(environment),
            ..Options::default()
        };
        Self {
            wire: Wire::new(options, Arc::new(SystemClock)),
        }
    }

    /// The file at `url`, of at most `limit` bytes; `None` where there is none. A mirror that has
    /// trouble is asked again.
    ///
    /// # Errors
    /// [`Error`] of the last try.
    pub fn get(&self, url: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let bad = |reason: &str| {
            let reason = reason.to_owned();
            let what = "URL";
            Failure::from(Reason::BadAnswer { what, reason }).of("fetch", url)
        };
        let url = Url::parse(url).map_err(bad)?;
        let mut attempts = Attempts::new(&self.wire.options.retry);
        loop {
            match self.once(&url, limit) {
                Ok(found) => return Ok(found),
                Err(failure) => {
                    let (policy, asked) = (&self.wire.options.retry, failure.retry_after());
                    let again = failure.reason.is_transient()
                        && attempts.again(policy, &*self.wire.clock, asked);
                    if !again {
                        return Err(failure.of("fetch", &url.to_string()));
                    }
                }
            }
        }
    }

    fn once(&self, url: &Url, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
        let request = Request {
            method: Method::GET,
            url: url.clone(),
            headers: Vec::new(),
            by_digest: false,
        };
        let response = self.wire.follow(&request, None, &Tls::default())?;
        if response.status == 404 {
            response.finish();
            return Ok(None);
        }
        response.accept(&[200])?.bytes(limit).map(Some)
    }
}
