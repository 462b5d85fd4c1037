//! What comes instead of an answer: a service's refusal, or nothing.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;

use super::call::{Call, chain};
use super::identity::{Identity, conceal};
use super::kind::says_keys_are_old;
use super::{CallError, Kind};

/// What a service says of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub code: String,
    pub message: String,
    pub request_id: Option<String>,
}

/// An answer that is no success.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    status: u16,
    said: Said,
    is_skewed: bool,
    retry_after: Option<Duration>,
}

impl Failure {
    /// `is_skewed`: this machine's clock is too wrong for a signature.
    pub fn of(response: &HttpResponse, said: Said, is_skewed: bool) -> Self {
        let header = |name: &str| response.headers().get(name);
        let id = header("x-amzn-requestid").or_else(|| header("x-amz-request-id"));
        Self {
            status: response.status().as_u16(),
            said: Said {
                request_id: said.request_id.or_else(|| id.map(str::to_owned)),
                ..said
            },
            is_skewed,
            retry_after: header("retry-after").and_then(retry_after),
        }
    }

    /// The error of `call`, which was signed with `keys`. Those that have run out are forgotten.
    pub async fn heard(self, call: &Call, identity: &Identity, keys: &Credentials) -> CallError {
        let Said {
            code,
            message,
            request_id,
        } = self.said;
        if says_keys_are_old(&code) {
            identity.forget(keys).await;
        }
        let kind = Kind::of(self.status, &code, self.is_skewed);
        let code = match code.is_empty() {
            true => format!("HTTP {}", self.status),
            false => code,
        };
        call.failed(kind, &code, conceal(&message, keys))
            .told(request_id, self.retry_after)
    }
}

/// No answer came: the connection was not made, or broke.
pub(super) fn of_connector(call: &Call, error: &ConnectorError) -> CallError {
    let text = chain(error);
    let says = |part: &str| text.contains(part);
    let (kind, code) = if error.is_timeout() {
        (Kind::Transient, CallError::TIMEOUT)
    } else if says("invalid peer certificate") {
        (Kind::Other, CallError::CERTIFICATE)
    } else if says("Name or service not known") || says("No address associated with hostname") {
        (Kind::Other, CallError::NO_HOST)
    } else if error.is_user() {
        (Kind::Invalid, CallError::CONNECTION)
    } else {
        (Kind::Transient, CallError::CONNECTION)
    };
    call.failed(kind, code, text)
}

/// Something else broke between the call and the wire.
pub(super) fn of_client(call: &Call, error: &(dyn Error + 'static)) -> CallError {
    call.failed(Kind::Other, "Client", chain(error))
}

/// `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3).
fn retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_smithy_types::body::SdkBody;

    use super::super::clock::Clock;
    use super::*;

    fn keys() -> Credentials {
        Credentials::new("AKID", "hunter2", Some("token3".to_owned()), None, "test")
    }

    async fn error(status: u16, said: Said, header: Option<(&'static str, &str)>) -> CallError {
        let status = status.try_into().unwrap();
        let mut response = HttpResponse::new(status, SdkBody::empty());
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value.to_owned());
        }
        let identity = Identity::new(
            Some(SharedCredentialsProvider::new(keys())),
            Clock::default(),
        );
        let failure = Failure::of(&response, said, false);
        let call = Call::new("delete snapshot", "snap-1");
        failure.heard(&call, &identity, &keys()).await
    }

    #[tokio::test]
    async fn what_a_service_quotes_of_a_secret_is_not_shown() {
        let said = Said {
            code: "SignatureDoesNotMatch".to_owned(),
            message: "x-amz-security-token:token3 and hunter2".to_owned(),
            request_id: Some("abc".to_owned()),
        };
        let error = error(403, said, None).await;
        for text in [format!("{error}"), format!("{error:?}")] {
            assert!(!text.contains("token3") && !text.contains("hunter2"));
        }
        assert_eq!(error.kind, Kind::Denied);
        assert_eq!(error.request_id.as_deref(), Some("abc"));
    }

    #[tokio::test]
    async fn an_answer_without_a_code_has_its_status() {
        let error = error(503, Said::default(), Some(("retry-after", "7"))).await;
        assert_eq!(error.to_string(), "delete snapshot snap-1: HTTP 503");
        assert_eq!(error.kind, Kind::Transient);
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        let past = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(90));
        assert_eq!(retry_after(&past), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
        assert_eq!(retry_after("-1"), None);
    }

    #[test]
    fn a_broken_connection_is_tried_again_and_a_false_host_is_not() {
        let call = Call::new("x", "y");
        let io = |text: &'static str| ConnectorError::io(text.into());
        let reset = of_connector(&call, &io("connection reset by peer"));
        assert_eq!(reset.kind, Kind::Transient);
        let name = "failed to lookup address information: Name or service not known";
        assert_eq!(of_connector(&call, &io(name)).code, CallError::NO_HOST);
        let busy = "failed to lookup address information: Temporary failure in name resolution";
        assert_eq!(of_connector(&call, &io(busy)).kind, Kind::Transient);
        let false_host = of_connector(&call, &io("invalid peer certificate: UnknownIssuer"));
        assert_eq!(false_host.kind, Kind::Other);
        let late = of_connector(&call, &ConnectorError::timeout("connect".into()));
        assert_eq!(late.code, CallError::TIMEOUT);
    }
}
