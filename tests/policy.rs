//! Tests: policies and signatures.

mod contents;
mod signer;
mod skopeo;
mod verdicts;

use i2kit::oci::policy::{Accepted, Error, Policy, Refusal, Verdict};
use i2kit::oci::signature::Unsigned;
use i2kit::oci::{Image, LayoutSource, Platform, Source};
use serde_json::{Value, json};

use contents::Contents;
use signer::{Pair, Scheme, bundle, layer, payload, refer, statement, tag};
use skopeo::Registry;

const LATEST: &str = "latest";

/// A layout and the image `latest` in it.
struct Layout {
    folder: tempfile::TempDir,
    source: LayoutSource,
    image: Image,
}

impl Layout {
    fn new(contents: &Contents) -> Self {
        let folder = tempfile::tempdir().unwrap();
        contents.write(folder.path());
        let reference = format!("{}:{LATEST}", folder.path().display());
        let source = LayoutSource::new(reference.parse().unwrap());
        let image = source.image(&Platform::default()).unwrap();
        Self {
            folder,
            source,
            image,
        }
    }

    fn check(&self, policy: &str, reference: &str) -> Result<Verdict, Error> {
        let policy = Policy::parse("test.json", policy.as_bytes())?;
        policy.check("docker", reference, &self.image, &self.source)
    }
}

fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

/// A policy whose default is one requirement.
fn requires(requirement: &Value) -> String {
    json!({"default": [requirement]}).to_string()
}

fn signed_by(pair: &Pair, identity: &str) -> Value {
    json!({"type": "sigstoreSigned", "keyPath": pair.public(), "signedIdentity": {"type": identity}})
}

/// An image with a signature by `pair` under its tag, of the name `reference`.
fn signed_image(pair: &Pair, reference: &str) -> Contents {
    let mut contents = Contents::default();
    let image = contents.image(Some(LATEST), "amd64");
    let payload = payload(reference, digest(&image));
    let signature = pair.sign_base64(payload.as_bytes());
    let layer = layer(&mut contents, &payload, &signature);
    contents.signatures(Some(&tag(digest(&image))), &[layer], &json!({}));
    contents
}
