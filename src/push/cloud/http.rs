//! The HTTP client of all services: whom it trusts, which proxy it uses, how long it waits.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Connector, HttpClientError};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::CloudError;

/// A connection is made within this, name and TLS included.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// One attempt of one call ends within this, its answer read.
pub(super) const ATTEMPT: Duration = Duration::from_secs(30);

/// Connections idle for longer are closed. The services close theirs after a minute or so, and
/// what is sent into a closing one is lost.
const IDLE: Duration = Duration::from_secs(20);

/// One client: its connections are shared by all who have it.
#[derive(Clone)]
pub(super) struct Http(Arc<Shared>);

struct Shared {
    trust: TlsContext,
    proxy: ProxyConfig,
    /// By time limits for connecting and reading: those who find credentials have their own.
    connectors: Mutex<HashMap<[Option<Duration>; 2], SharedHttpConnector>>,
}

impl Http {
    /// By `AWS_CA_BUNDLE`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` of `environment`.
    pub fn new(environment: impl Fn(&str) -> Option<String>) -> Result<Self, CloudError> {
        let bundle = environment("AWS_CA_BUNDLE");
        let trust = match bundle {
            Some(path) => bundle_of(Path::new(&path))?,
            None => native(),
        };
        let trust = TlsContext::builder()
            .with_trust_store(trust)
            .build()
            .map_err(|error: HttpClientError| CloudError::Trust {
                path: "AWS_CA_BUNDLE".into(),
                reason: error.to_string(),
            })?;
        Ok(Self(Arc::new(Shared {
            trust,
            proxy: proxy(environment)?,
            connectors: Mutex::default(),
        })))
    }

    /// Tests: `connector` in place of the network, for those who have this module's time limit.
    #[cfg(test)]
    pub fn canned(
        connector: impl aws_smithy_runtime_api::client::http::HttpConnector + 'static,
    ) -> Self {
        let key = [Some(CONNECT), None];
        Self(Arc::new(Shared {
            trust: TlsContext::default(),
            proxy: ProxyConfig::disabled(),
            connectors: Mutex::new(HashMap::from([(key, SharedHttpConnector::new(connector))])),
        }))
    }

    /// What sends requests, with these time limits. The pool of idle connections has no upper
    /// bound: as many as ever were in use at a time.
    pub fn connector(&self, settings: &HttpConnectorSettings) -> SharedHttpConnector {
        let key = [settings.connect_timeout(), settings.read_timeout()];
        let mut connectors = self
            .0
            .connectors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let connector = Connector::builder()
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .tls_context(self.0.trust.clone())
                .proxy_config(self.0.proxy.clone())
                .pool_idle_timeout(IDLE)
                .connector_settings(settings.clone())
                .build();
            SharedHttpConnector::new(connector)
        };
        connectors.entry(key).or_insert_with(make).clone()
    }
}

impl fmt::Debug for Http {
    /// A proxy's URL may have a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

impl HttpClient for Http {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.connector(settings)
    }
}

/// The machine's authorities. Without any, nobody is trusted; the client would panic in a
/// debug build if it were told to find them.
fn native() -> TrustStore {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs().certs;
    let (usable, _) = roots.add_parsable_certificates(found);
    TrustStore::empty().with_native_roots(usable > 0)
}

/// The authorities of a PEM file, checked: the client panics at one that it cannot read.
fn bundle_of(path: &Path) -> Result<TrustStore, CloudError> {
    let fail = |reason: String| CloudError::Trust {
        path: path.to_owned(),
        reason,
    };
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| fail(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| fail(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fail("no certificate in it".to_owned()));
    }
    Ok(TrustStore::empty().with_pem_certificate(bytes))
}

/// Only `https:` goes by a proxy: the plain services are the machine's own and its neighbours (the
/// instance's and the container's metadata, a fake), which no proxy reaches.
fn proxy(environment: impl Fn(&str) -> Option<String>) -> Result<ProxyConfig, CloudError> {
    let set = |name: &str| {
        environment(name)
            .or_else(|| environment(&name.to_ascii_lowercase()))
            .filter(|value| !value.is_empty())
    };
    let named = ["HTTPS_PROXY", "ALL_PROXY"]
        .into_iter()
        .find_map(|name| Some((name, set(name)?)));
    let Some((name, url)) = named else {
        return Ok(ProxyConfig::disabled());
    };
    let url = match url.contains("://") {
        true => url,
        false => format!("http://{url}"),
    };
    // Not the error's words: they may have the URL, and that a password.
    let config = ProxyConfig::https(url).map_err(|_| CloudError::Proxy { name })?;
    let direct = set("NO_PROXY").unwrap_or_default();
    Ok(config.no_proxy(format!("localhost,127.0.0.0/8,::1,{direct}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Http, CloudError> {
        let all: HashMap<String, String> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Http::new(move |name| all.get(name).cloned())
    }

    #[test]
    fn a_proxys_password_is_not_shown() {
        let http = of(&[("https_proxy", "http://user:hunter2@proxy:3128")]).unwrap();
        assert!(!format!("{http:?}").contains("hunter2"));
        assert!(!http.0.proxy.is_disabled());
        let error = of(&[("ALL_PROXY", "socks5://user:hunter2@proxy")]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(error.to_string().contains("ALL_PROXY"));
    }

    #[test]
    fn plain_http_has_no_proxy() {
        let http = of(&[("HTTP_PROXY", "http://proxy:3128")]).unwrap();
        assert!(http.0.proxy.is_disabled());
        assert!(of(&[("HTTPS_PROXY", "proxy:3128")]).is_ok());
    }

    #[test]
    fn a_bundle_must_have_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bundle.pem");
        std::fs::write(&file, "nothing").unwrap();
        let path = file.to_str().unwrap();
        let error = of(&[("AWS_CA_BUNDLE", path)]).unwrap_err();
        assert!(error.to_string().contains("no certificate"), "{error}");
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        assert!(of(&[("AWS_CA_BUNDLE", path)]).is_ok());
        assert!(of(&[("AWS_CA_BUNDLE", "/nonexistent")]).is_err());
    }

    #[test]
    fn time_limits_have_their_own_connections() {
        let http = of(&[]).unwrap();
        let settings = |seconds| {
            HttpConnectorSettings::builder()
                .connect_timeout(Duration::from_secs(seconds))
                .build()
        };
        let _ = http.connector(&settings(1));
        let _ = http.connector(&settings(1));
        let _ = http.connector(&settings(5));
        assert_eq!(http.0.connectors.lock().unwrap().len(), 2);
    }
}
