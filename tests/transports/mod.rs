//! One image through every local transport, against skopeo, which wrote it there.

mod archives;
mod daemon;
mod storage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use i2kit::cache::Cache;
use i2kit::layer::{ConvertOptions, ConvertedLayer};
use i2kit::oci::{Digest, Environment, Image, LocalSources, Platform, Scratch, Source};
use i2kit::pipeline::{Request, Silent, convert};
use serde_json::json;

use crate::support::layout::{self, Compression};
use crate::support::tarball::{Dialect, Item, Kind, archive};
use crate::support::{i2kit, samples, tool};

/// Tars and how they are stored.
type Layers = Vec<(Vec<u8>, Compression)>;

/// A folder with an image in the layout `layout`.
struct Sample {
    folder: tempfile::TempDir,
}

impl Sample {
    /// The image for two platforms, as an index that is tagged `latest`.
    fn new() -> Self {
        Self::with(&layers)
    }

    /// As [`Self::new`], of layers that Docker's manifests have a type for.
    fn of_docker() -> Self {
        let gzip = |(tar, _)| (tar, Compression::Gzip);
        Self::with(&|architecture| layers(architecture).into_iter().map(gzip).collect())
    }

    fn with(layers: &dyn Fn(&str) -> Layers) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sample = Self { folder };
        let layout = sample.path("layout");
        let entries: Vec<_> = ["amd64", "arm64"]
            .iter()
            .map(|architecture| {
                let layers = layout::stored(&layers(architecture));
                let config = json!({"Env": ["A=b"], "Cmd": ["/bin/x"]});
                let mut entry = layout::put_image(&layout, &layers, &config, architecture);
                entry["platform"] = json!({"os": "linux", "architecture": architecture});
                entry
            })
            .collect();
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
        let mut index = layout::put_json(&layout, &index, media_type);
        index["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
        layout::write_index(&layout, &[index]);
        sample
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `TRANSPORT:PATH` of a file or folder beside the layout.
    fn at(&self, transport: &str, name: &str) -> String {
        format!("{transport}:{}", self.path(name).display())
    }

    /// The layout itself.
    fn oci(&self) -> String {
        self.at("oci", "layout")
    }

    /// Copies the image with skopeo, and more with `flags`. Left to itself it would compress the
    /// layer that isn't.
    fn copy_to(&self, target: &str, flags: &[&str]) {
        let source = format!("{}:latest", self.oci());
        let keep: &[&str] = match target.split_once(':').unwrap().0 {
            "oci-archive" | "dir" => &["--preserve-digests"],
            _ => &[],
        };
        skopeo(&[&["copy"], keep, flags, &[&source, target]].concat());
    }
}

fn skopeo(arguments: &[&str]) -> String {
    let output = tool("skopeo", &[&["--insecure-policy"], arguments].concat());
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "skopeo {arguments:?}: {text}");
    text
}

/// Layers with all that a tar can say, stored in every way; the third is the first once more.
fn layers(architecture: &str) -> Layers {
    let long = format!("d/{}", "n".repeat(180));
    let first = archive(
        &[
            Item::dir("d"),
            Item::file("d/file", architecture.repeat(1000)).owner(1000, 5_000_000),
            Item::file("d/empty", ""),
            Item::file(b"d/not-utf8-\xff", "x").mode(0o4755),
            Item::file(&long, "long name").mtime(-5, 250_000_000),
            Item::link("d/hard", "d/file"),
            Item::symlink("d/soft", "/etc/passwd"),
            Item::file("big", vec![7; 300_000]).xattr("user.a", "b"),
            Item::new("d/null", Kind::Char(1, 3)),
            Item::new("d/fifo", Kind::Fifo),
        ],
        Dialect::Pax,
    );
    let second = archive(
        &[
            Item::file("d/.wh.empty", ""),
            Item::file(&long, "replaced"),
            Item::dir("opaque"),
            Item::file("opaque/.wh..wh..opq", ""),
            // Through a symlink of this layer's own.
            Item::dir("real"),
            Item::symlink("through", "real"),
            Item::file("through/file", "in real"),
        ],
        Dialect::Gnu,
    );
    vec![
        (first.clone(), Compression::Gzip),
        (second, Compression::Zstd),
        (first, Compression::Gzip),
        (
            archive(&[Item::file("last", "x")], Dialect::Pax),
            Compression::None,
        ),
    ]
}

fn amd64() -> Platform {
    Platform::default()
}

/// Sources that know nothing of the user who runs the tests.
fn sources() -> LocalSources {
    LocalSources::new(Scratch::default(), Environment::new([], 0, "/nowhere"))
}

fn image(source: &str, platform: &Platform) -> (Arc<dyn Source>, Image) {
    let opened = sources().open(source).unwrap();
    let image = opened.image(platform);
    let image = image.unwrap_or_else(|error| panic!("{source}: {error}"));
    (opened, image)
}

/// What the source is refused for.
fn refusal(source: &str) -> (String, String) {
    let error = sources()
        .open(source)
        .and_then(|opened| opened.image(&amd64()))
        .expect_err(source);
    (error.to_string(), error.hint().unwrap_or_default())
}

/// The image's layers, all converted.
fn converted(source: &Arc<dyn Source>, image: &Image) -> BTreeMap<Digest, Arc<ConvertedLayer>> {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let layers = image.layers.iter();
    let requests: Vec<_> = layers
        .map(|layer| Request {
            layer: layer.clone(),
            source: Arc::clone(source),
        })
        .collect();
    let options = ConvertOptions::default();
    convert(&cache, &requests, &options, 2, None, &Silent).unwrap()
}

/// Asserts that `other` is the image of `first`, layer by layer; the manifest's digest too where
/// the transport keeps the manifest.
fn assert_same(first: &str, other: &str, platform: &Platform, keeps_manifest: bool) {
    let (first_source, first_image) = image(first, platform);
    let (other_source, other_image) = image(other, platform);
    if keeps_manifest {
        assert_eq!(first_image.manifest, other_image.manifest, "{other}");
    }
    let config = |image: &Image| image.config_document.digest;
    assert_eq!(config(&first_image), config(&other_image), "{other}");
    let diff_ids = |image: &Image| -> Vec<_> {
        let layers = image.layers.iter();
        layers.map(|layer| layer.diff_id).collect()
    };
    assert_eq!(diff_ids(&first_image), diff_ids(&other_image), "{other}");
    let first_layers = converted(&first_source, &first_image);
    let other_layers = converted(&other_source, &other_image);
    assert_eq!(first_layers.len(), 3);
    for (diff_id, layer) in &first_layers {
        let same = &other_layers[diff_id];
        assert_eq!(layer.entries, same.entries, "{other}");
        assert_eq!(layer.slab_digests, same.slab_digests, "{other}");
        assert_eq!(layer.tar_len, same.tar_len, "{other}");
    }
}

#[test]
fn a_folder_of_skopeos() {
    let sample = Sample::new();
    let target = sample.at("dir", "one");
    sample.copy_to(&target, &[]);
    assert_same(&sample.oci(), &target, &amd64(), true);
    // With all platforms, the index is the folder's manifest.
    let target = sample.at("dir", "all");
    sample.copy_to(&target, &["--all"]);
    let arm64 = "linux/arm64".parse().unwrap();
    for platform in [&amd64(), &arm64] {
        assert_same(&sample.oci(), &target, platform, true);
    }
    let (_, both) = image(&target, &amd64());
    let (_, layout) = image(&sample.oci(), &amd64());
    assert_eq!(both.index, layout.index);
    assert!(both.index.is_some());
}

#[test]
fn a_folder_that_is_none_of_skopeos() {
    let sample = Sample::new();
    let (error, hint) = refusal(&sample.at("dir", "layout"));
    assert!(error.contains("manifest.json: No such file"), "{error}");
    assert!(hint.contains("oci:DIR"), "{hint}");
    sample.copy_to(&sample.at("dir", "one"), &[]);
    std::fs::write(
        sample.path("one/version"),
        "Directory Transport Version: 2.0\n",
    )
    .unwrap();
    let (error, _) = refusal(&sample.at("dir", "one"));
    assert!(
        error.contains("version is \"Directory Transport Version: 2.0\""),
        "{error}"
    );
    std::fs::remove_file(sample.path("one/version")).unwrap();
    image(&sample.at("dir", "one"), &amd64());
    // A config that was changed, and one that is gone.
    let (_, read) = image(&sample.at("dir", "one"), &amd64());
    let config = sample.path("one").join(read.config_document.digest.hex());
    std::fs::write(&config, [&read.config_document.bytes[..], b" "].concat()).unwrap();
    let (error, _) = refusal(&sample.at("dir", "one"));
    assert!(error.contains("check config"), "{error}");
    std::fs::remove_file(&config).unwrap();
    let (error, _) = refusal(&sample.at("dir", "one"));
    assert!(error.contains("No such file"), "{error}");
}

#[test]
fn every_transport_says_what_is_wrong_with_a_reference() {
    for bad in [
        "oci-archive:",
        "oci-archive::tag",
        "docker-archive:",
        "docker-archive:x:@y",
        "dir:",
        "containers-storage:",
        "containers-storage:[relative]x",
        "docker-daemon:",
        "docker-daemon:a/../b",
        "docker-daemon:a b",
        "docker-daemon:a?b",
    ] {
        let error = sources().open(bad).map(drop).expect_err(bad).to_string();
        assert!(error.starts_with("parse image reference"), "{error}");
    }
    let error = sources().open("nowhere:x").map(drop).unwrap_err();
    assert!(error.hint().unwrap().contains("docker-daemon:…"));
}

#[test]
fn a_build_from_a_compressed_archive_says_that_it_unpacks_it() {
    let sample = Sample::of_docker();
    sample.copy_to(&sample.at("docker-archive", "x.tar"), &[]);
    let (plain, path) = (sample.path("x.tar"), sample.path("x.tar.gz"));
    std::fs::write(&path, layout::gzip(&std::fs::read(plain).unwrap())).unwrap();
    let build = |more: &[&str]| {
        let output = i2kit()
            .args(["build", "--from", &sample.at("docker-archive", "x.tar.gz")])
            .args(["--base", &samples::base(), "-o"])
            .arg(sample.path("disk.raw"))
            .arg("--cache-dir")
            .arg(sample.path("cache"))
            .args(more)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{text}");
        text
    };
    let text = build(&[]);
    let told = format!("unpacking {}: gzip cannot be read in place", path.display());
    assert_eq!(text.matches(&told).count(), 1, "{text}");
    assert!(text.contains(": converted"), "{text}");
    assert_eq!(build(&["--quiet"]), "");
    // What was unpacked had no name, and left nothing.
    let names = std::fs::read_dir(sample.path("cache")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["v1"]);
    let inside = format!("{}:store/containers", sample.path("disk.raw").display());
    let list = i2kit().args(["ls", "-R", &inside]).output().unwrap();
    assert!(String::from_utf8_lossy(&list.stdout).contains("last"));
}

fn missing(path: &Path) -> String {
    format!("read {}: No such file", path.display())
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let path = Path::new("/nowhere/image.tar");
    for transport in ["oci-archive", "docker-archive"] {
        let (error, _) = refusal(&format!("{transport}:{}", path.display()));
        assert!(error.starts_with(&missing(path)), "{error}");
    }
}
