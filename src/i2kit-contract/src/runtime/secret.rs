//! Bytes that nobody prints.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroize;

/// The value of one key of a secret. It is not shown by `Debug`, and overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// As the API has it: `data` in base64 (RFC 4648, section 4), `stringData` plain. A key in both is
/// that of `stringData`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Secret {
    /// Values in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, Base64>,
    /// Values as text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub string_data: BTreeMap<String, Plain>,
}

impl Secret {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        let text = self.string_data.get(key).map(|Plain(value)| value);
        let value = text.or_else(|| self.data.get(key).map(|Base64(value)| value));
        value.map(SecretBytes::expose)
    }

    /// Its keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let keys: std::collections::BTreeSet<&str> = self
            .data
            .keys()
            .chain(self.string_data.keys())
            .map(String::as_str)
            .collect();
        keys.into_iter()
    }
}

/// Written and read in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base64(pub SecretBytes);

/// Written and read as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain(pub SecretBytes);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = STANDARD.encode(self.0.expose());
        let result = serializer.serialize_str(&text);
        text.zeroize();
        result
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = String::deserialize(deserializer)?;
        // Block scalars end with a newline.
        let bytes = STANDARD.decode(text.trim_ascii());
        text.zeroize();
        match bytes {
            Ok(bytes) => Ok(Self(SecretBytes::new(bytes))),
            Err(_) => Err(de::Error::custom("not base64; stringData takes plain text")),
        }
    }
}

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match str::from_utf8(self.0.expose()) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Err(serde::ser::Error::custom("a secret's text is not UTF-8")),
        }
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(SecretBytes::new(text.into_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let secret: Secret =
            serde_json::from_str(r#"{"data":{"a":"aHVudGVyMg=="},"stringData":{"b":"hunter3"}}"#)
                .unwrap();
        let shown = format!("{secret:?}");
        assert!(
            !shown.contains("hunter") && !shown.contains("104"),
            "{shown}"
        );
        assert_eq!(secret.get("a"), Some(&b"hunter2"[..]));
        assert_eq!(secret.get("b"), Some(&b"hunter3"[..]));
        assert_eq!(secret.keys().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn text_wins_over_base64_and_what_is_written_is_read_again() {
        let json = r#"{"data":{"a":"eA=="},"stringData":{"a":"y"}}"#;
        let secret: Secret = serde_json::from_str(json).unwrap();
        assert_eq!(secret.get("a"), Some(&b"y"[..]));
        assert_eq!(serde_json::to_string(&secret).unwrap(), json);
    }
}
