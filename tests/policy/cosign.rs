//! Signatures that cosign makes, live and kept, and the bundles of another library.

use std::path::Path;
use std::process::Command;

use i2kit::oci::policy::{Accepted, Verdict};
use i2kit::oci::signature::Signatures;
use i2kit::oci::{Digest, Error, LayoutSource, Platform, Source};
use oci_spec::image::{Descriptor, ImageIndex};
use serde_json::{Value, json};

use super::contents::{Contents, INDEX, MANIFEST, Stored};
use super::skopeo::Registry;
use super::{LATEST, Layout, digest, refused, requires};
use crate::support::layout::sha256;
use crate::support::samples;

/// A repository of the registry, asked over HTTP.
struct Repository<'a>(&'a Registry, &'a str);

impl Repository<'_> {
    fn get(&self, path: &str) -> Option<Vec<u8>> {
        let path = format!("{}/{path}", self.1);
        let answer = self.0.request("GET", &path, "text/plain", b"");
        match answer.status {
            200 => Some(answer.body),
            404 => None,
            other => panic!("GET {path}: {other}"),
        }
    }
}

impl Signatures for Repository<'_> {
    fn tagged(&self, tag: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.get(&format!("manifests/{tag}")))
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        // Debian 12's registry has no referrers API: the tag it is.
        assert_eq!(self.get(&format!("referrers/{subject}")), None);
        let list = self.get(&format!("manifests/sha256-{}", subject.hex()));
        let list = list.map(|list| serde_json::from_slice::<ImageIndex>(&list).unwrap());
        Ok(list
            .map(|list| list.manifests().clone())
            .unwrap_or_default())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        Ok(self
            .get(&format!("manifests/{}", descriptor.digest()))
            .unwrap())
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        Ok(self.get(&format!("blobs/{}", descriptor.digest())).unwrap())
    }
}

/// cosign with a key of its own.
struct Cosign {
    home: tempfile::TempDir,
}

impl Cosign {
    fn new() -> Self {
        let cosign = Self {
            home: tempfile::tempdir().unwrap(),
        };
        cosign.run(&["generate-key-pair"]);
        cosign
    }

    fn key(&self) -> String {
        self.home.path().join("cosign.pub").display().to_string()
    }

    fn run(&self, arguments: &[&str]) {
        let output = Command::new(samples::oracle("cosign"))
            .args(arguments)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env("COSIGN_PASSWORD", "")
            .env("COSIGN_EXPERIMENTAL", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cosign {arguments:?}: {text}");
    }

    fn sign(&self, image: &str, more: &[&str]) {
        let sign = ["sign", "--yes", "--key=cosign.key", "--tlog-upload=false"];
        let sign = [&sign[..], &["--allow-http-registry"], more, &[image]].concat();
        self.run(&sign);
    }

    /// A policy that wants this key and the image's repository.
    fn policy(&self, identity: &str) -> String {
        requires(&json!({
            "type": "sigstoreSigned",
            "keyPath": self.key(),
            "signedIdentity": {"type": identity},
        }))
    }
}

fn place(verdict: &Verdict) -> (&str, Digest) {
    match verdict.accepted.as_slice() {
        [Accepted::Signature { place, signed, .. }] => (place, *signed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn cosign_signs_under_a_tag() {
    let (registry, cosign) = (Registry::start(), Cosign::new());
    let mut contents = Contents::default();
    let image = contents.image(Some(LATEST), "amd64");
    registry.push("ns/app", &contents);
    let layout = Layout::new(&contents);
    let name = format!("{}/ns/app:latest", registry.host);
    let repository = Repository(&registry, "ns/app");
    let check = |policy: &str| layout.check_with(policy, &name, &repository);

    let error = refused(check(&cosign.policy("matchRepository")));
    assert!(error.contains("no signature; one by "), "{error}");
    cosign.sign(&format!("{}/ns/app@{}", registry.host, digest(&image)), &[]);
    let verdict = check(&cosign.policy("matchRepository")).unwrap();
    let tag = format!("tag {}, layer 0", super::tag(digest(&image)));
    assert_eq!(
        place(&verdict),
        (tag.as_str(), layout.image.manifest.digest)
    );
    assert!(check(&cosign.policy("matchRepoDigestOrExact")).is_err());
    assert!(check(&Cosign::new().policy("matchRepository")).is_err());
}

#[test]
fn cosign_signs_as_a_referrer() {
    let (registry, cosign) = (Registry::start(), Cosign::new());
    let mut contents = Contents::default();
    let image = contents.image(Some(LATEST), "amd64");
    registry.push("ns/app", &contents);
    let layout = Layout::new(&contents);
    let image = format!("{}/ns/app@{}", registry.host, digest(&image));
    cosign.sign(&image, &["--registry-referrers-mode=oci-1-1"]);
    let repository = Repository(&registry, "ns/app");
    let policy = cosign.policy("matchRepository");
    let verdict = layout.check_with(&policy, &image, &repository).unwrap();
    assert!(
        place(&verdict).0.starts_with("referrer sha256:"),
        "{verdict:?}"
    );
    // Nothing lies under the tag of signatures.
    let tag = super::tag(&layout.image.manifest.digest.to_string());
    assert_eq!(repository.tagged(&tag).unwrap(), None);
}

/// Where we are wider than skopeo: cosign signs the index of an image for several platforms, and
/// nothing else.
#[test]
fn a_signature_of_the_index_covers_its_manifests() {
    let (registry, cosign) = (Registry::start(), Cosign::new());
    let mut contents = Contents::default();
    let mut manifests = [contents.image(None, "amd64"), contents.image(None, "arm64")];
    for (manifest, architecture) in manifests.iter_mut().zip(["amd64", "arm64"]) {
        manifest["platform"] = json!({"os": "linux", "architecture": architecture});
    }
    let index = contents.index(Some(LATEST), &manifests);
    registry.push("ns/app", &contents);
    let layout = Layout::new(&contents);
    let name = format!("{}/ns/app:latest", registry.host);
    let repository = Repository(&registry, "ns/app");
    let policy = cosign.policy("matchRepository");
    let of = |digest: &str| format!("{}/ns/app@{digest}", registry.host);

    cosign.sign(&of(digest(&index)), &[]);
    let verdict = layout.check_with(&policy, &name, &repository).unwrap();
    assert_eq!(place(&verdict).1.to_string(), digest(&index));
    let skopeo = registry.copy(&name, &policy).unwrap_err();
    assert!(skopeo.contains("no signature exists"), "{skopeo}");

    // Named by its own digest, no index leads to it.
    let own = of(digest(&manifests[0]));
    let mut alone = Layout::new(&contents);
    alone.image.index = None;
    assert!(alone.check_with(&policy, &own, &repository).is_err());

    cosign.sign(&own, &[]);
    let verdict = alone.check_with(&policy, &own, &repository).unwrap();
    assert_eq!(place(&verdict).1.to_string(), digest(&manifests[0]));
    assert_eq!(registry.copy(&name, &policy), Ok(()));
}

#[test]
fn cosign_saves_an_image_with_its_signatures() {
    let (registry, cosign) = (Registry::start(), Cosign::new());
    let mut contents = Contents::default();
    let image = contents.image(Some(LATEST), "amd64");
    registry.push("ns/app", &contents);
    let image_name = format!("{}/ns/app@{}", registry.host, digest(&image));
    cosign.sign(&image_name, &[]);
    let folder = cosign.home.path().join("saved");
    let folder = folder.display().to_string();
    cosign.run(&[
        "save",
        "--allow-http-registry",
        "--dir",
        &folder,
        &image_name,
    ]);
    let source = LayoutSource::new(format!("{folder}@{}", digest(&image)).parse().unwrap());
    let image = source.image(&Platform::default()).unwrap();
    let policy = cosign.policy("matchRepository");
    let policy = i2kit::oci::policy::Policy::parse("saved.json", policy.as_bytes()).unwrap();
    policy
        .check("docker", &image_name, &image, &source)
        .unwrap();
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/signatures");
    std::fs::read(folder.join(name)).unwrap()
}

fn fixture_key(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/signatures");
    folder.join(name).display().to_string()
}

fn fixture_image() -> Contents {
    let mut contents = Contents::default();
    contents.blob(&fixture("config.json"), "");
    contents.manifests.push(Stored {
        tag: Some(LATEST.to_owned()),
        media_type: MANIFEST.to_owned(),
        bytes: fixture("image.json"),
    });
    contents
}

fn wants(key: &str, identity: &Value) -> String {
    let key = fixture_key(key);
    requires(&json!({"type": "sigstoreSigned", "keyPath": key, "signedIdentity": identity}))
}

#[test]
fn cosign_3_signs_without_a_name() {
    let layout = Layout::new(&cosign_3());
    let check = |identity| layout.check(&wants("cosign3.pub", &identity), "h.example/app:1");

    let verdict = check(json!({"type": "matchDigest"})).unwrap();
    let place = place(&verdict).0;
    assert!(place.starts_with("referrer sha256:"), "{place}");
    let error = check(json!({"type": "matchRepository"})).unwrap_err();
    assert!(error.to_string().contains("it claims no name"), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("matchDigest"), "{hint}");
    let other = wants("js.pub", &json!({"type": "matchDigest"}));
    let error = refused(layout.check(&other, "h.example/app:1"));
    let expected = "made by none of the keys; it hints at key";
    assert!(error.contains(expected), "{error}");
}

/// The image, and what cosign 3 put beside it: the tagged index alone leads to the referrer, and
/// gives it an artifact type that it has not.
fn cosign_3() -> Contents {
    let mut contents = fixture_image();
    let image = sha256(&fixture("image.json"));
    contents.manifests.push(Stored {
        tag: Some(image.replace(':', "-")),
        media_type: INDEX.to_owned(),
        bytes: fixture("cosign3-referrers.json"),
    });
    contents.blob(&fixture("cosign3-referrer.json"), MANIFEST);
    contents.blob(&fixture("cosign3-bundle.json"), "");
    contents
}

#[test]
fn altered_documents_are_not_believed() {
    let policy = wants("cosign3.pub", &json!({"type": "matchDigest"}));
    for (name, from, to) in [
        ("cosign3-referrers.json", "877", "878"),
        ("cosign3-referrer.json", "dsse-envelope", "dsse_envelope"),
        ("cosign3-bundle.json", "hint", "tint"),
    ] {
        let layout = Layout::new(&cosign_3());
        let digest = sha256(&fixture(name));
        let blobs = layout.folder.path().join("blobs/sha256");
        let path = blobs.join(digest.strip_prefix("sha256:").unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let error = refused(layout.check(&policy, "h.example/app:1"));
        let expected = format!("{digest}: its bytes are sha256:");
        assert!(error.contains(&expected), "{name}: {error}");
    }
}

#[test]
fn bundles_of_another_library() {
    for (name, identity) in [
        ("js-dsse.json", json!({"type": "matchRepoDigestOrExact"})),
        ("js-dsse.json", json!({"type": "matchDigest"})),
        ("js-message.json", json!({"type": "matchDigest"})),
    ] {
        let mut contents = fixture_image();
        let image = contents.manifests[0].bytes.clone();
        let subject = json!({
            "mediaType": MANIFEST,
            "digest": sha256(&image),
            "size": image.len(),
        });
        let bundle: Value = serde_json::from_slice(&fixture(name)).unwrap();
        super::refer(&mut contents, &subject, &bundle);
        let layout = Layout::new(&contents);
        let check = |reference| layout.check(&wants("js.pub", &identity), reference);
        check("js.example/app:1").unwrap();
        let is_any = identity["type"] == "matchDigest";
        assert_eq!(check("js.example/app:2").is_ok(), is_any, "{name}");
        let other = wants("cosign3.pub", &identity);
        assert!(layout.check(&other, "js.example/app:1").is_err());
    }
}
