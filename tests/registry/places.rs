//! Mirrors, the registry, and other URLs: who is asked, in which order, and who is passed over.

use super::*;
use crate::support::registry::http::Response;
use crate::support::registry::{Auth, Fault, Rule};
use crate::support::vm::Bench;
use i2kit::oci::Environment;
use i2kit::oci::Scratch;
use i2kit::oci::registry::Settings;

/// An image in a registry; a mirror that lacks it; and the layout it came from.
fn shop() -> (tempfile::TempDir, PathBuf, Registry, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let layout = image(folder.path(), &[30_000, 5_000]);
    let registry = Registry::start();
    registry.load(&layout, NAME);
    (folder, layout, registry, Registry::start())
}

fn pull(desk: &Desk, repository: &Repository) -> Result<Vec<(String, String, usize)>, String> {
    let cache = tempfile::tempdir().unwrap();
    let source = Arc::new(desk.source(repository.clone()));
    convert(source, cache.path()).map(|layers| contents(&layers))
}

#[test]
fn a_mirror_that_has_all_spares_the_registry() {
    let (_folder, layout, registry, other) = shop();
    other.load(&layout, NAME);
    let desk = Desk::new();
    let places = of([mirror(&other), endpoint(&registry)]);
    assert_eq!(pull(&desk, &places).unwrap(), expected(&layout));
    assert!(registry.seen().is_empty());
    assert!(desk.notes().is_empty());
}

#[test]
fn a_mirror_that_lacks_something_is_passed_over_with_a_note() {
    let (_folder, layout, registry, other) = shop();
    other.load(&layout, NAME);
    let desk = Desk::new();
    let places = of([mirror(&other), endpoint(&registry)]);
    let lost = layers(&desk.source(places.clone()))[0].digest.to_string();
    other.remove_blob(&lost);
    assert_eq!(pull(&desk, &places).unwrap(), expected(&layout));
    assert_eq!(registry.seen().len(), 1);
    let notes = desk.notes();
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].starts_with(&format!("mirror {} passed over: ", other.host())),
        "{notes:?}"
    );
    assert!(
        notes[0].contains("404 Not Found: BLOB_UNKNOWN"),
        "{notes:?}"
    );
}

#[test]
fn a_mirror_that_fails_is_asked_once_and_then_rests() {
    let (_folder, layout, registry, other) = shop();
    for fault in [
        Fault::Answer(Response::new(503)),
        Fault::Drop,
        Fault::Garbage,
        Fault::Silent,
        Fault::Answer(Response::new(307).with("Location", "/v2/")),
    ] {
        other.forget();
        other.script([Rule::new("/", fault.clone())]);
        let desk = Desk::new();
        let places = of([mirror(&other), endpoint(&registry)]);
        assert_eq!(
            pull(&desk, &places).unwrap(),
            expected(&layout),
            "{fault:?}"
        );
        assert!(desk.clock.slept().is_empty());
        let asked = other.seen().len();
        assert!(asked <= 2, "{fault:?}: {asked}");
        assert_eq!(desk.notes().len(), 1, "{:?}", desk.notes());
        // After a while it is asked again.
        desk.clock.sleep(Duration::from_secs(61));
        pull(&desk, &places).unwrap();
        assert!(desk.notes().len() > 1);
    }
    let dead = Endpoint {
        host: "127.0.0.1:1".to_owned(),
        ..mirror(&other)
    };
    let places = of([dead, endpoint(&registry)]);
    assert_eq!(pull(&Desk::new(), &places).unwrap(), expected(&layout));
}

#[test]
fn a_mirror_with_other_bytes_is_passed_over_where_that_can_be_told() {
    let (_folder, layout, registry, other) = shop();
    other.load(&layout, NAME);
    let desk = Desk::new();
    let good = desk
        .client
        .manifest(&repository(&registry), &tag("latest"))
        .unwrap();
    let wanted = Wanted::Digest(good.digest);
    let places = of([mirror(&other), endpoint(&registry)]);
    other.script([Rule::new("/manifests/", Fault::Corrupt(9))]);
    assert_eq!(desk.client.manifest(&places, &wanted).unwrap(), good);
    assert!(desk.notes()[0].contains("should be"), "{:?}", desk.notes());
    // A blob of another length shows before its first byte.
    let desk = Desk::new();
    other.script([Rule::new("/blobs/", Fault::Length(3))]);
    assert_eq!(pull(&desk, &places).unwrap(), expected(&layout));
}

#[test]
fn a_mirror_that_dies_on_the_way_is_followed_by_the_registry() {
    let (_folder, _, registry, other) = shop();
    let bytes = noise(5, 100_000);
    let digest = registry.put_blob(bytes.clone());
    other.put_blob(bytes.clone());
    other.script([Rule::new("/blobs/", Fault::Cut(60_000))]);
    let places = of([mirror(&other), endpoint(&registry)]);
    let found = Desk::new().read(&places, &digest, bytes.len());
    assert!(found.unwrap() == bytes);
    let seen = registry.seen();
    assert_eq!(seen[0].headers["range"], "bytes=60000-");
    // It was another's answer whose ETag was known.
    assert_eq!(seen[0].headers.get("if-range"), None);
}

#[test]
fn some_mirrors_are_only_asked_by_digest() {
    let (_folder, layout, registry, other) = shop();
    other.load(&layout, NAME);
    let by_digest = Endpoint {
        by_tag: false,
        ..mirror(&other)
    };
    let places = of([by_digest.clone(), endpoint(&registry)]);
    assert_eq!(pull(&Desk::new(), &places).unwrap(), expected(&layout));
    let asked: Vec<_> = registry.seen().into_iter().map(|one| one.path).collect();
    assert_eq!(asked, [format!("/v2/{NAME}/manifests/latest")]);
    assert_eq!(other.seen().len(), 3);
    let error = Desk::new()
        .client
        .manifest(&of([by_digest]), &tag("latest"))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no registry or mirror may be asked by tag"),
        "{error}"
    );
}

#[test]
fn a_mirror_may_have_another_name_and_prefix() {
    let (_folder, layout, registry, other) = shop();
    other.load(&layout, "proxy/cache/app");
    let renamed = Endpoint {
        repository: "cache/app".to_owned(),
        // The test server takes it for a part of the name.
        prefix: "/v2/proxy".to_owned(),
        ..mirror(&other)
    };
    let places = of([renamed, endpoint(&registry)]);
    pull(&Desk::new(), &places).unwrap();
    let path = other.seen()[0].path.clone();
    assert_eq!(path, "/v2/proxy/v2/cache/app/manifests/latest");
}

#[test]
fn a_mirror_without_referrers_is_not_believed() {
    let (_folder, _, registry, other) = shop();
    let subject = layout::sha256(b"subject");
    let manifest = json!({"schemaVersion": 2, "artifactType": "application/x",
        "subject": {"digest": subject}});
    let kind = "application/vnd.oci.image.manifest.v1+json";
    registry.put_manifest(NAME, "signature", kind, manifest.to_string().as_bytes());
    other.without_referrers();
    let places = of([mirror(&other), endpoint(&registry)]);
    let subject: Digest = subject.parse().unwrap();
    let found = Desk::new()
        .client
        .referrers(&places, &subject, None)
        .unwrap();
    assert_eq!(found.len(), 1);
}

#[test]
fn a_layer_from_elsewhere_is_fetched_as_nobody() {
    let (_folder, _, registry, other) = shop();
    registry.set_auth(Auth::Basic {
        username: "me".to_owned(),
        password: "secret".to_owned(),
    });
    let bytes = noise(6, 50_000);
    let digest = other.put_blob(bytes.clone());
    other.script([Rule::new(&digest, Fault::Cut(20_000)).times(1)]);
    let spec = |urls: &[String]| BlobSpec {
        urls: urls.to_vec(),
        ..blob(&digest, bytes.len())
    };
    let good = other.url(&format!("/elsewhere/{digest}"));
    let desk = Desk::with(options(), password("me", "secret"));
    let get = |urls: &[String]| match desk.client.blob(&repository(&registry), &spec(urls)) {
        Ok(blob) => read(blob),
        Err(error) => Err(error.into()),
    };
    let missing = other.url("/elsewhere/none");
    assert!(get(&[missing.clone(), good]).unwrap() == bytes);
    let seen = other.seen();
    // The missing one, the cut one, and the rest.
    assert_eq!(seen.len(), 3);
    assert!(
        seen.iter()
            .all(|one| !one.headers.contains_key("authorization")),
        "{seen:?}"
    );
    // The registry was asked first: it may have been given a copy.
    assert!(registry.seen().iter().any(|one| one.path.contains(&digest)));
    assert!(desk.notes()[0].contains("404"), "{:?}", desk.notes());
    let error = fails_by(get(&[missing]));
    assert!(
        error.to_string().contains("/elsewhere/none: 404"),
        "{error}"
    );
    for bad in ["file:///etc/passwd", "ftp://x/y", "https://me:pw@x/"] {
        let error = fails_by(get(&[bad.to_owned()]));
        assert!(error.to_string().contains("the layer's urls"), "{error}");
    }
}

#[test]
fn the_transport_finds_it() {
    let (_folder, layout, registry, _) = shop();
    let root = tempfile::tempdir().unwrap();
    let environment = Environment::new([], 0, root.path());
    let sources =
        i2kit::oci::Sources::new(Settings::new(environment), Scratch::default(), |_| ()).unwrap();
    let good = Desk::new()
        .client
        .manifest(&repository(&registry), &tag("latest"))
        .unwrap();
    for reference in ["", ":latest", &format!("@{}", good.digest)] {
        let text = format!("docker://{}/{NAME}{reference}", registry.host());
        let source = sources.open(&text).unwrap().source;
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(
            contents(&convert(source, cache.path()).unwrap()),
            expected(&layout)
        );
    }
    for bad in ["docker:x/y", "docker://X", "docker://x/y@sha256:1"] {
        assert!(sources.open(bad).is_err(), "{bad}");
    }
    // There is an image of that name.
    assert!(!i2kit::oci::Sources::is_transport("docker:27-dind"));
    assert!(i2kit::oci::Sources::is_transport("docker://x/y"));
}

#[test]
fn the_command_tells_what_the_registry_said() {
    let (_folder, _, registry, _) = shop();
    let bench = Bench::new();
    let tell = |name: &str| {
        let image = format!("docker://{}/{name}", registry.host());
        let mut command = bench.command("build");
        let output = command
            .arg("--from")
            .arg(&image)
            .arg("-o")
            .arg(bench.path("x"))
            .output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let text = tell("team/app:none");
    assert!(
        text.contains("404 Not Found: MANIFEST_UNKNOWN: manifest unknown"),
        "{text}"
    );
    assert!(text.contains("hint: check the name and the tag"), "{text}");
    // What goes wrong under a layer has its hint, too.
    let trouble = Response::error(403, "DENIED", "not yours");
    let layer = layers(&Desk::new().source(repository(&registry)))[0].digest;
    registry.script([Rule::new(layer.to_string(), Fault::Answer(trouble))]);
    let text = tell("team/app");
    assert!(
        text.contains(&format!("read layer {layer}: fetch a blob of")),
        "{text}"
    );
    assert!(text.contains("403 Forbidden: DENIED: not yours"), "{text}");
    assert!(text.contains("hint: the account may not"), "{text}");
}
