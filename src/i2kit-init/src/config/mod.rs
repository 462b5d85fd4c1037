//! Run-time configuration ([`i2kit_contract::runtime`]): where it comes from.
//!
//! The first source that has a document is the only one: QEMU's fw_cfg, a config disk, EC2's user
//! data. Each is looked at only where its hardware is there, so a boot without any waits for none.

use i2kit_contract::{
    Contract,
    runtime::{self, RuntimeConfig, Secret},
};

pub mod disk;
pub mod fw_cfg;
pub mod http;
pub mod imds;

/// A document that was found.
pub struct Found {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where, for people.
    pub source: String,
    /// The source is this program's alone: another program's document there is an error.
    pub ours: bool,
}

/// A document that was found and cannot be used. The Pod does not start without what somebody
/// meant it to have.
#[derive(Debug, thiserror::Error)]
#[error("use the configuration from {from}")]
pub struct Error {
    from: String,
    source: runtime::Error,
}

/// The document for this Pod; `None` for a document of another program in a place that many use.
///
/// # Errors
/// [`Error`].
pub fn read(found: &Found, contract: &Contract) -> Result<Option<RuntimeConfig>, Error> {
    let parsed = RuntimeConfig::parse(&found.bytes).and_then(|config| {
        config.check(contract)?;
        Ok(config)
    });
    match parsed {
        Ok(config) => Ok(Some(config)),
        Err(runtime::Error::Foreign) if !found.ours => Ok(None),
        Err(source) => Err(Error {
            from: found.source.clone(),
            source,
        }),
    }
}

/// Names and keys of the secrets, for people.
pub fn secrets_summary(config: &RuntimeConfig) -> String {
    let secrets = config.secrets.iter();
    let secrets: Vec<String> = secrets
        .map(|(name, secret)| format!("{} ({})", name.escape_debug(), keys(secret)))
        .collect();
    if secrets.is_empty() {
        "none".into()
    } else {
        secrets.join(", ")
    }
}

/// A Secret's keys, for people.
pub fn keys(secret: &Secret) -> String {
    let keys: Vec<&str> = secret.keys().collect();
    keys.join(", ").escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract() -> Contract {
        let json = r#"{"version":1,"name":"web","hostname":"web","restart_policy":"Never",
            "termination_grace_period_seconds":1,"on_failure":"power-off","containers":[]}"#;
        Contract::from_json(json.as_bytes()).unwrap()
    }

    fn found(text: &str, ours: bool) -> Found {
        Found {
            bytes: text.into(),
            source: "a test".into(),
            ours,
        }
    }

    #[test]
    fn other_programs_documents_are_left_alone_where_they_may_be() {
        let cloud = "#cloud-config\nusers: []\n";
        assert!(read(&found(cloud, false), &contract()).unwrap().is_none());
        assert!(read(&found(cloud, true), &contract()).is_err());
    }

    #[test]
    fn a_document_is_for_its_pod_only() {
        let text = "{apiVersion: i2kit.io/v1, kind: RuntimeConfig, pod: api, secrets: {db: {stringData: {k: v}}}}";
        let error = read(&found(text, false), &contract()).unwrap_err();
        assert_eq!(
            crate::fault::Chain(&error).to_string(),
            "use the configuration from a test: it is for Pod api, this is Pod web"
        );
        let text = text.replace("api,", "web,");
        let config = read(&found(&text, false), &contract()).unwrap().unwrap();
        assert_eq!(config.secrets["db"].get("k"), Some(&b"v"[..]));
        assert_eq!(secrets_summary(&config), "db (k)");
    }
}
