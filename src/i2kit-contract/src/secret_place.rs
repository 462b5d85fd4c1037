//! Where Amazon keeps the values of a Secret: an annotation `i2kit.io/secret.NAME` of the Pod, or the
//! run-time configuration's `secretsFrom`.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What such an annotation's key begins with; the Secret's name follows.
pub const SECRET_ANNOTATION: &str = "i2kit.io/secret.";
/// An ARN has 2048 bytes at most, as has a parameter's name.
const LONGEST: usize = 2048;
/// Kubernetes' bound for a key.
const LONGEST_KEY: usize = 253;

/// Where the values of a Secret are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretPlace {
    /// `ssm:/PATH/NAME#KEY`: one parameter of the Systems Manager. Without `#KEY` the last part of
    /// its name is the key.
    Parameter {
        /// Name or ARN.
        name: String,
        /// The Secret's only key.
        key: String,
    },
    /// `ssm:/PATH/`: the parameters right below a path; the last part of each name is a key.
    Parameters {
        /// Begins and ends with `/`.
        path: String,
    },
    /// `secretsmanager:ID#KEY`: a secret of the Secrets Manager. Without `#KEY` its value is a JSON
    /// object, whose names are the keys.
    Secret {
        /// Name or ARN.
        id: String,
        /// The key of the whole value.
        key: Option<String>,
    },
}

/// A text that names no place. It is not shown: somebody may have put a value there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither ssm:/PATH/NAME[#KEY], ssm:/PATH/ nor secretsmanager:ID[#KEY]")]
pub struct NoPlace;

impl FromStr for SecretPlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (service, rest) = text.split_once(':').ok_or(NoPlace)?;
        let (id, key) = match rest.split_once('#') {
            Some((id, key)) if is_secret_key(key) => (id, Some(key.to_owned())),
            Some(_) => return Err(NoPlace),
            None => (rest, None),
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@:-".contains(&byte);
        if id.is_empty() || id.len() > LONGEST || !id.bytes().all(is_plain) {
            return Err(NoPlace);
        }
        match service {
            "ssm" if id.ends_with('/') => {
                let is_path = id.len() > 1 && id.starts_with('/') && key.is_none();
                let path = id.to_owned();
                is_path.then_some(Self::Parameters { path }).ok_or(NoPlace)
            }
            "ssm" => {
                let key = key.unwrap_or_else(|| last_part(id).to_owned());
                let name = id.to_owned();
                let is_key = is_secret_key(&key);
                is_key
                    .then_some(Self::Parameter { name, key })
                    .ok_or(NoPlace)
            }
            "secretsmanager" => Ok(Self::Secret {
                id: id.to_owned(),
                key,
            }),
            _ => Err(NoPlace),
        }
    }
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter { name, key } if last_part(name) == key => write!(f, "ssm:{name}"),
            Self::Parameter { name, key } => write!(f, "ssm:{name}#{key}"),
            Self::Parameters { path } => write!(f, "ssm:{path}"),
            Self::Secret { id, key: None } => write!(f, "secretsmanager:{id}"),
            Self::Secret { id, key: Some(key) } => write!(f, "secretsmanager:{id}#{key}"),
        }
    }
}

impl TryFrom<String> for SecretPlace {
    type Error = NoPlace;

    fn try_from(text: String) -> Result<Self, NoPlace> {
        text.parse()
    }
}

impl From<SecretPlace> for String {
    fn from(place: SecretPlace) -> Self {
        place.to_string()
    }
}

/// What follows the last `/`.
#[must_use]
pub fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Whether a Secret may have such a key: Kubernetes' letters, and no folder's name.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=LONGEST_KEY).contains(&key.len())
        && key.bytes().all(is_plain)
        && !key.starts_with("..")
        && key != "."
}

/// The places that a Pod's annotations name, by Secret; one that names none is left out (no builder
/// writes it).
#[must_use]
pub fn secret_places(annotations: &BTreeMap<String, String>) -> BTreeMap<String, SecretPlace> {
    let named = annotations.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix(SECRET_ANNOTATION)?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written_again() {
        let parameter = |name: &str, key: &str| SecretPlace::Parameter {
            name: name.into(),
            key: key.into(),
        };
        let secret = |id: &str, key: Option<&str>| SecretPlace::Secret {
            id: id.into(),
            key: key.map(str::to_owned),
        };
        let arn = "arn:aws:secretsmanager:eu-west-1:1:secret:db-a1";
        let path = "/prod/db/".to_owned();
        for (text, place) in [
            ("ssm:/prod/db/", SecretPlace::Parameters { path }),
            ("ssm:/prod/pw", parameter("/prod/pw", "pw")),
            ("ssm:pw", parameter("pw", "pw")),
            ("ssm:/prod/pw:3#pw", parameter("/prod/pw:3", "pw")),
            ("secretsmanager:db", secret("db", None)),
            ("secretsmanager:db#token", secret("db", Some("token"))),
            (&format!("secretsmanager:{arn}"), secret(arn, None)),
        ] {
            assert_eq!(text.parse(), Ok(place.clone()));
            assert_eq!(place.to_string(), text);
        }
    }

    #[test]
    fn other_texts_name_no_place() {
        for bad in [
            "",
            "ssm:",
            "ssm:/",
            "ssm:prod/",
            "ssm:/prod/#key",
            "ssm:/prod/pw:3",
            "ssm:/prod/pw#",
            "ssm:/prod/pw#a/b",
            "ssm:/prod/..",
            "vault:x",
            "secretsmanager:",
            "secretsmanager:a b",
            "secretsmanager:a#..",
            "ssm:/a\n",
            &format!("ssm:/{}", "a".repeat(2048)),
        ] {
            assert_eq!(bad.parse::<SecretPlace>(), Err(NoPlace), "{bad:?}");
        }
    }

    #[test]
    fn annotations_name_places() {
        let annotations = [
            ("i2kit.io/secret.db", "ssm:/db/"),
            ("i2kit.io/secret.bad", "nothing"),
            ("other", "ssm:/x"),
        ];
        let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let places = secret_places(&annotations.into());
        assert_eq!(places.keys().collect::<Vec<_>>(), ["db"]);
    }
}
