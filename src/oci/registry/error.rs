//! Why a registry does not give what is asked, and what the user can do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustls::CertificateError;

use super::url::Url;
use crate::oci::Digest;

/// A registry, or what stands between, failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}: {failure}")]
pub struct Error {
    operation: &'static str,
    object: String,
    failure: Failure,
}

/// What went wrong, and at which URL.
#[derive(Debug)]
pub(super) struct Failure {
    /// Shown without its query.
    url: Option<Box<Url>>,
    pub reason: Box<Reason>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// Another status than the one that was needed.
    #[error("{}", status_line(*status, said.as_deref(), *retry_after))]
    Status {
        /// HTTP status.
        status: u16,
        /// The registry's own words.
        said: Option<String>,
        /// What it asks to wait.
        retry_after: Option<Duration>,
        /// True where a credential was sent.
        known: bool,
    },
    /// Nothing came for too long.
    #[error("timed out {0}")]
    Timeout(&'static str),
    /// Too little came for too long.
    #[error("less than {rate} bytes a second for {} s", over.as_secs_f32())]
    Slow {
        /// The rate that was not reached.
        rate: u64,
        /// How long.
        over: Duration,
    },
    /// The name of the host leads nowhere.
    #[error("{0}")]
    Resolve(io::Error),
    /// The connection.
    #[error("{0}")]
    Io(io::Error),
    /// Encryption, or whom to trust.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// The proxy.
    #[error("proxy: {0}")]
    Proxy(String),
    /// The bytes ended too early.
    #[error("ended after {found} of {expected} bytes")]
    Short {
        /// Bytes that came.
        found: u64,
        /// Bytes that should.
        expected: u64,
    },
    /// A redirect that is not followed.
    #[error("redirect {0}")]
    Redirect(String),
    /// Other bytes than asked for.
    #[error("its bytes are {found} where {expected} should be")]
    OtherDigest {
        /// The digest of what came, or of what the registry says it has.
        found: Digest,
        /// What was asked for, or what the registry said that it sends.
        expected: Digest,
    },
    /// Another length than asked for.
    #[error("{found} bytes where {expected} should be")]
    OtherSize {
        /// What the registry has.
        found: u64,
        /// What the manifest says.
        expected: u64,
    },
    /// Longer than anything honest.
    #[error("more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// An answer that does not keep to the protocol.
    #[error("{what}: {reason}")]
    BadAnswer {
        /// Which part of it.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Ranges are not served.
    #[error("no ranges served")]
    NoRanges,
    /// The credential for a host cannot be had.
    #[error("credential for {host}: {source}")]
    Credential {
        /// The registry.
        host: String,
        /// The keeper's answer.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A certificate file.
    #[error("certificate {path}: {reason}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nobody to trust.
    #[error("no authorities: {0}")]
    NoAuthorities(String),
    /// No place may be asked, or the one that may takes nothing.
    #[error("{0}")]
    Nobody(&'static str),
    /// What is to be pushed cannot be read.
    #[error("read what is pushed: {0}")]
    Source(io::Error),
}

fn status_line(status: u16, said: Option<&str>, retry_after: Option<Duration>) -> String {
    let mut line = match ureq::http::StatusCode::from_u16(status) {
        Ok(code) => match code.canonical_reason() {
            Some(reason) => format!("{status} {reason}"),
            None => status.to_string(),
        },
        Err(_) => status.to_string(),
    };
    if let Some(said) = said {
        line.push_str(": ");
        line.push_str(said);
    }
    if let Some(wait) = retry_after {
        line.push_str(&format!(" (asks to wait {} s)", wait.as_secs()));
    }
    line
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.url {
            Some(url) => write!(formatter, "{url}: {}", self.reason),
            None => self.reason.fmt(formatter),
        }
    }
}

impl Failure {
    pub fn at(url: &Url) -> impl Fn(Reason) -> Self + use<> {
        let url = Box::new(url.clone());
        move |reason| Self {
            url: Some(url.clone()),
            reason: Box::new(reason),
        }
    }

    pub fn of(self, operation: &'static str, object: &str) -> Error {
        Error {
            operation,
            object: object.to_owned(),
            failure: self,
        }
    }

    /// What the registry wants waited.
    pub fn retry_after(&self) -> Option<Duration> {
        match &*self.reason {
            Reason::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self {
            url: None,
            reason: Box::new(reason),
        }
    }
}

impl Reason {
    /// True for what may go better another time.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                matches!(status, 408 | 425 | 429 | 500 | 502..=504 | 507..=599)
            }
            Self::Resolve(error) => error.to_string().contains("Temporary failure"),
            Self::Proxy(answer) => answer.contains("responded 5"),
            Self::Timeout(_) | Self::Slow { .. } | Self::Io(_) | Self::Short { .. } => true,
            _ => false,
        }
    }
}

impl Error {
    /// The HTTP status, where there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match *self.failure.reason {
            Reason::Status { status, .. } => Some(status),
            _ => None,
        }
    }

    /// What went wrong.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.failure.reason
    }

    /// True where the registry says that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match &*self.failure.reason {
            Reason::Status { status, known, .. } => status_hint(*status, *known)?,
            Reason::Timeout(_) | Reason::Slow { .. } => {
                "check the network and the proxy variables (HTTPS_PROXY, NO_PROXY), or try later"
            }
            Reason::Resolve(_) => {
                "check the spelling of the registry's name; behind a proxy set HTTPS_PROXY"
            }
            Reason::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                "nothing listens there: check the registry's name and port, and the proxy variables"
            }
            Reason::Tls(error) => tls_hint(error)?,
            Reason::Proxy(_) => {
                "check HTTPS_PROXY and HTTP_PROXY; NO_PROXY names hosts to reach directly"
            }
            Reason::NoAuthorities(_) => {
                "install ca-certificates, or name an authority of the registry"
            }
            Reason::OtherDigest { .. } | Reason::OtherSize { .. } => {
                "the registry or a mirror of it has other bytes: push the image again there"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

fn status_hint(status: u16, known: bool) -> Option<&'static str> {
    Some(match status {
        401 if known => {
            "the registry refused the credential: log in to it again (podman login, docker login)"
        }
        401 => {
            "log in to the registry first (podman login, docker login), or check the name: \
                some registries answer so for what they don't have"
        }
        403 => "the account may not do that here, or the name is wrong",
        404 => "check the name and the tag; a private repository also looks so before a login",
        407 => "the proxy wants a login: put it in HTTPS_PROXY",
        429 => "the registry limits the rate: log in, use a mirror, or try later",
        500..=599 => "the registry has trouble: try later, or use a mirror",
        _ => return None,
    })
}

fn tls_hint(error: &rustls::Error) -> Option<&'static str> {
    Some(match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid at this machine's date: check the clock (date -u), \
                 else the registry must renew it"
            }
            CertificateError::UnknownIssuer => {
                "give the registry's own authority as a file, if it has one"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another name: check the registry's name"
            }
            _ => return None,
        },
        rustls::Error::InvalidMessage(_) => {
            "it does not speak TLS: it may be a plain HTTP registry, which must be allowed by name"
        }
        rustls::Error::AlertReceived(_) => {
            "the registry broke off: it may want a client certificate"
        }
        _ => return None,
    })
}

/// What a registry or a token server says went wrong (distribution-spec, Error Codes; RFC 6749
/// §5.2; and plain text), as one short printable line.
pub(super) fn said(content_type: Option<&str>, body: &[u8]) -> Option<String> {
    let text = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(value) => said_in_json(&value)?,
        Err(_) if content_type.is_some_and(|kind| kind.starts_with("text/plain")) => {
            String::from_utf8_lossy(body).into_owned()
        }
        Err(_) => return None,
    };
    Some(printable(&text)).filter(|text| !text.is_empty())
}

fn said_in_json(value: &serde_json::Value) -> Option<String> {
    let text = |value: &serde_json::Value, name: &str| {
        Some(value.get(name)?.as_str()?.to_owned()).filter(|text| !text.is_empty())
    };
    if let Some(errors) = value.get("errors").and_then(serde_json::Value::as_array) {
        let one = |error| match (text(error, "code"), text(error, "message")) {
            (Some(code), Some(message)) => Some(format!("{code}: {message}")),
            (code, message) => code.or(message),
        };
        let all: Vec<String> = errors.iter().take(3).filter_map(one).collect();
        return Some(all.join("; "));
    }
    let names = ["error_description", "message", "details", "error"];
    names.iter().find_map(|name| text(value, name))
}

/// One line without what could steer a terminal.
fn printable(text: &str) -> String {
    const LONGEST: usize = 300;
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST)
        .collect();
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_say() {
        let of = |body: &str| said(None, body.as_bytes());
        assert_eq!(
            of(
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#
            ),
            Some("MANIFEST_UNKNOWN: manifest unknown".to_owned())
        );
        assert_eq!(
            of(r#"{"errors":[{"code":"DENIED"},{"message":"x\u001b[2J\ny"}]}"#),
            Some("DENIED; x [2J y".to_owned())
        );
        assert_eq!(
            of(r#"{"error":"invalid_grant","error_description":"bad"}"#),
            Some("bad".to_owned())
        );
        assert_eq!(
            of(r#"{"details":"incorrect"}"#),
            Some("incorrect".to_owned())
        );
        for nothing in [
            "",
            "[]",
            "{}",
            r#"{"errors":[]}"#,
            r#"{"errors":{}}"#,
            "<html>",
        ] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
        assert_eq!(
            said(Some("text/plain; charset=utf-8"), b"404 page not found\n"),
            Some("404 page not found".to_owned())
        );
        let long = said(Some("text/plain"), &[b'x'; 5000]).unwrap();
        assert_eq!(long.len(), 300);
    }

    #[test]
    fn what_is_tried_again() {
        let status = |status| Reason::Status {
            status,
            said: None,
            retry_after: None,
            known: false,
        };
        for (code, expected) in [
            (401, false),
            (404, false),
            (408, true),
            (429, true),
            (500, true),
            (501, false),
            (503, true),
            (505, false),
        ] {
            assert_eq!(status(code).is_transient(), expected, "{code}");
        }
        assert!(
            Reason::Short {
                found: 1,
                expected: 2
            }
            .is_transient()
        );
        assert!(!Reason::TooLarge { limit: 1 }.is_transient());
    }
}
