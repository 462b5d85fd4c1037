//! The transports of this machine: folders, archives, stores and engines.

use std::path::Path;
use std::sync::Arc;

use super::archive::{Archives, Scratch};
use super::bundle::{self, Opened};
use super::daemon::DaemonSource;
use super::directory::DirectorySource;
use super::docker_archive::DockerArchiveSource;
use super::document;
use super::storage::StorageSource;
use super::{Environment, Error, LayoutSource, Source};

/// Opens sources, and holds what they share.
#[derive(Debug)]
pub struct LocalSources {
    archives: Arc<Archives>,
    environment: Arc<Environment>,
}

impl Default for LocalSources {
    /// Those of this process, with the system's folder for what must be unpacked.
    fn default() -> Self {
        Self::new(Scratch::default(), Environment::of_process())
    }
}

impl LocalSources {
    /// Sources that unpack into `scratch` what cannot be read in place.
    #[must_use]
    pub fn new(scratch: Scratch, environment: Environment) -> Self {
        Self {
            archives: Arc::new(Archives::new(scratch)),
            environment: Arc::new(environment),
        }
    }

    /// The source that `TRANSPORT:REFERENCE` names; nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Transport`] for an unknown transport, else what the reference is refused for.
    pub fn open(&self, text: &str) -> Result<Arc<dyn Source>, Error> {
        let unknown = || Error::Transport {
            reference: text.to_owned(),
        };
        let archives = || Arc::clone(&self.archives);
        let environment = || Arc::clone(&self.environment);
        let (transport, reference) = text.split_once(':').ok_or_else(unknown)?;
        Ok(match transport {
            "oci" => Arc::new(LayoutSource::new(reference.parse()?)),
            "oci-archive" => Arc::new(LayoutSource::archive(reference.parse()?, archives())),
            "docker-archive" => Arc::new(DockerArchiveSource::new(reference.parse()?, archives())),
            "dir" => Arc::new(DirectorySource::new(reference)?),
            "containers-storage" => Arc::new(StorageSource::new(reference.parse()?, environment())),
            "docker" => {
                return Err(Error::Reference {
                    reference: text.to_owned(),
                    reason: "no // before the registry",
                });
            }
            "docker-daemon" => Arc::new(DaemonSource::new(reference, environment(), archives())?),
            _ => return Err(unknown()),
        })
    }

    /// Lock and manifests of the bundle at `path`.
    ///
    /// # Errors
    /// [`Error::NotA`] for what is no bundle.
    pub fn bundle(&self, path: &Path) -> Result<Opened, Error> {
        const WHAT: &str = "bundle";
        let archive = self.archives.open(WHAT, path)?;
        bundle::open(path, &|name| {
            let refused = |error: &dyn std::fmt::Display| Error::NotA {
                what: WHAT,
                path: path.to_owned(),
                reason: format!("{name}: {error}"),
            };
            let member = archive.member(name).map_err(|error| refused(&error))?;
            let bytes = member.map(document::read_bounded).transpose();
            bytes.map_err(|error| refused(&error))
        })
    }
}
