//! What of the process's surroundings says where images are and how one logs in. It comes in as a
//! value, so that nothing below depends on the process it runs in.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Variables, the user, and where the system's own files are.
#[derive(Clone)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    uid: u32,
    root: PathBuf,
}

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::new(
            std::env::vars_os(),
            rustix::process::geteuid().as_raw(),
            "/",
        )
    }

    /// One made of its parts: `variables` as `std::env::vars_os` gives them, the user's id, and the
    /// folder that stands before every absolute path that is not the user's own.
    pub fn new(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        uid: u32,
        root: impl Into<PathBuf>,
    ) -> Self {
        Self {
            variables: variables.into_iter().collect(),
            uid,
            root: root.into(),
        }
    }

    pub(super) fn variables(&self) -> &BTreeMap<OsString, OsString> {
        &self.variables
    }

    /// A variable that is set and not empty.
    pub(super) fn path(&self, name: &str) -> Option<&Path> {
        let value = self.variables.get(OsStr::new(name))?;
        (!value.is_empty()).then(|| Path::new(value))
    }

    /// A variable that is set, not empty and text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.path(name)?.to_str()
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// The user, or the one who entered a user name space with `podman unshare`.
    pub(super) fn outer_uid(&self) -> u32 {
        let outer = self.text("_CONTAINERS_ROOTLESS_UID");
        outer.and_then(|uid| uid.parse().ok()).unwrap_or(self.uid)
    }

    pub(super) fn home(&self) -> Option<&Path> {
        self.path("HOME")
    }

    /// The folder that the variable `xdg` names, else `$HOME/USUAL`.
    pub(super) fn xdg(&self, xdg: &str, usual: &str) -> Option<PathBuf> {
        let usual = || Some(self.home()?.join(usual));
        self.path(xdg).map(Path::to_owned).or_else(usual)
    }

    /// `$XDG_CONFIG_HOME`, usually `~/.config`.
    pub(super) fn config_home(&self) -> Option<PathBuf> {
        self.xdg("XDG_CONFIG_HOME", ".config")
    }

    /// A path of the system's, with or without its first slash.
    pub(super) fn system(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The program of that name in `$PATH`, of whose folders relative ones do not count.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        let is_program = |path: &PathBuf| {
            path.metadata()
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        std::env::split_paths(self.path("PATH")?)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .find(is_program)
    }
}

impl fmt::Debug for Environment {
    /// Names only: values may be secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("root", &self.root)
            .field("uid", &self.uid)
            .finish()
    }
}
