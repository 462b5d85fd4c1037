//! `i2kit.lock`: what every image name of a Pod resolved to, so that a later build takes the same
//! bytes or none. TOML, in a stable order, one line a fact, so that a difference reads well.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;

use serde::Deserialize;

use super::{Digest, Image, Platform};

/// The format's version.
const VERSION: u32 = 1;
/// The first lines of every lock.
const HEAD: &str = "# What the images of a Pod resolved to. Written by `i2kit lock`; keep it with the \
                    manifest.\n# `i2kit build --locked` takes nothing else.\n";

/// A lock: images by the name that the manifest has, and the base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// The base image.
    pub base: Option<LockedImage>,
    /// The containers' images, by their names in the manifest, and those of `extensions`.
    pub images: BTreeMap<String, LockedImage>,
    /// Names of the images that are laid over the guest's own system, lowest first.
    pub extensions: Vec<String>,
}

/// One name, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedImage {
    /// Where it came from: a full reference, or `TRANSPORT:…`. None for the base that the cache
    /// folder holds.
    pub reference: Option<String>,
    /// The index that the reference named, if it named one.
    pub index: Option<Digest>,
    /// What it is on each platform.
    pub platforms: BTreeMap<Platform, LockedPlatform>,
}

/// An image for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedPlatform {
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Digest of the config.
    pub config: Digest,
    /// Which rule and key of the signature policy accepted it.
    pub accepted_by: Option<String>,
    /// Its layers, lowest first.
    pub layers: Vec<LockedLayer>,
}

/// A layer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedLayer {
    /// Digest of the compressed bytes.
    pub digest: Digest,
    /// Digest of the uncompressed bytes.
    pub diff_id: Digest,
    /// Length of the compressed bytes.
    pub size: u64,
    /// What each version of the layer writer makes of it: version → digest of the converted layer.
    #[serde(default)]
    pub converted: BTreeMap<String, Digest>,
}

/// A lock that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LockError(String);

impl LockedPlatform {
    /// What `image` is, nothing of its conversion known.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        let layers = image.layers.iter().map(|layer| LockedLayer {
            digest: layer.digest,
            diff_id: layer.diff_id,
            size: layer.size,
            converted: BTreeMap::new(),
        });
        Self {
            manifest: image.manifest.digest,
            config: image.config_document.digest,
            accepted_by: None,
            layers: layers.collect(),
        }
    }
}

impl LockedImage {
    /// Names `images`, one for each platform, that came from `reference`.
    #[must_use]
    pub fn of(reference: Option<String>, images: &BTreeMap<Platform, Image>) -> Self {
        let index = images.values().find_map(|image| image.index.as_ref());
        let platforms = images.iter();
        Self {
            reference,
            index: index.map(|index| index.digest),
            platforms: platforms
                .map(|(platform, image)| (platform.clone(), LockedPlatform::of(image)))
                .collect(),
        }
    }
}

impl Lock {
    /// Every layer of every image and platform.
    pub fn layers_mut(&mut self) -> impl Iterator<Item = &mut LockedLayer> {
        let images = self.images.values_mut().chain(self.base.as_mut());
        images
            .flat_map(|image| image.platforms.values_mut())
            .flat_map(|platform| &mut platform.layers)
    }

    /// What the lock says the layer of that diffID converts to with that version of the writer.
    #[must_use]
    pub fn converted(&self, diff_id: &Digest, writer: &str) -> Option<Digest> {
        self.conversions(diff_id).get(writer).copied()
    }

    /// What the lock says of the layer of that diffID, by the version of the writer.
    #[must_use]
    pub fn conversions(&self, diff_id: &Digest) -> BTreeMap<String, Digest> {
        let images = self.images.values().chain(self.base.as_ref());
        images
            .flat_map(|image| image.platforms.values())
            .flat_map(|platform| &platform.layers)
            .filter(|layer| layer.diff_id == *diff_id)
            .flat_map(|layer| layer.converted.clone())
            .collect()
    }

    /// The lock as a file's text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = format!("{HEAD}version = {VERSION}\n");
        if !self.extensions.is_empty() {
            let names: Vec<_> = self.extensions.iter().map(|name| quoted(name)).collect();
            let _ = writeln!(out, "extensions = [{}]", names.join(", "));
        }
        if let Some(base) = &self.base {
            render_image(&mut out, "base", None, base);
        }
        for (name, image) in &self.images {
            render_image(&mut out, "image", Some(name), image);
        }
        out
    }
}

fn render_image(out: &mut String, table: &str, name: Option<&str>, image: &LockedImage) {
    let header = name.map_or_else(|| format!("[{table}]"), |_| format!("[[{table}]]"));
    let _ = writeln!(out, "\n{header}");
    let index = image.index.map(|index| index.to_string());
    for (key, value) in [
        ("name", name),
        ("reference", image.reference.as_deref()),
        ("index", index.as_deref()),
    ] {
        if let Some(value) = value {
            let _ = writeln!(out, "{key} = {}", quoted(value));
        }
    }
    for (platform, locked) in &image.platforms {
        let _ = writeln!(out, "\n[[{table}.platform]]\nplatform = \"{platform}\"");
        let _ = writeln!(out, "manifest = \"{}\"", locked.manifest);
        let _ = writeln!(out, "config = \"{}\"", locked.config);
        if let Some(rule) = &locked.accepted_by {
            let _ = writeln!(out, "accepted_by = {}", quoted(rule));
        }
        for layer in &locked.layers {
            render_layer(out, table, layer);
        }
    }
}

fn render_layer(out: &mut String, table: &str, layer: &LockedLayer) {
    let _ = writeln!(out, "\n[[{table}.platform.layer]]");
    let _ = writeln!(out, "digest = \"{}\"", layer.digest);
    let _ = writeln!(out, "diff_id = \"{}\"", layer.diff_id);
    let _ = writeln!(out, "size = {}", layer.size);
    if !layer.converted.is_empty() {
        let pairs = layer.converted.iter();
        let pairs: Vec<_> = pairs
            .map(|(writer, digest)| format!("{} = \"{digest}\"", quoted(writer)))
            .collect();
        let _ = writeln!(out, "converted = {{ {} }}", pairs.join(", "));
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The file, as TOML has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    extensions: Vec<String>,
    base: Option<FileImage>,
    #[serde(default)]
    image: Vec<FileImage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileImage {
    name: Option<String>,
    reference: Option<String>,
    index: Option<Digest>,
    #[serde(default)]
    platform: Vec<FilePlatform>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePlatform {
    platform: String,
    manifest: Digest,
    config: Digest,
    accepted_by: Option<String>,
    #[serde(default)]
    layer: Vec<LockedLayer>,
}

impl FromStr for Lock {
    type Err = LockError;

    fn from_str(text: &str) -> Result<Self, LockError> {
        let file = match toml::from_str::<File>(text) {
            Ok(file) => file,
            Err(error) => return Err(refusal(text, &error)),
        };
        if file.version != VERSION {
            return Err(other_version(file.version.into()));
        }
        let mut lock = Self {
            base: file.base.map(image).transpose()?.map(|(_, base)| base),
            images: BTreeMap::new(),
            extensions: file.extensions,
        };
        for one in file.image {
            let (name, locked) = image(one)?;
            let name = name.ok_or_else(|| LockError("an image without a name".to_owned()))?;
            if lock.images.insert(name.clone(), locked).is_some() {
                return Err(LockError(format!("image {name:?} stands there twice")));
            }
        }
        let missing = |name: &&String| !lock.images.contains_key(*name);
        if let Some(name) = lock.extensions.iter().find(missing) {
            return Err(LockError(format!(
                "extension {name:?} is not among the images"
            )));
        }
        Ok(lock)
    }
}

/// Why `text` is no lock; a lock of another version is told as such, whatever else is new in it.
fn refusal(text: &str, error: &toml::de::Error) -> LockError {
    let Ok(table) = toml::from_str::<toml::Table>(text) else {
        return LockError(toml_reason(error));
    };
    match table.get("version").and_then(toml::Value::as_integer) {
        Some(found) if found != i64::from(VERSION) => other_version(found),
        Some(_) => LockError(toml_reason(error)),
        None => LockError("no version in it".to_owned()),
    }
}

fn other_version(found: i64) -> LockError {
    LockError(format!("version {found}, this i2kit reads {VERSION}"))
}

fn image(file: FileImage) -> Result<(Option<String>, LockedImage), LockError> {
    let mut platforms = BTreeMap::new();
    for one in file.platform {
        let platform: Platform = one
            .platform
            .parse()
            .map_err(|error: super::PlatformError| LockError(error.to_string()))?;
        let locked = LockedPlatform {
            manifest: one.manifest,
            config: one.config,
            accepted_by: one.accepted_by,
            layers: one.layer,
        };
        if platforms.insert(platform.clone(), locked).is_some() {
            return Err(LockError(format!("platform {platform} stands there twice")));
        }
    }
    let image = LockedImage {
        reference: file.reference,
        index: file.index,
        platforms,
    };
    Ok((file.name, image))
}

/// A TOML error in one line: place and reason, without the excerpt.
#[must_use]
pub fn toml_reason(error: &toml::de::Error) -> String {
    error
        .to_string()
        .lines()
        .map(str::trim)
        .fold(String::new(), |out, line| match line.split_once('|') {
            Some((number, _)) if number.trim().bytes().all(|byte| byte.is_ascii_digit()) => out,
            _ if line.is_empty() => out,
            _ if out.is_empty() => line.to_owned(),
            _ => format!("{out}: {line}"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Lock {
        let layer = |content: &str, converted: &[(&str, &str)]| LockedLayer {
            digest: Digest::of(content.as_bytes()),
            diff_id: Digest::of(b"diff"),
            size: 77,
            converted: converted
                .iter()
                .map(|(writer, bytes)| ((*writer).to_owned(), Digest::of(bytes.as_bytes())))
                .collect(),
        };
        let platform = |layers| LockedPlatform {
            manifest: Digest::of(b"manifest"),
            config: Digest::of(b"config"),
            accepted_by: Some("docker \"x\"\n".to_owned()),
            layers,
        };
        let image = |reference: Option<&str>| LockedImage {
            reference: reference.map(str::to_owned),
            index: reference.map(|_| Digest::of(b"index")),
            platforms: [
                (
                    "linux/amd64".parse().unwrap(),
                    platform(vec![layer("a", &[]), layer("b", &[("layer 3", "x")])]),
                ),
                ("linux/arm/v7".parse().unwrap(), platform(Vec::new())),
            ]
            .into(),
        };
        Lock {
            base: Some(image(None)),
            images: [
                ("nginx".to_owned(), image(Some("docker.io/library/nginx:1"))),
                ("a'b\"\\".to_owned(), image(Some("oci:./x"))),
            ]
            .into(),
            extensions: vec!["nginx".to_owned(), "a'b\"\\".to_owned()],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let lock = example();
        let text = lock.render();
        assert_eq!(text.parse::<Lock>().unwrap(), lock, "{text}");
        assert_eq!(text.parse::<Lock>().unwrap().render(), text);
        assert_eq!(
            lock.converted(&Digest::of(b"diff"), "layer 3"),
            Some(Digest::of(b"x"))
        );
        assert_eq!(lock.converted(&Digest::of(b"diff"), "layer 4"), None);
        let empty = Lock::default();
        assert_eq!(empty.render().parse::<Lock>().unwrap(), empty);
    }

    #[test]
    fn what_is_no_lock_is_told_in_toml_reason() {
        let good = example().render();
        for (text, expected) in [
            (String::new(), "no version"),
            ("version = 2".to_owned(), "version 2, this i2kit reads 1"),
            ("version = 1\nfoo = 2".to_owned(), "foo"),
            ("version = ".to_owned(), "line 1"),
            (good.replacen("sha256:", "sha512:", 1), "sha512"),
            (good.replacen("linux/arm/v7", "linux", 1), "\"linux\""),
            (good.replacen("linux/arm/v7", "linux/amd64", 1), "twice"),
            (
                format!("{good}\n[[image]]\nname = \"nginx\"\n"),
                "\"nginx\" stands there twice",
            ),
            (
                format!("{good}\n[[image]]\nindex = 5\n"),
                "invalid type: integer",
            ),
            (format!("{good}\n[[image]]\n"), "without a name"),
            (
                good.replacen("extensions = [", "extensions = [\"agent\", ", 1),
                "extension \"agent\" is not among the images",
            ),
        ] {
            let error = text.parse::<Lock>().unwrap_err().to_string();
            assert!(
                error.contains(expected) && !error.contains('\n'),
                "no {expected:?} in {error:?}"
            );
        }
    }
}
