//! What the instance may do, and where: its metadata service knows.

use std::{fmt, time::Duration};

use i2kit_contract::runtime::HostName;
use serde_json::Value;

use super::Error;
use crate::config::imds::{self, Client};

/// How long the metadata service may take for all of it.
const PATIENCE: Duration = Duration::from_secs(12);
const MAX_ANSWER: usize = 16 * 1024;
const REGION: &str = "/latest/meta-data/placement/region";
const DOMAIN: &str = "/latest/meta-data/services/domain";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// The instance's role.
pub struct Role {
    /// `eu-central-1`.
    pub region: String,
    /// `amazonaws.com`, but in partitions such as China's.
    pub domain: String,
    /// The access key's id.
    pub key_id: String,
    /// The access key.
    pub key: String,
    /// The session's token.
    pub token: String,
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Role({} in {})", self.key_id, self.region)
    }
}

impl Role {
    /// Asks the metadata service.
    ///
    /// # Errors
    /// It does not answer, or the instance has no role.
    pub fn of_instance() -> Result<Self, Error> {
        Self::from(&mut Client::new(imds::ADDRESS, PATIENCE))
    }

    fn from(client: &mut Client) -> Result<Self, Error> {
        let mut get = |path: &str| {
            let found = client.get(path, MAX_ANSWER)?;
            Ok::<_, Error>(found.and_then(|bytes| String::from_utf8(bytes).ok()))
        };
        // Both become part of a host's name.
        let is_name = |text: &String| text.parse::<HostName>().is_ok();
        let region = get(REGION)?.filter(is_name);
        let region = region.ok_or(Error::NoMetadata("region"))?;
        let domain = get(DOMAIN)?.filter(is_name);
        let roles = get(ROLES)?.ok_or(Error::NoMetadata("role for this instance"))?;
        let role = roles.lines().next().unwrap_or_default();
        let keys = get(&format!("{ROLES}{role}"))?.unwrap_or_default();
        let keys: Value = serde_json::from_str(&keys).unwrap_or_default();
        let text = |name: &str| {
            let text = keys.get(name).and_then(Value::as_str);
            text.map(str::to_owned)
                .ok_or(Error::NoMetadata("role's keys"))
        };
        Ok(Self {
            region,
            domain: domain.unwrap_or_else(|| "amazonaws.com".to_owned()),
            key_id: text("AccessKeyId")?,
            key: text("SecretAccessKey")?,
            token: text("Token")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        io::{BufRead, BufReader, Write},
        net::TcpListener,
        thread,
    };

    use super::*;
    use crate::fault::Chain;

    const KEYS: &str = r#"{"Code":"Success","AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"hunter2",
        "Token":"t0ken","Expiration":"2099-01-01T00:00:00Z"}"#;

    /// What a metadata service with these pages tells.
    fn role(pages: &[(&str, &str)]) -> Result<Role, String> {
        let pages: BTreeMap<String, String> = pages
            .iter()
            .map(|(path, page)| ((*path).to_owned(), (*page).to_owned()))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let path = first.split(' ').nth(1).unwrap_or_default();
                let (status, page) = match pages.get(path) {
                    _ if first.starts_with("PUT ") => (200, "token"),
                    Some(page) => (200, page.as_str()),
                    None => (404, ""),
                };
                let length = page.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{page}"
                );
            }
        });
        let mut client = Client::new(address, Duration::from_secs(5));
        Role::from(&mut client).map_err(|error| Chain(&error).to_string())
    }

    #[test]
    fn region_domain_and_keys_are_the_instances() {
        let keys = format!("{ROLES}web");
        let all = [(REGION, "cn-north-1"), (ROLES, "web\nother"), (&keys, KEYS)];
        let found = role(&all).unwrap();
        assert_eq!(found.domain, "amazonaws.com");
        let found = role(&[&all[..], &[(DOMAIN, "amazonaws.com.cn")]].concat()).unwrap();
        let shown = [&found.region, &found.domain, &found.key_id, &found.token];
        assert_eq!(
            shown,
            ["cn-north-1", "amazonaws.com.cn", "ASIAEXAMPLE", "t0ken"]
        );
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn an_instance_without_a_role_says_so() {
        let keys = format!("{ROLES}web");
        for (pages, missing) in [
            (&[][..], "no region"),
            (&[(REGION, "eu/../west"), (ROLES, "web")], "no region"),
            (&[(REGION, "eu-west-1")], "no role for this instance"),
            (&[(REGION, "eu-west-1"), (ROLES, "web")], "no role's keys"),
            (
                &[
                    (REGION, "eu-west-1"),
                    (ROLES, "web"),
                    (keys.as_str(), r#"{"Code":"Failed"}"#),
                ],
                "no role's keys",
            ),
        ] {
            let error = role(pages).unwrap_err();
            assert!(error.contains(missing), "{error}");
        }
    }
}
