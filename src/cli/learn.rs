//! `run --learn` and `build --profile`: what containers were seen to need.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use i2kit_contract::{Contract, Learned};

use super::error::Error;
use crate::manifest::profile::{self, MAX_BYTES, Profile};
use crate::output::Beside;

/// What a run learns, added to what the file has already.
pub struct Learning {
    path: PathBuf,
    profile: Profile,
    /// Capabilities by container.
    granted: BTreeMap<String, Vec<String>>,
    /// The containers that the guest has told of.
    heard_of: Vec<String>,
    failure: Option<profile::Error>,
}

impl Learning {
    /// Begins; the file may be there, of the same Pod.
    pub fn begin(path: &Path, contract: &Contract) -> Result<Self, Error> {
        let profile = match read(path) {
            Ok(profile) if profile.pod == contract.name => profile,
            Ok(profile) => {
                return Err(failed(path)(profile::Error::Pod {
                    for_pod: profile.pod,
                    pod: contract.name.clone(),
                }));
            }
            Err(Error::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Profile::new(&contract.name)
            }
            Err(error) => return Err(error),
        };
        let granted = contract.all_containers().map(|one| {
            let names = one.security.granted().into_iter();
            (one.name.clone(), names.map(str::to_owned).collect())
        });
        Ok(Self {
            path: path.to_owned(),
            profile,
            granted: granted.collect(),
            heard_of: Vec::new(),
            failure: None,
        })
    }

    /// The guest tells.
    pub fn hear(&mut self, learned: &Learned) {
        let Some(granted) = self.granted.get(&learned.container) else {
            return;
        };
        if !self.heard_of.contains(&learned.container) {
            self.heard_of.push(learned.container.clone());
        }
        if let Err(error) = self.profile.add(learned, granted) {
            self.failure = Some(error);
        }
    }

    /// Writes the file; answers a line for people. A run that has told nothing changes nothing.
    pub fn end(self) -> Result<String, Error> {
        if let Some(error) = self.failure {
            return Err(failed(&self.path)(error));
        }
        let silent = self
            .granted
            .keys()
            .find(|name| !self.heard_of.contains(name));
        if let Some(silent) = silent {
            return Err(Error::NotLearned {
                container: silent.clone(),
            });
        }
        Beside::write(&self.path, self.profile.to_string().as_bytes())?;
        let containers = self.profile.containers.iter();
        let containers = containers.map(|(name, needs)| {
            let (calls, capabilities) = (needs.system_calls.len(), needs.capabilities.len());
            format!("{name} {calls} system calls, {capabilities} capabilities")
        });
        let containers: Vec<String> = containers.collect();
        Ok(format!(
            "learned so far: {} -> {}",
            containers.join("; "),
            self.path.display()
        ))
    }
}

fn failed(path: &Path) -> impl FnOnce(profile::Error) -> Error {
    move |source| Error::Profile {
        path: path.to_owned(),
        source,
    }
}

/// Reads a profile.
pub fn read(path: &Path) -> Result<Profile, Error> {
    let mut text = String::new();
    let opened = std::fs::File::open(path);
    let read = opened.and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    read.map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    text.parse().map_err(failed(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract() -> Contract {
        let json = r#"{"version":1,"name":"web","hostname":"web","restart_policy":"Never",
            "termination_grace_period_seconds":1,"on_failure":"power-off","containers":[
            {"name":"c","args":["x"],"env":[],"working_dir":"/","user":{"uid":0,"gid":0},
            "mounts":[],"image_volumes":[],"ports":[],"stop_signal":15}]}"#;
        Contract::from_json(json.as_bytes()).unwrap()
    }

    fn learned(calls: &[u32]) -> Learned {
        Learned {
            container: "c".into(),
            system_calls: calls.to_vec(),
            capabilities: vec!["CAP_CHOWN".into(), "CAP_SYS_ADMIN".into()],
            has_foreign_calls: false,
            is_complete: true,
        }
    }

    #[test]
    fn what_several_runs_have_learned_adds_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("caps.yaml");
        for calls in [[0, 1], [1, 2]] {
            let mut learning = Learning::begin(&path, &contract()).unwrap();
            learning.hear(&learned(&calls));
            learning.end().unwrap();
        }
        let needs = read(&path).unwrap().containers["c"].clone();
        assert_eq!(
            Vec::from_iter(&needs.system_calls),
            ["open", "read", "write"]
        );
        // A container with the default capabilities has run without SYS_ADMIN.
        assert_eq!(Vec::from_iter(&needs.capabilities), ["CHOWN"]);
    }

    #[test]
    fn a_run_that_has_told_nothing_or_cannot_be_named_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("caps.yaml");
        let silent = Learning::begin(&path, &contract()).unwrap();
        assert!(matches!(silent.end(), Err(Error::NotLearned { .. })));
        let mut odd = Learning::begin(&path, &contract()).unwrap();
        odd.hear(&learned(&[9999]));
        assert!(matches!(odd.end(), Err(Error::Profile { .. })));
        assert!(!path.exists());
        std::fs::write(&path, Profile::new("api").to_string()).unwrap();
        assert!(Learning::begin(&path, &contract()).is_err());
    }
}
