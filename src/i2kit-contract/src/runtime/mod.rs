//! Run-time configuration: what a VM is told at boot and no disk image holds.
//!
//! One YAML or JSON document, for one Pod:
//!
//! ```yaml
//! apiVersion: i2kit.io/v1
//! kind: RuntimeConfig
//! pod: web                      # metadata.name of the Pod that it is for
//! hostname: web-7
//! secrets:
//!   db: {stringData: {password: hunter2}}      # or data, in base64
//! secretsFrom: {api: "ssm:/prod/api/"}         # read with the instance's role
//! env: {LOG_LEVEL: debug}       # of every container
//! containers:
//!   web: {env: {WORKERS: "4"}}
//! network:
//!   addresses: [10.0.2.77/24]
//!   routes: [{to: default, via: 10.0.2.2}]
//!   nameservers: [10.0.2.3]
//! proxy: {https: "http://proxy.example.org:3128", no: [.example.org]}
//! time: {servers: [time.example.org]}
//! learn: true
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod network;
mod secret;
pub mod yaml;

pub use network::{Cidr, Destination, HostName, Ipv6, Mtu, Network, Route};
pub use secret::{Base64, Plain, Secret, SecretBytes};

use crate::{Contract, SecretPlace, is_secret_key};

/// `apiVersion` of the document.
pub const API_VERSION: &str = "i2kit.io/v1";
/// `kind` of the document.
pub const KIND: &str = "RuntimeConfig";
/// The longest document, bytes. EC2's user data ends at 16 KiB.
pub const MAX_BYTES: usize = 1 << 20;
/// The longest document in QEMU's fw_cfg, bytes: the kernel reads byte by byte, and from the start
/// for each page.
pub const FW_CFG_MAX_BYTES: usize = 64 << 10;
/// QEMU's fw_cfg file with the document.
pub const FW_CFG_NAME: &str = "opt/org.i2kit/config";

/// A document that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer than its source allows.
    #[error("more than {most} bytes, the most it may have here")]
    TooLarge {
        /// How many are allowed.
        most: usize,
    },
    /// No text.
    #[error("not UTF-8 text")]
    Encoding,
    /// Not YAML, or not of the document's shape.
    #[error("{0}")]
    Shape(String),
    /// Another program's document, such as cloud-init's.
    #[error("not a document of apiVersion {API_VERSION}, kind {KIND}")]
    Foreign,
    /// For another Pod.
    #[error("it is for Pod {for_pod}, this is Pod {pod}")]
    Pod {
        /// Whom it is for.
        for_pod: String,
        /// Who this is.
        pod: String,
    },
    /// It configures a container that the Pod has not.
    #[error("it configures container {0}, which the Pod does not have")]
    Container(String),
}

/// The document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RuntimeConfig {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// Always [`KIND`].
    pub kind: String,
    /// `metadata.name` of the Pod that it is for. Any other Pod refuses it.
    pub pod: PodName,
    /// The VM's host name in place of the contract's: one DNS label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Label>,
    /// Secrets by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Secret>,
    /// Where Amazon keeps further ones, by the Secret's name; in place of the Pod's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets_from: BTreeMap<String, SecretPlace>,
    /// Environment variables of every container, in place of the manifest's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<EnvName, EnvValue>,
    /// What holds for one container, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub containers: BTreeMap<String, ContainerConfig>,
    /// The network.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Network,
    /// Proxies, which containers see as variables.
    #[serde(default, skip_serializing_if = "is_default")]
    pub proxy: Proxy,
    /// Where the time comes from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub time: Time,
    /// The guest learns which system calls and capabilities its containers use, and tells a local
    /// host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub learn: bool,
}

/// What holds for one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerConfig {
    /// Its environment variables, in place of the manifest's and of [`RuntimeConfig::env`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<EnvName, EnvValue>,
}

/// Proxies: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in capitals and in small letters, of every
/// container, unless its manifest or `env` says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// URL of the proxy for `http:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<EnvValue>,
    /// URL of the proxy for `https:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<EnvValue>,
    /// Hosts, domains and networks that are asked directly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no: Vec<EnvValue>,
}

/// Where the time comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Time {
    /// NTP servers, names or addresses, in place of those of DHCP and the cloud.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<TimeServer>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl RuntimeConfig {
    /// An empty document for a Pod.
    ///
    /// # Errors
    /// [`Error::Shape`]: no Pod has such a name.
    pub fn new(pod: &str) -> Result<Self, Error> {
        Ok(Self {
            api_version: API_VERSION.into(),
            kind: KIND.into(),
            pod: shaped(pod)?,
            hostname: None,
            secrets: BTreeMap::new(),
            secrets_from: BTreeMap::new(),
            env: BTreeMap::new(),
            containers: BTreeMap::new(),
            network: Network::default(),
            proxy: Proxy::default(),
            time: Time::default(),
            learn: false,
        })
    }

    /// Parses a document, YAML or JSON. No error shows a value.
    ///
    /// # Errors
    /// [`Error`], [`Error::Foreign`] before any other for what doesn't claim to be one of these.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLarge { most: MAX_BYTES });
        }
        let text = str::from_utf8(bytes).map_err(|_| Error::Encoding)?;
        if !text.contains(KIND) {
            return Err(Error::Foreign);
        }
        let config: Self = yaml::parse(text).map_err(|error| Error::Shape(error.to_string()))?;
        if config.api_version != API_VERSION || config.kind != KIND {
            return Err(Error::Foreign);
        }
        config.network.check().map_err(Error::Shape)?;
        config.check_keys()?;
        Ok(config)
    }

    /// Keys become names of files.
    fn check_keys(&self) -> Result<(), Error> {
        let mut keys = self.secrets.values().flat_map(Secret::keys);
        match keys.find(|key| !is_secret_key(key)) {
            Some(key) => {
                let key: String = key.escape_debug().take(64).collect();
                Err(Error::Shape(format!(
                    "secrets: \"{key}\" is no key of a Secret"
                )))
            }
            None => Ok(()),
        }
    }

    /// Whether this Pod may use it.
    ///
    /// # Errors
    /// [`Error::Pod`], [`Error::Container`].
    pub fn check(&self, contract: &Contract) -> Result<(), Error> {
        if self.pod.0 != contract.name {
            return Err(Error::Pod {
                for_pod: self.pod.0.clone(),
                pod: contract.name.clone(),
            });
        }
        let is_known = |name: &String| contract.all_containers().any(|one| one.name == *name);
        match self.containers.keys().find(|name| !is_known(name)) {
            Some(name) => Err(Error::Container(name.escape_debug().take(64).collect())),
            None => Ok(()),
        }
    }

    /// The document as JSON, which is YAML.
    ///
    /// # Errors
    /// [`Error::Shape`] for a secret's text that is no text.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|error| Error::Shape(error.to_string()))
    }

    /// A container's environment (`NAME=value`, each name once, in order) with what this document
    /// says: proxies where nothing is set, `env`, then the container's own.
    #[must_use]
    pub fn environment(&self, container: &str, given: &[String]) -> Vec<String> {
        let mut env = given.to_vec();
        for (name, value) in self.proxy.variables() {
            if !env.iter().any(|one| has_name(one, name)) {
                env.push(format!("{name}={value}"));
            }
        }
        let own = self.containers.get(container).map(|config| &config.env);
        for (EnvName(name), EnvValue(value)) in self.env.iter().chain(own.into_iter().flatten()) {
            let entry = format!("{name}={value}");
            match env.iter_mut().find(|one| has_name(one, name)) {
                Some(old) => *old = entry,
                None => env.push(entry),
            }
        }
        env
    }
}

fn has_name(entry: &str, name: &str) -> bool {
    entry
        .split_once('=')
        .is_some_and(|(found, _)| found == name)
}

impl Proxy {
    fn variables(&self) -> Vec<(&'static str, String)> {
        let text = |value: &Option<EnvValue>| value.as_ref().map(|EnvValue(url)| url.clone());
        let no: Vec<&str> = self.no.iter().map(|EnvValue(host)| host.as_str()).collect();
        let no = (!no.is_empty()).then(|| no.join(","));
        [
            (["HTTP_PROXY", "http_proxy"], text(&self.http)),
            (["HTTPS_PROXY", "https_proxy"], text(&self.https)),
            (["NO_PROXY", "no_proxy"], no),
        ]
        .into_iter()
        .filter_map(|(names, value)| Some((names, value?)))
        .flat_map(|(names, value)| names.map(|name| (name, value.clone())))
        .collect()
    }
}

fn shaped<T: TryFrom<String, Error = &'static str>>(text: &str) -> Result<T, Error> {
    T::try_from(text.to_owned()).map_err(|error| Error::Shape(error.into()))
}

/// A text of a certain shape.
macro_rules! text {
    ($($(#[$doc:meta])* $kind:ident: $is:expr, $error:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $kind(String);

        impl $kind {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $kind {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                let is: fn(&str) -> bool = $is;
                if is(&text) { Ok(Self(text)) } else { Err($error) }
            }
        }
    )*};
}

text! {
    /// `metadata.name`: a DNS name.
    PodName: |text| text.parse::<HostName>().is_ok(), "not a Pod's name";
    /// One label of a DNS name.
    Label: |text| network::is_label(text) && !text.contains('_'), "not one label of a DNS name: letters, digits and -, at most 63";
    /// A variable's name: anything printable but `=`.
    EnvName: |text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'='),
        "not the name of a variable";
    /// A variable's value: no NUL.
    EnvValue: |text| !text.contains('\0'), "a value with a NUL in it";
    /// An NTP server: a DNS name or an address.
    TimeServer: |text| text.parse::<std::net::IpAddr>().is_ok() || text.parse::<HostName>().is_ok(),
        "not a server's name or address";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RuntimeConfig, Error> {
        let head = "apiVersion: i2kit.io/v1\nkind: RuntimeConfig\npod: web\n";
        RuntimeConfig::parse(format!("{head}{text}").as_bytes())
    }

    /// The documentation's own example, above.
    #[test]
    fn the_example_is_one() {
        let source = include_str!("mod.rs");
        let example: Vec<&str> = source
            .split("//! ```")
            .nth(1)
            .unwrap()
            .lines()
            .filter_map(|line| line.strip_prefix("//! "))
            .collect();
        let config = RuntimeConfig::parse(example.join("\n").as_bytes()).unwrap();
        assert_eq!(config.secrets["db"].get("password"), Some(&b"hunter2"[..]));
        assert_eq!(config.secrets_from["api"].to_string(), "ssm:/prod/api/");
        assert_eq!(config.network.addresses[0].to_string(), "10.0.2.77/24");
        assert_eq!(
            config.environment(
                "web",
                &["A=1".into(), "LOG_LEVEL=info".into(), "NO_PROXY=x".into()]
            ),
            [
                "A=1",
                "LOG_LEVEL=debug",
                "NO_PROXY=x",
                "HTTPS_PROXY=http://proxy.example.org:3128",
                "https_proxy=http://proxy.example.org:3128",
                "no_proxy=.example.org",
                "WORKERS=4"
            ]
        );
        let json = config.to_json().unwrap();
        assert_eq!(RuntimeConfig::parse(&json).unwrap(), config);
    }

    #[test]
    fn what_is_not_for_us_is_told_from_what_is_wrong() {
        let error = |text: &str| RuntimeConfig::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error("#!/bin/sh\necho hello\n"), Error::Foreign);
        assert_eq!(error("#cloud-config\nusers: []\n"), Error::Foreign);
        assert_eq!(
            error("apiVersion: v2\nkind: RuntimeConfig\npod: a\n"),
            Error::Foreign
        );
        assert_eq!(RuntimeConfig::parse(&[0xff; 20]), Err(Error::Encoding));
        assert_eq!(
            RuntimeConfig::parse(&vec![b' '; MAX_BYTES + 1]),
            Err(Error::TooLarge { most: MAX_BYTES })
        );
    }

    #[test]
    fn wrong_parts_are_refused_and_not_shown() {
        for (text, expected) in [
            ("hostname: a.b", "line 4, column 11: not one label"),
            ("secret: {a: 1}", "line 4, column 1: unknown key \"secret\""),
            (
                "secrets: {db: {data: {password: hunter2}}}",
                "line 4, column 33: not base64",
            ),
            (
                "secrets: {db: {password: hunter2}}",
                "line 4, column 16: unknown key \"password\"",
            ),
            (
                "env: {A=B: x}",
                "line 4, column 7: not the name of a variable",
            ),
            (
                "secretsFrom: {db: hunter2}",
                "line 4, column 19: neither ssm:/PATH/NAME[#KEY]",
            ),
            ("env: {A: [hunter2]}", "line 4, column 10: a list where"),
            ("network: {mtu: 60}", "line 4, column 16: not an MTU"),
            (
                "network: {addresses: [hunter2]}",
                "line 4, column 23: not an address",
            ),
            (
                "network: {ipv6: hunter2}",
                "line 4, column 17: not one of auto, static, off",
            ),
            (
                "secrets: {db: {stringData: {../x: hunter2}}}",
                "secrets: \"../x\" is no key of a Secret",
            ),
            (
                "time: {servers: [a b]}",
                "line 4, column 18: not a server's name",
            ),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{text}: {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn another_pods_document_and_an_unknown_container_are_refused() {
        let json = r#"{"version":1,"name":"api","hostname":"api","restart_policy":"Never",
            "termination_grace_period_seconds":1,"on_failure":"power-off","containers":[]}"#;
        let mut contract = Contract::from_json(json.as_bytes()).unwrap();
        let config = parse("containers: {sidecar: {env: {A: b}}}").unwrap();
        assert_eq!(
            config.check(&contract).unwrap_err().to_string(),
            "it is for Pod web, this is Pod api"
        );
        contract.name = "web".into();
        assert_eq!(
            config.check(&contract),
            Err(Error::Container("sidecar".into()))
        );
    }
}
