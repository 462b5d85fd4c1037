//! Text with values in it that only the guest knows.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::SecretEnv;

/// An argument, a variable or a file's content: as it is, or made of parts. Expansion of
/// `$(NAME)` was the builder's; the guest puts values in the places of references.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// The builder knew all of it.
    Plain(String),
    /// To be joined.
    Parts(Vec<Part>),
}

/// A piece of a [`Text`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Part {
    /// As it is.
    Plain(String),
    /// A value that only the guest knows.
    Value(Lookup),
}

/// A place for a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// Which value.
    pub value: Reference,
    /// What stands there when an optional value does not exist; without it, the container cannot
    /// start then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<String>,
}

/// A value that only the guest knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reference {
    /// `status.podIP` and `status.hostIP`: the VM's first address, IPv4 before IPv6.
    PodIp,
    /// `status.podIPs` and `status.hostIPs`: all of its addresses, comma-separated.
    PodIps,
    /// `spec.nodeName`: the machine's name.
    NodeName,
    /// `metadata.uid`: made at the first boot.
    PodUid,
    /// `resourceFieldRef` of a limit that is not set: what the VM has.
    Capacity {
        /// Of what.
        resource: Capacity,
        /// In units of so many thousandths of a CPU, or bytes; never 0. Rounded up.
        divisor: u64,
    },
    /// A key of a Secret.
    Secret(SecretKey),
    /// `$(NAME)` that only a Secret can explain whose keys the builder does not know.
    Variable {
        /// The name.
        name: String,
        /// The Secrets, of which the last that has it counts.
        of: Vec<SecretEnv>,
    },
}

/// What a VM has so much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capacity {
    /// CPUs, in thousandths.
    Cpu,
    /// Memory, in bytes.
    Memory,
    /// The scratch file system, in bytes.
    EphemeralStorage,
}

/// One value of a Secret, which is delivered at run time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret's name.
    pub name: String,
    /// The key in it.
    pub key: String,
}

impl Text {
    /// The text, when the builder knew all of it.
    #[must_use]
    pub fn as_plain(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Parts(_) => None,
        }
    }

    /// Parts joined where both are plain.
    #[must_use]
    pub fn from_parts(parts: Vec<Part>) -> Self {
        let mut joined: Vec<Part> = Vec::new();
        for part in parts {
            match (joined.last_mut(), part) {
                (_, Part::Plain(text)) if text.is_empty() => {}
                (Some(Part::Plain(before)), Part::Plain(text)) => before.push_str(&text),
                (_, part) => joined.push(part),
            }
        }
        match joined.as_mut_slice() {
            [] => Self::Plain(String::new()),
            [Part::Plain(text)] => Self::Plain(std::mem::take(text)),
            _ => Self::Parts(joined),
        }
    }

    /// The parts; a plain text is one.
    #[must_use]
    pub fn into_parts(self) -> Vec<Part> {
        match self {
            Self::Plain(text) => vec![Part::Plain(text)],
            Self::Parts(parts) => parts,
        }
    }

    /// How many parts it has.
    #[must_use]
    pub fn parts(&self) -> usize {
        match self {
            Self::Plain(_) => 1,
            Self::Parts(parts) => parts.len(),
        }
    }

    /// Appends plain text.
    pub fn push_str(&mut self, text: &str) {
        match self {
            Self::Plain(plain) => plain.push_str(text),
            Self::Parts(parts) => match parts.last_mut() {
                _ if text.is_empty() => {}
                Some(Part::Plain(last)) => last.push_str(text),
                _ => parts.push(Part::Plain(text.to_owned())),
            },
        }
    }

    /// Appends another text.
    pub fn push(&mut self, other: &Self) {
        match other {
            Self::Plain(text) => self.push_str(text),
            Self::Parts(more) => {
                let mut parts = std::mem::take(self).into_parts();
                parts.extend(more.iter().cloned());
                *self = Self::from_parts(parts);
            }
        }
    }

    /// Bytes that are known.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Plain(text) => text.len(),
            Self::Parts(parts) => parts.iter().map(Part::len).sum(),
        }
    }

    /// True when it has no bytes and no references.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_plain() == Some("")
    }

    /// The references in it, with what is said of their absence.
    pub fn lookups(&self) -> impl Iterator<Item = &Lookup> {
        let parts: &[Part] = match self {
            Self::Plain(_) => &[],
            Self::Parts(parts) => parts,
        };
        parts.iter().filter_map(|part| match part {
            Part::Plain(_) => None,
            Part::Value(lookup) => Some(lookup),
        })
    }

    /// The text with what `value_of` answers in the places of references.
    ///
    /// # Errors
    /// The first reference that has neither a value nor a substitute.
    pub fn resolve(
        &self,
        value_of: impl Fn(&Reference) -> Option<String>,
    ) -> Result<String, Reference> {
        let parts = match self {
            Self::Plain(text) => return Ok(text.clone()),
            Self::Parts(parts) => parts,
        };
        let mut out = String::new();
        for part in parts {
            match part {
                Part::Plain(text) => out.push_str(text),
                Part::Value(Lookup { value, otherwise }) => {
                    let found = value_of(value).or_else(|| otherwise.clone());
                    out.push_str(&found.ok_or_else(|| value.clone())?);
                }
            }
        }
        Ok(out)
    }
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Self::Plain(text) => text.len(),
            Self::Value(_) => 0,
        }
    }
}

/// For people: references stand in angle brackets.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.write_str(text),
            Self::Parts(parts) => parts.iter().try_for_each(|part| match part {
                Part::Plain(text) => f.write_str(text),
                Part::Value(lookup) => write!(f, "<{}>", lookup.value),
            }),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PodIp => f.write_str("pod IP"),
            Self::PodIps => f.write_str("pod IPs"),
            Self::NodeName => f.write_str("node name"),
            Self::PodUid => f.write_str("pod uid"),
            Self::Capacity { resource, .. } => write!(f, "capacity {resource:?}"),
            Self::Secret(key) => write!(f, "secret {}/{}", key.name, key.key),
            Self::Variable { name, .. } => write!(f, "variable {name}"),
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::Plain(String::new())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Plain(text)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::Plain(text.to_owned())
    }
}

impl From<Reference> for Text {
    fn from(value: Reference) -> Self {
        let otherwise = None;
        Self::Parts(vec![Part::Value(Lookup { value, otherwise })])
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_plain() == Some(*other)
    }
}

impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        self.as_plain() == Some(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(otherwise: Option<&str>) -> Part {
        Part::Value(Lookup {
            value: Reference::Secret(SecretKey {
                name: "s".into(),
                key: "k".into(),
            }),
            otherwise: otherwise.map(str::to_owned),
        })
    }

    #[test]
    fn parts_are_joined_and_values_put_in() {
        let plain = |text: &str| Part::Plain(text.into());
        let text = Text::from_parts(vec![plain("a"), plain("b"), secret(None), plain("")]);
        assert_eq!(text, Text::Parts(vec![plain("ab"), secret(None)]));
        assert_eq!(text.resolve(|_| Some("x".into())), Ok("abx".into()));
        assert!(text.resolve(|_| None).is_err());
        let optional = Text::from_parts(vec![plain("a"), secret(Some("$(S)"))]);
        assert_eq!(optional.resolve(|_| None), Ok("a$(S)".into()));
        assert_eq!(Text::from_parts(Vec::new()), "");
        assert_eq!(Text::from_parts(vec![plain("a"), plain("b")]), "ab");
    }

    #[test]
    fn a_plain_text_is_a_string_in_json() {
        let json = |text: &Text| serde_json::to_string(text).unwrap();
        assert_eq!(json(&"a".into()), "\"a\"");
        let text = Text::from(Reference::PodIp);
        assert_eq!(json(&text), r#"[{"value":"pod-ip"}]"#);
        assert_eq!(serde_json::from_str::<Text>(&json(&text)).unwrap(), text);
        assert!(serde_json::from_str::<Text>(r#"[{"value":"nope"}]"#).is_err());
    }
}
