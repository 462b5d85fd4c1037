//! Arguments and variables, expanded.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use i2kit_contract::{EnvValue, EnvVar, Lookup, Part, Reference, SecretEnv, Text};

use super::{Error, Planned};
use crate::manifest::{self, EnvFrom, expand};

/// containerd's `PATH` for a container that has none (`oci.WithDefaultPathEnv`).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Longest argument or `NAME=value` that `execve` takes, without its NUL (`MAX_ARG_STRLEN`).
pub(super) const MAX_STRING: usize = (128 << 10) - 1;
/// Most bytes of arguments and variables together, each with NUL and pointer: a quarter of the
/// usual stack limit (`execve(2)`).
pub(super) const MAX_STRINGS: usize = 2 << 20;

/// The manifest's variables.
#[derive(Default)]
pub(super) struct Variables {
    /// In order, whole Secrets among them.
    entries: Vec<Entry>,
    /// What `$(NAME)` stands for.
    known: BTreeMap<String, Text>,
    /// Who else may know.
    secrets: Vec<SecretEnv>,
}

impl Variables {
    /// What `$(NAME)` stands for. When whole Secrets are variables, the guest looks there for a
    /// name that nobody else knows, and leaves it as it is when it finds none.
    fn value_of(&self, name: &str) -> Option<Cow<'_, Text>> {
        if let Some(value) = self.known.get(name) {
            return Some(Cow::Borrowed(value));
        }
        if self.secrets.is_empty() || name.is_empty() {
            return None;
        }
        let lookup = Lookup {
            value: Reference::Variable {
                name: name.to_owned(),
                of: self.secrets.clone(),
            },
            otherwise: Some(format!("$({name})")),
        };
        Some(Cow::Owned(Text::Parts(vec![Part::Value(lookup)])))
    }
}

enum Entry {
    Var(EnvValue),
    Secret(SecretEnv),
}

impl Planned<'_> {
    /// The manifest's variables, `envFrom` first, expanded by the ones before them (kubelet's
    /// `makeEnvironmentVariables`), in order.
    pub(super) fn manifest_env(&self) -> Result<Variables, Error> {
        let mut vars = Variables::default();
        let mut room = self.room();
        for from in &self.container.env_from {
            match from {
                EnvFrom::Var(var) => self.variable(var, &mut vars, &mut room)?,
                EnvFrom::Secret(secret) => {
                    vars.secrets.push(secret.clone());
                    vars.entries.push(Entry::Secret(secret.clone()));
                }
            }
        }
        for var in &self.container.env {
            self.variable(var, &mut vars, &mut room)?;
        }
        Ok(vars)
    }

    fn variable(
        &self,
        var: &manifest::EnvVar,
        vars: &mut Variables,
        room: &mut Room<'_>,
    ) -> Result<(), Error> {
        let limit = MAX_STRING.saturating_sub(var.name.len().saturating_add(1));
        let (value, optional) = self.value(&var.value, limit, vars);
        let value = value.filter(|text| text.len() <= limit);
        let value = value.ok_or_else(|| self.too_long(format!("variable {}", var.name)))?;
        room.take(var.name.len().saturating_add(value.len()))?;
        let known = match optional {
            true => or_else(&value, &format!("$({})", var.name)),
            false => value.clone(),
        };
        vars.known.insert(var.name.clone(), known);
        vars.entries.push(Entry::Var(EnvValue {
            name: var.name.clone(),
            value,
            optional,
        }));
        Ok(())
    }

    /// A variable's value, `None` when it is too long, and whether it may be missing.
    fn value(
        &self,
        value: &manifest::EnvValue,
        limit: usize,
        vars: &Variables,
    ) -> (Option<Text>, bool) {
        match value {
            manifest::EnvValue::Template(text) => {
                (expand(text, limit, |name| vars.value_of(name)), false)
            }
            manifest::EnvValue::Literal(text) => (Some(text.clone().into()), false),
            manifest::EnvValue::Field(field) => (Some(self.facts().field(field)), false),
            manifest::EnvValue::Resource(resource) => (
                Some(self.facts().resource(resource, &self.container.name)),
                false,
            ),
            manifest::EnvValue::Secret { from, optional } => {
                let reference = Reference::Secret(from.clone());
                (Some(reference.into()), *optional)
            }
        }
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

    /// A template with its variables expanded.
    pub(super) fn expanded_one(
        &self,
        what: impl FnOnce() -> String,
        template: &str,
        vars: &Variables,
    ) -> Result<Text, Error> {
        let text = expand(template, MAX_STRING, |name| vars.value_of(name));
        text.ok_or_else(|| self.too_long(what()))
    }

    /// The list with its variables expanded.
    fn expanded(&self, field: &str, list: &[String], vars: &Variables) -> Result<Vec<Text>, Error> {
        let mut room = self.room();
        let mut out = Vec::new();
        for (i, arg) in list.iter().enumerate() {
            let arg = self.expanded_one(|| format!("{field}[{i}]"), arg, vars)?;
            room.take(arg.len())?;
            out.push(arg);
        }
        Ok(out)
    }

    /// The list with its variables expanded; what only the guest knows is empty.
    pub(super) fn expanded_static(
        &self,
        field: &str,
        list: &[String],
        vars: &Variables,
    ) -> Result<Vec<String>, Error> {
        let value_of = |name: &str| {
            let value = vars.known.get(name)?;
            Some(match value {
                Text::Plain(_) => Cow::Borrowed(value),
                Text::Parts(_) => Cow::default(),
            })
        };
        let mut out = Vec::new();
        for (i, arg) in list.iter().enumerate() {
            let text = expand(arg, MAX_STRING, value_of);
            let text = text.ok_or_else(|| self.too_long(format!("{field}[{i}]")))?;
            out.push(text.as_plain().unwrap_or_default().to_owned());
        }
        Ok(out)
    }

    /// `command` and `args` against Entrypoint and Cmd: a command drops both of the image's, and an
    /// Entrypoint of one empty word is none (containerd's `WithProcessArgs`).
    pub(super) fn args(&self, vars: &Variables) -> Result<Vec<Text>, Error> {
        let from_image = |list: &Option<Vec<String>>| -> Vec<Text> {
            list.iter()
                .flatten()
                .map(|arg| arg.as_str().into())
                .collect()
        };
        let mut command = self.expanded("command", &self.container.command, vars)?;
        let mut args = self.expanded("args", &self.container.args, vars)?;
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
    pub(super) fn env(&self, hostname: &str, vars: Variables) -> Result<Vec<EnvVar>, Error> {
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
        for entry in vars.entries {
            env.add(entry);
        }
        Ok(env.into_vars())
    }
}

/// The text with `otherwise` in the place of a value that does not exist.
fn or_else(text: &Text, otherwise: &str) -> Text {
    let parts = text
        .clone()
        .into_parts()
        .into_iter()
        .map(|part| match part {
            Part::Value(lookup) => Part::Value(Lookup {
                otherwise: Some(otherwise.to_owned()),
                ..lookup
            }),
            plain => plain,
        });
    Text::from_parts(parts.collect())
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

/// Variables: those known now each once, in the order of their first appearance. Behind one that
/// may be missing, or a whole Secret, only the guest can say what takes whose place: they stay in
/// their order.
#[derive(Default)]
struct Env {
    order: Vec<String>,
    values: HashMap<String, Text>,
    later: Vec<EnvVar>,
}

impl Env {
    fn set(&mut self, name: &str, value: impl Into<Text>) {
        let old = self.values.insert(name.to_owned(), value.into());
        if old.is_none() {
            self.order.push(name.to_owned());
        }
    }

    fn unset(&mut self, name: &str) {
        if self.values.remove(name).is_some() {
            self.order.retain(|known| known != name);
        }
    }

    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Secret(secret) => self.later.push(EnvVar::Secret(secret)),
            Entry::Var(var) if var.optional => self.later.push(EnvVar::Value(var)),
            Entry::Var(var) if self.later.is_empty() => self.set(&var.name, var.value),
            Entry::Var(var) => self.later.push(env_var(var.name, var.value)),
        }
    }

    fn into_vars(mut self) -> Vec<EnvVar> {
        let mut vars = Vec::new();
        for name in self.order {
            if let Some(value) = self.values.remove(&name) {
                vars.push(env_var(name, value));
            }
        }
        vars.append(&mut self.later);
        vars
    }
}

fn env_var(name: String, value: Text) -> EnvVar {
    match value {
        Text::Plain(text) => EnvVar::Plain(format!("{name}={text}")),
        value => EnvVar::Value(EnvValue {
            name,
            value,
            optional: false,
        }),
    }
}
