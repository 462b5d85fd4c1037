//! `~/.aws/config` and `~/.aws/credentials` ("Shared config and credentials files").

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::settings::read;
use super::{AwsError, Environment};

/// The profiles of both files.
#[derive(Default)]
pub(super) struct Profiles(BTreeMap<String, Profile>);

/// Settings by their names, in lower case. They may be secrets, and cannot be shown.
#[derive(Clone, Default)]
pub(super) struct Profile(BTreeMap<String, String>);

impl Profile {
    /// A setting that is there and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?.as_str();
        (!value.is_empty()).then_some(value)
    }
}

impl Profiles {
    /// Reads the files. What `credentials` says counts more.
    pub fn load(environment: &Environment) -> Result<Self, AwsError> {
        let mut out = Self::default();
        for (variable, usual, is_config) in [
            ("AWS_CONFIG_FILE", ".aws/config", true),
            ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", false),
        ] {
            let home = || Some(environment.home()?.join(usual));
            let path = environment.path(variable);
            let path = path.map(|path| expand(environment, path)).or_else(home);
            let Some(path) = path else { continue };
            let Some(text) = read(&path)? else { continue };
            out.add(&text, is_config).map_err(|line| AwsError::Source {
                place: path.display().to_string(),
                reason: format!("line {line} is neither [section] nor NAME = VALUE"),
            })?;
        }
        Ok(out)
    }

    pub fn get(&self, name: &str) -> Option<&Profile> {
        self.0.get(name)
    }

    /// One file's text. An error is the number of a line that makes no sense.
    fn add(&mut self, text: &str, is_config: bool) -> Result<(), usize> {
        let mut section: Option<String> = None;
        let mut is_inside = false;
        for (number, line) in (1..).zip(text.lines()) {
            let is_nested = line.starts_with([' ', '\t']);
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[') {
                let (name, _) = rest.split_once(']').ok_or(number)?;
                is_inside = true;
                section = profile_name(name.trim(), is_config);
                if let Some(name) = &section {
                    self.0.entry(name.clone()).or_default();
                }
                continue;
            }
            // Settings of settings: `s3 =` and what is indented below it.
            if is_nested && is_inside {
                continue;
            }
            let (name, value) = line.split_once('=').ok_or(number)?;
            if !is_inside {
                return Err(number);
            }
            if let Some(profile) = section.as_ref().and_then(|name| self.0.get_mut(name)) {
                let value = without_comment(value).trim().to_owned();
                profile.0.insert(name.trim().to_lowercase(), value);
            }
        }
        Ok(())
    }
}

/// `[profile NAME]` and `[default]` of the config file, `[NAME]` of the credentials file.
fn profile_name(section: &str, is_config: bool) -> Option<String> {
    let name = match section.strip_prefix("profile") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim(),
        _ if is_config && section != "default" => return None,
        _ => section,
    };
    Some(name.trim_matches(['"', '\'']).to_owned())
}

/// A comment begins with white space.
fn without_comment(value: &str) -> &str {
    let marks = [" #", " ;", "\t#", "\t;"];
    let end = marks.iter().filter_map(|mark| value.find(mark)).min();
    value.get(..end.unwrap_or(value.len())).unwrap_or(value)
}

/// `~/` is the home folder.
fn expand(environment: &Environment, path: &std::path::Path) -> PathBuf {
    match (path.strip_prefix("~"), environment.home()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_of_both_files() {
        let mut profiles = Profiles::default();
        let config = "# c\n[default]\nregion = eu-west-1 # not that\n[profile dev]\nRole_ARN=arn:x\ns3 =\n  addressing_style = path\nregion=a#b\n\n[sso-session dev]\nregion = no\n[other]\nregion = no\n[profile \"two words\"]\nx = ' y'\n";
        profiles.add(config, true).unwrap();
        let credentials = "[dev]\naws_access_key_id = AK\naws_secret_access_key = a=b;c\nregion =\n[other]\nk = v ; c\n";
        profiles.add(credentials, false).unwrap();
        let get = |profile: &str, name: &str| {
            let value = profiles.get(profile)?.get(name)?;
            Some(value.to_owned())
        };
        for (profile, name, expected) in [
            ("default", "region", Some("eu-west-1")),
            ("dev", "role_arn", Some("arn:x")),
            ("dev", "addressing_style", None),
            ("dev", "s3", None),
            ("dev", "region", None),
            ("dev", "aws_access_key_id", Some("AK")),
            ("dev", "aws_secret_access_key", Some("a=b;c")),
            ("other", "region", None),
            ("other", "k", Some("v")),
            ("two words", "x", Some("' y'")),
            ("none", "x", None),
        ] {
            assert_eq!(get(profile, name).as_deref(), expected, "{profile} {name}");
        }
    }

    #[test]
    fn lines_that_make_no_sense_are_counted() {
        for (text, line) in [
            ("x = 1", 1),
            ("[default\n", 1),
            ("[default]\nsecret\n", 2),
            ("\n\n[default]\n# x\n=\nsecret", 6),
        ] {
            assert_eq!(Profiles::default().add(text, true), Err(line), "{text}");
        }
    }
}
