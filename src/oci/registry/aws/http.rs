//! Requests to Amazon's services, and to what is around a machine or container there.

use std::thread;
use std::time::Duration;

use super::AwsError;

/// Waits before further tries of a service that is busy or does not answer.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// Sends requests.
pub trait Http: Send + Sync {
    /// The answer, whatever its status; redirects are not followed.
    ///
    /// # Errors
    /// What went wrong, without secrets.
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, String>;
}

/// A request. It holds secrets, and cannot be shown.
#[derive(Clone)]
pub struct HttpRequest {
    /// `GET`, `PUT`, `POST`.
    pub method: &'static str,
    /// `https://host[:port]`, with a path where the user named a service so.
    pub origin: String,
    /// With its query.
    pub path: String,
    /// By lower-case names.
    pub headers: Vec<(&'static str, String)>,
    /// Empty for none.
    pub body: String,
    /// Who is asked.
    pub reach: Reach,
}

impl HttpRequest {
    /// Who is asked, for messages: a user's URL may hold a login.
    pub(in crate::oci::registry) fn shown(&self) -> String {
        let (scheme, host) = self.origin.split_once("://").unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        format!("{scheme}://{host}")
    }
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A service, perhaps through a proxy.
    Service,
    /// The machine's surroundings: link-local, never through a proxy, and soon known not to be
    /// there.
    Machine,
}

/// An answer.
#[derive(Clone)]
pub struct HttpResponse {
    /// HTTP status.
    pub status: u16,
    /// At most 1 MiB.
    pub body: Vec<u8>,
}

/// The answer to `request`; a service gets further tries.
pub(in crate::oci::registry) fn send(
    http: &dyn Http,
    request: &HttpRequest,
) -> Result<HttpResponse, AwsError> {
    let mut pauses = PAUSES.iter();
    loop {
        let answer = http.send(request);
        let is_final = match &answer {
            Ok(answer) => answer.status != 429 && answer.status < 500,
            Err(_) => false,
        };
        let pause = match request.reach {
            Reach::Service if !is_final => pauses.next(),
            _ => None,
        };
        match pause {
            Some(pause) => thread::sleep(*pause),
            None => {
                return answer.map_err(|reason| AwsError::Unreachable {
                    origin: request.shown(),
                    reason,
                });
            }
        }
    }
}
