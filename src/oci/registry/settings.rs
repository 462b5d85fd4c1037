//! What the user says about registries: flags, environment, files. All of it comes in as values,
//! so that nothing here depends on the process it runs in.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Environment;

/// Settings files are read up to this size.
const MAX_FILE: u64 = 4 << 20;
/// A credential helper may ask the user for a passphrase, and must end at some time.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(60);

/// The environment, and what flags add to it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Variables and the system's files.
    pub environment: Environment,
    /// `--authfile`: the only file that credentials are looked up in.
    pub authfile: Option<PathBuf>,
    /// `--registry-hosts`: a folder with containerd's `HOST/hosts.toml`, instead of
    /// `registries.conf`.
    pub registry_hosts: Option<PathBuf>,
    /// `--registry-ca`: PEM files of authorities trusted for every registry.
    pub registry_ca: Vec<PathBuf>,
    /// `--plain-http`: each a `host[:port]` that is spoken to without TLS.
    pub plain_http: Vec<String>,
    /// How long a credential helper may take.
    pub program_timeout: Duration,
}

impl Settings {
    /// No flags.
    #[must_use]
    pub fn new(environment: Environment) -> Self {
        Self {
            environment,
            authfile: None,
            registry_hosts: None,
            registry_ca: Vec::new(),
            plain_http: Vec::new(),
            program_timeout: PROGRAM_TIMEOUT,
        }
    }
}

/// Why the settings for a registry are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file or folder cannot be read.
    #[error("read {path}: {source}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file makes no sense.
    #[error("parse {path}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line where it has one.
        reason: String,
    },
    /// The user forbade the registry.
    #[error("pull {name}: {prefix} is blocked by {path}")]
    Blocked {
        /// The image's repository.
        name: String,
        /// What is blocked.
        prefix: String,
        /// The file that says so.
        path: PathBuf,
    },
    /// A location makes no name of the image's name.
    #[error("pull {name} from location {location:?} of {path}: {reason}")]
    Location {
        /// The image's repository.
        name: String,
        /// As it is written in the file.
        location: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with the resulting name.
        reason: String,
    },
    /// A folder with a registry's certificates is not as it must be.
    #[error("read certificates in {path}: {reason}")]
    Certificates {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl SettingsError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Blocked { path, .. } => Some(format!(
                "remove blocked = true from {}, or name an image elsewhere",
                path.display()
            )),
            Self::Certificates { .. } => Some(
                "authorities are *.crt; a client certificate is NAME.cert with NAME.key".to_owned(),
            ),
            _ => None,
        }
    }
}

/// A settings file's text; `None` where there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, SettingsError> {
    let error = |source| SettingsError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Err(error) if is_missing(&error) => return Ok(None),
        file => file.map_err(error)?,
    };
    let mut text = String::new();
    let read = file.take(MAX_FILE + 1).read_to_string(&mut text);
    match read.map_err(error)? {
        len if len as u64 > MAX_FILE => Err(error(io::Error::other(format!(
            "larger than {MAX_FILE} bytes"
        )))),
        _ => Ok(Some(text)),
    }
}

/// True where there is no such file, also for want of a folder on the way.
pub(super) fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// A TOML file's contents.
pub(super) fn parse_toml<T: serde::de::DeserializeOwned>(
    path: &Path,
    text: &str,
) -> Result<T, SettingsError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map(|before| before.matches('\n').count() + 1);
        let line = line.map_or(String::new(), |line| format!("line {line}: "));
        malformed(
            path,
            format!("{line}{}", error.message().replace('\n', ", ")),
        )
    })
}

pub(super) fn malformed(path: &Path, reason: impl Into<String>) -> SettingsError {
    SettingsError::Parse {
        path: path.to_owned(),
        reason: reason.into(),
    }
}
