//! Arguments and variables, expanded.

use std::collections::{BTreeMap, HashMap};

use super::{Error, Planned};
use crate::manifest::expand;

/// containerd's `PATH` for a container that has none (`oci.WithDefaultPathEnv`).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Longest argument or `NAME=value` that `execve` takes, without its NUL (`MAX_ARG_STRLEN`).
pub const MAX_STRING: usize = (128 << 10) - 1;
/// Most bytes of arguments and variables together, each with NUL and pointer: a quarter of the
/// usual stack limit (`execve(2)`).
pub const MAX_STRINGS: usize = 2 << 20;

impl Planned<'_> {
    /// The manifest's variables, expanded by the ones before them (kubelet's
    /// `makeEnvironmentVariables`), in order.
    pub(super) fn manifest_env(&self) -> Result<Vec<(String, String)>, Error> {
        let mut known: BTreeMap<&str, String> = BTreeMap::new();
        let mut vars = Vec::new();
        let mut room = self.room();
        for var in &self.container.env {
            let what = || format!("variable {}", var.name);
            let limit = MAX_STRING.saturating_sub(var.name.len().saturating_add(1));
            let value = expand(&var.value, limit, |name| {
                known.get(name).map(String::as_str)
            });
            let value = value.ok_or_else(|| self.too_long(what()))?;
            room.take(var.name.len().saturating_add(value.len()))?;
            known.insert(&var.name, value.clone());
            vars.push((var.name.clone(), value));
        }
        Ok(vars)
    }

    pub(super) fn room(&self) -> Room<'_> {
        Room {
            container: &self.container.name,
            left: MAX_STRINGS,
        }
    }

    pub(super) fn too_long(&self, what: String) -> Error {
        let container = self.name();
        Error::TooLong { container, what }
    }

    /// The list with its variables expanded.
    pub(super) fn expanded(
        &self,
        field: &str,
        list: &[String],
        vars: &BTreeMap<&str, &str>,
    ) -> Result<Vec<String>, Error> {
        let mut room = self.room();
        let mut out = Vec::new();
        for (i, arg) in list.iter().enumerate() {
            let arg = expand(arg, MAX_STRING, |name| vars.get(name).copied());
            let arg = arg.ok_or_else(|| self.too_long(format!("{field}[{i}]")))?;
            room.take(arg.len())?;
            out.push(arg);
        }
        Ok(out)
    }

    /// `command` and `args` against Entrypoint and Cmd: a command drops both of the image's, and an
    /// Entrypoint of one empty word is none (containerd's `WithProcessArgs`).
    pub(super) fn args(&self, vars: &[(String, String)]) -> Result<Vec<String>, Error> {
        let known: BTreeMap<_, _> = vars.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let from_image = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let mut command = self.expanded("command", &self.container.command, &known)?;
        let mut args = self.expanded("args", &self.container.args, &known)?;
        if command.is_empty() {
            command = from_image(self.config.entrypoint());
            if matches!(command.as_slice(), [one] if one.is_empty()) {
                command.clear();
            }
            if args.is_empty() {
                args = from_image(self.config.cmd());
            }
        }
        command.append(&mut args);
        match command.first() {
            Some(program) if !program.is_empty() => Ok(command),
            _ => Err(Error::NoCommand {
                container: self.name(),
                image: self.image(),
            }),
        }
    }

    /// containerd's order: default `PATH`, `HOSTNAME`, the image's, the manifest's; a later value
    /// takes the earlier one's place, and a name alone removes it (`replaceOrAppendEnvValues`).
    pub(super) fn env(
        &self,
        hostname: &str,
        vars: &[(String, String)],
    ) -> Result<Vec<String>, Error> {
        let mut env = Env::default();
        env.set("PATH", DEFAULT_PATH);
        env.set("HOSTNAME", hostname);
        if self.container.life.tty {
            // containerd's `oci.WithTTY`.
            env.set("TERM", "xterm");
        }
        for entry in self.config.env().iter().flatten() {
            if entry.starts_with('=') || entry.contains('\0') {
                return Err(Error::BadEnv {
                    container: self.name(),
                    image: self.image(),
                    entry: entry.clone(),
                });
            }
            match entry.split_once('=') {
                Some((name, value)) => env.set(name, value),
                None => env.unset(entry),
            }
        }
        for (name, value) in vars {
            env.set(name, value);
        }
        Ok(env.into_strings())
    }
}

/// What an `execve` still takes.
pub(super) struct Room<'a> {
    container: &'a str,
    left: usize,
}

impl Room<'_> {
    pub(super) fn take(&mut self, len: usize) -> Result<(), Error> {
        // NUL and pointer.
        let left = self.left.checked_sub(len.saturating_add(9));
        self.left = left.ok_or_else(|| Error::TooMuch {
            container: self.container.to_owned(),
        })?;
        Ok(())
    }
}

/// Variables, each name once, in the order of their first appearance.
#[derive(Default)]
struct Env {
    order: Vec<String>,
    values: HashMap<String, String>,
}

impl Env {
    fn set(&mut self, name: &str, value: &str) {
        let old = self.values.insert(name.to_owned(), value.to_owned());
        if old.is_none() {
            self.order.push(name.to_owned());
        }
    }

    fn unset(&mut self, name: &str) {
        if self.values.remove(name).is_some() {
            self.order.retain(|known| known != name);
        }
    }

    /// `NAME=value`.
    fn into_strings(self) -> Vec<String> {
        let names = self.order.iter();
        let pair = |name: &String| Some(format!("{name}={}", self.values.get(name)?));
        names.filter_map(pair).collect()
    }
}
