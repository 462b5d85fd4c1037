//! No secret shows in any error, hint, note or debug output.

use super::*;
use crate::support::registry::http::Response;
use crate::support::registry::{Auth, Fault, Rule, TOKEN, Tokens, basic};

const PASSWORD: &str = "hunter2-password";
const REFRESH: &str = "hunter2-refresh";
const SIGNATURE: &str = "hunter2-signature";

fn everything(credential: Credential, arrange: impl Fn(&Registry, &Registry)) -> Vec<String> {
    let tokens: Arc<Tokens> = Arc::default();
    let registry = Registry::sharing(&tokens);
    let store = Registry::sharing(&tokens);
    let digest = registry.put_blob(noise(1, 5000));
    arrange(&registry, &store);
    let desk = Desk::with(options(), Known(credential));
    let repository = repository(&registry);
    let mut all = Vec::new();
    let mut keep = |error: Error| {
        all.extend([
            error.to_string(),
            format!("{error:?}"),
            format!("{error:#?}"),
        ]);
        all.extend(error.hint());
    };
    let manifest = desk.client.manifest(&repository, &tag("latest"));
    keep(manifest.map(|_| ()).unwrap_err().into());
    keep(desk.fails(&repository, &digest, 5000));
    let source = desk.source(repository.clone());
    keep(source.image(&Platform::default()).map(|_| ()).unwrap_err());
    all.extend(desk.notes());
    all.extend([
        format!("{:?}", desk.client),
        format!("{source:?} {repository:?}"),
    ]);
    all
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

#[test]
fn no_secret_shows() {
    let user = Credential::Password {
        username: "me".to_owned(),
        password: secret(PASSWORD),
    };
    let mut seen = Vec::new();
    // Basic, refused with an echo; and after it was accepted.
    seen.extend(everything(user.clone(), |registry, _| {
        registry.set_auth(Auth::Basic {
            username: "me".to_owned(),
            password: "another".to_owned(),
        });
    }));
    seen.extend(everything(user.clone(), |registry, _| {
        registry.set_auth(Auth::Basic {
            username: "me".to_owned(),
            password: PASSWORD.to_owned(),
        });
        let echo = format!("what is {PASSWORD} or {}?", basic("me", PASSWORD));
        let answer = Response::error(403, "DENIED", &echo);
        registry.script([Rule::new("/v2/", Fault::Answer(answer))]);
    }));
    // Token servers.
    for status in [401, 403, 500] {
        seen.extend(everything(user.clone(), |registry, _| {
            registry.set_auth(Auth::Bearer { realm: None });
            let echo = format!("{PASSWORD} {}", basic("me", PASSWORD));
            let answer = Response::error(status, "UNKNOWN", &echo);
            registry.script([Rule::new("/token", Fault::Answer(answer))]);
        }));
        seen.extend(everything(
            Credential::IdentityToken(secret(REFRESH)),
            |registry, _| {
                registry.set_auth(Auth::Bearer { realm: None });
                let answer = Response::error(status, "UNKNOWN", REFRESH);
                registry.script([Rule::new("/token", Fault::Answer(answer))]);
            },
        ));
    }
    // A registry that refuses its own token, repeating it.
    seen.extend(everything(
        Credential::RegistryToken(secret(REFRESH)),
        |registry, _| {
            registry.set_auth(Auth::Fixed("another".to_owned()));
        },
    ));
    seen.extend(everything(user.clone(), |registry, _| {
        registry.set_auth(Auth::Bearer { realm: None });
        let answer = Response::error(404, "UNKNOWN", &format!("{TOKEN}1 again"));
        registry.script([Rule::new("/v2/", Fault::Answer(answer))]);
    }));
    // Signed URLs.
    for status in [403, 302, 500] {
        seen.extend(everything(user.clone(), |registry, store| {
            let signed = store.url(&format!("/elsewhere/x?X-Signature={SIGNATURE}"));
            let answer = Response::new(302).with("Location", &signed);
            registry.script([Rule::new("/v2/", Fault::Answer(answer))]);
            let answer = Response::new(status).with("Location", &signed);
            store.script([Rule::new("/elsewhere/", Fault::Answer(answer))]);
        }));
    }
    assert!(seen.len() > 150, "{}", seen.len());
    let pair = basic("me", PASSWORD);
    let pair = pair.strip_prefix("Basic ").unwrap();
    for text in &seen {
        for secret in [PASSWORD, REFRESH, SIGNATURE, TOKEN, pair] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    // The test would see them.
    assert!(
        seen.iter()
            .any(|text| text.contains("what is … or Basic …?"))
    );
}
