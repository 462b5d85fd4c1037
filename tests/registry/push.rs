//! What is pushed is there; blobs whole or in chunks; nothing twice.

use std::io;

use i2kit::oci::registry::Upload;

use super::*;
use crate::support::layout::sha256;
use crate::support::registry::http::Response;
use crate::support::registry::{Auth, Fault, Rule, Tokens};

const KIND: &str = "application/vnd.oci.image.manifest.v1+json";

fn push(desk: &Desk, repository: &Repository, bytes: &[u8]) -> Result<bool, Error> {
    let open =
        || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(bytes.to_vec()))) };
    let upload = Upload {
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        open: &open,
    };
    Ok(desk.client.push_blob(repository, &upload)?)
}

fn asked(registry: &Registry) -> Vec<(String, u16)> {
    let seen = registry.seen().into_iter();
    seen.map(|one| (one.method, one.status)).collect()
}

#[test]
fn a_blob_and_a_manifest_are_there_afterwards() {
    let registry = Registry::start();
    let desk = Desk::new();
    let places = repository(&registry);
    // Above a megabyte the registry is asked before the bytes are sent.
    for size in [0, 3000, 2_000_000] {
        let bytes = noise(1, size);
        let digest = Digest::of(&bytes);
        assert!(!desk.client.has_blob(&places, &digest).unwrap());
        assert!(push(&desk, &places, &bytes).unwrap());
        assert!(desk.client.has_blob(&places, &digest).unwrap());
        assert!(*registry.blob(&digest.to_string()).unwrap() == bytes);
        registry.forget();
        assert!(!push(&desk, &places, &bytes).unwrap());
        assert_eq!(asked(&registry), [("HEAD".to_owned(), 200)]);
    }
    let manifest = json!({"schemaVersion": 2, "mediaType": KIND}).to_string();
    let client = &desk.client;
    let digest = client
        .push_manifest(&places, &tag("new"), KIND, manifest.as_bytes())
        .unwrap();
    let found = client.manifest(&places, &tag("new")).unwrap();
    assert_eq!(
        (found.digest, found.bytes),
        (digest, manifest.clone().into_bytes())
    );
    let wanted = Wanted::Digest(digest);
    client
        .push_manifest(&places, &wanted, KIND, manifest.as_bytes())
        .unwrap();
    client.manifest(&places, &wanted).unwrap();
}

#[test]
fn a_registry_that_takes_no_blob_whole_gets_chunks() {
    for status in [405, 413, 501] {
        let registry = Registry::start();
        let whole = Rule::new("/uploads/", Fault::Answer(Response::new(status)));
        registry.script([whole.method("PUT").times(1)]);
        let bytes = noise(2, 25_000);
        assert!(push(&Desk::new(), &repository(&registry), &bytes).unwrap());
        assert!(*registry.blob(&sha256(&bytes)).unwrap() == bytes);
        let seen = registry.seen();
        let chunks: Vec<_> = seen.iter().filter(|one| one.method == "PATCH").collect();
        let ranges: Vec<_> = chunks
            .iter()
            .map(|one| &*one.headers["content-range"])
            .collect();
        assert_eq!(ranges, ["0-9999", "10000-19999", "20000-24999"]);
    }
}

#[test]
fn a_push_that_fails_on_the_way_is_begun_again() {
    let registry = Registry::start();
    let trouble = || Fault::Answer(Response::new(503));
    registry.script([
        Rule::new("/uploads/", trouble()).method("POST").times(1),
        Rule::new("/uploads/", trouble()).method("PUT").times(1),
        // Stored, but nobody hears of it.
        Rule::new("/uploads/", Fault::Drop).method("PUT").times(1),
        Rule::new("/manifests/", trouble()).method("PUT").times(2),
    ]);
    let bytes = noise(3, 50_000);
    let desk = Desk::new();
    let places = repository(&registry);
    assert!(push(&desk, &places, &bytes).unwrap());
    assert!(*registry.blob(&sha256(&bytes)).unwrap() == bytes);
    desk.client
        .push_manifest(&places, &tag("new"), KIND, b"{}")
        .unwrap();
    assert_eq!(desk.clock.slept().len(), 5);
}

#[test]
fn what_is_pushed_must_be_what_is_said() {
    let registry = Registry::start();
    let desk = Desk::new();
    let places = repository(&registry);
    let push = |digest: Digest, size: u64, bytes: Result<&'static [u8], io::ErrorKind>| {
        let open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(bytes?)) };
        let upload = Upload {
            digest,
            size,
            open: &open,
        };
        let error = desk.client.push_blob(&places, &upload).unwrap_err();
        error.to_string()
    };
    let error = push(Digest::of(b"other"), 5, Ok(b"bytes"));
    assert!(error.contains("400 Bad Request: DIGEST_INVALID"), "{error}");
    let error = push(
        Digest::of(b"bytes"),
        5,
        Err(io::ErrorKind::PermissionDenied),
    );
    assert!(
        error.contains("read what is pushed: permission denied"),
        "{error}"
    );
    let error = push(Digest::of(b"bytes!"), 6, Ok(b"bytes"));
    assert!(
        error.contains("read what is pushed: unexpected end of file"),
        "{error}"
    );
    assert!(registry.blob(&sha256(b"bytes!")).is_none());
    // A registry that stores something else is found out.
    let lie = Fault::Header("Docker-Content-Digest", sha256(b"lie"));
    registry.script([Rule::new("/", lie).method("PUT")]);
    let error = push(Digest::of(b"bytes"), 5, Ok(b"bytes"));
    assert!(error.contains("its bytes are sha256:"), "{error}");
    let error = desk
        .client
        .push_manifest(&places, &tag("x"), KIND, b"{}")
        .unwrap_err();
    assert!(
        error.to_string().contains("its bytes are sha256:"),
        "{error}"
    );
}

#[test]
fn pushing_asks_for_another_token_and_no_mirror() {
    let tokens: Arc<Tokens> = Arc::default();
    tokens.user("me", "secret");
    let registry = Registry::sharing(&tokens);
    registry.set_auth(Auth::Bearer { realm: None });
    let other = Registry::start();
    let places = of([mirror(&other), endpoint(&registry)]);
    let desk = Desk::with(options(), password("me", "secret"));
    let bytes = noise(4, 1000);
    assert!(push(&desk, &places, &bytes).unwrap());
    assert!(other.seen().is_empty());
    let seen = registry.seen();
    let asked = seen
        .iter()
        .find(|one| one.path.starts_with("/token"))
        .unwrap();
    assert!(
        asked.path.contains("scope=repository:team/app:pull%2Cpush"),
        "{}",
        asked.path
    );
    let error = push(&desk, &of([mirror(&other)]), &bytes).unwrap_err();
    assert!(
        error.to_string().contains("no registry to push to"),
        "{error}"
    );
}

#[test]
fn an_upload_elsewhere_is_nobodys() {
    let registry = Registry::start();
    registry.set_auth(Auth::Basic {
        username: "me".to_owned(),
        password: "secret".to_owned(),
    });
    let store = Registry::start();
    let location = store.url("/v2/team/app/blobs/uploads/1");
    let answer = Response::new(202).with("Location", location);
    registry.script([Rule::new("/uploads/", Fault::Answer(answer)).method("POST")]);
    let desk = Desk::with(options(), password("me", "secret"));
    let bytes = noise(5, 1000);
    assert!(push(&desk, &repository(&registry), &bytes).unwrap());
    assert!(store.blob(&sha256(&bytes)).is_some());
    let heard = store.seen();
    assert!(
        heard
            .iter()
            .all(|one| !one.headers.contains_key("authorization")),
        "{heard:?}"
    );
}
