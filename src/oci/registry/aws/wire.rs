//! Requests over the network.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::Request;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

use super::{Environment, Http, HttpRequest, HttpResponse, Reach};
use crate::oci::registry::Settings;

/// More than any answer has.
const MAX_ANSWER: u64 = 1 << 20;
/// For a service: to connect, and for everything.
const SERVICE: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(30)];
/// The same for what is around the machine.
const MACHINE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Sends requests with the user's proxies and authorities.
#[derive(Debug)]
pub(in crate::oci::registry) struct Wire {
    service: Agent,
    /// For a service of the user's that has no TLS.
    plain: Agent,
    machine: Agent,
}

impl Wire {
    /// # Errors
    /// What is wrong with a file of authorities or a proxy's URL.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let environment = &settings.environment;
        let mut authorities = Vec::new();
        let own = environment.path("AWS_CA_BUNDLE");
        for path in own
            .into_iter()
            .chain(settings.registry_ca.iter().map(AsRef::as_ref))
        {
            authorities.extend(certificates(path)?);
        }
        let system = rustls_native_certs::load_native_certs().certs;
        let system = system
            .iter()
            .map(|one| Certificate::from_der(one).to_owned());
        authorities.extend(system);
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(authorities)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        Ok(Self {
            service: agent(&tls, SERVICE, proxy(environment, "HTTPS_PROXY")?),
            plain: agent(&tls, SERVICE, proxy(environment, "HTTP_PROXY")?),
            machine: agent(&tls, MACHINE, None),
        })
    }
}

impl Http for Wire {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, String> {
        let uri = format!("{}{}", request.origin, request.path);
        let mut head = Request::builder().method(request.method).uri(uri);
        for (name, value) in &request.headers {
            head = head.header(*name, value);
        }
        let body = request.body.as_bytes();
        let all = head.body(body).map_err(|error| error.to_string())?;
        let agent = match request.reach {
            Reach::Service if request.origin.starts_with("https:") => &self.service,
            Reach::Service => &self.plain,
            Reach::Machine => &self.machine,
        };
        let mut answer = agent.run(all).map_err(|error| error.to_string())?;
        let body = answer.body_mut().with_config().limit(MAX_ANSWER);
        Ok(HttpResponse {
            body: body.read_to_vec().map_err(|error| error.to_string())?,
            status: answer.status().as_u16(),
        })
    }
}

fn agent(tls: &TlsConfig, [connect, all]: [Duration; 2], proxy: Option<Proxy>) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("i2kit/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls.clone())
        .proxy(proxy)
        .timeout_connect(Some(connect))
        .timeout_global(Some(all))
        .build()
        .new_agent()
}

/// The way out that `name` or `ALL_PROXY` says, in upper or lower case.
fn proxy(environment: &Environment, name: &str) -> Result<Option<Proxy>, String> {
    let text = |name: &str| {
        let lower = name.to_ascii_lowercase();
        environment.text(name).or_else(|| environment.text(&lower))
    };
    let Some(url) = text(name).or_else(|| text("ALL_PROXY")) else {
        return Ok(None);
    };
    // It may hold a login, and is not shown.
    let bad = |_| "the proxy's URL in the environment is none".to_owned();
    let all = Proxy::new(url).map_err(bad)?;
    let mut builder = Proxy::builder(all.protocol())
        .host(all.host())
        .port(all.port());
    if let Some(username) = all.username() {
        builder = builder.username(username);
    }
    if let Some(password) = all.password() {
        builder = builder.password(password);
    }
    let exceptions = text("NO_PROXY").unwrap_or_default().split([',', ' ']);
    for entry in exceptions.chain(["localhost", "127.0.0.1", "[::1]"]) {
        if entry.is_empty() {
            continue;
        }
        // A name stands for all that is below it, too.
        builder = builder.no_proxy(entry);
        if !entry.starts_with(['.', '*']) {
            builder = builder.no_proxy(&format!(".{entry}"));
        }
    }
    builder.build().map(Some).map_err(bad)
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let bad = |reason: &str| format!("read {}: {reason}", path.display());
    let bytes = std::fs::read(path).map_err(|error| bad(&error.to_string()))?;
    let mut out = Vec::new();
    for item in ureq::tls::parse_pem(&bytes) {
        if let PemItem::Certificate(one) = item.map_err(|_| bad("not PEM"))? {
            out.push(one);
        }
    }
    if out.is_empty() {
        return Err(bad("no certificate in it"));
    }
    Ok(out)
}
