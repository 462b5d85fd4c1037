//! Platforms, and which of several an image is taken for, as containerd's `platforms` package does
//! (`platforms.go`, `database.go`, `compare.go`).

use std::fmt;
use std::str::FromStr;

use oci_spec::image::{Arch, Os};

/// What an image must run on, in containerd's normal form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// Go's name: `amd64`, `arm64`.
    pub architecture: String,
    /// `v7` of `arm/v7`; empty where the architecture's usual one is meant.
    pub variant: String,
}

/// Not a platform.
#[derive(Debug, thiserror::Error)]
#[error("parse platform {0:?}: not OS/ARCHITECTURE[/VARIANT], as in linux/amd64 or linux/arm/v7")]
pub struct ParseError(String);

impl Default for Platform {
    /// `linux/amd64`.
    fn default() -> Self {
        Self::new("linux", "amd64", "")
    }
}

impl Platform {
    /// The platform of these parts, in normal form.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let os = os.to_ascii_lowercase();
        let (architecture, variant) = normal(
            &architecture.to_ascii_lowercase(),
            &variant.to_ascii_lowercase(),
        );
        Self {
            os,
            architecture,
            variant,
        }
    }

    pub(super) fn of(os: &Os, architecture: &Arch, variant: Option<&String>) -> Self {
        let variant = variant.map_or("", String::as_str);
        Self::new(&os.to_string(), &architecture.to_string(), variant)
    }

    /// How well an image for `image` serves this platform: 0 is best, `None` not at all.
    #[must_use]
    pub fn rank(&self, image: &Self) -> Option<usize> {
        if image.os != self.os {
            return None;
        }
        let served = serves(&self.architecture, &self.variant);
        served.iter().position(|(architecture, variant)| {
            *architecture == image.architecture && *variant == image.variant
        })
    }
}

/// Aliases and usual variants (`normalizeArch` of `database.go`).
fn normal(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match (architecture, variant) {
        ("i386" | "i486" | "i586" | "i686", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

/// What a machine of this kind runs, best first (`platformVector` of `compare.go`).
fn serves(architecture: &str, variant: &str) -> Vec<(&'static str, String)> {
    let version = || {
        variant
            .strip_prefix('v')
            .and_then(|digits| digits.parse::<u8>().ok())
    };
    let down = |name: &'static str, from: u8, to: u8| {
        (to..from)
            .rev()
            .map(move |version| (name, format!("v{version}")))
    };
    match architecture {
        "amd64" => {
            let mut out = vec![("amd64", variant.to_owned())];
            if let Some(version) = version() {
                out.extend(down("amd64", version.min(16), 2));
                out.push(("amd64", String::new()));
            }
            out.push(("386", String::new()));
            out
        }
        "arm" => {
            let mut out = vec![("arm", variant.to_owned())];
            out.extend(down("arm", version().unwrap_or(0).min(16), 5));
            out
        }
        "arm64" => {
            let mut out = vec![("arm64", variant.to_owned())];
            if !variant.is_empty() {
                out.push(("arm64", String::new()));
            }
            out.extend(down("arm", 9, 5));
            out
        }
        other => vec![(known(other), variant.to_owned())],
    }
}

/// Architectures without compatible others; an unknown one serves nothing.
fn known(architecture: &str) -> &'static str {
    const NAMES: [&str; 10] = [
        "386", "ppc64le", "s390x", "riscv64", "loong64", "mips", "mipsle", "mips64", "mips64le",
        "wasm",
    ];
    NAMES
        .into_iter()
        .find(|name| *name == architecture)
        .unwrap_or("")
}

impl FromStr for Platform {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        match parts.as_slice() {
            [os, architecture, rest @ ..] if rest.len() <= 1 && parts.iter().all(is_word) => Ok(
                Self::new(os, architecture, rest.first().copied().unwrap_or("")),
            ),
            _ => Err(ParseError(text.chars().take(100).collect())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(formatter, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(wanted: &str, image: &str) -> Option<usize> {
        let parse = |text: &str| text.parse::<Platform>().unwrap();
        parse(wanted).rank(&parse(image))
    }

    #[test]
    fn variants_match_as_containerds_do() {
        assert_eq!(rank("linux/amd64", "linux/x86_64"), Some(0));
        assert_eq!(rank("linux/amd64", "linux/amd64/v1"), Some(0));
        assert_eq!(rank("linux/amd64", "linux/amd64/v2"), None);
        assert_eq!(rank("linux/amd64", "linux/386"), Some(1));
        assert_eq!(rank("linux/amd64/v3", "linux/amd64/v2"), Some(1));
        assert_eq!(rank("linux/amd64/v3", "linux/amd64"), Some(2));
        assert_eq!(rank("linux/arm64/v8", "linux/arm64"), Some(0));
        assert_eq!(rank("linux/arm64", "linux/arm64/v8"), Some(0));
        assert_eq!(rank("linux/arm64", "linux/arm/v7"), Some(2));
        assert_eq!(rank("linux/arm64/v9", "linux/arm64"), Some(1));
        assert_eq!(rank("linux/arm/v7", "linux/arm"), Some(0));
        assert_eq!(rank("linux/arm/v7", "linux/arm/v5"), Some(2));
        assert_eq!(rank("linux/arm/v6", "linux/arm/v7"), None);
        assert_eq!(rank("linux/amd64", "windows/amd64"), None);
        assert_eq!(rank("linux/amd64", "unknown/unknown"), None);
        assert_eq!(rank("linux/unknown", "linux/wasm"), None);
        assert_eq!(rank("linux/s390x", "linux/s390x"), Some(0));
    }

    #[test]
    fn what_is_no_platform() {
        for bad in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/arm/v7/x",
            "linux/a b",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
        let arm: Platform = "Linux/ARMHF".parse().unwrap();
        assert_eq!(arm.to_string(), "linux/arm/v7");
    }
}
