//! The values that only the guest knows, put in the places that the contract keeps for them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use i2kit_contract::{
    Capacity, Container, Content, Contract, EnvVar, Reference, SecretKey, Source, Text,
    runtime::Secret,
};

use crate::{
    fault::{Context, Fault},
    mounts::make_folder,
    net::addresses::addresses,
    paths,
};

/// Secrets by name, their values by key.
pub type Secrets = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// A value that a container or a volume cannot do without.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not delivered.
    #[error("{wanted_by} needs key {key} of Secret {name}, which nobody has delivered")]
    NoSecret {
        /// Who needs it.
        wanted_by: String,
        /// The Secret's name.
        name: String,
        /// The key.
        key: String,
    },
    /// No key of it was delivered.
    #[error("{wanted_by} needs Secret {name}, which nobody has delivered")]
    NoSecrets {
        /// Who needs it.
        wanted_by: String,
        /// The Secret's name.
        name: String,
    },
    /// A variable cannot hold it.
    #[error(
        "{wanted_by}: the value of key {key} of Secret {name} is no text, so no variable can hold it"
    )]
    NotText {
        /// Who needs it.
        wanted_by: String,
        /// The Secret's name.
        name: String,
        /// The key.
        key: String,
    },
    /// The VM has no address yet.
    #[error("{wanted_by} needs the VM's address, and it has none yet")]
    NoAddress {
        /// Who needs it.
        wanted_by: String,
    },
}

/// What a container's process is started with.
pub struct Process {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`, each name once.
    pub env: Vec<String>,
}

/// Where values are found.
pub struct Values {
    secrets: Secrets,
    uid: String,
    node_name: String,
    memory: u64,
}

impl Values {
    /// With these Secrets, and a VM of so many bytes of memory; scratch must be mounted.
    ///
    /// # Errors
    /// The Pod's uid can be neither read nor kept.
    pub fn new(secrets: Secrets, memory: u64) -> Result<Self, Fault> {
        Ok(Self {
            secrets,
            uid: pod_uid(Path::new(paths::POD_UID))?,
            node_name: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            memory,
        })
    }

    /// A Secret's value.
    pub fn secret(&self, key: &SecretKey) -> Option<&[u8]> {
        let value = self.secrets.get(&key.name)?.get(&key.key)?;
        Some(value)
    }

    /// All of a Secret's values.
    pub fn secrets(&self, name: &str) -> Option<&BTreeMap<String, Vec<u8>>> {
        self.secrets.get(name)
    }

    fn value(&self, reference: &Reference) -> Option<String> {
        match reference {
            Reference::PodIp => addresses().first().map(ToString::to_string),
            Reference::PodIps => {
                let all: Vec<_> = addresses().iter().map(ToString::to_string).collect();
                (!all.is_empty()).then(|| all.join(","))
            }
            Reference::NodeName => Some(self.node_name.clone()),
            Reference::PodUid => Some(self.uid.clone()),
            Reference::Capacity { resource, divisor } => {
                let amount = self.capacity(*resource).div_ceil((*divisor).max(1));
                Some(amount.to_string())
            }
            Reference::Secret(key) => self.secret_text(key),
            Reference::Variable { name, of } => of.iter().rev().find_map(|from| {
                let key = name.strip_prefix(from.prefix.as_str())?.to_owned();
                let name = from.secret.clone();
                self.secret_text(&SecretKey { name, key })
            }),
        }
    }

    fn secret_text(&self, key: &SecretKey) -> Option<String> {
        let text = String::from_utf8(self.secret(key)?.to_vec()).ok()?;
        (!text.contains('\0')).then_some(text)
    }

    fn capacity(&self, resource: Capacity) -> u64 {
        match resource {
            Capacity::Cpu => {
                let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
                cpus.saturating_mul(1000)
            }
            Capacity::Memory => self.memory,
            Capacity::EphemeralStorage => rustix::fs::statvfs(paths::VAR)
                .map_or(0, |found| found.f_blocks.saturating_mul(found.f_frsize)),
        }
    }

    /// The text with its values.
    ///
    /// # Errors
    /// [`Error`] when one of them is missing and not optional.
    pub fn text(&self, text: &Text, wanted_by: &str) -> Result<String, Error> {
        let resolved = text.resolve(|reference| self.value(reference));
        resolved.map_err(|reference| self.missing(reference, wanted_by))
    }

    /// The error for a Secret's value that is missing.
    pub fn no_secret(&self, key: &SecretKey, wanted_by: &str) -> Error {
        self.missing(Reference::Secret(key.clone()), wanted_by)
    }

    fn missing(&self, reference: Reference, wanted_by: &str) -> Error {
        let wanted_by = wanted_by.to_owned();
        match reference {
            Reference::Secret(key) if self.secret(&key).is_some() => {
                let SecretKey { name, key } = key;
                Error::NotText {
                    wanted_by,
                    name,
                    key,
                }
            }
            Reference::Secret(SecretKey { name, key }) => Error::NoSecret {
                wanted_by,
                name,
                key,
            },
            _ => Error::NoAddress { wanted_by },
        }
    }

    /// Arguments and variables of a container.
    ///
    /// # Errors
    /// [`Error`] for the first value that is missing and not optional.
    pub fn process(&self, container: &Container) -> Result<Process, Error> {
        let name = format!("container {}", container.name);
        let args = container.args.iter().map(|arg| self.text(arg, &name));
        Ok(Process {
            args: args.collect::<Result<_, _>>()?,
            env: self.env(container, &name)?,
        })
    }

    fn env(&self, container: &Container, wanted_by: &str) -> Result<Vec<String>, Error> {
        let mut env = Env::default();
        for var in &container.env {
            match var {
                EnvVar::Plain(text) => {
                    let (name, value) = text.split_once('=').unwrap_or((text, ""));
                    env.set(name, value.to_owned());
                }
                EnvVar::Value(var) => match self.text(&var.value, wanted_by) {
                    Ok(value) => env.set(&var.name, value),
                    Err(_) if var.optional => {}
                    Err(error) => return Err(error),
                },
                EnvVar::Secret(from) => {
                    let Some(found) = self.secrets(&from.secret) else {
                        if from.optional {
                            continue;
                        }
                        let (wanted_by, name) = (wanted_by.to_owned(), from.secret.clone());
                        return Err(Error::NoSecrets { wanted_by, name });
                    };
                    for key in found.keys() {
                        let (name, key) = (from.secret.clone(), key.clone());
                        let variable = format!("{}{key}", from.prefix);
                        let text = Reference::Secret(SecretKey { name, key }).into();
                        env.set(&variable, self.text(&text, wanted_by)?);
                    }
                }
            }
        }
        Ok(env.into_strings())
    }

    /// Checks that every Secret that the Pod cannot do without is there, so that it fails before
    /// anything of it runs.
    ///
    /// # Errors
    /// [`Error`] for the first that is not.
    pub fn check(&self, contract: &Contract) -> Result<(), Error> {
        for container in contract.all_containers() {
            match self.process(container) {
                // The network may come later than this; the start asks again.
                Ok(_) | Err(Error::NoAddress { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        for volume in &contract.volumes {
            let wanted_by = format!("volume {}", volume.name);
            let Source::Files(files) = &volume.source else {
                continue;
            };
            for file in &files.files {
                if let Content::Secret {
                    from,
                    optional: false,
                } = &file.content
                    && self.secret(from).is_none()
                {
                    return Err(self.no_secret(from, &wanted_by));
                }
            }
            for secret in files.secrets.iter().filter(|secret| !secret.optional) {
                if self.secrets(&secret.name).is_none() {
                    let name = secret.name.clone();
                    return Err(Error::NoSecrets { wanted_by, name });
                }
            }
        }
        Ok(())
    }
}

/// Variables in the order of their first appearance.
#[derive(Default)]
struct Env {
    order: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Env {
    fn set(&mut self, name: &str, value: String) {
        if self.values.insert(name.to_owned(), value).is_none() {
            self.order.push(name.to_owned());
        }
    }

    fn into_strings(self) -> Vec<String> {
        let pair = |name: &String| Some(format!("{name}={}", self.values.get(name)?));
        self.order.iter().filter_map(pair).collect()
    }
}

/// The Pod's uid: kept on scratch, so that it lives as long as the Pod's volumes; at the first
/// boot it is the kernel's identifier of that boot.
fn pod_uid(path: &Path) -> Result<String, Fault> {
    match fs::read_to_string(path) {
        Ok(uid) if uid.len() == 36 => return Ok(uid),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Fault::new("read", path.display(), error)),
    }
    const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
    let uid = fs::read_to_string(BOOT_ID).context("read", BOOT_ID)?;
    let uid = uid.trim().to_owned();
    make_folder(path.parent().unwrap_or(Path::new("/")), 0o755)?;
    let beside = PathBuf::from(format!("{}.new", path.display()));
    fs::write(&beside, &uid).context("write", beside.display())?;
    fs::rename(&beside, path).context("rename", beside.display())?;
    Ok(uid)
}

/// The Secrets that were baked into the disk.
pub fn baked(contract: &Contract) -> Secrets {
    let value = |(key, hex): (&String, &String)| Some((key.clone(), from_hex(hex)?));
    let secrets = contract.baked_secrets.iter();
    secrets
        .map(|(name, values)| (name.clone(), values.iter().filter_map(value).collect()))
        .collect()
}

/// Adds Secrets of run time, whose values win.
pub fn deliver(secrets: &mut Secrets, delivered: &BTreeMap<String, Secret>) {
    for (name, secret) in delivered {
        let values = secrets.entry(name.clone()).or_default();
        for key in secret.keys() {
            if let Some(value) = secret.get(key) {
                values.insert(key.to_owned(), value.to_vec());
            }
        }
    }
}

/// Bytes written in hexadecimal.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    (text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| digits.map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use i2kit_contract::{EnvValue, Lookup, Part, SecretEnv};

    use super::*;

    fn values() -> Values {
        let secret = [
            ("k".to_owned(), b"v".to_vec()),
            ("raw".to_owned(), vec![0xff]),
        ];
        Values {
            secrets: [("s".to_owned(), secret.into())].into(),
            uid: "u".into(),
            node_name: "n".into(),
            memory: (1 << 30) + 1,
        }
    }

    fn container(env: Vec<EnvVar>) -> Container {
        let json = r#"{"name":"c","args":["x"],"working_dir":"/","user":{"uid":0,"gid":0},"stop_signal":15}"#;
        Container {
            env,
            ..serde_json::from_str(json).unwrap()
        }
    }

    fn secret(name: &str, key: &str, optional: bool) -> EnvVar {
        let key = SecretKey {
            name: name.into(),
            key: key.into(),
        };
        EnvVar::Value(EnvValue {
            name: "A".into(),
            value: Reference::Secret(key).into(),
            optional,
        })
    }

    #[test]
    fn later_variables_win_and_missing_optional_ones_do_not() {
        let all = EnvVar::Secret(SecretEnv {
            secret: "s".into(),
            prefix: "P_".into(),
            optional: false,
        });
        let env = |vars| values().process(&container(vars)).map(|p| p.env);
        let plain = |text: &str| EnvVar::Plain(text.into());
        let got = env(vec![
            plain("A=1"),
            plain("B=2"),
            secret("s", "k", false),
            plain("B=3=4"),
        ]);
        assert_eq!(got.unwrap(), ["A=v", "B=3=4"]);
        assert_eq!(
            env(vec![plain("A=1"), secret("none", "k", true)]).unwrap(),
            ["A=1"]
        );
        let error = env(vec![secret("none", "k", false)])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "container c needs key k of Secret none, which nobody has delivered"
        );
        let error = env(vec![all]).unwrap_err().to_string();
        assert!(error.contains("key raw of Secret s is no text"), "{error}");
    }

    #[test]
    fn texts_are_joined() {
        let part = |value| {
            Part::Value(Lookup {
                value,
                otherwise: None,
            })
        };
        let memory = Reference::Capacity {
            resource: Capacity::Memory,
            divisor: 1 << 20,
        };
        let text = Text::from_parts(vec![
            Part::Plain("a ".into()),
            part(Reference::NodeName),
            part(memory),
            part(Reference::PodUid),
        ]);
        assert_eq!(values().text(&text, "x").unwrap(), "a n1025u");
        let variable = |name: &str| {
            let from = |secret: &str, prefix: &str| SecretEnv {
                secret: secret.into(),
                prefix: prefix.into(),
                optional: true,
            };
            let text = Text::Parts(vec![Part::Value(Lookup {
                value: Reference::Variable {
                    name: name.into(),
                    of: vec![from("s", "P_"), from("none", "")],
                },
                otherwise: Some("$(x)".into()),
            })]);
            values().text(&text, "x").unwrap()
        };
        assert_eq!(["P_k", "k", "P_raw"].map(variable), ["v", "$(x)", "$(x)"]);
    }

    #[test]
    fn a_uid_is_made_once() {
        let folder = std::env::temp_dir().join(format!("i2kit-uid-{}", std::process::id()));
        let path = folder.join("a/uid");
        let uid = pod_uid(&path).unwrap();
        assert_eq!(uid.len(), 36);
        assert_eq!(pod_uid(&path).unwrap(), uid);
        fs::write(&path, "torn").unwrap();
        assert_eq!(pod_uid(&path).unwrap(), uid);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn hexadecimal_is_read_or_refused() {
        assert_eq!(from_hex("00fF"), Some(vec![0, 255]));
        assert_eq!(from_hex(""), Some(Vec::new()));
        for bad in ["0", "0g", "+1", "é0"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }
}
