//! `i2kit bundle`: manifests, images, base and lock in one file.

use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::args;
use super::error::Error;
use super::images::{Images, Resolved};
use super::plan;
use super::progress::Terminal;
use crate::cache::Cache;
use crate::oci::bundle::{BASE_NAME, Bundle, BundledImage, Opened};
use crate::oci::{Lock, LockedImage, LockedPlatform, Platform, Sources};
use crate::output::Beside;

/// The lock that a bundle holds.
pub fn lock(sources: &Sources, path: &Path) -> Result<Lock, Error> {
    Ok(open(sources, path)?.lock)
}

/// The manifests that a bundle holds, in their order.
pub fn manifests(sources: &Sources, path: &Path) -> Result<Vec<Vec<u8>>, Error> {
    Ok(open(sources, path)?.manifests)
}

fn open(sources: &Sources, path: &Path) -> Result<Opened, Error> {
    sources
        .bundle(path)
        .map_err(|source| Error::image(&path.display().to_string(), source))
}

/// `i2kit bundle`.
pub fn bundle(arguments: &args::Bundle) -> Result<(), Error> {
    let cache = Cache::open(&plan::cache_folder(arguments.cache_dir.as_deref())?)?;
    let inputs = plan::inputs(&arguments.files.files)?;
    let pod = plan::pod_of(
        &inputs,
        arguments.files.name.as_deref(),
        arguments.progress.quiet,
    )?;
    let manifests = plan::kept(&inputs, arguments.bake_secrets)?;
    let manifests: Vec<&[u8]> = manifests.iter().map(|bytes| &**bytes).collect();
    for platform in &arguments.platform {
        let path = path_for(arguments, platform)?;
        let images = Images::open(
            &arguments.images,
            &cache,
            platform,
            arguments.progress.quiet,
        )?;
        let extensions = &arguments.extensions.extensions;
        let names = plan::image_names(&pod, extensions);
        let mut all: Vec<(String, Resolved)> = images.resolve(names)?.into_iter().collect();
        all.push((BASE_NAME.to_owned(), images.base()?));
        let mut lock = lock_of(&all, images.lock(), platform);
        lock.extensions.clone_from(extensions);
        let bundle = Bundle {
            lock: &lock,
            manifests: manifests.clone(),
            images: all
                .into_iter()
                .map(|(name, one)| member(name, one, platform))
                .collect(),
        };
        write(&bundle, &path, arguments)?;
    }
    Ok(())
}

/// Where the bundle for a platform is written.
fn path_for(arguments: &args::Bundle, platform: &Platform) -> Result<PathBuf, Error> {
    const MARK: &str = "{platform}";
    let text = arguments.output.to_string_lossy();
    if text.contains(MARK) {
        let name = platform.to_string().replace('/', "-");
        return Ok(text.replace(MARK, &name).into());
    }
    if arguments.platform.len() > 1 {
        return Err(Error::Argument {
            argument: text.into_owned(),
            reason: "with several platforms, write {platform} where its name belongs",
        });
    }
    Ok(arguments.output.clone())
}

/// The lock of what is in the bundle, with what an earlier lock knows of conversions.
fn lock_of(all: &[(String, Resolved)], earlier: Option<&Lock>, platform: &Platform) -> Lock {
    let mut lock = Lock::default();
    for (name, resolved) in all {
        let mut one = LockedPlatform::of(&resolved.image);
        one.accepted_by.clone_from(&resolved.accepted_by);
        let index = resolved.image.index.as_ref().map(|index| index.digest);
        let image = LockedImage {
            reference: resolved.reference.clone(),
            index,
            platforms: [(platform.clone(), one)].into(),
        };
        if name == BASE_NAME {
            lock.base = Some(image);
        } else {
            lock.images.insert(name.clone(), image);
        }
    }
    if let Some(earlier) = earlier {
        for layer in lock.layers_mut() {
            layer.converted.extend(earlier.conversions(&layer.diff_id));
        }
    }
    lock
}

fn member(name: String, resolved: Resolved, platform: &Platform) -> BundledImage {
    BundledImage {
        name,
        reference: resolved.reference,
        platform: platform.clone(),
        image: resolved.image,
        source: resolved.source,
    }
}

fn write(bundle: &Bundle<'_>, path: &Path, arguments: &args::Bundle) -> Result<(), Error> {
    let beside = Beside::create(path)?;
    let progress = Terminal::new(arguments.progress);
    let bar = progress.writing(path, bundle.layers_len());
    let total = Arc::new(AtomicU64::new(0));
    bundle.write(BufWriter::with_capacity(1 << 20, beside.file()), &|bytes| {
        total.fetch_add(bytes, Ordering::Relaxed);
        bar(bytes);
    })?;
    progress.clear();
    beside.commit()?;
    if !arguments.progress.quiet {
        let size = super::summary::bytes(total.load(Ordering::Relaxed));
        super::say(&format!("wrote {}: {size} of layers", path.display()));
    }
    Ok(())
}
