//! containers' `registries.conf`, version 2 (containers-registries.conf(5),
//! containers-registries.conf.d(5); read as containers/image's `pkg/sysregistriesv2` does).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Environment;
use super::settings::{SettingsError, is_missing, malformed, parse_toml, read};
use crate::oci::Reference;
use crate::oci::reference::is_domain;

/// The file, or several merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistriesConf {
    /// By prefix.
    registries: BTreeMap<String, Registry>,
    /// Short names, and the full ones they stand for; `None` undoes an earlier alias.
    aliases: BTreeMap<String, Option<String>>,
    credential_helpers: Option<Vec<String>>,
}

/// What holds for the images under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registry {
    /// `host[:port][/path]`, or `*.host` for all names under it.
    pub prefix: String,
    /// What takes the prefix's place; empty where names stay as they are.
    pub location: String,
    /// Any certificate will do, and none.
    pub insecure: bool,
    /// Nothing may be pulled.
    pub blocked: bool,
    /// Tried before the location.
    pub mirrors: Vec<Mirror>,
    /// The file that says so.
    pub origin: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mirror {
    pub location: String,
    pub insecure: bool,
    pub used_for: UsedFor,
}

/// Which references a mirror is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum UsedFor {
    #[serde(rename = "all", alias = "")]
    All,
    #[serde(rename = "digest-only")]
    Digests,
    #[serde(rename = "tag-only")]
    Tags,
}

/// The file as it is written; what i2kit has no use for is left out, unknown keys are ignored as
/// containers/image ignores them.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    #[serde(default)]
    registry: Vec<RegistryTable>,
    #[serde(default)]
    unqualified_search_registries: Vec<String>,
    credential_helpers: Option<Vec<String>>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    /// Where version 1 had everything.
    registries: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryTable {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    pull_from_mirror: Option<IgnoredAny>,
    #[serde(default)]
    mirror: Vec<MirrorTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorTable {
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<UsedFor>,
}

impl RegistriesConf {
    /// The user's settings, or else the system's: `$CONTAINERS_REGISTRIES_CONF`,
    /// `~/.config/containers/registries.conf`, `/etc/containers/registries.conf`, then the
    /// `registries.conf.d` beside them, then the aliases that Podman recorded.
    pub(super) fn load(environment: &Environment) -> Result<Self, SettingsError> {
        let users = environment.home().map(|home| home.join(".config"));
        let users = users.map(|folder| folder.join("containers/registries.conf"));
        let systems = environment.system("etc/containers/registries.conf");
        let named = environment.path("CONTAINERS_REGISTRIES_CONF");
        let mut folders = vec![systems.with_extension("conf.d")];
        let (main, text) = match (named, &users) {
            (Some(named), _) => {
                let missing = || SettingsError::Read {
                    path: named.to_owned(),
                    source: std::io::ErrorKind::NotFound.into(),
                };
                (named, Some(read(named)?.ok_or_else(missing)?))
            }
            (None, Some(users)) if users.exists() => {
                // A user's own file leaves the system's folder out, too.
                folders.clear();
                (users.as_path(), read(users)?)
            }
            _ => (systems.as_path(), read(&systems)?),
        };
        folders.extend(users.as_ref().map(|path| path.with_extension("conf.d")));
        let mut out = match &text {
            Some(text) => Self::parse(main, text)?,
            None => Self::default(),
        };
        for path in drop_ins(&folders)? {
            if let Some(text) = read(&path)? {
                out.merge(Self::parse(&path, &text)?);
            }
        }
        if let Some(path) = recorded_aliases(environment)
            && let Some(text) = read(&path)?
        {
            let recorded = Self::parse(&path, &text)?;
            out.aliases.extend(recorded.aliases);
        }
        Ok(out)
    }

    /// One file.
    ///
    /// # Errors
    /// [`SettingsError::Parse`] for TOML that is none, a setting that makes no sense, and for
    /// version 1 of the format.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let document: Document = parse_toml(path, text)?;
        let bad = |reason: String| malformed(path, reason);
        if document.registries.is_some() {
            return Err(bad(
                "[registries.…] is version 1 of the format; write [[registry]] tables".to_owned(),
            ));
        }
        // They only matter to tools that search: see `Registries`.
        for host in &document.unqualified_search_registries {
            if !is_domain(host.trim_end_matches('/')) {
                return Err(bad(format!(
                    "unqualified-search-registries has {host:?}, which is no registry"
                )));
            }
        }
        let mut out = Self {
            credential_helpers: document.credential_helpers,
            ..Self::default()
        };
        for (name, value) in &document.aliases {
            let value = alias(name, value).map_err(bad)?;
            out.aliases.insert(name.clone(), value);
        }
        for table in document.registry {
            let registry = registry(&table, path).map_err(bad)?;
            // The first of a prefix counts, as containers/image has it.
            out.check_conflicts(&registry).map_err(bad)?;
            out.registries
                .entry(registry.prefix.clone())
                .or_insert(registry);
        }
        Ok(out)
    }

    /// One location cannot be both insecure and not, or both blocked and not, in one file.
    fn check_conflicts(&self, new: &Registry) -> Result<(), String> {
        for other in self.registries.values() {
            let what = if other.place() != new.place() {
                continue;
            } else if other.insecure != new.insecure {
                "insecure"
            } else if other.blocked != new.blocked {
                "blocked"
            } else {
                continue;
            };
            return Err(format!(
                "registry {:?} is there twice, with different {what}",
                new.place()
            ));
        }
        Ok(())
    }

    /// What `later` says replaces what was said.
    pub fn merge(&mut self, later: Self) {
        self.registries.extend(later.registries);
        self.aliases.extend(later.aliases);
        if later.credential_helpers.is_some() {
            self.credential_helpers = later.credential_helpers;
        }
    }

    /// The registry with the longest prefix of `name`, and that prefix's length in `name`.
    pub(super) fn find(&self, name: &str) -> Option<(&Registry, usize)> {
        let matches = self
            .registries
            .values()
            .filter_map(|registry| Some((registry, prefix_len(name, &registry.prefix)?)));
        matches.max_by_key(|(registry, _)| registry.prefix.len())
    }

    /// The full name that a short one stands for.
    pub(super) fn alias(&self, name: &str) -> Option<&str> {
        self.aliases.get(name)?.as_deref()
    }

    /// What is asked for credentials, in order, where the user named something.
    pub(super) fn credential_helpers(&self) -> Option<&[String]> {
        let helpers = self.credential_helpers.as_deref()?;
        (!helpers.is_empty()).then_some(helpers)
    }
}

impl Registry {
    /// Where its images are.
    fn place(&self) -> &str {
        match self.location.as_str() {
            "" => &self.prefix,
            location => location,
        }
    }
}

/// The `*.conf` files of the folders, in the order they are read.
fn drop_ins(folders: &[PathBuf]) -> Result<Vec<PathBuf>, SettingsError> {
    let mut out = Vec::new();
    for folder in folders {
        let error = |source| SettingsError::Read {
            path: folder.clone(),
            source,
        };
        let entries = match fs::read_dir(folder) {
            Err(error) if is_missing(&error) => continue,
            entries => entries.map_err(error)?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(error)?.path();
            if path.extension().is_some_and(|found| found == "conf") && !path.is_dir() {
                paths.push(path);
            }
        }
        paths.sort();
        out.extend(paths);
    }
    Ok(out)
}

/// Where Podman writes down what people chose for short names.
fn recorded_aliases(environment: &Environment) -> Option<PathBuf> {
    const NAME: &str = "containers/short-name-aliases.conf";
    if environment.uid() == 0 {
        return Some(environment.system("var/cache").join(NAME));
    }
    Some(environment.xdg("XDG_CACHE_HOME", ".cache")?.join(NAME))
}

/// The full name of an alias, in normal form; `None` for one that undoes another.
fn alias(name: &str, value: &str) -> Result<Option<String>, String> {
    let parse = |text: &str| match text.parse::<Reference>() {
        Ok(reference) => Ok(reference),
        Err(error) => Err(format!("alias {name:?}: {error}")),
    };
    parse(name)?;
    if Reference::short_name(name) != Some(name) {
        return Err(format!(
            "alias {name:?}: it has a registry, a tag or a digest"
        ));
    }
    if value.is_empty() {
        return Ok(None);
    }
    let reference = parse(value)?;
    let repository = value.rsplit('/').next().unwrap_or_default();
    if Reference::short_name(value).is_some() || repository.contains([':', '@']) {
        return Err(format!(
            "alias {name:?}: {value:?} is not a registry and a repository alone"
        ));
    }
    Ok(Some(reference.name()))
}

fn registry(table: &RegistryTable, path: &Path) -> Result<Registry, String> {
    let location = location(&table.location)?;
    let prefix = match self::location(&table.prefix)? {
        prefix if prefix.is_empty() => location.clone(),
        prefix => prefix,
    };
    let is_wildcard = prefix.starts_with("*.");
    if prefix.is_empty() {
        return Err("a [[registry]] has neither prefix nor location".to_owned());
    }
    if location.is_empty() && !is_wildcard {
        return Err(format!("registry {prefix:?} has no location"));
    }
    if is_wildcard && prefix.contains(['/', '@', ':']) {
        return Err(format!(
            "prefix {prefix:?} is not of the form *.example.com"
        ));
    }
    if table.pull_from_mirror.is_some() {
        return Err(format!(
            "registry {prefix:?} has pull-from-mirror, which is for mirrors"
        ));
    }
    let by_digest = table.mirror_by_digest_only;
    let mirrors = table.mirror.iter();
    let mirrors = mirrors.map(|table| mirror(table, by_digest, &prefix));
    Ok(Registry {
        mirrors: mirrors.collect::<Result<_, _>>()?,
        prefix,
        location,
        insecure: table.insecure,
        blocked: table.blocked,
        origin: path.to_owned(),
    })
}

fn mirror(table: &MirrorTable, by_digest: bool, prefix: &str) -> Result<Mirror, String> {
    let location = location(&table.location)?;
    if location.is_empty() {
        return Err(format!("a mirror of {prefix:?} has no location"));
    }
    let used_for = match (by_digest, table.pull_from_mirror) {
        (true, Some(_)) => {
            return Err(format!(
                "registry {prefix:?} has mirror-by-digest-only and a mirror with pull-from-mirror"
            ));
        }
        (true, None) => UsedFor::Digests,
        (false, used_for) => used_for.unwrap_or(UsedFor::All),
    };
    Ok(Mirror {
        location,
        insecure: table.insecure,
        used_for,
    })
}

fn location(text: &str) -> Result<String, String> {
    let trimmed = text.trim_end_matches('/');
    if trimmed.starts_with("http://") || trimmed.starts_with("https://") {
        return Err(format!(
            "location {text:?} begins with a scheme, and must not"
        ));
    }
    Ok(trimmed.to_owned())
}

/// How much of `name` (registry and repository) a prefix takes; `None` where it is no prefix.
fn prefix_len(name: &str, prefix: &str) -> Option<usize> {
    let len = match prefix.strip_prefix('*') {
        Some(suffix) => {
            let host = name.split(['/', ':']).next()?;
            host.ends_with(suffix).then_some(host.len())?
        }
        None => name.starts_with(prefix).then_some(prefix.len())?,
    };
    // A prefix without a port takes every port, as containers/image has it: `blocked` must not
    // be weaker here than there.
    let next = name.get(len..)?.chars().next();
    matches!(next, None | Some('/' | ':')).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RegistriesConf, SettingsError> {
        RegistriesConf::parse(Path::new("registries.conf"), text)
    }

    #[test]
    fn the_longest_prefix_counts() {
        let conf = parse(
            r#"
            [[registry]]
            location = "a.io"
            [[registry]]
            prefix = "a.io/x/"
            location = "b.io"
            [[registry]]
            prefix = "*.a.io"
            [[registry]]
            prefix = "*.io"
            "#,
        )
        .unwrap();
        for (name, expected) in [
            ("a.io/y", Some(("a.io", 4))),
            ("a.io/x", Some(("a.io/x", 6))),
            ("a.io/x/y", Some(("a.io/x", 6))),
            ("a.io/xy", Some(("a.io", 4))),
            ("a.io:5000/y", Some(("a.io", 4))),
            ("b.a.io/y", Some(("*.a.io", 6))),
            ("c.b.a.io:1/a.io/y", Some(("*.a.io", 8))),
            ("a.io.a.io/y", Some(("*.a.io", 9))),
            ("c.io/y", Some(("*.io", 4))),
            ("ba.io/y", Some(("*.io", 5))),
            ("io/y", None),
            ("c.io.example.com/y", None),
            ("docker.iox/y", None),
        ] {
            let found = conf.find(name);
            let found = found.map(|(registry, len)| (registry.prefix.as_str(), len));
            assert_eq!(found, expected, "{name}");
        }
    }

    /// The refusals of containers/image (`system_registries_v2_test.go`), each with its setting.
    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, part) in [
            ("x = ", "line 1: "),
            ("\n[[registry]]\nlocation = 1", "line 3: invalid type"),
            ("[[registry]]", "neither prefix nor location"),
            ("[[registry]]\nprefix = 'a.io'", "has no location"),
            ("[[registry]]\nlocation = 'https://a.io'", "scheme"),
            ("[[registry]]\nprefix = 'http://a.io'", "scheme"),
            ("[[registry]]\nprefix = '*.a.io/x'", "form *.example.com"),
            ("[[registry]]\nlocation = '*.a.io:1'", "form *.example.com"),
            (
                "[[registry]]\nlocation = 'a.io'\n[[registry.mirror]]",
                "mirror of \"a.io\" has no location",
            ),
            (
                "[[registry]]\nlocation = 'a.io'\npull-from-mirror = 'all'",
                "is for mirrors",
            ),
            (
                "[[registry]]\nlocation = 'a.io'\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = 'b.io'\npull-from-mirror = 'all'",
                "mirror-by-digest-only and",
            ),
            (
                "[[registry]]\nlocation = 'a.io'\n[[registry.mirror]]\nlocation = 'b.io'\npull-from-mirror = 'some'",
                "unknown variant `some`",
            ),
            (
                "[[registry]]\nlocation = 'a.io'\n[[registry]]\nprefix = 'b.io'\nlocation = 'a.io'\nblocked = true",
                "different blocked",
            ),
            (
                "[[registry]]\nprefix = '*.io'\n[[registry]]\nprefix = '*.io'\ninsecure = true",
                "different insecure",
            ),
            ("unqualified-search-registries = ['a b']", "no registry"),
            ("[registries.search]\nregistries = ['a.io']", "version 1"),
            ("[aliases]\n'a:1' = 'b.io/c'", "a registry, a tag"),
            ("[aliases]\n'b.io/c' = 'b.io/c'", "a registry, a tag"),
            ("[aliases]\n'a' = 'c'", "alone"),
            ("[aliases]\n'a' = 'b.io/c:1'", "alone"),
            ("[aliases]\n'a' = 'b.io/c:latest'", "alone"),
            ("[aliases]\n'A' = 'b.io/c'", "upper case"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn later_files_replace_what_they_name() {
        let mut conf = parse(
            "credential-helpers = ['a']\n[aliases]\n'a' = 'a.io/a'\n'b' = 'docker.io/b'\n[[registry]]\nlocation = 'a.io'\nblocked = true\n[[registry]]\nlocation = 'b.io'",
        )
        .unwrap();
        assert_eq!(conf.alias("b"), Some("docker.io/library/b"));
        conf.merge(parse("[aliases]\n'a' = ''\n[[registry]]\nlocation = 'a.io'").unwrap());
        assert_eq!((conf.alias("a"), conf.alias("b").is_some()), (None, true));
        assert!(!conf.find("a.io/x").unwrap().0.blocked);
        assert!(conf.find("b.io/x").is_some());
        assert_eq!(conf.credential_helpers(), Some(&["a".to_owned()][..]));
        conf.merge(parse("credential-helpers = []").unwrap());
        assert_eq!(conf.credential_helpers(), None);
    }

    #[test]
    fn the_first_of_a_prefix_counts_in_one_file() {
        let conf = parse(
            "[[registry]]\nprefix = 'a.io'\nlocation = 'b.io'\n[[registry]]\nprefix = 'a.io'\nlocation = 'c.io'",
        )
        .unwrap();
        assert_eq!(conf.find("a.io/x").unwrap().0.location, "b.io");
    }
}
