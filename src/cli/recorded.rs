//! The inputs record, written and read: what a build was made of and how, so that it can be built
//! again. No folder of this machine and no Secret stands in it.

use std::collections::BTreeMap;

use i2kit_contract::FailurePolicy;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::args::{OnFailure, PodArgs};
use super::error::Error;
use super::images::Resolved;
use super::place::Placing;
use super::plan;
use crate::assemble::place::Like;
use crate::manifest::profile::{Needs, Profile};
use crate::manifest::{self, Input, Pod};
use crate::oci::{Digest, Lock, LockedImage, LockedLayer, LockedPlatform, Platform, portable};

/// The record's version; another one is refused.
const VERSION: u32 = 2;
/// In the record: what the UKI calls the image's version.
pub const IMAGE_VERSION: &str = "image_version";
/// In the record: what containers were seen to need, where that was asked for.
pub const PROFILE: &str = "profile";

/// A Pod, and what it was read from.
pub struct PodSource {
    /// The Pod.
    pub pod: Pod,
    /// The digest of what it was read from, `sha256:…`.
    pub digest: String,
    /// That itself.
    pub origin: RecordedOrigin,
}

/// What a Pod was read from, as the record has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedOrigin {
    /// The manifests' text, Secrets without their values; none where those go into the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifests: Option<Vec<String>>,
    /// Which Pod of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// An image instead of manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<FromImage>,
}

/// A Pod of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FromImage {
    image: String,
    #[serde(default)]
    args: Vec<String>,
}

/// How a Pod is read from manifests.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// Which Pod of several.
    pub name: Option<&'a str>,
    /// Secrets' values go into the disk.
    pub bake_secrets: bool,
    /// Notes are not shown.
    pub quiet: bool,
}

impl PodSource {
    /// The Pod in the manifests.
    pub fn of_manifests(inputs: &[Input], reading: Reading<'_>) -> Result<Self, Error> {
        let mut pod = plan::pod_of(inputs, reading.name, reading.quiet)?;
        if !reading.bake_secrets {
            pod.secrets = manifest::Secrets::default();
        }
        let kept = plan::kept(inputs, reading.bake_secrets)?;
        let texts = kept.iter().map(|bytes| {
            let text = std::str::from_utf8(bytes);
            text.ok().map(str::to_owned)
        });
        let manifests = texts.collect::<Option<Vec<_>>>();
        // Values that go into the disk stand nowhere beside it.
        let may_repeat = !(reading.bake_secrets && manifest::holds_secret(inputs));
        Ok(Self {
            pod,
            digest: plan::digest(&kept),
            origin: RecordedOrigin {
                manifests: manifests.filter(|_| may_repeat),
                name: reading.name.map(str::to_owned),
                from: None,
            },
        })
    }

    /// The Pod of an image alone.
    pub fn of_image(reference: &str, args: &[String]) -> Result<Self, Error> {
        let pod = manifest::from_image(reference, args).map_err(manifest::Errors::from)?;
        let image = portable(reference);
        let mut hash = Sha256::new();
        hash.update(image.as_bytes());
        args.iter()
            .for_each(|argument| hash.update([&[0], argument.as_bytes()].concat()));
        let args = args.to_vec();
        Ok(Self {
            pod,
            digest: format!("sha256:{}", hex::encode(hash.finalize())),
            origin: RecordedOrigin {
                from: Some(FromImage { image, args }),
                ..RecordedOrigin::default()
            },
        })
    }
}

/// What goes into the record of a plan.
pub fn record(
    arguments: &PodArgs,
    source: &PodSource,
    base: &Resolved,
    images: &BTreeMap<String, Resolved>,
    extensions: &[String],
) -> Map<String, Value> {
    let containers = source.pod.all_containers();
    let containers: Map<String, Value> = containers
        .filter_map(|one| Some((one.name.clone(), named_image(images, &one.image)?)))
        .collect();
    let volumes = source.pod.image_volumes();
    let volumes: Map<String, Value> = volumes
        .filter_map(|(name, image)| Some((name.to_owned(), named_image(images, image)?)))
        .collect();
    let extensions = extensions.iter();
    let extensions: Vec<Value> = extensions
        .filter_map(|name| named_image(images, name))
        .collect();
    let value = json!({
        "version": VERSION,
        "i2kit": env!("CARGO_PKG_VERSION"),
        "init": crate::assemble::boot::init_digest(),
        "manifest": source.digest,
        "pod": source.pod.name,
        "platform": arguments.platform.to_string(),
        "base": image_record(base),
        "containers": containers,
        "image_volumes": volumes,
        "extensions": extensions,
        "seccomp_profiles": source.pod.seccomp_profiles,
        "bake_secrets": arguments.bake_secrets,
        "targets": arguments.target,
        "modules": arguments.modules,
        "kernel_args": arguments.kernel_args,
        "compression": arguments.cache.compression.to_string(),
        "fec": arguments.fec,
        "on_failure": arguments.on_failure.policy(),
        "control": arguments.control,
        IMAGE_VERSION: arguments.image_version,
    });
    let origin = serde_json::to_value(&source.origin).unwrap_or_default();
    let objects = [value, origin].into_iter().filter_map(|one| match one {
        Value::Object(map) => Some(map),
        _ => None,
    });
    objects.flatten().collect()
}

fn image_record(resolved: &Resolved) -> Value {
    let image = &resolved.image;
    let layers = image.layers.iter();
    let layers: Vec<_> = layers
        .map(|layer| json!({"digest": layer.digest.to_string(), "diff_id": layer.diff_id.to_string(), "size": layer.size}))
        .collect();
    json!({
        "manifest": image.manifest.digest.to_string(),
        "config": image.config_document.digest.to_string(),
        "layers": layers,
    })
}

/// As [`image_record`], with the name by which the image was asked for.
fn named_image(images: &BTreeMap<String, Resolved>, name: &str) -> Option<Value> {
    let mut value = image_record(images.get(name)?);
    value
        .as_object_mut()?
        .insert("image".to_owned(), portable(name).into());
    Some(value)
}

/// A record that was read.
#[derive(Clone, Debug, Deserialize)]
pub struct Recorded {
    /// The version of i2kit that built.
    pub i2kit: String,
    /// The digest of its guest's program.
    pub init: String,
    manifest: String,
    #[serde(flatten)]
    origin: RecordedOrigin,
    platform: String,
    base: RecordedImage,
    containers: BTreeMap<String, RecordedImage>,
    image_volumes: BTreeMap<String, RecordedImage>,
    extensions: Vec<RecordedImage>,
    seccomp_profiles: BTreeMap<String, Value>,
    #[serde(default)]
    profile: Option<BTreeMap<String, Needs>>,
    bake_secrets: bool,
    targets: Vec<String>,
    modules: Vec<String>,
    kernel_args: Vec<String>,
    compression: String,
    fec: Option<u8>,
    on_failure: FailurePolicy,
    control: bool,
    image_version: Option<u64>,
    place_like: Option<Like>,
    compact: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct RecordedImage {
    #[serde(default)]
    image: String,
    manifest: Digest,
    config: Digest,
    layers: Vec<LockedLayer>,
}

impl Recorded {
    /// Reads an inputs record.
    ///
    /// # Errors
    /// [`Error::Recorded`] when it is of another version or lacks something.
    pub fn of(inputs: &Value) -> Result<Self, Error> {
        let wrong = |reason| Error::Recorded { reason };
        let version = inputs.get("version").and_then(Value::as_u64).unwrap_or(0);
        if version != u64::from(VERSION) {
            return Err(wrong(format!("version {version}, {VERSION} is known")));
        }
        let recorded: Self =
            Deserialize::deserialize(inputs).map_err(|error| wrong(error.to_string()))?;
        Ok(recorded)
    }

    /// What to say when this i2kit is not the one that built: its disks may differ.
    pub fn other_i2kit(&self) -> Option<String> {
        let (own, init) = (
            env!("CARGO_PKG_VERSION"),
            crate::assemble::boot::init_digest(),
        );
        if self.i2kit != own {
            return Some(format!(
                "it was built by i2kit {}, this is {own}",
                self.i2kit
            ));
        }
        let same = self.init == init;
        (!same).then(|| "it was built by another i2kit of this version".to_owned())
    }

    /// The flags that the build had, on top of `given`, which say where things are.
    ///
    /// # Errors
    /// [`Error::Recorded`] for a value that no flag takes.
    pub fn arguments(&self, given: PodArgs) -> Result<PodArgs, Error> {
        fn parsed<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, Error>
        where
            T::Err: std::fmt::Display,
        {
            text.parse().map_err(|error| Error::Recorded {
                reason: format!("{what} {text:?}: {error}"),
            })
        }
        let mut arguments = PodArgs {
            target: self.targets.clone(),
            modules: self.modules.clone(),
            kernel_args: self.kernel_args.clone(),
            bake_secrets: self.bake_secrets,
            fec: self.fec,
            on_failure: OnFailure::of(self.on_failure),
            control: self.control,
            image_version: self.image_version,
            platform: parsed("platform", &self.platform)?,
            ..given
        };
        arguments.cache.compression = parsed("compression", &self.compression)?;
        let extensions = self.extensions.iter();
        arguments.extensions.extensions = extensions.map(|one| one.image.clone()).collect();
        Ok(arguments)
    }

    /// What the Pod's containers were seen to need.
    pub fn profile(&self, pod: &str) -> Option<Profile> {
        let containers = self.profile.clone()?;
        let mut profile = Profile::new(pod);
        profile.containers = containers;
        Some(profile)
    }

    /// How layers were placed.
    pub fn placing(&self) -> Placing {
        Placing {
            like: self.place_like.clone().unwrap_or_default(),
            compact: self.compact,
        }
    }

    /// The Pod, from the record or, where that holds no manifests, from `given`.
    ///
    /// # Errors
    /// [`Error::NoManifest`]; [`Error::OtherManifest`] when it is not the one that was built.
    pub fn source(&self, given: &[Input], quiet: bool) -> Result<PodSource, Error> {
        let reading = Reading {
            name: self.origin.name.as_deref(),
            bake_secrets: self.bake_secrets,
            quiet,
        };
        let mut source = match (&self.origin.from, &self.origin.manifests) {
            (Some(from), _) => PodSource::of_image(&from.image, &from.args)?,
            (None, Some(manifests)) => {
                let inputs = manifests.iter().enumerate();
                let inputs: Vec<Input> = inputs
                    .map(|(number, text)| Input {
                        name: format!("record:{number:04}.yaml"),
                        bytes: text.clone().into_bytes(),
                    })
                    .collect();
                PodSource::of_manifests(&inputs, reading)?
            }
            (None, None) if given.is_empty() => return Err(Error::NoManifest),
            (None, None) => PodSource::of_manifests(given, reading)?,
        };
        source
            .pod
            .seccomp_profiles
            .clone_from(&self.seccomp_profiles);
        if source.digest == self.manifest {
            return Ok(source);
        }
        Err(Error::OtherManifest {
            found: source.digest,
            recorded: self.manifest.clone(),
        })
    }

    /// Pins every image of the Pod to what it was.
    ///
    /// # Errors
    /// [`Error::Recorded`] when a container has no image, or a name means two.
    pub fn lock(&self, pod: &Pod, platform: &Platform) -> Result<Lock, Error> {
        let wrong = |reason| Error::Recorded { reason };
        let locked = |image: &RecordedImage| LockedImage {
            reference: None,
            index: None,
            platforms: [(platform.clone(), image.locked())].into(),
        };
        let mut lock = Lock {
            base: Some(locked(&self.base)),
            ..Lock::default()
        };
        let containers = pod.all_containers().map(|container| -> Result<_, Error> {
            let image = self.containers.get(&container.name);
            let missing = || format!("it names no image for container {}", container.name);
            Ok((
                container.image.as_str(),
                image.ok_or_else(|| wrong(missing()))?,
            ))
        });
        let volumes = pod
            .image_volumes()
            .map(|(volume, name)| -> Result<_, Error> {
                let image = self.image_volumes.get(volume);
                let missing = || format!("it names no image for volume {volume}");
                Ok((name, image.ok_or_else(|| wrong(missing()))?))
            });
        let extensions = self
            .extensions
            .iter()
            .map(|image| Ok((image.image.as_str(), image)));
        for named in containers.chain(volumes).chain(extensions) {
            let (name, image) = named?;
            let image = locked(image);
            // Names lose their folders in the record.
            match lock.images.insert(name.to_owned(), image.clone()) {
                Some(other) if other != image => {
                    return Err(wrong(format!("two images are called {name}")));
                }
                _ => {}
            }
        }
        Ok(lock)
    }
}

impl RecordedImage {
    fn locked(&self) -> LockedPlatform {
        LockedPlatform {
            manifest: self.manifest,
            config: self.config,
            accepted_by: None,
            layers: self.layers.clone(),
        }
    }
}
