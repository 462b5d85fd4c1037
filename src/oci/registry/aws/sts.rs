//! The Security Token Service: temporary keys of a role ("AssumeRole", "AssumeRoleWithWebIdentity").

use std::time::SystemTime;

use roxmltree::Document;

use super::sigv4::encode;
use super::{
    AwsError, Environment, Http, HttpRequest, HttpResponse, Keys, Reach, Region, Scope, send, sign,
};
use crate::oci::registry::Secret;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// Whose keys are wanted.
pub(super) struct Role<'a> {
    pub arn: &'a str,
    pub session_name: &'a str,
    pub external_id: Option<&'a str>,
    pub duration_seconds: Option<&'a str>,
}

/// As whom a role is asked for.
pub(super) enum As<'a> {
    Keys(&'a Keys),
    /// A token of an identity provider.
    WebIdentity(&'a str),
}

/// The keys of `role`.
pub(super) fn assume(
    environment: &Environment,
    http: &dyn Http,
    region: &Region,
    role: &Role<'_>,
    identity: &As<'_>,
) -> Result<Keys, AwsError> {
    let origin = region.origin(environment, "STS", |region, fips, suffix| {
        format!("sts{fips}.{region}.{suffix}")
    });
    let (action, token) = match identity {
        As::Keys(_) => ("AssumeRole", None),
        As::WebIdentity(token) => ("AssumeRoleWithWebIdentity", Some(*token)),
    };
    let mut request = HttpRequest {
        method: "POST",
        origin,
        path: "/".to_owned(),
        headers: vec![("content-type", FORM.to_owned())],
        body: form(&[
            ("Action", Some(action)),
            ("Version", Some("2011-06-15")),
            ("RoleArn", Some(role.arn)),
            ("RoleSessionName", Some(role.session_name)),
            ("ExternalId", role.external_id),
            ("DurationSeconds", role.duration_seconds),
            ("WebIdentityToken", token),
        ]),
        reach: Reach::Service,
    };
    if let As::Keys(keys) = identity {
        let scope = Scope {
            region: &region.name,
            service: "sts",
            now: SystemTime::now(),
        };
        sign(&mut request, keys, scope);
    }
    let answer = send(http, &request)?;
    let conceal = |text: &str| match identity {
        As::Keys(keys) => keys.conceal(text),
        As::WebIdentity(token) => text.lines().next().unwrap_or_default().replace(token, "…"),
    };
    parse(&request.shown(), action, &answer, conceal)
}

/// Those fields that have a value.
fn form(fields: &[(&str, Option<&str>)]) -> String {
    let fields = fields
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", encode((*value)?, b""))));
    fields.collect::<Vec<_>>().join("&")
}

fn parse(
    origin: &str,
    action: &'static str,
    answer: &HttpResponse,
    conceal: impl Fn(&str) -> String,
) -> Result<Keys, AwsError> {
    let bad = |reason: &str| AwsError::Answer {
        origin: origin.to_owned(),
        action,
        reason: reason.to_owned(),
    };
    let text = str::from_utf8(&answer.body).map_err(|_| bad("is not text"))?;
    let document = Document::parse(text);
    let find = |name: &str| {
        let document = document.as_ref().ok()?;
        let mut all = document.descendants();
        let found = all.find(|node| node.tag_name().name() == name)?;
        found.text().map(str::to_owned)
    };
    if answer.status != 200 {
        return Err(AwsError::Refused {
            origin: origin.to_owned(),
            action,
            status: answer.status,
            code: find("Code").unwrap_or_else(|| "no code".to_owned()),
            message: find("Message").map(|message| conceal(&message)),
        });
    }
    let wanted = |name: &str| find(name).ok_or_else(|| bad(&format!("has no {name}")));
    Ok(Keys {
        id: wanted("AccessKeyId")?,
        secret: Secret::new(wanted("SecretAccessKey")?),
        session_token: Some(Secret::new(wanted("SessionToken")?)),
    })
}
