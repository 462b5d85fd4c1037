//! Docker references as policies compare them, in the fully expanded form (`normalize.go` and
//! `regexp.go` of distribution's `reference` package).

use std::fmt;

/// The longest repository name, its host included.
const MAX_NAME: usize = 255;
/// The longest tag.
const MAX_TAG: usize = 128;

/// `docker.io/library/nginx:1.27`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// Host and path: `docker.io/library/nginx`.
    pub repository: String,
    /// Without the colon.
    pub tag: Option<String>,
    /// `sha256:…`.
    pub digest: Option<String>,
}

impl Name {
    /// The reference that `text` means, or what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() == 64 && is_hex(text) {
            return Err("64 hex digits are an image ID");
        }
        let (text, digest) = match text.split_once('@') {
            Some((name, digest)) if is_digest(digest) => (name, Some(digest.to_owned())),
            Some(_) => return Err("no digest after @"),
            None => (text, None),
        };
        let (host, rest) = split_host(text);
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
            Some(_) => return Err("bad tag"),
            None => (rest, None),
        };
        let is_official = host == "docker.io" && !path.contains('/');
        let library = if is_official { "library/" } else { "" };
        let repository = format!("{host}/{library}{path}");
        if !is_host(host) || !path.split('/').all(is_component) {
            return Err("bad host or repository name");
        }
        if repository.len() > MAX_NAME {
            return Err("longer than 255 characters");
        }
        Ok(Self {
            repository,
            tag,
            digest,
        })
    }

    /// True for a repository's name alone.
    pub fn is_bare(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(formatter, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// True for what may stand as a prefix in `remapIdentity`: a host, or a host and a path.
pub(super) fn is_prefix(text: &str) -> bool {
    match text.split_once('/') {
        Some((host, path)) => is_host(host) && path.split('/').all(is_component),
        None => is_host(text),
    }
}

/// The host, Docker Hub's where none is named, and the rest.
fn split_host(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some(("index.docker.io", rest)) => ("docker.io", rest),
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        _ => ("docker.io", text),
    }
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_number = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_label = |label: &str| {
        let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        is_edge(label.bytes().next())
            && is_edge(label.bytes().last())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_number)
}

/// Letters and digits in runs, between them one dot, one or two underscores, or dashes.
fn is_component(text: &str) -> bool {
    let is_word = |byte: char| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_separator =
        |run: &str| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
    text.starts_with(is_word) && text.ends_with(is_word) && text.split(is_word).all(is_separator)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(is_word)
        && text
            .bytes()
            .all(|byte| is_word(byte) || b".-".contains(&byte))
}

fn is_digest(text: &str) -> bool {
    let digits = match text.split_once(':') {
        Some(("sha256", hex)) => (hex, 64),
        Some(("sha384", hex)) => (hex, 96),
        Some(("sha512", hex)) => (hex, 128),
        _ => return false,
    };
    digits.0.len() == digits.1 && is_hex(digits.0)
}

/// True for lower-case hex digits only.
pub(super) fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_expanded() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let cases = [
            ("nginx", "docker.io/library/nginx"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("index.docker.io/library/nginx", "docker.io/library/nginx"),
            ("docker.io/nginx", "docker.io/library/nginx"),
            ("a/b", "docker.io/a/b"),
            ("localhost/b", "localhost/b"),
            ("localhost:5000/b/c:x", "localhost:5000/b/c:x"),
            ("ghcr.io/x/y__z", "ghcr.io/x/y__z"),
            ("host.example/a---b/c.d_e", "host.example/a---b/c.d_e"),
        ];
        for (text, expanded) in cases {
            assert_eq!(Name::parse(text).unwrap().to_string(), expanded);
            let pinned = Name::parse(&format!("{text}@{digest}")).unwrap();
            assert_eq!(pinned.to_string(), format!("{expanded}@{digest}"));
        }
    }

    #[test]
    fn what_is_no_reference() {
        let id = "a".repeat(64);
        let long = "a/".repeat(150);
        for bad in [
            "",
            "Nginx",
            "nginx:",
            "nginx:-",
            "a//b",
            "a/",
            "/a",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "nginx@sha256:12",
            "a:b/c",
            "ho_st.x/a",
            "a b",
            &id,
            &long,
        ] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes() {
        for good in ["docker.io", "host:5000", "host.example/a/b"] {
            assert!(is_prefix(good), "{good}");
        }
        for bad in [
            "",
            "host/",
            "host/A",
            "host/a:tag",
            "*.host",
            "host/a@sha256:1",
        ] {
            assert!(!is_prefix(bad), "{bad}");
        }
    }
}
