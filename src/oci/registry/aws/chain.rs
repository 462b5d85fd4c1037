//! Where an access key comes from: the first that has one of the environment, a web identity, a
//! profile, the container and the machine's role.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::profile::{Profile, Profiles};
use super::sts::{As, Role, assume};
use super::{AwsError, Http, HttpRequest, HttpResponse, Keys, Reach, Region, no_json, send};
use crate::oci::registry::auth_file::parse_json;
use crate::oci::registry::settings::read;
use crate::oci::registry::{Secret, Settings, program};

/// Profiles that lead from one to the next, at most.
const MAX_PROFILES: usize = 8;
/// Where ECS has a container's credentials.
const CONTAINER: &str = "http://169.254.170.2";
/// Where EC2 has a machine's, over IPv4 and IPv6.
const MACHINE: [&str; 2] = ["http://169.254.169.254", "http://[fd00:ec2::254]"];
/// What roles call a session that has no other name.
const SESSION: &str = "i2kit";

/// What the AWS CLI can do instead.
const EXPORT: &str =
    "give a profile credential_process = aws configure export-credentials --profile NAME";

/// Finds keys.
pub(in crate::oci::registry) struct Chain<'a> {
    pub settings: &'a Settings,
    pub http: &'a dyn Http,
    /// For STS, where the user names no other.
    pub region: Region,
}

/// Keys as the machine, the container and programs give them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    version: Option<u32>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    #[serde(alias = "SessionToken")]
    token: Option<String>,
}

impl Chain<'_> {
    /// The keys.
    ///
    /// # Errors
    /// [`AwsError::NoKeys`] where nobody has any; what the first that should have some says.
    pub fn keys(&self) -> Result<Keys, AwsError> {
        if let Some(keys) = self.variables()? {
            return Ok(keys);
        }
        let text = |name| self.settings.environment.text(name);
        if let (Some(file), Some(role)) =
            (text("AWS_WEB_IDENTITY_TOKEN_FILE"), text("AWS_ROLE_ARN"))
        {
            let name = text("AWS_ROLE_SESSION_NAME");
            return self.web_identity(file, role, name, None);
        }
        if let Some(keys) = self.profile()? {
            return Ok(keys);
        }
        if let Some(keys) = self.container()? {
            return Ok(keys);
        }
        self.machine()?.ok_or(AwsError::NoKeys)
    }

    fn variables(&self) -> Result<Option<Keys>, AwsError> {
        let text = |name| self.settings.environment.text(name);
        let id = text("AWS_ACCESS_KEY_ID");
        let secret = text("AWS_SECRET_ACCESS_KEY");
        keys("the environment", id, secret, text("AWS_SESSION_TOKEN"))
    }

    fn profile(&self) -> Result<Option<Keys>, AwsError> {
        let profiles = Profiles::load(&self.settings.environment)?;
        let named = self.settings.environment.text("AWS_PROFILE");
        let name = named.unwrap_or("default");
        if profiles.get(name).is_none() && named.is_none() {
            return Ok(None);
        }
        self.of_profile(&profiles, name, &mut Vec::new())
    }

    fn of_profile<'p>(
        &self,
        profiles: &'p Profiles,
        name: &'p str,
        seen: &mut Vec<&'p str>,
    ) -> Result<Option<Keys>, AwsError> {
        let place = place(name);
        let bad = |reason: &str| bad(&place, reason);
        let profile = profiles.get(name).ok_or_else(|| bad("there is none"))?;
        let get = |setting| profile.get(setting);
        // A profile may name itself for the keys that it has beside the role.
        let is_again = seen.contains(&name);
        seen.push(name);
        if seen.len() > MAX_PROFILES {
            return Err(bad("source_profile goes on and on"));
        }
        if let (Some(role), false) = (get("role_arn"), is_again) {
            return self.of_role(profiles, name, profile, role, seen).map(Some);
        }
        let (id, secret) = (get("aws_access_key_id"), get("aws_secret_access_key"));
        if let Some(keys) = keys(&place, id, secret, get("aws_session_token"))? {
            return Ok(Some(keys));
        }
        if let Some(command) = get("credential_process") {
            return self.process(&place, command).map(Some);
        }
        if get("sso_session").or(get("sso_start_url")).is_some() {
            return Err(bad(&format!("sso is not supported; {EXPORT}")));
        }
        Ok(None)
    }

    /// The keys of a profile's role, and before them those that it is asked for with.
    fn of_role<'p>(
        &self,
        profiles: &'p Profiles,
        name: &str,
        profile: &'p Profile,
        role: &str,
        seen: &mut Vec<&'p str>,
    ) -> Result<Keys, AwsError> {
        let bad = |reason: &str| bad(&place(name), reason);
        let get = |setting| profile.get(setting);
        if let Some(file) = get("web_identity_token_file") {
            let session_name = get("role_session_name");
            return self.web_identity(file, role, session_name, get("region"));
        }
        if get("mfa_serial").is_some() {
            return Err(bad(&format!("mfa_serial is not supported; {EXPORT}")));
        }
        let source = match (get("source_profile"), get("credential_source")) {
            (Some(source), None) => self.of_profile(profiles, source, seen)?,
            (None, Some("Environment")) => self.variables()?,
            (None, Some("EcsContainer")) => self.container()?,
            (None, Some("Ec2InstanceMetadata")) => self.machine()?,
            _ => {
                return Err(bad(
                    "role_arn needs source_profile or a known credential_source",
                ));
            }
        };
        let source = source.ok_or_else(|| bad("there are no keys to ask for its role with"))?;
        self.role(profile, role, &As::Keys(&source))
    }

    fn role(&self, profile: &Profile, arn: &str, identity: &As<'_>) -> Result<Keys, AwsError> {
        let role = Role {
            arn,
            session_name: profile.get("role_session_name").unwrap_or(SESSION),
            external_id: profile.get("external_id"),
            duration_seconds: profile.get("duration_seconds"),
        };
        let region = self.sts_region(profile.get("region"));
        assume(
            &self.settings.environment,
            self.http,
            &region,
            &role,
            identity,
        )
    }

    fn web_identity(
        &self,
        file: &str,
        arn: &str,
        session_name: Option<&str>,
        region: Option<&str>,
    ) -> Result<Keys, AwsError> {
        let token = secret_file(file)?;
        let role = Role {
            arn,
            session_name: session_name.unwrap_or(SESSION),
            external_id: None,
            duration_seconds: None,
        };
        let region = self.sts_region(region);
        let identity = As::WebIdentity(token.reveal());
        assume(
            &self.settings.environment,
            self.http,
            &region,
            &role,
            &identity,
        )
    }

    fn sts_region(&self, of_profile: Option<&str>) -> Region {
        let text = |name| self.settings.environment.text(name);
        let named = text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION"));
        let name = named.or(of_profile).unwrap_or(&self.region.name);
        Region {
            name: name.to_owned(),
            ..self.region.clone()
        }
    }

    /// `credential_process`: a command for the shell, as the SDKs for Go, Rust and Java have it.
    fn process(&self, place: &str, line: &str) -> Result<Keys, AwsError> {
        let bad = |reason: String| AwsError::Source {
            place: format!("{place}, credential_process"),
            reason,
        };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).env_clear();
        command.envs(self.settings.environment.variables());
        let answer = program::run(command, b"", self.settings.program_timeout);
        let answer = answer.map_err(|error| bad(error.to_string()))?;
        if !answer.status.success() {
            return Err(bad(format!("it failed with {}", answer.status)));
        }
        let given: Given = parse_json(&answer.stdout).map_err(|error| bad(error.to_string()))?;
        if given.version != Some(1) {
            return Err(bad("its answer is not of version 1".to_owned()));
        }
        given
            .keys()
            .ok_or_else(|| bad("its answer has no keys".to_owned()))
    }

    /// Amazon ECS, EKS Pod Identity.
    fn container(&self) -> Result<Option<Keys>, AwsError> {
        const PLACE: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
        let text = |name| self.settings.environment.text(name);
        let url = match text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            Some(path) => format!("{CONTAINER}/{}", path.trim_start_matches('/')),
            None => match text(PLACE) {
                Some(url) => url.to_owned(),
                None => return Ok(None),
            },
        };
        let (origin, path) = split_url(&url);
        if !may_know(origin) {
            return Err(bad(
                PLACE,
                "neither https, nor this machine, nor ECS or EKS",
            ));
        }
        const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
        let token = match text(TOKEN_FILE) {
            Some(file) => Some(secret_file(file)?.reveal().to_owned()),
            None => text("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(str::to_owned),
        };
        if token
            .as_ref()
            .is_some_and(|token| token.contains(['\r', '\n']))
        {
            return Err(bad(
                "the container's authorization token",
                "it has several lines",
            ));
        }
        let mut headers = vec![("accept", "application/json".to_owned())];
        headers.extend(token.map(|token| ("authorization", token)));
        let answer = self.surroundings("GET", origin, path, headers)?;
        given("container credentials", origin, &answer).map(Some)
    }

    /// The role of an EC2 instance, by the second version of its metadata service.
    fn machine(&self) -> Result<Option<Keys>, AwsError> {
        const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
        let text = |name| self.settings.environment.text(name);
        let is = |name, value| text(name).is_some_and(|text| text.eq_ignore_ascii_case(value));
        if is("AWS_EC2_METADATA_DISABLED", "true") {
            return Ok(None);
        }
        let [usual, ipv6] = MACHINE;
        let usual = if is("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv6") {
            ipv6
        } else {
            usual
        };
        let origin = text("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or(usual);
        let origin = origin.trim_end_matches('/');
        let life = ("x-aws-ec2-metadata-token-ttl-seconds", "300".to_owned());
        // Elsewhere nobody answers, or somebody else does.
        let token = match self.surroundings("PUT", origin, "/latest/api/token", vec![life]) {
            Ok(answer) if answer.status == 200 => answer.body,
            _ => return Ok(None),
        };
        let Ok(token) = String::from_utf8(token) else {
            return Ok(None);
        };
        let get = |path: &str| {
            let header = ("x-aws-ec2-metadata-token", token.clone());
            self.surroundings("GET", origin, path, vec![header])
        };
        let roles = get(ROLES)?;
        let role = str::from_utf8(&roles.body).unwrap_or_default();
        let Some(role) = role.lines().next().filter(|_| roles.status == 200) else {
            // A machine without a role.
            return Ok(None);
        };
        let answer = get(&format!("{ROLES}{}", role.trim()))?;
        given("the machine's role", origin, &answer).map(Some)
    }

    fn surroundings(
        &self,
        method: &'static str,
        origin: &str,
        path: &str,
        headers: Vec<(&'static str, String)>,
    ) -> Result<HttpResponse, AwsError> {
        let request = HttpRequest {
            method,
            origin: origin.to_owned(),
            path: path.to_owned(),
            headers,
            body: String::new(),
            reach: Reach::Machine,
        };
        send(self.http, &request)
    }
}

impl Given {
    fn keys(self) -> Option<Keys> {
        Some(Keys {
            id: self.access_key_id?,
            secret: Secret::new(self.secret_access_key?),
            session_token: self.token.map(Secret::new),
        })
    }
}

fn given(action: &'static str, origin: &str, answer: &HttpResponse) -> Result<Keys, AwsError> {
    let origin = origin.rsplit('@').next().unwrap_or_default();
    if answer.status != 200 {
        return Err(AwsError::Refused {
            origin: origin.to_owned(),
            action,
            status: answer.status,
            code: "no credentials".to_owned(),
            message: None,
        });
    }
    let given: Given = parse_json(&answer.body).map_err(no_json(origin, action))?;
    given.keys().ok_or_else(|| AwsError::Answer {
        origin: origin.to_owned(),
        action,
        reason: "has no keys".to_owned(),
    })
}

fn place(profile: &str) -> String {
    format!("profile {profile:?}")
}

fn bad(place: &str, reason: &str) -> AwsError {
    AwsError::Source {
        place: place.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Keys where there are some; half of them is a mistake.
fn keys(
    place: &str,
    id: Option<&str>,
    secret: Option<&str>,
    session_token: Option<&str>,
) -> Result<Option<Keys>, AwsError> {
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Some(Keys {
            id: id.to_owned(),
            secret: Secret::new(secret.to_owned()),
            session_token: session_token.map(|token| Secret::new(token.to_owned())),
        })),
        (None, None) => Ok(None),
        _ => Err(bad(place, "only half of an access key is there")),
    }
}

/// A file with nothing but a secret.
fn secret_file(path: &str) -> Result<Secret, AwsError> {
    let text = read(Path::new(path))?.ok_or_else(|| bad(path, "there is no such file"))?;
    Ok(Secret::new(text.trim().to_owned()))
}

/// `https://host:port` and the rest.
fn split_url(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(host..).unwrap_or_default();
    match rest.find(['/', '?']) {
        Some(at) => url.split_at(host + at),
        None => (url, "/"),
    }
}

/// Whether a container's credentials may be asked for there: in the clear only near by.
fn may_know(origin: &str) -> bool {
    let Some(host) = origin.strip_prefix("http://") else {
        return origin.starts_with("https://");
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address: Result<std::net::IpAddr, _> = name.trim_matches(['[', ']']).parse();
    let near = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
    name == "localhost"
        || address.is_ok_and(|address| {
            address.is_loopback() || near.iter().any(|one| one.parse() == Ok(address))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_by_is_asked_in_the_clear() {
        for (url, expected) in [
            ("https://anywhere.example/x", true),
            ("http://localhost:1/x", true),
            ("http://127.0.0.5/x", true),
            ("http://[::1]:1/x", true),
            ("http://169.254.170.2/x", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://169.254.170.24/x", false),
            ("http://evil.example/localhost", false),
            ("http://localhost.example/x", false),
            ("http://user@localhost.evil/x", false),
            ("ftp://localhost/x", false),
        ] {
            assert_eq!(may_know(split_url(url).0), expected, "{url}");
        }
        assert_eq!(split_url("http://a:1?x"), ("http://a:1", "?x"));
    }
}
