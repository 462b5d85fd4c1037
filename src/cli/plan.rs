//! Flags become a plan: the Pod, its images and everything else that decides the disk's bytes.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use i2kit_contract::FailurePolicy;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::args::{OnFailure, PodArgs};
use super::error::Error;
use crate::layer::ConvertOptions;
use crate::manifest::{self, Input, Pod};
use crate::oci::{Environment, Image, Notice, Platform, Scratch, Source, Sources};
use crate::pipeline::Request;

/// An image, its manifest and config read.
pub struct Resolved {
    pub source: Arc<dyn Source>,
    pub image: Image,
}

impl Resolved {
    pub fn requests(&self) -> impl Iterator<Item = Request> + '_ {
        let layers = self.image.layers.iter();
        layers.map(|layer| Request {
            layer: layer.clone(),
            source: Arc::clone(&self.source),
        })
    }
}

/// What to build.
pub struct Plan {
    pub pod: Pod,
    pub base: Resolved,
    /// By image reference, as the manifest has it.
    pub images: BTreeMap<String, Resolved>,
    pub targets: Vec<String>,
    pub on_failure: FailurePolicy,
    pub scratch: u64,
    pub cache: PathBuf,
    pub jobs: usize,
    pub convert: ConvertOptions,
    /// What goes into the inputs record.
    pub record: Map<String, Value>,
    /// Same key, same bytes.
    pub key: String,
}

/// The Pod itself: from manifests, or from an image alone.
pub enum Origin<'a> {
    Manifests,
    Image {
        reference: &'a str,
        args: &'a [String],
    },
}

/// Reads manifests and images' documents, no layer.
pub fn plan(arguments: &PodArgs, origin: &Origin<'_>, scratch: u64) -> Result<Plan, Error> {
    let (pod, manifest_digest) = pod(arguments, origin)?;
    let given = given_images(&arguments.images)?;
    let cache = cache_folder(arguments)?;
    let sources = sources(arguments, &cache);
    let base = base(arguments, &cache, &sources)?;
    let mut images = BTreeMap::new();
    for container in &pod.containers {
        if !images.contains_key(&container.image) {
            let source = source(&container.image, &given, &sources)?;
            images.insert(container.image.clone(), resolve(&container.image, source)?);
        }
    }
    let on_failure = match arguments.on_failure {
        OnFailure::PowerOff => FailurePolicy::PowerOff,
        OnFailure::Reboot => FailurePolicy::Reboot,
    };
    let record = record(arguments, &pod, &manifest_digest, &base, &images);
    let key = key(&record, scratch, on_failure);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(Plan {
        pod,
        base,
        images,
        targets: arguments.target.clone(),
        on_failure,
        scratch,
        cache,
        jobs: arguments.jobs.unwrap_or(threads).max(1),
        convert: ConvertOptions {
            max_layer_size: arguments.max_layer_size,
        },
        record,
        key,
    })
}

/// The Pod, and the digest of what it was read from.
fn pod(arguments: &PodArgs, origin: &Origin<'_>) -> Result<(Pod, String), Error> {
    let mut hash = Sha256::new();
    let pod = match origin {
        Origin::Image { reference, args } => {
            hash.update(reference.as_bytes());
            args.iter()
                .for_each(|argument| hash.update([&[0], argument.as_bytes()].concat()));
            manifest::from_image(reference, args).map_err(manifest::Errors::from)?
        }
        Origin::Manifests => {
            let inputs: Vec<Input> = arguments.files.iter().map(read).collect::<Result<_, _>>()?;
            for input in &inputs {
                hash.update((input.bytes.len() as u64).to_le_bytes());
                hash.update(&input.bytes);
            }
            let (pod, notes) = manifest::load(&inputs, arguments.name.as_deref())?;
            if !arguments.quiet {
                notes
                    .iter()
                    .for_each(|note| super::say(&format!("note: {note}")));
            }
            pod
        }
    };
    Ok((pod, format!("sha256:{}", hex::encode(hash.finalize()))))
}

fn read(path: &PathBuf) -> Result<Input, Error> {
    let context = |source| Error::Read {
        path: path.clone(),
        source,
    };
    let is_stdin = path.as_os_str() == "-";
    let bytes = if is_stdin {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map_err(context)?;
        bytes
    } else {
        std::fs::read(path).map_err(context)?
    };
    let name = if is_stdin {
        "<stdin>".to_owned()
    } else {
        path.display().to_string()
    };
    Ok(Input { name, bytes })
}

fn given_images(arguments: &[String]) -> Result<BTreeMap<&str, &str>, Error> {
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

/// Sources that unpack, where they must, into the cache's folder: it has room for the same layers
/// converted, which a folder for temporary files in memory may not have.
fn sources(arguments: &PodArgs, cache: &std::path::Path) -> Sources {
    let notice = match arguments.quiet {
        true => Notice::default(),
        false => Notice::new(super::say),
    };
    let scratch = Scratch {
        folder: cache.to_owned(),
        limit: arguments.max_layer_size,
        notice,
    };
    Sources::new(scratch, Environment::of_process())
}

/// An image's source: the one given for its name, or the name itself where it is one.
fn source(
    image: &str,
    given: &BTreeMap<&str, &str>,
    sources: &Sources,
) -> Result<Arc<dyn Source>, Error> {
    match given.get(image) {
        Some(source) => open(source, sources),
        None if Sources::is_transport(image) => open(image, sources),
        None => Err(Error::ImageNotGiven {
            image: image.to_owned(),
        }),
    }
}

fn open(text: &str, sources: &Sources) -> Result<Arc<dyn Source>, Error> {
    sources.open(text).map_err(|source| Error::Image {
        image: text.to_owned(),
        source,
    })
}

fn resolve(name: &str, source: Arc<dyn Source>) -> Result<Resolved, Error> {
    let image = source
        .image(&Platform::default())
        .map_err(|source| Error::Image {
            image: name.to_owned(),
            source,
        })?;
    Ok(Resolved { source, image })
}

fn cache_folder(arguments: &PodArgs) -> Result<PathBuf, Error> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    arguments
        .cache_dir
        .clone()
        .or_else(|| set("XDG_CACHE_HOME").map(|path| path.join("i2kit")))
        .or_else(|| set("HOME").map(|path| path.join(".cache/i2kit")))
        .ok_or(Error::NoCache)
}

/// The base image: the one named, or the one that the script puts into the user's cache.
fn base(
    arguments: &PodArgs,
    cache: &std::path::Path,
    sources: &Sources,
) -> Result<Resolved, Error> {
    if let Some(base) = &arguments.base {
        return resolve(base, open(base, sources)?);
    }
    let default = PodArgs {
        cache_dir: None,
        ..arguments.clone()
    };
    let path = cache_folder(&default)
        .unwrap_or_else(|_| cache.to_owned())
        .join("base");
    if !path.exists() {
        return Err(Error::NoBase { path });
    }
    let reference = format!("oci:{}", path.display());
    resolve(&reference, open(&reference, sources)?)
}

fn record(
    arguments: &PodArgs,
    pod: &Pod,
    manifest_digest: &str,
    base: &Resolved,
    images: &BTreeMap<String, Resolved>,
) -> Map<String, Value> {
    let image = |resolved: &Resolved| {
        let layers = resolved.image.layers.iter();
        let layers: Vec<_> = layers
            .map(|layer| json!({"digest": layer.digest.to_string(), "diff_id": layer.diff_id.to_string(), "size": layer.size}))
            .collect();
        json!({"manifest": resolved.image.manifest.digest.to_string(), "layers": layers})
    };
    let containers = pod.containers.iter();
    let containers: Map<String, Value> = containers
        .filter_map(|one| {
            let mut value = image(images.get(&one.image)?);
            value
                .as_object_mut()?
                .insert("image".to_owned(), one.image.clone().into());
            Some((one.name.clone(), value))
        })
        .collect();
    let value = json!({
        "version": 1,
        "i2kit": env!("CARGO_PKG_VERSION"),
        "init": crate::assemble::boot::init_digest(),
        "manifest": manifest_digest,
        "pod": pod.name,
        "base": image(base),
        "containers": containers,
        "targets": arguments.target,
    });
    match value {
        Value::Object(record) => record,
        _ => Map::new(),
    }
}

fn key(record: &Map<String, Value>, scratch: u64, on_failure: FailurePolicy) -> String {
    let text = format!(
        "{}\0{scratch}\0{on_failure:?}",
        Value::Object(record.clone())
    );
    hex::encode(Sha256::digest(text))
}
