//! Transports: `oci:DIR`, … name where an image comes from, as skopeo's do
//! (containers-transports(5)).

use std::path::Path;
use std::sync::Arc;

use super::archive::Scratch;
use super::artifact::{ArtifactStore, LayoutStore, RegistryStore};
use super::bundle::Opened;
use super::local::LocalSources;
use super::registry::{
    Client, Keyring, Options, Proxies, Registries, RegistrySource, Repository, Settings,
    SettingsError, SystemClock, Wanted,
};
use super::{Digest, Error, Reference, Source};

/// What i2kit reads images from.
pub const TRANSPORTS: [&str; 7] = [
    "oci",
    "oci-archive",
    "docker-archive",
    "dir",
    "docker",
    "containers-storage",
    "docker-daemon",
];

/// Those whose references begin with a path.
const WITH_PATHS: [&str; 4] = ["oci", "oci-archive", "docker-archive", "dir"];

/// An image's name without the folders of this machine: `oci:tiny:latest` for
/// `oci:/home/me/images/tiny:latest`, other names as they are.
#[must_use]
pub fn portable(name: &str) -> String {
    match name.split_once(':') {
        Some((transport, rest)) if WITH_PATHS.contains(&transport) => {
            let last = rest.trim_end_matches('/').rsplit('/').next();
            format!("{transport}:{}", last.unwrap_or_default())
        }
        _ => name.to_owned(),
    }
}

/// Opens sources, and holds what they share.
#[derive(Debug)]
pub struct Sources {
    local: LocalSources,
    registries: Registries,
    client: Client,
}

/// A source, and what its reference alone tells.
pub struct Found {
    /// The source; nothing is read yet.
    pub source: Arc<dyn Source>,
    /// True when it lies across a network.
    pub is_remote: bool,
    /// The digest that the reference names the image by.
    pub digest: Option<Digest>,
}

impl Sources {
    /// Sources by the user's settings, which unpack into `scratch` what cannot be read in place;
    /// `tell` hears of mirrors passed over and the like.
    ///
    /// # Errors
    /// A settings file that cannot be read or makes no sense.
    pub fn new(
        settings: Settings,
        scratch: Scratch,
        tell: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, SettingsError> {
        let options = Options {
            proxies: Proxies::of_environment(&settings.environment),
            ..Options::default()
        };
        let local = LocalSources::new(scratch, settings.environment.clone());
        let registries = Registries::load(settings)?;
        let credentials = Box::new(Keyring::new(&registries));
        let client = Client::with(options, credentials, Arc::new(SystemClock), Box::new(tell));
        Ok(Self {
            local,
            registries,
            client,
        })
    }

    /// The source that `TRANSPORT:REFERENCE` names.
    ///
    /// # Errors
    /// [`Error::Transport`] for an unknown transport, else what the reference is refused for.
    pub fn open(&self, text: &str) -> Result<Found, Error> {
        self.open_pinned(text, None)
    }

    /// As [`Self::open`], asking a registry by the digest of index or manifest instead of a tag.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_pinned(&self, text: &str, pinned: Option<Digest>) -> Result<Found, Error> {
        if let Some(name) = text.strip_prefix("docker://") {
            return self.in_registry(name, pinned);
        }
        Ok(Found {
            source: self.local.open(text)?,
            is_remote: false,
            digest: None,
        })
    }

    /// The image in a registry that a manifest means by `name`.
    ///
    /// # Errors
    /// [`Error::Reference`] for what is no reference.
    pub fn reference(&self, name: &str) -> Result<Reference, Error> {
        self.registries.reference(name)
    }

    /// The place with artifacts that `HOST/NAME` or `oci:DIR` names.
    ///
    /// # Errors
    /// What the reference is refused for.
    pub fn artifacts(&self, text: &str) -> Result<Arc<dyn ArtifactStore>, Error> {
        if let Some(folder) = text.strip_prefix("oci:") {
            return Ok(Arc::new(LayoutStore::new(folder.into())));
        }
        let name = text.strip_prefix("docker://").unwrap_or(text);
        let repository = self.repository(&self.reference(name)?)?;
        Ok(Arc::new(RegistryStore::new(
            self.client.clone(),
            repository,
        )))
    }

    /// Lock and manifests of the bundle at `path`.
    ///
    /// # Errors
    /// [`Error::NotA`] for what is no bundle.
    pub fn bundle(&self, path: &Path) -> Result<Opened, Error> {
        self.local.bundle(path)
    }

    /// True for what [`Self::open`] takes: it begins with a known transport. A name such as
    /// `nginx:1.27` does not, nor does `docker:27`, an image of that name.
    #[must_use]
    pub fn is_transport(text: &str) -> bool {
        match text.split_once(':') {
            Some(("docker", reference)) => reference.starts_with("//"),
            Some((transport, _)) => TRANSPORTS.contains(&transport),
            None => false,
        }
    }

    fn in_registry(&self, name: &str, pinned: Option<Digest>) -> Result<Found, Error> {
        let mut reference = self.reference(name)?;
        let digest = reference.digest();
        if let Some(pinned) = pinned {
            reference = reference.pinned(pinned);
        }
        let wanted = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Wanted::Digest(digest),
            (None, tag) => Wanted::Tag(tag.unwrap_or("latest").to_owned()),
        };
        let repository = self.repository(&reference)?;
        let source = RegistrySource::new(self.client.clone(), repository, wanted);
        Ok(Found {
            source: Arc::new(source),
            is_remote: true,
            digest,
        })
    }

    fn repository(&self, reference: &Reference) -> Result<Repository, Error> {
        Ok(Repository {
            name: reference.name(),
            endpoints: self.registries.endpoints(reference)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portable_name_has_no_folders_and_stays_what_it_is() {
        for (name, expected) in [
            ("oci:/a/b/tiny", "oci:tiny"),
            ("oci:../tiny/", "oci:tiny"),
            ("oci:/a/tiny:1.0@sha256:12", "oci:tiny:1.0@sha256:12"),
            ("oci-archive:/a/b.tar:x", "oci-archive:b.tar:x"),
            ("dir:b", "dir:b"),
            ("docker://ghcr.io/a/b:c", "docker://ghcr.io/a/b:c"),
            (
                "containers-storage:localhost/a/b",
                "containers-storage:localhost/a/b",
            ),
            ("ghcr.io/a/b:c", "ghcr.io/a/b:c"),
            ("dir", "dir"),
        ] {
            assert_eq!(portable(name), expected);
            assert_eq!(portable(expected), expected);
        }
    }
}
