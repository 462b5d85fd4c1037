//! HTTP clients, one for each set of certificates and each proxy: connections are kept alive and
//! shared by all who trust alike.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

use super::endpoint::{Secret, Tls};
use super::error::Reason;
use super::options::Options;
use super::url::Url;

type Certificates = Vec<Certificate<'static>>;

/// Whom a connection is made as, and through whom.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    /// None for plain HTTP.
    tls: Option<Tls>,
    proxy: Option<String>,
}

#[derive(Default)]
pub(super) struct Agents {
    agents: Mutex<HashMap<Key, Agent>>,
    system: OnceLock<Result<Certificates, String>>,
}

impl Agents {
    /// The client for `url`.
    ///
    /// # Errors
    /// What is wrong with a certificate file or with the proxy's URL.
    pub fn agent(&self, options: &Options, tls: &Tls, url: &Url) -> Result<Agent, Reason> {
        let proxy = options.proxies.of(url);
        let key = Key {
            tls: url.is_encrypted().then(|| tls.clone()),
            proxy: proxy.map(|url| url.reveal().to_owned()),
        };
        let lock = || self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = lock().get(&key) {
            return Ok(agent.clone());
        }
        let agent = self.make(options, key.tls.as_ref(), proxy)?;
        Ok(lock().entry(key).or_insert(agent).clone())
    }

    fn make(
        &self,
        options: &Options,
        tls: Option<&Tls>,
        proxy: Option<&Secret>,
    ) -> Result<Agent, Reason> {
        let tls = match tls {
            Some(tls) => self.tls(tls)?,
            // Never used; the default would panic when it is.
            None => TlsConfig::builder().root_certs(roots(Vec::new())).build(),
        };
        let timeouts = &options.timeouts;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("i2kit/", env!("CARGO_PKG_VERSION")))
            // A blob must come as it is stored.
            .accept_encoding("identity")
            .tls_config(tls)
            .proxy(proxy.map(parse_proxy).transpose()?)
            .max_idle_connections_per_host(options.requests_per_host.max(1))
            .timeout_resolve(Some(timeouts.connect))
            .timeout_connect(Some(timeouts.connect))
            .timeout_send_request(Some(timeouts.response))
            .timeout_recv_response(Some(timeouts.response))
            .timeout_per_read(Some(timeouts.idle))
            .timeout_per_write(Some(timeouts.idle))
            .build();
        Ok(config.new_agent())
    }

    fn tls(&self, tls: &Tls) -> Result<TlsConfig, Reason> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut builder = TlsConfig::builder()
            .disable_verification(tls.skip_verify)
            .unversioned_rustls_crypto_provider(Arc::clone(&provider));
        if let Some((certificate, key)) = &tls.client {
            builder = builder.client_cert(Some(client(certificate, key, &provider)?));
        }
        let mut authorities = Vec::new();
        for path in &tls.authorities {
            authorities.extend(certificates(path)?);
        }
        if !tls.skip_verify {
            match self.system.get_or_init(system) {
                Ok(system) => authorities.extend(system.iter().cloned()),
                Err(reason) if authorities.is_empty() => {
                    return Err(Reason::NoAuthorities(reason.clone()));
                }
                Err(_) => {}
            }
        }
        Ok(builder.root_certs(roots(authorities)).build())
    }
}

impl std::fmt::Debug for Agents {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Agents")
    }
}

fn roots(certificates: Certificates) -> RootCerts {
    RootCerts::Specific(Arc::new(certificates))
}

/// The system's store (`/etc/ssl/certs`, or where `SSL_CERT_FILE` and `SSL_CERT_DIR` say). There
/// is no list built in: an administrator who takes an authority out means it.
fn system() -> Result<Certificates, String> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return Err(match found.errors.first() {
            Some(error) => error.to_string(),
            None => "the system has none".to_owned(),
        });
    }
    let all = found.certs.iter();
    Ok(all
        .map(|one| Certificate::from_der(one).to_owned())
        .collect())
}

fn parse_proxy(url: &Secret) -> Result<Proxy, Reason> {
    // What is wrong is not said with the URL, which may hold a login.
    let bad = |reason: &str| Reason::Proxy(reason.to_owned());
    let proxy = Proxy::new(url.reveal()).map_err(|_| bad("its URL in the environment is none"))?;
    match proxy.protocol() {
        ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https => Ok(proxy),
        _ => Err(bad("only http and https proxies are supported")),
    }
}

fn read(path: &Path) -> Result<Vec<PemItem<'static>>, Reason> {
    let bad = |reason: String| Reason::Certificate {
        path: path.to_owned(),
        reason,
    };
    let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    ureq::tls::parse_pem(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| bad("not PEM".to_owned()))
}

fn certificates(path: &Path) -> Result<Certificates, Reason> {
    let only = |item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    };
    let found: Certificates = read(path)?.into_iter().filter_map(only).collect();
    if found.is_empty() {
        return Err(Reason::Certificate {
            path: path.to_owned(),
            reason: "no certificate in it".to_owned(),
        });
    }
    Ok(found)
}

fn client(
    certificate: &Path,
    key: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientCert, Reason> {
    let bad = |reason: String| Reason::Certificate {
        path: key.to_owned(),
        reason,
    };
    let chain = certificates(certificate)?;
    let private = read(key)?.into_iter().find_map(|item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    });
    let private = private.ok_or_else(|| bad("no private key in it".to_owned()))?;
    check(&chain, &private, provider).map_err(|error| bad(error.to_string()))?;
    Ok(ClientCert::new_with_certs(&chain, private))
}

/// The HTTP client would panic on a key that is none, or of another certificate.
fn check(
    chain: &[Certificate<'static>],
    key: &PrivateKey<'static>,
    provider: &Arc<CryptoProvider>,
) -> Result<(), rustls::Error> {
    let chain = chain.iter().map(|one| one.der().to_vec().into()).collect();
    let key = PrivateKeyDer::try_from(key.der().to_vec())
        .map_err(|reason| rustls::Error::General(reason.to_owned()))?;
    rustls::ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_client_auth_cert(chain, key)?;
    Ok(())
}
