//! What lies in a repository, in memory: written as an OCI layout for us and pushed to a registry
//! for skopeo, the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::layout::{gzip, sha256};
use crate::support::tarball::{Dialect, Item, archive};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A manifest or an index, with its tag.
pub struct Stored {
    pub tag: Option<String>,
    pub media_type: String,
    pub bytes: Vec<u8>,
}

#[derive(Default)]
pub struct Contents {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub manifests: Vec<Stored>,
}

impl Contents {
    /// One image, tagged `tag` unless it is none; answers its manifest's descriptor.
    pub fn image(&mut self, tag: Option<&str>, architecture: &str) -> Value {
        let tar = archive(&[Item::file("f", architecture)], Dialect::Pax);
        let layer_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        let layer = self.blob(&gzip(&tar), layer_type);
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [sha256(&tar)]},
        });
        let config = self.blob(config.to_string().as_bytes(), CONFIG);
        self.manifest(tag, &json!({"config": config, "layers": [layer]}))
    }

    /// Stores a blob; answers its descriptor.
    pub fn blob(&mut self, bytes: &[u8], media_type: &str) -> Value {
        let digest = sha256(bytes);
        self.blobs.insert(digest.clone(), bytes.to_vec());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Stores a manifest with those fields; answers its descriptor.
    pub fn manifest(&mut self, tag: Option<&str>, fields: &Value) -> Value {
        self.document(tag, MANIFEST, fields)
    }

    pub fn index(&mut self, tag: Option<&str>, manifests: &[Value]) -> Value {
        self.document(tag, INDEX, &json!({"manifests": manifests}))
    }

    fn document(&mut self, tag: Option<&str>, media_type: &str, fields: &Value) -> Value {
        let mut document = json!({"schemaVersion": 2, "mediaType": media_type});
        for (name, value) in fields.as_object().unwrap() {
            document[name] = value.clone();
        }
        let bytes = document.to_string().into_bytes();
        let descriptor =
            json!({"mediaType": media_type, "digest": sha256(&bytes), "size": bytes.len()});
        self.manifests.push(Stored {
            tag: tag.map(str::to_owned),
            media_type: media_type.to_owned(),
            bytes,
        });
        descriptor
    }

    /// A manifest whose layers are signatures, as cosign writes it.
    pub fn signatures(&mut self, tag: Option<&str>, layers: &[Value], more: &Value) -> Value {
        let config = json!({
            "architecture": "",
            "created": "0001-01-01T00:00:00Z",
            "history": [],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": []},
            "config": {},
        });
        let config = self.blob(config.to_string().as_bytes(), CONFIG);
        let mut fields = json!({"config": config, "layers": layers});
        for (name, value) in more.as_object().unwrap() {
            fields[name] = value.clone();
        }
        self.manifest(tag, &fields)
    }

    /// Writes all into an OCI layout; what has no tag lies among the blobs, and in the index only
    /// where it refers to something.
    pub fn write(&self, folder: &Path) {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let put = |bytes: &[u8]| {
            let digest = sha256(bytes);
            fs::write(blobs.join(digest.strip_prefix("sha256:").unwrap()), bytes).unwrap();
            digest
        };
        for (digest, bytes) in &self.blobs {
            assert_eq!(put(bytes), *digest);
        }
        let mut entries = Vec::new();
        for stored in &self.manifests {
            let mut entry = json!({
                "mediaType": stored.media_type,
                "digest": put(&stored.bytes),
                "size": stored.bytes.len(),
            });
            if let Some(tag) = &stored.tag {
                entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
            }
            let parsed: Value = serde_json::from_slice(&stored.bytes).unwrap();
            if stored.tag.is_some() || parsed.get("subject").is_some() {
                entries.push(entry);
            }
        }
        let index = json!({"schemaVersion": 2, "manifests": entries});
        fs::write(folder.join("index.json"), index.to_string()).unwrap();
        let layout = r#"{"imageLayoutVersion":"1.0.0"}"#;
        fs::write(folder.join("oci-layout"), layout).unwrap();
    }
}
