//! Flags become a plan: the Pod, its images and everything else that decides the disk's bytes.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use i2kit_contract::FailurePolicy;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::args::{CacheArgs, FileArgs, ImageArgs, Limit, OnFailure, PlaceArgs, PodArgs};
use super::error::Error;
use super::images::{Images, Resolved};
use super::place::Placing;
use super::shared::Shared;
use crate::assemble::KernelArgs;
use crate::cache::Cache;
use crate::layer::ConvertOptions;
use crate::manifest::{self, Input, Pod};
use crate::oci::Platform;
use crate::sign::Identity;

/// What to build.
pub struct Plan {
    pub pod: Pod,
    pub base: Resolved,
    /// By image reference, as the manifest has it.
    pub images: BTreeMap<String, Resolved>,
    /// Names of the images that lie over the base's system, lowest first.
    pub extensions: Vec<String>,
    pub targets: Vec<String>,
    pub modules: Vec<String>,
    pub kernel_args: KernelArgs,
    /// What the UKI calls the image's version.
    pub image_version: Option<u64>,
    /// Roots of the store's error correction.
    pub fec: Option<u8>,
    pub on_failure: FailurePolicy,
    pub control: bool,
    /// How layers are placed.
    pub placing: Placing,
    pub scratch: u64,
    pub cache: Cache,
    /// Where converted layers are shared.
    pub shared: Shared,
    /// What the cache may take; its own default where nothing was said.
    pub cache_limit: Option<Limit>,
    pub jobs: usize,
    pub convert: ConvertOptions,
    /// What signs the UKI.
    pub signer: Option<Identity>,
    /// What goes into the inputs record.
    pub record: Map<String, Value>,
    /// Same key, same bytes.
    pub key: String,
}

impl Plan {
    /// The base and every image, each once.
    pub fn resolved(&self) -> impl Iterator<Item = &Resolved> {
        self.images.values().chain([&self.base])
    }

    /// Has the UKI signed. The inputs record does not say so: it lies in the store, and the store is
    /// the same.
    pub fn sign_with(&mut self, signer: Identity) {
        self.key = signed_key(&self.key, &signer);
        self.signer = Some(signer);
    }
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
pub fn plan(
    arguments: &PodArgs,
    origin: &Origin<'_>,
    place: &PlaceArgs,
    scratch: u64,
) -> Result<Plan, Error> {
    check_architecture(&arguments.platform)?;
    let kernel_args = KernelArgs::new(&arguments.kernel_args)?;
    let cache = Cache::open(&cache_folder(arguments.cache.cache_dir.as_deref())?)?;
    let finder = Images::open(
        &arguments.images,
        &cache,
        &arguments.platform,
        arguments.progress.quiet,
    )?;
    let (pod, manifest_digest) = pod(arguments, origin, &finder)?;
    let extensions = extensions(arguments, &finder);
    let (base, images) = resolve(&finder, &pod, &extensions)?;
    if !arguments.progress.quiet {
        tell_tags(&images);
    }
    let on_failure = match arguments.on_failure {
        OnFailure::PowerOff => FailurePolicy::PowerOff,
        OnFailure::Reboot => FailurePolicy::Reboot,
    };
    let mut record = record(arguments, &pod, &manifest_digest, &base, &images);
    record.extend(added(arguments, &extensions, &images));
    let placing = Placing::of(place, diff_ids(&base, &images))?;
    placing.record(&mut record)?;
    let key = key(&record, scratch, on_failure);
    let shared = Shared::open(&arguments.cache, &finder)?;
    drop(finder);
    Ok(Plan {
        pod,
        base,
        images,
        extensions,
        targets: arguments.target.clone(),
        modules: arguments.modules.clone(),
        kernel_args,
        image_version: arguments.image_version,
        fec: arguments.fec,
        on_failure,
        control: arguments.control,
        placing,
        scratch,
        cache,
        shared,
        cache_limit: arguments.cache.cache_max_size,
        jobs: jobs(&arguments.cache),
        convert: convert_options(&arguments.cache),
        signer: None,
        record,
        key,
    })
}

/// The diffIDs of all layers.
fn diff_ids<'a>(
    base: &'a Resolved,
    images: &'a BTreeMap<String, Resolved>,
) -> impl Iterator<Item = String> + 'a {
    let all = images.values().chain([base]);
    all.flat_map(|one| &one.image.layers)
        .map(|layer| layer.diff_id.to_string())
}

/// The key of a disk whose UKI is signed, from the one of the same disk without.
pub fn signed_key(key: &str, signer: &Identity) -> String {
    hex::encode(Sha256::digest(format!("{key}\0{}", signer.name())))
}

/// The guest's program is built for one architecture.
fn check_architecture(platform: &Platform) -> Result<(), Error> {
    match (&*platform.os, &*platform.architecture) {
        ("linux", "amd64") => Ok(()),
        _ => Err(Error::Architecture {
            platform: platform.to_string(),
        }),
    }
}

/// Layers worked on at once.
pub fn jobs(arguments: &CacheArgs) -> usize {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    arguments.jobs.unwrap_or(threads).max(1)
}

/// How layers are converted.
pub fn convert_options(arguments: &CacheArgs) -> ConvertOptions {
    ConvertOptions {
        max_layer_size: arguments.max_layer_size,
        keep_blobs: arguments.keep_blobs,
        compression: arguments.compression.0,
    }
}

/// The base and the Pod's images, looked up at the same time.
fn resolve(
    finder: &Images<'_>,
    pod: &Pod,
    extensions: &[String],
) -> Result<(Resolved, BTreeMap<String, Resolved>), Error> {
    let names = image_names(pod, extensions);
    std::thread::scope(|scope| {
        let base = scope.spawn(|| finder.base());
        let images = finder.resolve(names);
        let base = base
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // The Pod's own images are what a newcomer knows: their errors come first.
        let images = images?;
        Ok((base?, images))
    })
}

/// The names of the Pod's images and of the extensions.
pub fn image_names<'a>(pod: &'a Pod, extensions: &'a [String]) -> impl Iterator<Item = &'a str> {
    pod.images().chain(extensions.iter().map(String::as_str))
}

/// The extensions that the flags name, or else those of the bundle.
fn extensions(arguments: &PodArgs, finder: &Images<'_>) -> Vec<String> {
    match (finder.lock(), &arguments.images.bundle) {
        (Some(lock), Some(_)) if arguments.extensions.extensions.is_empty() => {
            lock.extensions.clone()
        }
        _ => arguments.extensions.extensions.clone(),
    }
}

/// Says what tags stand for, since they may be something else tomorrow.
fn tell_tags(images: &BTreeMap<String, Resolved>) {
    for (name, resolved) in images.iter().filter(|(_, resolved)| resolved.may_move) {
        let top = resolved.image.index.as_ref();
        let digest = top.unwrap_or(&resolved.image.manifest).digest;
        super::say(&format!("{name} is {digest}"));
    }
}

/// The Pod, and the digest of what it was read from.
fn pod(
    arguments: &PodArgs,
    origin: &Origin<'_>,
    finder: &Images<'_>,
) -> Result<(Pod, String), Error> {
    match origin {
        Origin::Image { reference, args } => {
            if arguments.files.name.is_some() {
                return Err(Error::Argument {
                    argument: "--name".to_owned(),
                    reason: "it picks among the Pods of -f, and there is no -f",
                });
            }
            let mut hash = Sha256::new();
            hash.update(reference.as_bytes());
            args.iter()
                .for_each(|argument| hash.update([&[0], argument.as_bytes()].concat()));
            let pod = manifest::from_image(reference, args).map_err(manifest::Errors::from)?;
            Ok((pod, format!("sha256:{}", hex::encode(hash.finalize()))))
        }
        Origin::Manifests => {
            let inputs = inputs_or_bundled(&arguments.files, &arguments.images, finder)?;
            let name = arguments.files.name.as_deref();
            let mut pod = pod_of(&inputs, name, arguments.progress.quiet)?;
            if !arguments.bake_secrets {
                pod.secrets = manifest::Secrets::default();
            }
            if let Some(folder) = &arguments.seccomp_profiles {
                pod.seccomp_profiles = seccomp_profiles(folder, &pod)?;
            }
            let bytes = kept(&inputs, arguments.bake_secrets)?;
            Ok((pod, digest(&bytes)))
        }
    }
}

/// The Pod in the manifests.
pub fn pod_of(inputs: &[Input], name: Option<&str>, quiet: bool) -> Result<Pod, Error> {
    let (pod, notes) = manifest::load(inputs, name)?;
    if !quiet {
        notes
            .iter()
            .for_each(|note| super::say(&format!("note: {note}")));
    }
    Ok(pod)
}

/// The profiles that the Pod names. What runc makes of one shows when a container starts.
fn seccomp_profiles(folder: &Path, pod: &Pod) -> Result<BTreeMap<String, Value>, Error> {
    let mut profiles = BTreeMap::new();
    for name in pod.seccomp_names() {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })?;
        let profile: Option<Value> = serde_json::from_slice(&bytes).ok();
        let profile = profile.filter(|one| one.get("defaultAction").is_some_and(Value::is_string));
        let profile = profile.ok_or_else(|| Error::Argument {
            argument: path.display().to_string(),
            reason: "it is no seccomp profile: a JSON object with a defaultAction",
        })?;
        profiles.insert(name.to_owned(), profile);
    }
    Ok(profiles)
}

/// What of the manifests may be kept and named by a digest: Secrets' values only when they are to
/// go into the disk anyway, since a digest lets whoever has it try them out.
pub fn kept(inputs: &[Input], bake_secrets: bool) -> Result<Vec<Vec<u8>>, Error> {
    match bake_secrets {
        true => Ok(inputs.iter().map(|input| input.bytes.clone()).collect()),
        false => Ok(manifest::without_secret_values(inputs)?),
    }
}

fn digest(manifests: &[Vec<u8>]) -> String {
    let mut hash = Sha256::new();
    for bytes in manifests {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
}

/// The manifests that the flags name, which there must be.
pub fn inputs(files: &[PathBuf]) -> Result<Vec<Input>, Error> {
    if files.is_empty() {
        return Err(Error::Argument {
            argument: "-f".to_owned(),
            reason: "name at least one manifest",
        });
    }
    files.iter().map(read).collect()
}

/// The manifests that the flags name, or else those in the bundle.
pub fn inputs_or_bundled(
    files: &FileArgs,
    images: &ImageArgs,
    finder: &Images<'_>,
) -> Result<Vec<Input>, Error> {
    match (&images.bundle, files.files.as_slice()) {
        (Some(bundle), []) => {
            let manifests = super::bundle::manifests(finder.sources(), bundle)?;
            let inputs = manifests.into_iter().enumerate();
            Ok(inputs
                .map(|(number, bytes)| Input {
                    name: format!("{}:{number:04}.yaml", bundle.display()),
                    bytes,
                })
                .collect())
        }
        (_, files) => inputs(files),
    }
}

fn read(path: &PathBuf) -> Result<Input, Error> {
    let context = |source| Error::Read {
        path: path.clone(),
        source,
    };
    let is_stdin = path.as_os_str() == "-";
    let reader: Box<dyn Read> = if is_stdin {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(path).map_err(context)?)
    };
    let mut bytes = Vec::new();
    // One byte more than a manifest may have, so that its reader refuses it.
    let mut reader = reader.take(manifest::MAX_BYTES as u64 + 1);
    reader.read_to_end(&mut bytes).map_err(context)?;
    let name = if is_stdin {
        "<stdin>".to_owned()
    } else {
        path.display().to_string()
    };
    Ok(Input { name, bytes })
}

/// The cache's folder: the one given, or the user's.
pub fn cache_folder(given: Option<&Path>) -> Result<PathBuf, Error> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    given
        .map(Path::to_owned)
        .or_else(|| set("XDG_CACHE_HOME").map(|path| path.join("i2kit")))
        .or_else(|| set("HOME").map(|path| path.join(".cache/i2kit")))
        .ok_or(Error::NoCache)
}

fn record(
    arguments: &PodArgs,
    pod: &Pod,
    manifest_digest: &str,
    base: &Resolved,
    images: &BTreeMap<String, Resolved>,
) -> Map<String, Value> {
    let containers = pod.all_containers();
    let containers: Map<String, Value> = containers
        .filter_map(|one| Some((one.name.clone(), named_image(images, &one.image)?)))
        .collect();
    let volumes = pod.image_volumes();
    let volumes: Map<String, Value> = volumes
        .filter_map(|(name, image)| Some((name.to_owned(), named_image(images, image)?)))
        .collect();
    let value = json!({
        "version": 1,
        "i2kit": env!("CARGO_PKG_VERSION"),
        "init": crate::assemble::boot::init_digest(),
        "manifest": manifest_digest,
        "pod": pod.name,
        "base": image_record(base),
        "containers": containers,
        "image_volumes": volumes,
        "seccomp_profiles": seccomp_digests(pod),
        "targets": arguments.target,
        "compression": arguments.cache.compression.to_string(),
    });
    match value {
        Value::Object(record) => record,
        _ => Map::new(),
    }
}

fn seccomp_digests(pod: &Pod) -> Map<String, Value> {
    let digest = |(name, profile): (&String, &Value)| {
        let digest = hex::encode(Sha256::digest(profile.to_string()));
        (name.clone(), Value::from(format!("sha256:{digest}")))
    };
    pod.seccomp_profiles.iter().map(digest).collect()
}

/// What the user adds to what the target and the base give.
fn added(
    arguments: &PodArgs,
    extensions: &[String],
    images: &BTreeMap<String, Resolved>,
) -> Map<String, Value> {
    let extensions = extensions.iter();
    let extensions: Vec<Value> = extensions
        .filter_map(|name| named_image(images, name))
        .collect();
    Map::from_iter([
        ("modules".to_owned(), arguments.modules.clone().into()),
        (
            "kernel_args".to_owned(),
            arguments.kernel_args.clone().into(),
        ),
        ("extensions".to_owned(), extensions.into()),
        ("fec".to_owned(), arguments.fec.into()),
        ("control".to_owned(), arguments.control.into()),
        ("bake_secrets".to_owned(), arguments.bake_secrets.into()),
        ("image_version".to_owned(), arguments.image_version.into()),
    ])
}

fn image_record(resolved: &Resolved) -> Value {
    let layers = resolved.image.layers.iter();
    let layers: Vec<_> = layers
        .map(|layer| json!({"digest": layer.digest.to_string(), "diff_id": layer.diff_id.to_string(), "size": layer.size}))
        .collect();
    json!({"manifest": resolved.image.manifest.digest.to_string(), "layers": layers})
}

/// As [`image_record`], with the name by which the image was asked for.
fn named_image(images: &BTreeMap<String, Resolved>, name: &str) -> Option<Value> {
    let mut value = image_record(images.get(name)?);
    value
        .as_object_mut()?
        .insert("image".to_owned(), name.into());
    Some(value)
}

fn key(record: &Map<String, Value>, scratch: u64, on_failure: FailurePolicy) -> String {
    let text = format!(
        "{}\0{scratch}\0{on_failure:?}",
        Value::Object(record.clone())
    );
    hex::encode(Sha256::digest(text))
}
