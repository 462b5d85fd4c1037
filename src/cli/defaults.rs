//! `i2kit.toml`: a project's defaults for flags. They become words of the command line, so that each
//! means what the flag means and is checked as the flag is; a flag that was given wins.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use toml::{Table, Value};

/// The file's name; it is looked for in the working directory only.
pub const FILE: &str = "i2kit.toml";

/// Why the defaults cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DefaultsError {
    /// The file cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It is no TOML.
    #[error("parse {}: {reason}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// No command has such a flag.
    #[error("read {}: unknown key {key:?}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The key, with its tables.
        key: String,
        /// The flag that it resembles most.
        similar: Option<String>,
    },
    /// A value of a kind that the flag does not take.
    #[error("read {}: {key} is {found}, {expected} is wanted", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// The key, with its tables.
        key: String,
        /// TOML's name of what it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

impl DefaultsError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown {
                similar: Some(similar),
                ..
            } => Some(format!("did you mean {similar}?")),
            Self::Unknown { .. } => Some(
                "keys are flags without their dashes, as in memory = \"2GiB\"; a table [build] \
                 is for one command"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// The words of the command line, with the defaults of the file at `path`, if there is one, put in.
///
/// # Errors
/// [`DefaultsError`].
pub fn apply(
    command: &Command,
    words: Vec<OsString>,
    path: &Path,
) -> Result<Vec<OsString>, DefaultsError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(words),
        Err(source) => {
            let path = path.to_owned();
            return Err(DefaultsError::Read { path, source });
        }
    };
    let table: Table = toml::from_str(&text).map_err(|error| DefaultsError::Toml {
        path: path.to_owned(),
        reason: crate::oci::toml_reason(&error),
    })?;
    let file = File { path, command };
    file.check(&table, command, "")?;
    file.insert(words, &table)
}

struct File<'a> {
    path: &'a Path,
    command: &'a Command,
}

/// The command that the words name, and what they give it.
struct Given<'a> {
    names: Vec<String>,
    command: &'a Command,
    matches: ArgMatches,
}

impl File<'_> {
    /// Every key is a flag of some command below, or a table for a command.
    fn check(&self, table: &Table, command: &Command, within: &str) -> Result<(), DefaultsError> {
        for (key, value) in table {
            let name = format!("{within}{key}");
            match (command.find_subcommand(key), value) {
                (Some(sub), Value::Table(table)) => {
                    self.check(table, sub, &format!("{name}."))?;
                }
                _ if flags(command).contains(key.as_str()) => {}
                _ => {
                    return Err(DefaultsError::Unknown {
                        path: self.path.to_owned(),
                        similar: similar(key, &flags(command)),
                        key: name,
                    });
                }
            }
        }
        Ok(())
    }

    fn insert(&self, words: Vec<OsString>, table: &Table) -> Result<Vec<OsString>, DefaultsError> {
        let Some(given) = self.given(&words) else {
            return Ok(words);
        };
        // Inner tables last, so that they win over outer ones.
        let mut chosen = Table::new();
        let mut level = Some(table);
        let mut names = given.names.iter();
        while let Some(table) = level {
            let plain = table.iter().filter(|(_, value)| !value.is_table());
            chosen.extend(plain.map(|(key, value)| (key.clone(), value.clone())));
            level = names.next().and_then(|name| table.get(name)?.as_table());
        }
        let mut new = Vec::new();
        for (key, value) in &chosen {
            let flag = given
                .command
                .get_arguments()
                .find(|arg| arg.get_long() == Some(key));
            if let Some(flag) = flag
                && !is_settled(flag, &given)
            {
                self.words(key, value, flag, &mut new)?;
            }
        }
        let at = position(&words, &given.names);
        let (before, after) = words.split_at(at);
        Ok([before, &new, after].concat())
    }

    /// None when the words name no command: clap will say so.
    fn given(&self, words: &[OsString]) -> Option<Given<'_>> {
        let lenient = self.command.clone().ignore_errors(true);
        let mut matches = lenient.try_get_matches_from(words).ok()?;
        let mut command = self.command;
        let mut names = Vec::new();
        while let Some((name, sub)) = matches.remove_subcommand() {
            command = command.find_subcommand(&name)?;
            names.push(name);
            matches = sub;
        }
        (!names.is_empty()).then_some(Given {
            names,
            command,
            matches,
        })
    }

    fn words(
        &self,
        key: &str,
        value: &Value,
        flag: &Arg,
        out: &mut Vec<OsString>,
    ) -> Result<(), DefaultsError> {
        let takes_value = flag.get_action().takes_values();
        let repeats = matches!(flag.get_action(), clap::ArgAction::Append);
        let kind = |expected| DefaultsError::Kind {
            path: self.path.to_owned(),
            key: key.to_owned(),
            found: value.type_str(),
            expected,
        };
        match (value, takes_value) {
            (Value::Boolean(true), false) => out.push(format!("--{key}").into()),
            (Value::Boolean(false), false) => {}
            (_, false) => return Err(kind("true or false")),
            (Value::Array(items), true) if repeats => {
                for item in items {
                    let text = text(item).ok_or_else(|| kind("a list of strings"))?;
                    out.push(format!("--{key}={text}").into());
                }
            }
            (value, true) => {
                let text = text(value).ok_or_else(|| kind("a string or a number"))?;
                out.push(format!("--{key}={text}").into());
            }
        }
        Ok(())
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

/// True when the words give the flag, or one that excludes it.
fn is_settled(flag: &Arg, given: &Given<'_>) -> bool {
    let is_given = |id: &str| {
        let known = given.matches.try_contains_id(id).unwrap_or(false);
        known && given.matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let exclusive = |other: &&Arg| {
        let of = |arg: &Arg, id: &clap::Id| {
            let rivals = given.command.get_arg_conflicts_with(arg);
            rivals.iter().any(|rival| rival.get_id() == id)
        };
        of(flag, other.get_id()) || of(other, flag.get_id())
    };
    is_given(flag.get_id().as_str())
        || given
            .command
            .get_arguments()
            .filter(exclusive)
            .any(|other| is_given(other.get_id().as_str()))
}

/// Where flags of the innermost command may stand: behind its name.
fn position(words: &[OsString], names: &[String]) -> usize {
    let mut names = names.iter().peekable();
    for (at, word) in words.iter().enumerate().skip(1) {
        if names.peek().is_some_and(|name| word == name.as_str()) {
            names.next();
        }
        if names.peek().is_none() {
            return at + 1;
        }
    }
    words.len()
}

/// The long flags of a command and all commands below it.
fn flags(command: &Command) -> BTreeSet<&str> {
    let own = command.get_arguments().filter_map(Arg::get_long);
    own.chain(command.get_subcommands().flat_map(flags))
        .collect()
}

fn similar(key: &str, flags: &BTreeSet<&str>) -> Option<String> {
    let near = flags.iter().map(|flag| (strsim::jaro(key, flag), *flag));
    let best = near.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (best.0 > 0.8).then(|| best.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ArgAction;

    fn command() -> Command {
        let flag = |name: &'static str| Arg::new(name).long(name);
        Command::new("i2kit")
            .subcommand(
                Command::new("build")
                    .arg(flag("filename").short('f').action(ArgAction::Append))
                    .arg(flag("from").conflicts_with("filename"))
                    .arg(flag("memory").default_value("1GiB"))
                    .arg(flag("quiet").action(ArgAction::SetTrue)),
            )
            .subcommand(Command::new("cache").subcommand(Command::new("gc").arg(flag("cache-dir"))))
    }

    fn applied(toml: &str, words: &[&str]) -> Result<Vec<String>, DefaultsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, toml).unwrap();
        let words = words.iter().map(OsString::from).collect();
        let out = apply(&command(), words, &path)?;
        Ok(out
            .iter()
            .map(|word| word.to_str().unwrap().to_owned())
            .collect())
    }

    #[test]
    fn flags_win_over_the_file_and_inner_tables_over_outer_ones() {
        let toml =
            "filename = [\"a\", \"b\"]\nquiet = true\nmemory = 5\n[build]\nmemory = \"2GiB\"\n";
        assert_eq!(
            applied(toml, &["i2kit", "build"]).unwrap(),
            [
                "i2kit",
                "build",
                "--filename=a",
                "--filename=b",
                "--memory=2GiB",
                "--quiet"
            ]
        );
        assert_eq!(
            applied(toml, &["i2kit", "build", "-f", "c", "--memory", "1"]).unwrap(),
            ["i2kit", "build", "--quiet", "-f", "c", "--memory", "1"]
        );
        // What excludes a default drops it.
        assert_eq!(
            applied("filename = [\"a\"]", &["i2kit", "build", "--from", "x"]).unwrap(),
            ["i2kit", "build", "--from", "x"]
        );
        assert_eq!(
            applied(
                "cache-dir = \"/c\"\nquiet = false",
                &["i2kit", "cache", "gc"]
            )
            .unwrap(),
            ["i2kit", "cache", "gc", "--cache-dir=/c"]
        );
        assert_eq!(applied("quiet = true", &["i2kit"]).unwrap(), ["i2kit"]);
    }

    #[test]
    fn what_no_flag_takes_is_told() {
        for (toml, expected, hint) in [
            ("a = [", "parse ", None),
            (
                "memry = 1",
                "unknown key \"memry\"",
                Some("did you mean memory?"),
            ),
            (
                "[build]\nzzz = 1",
                "unknown key \"build.zzz\"",
                Some("keys are flags"),
            ),
            (
                "[nope]\nquiet = true",
                "unknown key \"nope\"",
                Some("keys are flags"),
            ),
            (
                "quiet = 1",
                "quiet is integer, true or false is wanted",
                None,
            ),
            (
                "memory = true",
                "memory is boolean, a string or a number is wanted",
                None,
            ),
            ("memory = [1]", "memory is array", None),
        ] {
            let error = applied(toml, &["i2kit", "build"]).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            let found = error.hint().unwrap_or_default();
            assert!(found.contains(hint.unwrap_or("")) && found.is_empty() == hint.is_none());
        }
    }

    #[test]
    fn no_file_is_no_error() {
        let words: Vec<OsString> = vec!["i2kit".into(), "build".into()];
        let path = Path::new("/nonexistent/i2kit.toml");
        assert_eq!(apply(&command(), words.clone(), path).unwrap(), words);
    }
}
