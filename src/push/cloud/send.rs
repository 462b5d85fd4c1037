//! One signed request and its answer, for the services of our own client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningParams, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_runtime_api::client::identity::Identity as Signer;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use super::call::{Call, chain};
use super::clock::Clock;
use super::failure::{Failure, Said, of_connector};
use super::http::{ATTEMPT, CONNECT, Http};
use super::identity::Identity;
use super::query::encoded;
use super::{CallError, Kind};

/// No answer of these services is longer: a page of 1,000 AMIs is some 3 MB.
const ANSWER: usize = 64 << 20;

/// What every service has in common.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub http: Http,
    pub identity: Identity,
    pub clock: Clock,
    pub sent: Sent,
}

/// How many requests were sent, of all clones.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Arc<AtomicU64>);

impl Sent {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So many.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A service in a region.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub wire: Wire,
    /// `https://HOST`.
    pub origin: String,
    pub region: String,
    /// As signatures name it.
    pub name: &'static str,
}

impl Service {
    /// Sends `body`, once. `said` reads an answer that is no success.
    pub async fn post(
        &self,
        call: &Call,
        headers: &[(&'static str, &str)],
        body: String,
        said: impl Fn(&str) -> Said,
    ) -> Result<String, CallError> {
        let keys = self.wire.identity.keys(call).await?;
        let request = self
            .request(&keys, headers, body)
            .map_err(|reason| call.failed(Kind::Invalid, "Request", reason))?;
        self.wire.sent.add();
        let answer = timeout(ATTEMPT, self.exchange(call, request)).await;
        let (response, body) = answer.map_err(|_| late(call))??;
        let is_skewed = self.wire.clock.hears(response.headers().get("date"));
        let text = String::from_utf8_lossy(&body);
        if response.status().is_success() {
            return Ok(text.into_owned());
        }
        let failure = Failure::of(&response, said(&text), is_skewed);
        Err(failure.heard(call, &self.wire.identity, &keys).await)
    }

    /// A signed request. The error says what is wrong with it.
    fn request(
        &self,
        keys: &Credentials,
        headers: &[(&'static str, &str)],
        body: String,
    ) -> Result<HttpRequest, String> {
        let url = format!("{}/", self.origin);
        let signed = self.signature(keys, &url, headers, &body, self.wire.clock.now())?;
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").map_err(|error| chain(&error))?;
        request.set_uri(url).map_err(|error| chain(&error))?;
        let own = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        for (name, value) in own.chain(signed) {
            request
                .headers_mut()
                .try_insert(name, value)
                .map_err(|error| chain(&error))?;
        }
        Ok(request)
    }

    /// The headers that sign a request.
    fn signature(
        &self,
        keys: &Credentials,
        url: &str,
        headers: &[(&'static str, &str)],
        body: &str,
        time: SystemTime,
    ) -> Result<Vec<(&'static str, String)>, String> {
        let signer = Signer::from(keys.clone());
        let params = self.params(&signer, SigningSettings::default(), time)?;
        let body = SignableBody::Bytes(body.as_bytes());
        let signed = SignableRequest::new("POST", url, headers.iter().copied(), body)
            .and_then(|request| sign(request, &params))
            .map_err(|error| chain(&error))?;
        let (instructions, _) = signed.into_parts();
        let (headers, _) = instructions.into_parts();
        Ok(headers
            .iter()
            .map(|header| (header.name(), header.value().to_owned()))
            .collect())
    }

    /// A URL that whoever has it may call for an hour as if with `keys`.
    pub fn presigned(&self, keys: &Credentials, query: &str) -> Result<String, String> {
        let url = format!("{}/?{query}", self.origin);
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(3600));
        let signer = Signer::from(keys.clone());
        let params = self.params(&signer, settings, self.wire.clock.now())?;
        let signed = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::empty())
            .and_then(|request| sign(request, &params))
            .map_err(|error| chain(&error))?;
        let (instructions, _) = signed.into_parts();
        let pairs = instructions.params().iter();
        Ok(pairs.fold(url, |url, (name, value)| {
            format!("{url}&{name}={}", encoded(value))
        }))
    }

    fn params<'a>(
        &'a self,
        signer: &'a Signer,
        settings: SigningSettings,
        time: SystemTime,
    ) -> Result<SigningParams<'a>, String> {
        v4::SigningParams::builder()
            .identity(signer)
            .region(&self.region)
            .name(self.name)
            .time(time)
            .settings(settings)
            .build()
            .map(SigningParams::V4)
            .map_err(|error| chain(&error))
    }

    async fn exchange(
        &self,
        call: &Call,
        request: HttpRequest,
    ) -> Result<(HttpResponse, Bytes), CallError> {
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(CONNECT)
            .build();
        let connector = self.wire.http.connector(&settings);
        let mut response = connector
            .call(request)
            .await
            .map_err(|error| of_connector(call, &error))?;
        let body = ByteStream::new(response.take_body());
        let body = read(call, body, ANSWER).await?;
        Ok((response, body))
    }
}

/// No answer came in time.
pub(super) fn late(call: &Call) -> CallError {
    let message = format!("no answer within {} s", ATTEMPT.as_secs());
    call.failed(Kind::Transient, CallError::TIMEOUT, message)
}

/// A whole body of at most `limit` bytes.
pub(super) async fn read(
    call: &Call,
    mut body: ByteStream,
    limit: usize,
) -> Result<Bytes, CallError> {
    let mut all = BytesMut::new();
    loop {
        let part = body
            .try_next()
            .await
            .map_err(|error| call.failed(Kind::Transient, CallError::CONNECTION, chain(&error)))?;
        let Some(part) = part else {
            return Ok(all.freeze());
        };
        if all.len() + part.len() > limit {
            return Err(call.senseless(format!("more than {limit} bytes")));
        }
        all.extend_from_slice(&part);
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::SharedCredentialsProvider;

    use super::*;

    fn service() -> Service {
        let keys = keys();
        Service {
            wire: Wire {
                http: Http::new(|_| None).unwrap(),
                identity: Identity::new(
                    Some(SharedCredentialsProvider::new(keys)),
                    Clock::default(),
                ),
                clock: Clock::default(),
                sent: Sent::default(),
            },
            origin: "https://example.amazonaws.com".to_owned(),
            region: "us-east-1".to_owned(),
            name: "service",
        }
    }

    fn keys() -> Credentials {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        Credentials::new("AKIDEXAMPLE", secret, None, None, "test")
    }

    /// `post-x-www-form-urlencoded` of Amazon's test suite for Signature Version 4, as first
    /// published.
    #[test]
    fn amazons_own_example_is_signed_as_amazon_signs_it() {
        let time = httpdate::parse_http_date("Sun, 30 Aug 2015 12:36:00 GMT").unwrap();
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let url = "https://example.amazonaws.com/";
        let signed = service()
            .signature(&keys(), url, &headers, "Param1=value1", time)
            .unwrap();
        let signed: std::collections::BTreeMap<_, _> = signed.into_iter().collect();
        assert_eq!(signed["x-amz-date"], "20150830T123600Z");
        assert_eq!(
            signed["authorization"],
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
    }

    #[test]
    fn a_session_token_travels_and_a_bad_origin_is_refused() {
        let headers = [("content-type", "x")];
        let keys = Credentials::new("A", "B", Some("C".to_owned()), None, "test");
        let request = service().request(&keys, &headers, String::new()).unwrap();
        assert_eq!(request.method(), "POST");
        assert_eq!(request.headers().get("x-amz-security-token"), Some("C"));
        let mut service = service();
        service.origin = "https://not a host".to_owned();
        assert!(service.request(&keys, &headers, String::new()).is_err());
    }

    #[test]
    fn a_presigned_url_has_everything_in_its_query() {
        let keys = Credentials::new("A", "hunter2", Some("C/+".to_owned()), None, "test");
        let url = service()
            .presigned(&keys, "Action=CopySnapshot&Description=a%20b")
            .unwrap();
        let begin = "https://example.amazonaws.com/?Action=CopySnapshot&Description=a%20b&X-Amz-";
        assert!(url.starts_with(begin), "{url}");
        for part in [
            "X-Amz-Expires=3600",
            "X-Amz-Security-Token=C%2F%2B",
            "X-Amz-Signature=",
        ] {
            assert!(url.contains(part), "{url} has no {part}");
        }
        assert!(!url.contains("hunter2"));
    }

    #[tokio::test]
    async fn an_endless_body_is_cut() {
        let call = Call::new("x", "y");
        let body = || ByteStream::from_static(b"12345");
        assert_eq!(read(&call, body(), 5).await.unwrap().as_ref(), b"12345");
        let error = read(&call, body(), 4).await.unwrap_err();
        assert_eq!(error.code, CallError::ANSWER);
    }
}
