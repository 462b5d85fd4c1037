//! Redirects: followed, bounded, and without credentials once they leave the host.

use super::*;
use crate::support::registry::http::Response;
use crate::support::registry::{Auth, Fault, Rule, Tokens};

fn to(url: impl Into<String>) -> Fault {
    Fault::Answer(Response::new(307).with("Location", url))
}

/// A registry with a blob, and who may fetch it.
fn shop() -> (Registry, String, Vec<u8>) {
    let registry = Registry::start();
    let bytes = noise(1, 5000);
    let digest = registry.put_blob(bytes.clone());
    (registry, digest, bytes)
}

fn has_credentials(registry: &Registry, path: &str) -> Vec<bool> {
    let seen = registry.seen().into_iter();
    seen.filter(|one| one.path.contains(path))
        .map(|one| one.headers.contains_key("authorization"))
        .collect()
}

#[test]
fn within_the_host_credentials_stay() {
    let (registry, digest, bytes) = shop();
    registry.set_auth(Auth::Basic {
        username: "me".to_owned(),
        password: "secret".to_owned(),
    });
    registry.script([Rule::new(
        "/v2/team/app/blobs/",
        to(format!("/v2/other/blobs/{digest}")),
    )]);
    let desk = Desk::with(options(), password("me", "secret"));
    let found = desk.read(&repository(&registry), &digest, bytes.len());
    assert!(found.unwrap() == bytes);
    assert_eq!(has_credentials(&registry, "/v2/other/"), [true]);
}

#[test]
fn another_host_gets_no_credentials() {
    let (registry, digest, bytes) = shop();
    let store = Registry::start();
    store.put_blob(bytes.clone());
    // The same host at another port is another: what listens there may be anyone's.
    let signed = store.url(&format!("/elsewhere/{digest}?X-Signature=abc"));
    registry.script([Rule::new("/blobs/", to(signed))]);
    let tokens: Arc<Tokens> = Arc::default();
    for auth in [
        Auth::Basic {
            username: "me".to_owned(),
            password: "secret".to_owned(),
        },
        Auth::Bearer { realm: None },
        Auth::Fixed("secret".to_owned()),
    ] {
        registry.set_auth(auth.clone());
        let credential = match auth {
            Auth::Fixed(token) => Known(Credential::RegistryToken(Secret::new(token))),
            _ => password("me", "secret"),
        };
        let desk = Desk::with(options(), credential);
        let found = desk.read(&repository(&registry), &digest, bytes.len());
        assert!(found.unwrap() == bytes);
    }
    assert_eq!(
        has_credentials(&registry, "/blobs/"),
        [false, true].repeat(3)
    );
    assert_eq!(has_credentials(&store, "/elsewhere/"), [false; 3]);
    drop(tokens);
}

#[test]
fn once_it_left_a_request_stays_nobodys() {
    let (registry, digest, bytes) = shop();
    let other = Registry::start();
    let back = registry.url(&format!("/elsewhere/{digest}"));
    registry.script([Rule::new("/blobs/", to(other.url("/there")))]);
    other.script([Rule::new("/there", to(back))]);
    registry.set_auth(Auth::Basic {
        username: "me".to_owned(),
        password: "secret".to_owned(),
    });
    let desk = Desk::with(options(), password("me", "secret"));
    let found = desk.read(&repository(&registry), &digest, bytes.len());
    assert!(found.unwrap() == bytes);
    assert_eq!(has_credentials(&registry, "/elsewhere/"), [false]);
}

#[test]
fn another_hosts_401_is_not_answered() {
    let (registry, digest, bytes) = shop();
    let other = Registry::start();
    other.set_auth(Auth::Basic {
        username: "me".to_owned(),
        password: "secret".to_owned(),
    });
    registry.script([Rule::new(
        "/blobs/",
        to(other.url(&format!("/v2/x/blobs/{digest}"))),
    )]);
    let desk = Desk::with(options(), password("me", "secret"));
    let error = desk.fails(&repository(&registry), &digest, bytes.len());
    assert!(error.to_string().contains("401 Unauthorized"), "{error}");
    assert_eq!(has_credentials(&other, "/"), [false]);
}

#[test]
fn loops_and_long_ways_end() {
    let (registry, digest, bytes) = shop();
    let repository = repository(&registry);
    registry.script([
        Rule::new("/blobs/", to("/a?secret=1")),
        Rule::new("/a", to("/b")),
        Rule::new("/b", to("/a?secret=1")),
    ]);
    let error = Desk::new()
        .fails(&repository, &digest, bytes.len())
        .to_string();
    assert!(error.contains("/a?…, which was asked before"), "{error}");
    assert_eq!(registry.seen().len(), 3);
    let steps =
        (0..9).map(|step| Rule::new(format!("/step{step}"), to(format!("/step{}", step + 1))));
    registry.script(steps.chain([Rule::new("/blobs/", to("/step0"))]));
    registry.forget();
    let error = Desk::new()
        .fails(&repository, &digest, bytes.len())
        .to_string();
    assert!(error.contains("/step5, after 5 others"), "{error}");
    assert_eq!(registry.seen().len(), 6);
}

#[test]
fn bad_targets_are_refused() {
    let (registry, digest, bytes) = shop();
    for target in [
        "file:///etc/passwd",
        "ftp://x/y",
        "https://me:secret@x/",
        "http://",
        "gopher:x",
    ] {
        registry.script([Rule::new("/blobs/", to(target))]);
        let error = Desk::new()
            .fails(&repository(&registry), &digest, bytes.len())
            .to_string();
        assert!(error.contains("redirect to "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    registry.script([Rule::new("/blobs/", Fault::Answer(Response::new(302)))]);
    let error = Desk::new()
        .fails(&repository(&registry), &digest, bytes.len())
        .to_string();
    assert!(error.contains("redirect to nowhere"), "{error}");
}

#[test]
fn a_cut_transfer_goes_on_through_the_redirect() {
    let (registry, digest, bytes) = shop();
    let store = Registry::start();
    store.put_blob(bytes.clone());
    let signed = store.url(&format!("/elsewhere/{digest}"));
    registry.script([Rule::new("/blobs/", to(signed))]);
    store.script([Rule::new("/elsewhere/", Fault::Cut(2000)).times(1)]);
    let found = Desk::new().read(&repository(&registry), &digest, bytes.len());
    assert!(found.unwrap() == bytes);
    let seen = store.seen();
    assert_eq!(seen[1].headers["range"], "bytes=2000-");
    // The signature may have run out: the registry is asked for a new one.
    assert_eq!(registry.seen().len(), 2);
}
