//! Run-time configuration from flags and files.

use std::io::Read;
use std::path::Path;

use i2kit_contract::Contract;
use i2kit_contract::runtime::{
    self, Base64, EnvName, EnvValue, FW_CFG_MAX_BYTES, MAX_BYTES, RuntimeConfig, SecretBytes,
};

use super::args::{ConfigArgs, SecretFile, Variable};
use super::error::Error;

/// The document for a Pod, as JSON, of a guest that learns or does not; none when no flag asks for
/// one.
pub fn document(
    arguments: &ConfigArgs,
    contract: &Contract,
    learns: bool,
) -> Result<Option<SecretBytes>, Error> {
    let ConfigArgs {
        file,
        variables,
        secrets,
    } = arguments;
    let mut config = match file {
        Some(file) => parse(file)?,
        None if variables.is_empty() && secrets.is_empty() && !learns => return Ok(None),
        None => RuntimeConfig::new(&contract.name).map_err(Error::RuntimeConfig)?,
    };
    config.learn |= learns;
    for variable in variables {
        set(&mut config, variable)?;
    }
    for secret in secrets {
        keep(&mut config, secret)?;
    }
    let is_fit = |config: &RuntimeConfig| {
        config.check(contract)?;
        let json = SecretBytes::new(config.to_json()?);
        if json.expose().len() > FW_CFG_MAX_BYTES {
            return Err(runtime::Error::TooLarge {
                most: FW_CFG_MAX_BYTES,
            });
        }
        Ok(json)
    };
    is_fit(&config).map(Some).map_err(Error::RuntimeConfig)
}

fn set(config: &mut RuntimeConfig, variable: &Variable) -> Result<(), Error> {
    let shaped = |error: &str| Error::RuntimeConfig(runtime::Error::Shape(error.to_owned()));
    let name = EnvName::try_from(variable.name.clone()).map_err(shaped)?;
    let value = EnvValue::try_from(variable.value.clone()).map_err(shaped)?;
    let env = match &variable.container {
        Some(container) => &mut config.containers.entry(container.clone()).or_default().env,
        None => &mut config.env,
    };
    env.insert(name, value);
    Ok(())
}

fn keep(config: &mut RuntimeConfig, secret: &SecretFile) -> Result<(), Error> {
    let value = Base64(read(&secret.file)?);
    let kept = config.secrets.entry(secret.name.clone()).or_default();
    // Text would win over it.
    kept.string_data.remove(&secret.key);
    kept.data.insert(secret.key.clone(), value);
    Ok(())
}

fn parse(file: &Path) -> Result<RuntimeConfig, Error> {
    let bytes = read(file)?;
    RuntimeConfig::parse(bytes.expose()).map_err(|source| Error::RuntimeConfigFile {
        path: file.to_owned(),
        source,
    })
}

/// A file, which may be a pipe (`<(pass show db)`), of at most one byte more than is allowed.
fn read(path: &Path) -> Result<SecretBytes, Error> {
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(SecretBytes::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract() -> Contract {
        let json = r#"{"version":1,"name":"web","hostname":"web","restart_policy":"Never",
            "termination_grace_period_seconds":1,"on_failure":"power-off","containers":[]}"#;
        Contract::from_json(json.as_bytes()).unwrap()
    }

    fn arguments(file: Option<&Path>, set: &[(&str, &str)]) -> ConfigArgs {
        let variable = |(name, value): &(&str, &str)| Variable {
            container: None,
            name: (*name).into(),
            value: (*value).into(),
        };
        ConfigArgs {
            file: file.map(Into::into),
            variables: set.iter().map(variable).collect(),
            secrets: Vec::new(),
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, secret) = (folder.path().join("config.yaml"), folder.path().join("pw"));
        let text = "apiVersion: i2kit.io/v1\nkind: RuntimeConfig\npod: web\nenv: {A: file, B: file}\n\
                    secrets: {db: {stringData: {password: file, user: me}}}\n";
        std::fs::write(&file, text).unwrap();
        std::fs::write(&secret, b"\xff\n").unwrap();
        let mut arguments = arguments(Some(&file), &[("A", "flag")]);
        arguments.secrets.push(SecretFile {
            name: "db".into(),
            key: "password".into(),
            file: secret,
        });
        let json = document(&arguments, &contract(), false).unwrap().unwrap();
        let config = RuntimeConfig::parse(json.expose()).unwrap();
        assert_eq!(config.environment("c", &[]), ["A=flag", "B=file"]);
        let db = &config.secrets["db"];
        assert_eq!(
            (db.get("password"), db.get("user")),
            (Some(&b"\xff\n"[..]), Some(&b"me"[..]))
        );
    }

    #[test]
    fn a_document_for_another_pod_is_refused_before_the_machine_starts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        std::fs::write(
            &file,
            "apiVersion: i2kit.io/v1\nkind: RuntimeConfig\npod: api\n",
        )
        .unwrap();
        let error = document(&arguments(Some(&file), &[]), &contract(), false).unwrap_err();
        assert!(
            error.to_string().contains("for Pod api, this is Pod web"),
            "{error}"
        );
        std::fs::write(&file, "kind: RuntimeConfig\npasword: hunter2\n").unwrap();
        let error = document(&arguments(Some(&file), &[]), &contract(), false)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("config.yaml: line 2, column 1: unknown key"),
            "{error}"
        );
        assert!(!error.contains("hunter2"));
        assert!(
            document(&arguments(None, &[]), &contract(), false)
                .unwrap()
                .is_none()
        );
    }
}
