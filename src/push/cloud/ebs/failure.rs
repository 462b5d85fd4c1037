//! The SDK's errors as ours.

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use serde_json::Value;
use tokio::time::error::Elapsed;

use super::super::CallError;
use super::super::call::{Call, chain};
use super::super::failure::{Failure, Said, of_client, of_connector};
use super::super::send::late;
use super::Ebs;

/// What the client makes of a call.
pub(super) type Sent<T, E> = Result<T, SdkError<E, HttpResponse>>;

impl Ebs {
    /// The answer to a call signed with `keys`, or why there is none.
    pub(super) async fn answer<T, E>(
        &self,
        call: &Call,
        keys: &Credentials,
        sent: Result<Sent<T, E>, Elapsed>,
    ) -> Result<T, CallError>
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let error = match sent {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => return Err(late(call)),
        };
        let failure = match &error {
            SdkError::ServiceError(failed) => {
                let said = said(failed.err(), failed.raw());
                self.heard(failed.raw(), said)
            }
            // An answer of which the client makes no sense: its status says what to do next.
            SdkError::ResponseError(failed) if !failed.raw().status().is_success() => {
                self.heard(failed.raw(), Said::default())
            }
            SdkError::ResponseError(_) => return Err(call.senseless(chain(&error))),
            SdkError::DispatchFailure(failed) => {
                return Err(match failed.as_connector_error() {
                    Some(error) => of_connector(call, error),
                    None => of_client(call, &error),
                });
            }
            SdkError::TimeoutError(_) => return Err(late(call)),
            _ => return Err(of_client(call, &error)),
        };
        Err(failure.heard(call, &self.wire.identity, keys).await)
    }

    fn heard(&self, response: &HttpResponse, said: Said) -> Failure {
        // The client corrects its own clock by the same header; ours is for the other services.
        let is_skewed = self.wire.clock.hears(response.headers().get("date"));
        Failure::of(response, said, is_skewed)
    }
}

/// What the service says; its reason too, where it gives one: `INVALID_BLOCK_TOKEN`, ….
fn said(error: &impl ProvideErrorMetadata, response: &HttpResponse) -> Said {
    let message = error.message().unwrap_or_default();
    Said {
        code: error.code().unwrap_or_default().to_owned(),
        message: match reason(response) {
            Some(reason) if message.is_empty() => reason,
            Some(reason) => format!("{message} ({reason})"),
            None => message.to_owned(),
        },
        request_id: None,
    }
}

fn reason(response: &HttpResponse) -> Option<String> {
    let body: Value = serde_json::from_slice(response.body().bytes()?).ok()?;
    let reason = body.get("Reason").or_else(|| body.get("reason"))?;
    reason.as_str().map(str::to_owned)
}
