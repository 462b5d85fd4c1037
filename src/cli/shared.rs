//! `--cache-from`, `--cache-to`, `--cache-key`.

use std::path::Path;
use std::sync::Arc;

use super::args::CacheArgs;
use super::error::Error;
use super::images::Images;
use crate::layer::ConvertedLayer;
use crate::oci::{Lock, SigningKey, VerifyingKey};
use crate::pipeline::shared::{SharedCache, Target, Trust};

/// Keys are some hundred bytes.
const MAX_KEY: u64 = 64 << 10;

/// The shared caches that the flags name.
pub struct Shared {
    from: Option<SharedCache>,
    to: Option<Target>,
    jobs: usize,
}

impl Shared {
    /// Reads keys and opens the places; asks nobody.
    pub fn open(arguments: &CacheArgs, images: &Images<'_>) -> Result<Self, Error> {
        let (signing, verifying) = keys(arguments.cache_key.as_deref())?;
        let store = |reference: &String| {
            if images.is_offline() && !reference.starts_with("oci:") {
                return Err(Error::Argument {
                    argument: reference.clone(),
                    reason: "a shared cache in a registry, and --offline makes no connection",
                });
            }
            let store = images.sources().artifacts(reference);
            store.map_err(|source| Error::image(reference, source))
        };
        let from = match arguments.cache_from.as_slice() {
            [] => None,
            some => Some(SharedCache {
                stores: some.iter().map(store).collect::<Result<_, _>>()?,
                trust: Trust {
                    lock: images.lock().cloned().unwrap_or_else(Lock::default),
                    key: verifying,
                },
            }),
        };
        let to = arguments.cache_to.as_ref().map(|reference| {
            Ok::<_, Error>(Target {
                store: store(reference)?,
                key: signing,
            })
        });
        Ok(Self {
            from,
            to: to.transpose()?,
            jobs: super::plan::jobs(arguments),
        })
    }

    /// True when layers are to be put somewhere.
    pub fn is_target(&self) -> bool {
        self.to.is_some()
    }

    /// Where the pipeline may take converted layers from.
    pub fn source(&self) -> Option<&SharedCache> {
        self.from.as_ref()
    }

    /// Puts the layers where others find them, unless they are there.
    pub fn put<'l>(
        &self,
        layers: impl IntoIterator<Item = &'l Arc<ConvertedLayer>>,
    ) -> Result<(), Error> {
        let Some(target) = &self.to else {
            return Ok(());
        };
        let layers: Vec<_> = layers.into_iter().map(Arc::as_ref).collect();
        Ok(target.put(&layers, self.jobs)?)
    }
}

/// A private key signs and verifies; a public one verifies.
fn keys(path: Option<&Path>) -> Result<(Option<SigningKey>, Option<VerifyingKey>), Error> {
    use std::io::Read as _;
    let Some(path) = path else {
        return Ok((None, None));
    };
    let mut pem = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_KEY).read_to_end(&mut pem));
    read.map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let wrong = |source| Error::Key {
        path: path.to_owned(),
        source,
    };
    if SigningKey::is_in(&pem) {
        let key = SigningKey::from_pem(&pem).map_err(wrong)?;
        let public = key.verifying().map_err(wrong)?;
        return Ok((Some(key), Some(public)));
    }
    Ok((None, Some(VerifyingKey::from_pem(&pem).map_err(wrong)?)))
}
