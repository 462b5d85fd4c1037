//! Manifests, indexes and configs that are not what they should be; and what refers to them.

use serde_json::Value;

use super::*;
use crate::support::layout::sha256;
use crate::support::registry::{Fault, Rule};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn put(registry: &Registry, tag: &str, document: &Value, kind: &str) -> String {
    registry.put_manifest(NAME, tag, kind, document.to_string().as_bytes())
}

fn fails(registry: &Registry) -> Error {
    let source = Desk::new().source(repository(registry));
    source.image(&Platform::default()).unwrap_err()
}

/// A registry with a small image.
fn shop() -> (tempfile::TempDir, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    registry.load(&image(folder.path(), &[1000]), NAME);
    (folder, registry)
}

#[test]
fn a_manifest_must_be_the_one_asked_for() {
    let (_folder, registry) = shop();
    let repository = repository(&registry);
    let desk = Desk::new();
    let good = desk.client.manifest(&repository, &tag("latest")).unwrap();
    assert_eq!(good.media_type, MANIFEST);
    let by_digest = Wanted::Digest(good.digest);
    assert_eq!(desk.client.manifest(&repository, &by_digest).unwrap(), good);
    registry.script([Rule::new("/manifests/", Fault::Corrupt(20))]);
    let error = desk.client.manifest(&repository, &by_digest).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("where {} should be", good.digest)),
        "{error}"
    );
    assert!(
        error.to_string().starts_with(&format!(
            "fetch manifest registry.test/team/app@{}: http://{}/v2/team/app/manifests/",
            good.digest,
            registry.host()
        )),
        "{error}"
    );
    // The registry's own word is held against a tag's bytes.
    let error = desk
        .client
        .manifest(&repository, &tag("latest"))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("where {} should be", good.digest)),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("other bytes"));
    let other = Fault::Header("Docker-Content-Digest", sha256(b"other"));
    registry.script([Rule::new("/manifests/", other)]);
    desk.client
        .manifest(&repository, &tag("latest"))
        .unwrap_err();
    // A digest of a kind that i2kit can't check says nothing.
    let strange = Fault::Header("Docker-Content-Digest", "sha512:00".to_owned());
    registry.script([Rule::new("/manifests/", strange)]);
    assert_eq!(
        desk.client.manifest(&repository, &tag("latest")).unwrap(),
        good
    );
}

#[test]
fn a_tag_can_be_looked_up_without_fetching() {
    let (_folder, registry) = shop();
    let repository = repository(&registry);
    let desk = Desk::new();
    let good = desk.client.manifest(&repository, &tag("latest")).unwrap();
    registry.forget();
    let found = desk.client.describe(&repository, &tag("latest")).unwrap();
    assert_eq!(found.digest().to_string(), good.digest.to_string());
    assert_eq!(found.size(), good.bytes.len() as u64);
    assert_eq!(found.media_type().to_string(), MANIFEST);
    let seen = registry.seen();
    assert!(
        seen.len() == 1 && seen[0].method == "HEAD" && seen[0].sent == 0,
        "{seen:?}"
    );
    let none = Fault::Header("Docker-Content-Digest", String::new());
    registry.script([Rule::new("/manifests/", none)]);
    let error = desk
        .client
        .describe(&repository, &tag("latest"))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("Docker-Content-Digest: not given"),
        "{error}"
    );
}

#[test]
fn what_is_not_there_is_told_with_a_hint() {
    let (_folder, registry) = shop();
    let desk = Desk::new();
    let error = desk
        .client
        .manifest(&repository(&registry), &tag("none"))
        .unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(
        error.to_string(),
        format!(
            "fetch manifest registry.test/team/app:none: http://{}/v2/team/app/manifests/none: \
             404 Not Found: MANIFEST_UNKNOWN: manifest unknown",
            registry.host()
        )
    );
    assert!(error.hint().unwrap().contains("check the name and the tag"));
}

#[test]
fn huge_manifests_are_not_read() {
    let (_folder, registry) = shop();
    for length in [Some(100 << 20), None] {
        registry.forget();
        registry.script([Rule::new("/manifests/", Fault::Endless(length))]);
        let error = fails(&registry);
        assert!(
            error.to_string().contains("more than 8388608 bytes"),
            "{error}"
        );
        // What waits in sockets apart.
        let sent = registry.seen()[0].sent;
        assert!(sent < 20 << 20, "{sent} bytes of {length:?}");
    }
}

#[test]
fn hostile_sizes_are_refused() {
    let (_folder, registry) = shop();
    let desk = Desk::new();
    let source = desk.source(repository(&registry));
    let good = source.image(&Platform::default()).unwrap();
    let manifest: Value = serde_json::from_slice(&good.manifest.bytes).unwrap();
    let size = good.manifest.bytes.len();
    for (wrong, expected) in [
        (json!(u64::MAX), "more than 8388608 for a document"),
        (json!(100 << 20), "more than 8388608 for a document"),
        (json!(size + 1), "should be"),
        (json!(0), "should be"),
        (json!(-1), "parse index"),
        (json!(1e30), "parse index"),
    ] {
        let entry = json!({"mediaType": MANIFEST, "digest": good.manifest.digest.to_string(),
            "size": wrong, "platform": {"os": "linux", "architecture": "amd64"}});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
        put(&registry, "latest", &index, INDEX);
        let error = fails(&registry).to_string();
        assert!(error.contains(expected), "{wrong}: {error}");
    }
    for wrong in [
        json!(u64::MAX),
        json!(3),
        json!(manifest["config"]["size"].as_u64().unwrap() + 1),
    ] {
        let mut manifest = manifest.clone();
        manifest["config"]["size"] = wrong.clone();
        put(&registry, "latest", &manifest, MANIFEST);
        fails(&registry);
    }
    // A layer's size is believed until the registry says another.
    let mut manifest = manifest.clone();
    manifest["layers"][0]["size"] = json!(i64::MAX);
    put(&registry, "latest", &manifest, MANIFEST);
    let folder = tempfile::tempdir().unwrap();
    let error = convert(Arc::new(source), folder.path()).unwrap_err();
    assert!(
        error.contains("bytes where 9223372036854775807 should be"),
        "{error}"
    );
}

#[test]
fn ten_thousand_layers_are_only_many() {
    let registry = Registry::start();
    let digest = |number: usize| sha256(&number.to_le_bytes());
    let diff_ids: Vec<_> = (0..10_000).map(digest).collect();
    let config = json!({"architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = config.to_string();
    let config_digest = registry.put_blob(config.clone());
    let layers: Vec<_> = (0..10_000)
        .map(|number| json!({"mediaType": LAYER, "digest": digest(number), "size": 1}))
        .collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
        "config": {"mediaType": CONFIG, "digest": config_digest, "size": config.len()}});
    put(&registry, "latest", &manifest, MANIFEST);
    let source = Desk::new().source(repository(&registry));
    assert_eq!(
        source.image(&Platform::default()).unwrap().layers.len(),
        10_000
    );
}

#[test]
fn digests_of_other_kinds_are_refused_by_name() {
    let (_folder, registry) = shop();
    let source = Desk::new().source(repository(&registry));
    let good = source.image(&Platform::default()).unwrap();
    let manifest: Value = serde_json::from_slice(&good.manifest.bytes).unwrap();
    for strange in [
        format!("sha512:{}", "a".repeat(128)),
        format!("md5:{}", "a".repeat(32)),
        "sha256:../../../etc/passwd".to_owned(),
    ] {
        for part in ["config", "layers"] {
            let mut manifest = manifest.clone();
            match part {
                "config" => manifest["config"]["digest"] = strange.clone().into(),
                _ => manifest["layers"][0]["digest"] = strange.clone().into(),
            }
            put(&registry, "latest", &manifest, MANIFEST);
            let error = fails(&registry).to_string();
            assert!(error.starts_with("parse "), "{error}");
        }
    }
}

#[test]
fn an_index_served_as_a_manifest_is_a_trick() {
    let (_folder, registry) = shop();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    put(&registry, "latest", &index, MANIFEST);
    let error = fails(&registry).to_string();
    assert!(error.contains("index.v1+json served as"), "{error}");
}

#[test]
fn documents_survive_what_blobs_survive() {
    let (_folder, registry) = shop();
    registry.script([
        Rule::new("/manifests/", Fault::Cut(50)).times(1),
        Rule::new("/manifests/", Fault::Length(7)).times(1),
        Rule::new("/manifests/", Fault::Stall(5)).times(1),
        Rule::new("/blobs/", Fault::Cut(50)).times(1),
        Rule::new("/blobs/", Fault::Drop).times(1),
    ]);
    let source = Desk::new().source(repository(&registry));
    source.image(&Platform::default()).unwrap();
}

fn signature(registry: &Registry, tag: &str, subject: &str, kind: &str) -> String {
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": 1}, "tag": tag,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"),
            "size": 2}, "layers": []});
    put(registry, tag, &manifest, MANIFEST)
}

fn digests(found: &[oci_spec::image::Descriptor]) -> Vec<String> {
    let mut digests: Vec<_> = found.iter().map(|one| one.digest().to_string()).collect();
    digests.sort();
    digests
}

#[test]
fn referrers_over_several_pages_and_by_type() {
    let registry = Registry::start();
    let subject = sha256(b"subject");
    let of = |number: usize| {
        let kind = ["application/x.a", "application/x.b"][number % 2];
        signature(&registry, &format!("s{number}"), &subject, kind)
    };
    let mut all: Vec<_> = (0..5).map(of).collect();
    signature(&registry, "other", &sha256(b"another"), "application/x.a");
    let mut some = vec![all[1].clone(), all[3].clone()];
    all.sort();
    some.sort();
    let desk = Desk::new();
    let list = |kind: Option<&str>| {
        let subject = subject.parse().unwrap();
        let found = desk
            .client
            .referrers(&repository(&registry), &subject, kind);
        digests(&found.unwrap())
    };
    assert_eq!(list(None), all);
    assert_eq!(list(Some("application/x.b")), some);
    assert!(list(Some("application/x.c")).is_empty());
    let seen = registry.seen();
    let asked = seen
        .iter()
        .find(|one| one.path.contains("artifactType"))
        .unwrap();
    assert!(
        asked.path.ends_with("?artifactType=application/x.b"),
        "{}",
        asked.path
    );
    // Another host gets no say in it.
    let elsewhere = Fault::Header("Link", "<http://127.0.0.1:1/x>; rel=\"next\"".to_owned());
    registry.script([Rule::new("/referrers/", elsewhere)]);
    let subject = subject.parse().unwrap();
    let error = desk
        .client
        .referrers(&repository(&registry), &subject, None)
        .unwrap_err();
    assert!(
        error.to_string().contains("Link: not of this registry"),
        "{error}"
    );
}

#[test]
fn referrers_by_tag_where_there_is_no_list() {
    let registry = Registry::start();
    registry.without_referrers();
    let subject: Digest = sha256(b"subject").parse().unwrap();
    let desk = Desk::new();
    let list = |kind| {
        desk.client
            .referrers(&repository(&registry), &subject, kind)
    };
    assert!(list(None).unwrap().is_empty());
    let entry = |kind: &str| {
        json!({"mediaType": MANIFEST, "digest": sha256(kind.as_bytes()),
        "size": 1, "artifactType": kind})
    };
    let index = json!({"schemaVersion": 2, "mediaType": INDEX,
        "manifests": [entry("application/x.a"), entry("application/x.b")]});
    put(
        &registry,
        &subject.to_string().replace(':', "-"),
        &index,
        INDEX,
    );
    assert_eq!(list(None).unwrap().len(), 2);
    let found = list(Some("application/x.b")).unwrap();
    assert_eq!(digests(&found), [sha256(b"application/x.b")]);
    registry.script([Rule::new("/manifests/", Fault::Endless(None))]);
    let error = list(None).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("list referrers of registry.test/team/app@sha256:"),
        "{error}"
    );
}
