//! Amazon's registries (ECR) without a helper: their password is a token that one's AWS
//! credentials are traded for ("GetAuthorizationToken").

use std::time::SystemTime;

use serde::Deserialize;

use super::auth_file::{decode, parse_json};
use super::aws::{
    AwsError, Chain, Http, HttpRequest, HttpResponse, Keys, Reach, Region, Scope, send, sign,
};
use super::{Credential, Secret, Settings};

/// What registries' hosts end with, and what the services' do.
const SUFFIXES: [(&str, &str); 9] = [
    ("amazonaws.com", "amazonaws.com"),
    ("amazonaws.com.cn", "amazonaws.com.cn"),
    ("amazonaws.eu", "amazonaws.eu"),
    ("sc2s.sgov.gov", "sc2s.sgov.gov"),
    ("c2s.ic.gov", "c2s.ic.gov"),
    ("cloud.adc-e.uk", "cloud.adc-e.uk"),
    ("csp.hci.ic.gov", "csp.hci.ic.gov"),
    ("on.aws", "amazonaws.com"),
    ("on.amazonwebservices.com.cn", "amazonaws.com.cn"),
];
const ACTION: &str = "GetAuthorizationToken";

/// One of Amazon's registries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EcrRegistry {
    region: Region,
    is_public: bool,
}

impl EcrRegistry {
    /// The registry at `host`, if it is Amazon's: `ACCOUNT.dkr.ecr[-fips].REGION.amazonaws.com`,
    /// `ACCOUNT.dkr-ecr[-fips].REGION.on.aws`, those of other partitions, and `public.ecr.aws`.
    pub fn at(host: &str) -> Option<Self> {
        let host = host.strip_suffix(":443").unwrap_or(host);
        if matches!(host, "public.ecr.aws" | "ecr-public.aws.com") {
            // The only region that has its API.
            return Some(Self {
                region: Region {
                    name: "us-east-1".to_owned(),
                    suffix: "amazonaws.com".to_owned(),
                    fips: false,
                    dual_stack: host == "ecr-public.aws.com",
                },
                is_public: true,
            });
        }
        let (account, rest) = host.split_once('.')?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (rest, dual_stack) = match rest.strip_prefix("dkr.ecr") {
            Some(rest) => (rest, false),
            None => (rest.strip_prefix("dkr-ecr")?, true),
        };
        let (rest, fips) = match rest.strip_prefix("-fips") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (name, suffix) = rest.strip_prefix('.')?.split_once('.')?;
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let (_, suffix) = SUFFIXES.iter().find(|(own, _)| *own == suffix)?;
        (!name.is_empty() && name.bytes().all(is_word)).then(|| Self {
            region: Region {
                name: name.to_owned(),
                suffix: (*suffix).to_owned(),
                fips,
                dual_stack,
            },
            is_public: false,
        })
    }

    /// Anyone may pull from it.
    pub fn is_public(&self) -> bool {
        self.is_public
    }

    /// Who one is there.
    ///
    /// # Errors
    /// [`AwsError`] where one has no AWS credentials, or they are not good for it.
    pub fn credential(&self, settings: &Settings, http: &dyn Http) -> Result<Credential, AwsError> {
        let chain = Chain {
            settings,
            http,
            region: self.region.clone(),
        };
        let keys = chain.keys()?;
        let mut request = self.request(settings);
        let scope = Scope {
            region: &self.region.name,
            service: if self.is_public { "ecr-public" } else { "ecr" },
            now: SystemTime::now(),
        };
        sign(&mut request, &keys, scope);
        let answer = send(http, &request)?;
        self.parse(&request.shown(), &answer, &keys)
    }

    fn request(&self, settings: &Settings) -> HttpRequest {
        let (service, name, target) = if self.is_public {
            ("ECR_PUBLIC", "ecr-public", "SpencerFrontendService")
        } else {
            ("ECR", "ecr", "AmazonEC2ContainerRegistry_V20150921")
        };
        let origin = self
            .region
            .origin(&settings.environment, service, |region, fips, suffix| {
                // The older names begin with `api.`, those with IPv6 end so.
                let api = if suffix.starts_with("api.") {
                    ""
                } else {
                    "api."
                };
                format!("{api}{name}{fips}.{region}.{suffix}")
            });
        HttpRequest {
            method: "POST",
            origin,
            path: "/".to_owned(),
            headers: vec![
                ("content-type", "application/x-amz-json-1.1".to_owned()),
                ("x-amz-target", format!("{target}.{ACTION}")),
            ],
            body: "{}".to_owned(),
            reach: Reach::Service,
        }
    }

    fn parse(
        &self,
        origin: &str,
        answer: &HttpResponse,
        keys: &Keys,
    ) -> Result<Credential, AwsError> {
        if answer.status != 200 {
            return Err(refused(origin, answer, keys));
        }
        let bad = |reason: String| AwsError::Answer {
            origin: origin.to_owned(),
            action: ACTION,
            reason,
        };
        let data = if self.is_public {
            parse_json(&answer.body).map(|answer: PublicAnswer| answer.authorization_data)
        } else {
            let first = |answer: PrivateAnswer| answer.authorization_data.into_iter().next();
            parse_json(&answer.body).map(first)
        };
        let data = data.map_err(|error| bad(error.to_string()))?;
        let data = data.ok_or_else(|| bad("has no token".to_owned()))?;
        match decode(&data.authorization_token).map_err(|reason| bad(reason.to_owned()))? {
            (Some(username), Some(password)) => Ok(Credential::Password {
                username,
                password: Secret::new(password),
            }),
            _ => Err(bad("has no token".to_owned())),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PrivateAnswer {
    #[serde(default)]
    authorization_data: Vec<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublicAnswer {
    authorization_data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    authorization_token: String,
}

fn refused(origin: &str, answer: &HttpResponse, keys: &Keys) -> AwsError {
    #[derive(Default, Deserialize)]
    struct Refusal {
        #[serde(rename = "__type", default)]
        code: String,
        #[serde(alias = "Message")]
        message: Option<String>,
    }
    let Refusal { code, message } = parse_json(&answer.body).unwrap_or_default();
    let code = match code.rsplit('#').next() {
        None | Some("") => "no code",
        Some(code) => code,
    };
    AwsError::Refused {
        origin: origin.to_owned(),
        action: ACTION,
        status: answer.status,
        code: code.to_owned(),
        message: message.map(|message| keys.conceal(&message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Environment;

    /// botocore's `endpoint-rules` tests for ecr and ecr-public, and the hosts of
    /// amazon-ecr-credential-helper.
    #[test]
    fn each_registry_has_its_service() {
        let account = "123456789012";
        for (host, expected) in [
            (
                "dkr.ecr.us-east-1.amazonaws.com",
                "api.ecr.us-east-1.amazonaws.com",
            ),
            (
                "dkr.ecr.us-east-1.amazonaws.com:443",
                "api.ecr.us-east-1.amazonaws.com",
            ),
            (
                "dkr.ecr-fips.us-gov-west-1.amazonaws.com",
                "api.ecr-fips.us-gov-west-1.amazonaws.com",
            ),
            (
                "dkr.ecr.cn-northwest-1.amazonaws.com.cn",
                "api.ecr.cn-northwest-1.amazonaws.com.cn",
            ),
            ("dkr-ecr.eu-west-1.on.aws", "ecr.eu-west-1.api.aws"),
            (
                "dkr-ecr-fips.us-east-1.on.aws",
                "ecr-fips.us-east-1.api.aws",
            ),
            (
                "dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
                "ecr.cn-north-1.api.amazonwebservices.com.cn",
            ),
            (
                "dkr.ecr.eusc-de-east-1.amazonaws.eu",
                "api.ecr.eusc-de-east-1.amazonaws.eu",
            ),
            (
                "dkr.ecr.us-iso-east-1.c2s.ic.gov",
                "api.ecr.us-iso-east-1.c2s.ic.gov",
            ),
        ] {
            assert_eq!(
                origin(&format!("{account}.{host}"), &[]),
                format!("https://{expected}")
            );
        }
        assert_eq!(
            origin("public.ecr.aws", &[]),
            "https://api.ecr-public.us-east-1.amazonaws.com"
        );
        assert_eq!(
            origin("ecr-public.aws.com", &[]),
            "https://ecr-public.us-east-1.api.aws"
        );
        for host in [
            "docker.io",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.io",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com:8443",
            "12345678901.dkr.ecr.us-east-1.amazonaws.com",
            "x23456789012.dkr.ecr.us-east-1.amazonaws.com",
            "123456789012.dkr.ecrx.us-east-1.amazonaws.com",
            "123456789012.dkr.ecr..amazonaws.com",
            "123456789012.dkr.ecr.us.east.amazonaws.com",
            "evil.public.ecr.aws",
        ] {
            assert_eq!(EcrRegistry::at(host), None, "{host}");
        }
    }

    #[test]
    fn the_user_chooses_the_service() {
        let host = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
        let all = ("AWS_ENDPOINT_URL", "http://all/");
        let ecr = ("AWS_ENDPOINT_URL_ECR", "http://ecr/x/");
        let ignore = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
        assert_eq!(origin(host, &[all]), "http://all");
        assert_eq!(origin(host, &[all, ecr]), "http://ecr/x");
        assert_eq!(origin("public.ecr.aws", &[all, ecr]), "http://all");
        assert_eq!(
            origin(host, &[all, ecr, ignore]),
            "https://api.ecr.us-east-1.amazonaws.com"
        );
        assert_eq!(
            origin(
                host,
                &[
                    ("AWS_USE_FIPS_ENDPOINT", "true"),
                    ("AWS_USE_DUALSTACK_ENDPOINT", "true")
                ]
            ),
            "https://ecr-fips.us-east-1.api.aws"
        );
    }

    fn origin(host: &str, variables: &[(&str, &str)]) -> String {
        let variables = variables.iter();
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let settings = Settings::new(Environment::new(variables, 0, "/"));
        EcrRegistry::at(host).unwrap().request(&settings).origin
    }
}
