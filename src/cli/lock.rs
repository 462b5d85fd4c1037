//! `i2kit lock`: what the images of a Pod are today, written down.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::args;
use super::error::Error;
use super::images::{Images, Resolved};
use super::plan;
use super::progress::Terminal;
use crate::cache::Cache;
use crate::layer::{self, ConvertedLayer};
use crate::oci::{self, Digest, Lock, LockedImage, LockedPlatform, Platform};
use crate::output::Beside;
use crate::pipeline;

/// `i2kit lock`.
pub fn lock(arguments: &args::Lock) -> Result<(), Error> {
    let cache = Cache::open(&plan::cache_folder(arguments.cache.cache_dir.as_deref())?)?;
    let inputs = plan::inputs(&arguments.files.files)?;
    let pod = plan::pod_of(
        &inputs,
        arguments.files.name.as_deref(),
        arguments.progress.quiet,
    )?;
    let extensions = &arguments.extensions.extensions;
    let names: Vec<&str> = plan::image_names(&pod, extensions).collect();
    let mut lock = Lock {
        extensions: extensions.clone(),
        ..Lock::default()
    };
    let mut converted = BTreeMap::new();
    for platform in &arguments.platform {
        let images = Images::open(
            &arguments.images,
            &cache,
            platform,
            arguments.progress.quiet,
        )?;
        let found = Found::look(&images, &names, platform)?;
        found.note(&mut lock, platform);
        converted.append(&mut found.converted(&cache, arguments)?);
    }
    let writer = layer::writer(arguments.cache.compression.0);
    for layer in lock.layers_mut() {
        if let Some(digest) = converted.get(&layer.diff_id) {
            layer.converted.insert(writer.clone(), *digest);
        }
    }
    let path = &arguments.images.lock;
    Beside::write(path, lock.render().as_bytes())?;
    if !arguments.progress.quiet {
        super::say(&format!("wrote {}", path.display()));
    }
    Ok(())
}

/// The images of one platform. A base that is not for it is left out: nothing is built for a
/// platform that has no base, but its images can be pulled.
struct Found {
    images: BTreeMap<String, Resolved>,
    base: Option<Resolved>,
}

impl Found {
    fn look(images: &Images<'_>, names: &[&str], platform: &Platform) -> Result<Self, Error> {
        let (found, base) = std::thread::scope(|scope| {
            let base = scope.spawn(|| images.base());
            let found = images.resolve(names.iter().copied());
            let base = base.join();
            (
                found,
                base.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            )
        });
        let base = match base {
            Ok(base) => Some(base),
            Err(Error::Image {
                source: oci::Error::Platform { .. },
                ..
            }) => {
                super::say(&format!("note: the base is not for {platform}"));
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            images: found?,
            base,
        })
    }

    fn all(&self) -> impl Iterator<Item = &Resolved> {
        self.images.values().chain(&self.base)
    }

    fn note(&self, lock: &mut Lock, platform: &Platform) {
        for (name, resolved) in &self.images {
            add(
                lock.images
                    .entry(name.clone())
                    .or_insert_with(|| empty(resolved)),
                resolved,
                platform,
            );
        }
        if let Some(resolved) = &self.base {
            add(
                lock.base.get_or_insert_with(|| empty(resolved)),
                resolved,
                platform,
            );
        }
    }

    /// What the layers convert to: those that the cache has, or all of them when asked.
    fn converted(
        &self,
        cache: &Cache,
        arguments: &args::Lock,
    ) -> Result<BTreeMap<Digest, Digest>, Error> {
        let requests: Vec<_> = self.all().flat_map(Resolved::requests).collect();
        let layers: Vec<(Digest, Arc<ConvertedLayer>)> = if arguments.convert {
            let progress = Terminal::new(arguments.progress);
            let options = plan::convert_options(&arguments.cache);
            let jobs = plan::jobs(&arguments.cache);
            let layers = pipeline::convert(cache, &requests, &options, jobs, None, &progress)?;
            progress.clear();
            layers.into_iter().collect()
        } else {
            pipeline::cached(cache, &requests, arguments.cache.compression.0)?
        };
        let digests = layers.into_iter().map(|(diff_id, layer)| {
            let digest = layer.digest().map_err(|source| Error::Read {
                path: layer.entry.folder().to_owned(),
                source,
            })?;
            Ok((diff_id, Digest::from(digest)))
        });
        digests.collect()
    }
}

fn empty(resolved: &Resolved) -> LockedImage {
    LockedImage {
        reference: resolved.reference.clone(),
        index: None,
        platforms: BTreeMap::new(),
    }
}

fn add(locked: &mut LockedImage, resolved: &Resolved, platform: &Platform) {
    let index = resolved.image.index.as_ref().map(|index| index.digest);
    locked.index = locked.index.or(index);
    let mut one = LockedPlatform::of(&resolved.image);
    one.accepted_by.clone_from(&resolved.accepted_by);
    locked.platforms.insert(platform.clone(), one);
}
