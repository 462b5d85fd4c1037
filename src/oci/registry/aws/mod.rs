//! Who one is at Amazon, and requests signed as that: as much of it as its registries need.
//!
//! The AWS SDK is some 150 crates for it, `aws-sigv4` alone 50. The chain is that of the SDKs
//! ("AWS SDKs and Tools Reference Guide", Standardized credential providers).

mod chain;
mod http;
mod profile;
mod sigv4;
mod sts;
mod wire;

pub use http::{Http, HttpRequest, HttpResponse, Reach};

pub(super) use chain::Chain;
pub(super) use http::send;
pub(super) use sigv4::{Scope, sign};
pub(super) use wire::Wire;

use super::auth_file::Malformed;
use super::{Environment, Secret, SettingsError};

/// An access key.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub id: String,
    pub secret: Secret,
    /// Temporary keys have one.
    pub session_token: Option<Secret>,
}

/// Where Amazon's services are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    /// `eu-central-1`.
    pub name: String,
    /// `amazonaws.com`.
    pub suffix: String,
    /// Services by certified cryptography only.
    pub fips: bool,
    /// Services that have IPv6.
    pub dual_stack: bool,
}

/// Why Amazon does not say who one is, or to whom. It shows no secret.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// Nobody knows any keys.
    #[error(
        "find AWS credentials: none in the environment, a profile, the container or the machine's role"
    )]
    NoKeys,
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] SettingsError),
    /// A source of credentials is configured and gives none.
    #[error("find AWS credentials in {place}: {reason}")]
    Source {
        /// `profile "x"`, …
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A service cannot be reached.
    #[error("ask {origin}: {reason}")]
    Unreachable {
        /// `https://host`.
        origin: String,
        /// What went wrong.
        reason: String,
    },
    /// A service refuses.
    #[error("ask {origin} for {action}: {code} (HTTP {status}){}", message.as_deref().map(|message| format!(": {message}")).unwrap_or_default())]
    Refused {
        /// `https://host`.
        origin: String,
        /// What it was asked for.
        action: &'static str,
        /// HTTP status.
        status: u16,
        /// The service's name for the error.
        code: String,
        /// Its words.
        message: Option<String>,
    },
    /// A service's answer makes no sense.
    #[error("ask {origin} for {action}: its answer {reason}")]
    Answer {
        /// `https://host`.
        origin: String,
        /// What it was asked for.
        action: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl AwsError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoKeys => {
                "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in with: \
                 aws ecr get-login-password | podman login --username AWS --password-stdin HOST"
            }
            Self::Refused { code, message, .. } => {
                let says = |part: &str| message.as_ref().is_some_and(|text| text.contains(part));
                if says("Signature expired") || says("Signature not yet current") {
                    "check this machine's clock"
                } else if code.starts_with("ExpiredToken") {
                    "renew the AWS credentials; they have run out"
                } else if code.starts_with("AccessDenied") {
                    "allow ecr:GetAuthorizationToken (ecr-public:GetAuthorizationToken) and, for a \
                     role, sts:AssumeRole"
                } else {
                    return None;
                }
            }
            Self::Read(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl Region {
    /// `https://…` of a service: the user's, or Amazon's that `host` makes of the region, `-fips`
    /// or nothing, and the suffix.
    pub fn origin(
        &self,
        environment: &Environment,
        service: &str,
        host: impl FnOnce(&str, &str, &str) -> String,
    ) -> String {
        let says = |name| {
            environment
                .text(name)
                .is_some_and(|text| text.eq_ignore_ascii_case("true"))
        };
        if !says("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
            let own = environment.text(&format!("AWS_ENDPOINT_URL_{service}"));
            if let Some(own) = own.or_else(|| environment.text("AWS_ENDPOINT_URL")) {
                return own.trim_end_matches('/').to_owned();
            }
        }
        let fips = self.fips || says("AWS_USE_FIPS_ENDPOINT");
        let dual = self.dual_stack || says("AWS_USE_DUALSTACK_ENDPOINT");
        let suffix = match self.suffix.as_str() {
            "amazonaws.com" if dual => "api.aws",
            "amazonaws.com.cn" if dual => "api.amazonwebservices.com.cn",
            suffix => suffix,
        };
        let host = host(&self.name, if fips { "-fips" } else { "" }, suffix);
        format!("https://{host}")
    }
}

impl Keys {
    /// `text` without these secrets: services quote what they were sent.
    pub fn conceal(&self, text: &str) -> String {
        let mut text = text.lines().next().unwrap_or_default().to_owned();
        for secret in [Some(&self.secret), self.session_token.as_ref()] {
            if let Some(secret) = secret
                .map(Secret::reveal)
                .filter(|secret| !secret.is_empty())
            {
                text = text.replace(secret, "…");
            }
        }
        text
    }
}

/// An error for an answer that is no JSON, or not what it should be.
fn no_json(origin: &str, action: &'static str) -> impl Fn(Malformed) -> AwsError {
    move |error| AwsError::Answer {
        origin: origin.to_owned(),
        action,
        reason: error.to_string(),
    }
}
