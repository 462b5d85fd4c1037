//! Who one is: the SDK's sources of credentials, asked once and again when what they gave runs out.
//!
//! The SDK's own cache goes by the expiry that the source names. A source may name none, and a
//! service refuses what its clock says has run out: this one also forgets what was refused.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::call::{Call, chain};
use super::clock::Clock;
use super::{CallError, Kind};

/// A source answers within this; `credential_process` may start a whole interpreter.
const LOAD: Duration = Duration::from_secs(30);

/// Credentials with less than this left are replaced.
const LEFT: Duration = Duration::from_secs(60);

/// How long a source that gave short-lived credentials is left in peace.
const PAUSE: Duration = Duration::from_secs(5);

/// Cheap to clone: all clones know the same credentials.
#[derive(Clone)]
pub(super) struct Identity(Arc<Shared>);

struct Shared {
    source: Option<SharedCredentialsProvider>,
    clock: Clock,
    known: Mutex<Option<Known>>,
}

struct Known {
    keys: Credentials,
    asked: Instant,
}

impl Known {
    /// Whether they are used as they are.
    fn is_good(&self, clock: &Clock) -> bool {
        let Some(expiry) = self.keys.expiry() else {
            return true;
        };
        let left = expiry.duration_since(clock.now()).unwrap_or_default();
        let pause = if left.is_zero() { PAUSE / 5 } else { PAUSE };
        left > LEFT || self.asked.elapsed() < pause
    }

    fn is(&self, keys: &Credentials) -> bool {
        self.keys.access_key_id() == keys.access_key_id()
            && self.keys.session_token() == keys.session_token()
    }
}

impl Identity {
    /// Without a source nobody is anybody.
    pub fn new(source: Option<SharedCredentialsProvider>, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            source,
            clock,
            known: Mutex::default(),
        }))
    }

    /// The credentials to sign with. One asks the source, the others wait for it.
    async fn load(&self) -> provider::Result {
        let mut known = self.0.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.is_good(&self.0.clock)) {
            return Ok(known.keys.clone());
        }
        let source = self.0.source.as_ref();
        let source = source.ok_or_else(CredentialsError::not_loaded_no_source)?;
        let fresh = match timeout(LOAD, source.provide_credentials()).await {
            Ok(answer) => answer,
            Err(_) => Err(CredentialsError::provider_timed_out(LOAD)),
        };
        let keys = match (fresh, known.take()) {
            (Ok(keys), _) => keys,
            // What is still good for some seconds is better than nothing.
            (Err(_), Some(old)) if old.keys.expiry() > Some(self.0.clock.now()) => old.keys,
            (Err(error), _) => return Err(error),
        };
        *known = Some(Known {
            keys: keys.clone(),
            asked: Instant::now(),
        });
        Ok(keys)
    }

    /// The credentials to sign `call` with.
    pub async fn keys(&self, call: &Call) -> Result<Credentials, CallError> {
        let error = match self.load().await {
            Ok(keys) => return Ok(keys),
            Err(error) => error,
        };
        Err(match &error {
            CredentialsError::CredentialsNotLoaded(_) => call.failed(
                Kind::Denied,
                CallError::NO_KEYS,
                "none in the environment, a profile, the container or the machine's role",
            ),
            CredentialsError::InvalidConfiguration(_) => {
                call.failed(Kind::Denied, CallError::KEYS, chain(&error))
            }
            CredentialsError::ProviderTimedOut(_) => {
                call.failed(Kind::Transient, CallError::KEYS, chain(&error))
            }
            // A service that fails or a program: worth a few more tries.
            _ => call.failed(Kind::Expired, CallError::KEYS, chain(&error)),
        })
    }

    /// Whoever signed with `keys` was told that they have run out.
    pub async fn forget(&self, keys: &Credentials) {
        let mut known = self.0.known.lock().await;
        if known.as_ref().is_some_and(|known| known.is(keys)) {
            *known = None;
        }
    }
}

impl ProvideCredentials for Identity {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// `text` without the secrets of `keys`: services quote what they were sent.
pub(super) fn conceal(text: &str, keys: &Credentials) -> String {
    let secrets = [Some(keys.secret_access_key()), keys.session_token()];
    let line = text.trim().lines().next().unwrap_or_default();
    secrets
        .into_iter()
        .flatten()
        .filter(|secret| !secret.is_empty())
        .fold(line.to_owned(), |line, secret| line.replace(secret, "…"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::SystemTime;

    use super::*;

    /// Gives numbered keys that live so long, or fails.
    #[derive(Debug, Default)]
    struct Source {
        asked: AtomicU32,
        lives: Option<Duration>,
        fails_from: Option<u32>,
    }

    #[derive(Clone, Debug)]
    struct Shared(Arc<Source>);

    impl ProvideCredentials for Shared {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.0.asked.fetch_add(1, Ordering::Relaxed);
            let result = match self.0.fails_from {
                Some(first) if number >= first => Err(CredentialsError::provider_error("broken")),
                _ => Ok(Credentials::new(
                    format!("AKID{number}"),
                    "hunter2",
                    Some("token3".to_owned()),
                    self.0.lives.map(|lives| SystemTime::now() + lives),
                    "test",
                )),
            };
            future::ProvideCredentials::ready(result)
        }
    }

    fn identity(source: Source) -> (Identity, Arc<Source>) {
        let source = Arc::new(source);
        let shared = SharedCredentialsProvider::new(Shared(source.clone()));
        (Identity::new(Some(shared), Clock::default()), source)
    }

    fn call() -> Call {
        Call::new("sign", "it")
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_is_asked_once() {
        let (identity, source) = identity(Source::default());
        for _ in 0..3 {
            let keys = identity.keys(&call()).await.unwrap();
            assert_eq!(keys.access_key_id(), "AKID0");
        }
        assert_eq!(source.asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_refused_is_forgotten_once() {
        let (identity, source) = identity(Source::default());
        let old = identity.keys(&call()).await.unwrap();
        identity.forget(&old).await;
        let new = identity.keys(&call()).await.unwrap();
        assert_eq!(new.access_key_id(), "AKID1");
        // The other calls of the same moment hear the same of the old keys.
        identity.forget(&old).await;
        identity.keys(&call()).await.unwrap();
        assert_eq!(source.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_out_soon_is_replaced_but_not_at_every_call() {
        let (identity, source) = identity(Source {
            lives: Some(Duration::from_secs(30)),
            ..Source::default()
        });
        identity.keys(&call()).await.unwrap();
        identity.keys(&call()).await.unwrap();
        assert_eq!(source.asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(PAUSE).await;
        identity.keys(&call()).await.unwrap();
        assert_eq!(source.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_later_leaves_what_it_gave() {
        let (identity, _) = identity(Source {
            lives: Some(Duration::from_secs(30)),
            fails_from: Some(1),
            ..Source::default()
        });
        identity.keys(&call()).await.unwrap();
        tokio::time::advance(PAUSE).await;
        let keys = identity.keys(&call()).await.unwrap();
        assert_eq!(keys.access_key_id(), "AKID0");
        identity.forget(&keys).await;
        let error = identity.keys(&call()).await.unwrap_err();
        assert_eq!(error.kind, Kind::Expired);
        assert!(error.to_string().contains("broken"), "{error}");
    }

    #[tokio::test]
    async fn no_secret_is_shown() {
        let (identity, _) = identity(Source::default());
        let keys = identity.keys(&call()).await.unwrap();
        for text in [format!("{identity:?}"), format!("{keys:?}")] {
            assert!(!text.contains("hunter2") && !text.contains("token3"));
        }
        assert_eq!(conceal(" a hunter2 b token3\nmore", &keys), "a … b …");
    }
}
