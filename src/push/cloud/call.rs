//! Why one attempt of one call failed, and what the user can do about it.

use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use super::Kind;

/// One attempt of one call failed. Shows no credential. As small as a pointer, since nearly every
/// function here may answer with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError(Box<Failed>);

/// What failed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What was to be done: `put block`.
    pub operation: &'static str,
    /// To what: `17 of snap-1`.
    pub object: String,
    /// What it means for the next attempt.
    pub kind: Kind,
    /// The service's name for it, or ours where no answer came: [`CallError::TIMEOUT`], ….
    pub code: String,
    /// The service's words.
    pub message: String,
    /// What Amazon's support asks for.
    pub request_id: Option<String>,
    /// What the service asks to wait before the next attempt (`Retry-After`).
    pub retry_after: Option<Duration>,
}

impl Deref for CallError {
    type Target = Failed;

    fn deref(&self) -> &Failed {
        &self.0
    }
}

impl CallError {
    /// Code where no answer came in time.
    pub const TIMEOUT: &str = "Timeout";
    /// Code where the connection could not be made, or broke.
    pub const CONNECTION: &str = "Connection";
    /// Code where the host has no address.
    pub const NO_HOST: &str = "NoSuchHost";
    /// Code where nobody vouches for the host.
    pub const CERTIFICATE: &str = "Certificate";
    /// Code where an answer makes no sense.
    pub const ANSWER: &str = "BadAnswer";
    /// Code where a block is not what the service says it is.
    pub const CHECKSUM: &str = "Checksum";
    /// Code where nobody knows any credentials.
    pub const NO_KEYS: &str = "NoCredentials";
    /// Code where a source of credentials fails.
    pub const KEYS: &str = "Credentials";

    /// The error of what failed.
    #[must_use]
    pub fn new(failed: Failed) -> Self {
        Self(Box::new(failed))
    }

    /// With what the answer's headers say: the request's id, and how long to wait.
    pub(super) fn told(mut self, request_id: Option<String>, wait: Option<Duration>) -> Self {
        self.0.request_id = request_id;
        self.0.retry_after = wait;
        self
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match (self.kind, self.code.as_str()) {
            (_, Self::NO_KEYS) => {
                "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; or: aws sso login"
            }
            (_, Self::KEYS) => {
                "check the profile: aws sts get-caller-identity says who one is and why not"
            }
            (_, Self::CERTIFICATE) => {
                "name the authority's file in AWS_CA_BUNDLE, or check who answers in Amazon's place"
            }
            (_, Self::NO_HOST) => "check the region's name, AWS_ENDPOINT_URL and HTTPS_PROXY",
            (_, Self::TIMEOUT | Self::CONNECTION) => {
                "check the network, AWS_ENDPOINT_URL and HTTPS_PROXY"
            }
            (Kind::Expired, "RequestTimeTooSkewed") => "check this machine's clock",
            (Kind::Expired, _) => {
                "renew the AWS credentials, they have run out (aws sso login); or check this \
                 machine's clock"
            }
            (Kind::Throttled, _) => {
                "wait, or ask for a higher quota: what else runs in this account and region counts \
                 too"
            }
            (Kind::Quota, _) => {
                "ask for a higher quota (Service Quotas), or remove what is not needed: i2kit prune"
            }
            (Kind::Denied, "OptInRequired") => "enable the region for the account",
            (Kind::Denied, "Blocked" | "PendingVerification") => {
                "the account is blocked: only Amazon's support can change that"
            }
            (Kind::Denied, code) if is_about_keys(code) => {
                "check the access key and its secret, and that the account has this region enabled"
            }
            (Kind::Denied, _) => {
                "allow it: i2kit push --print-iam-policy prints the policy that suffices"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// True for codes by which a service says that it knows nobody of that key.
fn is_about_keys(code: &str) -> bool {
    matches!(
        code,
        "AuthFailure"
            | "IncompleteSignature"
            | "InvalidAccessKeyId"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException"
    )
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation, self.object, self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl Error for CallError {}

/// What is called, for its errors.
#[derive(Clone, Debug)]
pub(super) struct Call {
    operation: &'static str,
    object: String,
}

impl Call {
    pub fn new(operation: &'static str, object: impl Into<String>) -> Self {
        Self {
            operation,
            object: object.into(),
        }
    }

    /// It failed before there was an answer, or because of what the answer is.
    pub fn failed(&self, kind: Kind, code: &str, message: impl Into<String>) -> CallError {
        let failed = Failed {
            operation: self.operation,
            object: self.object.clone(),
            kind,
            code: code.to_owned(),
            message: message.into(),
            request_id: None,
            retry_after: None,
        };
        CallError::new(failed)
    }

    /// The answer makes no sense; the next may.
    pub fn senseless(&self, message: impl Into<String>) -> CallError {
        self.failed(Kind::Transient, CallError::ANSWER, message)
    }
}

/// An error and its causes in one line, each said once.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        next = cause.source();
        let text = cause.to_string();
        let text = text.lines().next().unwrap_or_default();
        if line.contains(text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(text);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> CallError {
        let call = Call::new("put block", "17 of snap-1");
        call.failed(Kind::Throttled, "ThrottlingException", "Rate exceeded")
            .told(Some("abc".to_owned()), None)
    }

    #[test]
    fn it_says_operation_object_and_the_services_words() {
        assert_eq!(
            error().to_string(),
            "put block 17 of snap-1: ThrottlingException: Rate exceeded (request abc)"
        );
        let bare = Call::new("delete", "snap-1").failed(Kind::Transient, "HTTP 503", "");
        assert_eq!(bare.to_string(), "delete snap-1: HTTP 503");
    }

    #[test]
    fn hints_name_the_cure() {
        let hint = |kind, code: &str| {
            let error = Call::new("x", "y").failed(kind, code, "");
            error.hint().unwrap_or_default()
        };
        assert!(hint(Kind::Expired, "RequestTimeTooSkewed").contains("clock"));
        assert!(hint(Kind::Expired, "ExpiredToken").contains("renew"));
        assert!(hint(Kind::Denied, "UnauthorizedOperation").contains("--print-iam-policy"));
        assert!(hint(Kind::Denied, "AuthFailure").contains("access key"));
        assert!(hint(Kind::Denied, "Blocked").contains("support"));
        assert!(hint(Kind::Denied, CallError::NO_KEYS).contains("AWS_PROFILE"));
        assert!(hint(Kind::Transient, CallError::TIMEOUT).contains("network"));
        assert!(hint(Kind::Quota, "SnapshotLimitExceeded").contains("quota"));
        assert_eq!(hint(Kind::Conflict, "IncorrectState"), "");
    }

    #[test]
    fn a_chain_says_everything_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("send{0}")]
        struct Outer(&'static str, #[source] std::io::Error);
        let inner = || std::io::Error::other("reset by peer\nsecond line");
        assert_eq!(chain(&Outer("", inner())), "send: reset by peer");
        assert_eq!(
            chain(&Outer(": reset by peer", inner())),
            "send: reset by peer"
        );
    }
}
