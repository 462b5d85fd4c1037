//! OCI layouts made for a test.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// How a layer's tar is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// The image's name once containerd has imported it.
pub const CONTAINERD_NAME: &str = "test.local/image:latest";

pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A layout whose only image is tagged `latest`; `config` is the image's `config` object.
pub fn write(folder: &Path, layers: &[(Vec<u8>, Compression)], config: &Value) {
    write_blobs(folder, &stored(layers), config);
}

/// Layers as they are stored: bytes, the media type's suffix, diffID.
pub fn stored(layers: &[(Vec<u8>, Compression)]) -> Vec<(Vec<u8>, &'static str, String)> {
    layers
        .iter()
        .map(|(tar, compression)| match compression {
            Compression::None => (tar.clone(), "", sha256(tar)),
            Compression::Gzip => (gzip(tar), "+gzip", sha256(tar)),
            Compression::Zstd => (zstd::encode_all(&tar[..], 1).unwrap(), "+zstd", sha256(tar)),
        })
        .collect()
}

/// As [`write`], of layers as they are stored: bytes, the media type's suffix, diffID.
pub fn write_blobs(folder: &Path, layers: &[(Vec<u8>, &str, String)], config: &Value) {
    let mut manifest = put_image(folder, layers, config, "amd64");
    manifest["annotations"] = json!({
        "org.opencontainers.image.ref.name": "latest",
        "io.containerd.image.name": CONTAINERD_NAME,
    });
    write_index(folder, &[manifest]);
}

/// Stores an image's blobs; answers its manifest's descriptor.
pub fn put_image(
    folder: &Path,
    layers: &[(Vec<u8>, &str, String)],
    config: &Value,
    architecture: &str,
) -> Value {
    let descriptors: Vec<_> = layers
        .iter()
        .map(|(blob, suffix, _)| {
            let media_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
            put(folder, blob, &media_type)
        })
        .collect();
    let diff_ids: Vec<_> = layers.iter().map(|(_, _, diff_id)| diff_id).collect();
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = put_json(folder, &config, "application/vnd.oci.image.config.v1+json");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config,
        "layers": descriptors,
    });
    put_json(folder, &manifest, media_type)
}

/// Makes the folder a layout with these entries.
pub fn write_index(folder: &Path, entries: &[Value]) {
    let index = json!({"schemaVersion": 2, "manifests": entries});
    fs::write(folder.join("index.json"), index.to_string()).unwrap();
    fs::write(
        folder.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
}

/// Stores a document; answers its descriptor.
pub fn put_json(folder: &Path, value: &Value, media_type: &str) -> Value {
    put(folder, value.to_string().as_bytes(), media_type)
}

/// Stores a blob; answers its descriptor.
pub fn put(folder: &Path, bytes: &[u8], media_type: &str) -> Value {
    let digest = sha256(bytes);
    let name = digest.strip_prefix("sha256:").unwrap();
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(name), bytes).unwrap();
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

/// The layout at `from` as another one, with a change to its only image's config.
pub fn with_config(from: &Path, to: &Path, change: impl FnOnce(&mut Value)) {
    super::output_of("cp", &["-r", from.to_str().unwrap(), to.to_str().unwrap()]);
    let mut index: Value =
        serde_json::from_slice(&fs::read(from.join("index.json")).unwrap()).unwrap();
    let manifest = get_json(from, &index["manifests"][0]);
    let mut config = get_json(from, &manifest["config"]);
    change(&mut config["config"]);
    replace(to, &mut index, manifest, &config);
}

/// The layout at `from` as another one, whose only image has one more layer.
pub fn with_layer(from: &Path, to: &Path, tar: &[u8]) {
    super::output_of("cp", &["-r", from.to_str().unwrap(), to.to_str().unwrap()]);
    let mut index: Value =
        serde_json::from_slice(&fs::read(from.join("index.json")).unwrap()).unwrap();
    let mut manifest = get_json(from, &index["manifests"][0]);
    let mut config = get_json(from, &manifest["config"]);
    let push = |list: &mut Value, item| list.as_array_mut().unwrap().push(item);
    push(&mut config["rootfs"]["diff_ids"], sha256(tar).into());
    let layer = put(to, tar, "application/vnd.oci.image.layer.v1.tar");
    push(&mut manifest["layers"], layer);
    replace(to, &mut index, manifest, &config);
}

/// Makes the layout's only image this one.
fn replace(to: &Path, index: &mut Value, mut manifest: Value, config: &Value) {
    let media_type = |value: &Value| value["mediaType"].as_str().unwrap().to_owned();
    manifest["config"] = put_json(to, config, &media_type(&manifest["config"]));
    let put = put_json(to, &manifest, &media_type(&index["manifests"][0]));
    for field in ["digest", "size"] {
        index["manifests"][0][field] = put[field].clone();
    }
    fs::write(to.join("index.json"), index.to_string()).unwrap();
}

/// The diffIDs of the layout's only image, lowest first.
pub fn diff_ids(folder: &Path) -> Vec<String> {
    let index: Value =
        serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    let manifest = get_json(folder, &index["manifests"][0]);
    let config = get_json(folder, &manifest["config"]);
    serde_json::from_value(config["rootfs"]["diff_ids"].clone()).unwrap()
}

fn get_json(folder: &Path, descriptor: &Value) -> Value {
    let name = descriptor["digest"].as_str().unwrap().replace(':', "/");
    serde_json::from_slice(&fs::read(folder.join("blobs").join(name)).unwrap()).unwrap()
}
