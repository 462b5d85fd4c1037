//! Flags for what a Pod is told at run time.

use std::path::PathBuf;

use clap::Args;

/// Run-time configuration.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run-time configuration")]
pub struct ConfigArgs {
    /// Hand over this RuntimeConfig, YAML or JSON; nothing of it is written to the disk
    #[arg(long = "config", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Set a variable of every container, or of one; over what the manifest and --config say
    #[arg(long = "set", value_name = "[CONTAINER/]NAME=VALUE", value_parser = variable)]
    pub variables: Vec<Variable>,
    /// Make a file's content a key of a Secret
    #[arg(long = "secret-file", value_name = "NAME/KEY=FILE", value_parser = secret_file)]
    pub secrets: Vec<SecretFile>,
}

/// `--set`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Whose; everyone's without.
    pub container: Option<String>,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// `--secret-file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// Of the Secret.
    pub name: String,
    /// In it.
    pub key: String,
    /// Where its value lies.
    pub file: PathBuf,
}

/// The value may be a secret: no error shows it.
fn variable(text: &str) -> Result<Variable, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("no \"=\" between name and value")?;
    let (container, name) = match name.split_once('/') {
        Some((container, name)) => (Some(container.to_owned()), name),
        None => (None, name),
    };
    if name.is_empty() || container.as_deref() == Some("") {
        return Err("an empty name".into());
    }
    Ok(Variable {
        container,
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

fn secret_file(text: &str) -> Result<SecretFile, String> {
    let parse = || {
        let (place, file) = text.split_once('=')?;
        let (name, key) = place.split_once('/')?;
        let is_whole = !name.is_empty() && !key.is_empty() && !file.is_empty();
        is_whole.then(|| SecretFile {
            name: name.to_owned(),
            key: key.to_owned(),
            file: file.into(),
        })
    };
    parse().ok_or_else(|| "not NAME/KEY=FILE".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_secrets_are_taken_apart() {
        let set = variable("web/A=b=c").unwrap();
        assert_eq!(
            (
                set.container.as_deref(),
                set.name.as_str(),
                set.value.as_str()
            ),
            (Some("web"), "A", "b=c")
        );
        assert_eq!(variable("A=x/y").unwrap().value, "x/y");
        assert!(variable("A").is_err() && variable("=b").is_err() && variable("/A=b").is_err());
        assert_eq!(
            secret_file("db/password=a=b").unwrap().file,
            PathBuf::from("a=b")
        );
        for bad in ["db=x", "db/=x", "/k=x", "db/k="] {
            assert!(secret_file(bad).is_err(), "{bad}");
        }
    }
}
