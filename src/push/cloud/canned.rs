//! Tests: answers in place of services.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;

use super::clock::Clock;
use super::http::Http;
use super::identity::Identity;
use super::send::{Sent, Wire};
use super::{Cloud, Region};

/// One answer: status, headers, body.
pub(super) type Reply = (u16, Vec<(&'static str, String)>, String);

/// A request that came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub url: String,
    pub authorization: String,
    pub date: String,
    /// `x-amz-content-sha256`.
    pub payload: String,
    pub body: String,
}

/// Gives its answers in order, to whoever asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Canned(Arc<Mutex<(VecDeque<Reply>, Vec<Seen>)>>);

impl Canned {
    pub fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self(Arc::new(Mutex::new((
            replies.into_iter().collect(),
            Vec::new(),
        ))))
    }

    /// Bodies of status 200.
    pub fn good<'a>(bodies: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(
            bodies
                .into_iter()
                .map(|body| (200, Vec::new(), body.to_owned())),
        )
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().1.clone()
    }

    /// A region of which this answers.
    pub fn region(&self, source: SharedCredentialsProvider) -> Region {
        self.cloud(Some(source)).region("eu-central-1")
    }

    /// An account of which this answers.
    pub fn cloud(&self, source: Option<SharedCredentialsProvider>) -> Cloud {
        let clock = Clock::default();
        let identity = Identity::new(source, clock.clone());
        let http = Http::canned(self.clone());
        let provider = SharedCredentialsProvider::new(identity.clone());
        let config = super::bare(SdkConfig::builder(), &http)
            .credentials_provider(provider)
            .build();
        Cloud {
            config: Arc::new(config),
            wire: Wire {
                http,
                identity,
                clock,
                sent: Sent::default(),
            },
        }
    }

    /// The same, with a plain access key.
    pub fn plain(&self) -> Region {
        let keys = Credentials::new("AKID", "hunter2", None, None, "test");
        self.region(SharedCredentialsProvider::new(keys))
    }
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut state = self.0.lock().unwrap();
        let header = |name: &str| request.headers().get(name).unwrap_or_default().to_owned();
        let body = request.body().bytes().unwrap_or_default();
        state.1.push(Seen {
            url: request.uri().to_owned(),
            authorization: header("authorization"),
            date: header("x-amz-date"),
            payload: header("x-amz-content-sha256"),
            body: String::from_utf8_lossy(body).into_owned(),
        });
        let (status, headers, body) = state.0.pop_front().expect("an answer is left");
        let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}
