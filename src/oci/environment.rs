//! What of the process's surroundings says where images are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Variables, the user, and where the file system begins; taken once, handed on.
#[derive(Clone, Debug)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    uid: u32,
    root: PathBuf,
}

impl Environment {
    /// That of this process. Variables that are no UTF-8 count as unset.
    #[must_use]
    pub fn of_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::new(variables, rustix::process::geteuid().as_raw(), "/")
    }

    /// One made of its parts; `root` stands before every absolute path that is not the user's own.
    pub fn new(
        variables: impl IntoIterator<Item = (String, String)>,
        uid: u32,
        root: impl Into<PathBuf>,
    ) -> Self {
        Self {
            variables: variables.into_iter().collect(),
            uid,
            root: root.into(),
        }
    }

    /// A variable that is set to something.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// A variable that names a folder or file.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from)
    }

    /// The user, or the one who entered a user name space with `podman unshare`.
    pub(super) fn uid(&self) -> u32 {
        let outer = self.variable("_CONTAINERS_ROOTLESS_UID");
        outer.and_then(|uid| uid.parse().ok()).unwrap_or(self.uid)
    }

    /// A path of the system's.
    pub(super) fn system(&self, path: &str) -> PathBuf {
        self.root
            .join(Path::new(path).strip_prefix("/").unwrap_or(Path::new(path)))
    }

    /// `$HOME/REST`, or where `XDG` says instead.
    pub(super) fn home(&self, xdg: &str, rest: &str) -> Option<PathBuf> {
        let home = || Some(self.path("HOME")?.join(rest));
        self.path(xdg).or_else(home)
    }
}
