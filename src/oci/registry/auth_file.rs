//! Files with credentials: Podman's `auth.json`, Docker's `config.json` and, before that,
//! `.dockercfg` (containers-auth.json(5); docker/cli `cli/config/configfile`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Credential, Secret};

/// What Docker Hub is called in such files, besides `docker.io`.
const HUB: [&str; 3] = [
    "https://index.docker.io/v1/",
    "index.docker.io",
    "registry-1.docker.io",
];

/// What credentials are looked up for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// `host[:port]`; `docker.io` for Docker Hub.
    pub domain: &'a str,
    pub repository: &'a str,
}

impl<'a> Wanted<'a> {
    /// `host` is where connections go.
    pub fn new(host: &'a str, repository: &'a str) -> Self {
        let domain = if HUB.contains(&host) {
            "docker.io"
        } else {
            host
        };
        Self { domain, repository }
    }

    /// Under which names a helper may have it, the one that `docker login` uses first.
    pub fn servers(&self) -> Vec<&'a str> {
        match self.domain {
            "docker.io" => HUB.iter().take(1).copied().chain(["docker.io"]).collect(),
            domain => vec![domain],
        }
    }

    fn is(&self, domain: &str) -> bool {
        domain == self.domain || (self.domain == "docker.io" && HUB.contains(&domain))
    }
}

/// Why a file's contents are of no use. It shows none of them.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("{0}")]
    Json(String),
    #[error("entry {key:?}: {reason}")]
    Entry { key: String, reason: &'static str },
}

/// Where a credential is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// In the file.
    Here(Credential),
    /// This helper has it, or nobody.
    Helper(&'a str),
    /// This helper may have it, since it has all that the file doesn't.
    Store(&'a str),
    Nowhere,
}

/// One file.
#[derive(Debug)]
pub(super) struct AuthFile {
    pub path: PathBuf,
    is_legacy: bool,
    document: Document,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl std::fmt::Debug for Document {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("…")
    }
}

impl AuthFile {
    /// `is_legacy` is true for a `.dockercfg`, which has the entries alone, by URL.
    pub fn parse(path: &Path, text: &str, is_legacy: bool) -> Result<Self, Malformed> {
        let document = if is_legacy {
            Document {
                auths: Some(parse_json(text.as_bytes())?),
                ..Document::default()
            }
        } else {
            parse_json(text.as_bytes())?
        };
        Ok(Self {
            path: path.to_owned(),
            is_legacy,
            document,
        })
    }

    /// Where the credential for `wanted` is: with the helper that is named for the registry; in the
    /// entry for the repository, the nearest folder above it or the registry; with the helper for
    /// everything.
    pub fn find(&self, wanted: Wanted<'_>) -> Result<Place<'_>, Malformed> {
        let Document {
            auths,
            cred_helpers,
            creds_store,
        } = &self.document;
        let helpers = cred_helpers.iter().flatten();
        let mut helpers = helpers.filter(|(key, helper)| wanted.is(key) && !helper.is_empty());
        if let Some((_, helper)) = helpers.next() {
            return Ok(Place::Helper(helper));
        }
        let entry = |key: &str| auths.as_ref()?.get_key_value(key);
        let mut keys: Vec<_> = keys(wanted).iter().filter_map(|key| entry(key)).collect();
        // Old logins are by URL, and Docker Hub has several names.
        let others = auths.iter().flatten();
        keys.extend(others.filter(|(key, _)| wanted.is(self.domain(key))));
        for (key, entry) in keys {
            let found = entry.as_ref().map(credential).transpose();
            let found = found.map_err(|reason| Malformed::Entry {
                key: key.clone(),
                reason,
            })?;
            // An empty one only says that a helper has it.
            if let Some(credential) = found.flatten() {
                return Ok(Place::Here(credential));
            }
        }
        Ok(match creds_store {
            Some(helper) if !helper.is_empty() => Place::Store(helper),
            _ => Place::Nowhere,
        })
    }

    /// The registry that a key is for; a key with a path is for a repository, unless it is a URL.
    fn domain<'a>(&self, key: &'a str) -> &'a str {
        let schemes = ["https://", "http://"];
        let bare = schemes.iter().find_map(|scheme| key.strip_prefix(scheme));
        match bare {
            None if !self.is_legacy => key,
            bare => bare.unwrap_or(key).split('/').next().unwrap_or_default(),
        }
    }
}

/// `h.io/a/b`, `h.io/a`, `h.io`.
fn keys(wanted: Wanted<'_>) -> Vec<String> {
    let mut key = format!("{}/{}", wanted.domain, wanted.repository);
    let mut out = vec![key.clone()];
    while let Some((above, _)) = key.rsplit_once('/') {
        key = above.to_owned();
        out.push(key.clone());
    }
    out
}

fn credential(entry: &Entry) -> Result<Option<Credential>, &'static str> {
    let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    if let Some(token) = set(&entry.registrytoken) {
        return Ok(Some(Credential::RegistryToken(Secret::new(token))));
    }
    if let Some(token) = set(&entry.identitytoken) {
        return Ok(Some(Credential::IdentityToken(Secret::new(token))));
    }
    let (username, password) = match set(&entry.auth) {
        Some(auth) => decode(&auth)?,
        None => (set(&entry.username), set(&entry.password)),
    };
    if username.is_none() && password.is_none() {
        return Ok(None);
    }
    Ok(Some(Credential::Password {
        username: username.unwrap_or_default(),
        password: Secret::new(password.unwrap_or_default()),
    }))
}

/// Base64 of `USER:PASSWORD`.
pub(super) fn decode(auth: &str) -> Result<(Option<String>, Option<String>), &'static str> {
    let packed: String = auth.split_ascii_whitespace().collect();
    let bytes = BASE64_STANDARD.decode(packed);
    let bytes = bytes.map_err(|_| "auth is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "auth is not text")?;
    let (username, password) = text.split_once(':').ok_or("auth is not USER:PASSWORD")?;
    // Old versions of Docker filled it up with NULs.
    let password = password.trim_matches('\0');
    let set = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok((set(username), set(password)))
}

/// JSON whose text no error shows, as serde's own would.
pub(super) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(bytes).map_err(|error| {
        let what = if error.is_data() {
            "not of the form it should have"
        } else {
            "not JSON"
        };
        Malformed::Json(format!(
            "line {} column {}: {what}",
            error.line(),
            error.column()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(username: &str, password: &str) -> Credential {
        Credential::Password {
            username: username.to_owned(),
            password: Secret::new(password.to_owned()),
        }
    }

    fn encode(text: &str) -> String {
        BASE64_STANDARD.encode(text)
    }

    fn file(text: &str) -> AuthFile {
        AuthFile::parse(Path::new("auth.json"), text, false).unwrap()
    }

    fn find<'a>(file: &'a AuthFile, host: &str, repository: &str) -> Place<'a> {
        file.find(Wanted::new(host, repository)).unwrap()
    }

    #[test]
    fn the_most_specific_entry_counts() {
        let entry = |name: &str| format!("{{\"auth\":\"{}\"}}", encode(&format!("{name}:p")));
        let entries = [
            "h.io/a/b",
            "h.io/a",
            "h.io",
            "https://old.io/v1/",
            "h.io:5000",
        ];
        let entries = entries.map(|key| format!("{key:?}:{}", entry(key)));
        let file = file(&format!("{{\"auths\":{{{}}}}}", entries.join(",")));
        for (host, repository, expected) in [
            ("h.io", "a/b", Some("h.io/a/b")),
            ("h.io", "a/b/c", Some("h.io/a/b")),
            ("h.io", "a/bc", Some("h.io/a")),
            ("h.io", "x", Some("h.io")),
            ("old.io", "x", Some("https://old.io/v1/")),
            ("h.io:5000", "x", Some("h.io")),
            ("x.h.io", "x", None),
            ("io", "x", None),
        ] {
            // A key's colon would end the user's name.
            let user = |key: &str| key.split(':').next().unwrap().to_owned();
            let rest = |key: &str| key.split_once(':').map(|(_, rest)| format!("{rest}:p"));
            let expected = match (host, expected) {
                ("h.io:5000", _) => Place::Here(password("h.io", "5000:p")),
                (_, None) => Place::Nowhere,
                (_, Some(key)) => Place::Here(password(
                    &user(key),
                    &rest(key).unwrap_or_else(|| "p".to_owned()),
                )),
            };
            assert_eq!(
                find(&file, host, repository),
                expected,
                "{host}/{repository}"
            );
        }
    }

    #[test]
    fn docker_hub_has_many_names() {
        for key in [
            "docker.io",
            "index.docker.io",
            "registry-1.docker.io",
            "https://index.docker.io/v1/",
            "https://index.docker.io/v2/",
            "http://docker.io",
            "https://registry-1.docker.io",
        ] {
            let text = format!(
                "{{\"auths\":{{\"{key}\":{{\"auth\":\"{}\"}}}}}}",
                encode("u:p")
            );
            let file = file(&text);
            for host in ["registry-1.docker.io", "docker.io", "index.docker.io"] {
                let found = find(&file, host, "library/nginx");
                assert_eq!(found, Place::Here(password("u", "p")), "{key} {host}");
            }
            assert_eq!(find(&file, "other.io", "x"), Place::Nowhere);
        }
        let helpers = file("{\"credHelpers\":{\"https://index.docker.io/v1/\":\"h\"}}");
        assert_eq!(
            find(&helpers, "registry-1.docker.io", "x"),
            Place::Helper("h")
        );
        assert_eq!(
            Wanted::new("registry-1.docker.io", "x").servers(),
            ["https://index.docker.io/v1/", "docker.io"]
        );
    }

    #[test]
    fn helpers_for_a_registry_come_first_and_the_store_last() {
        let file = file(&format!(
            "{{\"auths\":{{\"a.io\":{{\"auth\":\"{}\"}},\"b.io\":{{}},\"c.io\":null}},\"credHelpers\":{{\"a.io\":\"one\"}},\"credsStore\":\"two\"}}",
            encode("u:p")
        ));
        assert_eq!(find(&file, "a.io", "x"), Place::Helper("one"));
        for host in ["b.io", "c.io", "d.io"] {
            assert_eq!(find(&file, host, "x"), Place::Store("two"), "{host}");
        }
    }

    #[test]
    fn entries_hold_passwords_or_tokens() {
        for (entry, expected) in [
            (
                format!("\"auth\":\"{}\"", encode("u:p:q\0\0")),
                Some(password("u", "p:q")),
            ),
            (
                "\"username\":\"u\",\"password\":\"p\",\"auth\":\"\"".to_owned(),
                Some(password("u", "p")),
            ),
            (
                format!("\"auth\":\"{}\",\"identitytoken\":\"i\"", encode("u:")),
                Some(Credential::IdentityToken(Secret::new("i".to_owned()))),
            ),
            (
                "\"registrytoken\":\"r\",\"identitytoken\":\"i\",\"email\":null".to_owned(),
                Some(Credential::RegistryToken(Secret::new("r".to_owned()))),
            ),
            (format!("\"auth\":\"{}\"", encode(":")), None),
            ("\"auth\":null".to_owned(), None),
        ] {
            let file = file(&format!("{{\"auths\":{{\"h.io\":{{{entry}}}}}}}"));
            let expected = expected.map_or(Place::Nowhere, Place::Here);
            assert_eq!(find(&file, "h.io", "x"), expected, "{entry}");
        }
    }

    #[test]
    fn an_old_file_has_entries_by_url() {
        let text = format!(
            "{{\"https://h.io/v1/\":{{\"auth\":\"{}\"}},\"i.io/x\":{{\"auth\":\"{}\"}}}}",
            encode("u:p"),
            encode("v:q")
        );
        let file = AuthFile::parse(Path::new(".dockercfg"), &text, true).unwrap();
        assert_eq!(find(&file, "h.io", "a/b"), Place::Here(password("u", "p")));
        assert_eq!(find(&file, "i.io", "y"), Place::Here(password("v", "q")));
        assert_eq!(find(&file, "j.io", "y"), Place::Nowhere);
    }

    #[test]
    fn no_error_shows_a_secret() {
        let parse = |text: &str| AuthFile::parse(Path::new("f"), text, false);
        for (text, part) in [
            ("{\"auths\": {\"h.io\": \"secret\"}}", "line 1 column"),
            (
                "{\"auths\":\n {\"h.io\": {\"auth\": [\"secret\"]}}}",
                "line 2",
            ),
            ("{\"auths\": secret}", "not JSON"),
            ("", "not JSON"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
        for (auth, part) in [
            ("secret!".to_owned(), "base64"),
            (encode("secret"), "USER:PASSWORD"),
            (BASE64_STANDARD.encode(b"secret:\xff"), "not text"),
        ] {
            let file = file(&format!(
                "{{\"auths\":{{\"h.io\":{{\"auth\":\"{auth}\"}}}}}}"
            ));
            let error = file.find(Wanted::new("h.io", "x")).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
            assert!(error.contains("\"h.io\""), "{error}");
            assert!(!format!("{file:?}").contains(&auth));
        }
    }
}
