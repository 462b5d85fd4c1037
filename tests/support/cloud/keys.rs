//! Who may ask: a user with fixed keys, and sessions that end.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::answer::{Outcome, Refusal};
use super::http::Request;
use super::settings::Settings;
use super::signature::Signed;

/// The account whose everything is.
pub const ACCOUNT: &str = "111122223333";
/// The user's keys.
pub const KEY: &str = "AKIAI2KITFAKEUSER000";
/// The user's secret. Tests look for it in all output.
pub const SECRET: &str = "fakeSecret/oF+The+Fake/Account/NeverPrinted";

struct Session {
    secret: String,
    token: String,
    ends: SystemTime,
    /// Requests that it is still good for.
    left: Option<u64>,
}

/// A session's keys.
pub struct Made {
    pub key: String,
    pub secret: String,
    pub token: String,
    pub ends: SystemTime,
}

#[derive(Default)]
pub struct Keys {
    sessions: BTreeMap<String, Session>,
}

impl Keys {
    /// A new session.
    pub fn session(&mut self, settings: &Settings, now: SystemTime) -> Made {
        let number = self.sessions.len() + 1;
        let made = Made {
            key: format!("ASIAI2KITSESSION{number:04}"),
            secret: format!("sessionSecret{number}/NeverPrinted"),
            token: format!("sessionToken{number}+NeverPrinted=="),
            ends: now + settings.session_lifetime,
        };
        let session = Session {
            secret: made.secret.clone(),
            token: made.token.clone(),
            ends: made.ends,
            left: settings.session_requests,
        };
        self.sessions.insert(made.key.clone(), session);
        made
    }

    /// The secret of who asks, unless the session is over.
    pub fn secret(
        &mut self,
        signed: &Signed,
        request: &Request,
        now: SystemTime,
    ) -> Outcome<String> {
        let token = request.header("x-amz-security-token");
        if signed.key == KEY {
            return match token {
                None => Ok(SECRET.to_owned()),
                Some(_) => Err(unknown(&signed.service)),
            };
        }
        let session = self.sessions.get_mut(&signed.key);
        let session = session.filter(|session| Some(session.token.as_str()) == token);
        let session = session.ok_or_else(|| unknown(&signed.service))?;
        if session.ends <= now || session.left == Some(0) {
            return Err(expired(&signed.service));
        }
        session.left = session.left.map(|left| left - 1);
        Ok(session.secret.clone())
    }
}

fn unknown(service: &str) -> Refusal {
    let message = "The security token included in the request is invalid.";
    match service {
        "ec2" => Refusal::new(
            401,
            "AuthFailure",
            "AWS was not able to validate the provided access credentials",
        ),
        "ebs" => Refusal::new(403, "UnrecognizedClientException", message),
        "ssm" => Refusal::new(400, "UnrecognizedClientException", message),
        _ => Refusal::new(403, "InvalidClientTokenId", message),
    }
}

fn expired(service: &str) -> Refusal {
    let message = "The security token included in the request is expired";
    match service {
        "ec2" => Refusal::new(400, "RequestExpired", "Request has expired."),
        "ebs" => Refusal::new(403, "ExpiredTokenException", message),
        "ssm" => Refusal::new(400, "ExpiredTokenException", message),
        _ => Refusal::new(403, "ExpiredToken", message),
    }
}
