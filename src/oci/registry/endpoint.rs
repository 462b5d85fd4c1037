//! What settings and client agree on: where a repository is to be had, as whom, trusting whom.

use std::fmt;
use std::path::PathBuf;

/// Whether the wire is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// TLS.
    Https,
    /// None: for the machine itself, and where the user said so.
    Http,
}

/// One place that serves a repository: the registry itself, or a mirror of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Encrypted or not.
    pub scheme: Scheme,
    /// `host[:port]`: where connections go, and the name that credentials and certificates are
    /// looked up by.
    pub host: String,
    /// What comes before `/v2/` in its URLs: empty, or a path that begins with `/`.
    pub prefix: String,
    /// The repository's name there, which a mirror may have changed.
    pub repository: String,
    /// Whom to trust, and who one is.
    pub tls: Tls,
    /// False where a mirror must only be asked by digest.
    pub by_tag: bool,
    /// True for a mirror, which may lack what the registry has.
    pub is_mirror: bool,
}

/// Certificates of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// PEM files with further authorities, besides the system's.
    pub authorities: Vec<PathBuf>,
    /// PEM files of a client certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The user said that any certificate will do.
    pub skip_verify: bool,
}

/// Who one is for a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password, for Basic or to ask a token server with.
    Password {
        /// The user's name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, to be traded for a bearer token (OAuth 2).
    IdentityToken(Secret),
    /// A bearer token, used as it is.
    RegistryToken(Secret),
}

/// Text that no log, error or report shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the wire.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("…")
    }
}
