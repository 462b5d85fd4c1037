//! Pod + image configs → the guest contract, with what the kubelet and containerd's CRI would
//! decide decided here: commands, variables, users, limits, signals.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use i2kit_contract::{Container, Contract, FailurePolicy, Mount, Resources, User, VERSION, Volume};
use oci_spec::image::{Config, ImageConfiguration};

use crate::manifest::{self, Pod, expand};

/// containerd's `PATH` for a container that has none (`oci.WithDefaultPathEnv`).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
/// Highest id that containerd takes for a number rather than a name.
const MAX_ID: u32 = i32::MAX.unsigned_abs();
/// Longest argument or `NAME=value` that `execve` takes, without its NUL (`MAX_ARG_STRLEN`).
const MAX_STRING: usize = (128 << 10) - 1;
/// Most bytes of arguments and variables together, each with NUL and pointer: a quarter of the
/// usual stack limit (`execve(2)`).
const MAX_STRINGS: usize = 2 << 20;
/// SIGTERM.
const DEFAULT_STOP_SIGNAL: u8 = 15;

/// Reads a file of a container's merged root: `(container, absolute path)`, `None` when there is
/// none.
pub type ReadFile<'a> = dyn Fn(&str, &str) -> io::Result<Option<Vec<u8>>> + 'a;

/// A Pod that its images cannot serve. All name the container.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller has no config for the container's image.
    #[error("container {container}: no config for image {image}")]
    NoConfig {
        /// The container.
        container: String,
        /// Its image.
        image: String,
    },
    /// Neither manifest nor image say what to run.
    #[error("container {container}: image {image} has neither Entrypoint nor Cmd")]
    NoCommand {
        /// The container.
        container: String,
        /// Its image.
        image: String,
    },
    /// An argument or variable is too long to be passed to a process.
    #[error("container {container}: {what} has more than {MAX_STRING} bytes, the most Linux takes")]
    TooLong {
        /// The container.
        container: String,
        /// Which one.
        what: String,
    },
    /// Arguments and variables are too long together.
    #[error(
        "container {container}: arguments and variables have more than {MAX_STRINGS} bytes, the most Linux takes"
    )]
    TooMuch {
        /// The container.
        container: String,
    },
    /// The image's `User` has more than one colon, an empty part, or a number out of range.
    #[error("container {container}: image {image} has a bad User {user:?}")]
    BadUser {
        /// The container.
        container: String,
        /// Its image.
        image: String,
        /// The config's `User`.
        user: String,
    },
    /// A name is not in the image's files.
    #[error("container {container}: {what} {name:?} is not in {file} of image {image}")]
    UnknownName {
        /// The container.
        container: String,
        /// Its image.
        image: String,
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// Where it was looked for.
        file: &'static str,
    },
    /// `WorkingDir` or a volume cannot be used.
    #[error("container {container}: image {image} has a bad {field} {path:?}")]
    BadPath {
        /// The container.
        container: String,
        /// Its image.
        image: String,
        /// The config's field.
        field: &'static str,
        /// Its value.
        path: String,
    },
    /// The image's `Env` has an entry that is no `NAME=value`.
    #[error("container {container}: image {image} has a bad Env entry {entry:?}")]
    BadEnv {
        /// The container.
        container: String,
        /// Its image.
        image: String,
        /// The entry.
        entry: String,
    },
    /// `StopSignal` is no signal.
    #[error("container {container}: image {image} has an unknown StopSignal {signal:?}")]
    UnknownSignal {
        /// The container.
        container: String,
        /// Its image.
        image: String,
        /// The config's `StopSignal`.
        signal: String,
    },
    /// The image's files could not be read.
    #[error("container {container}: read {file} of image {image}: {source}")]
    Read {
        /// The container.
        container: String,
        /// Its image.
        image: String,
        /// The file.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// The cure, when one is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCommand { .. } => Some("set command or args in the manifest".to_owned()),
            Self::BadUser { .. } | Self::UnknownName { what: "user", .. } => {
                Some("set securityContext.runAsUser to a number".to_owned())
            }
            Self::UnknownName { .. } => {
                Some("set securityContext.runAsUser and runAsGroup to numbers".to_owned())
            }
            Self::BadPath {
                field: "WorkingDir",
                ..
            } => Some("set workingDir in the manifest".to_owned()),
            _ => None,
        }
    }
}

/// The contract of `pod`. `images` has each container's image config by the container's name;
/// `files` reads `/etc/passwd` and `/etc/group` of their roots, only when a name or a user's
/// groups are asked for.
///
/// # Errors
/// [`Error`] for the first container that its image cannot serve.
pub fn contract(
    pod: &Pod,
    images: &BTreeMap<String, ImageConfiguration>,
    files: &ReadFile<'_>,
    on_failure: FailurePolicy,
) -> Result<Contract, Error> {
    let hostname = hostname(pod);
    let mut containers = Vec::with_capacity(pod.containers.len());
    for container in &pod.containers {
        let image = images.get(&container.name).ok_or_else(|| Error::NoConfig {
            container: container.name.clone(),
            image: container.image.clone(),
        })?;
        let defaults = Config::default();
        let planned = Planned {
            pod,
            container,
            config: image.config().as_ref().unwrap_or(&defaults),
            files,
        };
        containers.push(planned.contract(&hostname)?);
    }
    let volume = |name: &String| Volume { name: name.clone() };
    Ok(Contract {
        version: VERSION,
        name: pod.name.clone(),
        labels: pod.labels.clone(),
        annotations: pod.annotations.clone(),
        hostname,
        restart_policy: pod.restart_policy,
        termination_grace_period_seconds: pod.termination_grace_period_seconds,
        on_failure,
        control: false,
        volumes: pod.volumes.iter().map(volume).collect(),
        containers,
    })
}

/// `hostname`, else the name cut to 63 bytes without a trailing `-` or `.` (the kubelet's
/// `truncatePodHostnameIfNeeded`).
fn hostname(pod: &Pod) -> String {
    let full = pod.hostname.as_ref().unwrap_or(&pod.name);
    let cut = full.get(..full.len().min(63)).unwrap_or(full);
    match cut.len() == full.len() {
        true => full.clone(),
        false => cut.trim_end_matches(['-', '.']).to_owned(),
    }
}

/// A container with all that decides how it runs.
struct Planned<'a> {
    pod: &'a Pod,
    container: &'a manifest::Container,
    config: &'a Config,
    files: &'a ReadFile<'a>,
}

impl Planned<'_> {
    fn contract(&self, hostname: &str) -> Result<Container, Error> {
        let vars = self.manifest_env()?;
        let args = self.args(&vars)?;
        let env = self.env(hostname, &vars)?;
        let mut room = self.room();
        for text in args.iter().chain(&env) {
            room.take(text.len())?;
        }
        let mount = |m: &manifest::VolumeMount| Mount {
            volume: m.volume.clone(),
            mount_path: m.path.clone(),
            read_only: m.read_only,
        };
        Ok(Container {
            name: self.container.name.clone(),
            args,
            env,
            working_dir: self.working_dir()?,
            user: self.user()?,
            mounts: self.container.mounts.iter().map(mount).collect(),
            image_volumes: self.image_volumes()?,
            ports: self.container.ports.clone(),
            resources: resources(&self.container.resources),
            stop_signal: self.stop_signal()?,
        })
    }

    fn name(&self) -> String {
        self.container.name.clone()
    }

    fn image(&self) -> String {
        self.container.image.clone()
    }

    /// The manifest's variables, expanded by the ones before them (kubelet's
    /// `makeEnvironmentVariables`), in order.
    fn manifest_env(&self) -> Result<Vec<(String, String)>, Error> {
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

    fn room(&self) -> Room<'_> {
        Room {
            container: &self.container.name,
            left: MAX_STRINGS,
        }
    }

    fn too_long(&self, what: String) -> Error {
        let container = self.name();
        Error::TooLong { container, what }
    }

    /// The list with its variables expanded.
    fn expanded(
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
    fn args(&self, vars: &[(String, String)]) -> Result<Vec<String>, Error> {
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
    fn env(&self, hostname: &str, vars: &[(String, String)]) -> Result<Vec<String>, Error> {
        let mut env = Env::default();
        env.set("PATH", DEFAULT_PATH);
        env.set("HOSTNAME", hostname);
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

    fn working_dir(&self) -> Result<String, Error> {
        if let Some(dir) = &self.container.working_dir {
            return Ok(dir.clone());
        }
        match self.config.working_dir().as_deref() {
            None | Some("") => Ok("/".to_owned()),
            Some(dir) if dir.starts_with('/') && !dir.contains('\0') => Ok(dir.to_owned()),
            Some(dir) => Err(self.bad_path("WorkingDir", dir)),
        }
    }

    fn bad_path(&self, field: &'static str, path: &str) -> Error {
        Error::BadPath {
            container: self.name(),
            image: self.image(),
            field,
            path: path.to_owned(),
        }
    }

    /// Absolute, cleaned, sorted, without those that a mount takes the place of.
    fn image_volumes(&self) -> Result<Vec<String>, Error> {
        let mounts = self.container.mounts.iter();
        let mounted: BTreeSet<_> = mounts.map(|mount| mount.path.as_str()).collect();
        let mut volumes = BTreeSet::new();
        for volume in self.config.volumes().iter().flatten() {
            let parts: Vec<_> = volume
                .split('/')
                .filter(|part| !part.is_empty() && *part != ".")
                .collect();
            if parts.is_empty() || parts.contains(&"..") || volume.contains('\0') {
                return Err(self.bad_path("volume", volume));
            }
            let path = format!("/{}", parts.join("/"));
            if !mounted.contains(path.as_str()) {
                volumes.insert(path);
            }
        }
        Ok(volumes.into_iter().collect())
    }

    fn stop_signal(&self) -> Result<u8, Error> {
        match self.config.stop_signal().as_deref() {
            None | Some("") => Ok(DEFAULT_STOP_SIGNAL),
            Some(signal) => parse_signal(signal).ok_or_else(|| Error::UnknownSignal {
                container: self.name(),
                image: self.image(),
                signal: signal.to_owned(),
            }),
        }
    }

    /// Who the process runs as. `runAsUser` stands in for the image's `User`, its group included;
    /// `runAsGroup` for the group alone. A user without a group has the one of `/etc/passwd`,
    /// and one that is not there has group 0 (containerd's `oci.WithUser`).
    ///
    /// The image's group counts when there is no `runAsUser`, as in containerd and Docker; the
    /// kubelet loses it on its way to the CRI.
    fn user(&self) -> Result<User, Error> {
        let run_as_user = self
            .container
            .security
            .run_as_user
            .or(self.pod.security.run_as_user);
        let run_as_group = self
            .container
            .security
            .run_as_group
            .or(self.pod.security.run_as_group);
        let (user, group) = match run_as_user {
            Some(uid) => (Id::Number(uid), None),
            None => self.image_user()?,
        };
        let group = run_as_group.map(Id::Number).or(group);
        let account = self.account(&user)?;
        let gid = match group {
            Some(Id::Number(gid)) => gid,
            Some(Id::Name(name)) => self.gid_of(name)?,
            None => account.gid,
        };
        Ok(User {
            uid: account.uid,
            gid,
            additional_gids: self.additional_gids(account.name.as_deref(), gid)?,
        })
    }

    /// The config's `User`: `user`, `uid`, and either with `:group` or `:gid`. Root when empty.
    fn image_user(&self) -> Result<(Id<'_>, Option<Id<'_>>), Error> {
        let text = self.config.user().as_deref().unwrap_or_default();
        if text.is_empty() {
            return Ok((Id::Number(0), None));
        }
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let bad = || Error::BadUser {
            container: self.name(),
            image: self.image(),
            user: text.to_owned(),
        };
        let user = Id::parse(user).ok_or_else(bad)?;
        let group = group.map(|group| Id::parse(group).ok_or_else(bad));
        Ok((user, group.transpose()?))
    }

    fn account(&self, user: &Id<'_>) -> Result<Account, Error> {
        let passwd = self.read(PASSWD)?;
        let mut accounts = passwd.lines().filter_map(Account::parse);
        match *user {
            Id::Number(uid) => {
                let found = accounts.find(|account| account.uid == uid);
                Ok(found.unwrap_or(Account {
                    name: None,
                    uid,
                    gid: 0,
                }))
            }
            Id::Name(name) => accounts
                .find(|account| account.name.as_deref() == Some(name))
                .ok_or_else(|| self.unknown("user", name, PASSWD)),
        }
    }

    fn gid_of(&self, name: &str) -> Result<u32, Error> {
        let groups = self.read(GROUP)?;
        let found = groups
            .lines()
            .filter_map(Group::parse)
            .find(|group| group.name == name);
        found
            .map(|group| group.gid)
            .ok_or_else(|| self.unknown("group", name, GROUP))
    }

    /// Groups that list the user as a member, bar the one of the user's own name (containerd's
    /// `oci.WithAdditionalGIDs`).
    fn additional_gids(&self, user: Option<&str>, gid: u32) -> Result<Vec<u32>, Error> {
        let Some(user) = user else {
            return Ok(Vec::new());
        };
        let groups = self.read(GROUP)?;
        let groups = groups.lines().filter_map(Group::parse);
        let member = groups.filter(|g| g.name != user && g.members.split(',').any(|m| m == user));
        let mut gids: Vec<u32> = member.map(|g| g.gid).filter(|g| *g != gid).collect();
        gids.sort_unstable();
        gids.dedup();
        Ok(gids)
    }

    fn unknown(&self, what: &'static str, name: &str, file: &'static str) -> Error {
        Error::UnknownName {
            container: self.name(),
            image: self.image(),
            what,
            name: name.to_owned(),
            file,
        }
    }

    /// A file's text; nothing when there is no such file.
    fn read(&self, file: &'static str) -> Result<String, Error> {
        let bytes = (self.files)(&self.container.name, file).map_err(|source| Error::Read {
            container: self.name(),
            image: self.image(),
            file,
            source,
        })?;
        Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    }
}

/// Half of a `User`.
enum Id<'a> {
    Number(u32),
    Name(&'a str),
}

impl<'a> Id<'a> {
    /// `None` for a number that is no id: taken for a name, it could be any user of the image.
    fn parse(text: &'a str) -> Option<Self> {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        if text.is_empty() || text.contains(':') {
            None
        } else if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            Some(Self::Name(text))
        } else {
            let id = text.parse().ok().filter(|id| *id <= MAX_ID)?;
            Some(Self::Number(id))
        }
    }
}

/// One line of passwd(5).
struct Account {
    name: Option<String>,
    uid: u32,
    gid: u32,
}

impl Account {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self {
            name: Some(name.to_owned()),
            uid,
            gid,
        })
    }
}

/// One line of group(5).
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(Self {
            name,
            gid,
            members: fields.next().unwrap_or_default(),
        })
    }
}

/// What an `execve` still takes.
struct Room<'a> {
    container: &'a str,
    left: usize,
}

impl Room<'_> {
    fn take(&mut self, len: usize) -> Result<(), Error> {
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

/// As the kubelet's `generateLinuxContainerResources`: a limit of 0 is none.
fn resources(resources: &manifest::Resources) -> Resources {
    let positive = |value: u64| (value > 0).then_some(value);
    let millis = |q: manifest::Quantity| positive(q.milli_value());
    Resources {
        memory_bytes: resources.limits.memory.and_then(|q| positive(q.value())),
        cpu_millis: resources.limits.cpu.and_then(millis),
        cpu_request_millis: resources.requests.cpu.and_then(millis),
    }
}

/// Linux signal names and numbers on x86-64 and arm64 (`signal(7)`).
const SIGNALS: &[(&str, u8)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];
/// glibc's first real-time signal, and the last.
const SIGRTMIN: u8 = 34;
const SIGRTMAX: u8 = 64;

/// `SIGQUIT`, `quit`, `3`, `SIGRTMIN+3`, `RTMAX-1`.
fn parse_signal(text: &str) -> Option<u8> {
    if let Ok(number) = text.parse() {
        return (1..=SIGRTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    let number = if let Some(offset) = name.strip_prefix("RTMIN") {
        SIGRTMIN.checked_add(real_time_offset(offset, '+')?)?
    } else {
        SIGRTMAX.checked_sub(real_time_offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (SIGRTMIN..=SIGRTMAX).contains(&number).then_some(number)
}

fn real_time_offset(text: &str, sign: char) -> Option<u8> {
    match text.strip_prefix(sign) {
        None => text.is_empty().then_some(0),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse_signal;

    #[test]
    fn signals_by_name_and_number() {
        for (text, want) in [
            ("SIGQUIT", Some(3)),
            ("QUIT", Some(3)),
            ("sigterm", Some(15)),
            ("3", Some(3)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("SIGRTMIN+31", None),
            ("SIGRTMIN-1", None),
            ("SIGRTMIN+", None),
            ("0", None),
            ("65", None),
            ("SIGNOPE", None),
            ("SIG", None),
            ("+", None),
        ] {
            assert_eq!(parse_signal(text), want, "{text}");
        }
    }
}
