//! Transports: `oci:DIR`, … name where an image comes from, as skopeo's do
//! (containers-transports(5)).

use std::sync::Arc;

use super::registry::{
    Anonymous, Client, Endpoint, Options, Proxies, RegistrySource, Repository, Scheme, Tls, Wanted,
};
use super::{Error, LayoutSource, Source};

/// What i2kit reads images from.
pub const TRANSPORTS: [&str; 2] = ["oci", "docker"];

/// Opens sources, and holds what they share.
#[derive(Debug)]
pub struct Sources {
    client: Client,
}

impl Default for Sources {
    fn default() -> Self {
        let options = Options {
            proxies: Proxies::from_environment(),
            ..Options::default()
        };
        Self {
            client: Client::new(options, Box::new(Anonymous)),
        }
    }
}

impl Sources {
    /// The source that `TRANSPORT:REFERENCE` names; nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Transport`] for an unknown transport, else what the reference is refused for.
    pub fn open(&self, text: &str) -> Result<Arc<dyn Source>, Error> {
        let unknown = || Error::Transport {
            reference: text.to_owned(),
        };
        let (transport, reference) = text.split_once(':').ok_or_else(unknown)?;
        match transport {
            "oci" => Ok(Arc::new(LayoutSource::new(reference.parse()?))),
            "docker" => {
                let (repository, wanted) = in_registry(reference)?;
                let client = self.client.clone();
                Ok(Arc::new(RegistrySource::new(client, repository, wanted)))
            }
            _ => Err(unknown()),
        }
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
}

/// `//HOST/REPOSITORY[:TAG|@DIGEST]`, with the host said in full; plain HTTP for the machine
/// itself.
fn in_registry(reference: &str) -> Result<(Repository, Wanted), Error> {
    let error = |reason| Error::Reference {
        reference: format!("docker:{reference}"),
        reason,
    };
    let name = reference.strip_prefix("//");
    let name = name.ok_or_else(|| error("no // before the registry"))?;
    let (name, wanted) = match (name.split_once('@'), name.rsplit_once(':')) {
        (Some((name, digest)), _) => {
            let digest = digest.parse();
            let digest = digest.map_err(|_| error("not a sha256 digest after @"))?;
            (name, Wanted::Digest(digest))
        }
        (None, Some((name, tag))) if !tag.contains('/') => (name, Wanted::Tag(tag.to_owned())),
        _ => (name, Wanted::Tag("latest".to_owned())),
    };
    let (host, path) = name
        .split_once('/')
        .ok_or_else(|| error("no registry before the name"))?;
    let is_local = ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| {
        host.strip_prefix(local)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    });
    let endpoint = Endpoint {
        scheme: if is_local {
            Scheme::Http
        } else {
            Scheme::Https
        },
        host: host.to_owned(),
        prefix: String::new(),
        repository: path.to_owned(),
        tls: Tls::default(),
        by_tag: true,
        is_mirror: false,
    };
    let repository = Repository {
        name: name.to_owned(),
        endpoints: vec![endpoint],
    };
    Ok((repository, wanted))
}
