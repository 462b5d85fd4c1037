//! Who may do what: Basic, and a token server.

use std::collections::BTreeMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::http::{Request, Response};

/// What the registry wants.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    #[default]
    Nothing,
    Basic {
        username: String,
        password: String,
    },
    /// Tokens of a server, this one where no realm is given.
    Bearer {
        realm: Option<String>,
    },
    /// One token, which no server makes.
    Fixed(String),
}

/// A token server's books.
#[derive(Default)]
pub struct Tokens {
    state: Mutex<State>,
    /// Makes tokens for a scope that another registry can check.
    signer: Option<Box<Signer>>,
}

type Signer = dyn Fn(&str) -> String + Send + Sync;

#[derive(Default)]
struct State {
    /// Who gets tokens; nobody named means anybody.
    user: Option<(String, String)>,
    refresh: Option<String>,
    life: Option<u64>,
    /// Requests that a token is good for.
    uses: Option<usize>,
    made: usize,
    /// Scopes and uses left, by token.
    good: BTreeMap<String, (String, usize)>,
}

/// Every token begins so.
pub const TOKEN: &str = "secret-token-";

impl Tokens {
    pub fn signed(signer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self {
            signer: Some(Box::new(signer)),
            ..Self::default()
        }
    }

    pub fn user(&self, username: &str, password: &str) {
        self.state.lock().unwrap().user = Some((username.to_owned(), password.to_owned()));
    }

    pub fn refresh(&self, token: &str) {
        self.state.lock().unwrap().refresh = Some(token.to_owned());
    }

    /// `expires_in`, which the registry doesn't check.
    pub fn life(&self, seconds: u64) {
        self.state.lock().unwrap().life = Some(seconds);
    }

    pub fn uses(&self, uses: usize) {
        self.state.lock().unwrap().uses = Some(uses);
    }

    pub fn made(&self) -> usize {
        self.state.lock().unwrap().made
    }

    pub(super) fn answer(&self, request: &Request) -> Response {
        let mut state = self.state.lock().unwrap();
        let (_, query) = request.path.split_once('?').unwrap_or_default();
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let parameters = if request.method == "POST" {
            form.as_str()
        } else {
            query
        };
        let get = |name: &str| {
            let pairs = parameters
                .split('&')
                .filter_map(|pair| pair.split_once('='));
            let found = pairs.clone().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.replace("%2C", ",").replace("%3A", ":"))
        };
        let is_known = match (&state.user, &state.refresh) {
            (Some((username, password)), _) => {
                request.headers.get("authorization") == Some(&basic(username, password))
            }
            (None, Some(refresh)) => {
                request.method == "POST" && get("refresh_token").as_ref() == Some(refresh)
            }
            (None, None) => true,
        };
        if !is_known {
            let echo = request
                .headers
                .get("authorization")
                .cloned()
                .unwrap_or(form);
            return Response::error(401, "UNAUTHORIZED", &format!("incorrect login: {echo}"));
        }
        state.made += 1;
        let scope = get("scope").unwrap();
        let token = match &self.signer {
            Some(sign) => sign(&scope),
            None => format!("{TOKEN}{}", state.made),
        };
        let uses = state.uses.unwrap_or(usize::MAX);
        state.good.insert(token.clone(), (scope, uses));
        let mut answer = json!({});
        let field = if request.method == "POST" {
            "access_token"
        } else {
            "token"
        };
        answer[field] = token.into();
        if let Some(life) = state.life {
            answer["expires_in"] = life.into();
        }
        Response::new(200)
            .with("Content-Type", "application/json")
            .body(answer.to_string().into_bytes())
    }

    fn is_good(&self, token: &str, wanted: &str) -> bool {
        let mut state = self.state.lock().unwrap();
        let Some((scope, uses)) = state.good.get_mut(token) else {
            return false;
        };
        if *uses == 0 || !scope.starts_with(wanted) {
            return false;
        }
        *uses -= 1;
        true
    }
}

pub fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", pair(username, password))
}

/// A login as `config.json` and the Basic scheme have it.
pub fn pair(username: &str, password: &str) -> String {
    BASE64_STANDARD.encode(format!("{username}:{password}"))
}

impl Auth {
    /// A 401, for who isn't known.
    pub(super) fn refuse(
        &self,
        tokens: &Tokens,
        request: &Request,
        base: &str,
    ) -> Option<Response> {
        if !request.path.starts_with("/v2/") {
            return None;
        }
        let given = request.headers.get("authorization");
        let challenge = match self {
            Self::Nothing => return None,
            Self::Basic { username, password } => {
                if given == Some(&basic(username, password)) {
                    return None;
                }
                "Basic realm=\"here, there\"".to_owned()
            }
            Self::Fixed(token) => {
                if given == Some(&format!("Bearer {token}")) {
                    return None;
                }
                "Bearer realm=\"https://nowhere.invalid/token\"".to_owned()
            }
            Self::Bearer { realm } => {
                let scope = scope(request);
                let token = given.and_then(|given| given.strip_prefix("Bearer "));
                if token.is_some_and(|token| tokens.is_good(token, &scope)) {
                    return None;
                }
                let realm = realm.clone().unwrap_or_else(|| format!("{base}/token"));
                format!("Bearer realm=\"{realm}\",service=\"test\",scope=\"{scope}\"")
            }
        };
        let echo = given.cloned().unwrap_or_default();
        let said = format!("authentication required, not {echo}");
        Some(Response::error(401, "UNAUTHORIZED", &said).with("WWW-Authenticate", challenge))
    }
}

fn scope(request: &Request) -> String {
    let rest = request.path.strip_prefix("/v2/").unwrap();
    let parts = ["/manifests/", "/blobs/", "/referrers/"];
    let name = parts.iter().find_map(|part| rest.split_once(part));
    let actions = if request.method == "GET" || request.method == "HEAD" {
        "pull"
    } else {
        "pull,push"
    };
    format!("repository:{}:{actions}", name.map_or("", |(name, _)| name))
}
