//! Flags become a plan: the Pod, its images and everything else that decides the disk's bytes.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use i2kit_contract::FailurePolicy;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::args::{CacheArgs, FileArgs, ImageArgs, Limit, PlaceArgs, PodArgs};
use super::error::Error;
use super::images::{Images, Resolved};
use super::place::Placing;
use super::recorded::{self, PodSource, Reading, Recorded};
use super::shared::Shared;
use crate::assemble::{KernelArgs, Signature};
use crate::cache::Cache;
use crate::layer::ConvertOptions;
use crate::manifest::profile::Profile;
use crate::manifest::{self, Input, Pod};
use crate::oci::Platform;

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
    /// Where the UKI's signature comes from.
    pub signature: Option<Signature>,
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
    pub fn sign_with(&mut self, signature: Signature) {
        self.key = signed_key(&self.key, &signature);
        self.signature = Some(signature);
    }
}

/// The Pod itself: from manifests, or from an image alone.
pub enum Origin<'a> {
    Manifests,
    Image {
        reference: &'a str,
        args: &'a [String],
    },
    /// What an inputs record tells; manifests are read only where it has none.
    Record(&'a Recorded),
}

/// Reads manifests and images' documents, no layer. What an inputs record tells goes before `place`.
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
    let mut source = pod(arguments, origin, &finder)?;
    let profile = profile(arguments, origin, &source.pod.name)?;
    if let Some((profile, path)) = &profile {
        let applied = profile.apply(&mut source.pod);
        applied.map_err(|source| Error::Profile {
            path: path.clone(),
            source,
        })?;
    }
    let finder = match origin {
        Origin::Record(recorded) => {
            finder.locked_by(recorded.lock(&source.pod, &arguments.platform)?)
        }
        _ => finder,
    };
    let extensions = extensions(arguments, &finder);
    let (base, images) = resolve(&finder, &source.pod, &extensions)?;
    if !arguments.progress.quiet {
        tell_tags(&images);
    }
    let on_failure = arguments.on_failure.policy();
    let placing = match origin {
        Origin::Record(recorded) => recorded.placing(),
        _ => Placing::of(place, diff_ids(&base, &images))?,
    };
    let mut record = recorded::record(arguments, &source, &base, &images, &extensions);
    let needs = profile.and_then(|(profile, _)| serde_json::to_value(profile.containers).ok());
    record.extend(needs.map(|needs| (recorded::PROFILE.to_owned(), needs)));
    placing.record(&mut record)?;
    let key = key(&record, scratch);
    let shared = Shared::open(&arguments.cache, &finder)?;
    drop(finder);
    Ok(Plan {
        pod: source.pod,
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
        signature: None,
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
pub fn signed_key(key: &str, signature: &Signature) -> String {
    hex::encode(Sha256::digest(format!("{key}\0{}", signature.name())))
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

/// The Pod, and what it was read from.
fn pod(arguments: &PodArgs, origin: &Origin<'_>, finder: &Images<'_>) -> Result<PodSource, Error> {
    let quiet = arguments.progress.quiet;
    match origin {
        Origin::Image { reference, args } => {
            if arguments.files.name.is_some() {
                return Err(Error::Argument {
                    argument: "--name".to_owned(),
                    reason: "it picks among the Pods of -f, and there is no -f",
                });
            }
            PodSource::of_image(reference, args)
        }
        Origin::Manifests => {
            let inputs = inputs_or_bundled(&arguments.files, &arguments.images, finder)?;
            let reading = Reading {
                name: arguments.files.name.as_deref(),
                bake_secrets: arguments.bake_secrets,
                quiet,
            };
            let mut source = PodSource::of_manifests(&inputs, reading)?;
            if let Some(folder) = &arguments.seccomp_profiles {
                source.pod.seccomp_profiles = seccomp_profiles(folder, &source.pod)?;
            }
            Ok(source)
        }
        Origin::Record(recorded) => {
            let inputs = arguments.files.files.iter().map(read);
            recorded.source(&inputs.collect::<Result<Vec<_>, _>>()?, quiet)
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

/// The digest of manifests, `sha256:…`.
pub fn digest(manifests: &[Vec<u8>]) -> String {
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

/// What containers were seen to need, and where that stands.
fn profile(
    arguments: &PodArgs,
    origin: &Origin<'_>,
    pod: &str,
) -> Result<Option<(Profile, PathBuf)>, Error> {
    match (origin, &arguments.profile) {
        (Origin::Record(recorded), _) => {
            let profile = recorded.profile(pod);
            Ok(profile.map(|profile| (profile, PathBuf::from(recorded::PROFILE))))
        }
        (_, Some(path)) => Ok(Some((super::learn::read(path)?, path.clone()))),
        (_, None) => Ok(None),
    }
}

fn key(record: &Map<String, Value>, scratch: u64) -> String {
    let text = format!("{}\0{scratch}", Value::Object(record.clone()));
    hex::encode(Sha256::digest(text))
}
