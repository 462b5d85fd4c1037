//! Transports: `oci:DIR`, … name where an image comes from, as skopeo's do
//! (containers-transports(5)).

use std::sync::Arc;

use super::archive::{Archives, Scratch};
use super::daemon::DaemonSource;
use super::directory::DirectorySource;
use super::docker_archive::DockerArchiveSource;
use super::storage::StorageSource;
use super::{Environment, Error, LayoutSource, Source};

/// What i2kit reads images from.
pub const TRANSPORTS: [&str; 6] = [
    "oci",
    "oci-archive",
    "docker-archive",
    "dir",
    "containers-storage",
    "docker-daemon",
];

/// Opens sources, and holds what they share.
#[derive(Debug)]
pub struct Sources {
    archives: Arc<Archives>,
    environment: Arc<Environment>,
}

impl Default for Sources {
    /// Those of this process, with the system's folder for what must be unpacked.
    fn default() -> Self {
        Self::new(Scratch::default(), Environment::of_process())
    }
}

impl Sources {
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
            "docker-daemon" => Arc::new(DaemonSource::new(reference, environment(), archives())?),
            _ => return Err(unknown()),
        })
    }

    /// True for what [`Self::open`] takes: it begins with a known transport. A name such as
    /// `nginx:1.27` does not.
    #[must_use]
    pub fn is_transport(text: &str) -> bool {
        text.split_once(':')
            .is_some_and(|(transport, _)| TRANSPORTS.contains(&transport))
    }
}
