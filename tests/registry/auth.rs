//! Who one is: Basic, tokens, their renewal, and who is told.

use super::*;
use crate::support::registry::{Auth, Fault, Rule, Tokens};

fn basic() -> Auth {
    Auth::Basic {
        username: "me".to_owned(),
        password: "secret".to_owned(),
    }
}

/// An image behind `auth`, and the layout it came from.
fn shop(auth: Auth, tokens: &Arc<Tokens>) -> (tempfile::TempDir, PathBuf, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let layout = image(folder.path(), &[30_000, 20_000, 10_000]);
    let registry = Registry::sharing(tokens);
    registry.load(&layout, NAME);
    registry.set_auth(auth);
    (folder, layout, registry)
}

fn pull(
    desk: &Desk,
    registry: &Registry,
    folder: &Path,
) -> Result<Vec<(String, String, usize)>, String> {
    let cache = tempfile::tempdir_in(folder).unwrap();
    let source = Arc::new(desk.source(repository(registry)));
    convert(source, cache.path()).map(|layers| contents(&layers))
}

/// Status and whether a credential came, in order.
fn story(registry: &Registry) -> Vec<(u16, bool)> {
    let seen = registry.seen().into_iter();
    seen.map(|one| (one.status, one.headers.contains_key("authorization")))
        .collect()
}

#[test]
fn basic_is_said_when_asked_and_then_always() {
    let (folder, layout, registry) = shop(basic(), &Arc::default());
    let desk = Desk::with(options(), password("me", "secret"));
    assert_eq!(
        pull(&desk, &registry, folder.path()).unwrap(),
        expected(&layout)
    );
    let mut story = story(&registry).into_iter();
    assert_eq!(story.next(), Some((401, false)));
    assert!(story.all(|one| one == (200, true)));
}

#[test]
fn a_wrong_password_is_told_and_not_repeated() {
    let (_folder, _, registry) = shop(basic(), &Arc::default());
    let desk = Desk::with(options(), password("me", "wrong-password"));
    let error = desk
        .client
        .manifest(&repository(&registry), &tag("latest"))
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("401 Unauthorized: UNAUTHORIZED: authentication required"),
        "{text}"
    );
    assert!(error.hint().unwrap().contains("log in to it again"));
    assert_eq!(story(&registry), [(401, false), (401, true)]);
    // Without one the hint is another.
    let error = Desk::new()
        .client
        .manifest(&repository(&registry), &tag("latest"));
    assert!(
        error
            .unwrap_err()
            .hint()
            .unwrap()
            .contains("log in to the registry first")
    );
}

#[test]
fn anonymous_tokens() {
    let tokens: Arc<Tokens> = Arc::default();
    let (folder, layout, registry) = shop(Auth::Bearer { realm: None }, &tokens);
    let desk = Desk::new();
    assert_eq!(
        pull(&desk, &registry, folder.path()).unwrap(),
        expected(&layout)
    );
    // One token for all of a repository.
    assert_eq!(tokens.made(), 1);
    let seen = registry.seen();
    let asked = seen
        .iter()
        .find(|one| one.path.starts_with("/token"))
        .unwrap();
    assert_eq!(
        asked.path,
        "/token?service=test&scope=repository:team/app:pull"
    );
    assert_eq!(asked.headers.get("authorization"), None);
}

#[test]
fn tokens_for_a_user_of_a_server_on_another_host() {
    let tokens: Arc<Tokens> = Arc::default();
    tokens.user("me", "secret");
    let server = Registry::sharing(&tokens);
    let realm = Some(server.url("/token"));
    let (folder, layout, registry) = shop(Auth::Bearer { realm }, &tokens);
    let desk = Desk::with(options(), password("me", "secret"));
    assert_eq!(
        pull(&desk, &registry, folder.path()).unwrap(),
        expected(&layout)
    );
    let asked = &server.seen()[0];
    let basic = crate::support::registry::basic("me", "secret");
    assert_eq!(asked.headers["authorization"], basic);
    assert!(asked.path.ends_with("&account=me"), "{}", asked.path);
    // The registry itself never hears the password.
    let heard = registry.seen();
    assert!(
        heard
            .iter()
            .all(|one| one.headers.get("authorization") != Some(&basic))
    );
    let wrong = Desk::with(options(), password("me", "wrong"));
    let error = pull(&wrong, &registry, folder.path()).unwrap_err();
    assert!(
        error.contains("/token?…: 401 Unauthorized: UNAUTHORIZED: incorrect login"),
        "{error}"
    );
    assert!(error.contains("log in to it again"), "{error}");
}

#[test]
fn a_token_server_may_redirect_but_not_with_the_password() {
    let tokens: Arc<Tokens> = Arc::default();
    let (_folder, _, registry) = shop(Auth::Bearer { realm: None }, &tokens);
    let other = Registry::start();
    let answer = crate::support::registry::http::Response::new(307);
    let answer = answer.with("Location", other.url("/token"));
    registry.script([Rule::new("/token", Fault::Answer(answer))]);
    let desk = Desk::with(options(), password("me", "secret"));
    desk.client
        .manifest(&repository(&registry), &tag("latest"))
        .unwrap_err();
    let heard = other.seen();
    assert!(
        heard
            .iter()
            .all(|one| !one.headers.contains_key("authorization")),
        "{heard:?}"
    );
}

#[test]
fn tokens_that_run_out_on_the_way_are_renewed() {
    let tokens: Arc<Tokens> = Arc::default();
    // Every token is good for two requests, whatever it promised.
    tokens.uses(2);
    let (folder, layout, registry) = shop(Auth::Bearer { realm: None }, &tokens);
    let desk = Desk::new();
    assert_eq!(
        pull(&desk, &registry, folder.path()).unwrap(),
        expected(&layout)
    );
    // Manifest, config, three layers.
    assert!(tokens.made() >= 3, "{}", tokens.made());
    assert!(desk.clock.slept().is_empty());
    // Cut layers ask again, with tokens that have run out meanwhile.
    registry.script([Rule::new("/blobs/", Fault::Cut(5_000)).times(6)]);
    assert_eq!(
        pull(&desk, &registry, folder.path()).unwrap(),
        expected(&layout)
    );
}

#[test]
fn tokens_are_renewed_before_they_run_out() {
    let tokens: Arc<Tokens> = Arc::default();
    tokens.life(100);
    let (_folder, _, registry) = shop(Auth::Bearer { realm: None }, &tokens);
    let desk = Desk::new();
    let get = || {
        desk.client
            .manifest(&repository(&registry), &tag("latest"))
            .unwrap()
    };
    get();
    desk.clock.sleep(Duration::from_secs(80));
    get();
    assert_eq!(tokens.made(), 1);
    desk.clock.sleep(Duration::from_secs(11));
    registry.forget();
    get();
    assert_eq!(tokens.made(), 2);
    // Without being refused first.
    assert!(registry.seen().iter().all(|one| one.status == 200));
}

#[test]
fn many_threads_share_a_token() {
    let tokens: Arc<Tokens> = Arc::default();
    let (_folder, _, registry) = shop(Auth::Bearer { realm: None }, &tokens);
    let desk = Desk::new();
    let gate = std::sync::Barrier::new(6);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                gate.wait();
                desk.client
                    .manifest(&repository(&registry), &tag("latest"))
                    .unwrap();
            });
        }
    });
    // All may be refused at once, but then each finds what the first one got.
    assert!(tokens.made() <= 6);
    let made = tokens.made();
    desk.client
        .manifest(&repository(&registry), &tag("latest"))
        .unwrap();
    assert_eq!(tokens.made(), made);
}

#[test]
fn identity_tokens_are_traded_by_post() {
    let tokens: Arc<Tokens> = Arc::default();
    tokens.refresh("secret-refresh/+&=");
    let (folder, layout, registry) = shop(Auth::Bearer { realm: None }, &tokens);
    let desk = |token: &str| {
        let token = Secret::new(token.to_owned());
        Desk::with(options(), Known(Credential::IdentityToken(token)))
    };
    // The test server reads no percent signs but these.
    tokens.refresh("secret-refresh:x");
    let good = desk("secret-refresh:x");
    assert_eq!(
        pull(&good, &registry, folder.path()).unwrap(),
        expected(&layout)
    );
    let seen = registry.seen();
    let asked = seen.iter().find(|one| one.path == "/token").unwrap();
    assert_eq!(asked.method, "POST");
    assert_eq!(
        String::from_utf8_lossy(&asked.body),
        "grant_type=refresh_token&client_id=i2kit&service=test&scope=repository:team/app:pull\
         &refresh_token=secret-refresh:x"
    );
    let error = pull(&desk("secret-other"), &registry, folder.path()).unwrap_err();
    assert!(error.contains("401 Unauthorized"), "{error}");
    assert!(!error.contains("secret-other"), "{error}");
}

#[test]
fn a_registry_token_is_used_as_it_is() {
    let (folder, layout, registry) = shop(Auth::Fixed("secret-fixed".to_owned()), &Arc::default());
    let desk = |token: &str| {
        let token = Secret::new(token.to_owned());
        Desk::with(options(), Known(Credential::RegistryToken(token)))
    };
    let good = desk("secret-fixed");
    assert_eq!(
        pull(&good, &registry, folder.path()).unwrap(),
        expected(&layout)
    );
    let error = pull(&desk("secret-wrong"), &registry, folder.path()).unwrap_err();
    assert!(
        error.contains("401") && !error.contains("secret-wrong"),
        "{error}"
    );
    // What no header can carry is told, not sent.
    let error = pull(&desk("secret\r\nX: y"), &registry, folder.path()).unwrap_err();
    assert!(
        error.contains("no header can carry") && !error.contains("X: y"),
        "{error}"
    );
}

#[test]
fn nonsense_of_token_servers_is_told() {
    let (folder, _, registry) = shop(Auth::Bearer { realm: None }, &Arc::default());
    let says = |body: &str| {
        let answer = crate::support::registry::http::Response::new(200);
        Fault::Answer(answer.body(body.as_bytes().to_vec()))
    };
    for (body, expected) in [
        ("{}", "no token in it"),
        (r#"{"token":""}"#, "no token in it"),
        (r#"{"token":"secret-a\nb"}"#, "no header can carry"),
        ("secret-token", "not JSON"),
    ] {
        registry.script([Rule::new("/token", says(body))]);
        let error = pull(&Desk::new(), &registry, folder.path()).unwrap_err();
        assert!(
            error.contains(expected) && !error.contains("secret"),
            "{error}"
        );
    }
    for (realm, expected) in [
        ("ftp://x/", "neither http nor https"),
        ("", "not a URL"),
        ("http://me:pw@x/", "a user's name"),
    ] {
        let realm = Some(realm.to_owned());
        registry.set_auth(Auth::Bearer { realm });
        let error = pull(&Desk::new(), &registry, folder.path()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_keeper_of_credentials_is_asked_by_host_and_repository() {
    struct Keeper(Arc<Mutex<Vec<String>>>);
    impl Credentials for Keeper {
        fn credential(
            &self,
            host: &str,
            repository: &str,
        ) -> Result<Option<Credential>, Box<dyn std::error::Error + Send + Sync>> {
            self.0.lock().unwrap().push(format!("{host} {repository}"));
            Err("the helper is not there".into())
        }
    }
    let (_folder, _, registry) = shop(basic(), &Arc::default());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let desk = Desk::with(options(), Keeper(Arc::clone(&asked)));
    let error = desk
        .client
        .manifest(&repository(&registry), &tag("latest"))
        .unwrap_err();
    let expected = format!(
        "credential for {}: the helper is not there",
        registry.host()
    );
    assert!(error.to_string().ends_with(&expected), "{error}");
    assert_eq!(
        *asked.lock().unwrap(),
        [format!("{} {NAME}", registry.host())]
    );
    // Who needs none isn't asked.
    registry.set_auth(Auth::Nothing);
    desk.client
        .manifest(&repository(&registry), &tag("latest"))
        .unwrap();
    assert_eq!(asked.lock().unwrap().len(), 1);
}
