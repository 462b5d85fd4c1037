//! What containers need, as a learning run has seen it: a file that the next build takes.
//!
//! ```yaml
//! apiVersion: i2kit.io/v1
//! kind: Profile
//! pod: web
//! containers:
//!   web:
//!     capabilities: [NET_BIND_SERVICE, SETUID]
//!     systemCalls: [accept4, brk, close]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use i2kit_contract::runtime::{API_VERSION, yaml};
use i2kit_contract::{ALL_CAPABILITIES, Learned, short_capability};
use serde::{Deserialize, Serialize};
use syscalls::x86_64::Sysno;

use super::pod::{Container, Pod, SeccompType};

/// `kind` of the document.
const KIND: &str = "Profile";
/// The longest document, bytes: a Pod of a thousand containers has less.
pub const MAX_BYTES: u64 = 4 << 20;

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No text, not YAML, or not of the document's shape.
    #[error("{0}")]
    Shape(String),
    /// Another kind of document.
    #[error("not a document of apiVersion {API_VERSION}, kind {KIND}")]
    Foreign,
    /// No such capability or system call.
    #[error("container {container}: {name} is no {kind}")]
    Unknown {
        /// Whose.
        container: String,
        /// What it says.
        name: String,
        /// What it should be.
        kind: &'static str,
    },
    /// For another Pod.
    #[error("it is for Pod {for_pod}, this is Pod {pod}")]
    Pod {
        /// Whom it is for.
        for_pod: String,
        /// Who this is.
        pod: String,
    },
    /// Nothing was learned of a container.
    #[error("it knows nothing of container {0}")]
    Missing(String),
    /// It knows a container that the Pod does not have.
    #[error("it knows a container {0}, which the Pod does not have")]
    Stranger(String),
    /// What was seen cannot be told by names.
    #[error("container {container}: {why}")]
    Unlearnable {
        /// Whose.
        container: String,
        /// Why.
        why: &'static str,
    },
}

/// The document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Profile {
    /// Always [`API_VERSION`].
    api_version: String,
    /// Always [`KIND`].
    kind: String,
    /// `metadata.name` of the Pod that it is for.
    pub pod: String,
    /// What each container needs, by its name.
    pub containers: BTreeMap<String, Needs>,
}

/// What a container needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Needs {
    /// Capabilities, without `CAP_`.
    pub capabilities: BTreeSet<String>,
    /// Names of system calls.
    pub system_calls: BTreeSet<String>,
}

impl Profile {
    /// An empty one.
    #[must_use]
    pub fn new(pod: &str) -> Self {
        Self {
            api_version: API_VERSION.into(),
            kind: KIND.into(),
            pod: pod.into(),
            containers: BTreeMap::new(),
        }
    }

    /// Adds what a container has used. Of the capabilities that the kernel looked for, only those
    /// count that the container was `granted`: without the others it has run.
    ///
    /// # Errors
    /// [`Error::Unlearnable`].
    pub fn add(&mut self, learned: &Learned, granted: &[String]) -> Result<(), Error> {
        let fail = |why| Error::Unlearnable {
            container: learned.container.clone(),
            why,
        };
        if learned.has_foreign_calls {
            return Err(fail("a 32-bit program makes system calls in it"));
        }
        if !learned.is_complete {
            return Err(fail("more was seen than there was room for"));
        }
        let name = |number: &u32| {
            let known = usize::try_from(*number).ok().and_then(Sysno::new);
            known.map(|call| call.name().to_owned())
        };
        let calls: Option<Vec<String>> = learned.system_calls.iter().map(name).collect();
        let calls = calls.ok_or_else(|| fail("it makes system calls that have no name yet"))?;
        let capabilities = learned
            .capabilities
            .iter()
            .filter(|one| granted.contains(one));
        let needs = self
            .containers
            .entry(learned.container.clone())
            .or_default();
        needs.system_calls.extend(calls);
        needs
            .capabilities
            .extend(capabilities.map(|one| short_capability(one).to_owned()));
        Ok(())
    }

    /// Has the Pod's containers run with what they need and no more. What the manifest itself says
    /// of capabilities or of system calls stays, and so does a privileged container.
    ///
    /// # Errors
    /// [`Error`]: the profile is for another Pod, or for other containers.
    pub fn apply(&self, pod: &mut Pod) -> Result<(), Error> {
        if self.pod != pod.name {
            return Err(Error::Pod {
                for_pod: self.pod.clone(),
                pod: pod.name.clone(),
            });
        }
        let names: Vec<&str> = pod.all_containers().map(|one| one.name.as_str()).collect();
        if let Some(stranger) = self
            .containers
            .keys()
            .find(|name| !names.contains(&&***name))
        {
            return Err(Error::Stranger(stranger.clone()));
        }
        let pod_decides_calls = pod.security.seccomp.is_some();
        let containers = pod.init_containers.iter_mut().chain(&mut pod.containers);
        for container in containers {
            let needs = self.containers.get(&container.name);
            let needs = needs.ok_or_else(|| Error::Missing(container.name.clone()))?;
            needs.apply(container, pod_decides_calls);
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        if self.api_version != API_VERSION || self.kind != KIND {
            return Err(Error::Foreign);
        }
        self.containers
            .iter()
            .try_for_each(|(container, needs)| needs.check(container))
    }
}

impl Needs {
    fn apply(&self, container: &mut Container, pod_decides_calls: bool) {
        let security = &mut container.security;
        if security.privileged {
            return;
        }
        if security.add.is_empty() && security.drop.is_empty() {
            security.add = self.capabilities.iter().cloned().collect();
            // Of those that are added, none is dropped.
            let is_dropped = |name: &&str| !self.capabilities.contains(*name);
            let all = ALL_CAPABILITIES.iter().map(|name| short_capability(name));
            security.drop = all.filter(is_dropped).map(str::to_owned).collect();
        }
        if security.seccomp.is_none() && !pod_decides_calls {
            let calls = self.system_calls.iter().cloned().collect();
            security.seccomp = Some(SeccompType::Calls(calls));
        }
    }

    fn check(&self, container: &str) -> Result<(), Error> {
        let unknown = |name: &String, kind| Error::Unknown {
            container: container.to_owned(),
            name: name.clone(),
            kind,
        };
        let is_capability = |name: &&String| {
            let mut all = ALL_CAPABILITIES.iter();
            all.any(|full| short_capability(full) == name.as_str())
        };
        if let Some(name) = self.capabilities.iter().find(|name| !is_capability(name)) {
            return Err(unknown(name, "capability"));
        }
        let is_call = |name: &&String| Sysno::from_str(name).is_ok();
        match self.system_calls.iter().find(|name| !is_call(name)) {
            Some(name) => Err(unknown(name, "system call")),
            None => Ok(()),
        }
    }
}

impl FromStr for Profile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed: Self = yaml::parse(text).map_err(|error| Error::Shape(error.to_string()))?;
        parsed.check()?;
        Ok(parsed)
    }
}

impl std::fmt::Display for Profile {
    /// YAML, in a stable order.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            api_version,
            kind,
            pod,
            containers,
        } = self;
        writeln!(f, "apiVersion: {api_version}\nkind: {kind}\npod: {pod}")?;
        if containers.is_empty() {
            return writeln!(f, "containers: {{}}");
        }
        writeln!(f, "containers:")?;
        for (name, needs) in containers {
            writeln!(f, "  {name}:")?;
            list(f, "capabilities", &needs.capabilities)?;
            list(f, "systemCalls", &needs.system_calls)?;
        }
        Ok(())
    }
}

/// One name a line: what a later run adds shows in a diff.
fn list(f: &mut std::fmt::Formatter<'_>, key: &str, names: &BTreeSet<String>) -> std::fmt::Result {
    if names.is_empty() {
        return writeln!(f, "    {key}: []");
    }
    writeln!(f, "    {key}:")?;
    names
        .iter()
        .try_for_each(|name| writeln!(f, "    - {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned() -> Learned {
        Learned {
            container: "web".into(),
            system_calls: vec![0, 59],
            capabilities: vec!["CAP_CHOWN".into(), "CAP_SYS_ADMIN".into()],
            has_foreign_calls: false,
            is_complete: true,
        }
    }

    fn profile() -> Profile {
        let mut profile = Profile::new("shop");
        profile.add(&learned(), &["CAP_CHOWN".into()]).unwrap();
        profile
    }

    fn pod() -> Pod {
        let web = Container {
            name: "web".into(),
            ..Container::default()
        };
        Pod {
            name: "shop".into(),
            containers: vec![web],
            ..Pod::default()
        }
    }

    /// The documentation's own example, above.
    #[test]
    fn the_example_is_one() {
        let source = include_str!("profile.rs");
        let example: Vec<&str> = source
            .split("//! ```")
            .nth(1)
            .unwrap()
            .lines()
            .filter_map(|line| line.strip_prefix("//! "))
            .collect();
        let profile: Profile = example.join("\n").parse().unwrap();
        assert_eq!(profile.containers["web"].system_calls.len(), 3);
    }

    #[test]
    fn runs_add_up_and_the_file_reads_back() {
        let mut profile = profile();
        let more = Learned {
            system_calls: vec![1, 59],
            capabilities: vec!["CAP_KILL".into()],
            ..learned()
        };
        profile.add(&more, &["CAP_KILL".into()]).unwrap();
        let text = profile.to_string();
        assert_eq!(
            text,
            "apiVersion: i2kit.io/v1\nkind: Profile\npod: shop\ncontainers:\n  web:\n    \
             capabilities:\n    - CHOWN\n    - KILL\n    systemCalls:\n    - execve\n    - read\n    \
             - write\n"
        );
        assert_eq!(text.parse::<Profile>().unwrap(), profile);
        let empty = Profile::new("shop").to_string();
        assert!(empty.parse::<Profile>().unwrap().containers.is_empty());
    }

    #[test]
    fn what_cannot_be_named_is_not_learned() {
        for bad in [
            Learned {
                has_foreign_calls: true,
                ..learned()
            },
            Learned {
                is_complete: false,
                ..learned()
            },
            Learned {
                system_calls: vec![9999],
                ..learned()
            },
        ] {
            assert!(Profile::new("shop").add(&bad, &[]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_manifests_own_word_wins() {
        let mut plain = pod();
        profile().apply(&mut plain).unwrap();
        let security = &plain.containers[0].security;
        assert_eq!(security.add, ["CHOWN"]);
        assert_eq!(security.drop.len(), ALL_CAPABILITIES.len() - 1);
        let calls = vec!["execve".to_owned(), "read".to_owned()];
        assert_eq!(security.seccomp, Some(SeccompType::Calls(calls)));

        let mut own = pod();
        own.containers[0].security.add = vec!["SYS_TIME".into()];
        own.security.seccomp = Some(SeccompType::Unconfined);
        let before = own.clone();
        profile().apply(&mut own).unwrap();
        assert_eq!(own, before);

        let mut privileged = pod();
        privileged.containers[0].security.privileged = true;
        let before = privileged.clone();
        profile().apply(&mut privileged).unwrap();
        assert_eq!(privileged, before);
    }

    #[test]
    fn a_profile_is_for_its_pod_and_all_its_containers() {
        let mut other = pod();
        other.name = "api".into();
        let mut more = pod();
        more.containers.push(Container {
            name: "db".into(),
            ..Container::default()
        });
        let mut fewer = pod();
        fewer.containers.clear();
        for (mut pod, expected) in [
            (other, "it is for Pod shop, this is Pod api"),
            (more, "it knows nothing of container db"),
            (
                fewer,
                "it knows a container web, which the Pod does not have",
            ),
        ] {
            let error = profile().apply(&mut pod).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn misspelt_names_are_told() {
        let text = profile().to_string();
        for (from, to, expected) in [
            ("CHOWN", "CHOWNN", "container web: CHOWNN is no capability"),
            ("execve", "exec", "container web: exec is no system call"),
            ("kind: Profile", "kind: Pod", "not a document of apiVersion"),
            ("systemCalls", "syscalls", "line 8, column 5: unknown key"),
        ] {
            let error = text.replace(from, to).parse::<Profile>().unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }
}
