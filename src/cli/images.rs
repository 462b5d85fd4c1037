//! From the names in a manifest to images: flags, lock, bundle, policy and cache decide where each
//! is looked for and what it must be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{ImageArgs, RegistryArgs};
use super::error::Error;
use crate::cache::Cache;
use crate::oci::bundle::BASE_NAME;
use crate::oci::policy::{Accepted, Policy, Verdict};
use crate::oci::registry::Settings;
use crate::oci::{
    Digest, Environment, Image, Lock, LockedImage, Notice, PinnedSource, Platform, Scratch, Source,
    Sources, Terms,
};
use crate::pipeline::Request;

/// Names that are looked up at the same time.
const AT_ONCE: usize = 16;

/// An image, its manifest and config read.
pub struct Resolved {
    pub source: Arc<dyn Source>,
    pub image: Image,
    /// What a lock says that it came from.
    pub reference: Option<String>,
    /// True for one that a tag in a registry named, which may be another tomorrow.
    pub may_move: bool,
    /// Which rule and key of the policy accepted it.
    pub accepted_by: Option<String>,
}

impl Resolved {
    /// What the pipeline is asked for.
    pub fn requests(&self) -> impl Iterator<Item = Request> + '_ {
        let layers = self.image.layers.iter();
        layers.map(|layer| Request {
            layer: layer.clone(),
            source: Arc::clone(&self.source),
        })
    }
}

/// Finds images as the flags say.
pub struct Images<'a> {
    arguments: &'a ImageArgs,
    sources: Sources,
    given: BTreeMap<&'a str, &'a str>,
    lock: Option<Lock>,
    policy: Option<Policy>,
    cache: Cache,
    platform: Platform,
}

/// Where one image is looked for.
struct Place {
    /// `TRANSPORT:REFERENCE`.
    text: String,
    /// What a lock says of it.
    reference: Option<String>,
    pinned: Option<Digest>,
}

impl<'a> Images<'a> {
    /// Reads the lock, the policy and the registries' settings; asks nobody.
    ///
    /// # Errors
    /// What cannot be read, named.
    pub fn open(
        arguments: &'a ImageArgs,
        cache: &Cache,
        platform: &Platform,
        quiet: bool,
    ) -> Result<Self, Error> {
        let sources = sources(&arguments.registry, cache, quiet)?;
        let lock = match (&arguments.bundle, arguments.locked) {
            (Some(bundle), _) => Some(super::bundle::lock(&sources, bundle)?),
            (None, true) => Some(read_lock(&arguments.lock)?),
            (None, false) => None,
        };
        let policy = arguments.policy.as_deref().map(Policy::load);
        Ok(Self {
            given: given(&arguments.images)?,
            arguments,
            sources,
            lock,
            policy: policy.transpose()?,
            cache: cache.clone(),
            platform: platform.clone(),
        })
    }

    /// The same, with `lock` to decide what each image is.
    pub fn locked_by(self, lock: Lock) -> Self {
        Self {
            lock: Some(lock),
            ..self
        }
    }

    /// The lock that decides, if one does.
    pub fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    /// True where no connection may be made.
    pub fn is_offline(&self) -> bool {
        self.arguments.offline
    }

    /// Opens sources, for whoever needs others than images.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The images of these names, looked up at the same time.
    ///
    /// # Errors
    /// The first that is not to be had.
    pub fn resolve<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<BTreeMap<String, Resolved>, Error> {
        let mut names: Vec<&str> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        let mut out = BTreeMap::new();
        for some in names.chunks(AT_ONCE) {
            let found: Vec<_> = std::thread::scope(|scope| {
                let started: Vec<_> = some
                    .iter()
                    .map(|name| scope.spawn(|| self.named(name)))
                    .collect();
                let joined = started.into_iter().map(|one| match one.join() {
                    Ok(found) => found,
                    Err(panic) => std::panic::resume_unwind(panic),
                });
                joined.collect()
            });
            for (name, resolved) in some.iter().zip(found) {
                out.insert((*name).to_owned(), resolved?);
            }
        }
        Ok(out)
    }

    /// The base image.
    ///
    /// # Errors
    /// Why there is none.
    pub fn base(&self) -> Result<Resolved, Error> {
        let locked = match &self.lock {
            None => None,
            Some(lock) => Some(self.locked(BASE_NAME, lock.base.as_ref())?),
        };
        let reference = self.arguments.base.clone();
        let text = match (&self.arguments.bundle, locked, &reference) {
            (Some(bundle), Some(digest), _) => in_bundle(bundle, digest),
            (_, _, Some(base)) => base.clone(),
            _ => usual_base(&self.cache)?,
        };
        let text = match Sources::is_transport(&text) {
            true => text,
            false => format!("docker://{text}"),
        };
        let pinned = locked;
        self.at(
            BASE_NAME,
            Place {
                text,
                reference,
                pinned,
            },
        )
    }

    fn named(&self, name: &str) -> Result<Resolved, Error> {
        let pinned = match &self.lock {
            None => None,
            Some(lock) => Some(self.locked(name, lock.images.get(name))?),
        };
        if let (Some(bundle), Some(digest)) = (&self.arguments.bundle, pinned) {
            let lock = self.lock.as_ref().and_then(|lock| lock.images.get(name));
            let reference = lock.and_then(|locked| locked.reference.clone());
            let text = in_bundle(bundle, digest);
            return self.at(
                name,
                Place {
                    text,
                    reference,
                    pinned,
                },
            );
        }
        let text = match self.given.get(name) {
            Some(source) => (*source).to_owned(),
            None if Sources::is_transport(name) => name.to_owned(),
            None => format!("docker://{name}"),
        };
        let reference = match text.strip_prefix("docker://") {
            Some(name) => self.reference(name)?,
            None => text.clone(),
        };
        let reference = Some(reference);
        self.at(
            name,
            Place {
                text,
                reference,
                pinned,
            },
        )
    }

    /// The full reference of an image in a registry.
    fn reference(&self, name: &str) -> Result<String, Error> {
        let reference = self.sources.reference(name);
        let reference = reference.map_err(|source| Error::image(name, source))?;
        Ok(reference.to_string())
    }

    /// What the lock pins the image to.
    fn locked(&self, name: &str, locked: Option<&LockedImage>) -> Result<Digest, Error> {
        let place = || match &self.arguments.bundle {
            Some(bundle) => bundle.clone(),
            None => self.arguments.lock.clone(),
        };
        let locked = locked.ok_or_else(|| Error::NotLocked {
            image: name.to_owned(),
            lock: place(),
        })?;
        let platform = locked.platforms.get(&self.platform);
        let platform = platform.ok_or_else(|| Error::PlatformNotLocked {
            image: name.to_owned(),
            platform: self.platform.to_string(),
            lock: place(),
        })?;
        Ok(platform.manifest)
    }

    fn at(&self, name: &str, place: Place) -> Result<Resolved, Error> {
        let wrong = |source| Error::image(name, source);
        let rule = self.policy.as_ref().map(|policy| {
            let (transport, reference) = place.text.split_once(':').unwrap_or(("", ""));
            let full = place.reference.as_deref().unwrap_or(reference);
            let reference = if transport == "docker" {
                full
            } else {
                reference
            };
            policy.rule(transport, reference)
        });
        let rule = rule.transpose()?;
        let found = self.sources.open_pinned(&place.text, place.pinned);
        let found = found.map_err(wrong)?;
        let terms = Terms {
            pinned: place.pinned.or(found.digest),
            is_remote: found.is_remote,
            offline: self.arguments.offline,
        };
        let may_move = found.is_remote && terms.pinned.is_none();
        let full = place.reference.clone().unwrap_or(place.text);
        let inner = Arc::clone(&found.source);
        let source = PinnedSource::new(self.cache.clone(), full, terms, inner);
        let image = source.image(&self.platform).map_err(wrong)?;
        let verdict = match &rule {
            Some(rule) => Some(rule.check(&image, &*found.source.signatures())?),
            None => None,
        };
        Ok(Resolved {
            source: Arc::new(source),
            image,
            reference: place.reference,
            may_move,
            accepted_by: verdict.as_ref().map(accepted),
        })
    }
}

/// The rule that accepted an image and the keys that met it, in one line for the lock.
fn accepted(verdict: &Verdict) -> String {
    let keys = verdict.accepted.iter().filter_map(|one| match one {
        Accepted::Anything => None,
        Accepted::Signature { fingerprint, .. } => Some(fingerprint.to_string()),
    });
    let keys: Vec<_> = keys.collect();
    match keys.as_slice() {
        [] => format!("{}: unsigned", verdict.rule),
        keys => format!("{}: key {}", verdict.rule, keys.join(", ")),
    }
}

fn in_bundle(bundle: &Path, manifest: Digest) -> String {
    format!("oci-archive:{}@{manifest}", bundle.display())
}

/// Sources that unpack, where they must, into the cache's folder: it has room for the same layers
/// converted, which a folder for temporary files in memory may not have.
fn sources(arguments: &RegistryArgs, cache: &Cache, quiet: bool) -> Result<Sources, Error> {
    let mut settings = Settings::new(Environment::of_process());
    settings.authfile.clone_from(&arguments.authfile);
    settings
        .registry_hosts
        .clone_from(&arguments.registry_hosts);
    settings.registry_ca.clone_from(&arguments.registry_ca);
    settings.plain_http.clone_from(&arguments.plain_http);
    let tell = move |note: &str| {
        if !quiet {
            super::say(note);
        }
    };
    let scratch = Scratch {
        folder: cache.folder().to_owned(),
        notice: Notice::new(tell),
        ..Scratch::default()
    };
    Ok(Sources::new(settings, scratch, move |note| {
        tell(&format!("note: {note}"));
    })?)
}

/// The base that the script puts into the user's cache.
fn usual_base(cache: &Cache) -> Result<String, Error> {
    let folder = super::plan::cache_folder(None);
    let path = folder
        .unwrap_or_else(|_| cache.folder().to_owned())
        .join("base");
    if !path.exists() {
        return Err(Error::NoBase { path });
    }
    Ok(format!("oci:{}", path.display()))
}

fn given(arguments: &[String]) -> Result<BTreeMap<&str, &str>, Error> {
    let mut given = BTreeMap::new();
    for argument in arguments {
        let bad = |reason| Error::Argument {
            argument: argument.clone(),
            reason,
        };
        let (name, source) = argument.split_once('=').ok_or(bad("not NAME=SOURCE"))?;
        if given.insert(name, source).is_some() {
            return Err(bad("this image was given before"));
        }
    }
    Ok(given)
}

fn read_lock(path: &PathBuf) -> Result<Lock, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::NoLock { path: path.clone() },
        _ => Error::Read {
            path: path.clone(),
            source,
        },
    })?;
    text.parse().map_err(|source| Error::Lock {
        path: path.clone(),
        source,
    })
}
