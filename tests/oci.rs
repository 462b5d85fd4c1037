//! Tests: from a reference to an image: indexes, platforms, what is no image.

use std::fs;
use std::path::{Path, PathBuf};

use i2kit::oci::{Error, Image, LocalSources};
use serde_json::{Value, json};

use crate::support::layout::{self, Compression};
use crate::support::tarball::{Dialect, Item, archive};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layout to fill.
struct Layout {
    folder: tempfile::TempDir,
}

impl Layout {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// An image for `architecture`, `note` in its config telling it from others.
    fn image(&self, architecture: &str, note: &str) -> Value {
        let tar = archive(&[Item::file("x", "x")], Dialect::Pax);
        let layers = layout::stored(&[(tar, Compression::Gzip)]);
        layout::put_image(self.path(), &layers, &json!({"User": note}), architecture)
    }

    /// As [`Self::image`], as an index' entry for `platform` (`OS/ARCHITECTURE[/VARIANT]`).
    fn entry(&self, platform: &str, note: &str) -> Value {
        let mut parts = platform.split('/');
        let (os, architecture) = (parts.next().unwrap(), parts.next().unwrap());
        let mut entry = self.image(architecture, note);
        entry["platform"] = json!({"os": os, "architecture": architecture});
        if let Some(variant) = parts.next() {
            entry["platform"]["variant"] = variant.into();
        }
        entry
    }

    fn put(&self, value: &Value, media_type: &str) -> Value {
        layout::put_json(self.path(), value, media_type)
    }

    fn index(&self, entries: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        self.put(&index, INDEX)
    }

    /// Makes `top` the layout's only image; answers what `platform` gets.
    fn resolve(&self, top: &Value, platform: &str) -> Result<Image, Error> {
        layout::write_index(self.path(), std::slice::from_ref(top));
        let source = LocalSources::default().open(&format!("oci:{}", self.path().display()))?;
        source.image(&platform.parse().unwrap())
    }

    /// The note of the image that `platform` gets.
    fn note(&self, top: &Value, platform: &str) -> String {
        let image = self.resolve(top, platform).unwrap();
        let config = image.config.config().clone().unwrap();
        config.user().clone().unwrap()
    }

    fn refusal(&self, top: &Value) -> String {
        self.resolve(top, "linux/amd64").unwrap_err().to_string()
    }

    fn blob(&self, descriptor: &Value) -> PathBuf {
        let name = descriptor["digest"].as_str().unwrap().replace(':', "/");
        self.path().join("blobs").join(name)
    }
}

#[test]
fn the_platform_that_serves_best_is_taken() {
    let layout = Layout::new();
    let index = layout.index(&[
        layout.entry("windows/amd64", "windows"),
        layout.entry("linux/arm/v5", "v5"),
        layout.entry("linux/arm/v7", "v7"),
        layout.entry("linux/386", "386"),
        layout.entry("linux/amd64/v2", "v2"),
        layout.entry("linux/amd64", "plain"),
        layout.entry("linux/arm64/v8", "arm64"),
    ]);
    for (platform, note) in [
        ("linux/amd64", "plain"),
        ("linux/amd64/v2", "v2"),
        ("linux/amd64/v3", "v2"),
        ("linux/386", "386"),
        ("linux/arm64", "arm64"),
        ("linux/arm/v7", "v7"),
        ("linux/arm/v6", "v5"),
        ("linux/arm/v8", "v7"),
        ("windows/amd64", "windows"),
    ] {
        assert_eq!(layout.note(&index, platform), note, "{platform}");
    }
    let image = layout.resolve(&index, "linux/amd64").unwrap();
    assert_eq!(
        image.index.unwrap().digest.to_string(),
        index["digest"].as_str().unwrap()
    );
}

#[test]
fn a_platform_that_is_not_there_is_told_with_those_that_are() {
    let layout = Layout::new();
    let index = layout.index(&[
        layout.entry("linux/arm64", "a"),
        layout.entry("linux/s390x", "b"),
    ]);
    let error = layout.resolve(&index, "linux/amd64").unwrap_err();
    let expected = format!(
        "find platform linux/amd64 in {}: only linux/arm64, linux/s390x",
        index["digest"].as_str().unwrap()
    );
    assert_eq!(error.to_string(), expected);
    let hint = error.hint().unwrap();
    assert_eq!(hint, "choose one with --platform linux/arm64 | linux/s390x");
    // A manifest alone, whose config says what it is for.
    let error = layout.refusal(&layout.image("s390x", "c"));
    assert!(error.ends_with("only linux/s390x"), "{error}");
}

#[test]
fn indexes_within_indexes() {
    let layout = Layout::new();
    let mut nested = layout.index(&[layout.entry("linux/amd64", "deep")]);
    for _ in 0..3 {
        nested = layout.index(&[nested]);
    }
    assert_eq!(layout.note(&nested, "linux/amd64"), "deep");
    let error = layout.refusal(&layout.index(&[nested]));
    assert!(error.contains("nested deeper than 4"), "{error}");
    // An index may be named for a platform as a manifest is.
    let mut inner = layout.index(&[layout.entry("linux/arm64", "inner")]);
    inner["platform"] = json!({"os": "linux", "architecture": "arm64"});
    let outer = layout.index(&[layout.entry("linux/amd64", "outer"), inner]);
    assert_eq!(layout.note(&outer, "linux/arm64"), "inner");
}

#[test]
fn entries_without_a_platform_are_looked_into() {
    let layout = Layout::new();
    let index = layout.index(&[layout.image("arm64", "a"), layout.image("amd64", "b")]);
    assert_eq!(layout.note(&index, "linux/amd64"), "b");
    assert_eq!(layout.note(&index, "linux/arm64"), "a");
    let error = layout
        .resolve(&index, "linux/s390x")
        .unwrap_err()
        .to_string();
    assert!(error.contains("only linux/amd64, linux/arm64"), "{error}");
    // A named one goes first, even when it stands later.
    let index = layout.index(&[
        layout.image("amd64", "unnamed"),
        layout.entry("linux/amd64", "named"),
    ]);
    assert_eq!(layout.note(&index, "linux/amd64"), "named");
    let many: Vec<_> = (0..40).map(|_| layout.image("arm64", "x")).collect();
    let error = layout.refusal(&layout.index(&many));
    assert!(
        error.contains("more than 32 entries that name no platform"),
        "{error}"
    );
}

#[test]
fn attestations_are_skipped() {
    let layout = Layout::new();
    // BuildKit's: for no platform, and with the annotation that says so.
    let mut attestation = layout.put(&json!({"schemaVersion": 2, "layers": []}), MANIFEST);
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": layout::sha256(b"x"),
    });
    let mut nameless = attestation.clone();
    nameless.as_object_mut().unwrap().remove("platform");
    let entry = layout.entry("linux/arm64", "image");
    let index = layout.index(&[attestation.clone(), nameless, entry]);
    assert_eq!(layout.note(&index, "linux/arm64"), "image");
    let error = layout.refusal(&index);
    assert!(error.ends_with("only linux/arm64"), "{error}");
}

/// A manifest with `change` made to it.
fn changed(layout: &Layout, change: impl FnOnce(&mut Value)) -> Value {
    let entry = layout.image("amd64", "x");
    let mut manifest: Value =
        serde_json::from_slice(&fs::read(layout.blob(&entry)).unwrap()).unwrap();
    change(&mut manifest);
    layout.put(&manifest, MANIFEST)
}

#[test]
fn artifacts_are_refused_by_name() {
    let layout = Layout::new();
    let chart = "application/vnd.cncf.helm.config.v1+json";
    let helm = changed(&layout, |manifest| {
        manifest["config"]["mediaType"] = chart.into()
    });
    let expected = format!(
        "read image {}: it is no container image but {chart}",
        helm["digest"].as_str().unwrap()
    );
    assert_eq!(layout.refusal(&helm), expected);
    let sbom = changed(&layout, |manifest| {
        manifest["artifactType"] = "application/spdx+json".into();
    });
    assert!(layout.refusal(&sbom).ends_with("but application/spdx+json"));
}

#[test]
fn layers_of_other_types_are_refused_by_name() {
    let layout = Layout::new();
    for media_type in [
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/vnd.oci.image.layer.v1.tar+encrypted",
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        "application/octet-stream",
    ] {
        let strange = changed(&layout, |manifest| {
            manifest["layers"][0]["mediaType"] = media_type.into();
        });
        let error = layout.refusal(&strange);
        assert!(
            error.ends_with(&format!("but a layer of type {media_type}")),
            "{error}"
        );
    }
    for media_type in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        LAYER,
    ] {
        let known = changed(&layout, |manifest| {
            manifest["layers"][0]["mediaType"] = media_type.into();
            manifest["layers"][0]["urls"] = json!(["https://example.com/x"]);
        });
        let image = layout.resolve(&known, "linux/amd64").unwrap();
        assert_eq!(image.layers[0].media_type, media_type);
        assert_eq!(image.layers[0].urls, ["https://example.com/x"]);
    }
}

#[test]
fn dockers_schema_2_is_read_and_schema_1_is_not() {
    let layout = Layout::new();
    let list = "application/vnd.docker.distribution.manifest.list.v2+json";
    let single = "application/vnd.docker.distribution.manifest.v2+json";
    let entry = layout.image("amd64", "docker");
    let mut manifest: Value =
        serde_json::from_slice(&fs::read(layout.blob(&entry)).unwrap()).unwrap();
    manifest["mediaType"] = single.into();
    manifest["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json".into();
    manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip".into();
    let mut entry = layout.put(&manifest, single);
    assert_eq!(layout.note(&entry, "linux/amd64"), "docker");
    entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let index = json!({"schemaVersion": 2, "mediaType": list, "manifests": [entry]});
    assert_eq!(
        layout.note(&layout.put(&index, list), "linux/amd64"),
        "docker"
    );
    // Some layouts name no true type: then the document tells.
    let untold = layout.put(&index, "application/octet-stream");
    assert_eq!(layout.note(&untold, "linux/amd64"), "docker");
    let old = json!({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": []});
    for media_type in [
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v1+json",
        MANIFEST,
    ] {
        let top = layout.put(&old, media_type);
        let error = layout.resolve(&top, "linux/amd64").unwrap_err();
        assert!(
            error.to_string().ends_with("schema 1 is not supported"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("v2s2"));
    }
}

#[test]
fn documents_that_are_not_what_names_them() {
    let layout = Layout::new();
    let entry = layout.image("amd64", "x");
    let bytes = fs::read(layout.blob(&entry)).unwrap();
    let mut other = bytes.clone();
    other[10] ^= 1;
    fs::write(layout.blob(&entry), &other).unwrap();
    let error = layout.refusal(&entry);
    assert!(
        error.contains("check manifest") && error.contains("its bytes are"),
        "{error}"
    );
    fs::write(layout.blob(&entry), &bytes[1..]).unwrap();
    assert!(layout.refusal(&entry).contains("bytes where"));
    fs::remove_file(layout.blob(&entry)).unwrap();
    assert!(layout.refusal(&entry).contains("it is not there"));
    fs::write(layout.blob(&entry), &bytes).unwrap();
    layout.resolve(&entry, "linux/amd64").unwrap();
    for nonsense in [json!([]), json!({"schemaVersion": 2}), json!("x")] {
        let top = layout.put(&nonsense, MANIFEST);
        assert!(
            layout.refusal(&top).starts_with("parse manifest"),
            "{nonsense}"
        );
    }
    let broken = layout::put(layout.path(), b"{", MANIFEST);
    assert!(layout.refusal(&broken).starts_with("parse manifest"));
}

#[test]
fn a_document_has_its_limit() {
    let layout = Layout::new();
    let mut large = layout.image("amd64", "x");
    large["size"] = (9 << 20).into();
    let error = layout.refusal(&large);
    assert!(
        error.contains("9437184 bytes, more than 8388608 for a document"),
        "{error}"
    );
    // A size that lies does not make it read more than that either.
    let padding = " ".repeat(9 << 20);
    let mut lying = layout::put(layout.path(), padding.as_bytes(), MANIFEST);
    lying["size"] = 100.into();
    let error = layout.refusal(&lying);
    assert!(error.contains("larger than 8388608 bytes"), "{error}");
    let config = layout::put(layout.path(), padding.as_bytes(), CONFIG);
    let top = changed(&layout, |manifest| manifest["config"] = config);
    assert!(layout.refusal(&top).contains("check config"));
    fs::write(layout.path().join("index.json"), padding).unwrap();
    let source = LocalSources::default()
        .open(&format!("oci:{}", layout.path().display()))
        .unwrap();
    let error = source
        .image(&"linux/amd64".parse().unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("index.json: larger than 8388608 bytes"),
        "{error}"
    );
}

#[test]
fn digests_that_cannot_be_checked_are_refused() {
    let layout = Layout::new();
    let sha512 = format!("sha512:{}", "0".repeat(128));
    for digest in [sha512.as_str(), "blake3:0123", "sha256:0123"] {
        let mut top = layout.image("amd64", "x");
        top["digest"] = digest.into();
        assert!(layout.refusal(&top).starts_with("parse "), "{digest}");
        let top = changed(&layout, |manifest| {
            manifest["config"]["digest"] = digest.into()
        });
        assert!(layout.refusal(&top).starts_with("parse "), "{digest}");
        let top = changed(&layout, |manifest| {
            manifest["layers"][0]["digest"] = digest.into()
        });
        assert!(layout.refusal(&top).starts_with("parse "), "{digest}");
    }
    let mut top = layout.image("amd64", "x");
    top["digest"] = sha512.as_str().into();
    let error = layout.refusal(&top);
    assert!(
        error.contains("sha512:00") && error.contains("not sha256"),
        "{error}"
    );
}

#[test]
fn layers_and_diff_ids_must_pair() {
    let layout = Layout::new();
    let twice = changed(&layout, |manifest| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"].as_array_mut().unwrap().push(layer);
    });
    let error = layout.refusal(&twice);
    assert!(
        error.ends_with("2 layers, but 1 diff_ids in the config"),
        "{error}"
    );
    let none = changed(&layout, |manifest| manifest["layers"] = json!([]));
    assert!(
        layout
            .refusal(&none)
            .ends_with("0 layers, but 1 diff_ids in the config")
    );
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": ["md5:00"]},
    });
    let config = layout.put(&config, CONFIG);
    let odd = changed(&layout, |manifest| manifest["config"] = config);
    assert!(layout.refusal(&odd).contains("diff_id: digest \"md5:00\""));
}
