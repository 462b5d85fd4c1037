//! Fetches and converts the layers of all images, each once, in parallel.

pub mod progress;
pub mod shared;
mod verify;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use progress::{Progress, Silent};
pub use verify::{Damaged, Verified, verify};

use crate::cache::Cache;
use crate::layer::{self, Compression, ConvertOptions, ConvertedLayer, LayerSpec};
use crate::oci::{Digest, LayerDescriptor, Source};
use shared::SharedCache;

/// A layer and where its bytes come from.
#[derive(Clone)]
pub struct Request {
    /// Which layer.
    pub layer: LayerDescriptor,
    /// Opened only when the cache lacks the layer.
    pub source: Arc<dyn Source>,
}

/// Converts every requested layer that the cache lacks, `jobs` at a time; a diffID that is asked
/// for twice is converted once. What `shared` has and vouches for is not converted. The first error
/// stops what has not begun.
///
/// # Errors
/// The first layer's that cannot be converted.
pub fn convert(
    cache: &Cache,
    requests: &[Request],
    options: &ConvertOptions,
    jobs: usize,
    shared: Option<&SharedCache>,
    progress: &dyn Progress,
) -> Result<BTreeMap<Digest, Arc<ConvertedLayer>>, layer::Error> {
    let unique: BTreeMap<Digest, &Request> = requests
        .iter()
        .map(|request| (request.layer.diff_id, request))
        .collect();
    // The largest first, so that the last worker is not left alone with it.
    let mut order: Vec<&Request> = unique.into_values().collect();
    order.sort_by_key(|request| std::cmp::Reverse(request.layer.size));
    let work = Work {
        cache,
        options,
        shared,
        progress,
        order,
        next: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        done: Mutex::new(BTreeMap::new()),
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1))
            .map(|_| scope.spawn(|| work.run()))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })?;
    Ok(work
        .done
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

/// Notes that a build uses the layers, where it has no need to look at them.
pub fn touch(cache: &Cache, requests: &[Request], compression: Option<Compression>) {
    for request in requests {
        layer::touch(cache, &request.layer.diff_id.to_string(), compression);
    }
}

struct Work<'a> {
    cache: &'a Cache,
    options: &'a ConvertOptions,
    shared: Option<&'a SharedCache>,
    progress: &'a dyn Progress,
    order: Vec<&'a Request>,
    next: AtomicUsize,
    failed: AtomicBool,
    done: Mutex<BTreeMap<Digest, Arc<ConvertedLayer>>>,
}

impl Work<'_> {
    fn run(&self) -> Result<(), layer::Error> {
        while !self.failed.load(Ordering::Relaxed) {
            let Some(request) = self.order.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            let converted = self.one(request).inspect_err(|_| {
                self.failed.store(true, Ordering::Relaxed);
            })?;
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.insert(request.layer.diff_id, Arc::new(converted));
        }
        Ok(())
    }

    fn one(&self, request: &Request) -> Result<ConvertedLayer, layer::Error> {
        let descriptor = &request.layer;
        let spec = spec(descriptor, self.options.compression);
        let id = spec.digest.clone();
        self.progress.begin(&id, "layer", descriptor.size);
        let advance = |bytes| self.progress.advance(&id, bytes);
        let converted = match self.shared(&spec, &advance)? {
            Some(shared) => shared,
            None => {
                let open = || request.source.open(descriptor);
                layer::convert_into_cache(self.cache, &spec, open, self.options, &advance)?
            }
        };
        self.progress.finish(&id, converted.origin.name());
        Ok(converted)
    }

    /// The layer from a shared cache, where the machine's own lacks it. One that is not to be had
    /// or not to be believed is converted, and that is told.
    fn shared(
        &self,
        spec: &LayerSpec,
        advance: &(dyn Fn(u64) + Sync),
    ) -> Result<Option<ConvertedLayer>, layer::Error> {
        let Some(shared) = self.shared else {
            return Ok(None);
        };
        if let Some(cached) = layer::find_in_cache(self.cache, spec)? {
            return Ok(Some(cached));
        }
        match shared.fetch(self.cache, spec, advance) {
            Ok(found) => Ok(found),
            Err(error) => {
                self.progress
                    .note(&format!("warning: {error}; converting it"));
                Ok(None)
            }
        }
    }
}

/// The requested layers that the cache has.
///
/// # Errors
/// When the machine lacks what it takes to look.
pub fn cached(
    cache: &Cache,
    requests: &[Request],
    compression: Option<Compression>,
) -> Result<Vec<(Digest, Arc<ConvertedLayer>)>, layer::Error> {
    let mut out = Vec::new();
    for request in requests {
        if let Some(layer) = layer::find_in_cache(cache, &spec(&request.layer, compression))? {
            out.push((request.layer.diff_id, Arc::new(layer)));
        }
    }
    Ok(out)
}

fn spec(descriptor: &LayerDescriptor, compression: Option<Compression>) -> LayerSpec {
    LayerSpec {
        digest: descriptor.digest.to_string(),
        size: descriptor.size,
        media_type: descriptor.media_type.clone(),
        diff_id: descriptor.diff_id.to_string(),
        compression,
    }
}
