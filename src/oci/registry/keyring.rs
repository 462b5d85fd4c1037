//! Who one is for a registry: what people logged in to with Podman or Docker, what credential
//! helpers know, and for Amazon's registries who one is there.
//!
//! The `docker_credential` crate knows neither tokens, repositories' own entries nor bounds for
//! helpers, and shows what they say.

use super::auth::Credentials;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::auth_file::{AuthFile, Malformed, Place, Wanted, parse_json};
use super::aws::{AwsError, Http, Wire};
use super::ecr::EcrRegistry;
use super::program::{self, ProgramError};
use super::settings::read;
use super::{Credential, Registries, Secret, Settings, SettingsError};

/// What `credential-helpers` of `registries.conf` calls the files.
const FILES: &str = "containers-auth.json";
/// Amazon's helper, which is not needed.
const ECR_LOGIN: &str = "ecr-login";
/// How long a helper's answer is good: it may be a token that runs out.
const ANSWER_LIFE: Duration = Duration::from_secs(300);

/// Looks up credentials; nothing is read before it is asked.
#[derive(Debug)]
pub struct Keyring {
    settings: Settings,
    helpers: Vec<String>,
    answers: Mutex<Answers>,
}

/// What was asked before, and until when it holds.
#[derive(Debug, Default)]
struct Answers(BTreeMap<(String, String), (Option<Credential>, Instant)>);

/// Why a credential is not to be had. It shows no secret.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] SettingsError),
    /// The file that the user named is not there.
    #[error("read credentials {path}: there is no such file")]
    NoFile {
        /// As it was named.
        path: PathBuf,
    },
    /// A file makes no sense.
    #[error("parse credentials {path}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, without its contents.
        reason: String,
    },
    /// A helper is named and not installed.
    #[error("ask docker-credential-{name} for {server}: there is no such program in PATH")]
    NoHelper {
        /// What comes after `docker-credential-`.
        name: String,
        /// Who it was to be asked for.
        server: String,
    },
    /// Amazon's registries.
    #[error("log in to {host}: {source}")]
    Aws {
        /// The registry.
        host: String,
        /// What went wrong.
        source: Box<AwsError>,
    },
    /// A helper fails.
    #[error("ask docker-credential-{name} for {server}: {reason}")]
    Helper {
        /// What comes after `docker-credential-`.
        name: String,
        /// Who it was asked for.
        server: String,
        /// What it did, without its words.
        reason: String,
    },
}

impl CredentialError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.hint(),
            Self::NoFile { .. } => Some(
                "log in with podman login --authfile FILE, or leave out --authfile and \
                 REGISTRY_AUTH_FILE"
                    .to_owned(),
            ),
            Self::NoHelper { name, .. } => Some(format!(
                "install docker-credential-{name}, or take {name} out of credHelpers, credsStore \
                 or credential-helpers"
            )),
            Self::Helper { name, server, .. } => Some(format!(
                "see what it says: echo {server} | docker-credential-{name} get"
            )),
            Self::Aws { source, .. } => source.hint(),
            Self::Parse { .. } => None,
        }
    }
}

impl Credentials for Keyring {
    fn credential(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Option<Credential>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self::credential(self, host, repository)?)
    }
}

impl Keyring {
    /// By the settings that `registries` were read with.
    #[must_use]
    pub fn new(registries: &Registries) -> Self {
        let files = || vec![FILES.to_owned()];
        let helpers = registries.credential_helpers();
        Self {
            settings: registries.settings().clone(),
            helpers: helpers.map_or_else(files, <[_]>::to_vec),
            answers: Mutex::default(),
        }
    }

    /// Who one is for a repository of the registry or mirror that `host` is; none for nobody.
    ///
    /// # Errors
    /// [`CredentialError`] where something that could have known failed and nothing else knows.
    pub fn credential(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        let wanted = Wanted::new(host, repository);
        let mut failure = None;
        for helper in &self.helpers {
            let found = match helper.as_str() {
                FILES => self.in_files(wanted),
                helper => self.with_helper(helper, wanted),
            };
            match found {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        match EcrRegistry::at(host) {
            Some(registry) => self.with_aws(host, &registry),
            None => Ok(None),
        }
    }

    fn with_aws(
        &self,
        host: &str,
        registry: &EcrRegistry,
    ) -> Result<Option<Credential>, CredentialError> {
        let failed = |error| CredentialError::Aws {
            host: host.to_owned(),
            source: Box::new(error),
        };
        let ask = || {
            let wire = Wire::new(&self.settings);
            let found = registry.credential(&self.settings, &wire as &dyn Http);
            match found {
                // Who has no credentials, or none that are good for it, may still pull.
                Err(_) if registry.is_public() => Ok(None),
                found => found.map(Some).map_err(failed),
            }
        };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get("", host, ask)
    }

    fn in_files(&self, wanted: Wanted<'_>) -> Result<Option<Credential>, CredentialError> {
        for source in self.sources() {
            let Some(file) = source.open()? else {
                continue;
            };
            let place = file
                .find(wanted)
                .map_err(|error| malformed(&file.path, &error))?;
            let found = match place {
                Place::Here(credential) => Some(credential),
                Place::Helper(helper) | Place::Store(helper) => self.with_helper(helper, wanted)?,
                Place::Nowhere => None,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Where credentials are looked up, in order: a named file alone, or else what Docker takes
    /// from a variable, Podman's files and Docker's.
    fn sources(&self) -> Vec<Source> {
        let environment = &self.settings.environment;
        let authfile = self.settings.authfile.as_deref();
        if let Some(path) = authfile.or_else(|| environment.path("REGISTRY_AUTH_FILE")) {
            return vec![Source::named(path)];
        }
        let variable = environment.text("DOCKER_AUTH_CONFIG");
        let home = |path: &str| Some(environment.home()?.join(path));
        let of_user = format!("run/containers/{}/auth.json", environment.uid());
        let runtime = match environment.path("XDG_RUNTIME_DIR") {
            Some(folder) => folder.join("containers/auth.json"),
            None => environment.system(of_user),
        };
        let config = environment.config_home();
        let docker = match environment.path("DOCKER_CONFIG") {
            Some(folder) => Some(folder.join("config.json")),
            None => home(".docker/config.json"),
        };
        let files = [
            Some(runtime),
            config.map(|folder| folder.join("containers/auth.json")),
            docker,
        ];
        let variable =
            variable.map(|text| Source::Text("$DOCKER_AUTH_CONFIG".into(), text.to_owned()));
        let files = files.into_iter().flatten().map(Source::usual);
        let legacy = home(".dockercfg").map(Source::legacy);
        variable.into_iter().chain(files).chain(legacy).collect()
    }

    /// Asks `docker-credential-NAME`, once in a while.
    fn with_helper(
        &self,
        name: &str,
        wanted: Wanted<'_>,
    ) -> Result<Option<Credential>, CredentialError> {
        for server in wanted.servers() {
            // Held meanwhile: nobody wants to be asked for a passphrase twice at once.
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = answers.get(name, server, || self.ask(name, server))?;
            if answer.is_some() {
                return Ok(answer);
            }
        }
        Ok(None)
    }

    /// The protocol of docker-credential-helpers (`client/client.go`): the server's name on
    /// standard input, JSON on standard output.
    fn ask(&self, name: &str, server: &str) -> Result<Option<Credential>, CredentialError> {
        let failed = |reason: String| CredentialError::Helper {
            name: name.to_owned(),
            server: server.to_owned(),
            reason,
        };
        let environment = &self.settings.environment;
        if name.contains('/') {
            return Err(failed("its name is none".to_owned()));
        }
        let program = environment.program(&format!("docker-credential-{name}"));
        if program.is_none() && name == ECR_LOGIN && EcrRegistry::at(server).is_some() {
            return Ok(None);
        }
        let program = program.ok_or_else(|| CredentialError::NoHelper {
            name: name.to_owned(),
            server: server.to_owned(),
        })?;
        let mut command = Command::new(program);
        command.arg("get").env_clear().envs(environment.variables());
        let answer = program::run(command, server.as_bytes(), self.settings.program_timeout);
        let answer = answer.map_err(|error: ProgramError| failed(error.to_string()))?;
        if answer.status.success() {
            return helper_credential(&answer.stdout).map_err(|error| failed(error.to_string()));
        }
        match str::from_utf8(&answer.stdout).unwrap_or_default().trim() {
            "credentials not found in native keychain" => Ok(None),
            // The other words that the protocol has.
            known @ ("no credentials server URL" | "no credentials username") => {
                Err(failed(known.to_owned()))
            }
            _ => Err(failed(format!("it failed with {}", answer.status))),
        }
    }
}

impl Answers {
    fn get(
        &mut self,
        name: &str,
        server: &str,
        ask: impl FnOnce() -> Result<Option<Credential>, CredentialError>,
    ) -> Result<Option<Credential>, CredentialError> {
        let key = (name.to_owned(), server.to_owned());
        match self.0.get(&key) {
            Some((answer, until)) if Instant::now() < *until => Ok(answer.clone()),
            _ => {
                let answer = ask()?;
                let until = Instant::now() + ANSWER_LIFE;
                self.0.insert(key, (answer.clone(), until));
                Ok(answer)
            }
        }
    }
}

fn helper_credential(stdout: &[u8]) -> Result<Option<Credential>, Malformed> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "Username", alias = "username", default)]
        username: String,
        #[serde(rename = "Secret", alias = "secret", default)]
        secret: String,
    }
    let Answer { username, secret } = parse_json(stdout)?;
    Ok(match username.as_str() {
        "" if secret.is_empty() => None,
        "<token>" => Some(Credential::IdentityToken(Secret::new(secret))),
        _ => Some(Credential::Password {
            username,
            password: Secret::new(secret),
        }),
    })
}

/// Where a file's text comes from.
enum Source {
    /// It must be there where the user named it; `.dockercfg` is of another form.
    File {
        path: PathBuf,
        is_named: bool,
        is_legacy: bool,
    },
    /// What messages call it, and the text.
    Text(PathBuf, String),
}

impl Source {
    fn named(path: &Path) -> Self {
        Self::File {
            path: path.to_owned(),
            is_named: true,
            is_legacy: false,
        }
    }

    fn usual(path: PathBuf) -> Self {
        Self::File {
            path,
            is_named: false,
            is_legacy: false,
        }
    }

    fn legacy(path: PathBuf) -> Self {
        Self::File {
            path,
            is_named: false,
            is_legacy: true,
        }
    }

    fn open(self) -> Result<Option<AuthFile>, CredentialError> {
        let (path, text, is_legacy) = match self {
            Self::Text(path, text) => (path, text, false),
            Self::File {
                path,
                is_named,
                is_legacy,
            } => match read(&path)? {
                Some(text) => (path, text, is_legacy),
                None if is_named => return Err(CredentialError::NoFile { path }),
                None => return Ok(None),
            },
        };
        let file = AuthFile::parse(&path, &text, is_legacy);
        Ok(Some(file.map_err(|error| malformed(&path, &error))?))
    }
}

fn malformed(path: &Path, error: &Malformed) -> CredentialError {
    CredentialError::Parse {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
