//! What an image name means: `nginx` is `docker.io/library/nginx:latest`.
//!
//! The grammar and the normal form are distribution/reference's (`regexp.go`, `normalize.go`),
//! which Docker, containerd and Kubernetes share. `oci_spec::distribution::Reference` is not exact:
//! it knows no IPv6 hosts, takes an image id for a name and has no message of its own for upper
//! case.

use std::fmt;
use std::str::FromStr;

use super::{Digest, Error};

/// Where names without a registry are looked up.
const DEFAULT_DOMAIN: &str = "docker.io";
/// What Docker Hub was once called.
const LEGACY_DOMAIN: &str = "index.docker.io";
/// The namespace of Docker Hub's own images.
const OFFICIAL: &str = "library/";
/// The tag of a name that has neither tag nor digest.
const DEFAULT_TAG: &str = "latest";
/// Bytes that a repository's name may have.
const MAX_REPOSITORY: usize = 255;
/// Bytes that a tag may have.
const MAX_TAG: usize = 128;

/// An image in a registry, in normal form: it has a tag, a digest or both. Where it has both, the
/// digest says which image it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's `host[:port]`, as it is written in names: `docker.io`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository's name in the registry: `library/nginx`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if there is one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Registry and repository: `docker.io/library/nginx`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.repository)
    }

    /// The image of that digest in the same repository.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The same tag and digest under another name, which must be in normal form.
    pub(super) fn renamed(&self, name: &str) -> Result<Self, Error> {
        let text = format!("{name}{}", self.suffix());
        let renamed: Self = text.parse()?;
        if renamed.name() != name {
            let reason = "not the full name of a repository";
            return Err(error(name, reason));
        }
        Ok(renamed)
    }

    /// As people write it: `nginx:1.27`. It means the same when it is parsed again.
    #[must_use]
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.suffix())
    }

    fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.repository.strip_prefix(OFFICIAL) {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            // `docker.io/a.b/c` without its registry would name the registry `a.b`.
            _ if split_domain(&self.repository).1 != self.repository => self.name(),
            _ => self.repository.clone(),
        }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}"));
        let digest = self.digest.map(|digest| format!("@{digest}"));
        tag.unwrap_or_default() + &digest.unwrap_or_default()
    }

    /// The name in `text` without tag and digest, if it names no registry: `library/nginx` of
    /// `library/nginx:1.27`. `text` must be a reference.
    pub(super) fn short_name(text: &str) -> Option<&str> {
        let name = text.split('@').next()?;
        let (first, rest) = name.split_once('/').unwrap_or(("", name));
        if first.contains(['.', ':']) || first == "localhost" {
            return None;
        }
        let path_len = rest.find(':').unwrap_or(rest.len());
        name.get(..name.len() - rest.len() + path_len)
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|reason| error(text, reason))
    }
}

impl fmt::Display for Reference {
    /// In full: `docker.io/library/nginx:1.27`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.name(), self.suffix())
    }
}

fn error(text: &str, reason: &'static str) -> Error {
    Error::Reference {
        reference: text.chars().take(512).collect(),
        reason,
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() == 64 && text.bytes().all(is_lower_hex) {
        return Err("64 hex digits are an image's id, which no registry knows, not a name");
    }
    let (domain, rest) = split_domain(text);
    check_domain(domain)?;
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
        None => (rest, None),
    };
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(check_tag(tag)?.to_owned())),
        None => (rest, None),
    };
    // Only Docker Hub has names without a namespace.
    let repository = if domain == DEFAULT_DOMAIN && !path.contains('/') {
        format!("{OFFICIAL}{path}")
    } else {
        path.to_owned()
    };
    check_path(path, &repository)?;
    let default = || digest.is_none().then(|| DEFAULT_TAG.to_owned());
    Ok(Reference {
        domain: domain.to_owned(),
        repository,
        tag: tag.or_else(default),
        digest,
    })
}

/// The registry, and what follows it. What comes before the first slash is a registry only if it
/// cannot be a namespace.
fn split_domain(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((LEGACY_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.to_lowercase() != first =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, text),
    }
}

/// True for a `host[:port]` of the grammar's `domain`.
pub(super) fn is_domain(text: &str) -> bool {
    check_domain(text).is_ok()
}

fn check_domain(domain: &str) -> Result<(), &'static str> {
    const NO_HOST: &str = "its registry is no host name";
    let (host, port) = match domain.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(None) => return Err("its registry's address has no ]"),
        Some(Some((address, port))) => {
            let is_address = |byte: u8| byte.is_ascii_hexdigit() || byte == b':';
            if address.is_empty() || !address.bytes().all(is_address) {
                return Err("its registry is no IPv6 address");
            }
            match port.strip_prefix(':') {
                None if !port.is_empty() => return Err(NO_HOST),
                port => (None, port),
            }
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        },
    };
    let is_digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if port.is_some_and(|port| !is_digits(port) || port.parse::<u16>().is_err()) {
        return Err("its registry's port is no number up to 65535");
    }
    match host {
        Some(host) if !host.split('.').all(is_label) => Err(NO_HOST),
        _ => Ok(()),
    }
}

/// One part of a host name: letters, digits and, between them, `-`.
fn is_label(label: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_alphanumeric();
    label.starts_with(is_alphanumeric)
        && label.ends_with(is_alphanumeric)
        && label.chars().all(|c| is_alphanumeric(c) || c == '-')
}

fn check_path(path: &str, repository: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it names no repository");
    }
    if path.to_lowercase() != path {
        return Err("the repository's name has upper case");
    }
    if !path.split('/').all(is_component) {
        return Err(
            "the repository's name is not of a-z, 0-9 and single . _ __ - between them, with / between parts",
        );
    }
    if repository.len() > MAX_REPOSITORY {
        return Err("the repository's name has more than 255 bytes");
    }
    Ok(())
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator =
        |part: &str| matches!(part, "." | "_" | "__") || part.bytes().all(|byte| byte == b'-');
    component.starts_with(is_alphanumeric)
        && component.ends_with(is_alphanumeric)
        && component.split(is_alphanumeric).all(is_separator)
}

fn check_tag(tag: &str) -> Result<&str, &'static str> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_valid = tag.bytes().next().is_some_and(is_word)
        && tag
            .bytes()
            .all(|byte| is_word(byte) || b".-".contains(&byte));
    match tag.len() {
        0 => Err("its tag is empty"),
        1..=MAX_TAG if is_valid => Ok(tag),
        1..=MAX_TAG => {
            Err("its tag is not of A-Z, a-z, 0-9, _, . and -, beginning with none of .-")
        }
        _ => Err("its tag has more than 128 bytes"),
    }
}

fn parse_digest(text: &str) -> Result<Digest, &'static str> {
    if let Ok(digest) = text.parse() {
        return Ok(digest);
    }
    let (algorithm, digits) = text.split_once(':').unwrap_or(("", ""));
    match algorithm {
        "sha256" if digits.len() != 64 => Err("its sha256 digest has not 64 digits"),
        "sha256" => Err("its digest is not in lower-case hex"),
        "sha384" | "sha512" => Err("its digest is not sha256, the only algorithm supported"),
        _ => Err("not a sha256 digest after @"),
    }
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn full(text: &str) -> String {
        text.parse::<Reference>()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .to_string()
    }

    fn reason(text: &str) -> &'static str {
        match text.parse::<Reference>() {
            Err(Error::Reference { reason, .. }) => reason,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// Taken from `normalize_test.go` and `reference_test.go`: what a name stands for.
    #[test]
    fn names_stand_for_what_they_do_elsewhere() {
        for (text, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("docker/docker", "docker.io/docker/docker:latest"),
            ("library/debian", "docker.io/library/debian:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("docker.io/library/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/a/b", "docker.io/a/b:latest"),
            ("library/a/b", "docker.io/library/a/b:latest"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("localhost", "docker.io/library/localhost:latest"),
            ("localhost:5000", "docker.io/library/localhost:5000"),
            (
                "127.0.0.1:5000/docker/docker",
                "127.0.0.1:5000/docker/docker:latest",
            ),
            ("example.com/nginx", "example.com/nginx:latest"),
            ("FOO/nginx:tag", "FOO/nginx:tag"),
            ("Example.com:8080/a", "Example.com:8080/a:latest"),
            ("[::1]:5000/a/b:t", "[::1]:5000/a/b:t"),
            ("[2001:db8::1]/a", "[2001:db8::1]/a:latest"),
            ("xn--n3h.com/repo", "xn--n3h.com/repo:latest"),
            ("a-b---c.d/e__f.g-h", "a-b---c.d/e__f.g-h:latest"),
            ("test.com/repo:Tag_1.-x", "test.com/repo:Tag_1.-x"),
            ("docker.io/a.b/c", "docker.io/a.b/c:latest"),
        ] {
            assert_eq!(full(text), expected, "{text}");
        }
        let digest = format!("sha256:{HEX}");
        assert_eq!(
            full(&format!("nginx@{digest}")),
            format!("docker.io/library/nginx@{digest}")
        );
        assert_eq!(
            full(&format!("host.io/a:tag@{digest}")),
            format!("host.io/a:tag@{digest}")
        );
        assert_eq!(
            full(&format!("x/{HEX}")),
            format!("docker.io/x/{HEX}:latest")
        );
        assert_eq!(
            full(&format!("{HEX}:t")),
            format!("docker.io/library/{HEX}:t")
        );
    }

    #[test]
    fn what_is_no_reference_says_why() {
        let (long, long_tag) = ("a".repeat(256), "a".repeat(129));
        for (text, part) in [
            ("", "empty"),
            (HEX, "image's id"),
            ("Uppercase", "upper case"),
            ("docker.io/Uppercase:tag", "upper case"),
            ("test:5000/Uppercase/lowercase:tag", "upper case"),
            ("repo/Foo", "upper case"),
            ("nginx:", "tag is empty"),
            ("nginx:-x", "tag is not"),
            ("nginx:a b", "tag is not"),
            ("nginx:ä", "tag is not"),
            (&format!("nginx:{long_tag}"), "128"),
            ("nginx@", "not a sha256 digest"),
            ("nginx@sha256:0123", "64 digits"),
            ("nginx@sha512:0123", "sha256, the only"),
            ("nginx@md5:0123", "not a sha256 digest"),
            (
                &format!("nginx@sha256:{}", HEX.to_uppercase()),
                "lower-case hex",
            ),
            (&format!("host.io/{long}"), "255"),
            (&long[..248], "255"),
            ("host.io/", "no repository"),
            ("a//b", "not of a-z"),
            ("a/b/", "not of a-z"),
            ("/a", "not of a-z"),
            ("a..b", "not of a-z"),
            ("a___b", "not of a-z"),
            ("a._b", "not of a-z"),
            ("-a", "not of a-z"),
            ("a-", "not of a-z"),
            ("a b", "not of a-z"),
            ("host.io/x/../y", "not of a-z"),
            ("http://host.io/x", "port"),
            ("a:b/c", "port"),
            ("host:65536/c", "port"),
            ("-a.io/c", "no host name"),
            ("a_b.io/c", "no host name"),
            ("a..io/c", "no host name"),
            ("[::1/c", "no ]"),
            ("[:x]/c", "IPv6"),
            ("[fe80::1%eth0]/c", "IPv6"),
            ("[::1]x/c", "no host name"),
        ] {
            assert!(reason(text).contains(part), "{text}: {}", reason(text));
        }
        assert_eq!(full(&long[..247]).len(), 255 + 10 + 7);
    }

    #[test]
    fn the_familiar_form_means_the_same() {
        for (text, expected) in [
            ("docker.io/library/nginx:1.27", "nginx:1.27"),
            ("docker.io/a/b", "a/b:latest"),
            ("docker.io/library/a/b", "library/a/b:latest"),
            ("docker.io/a.b/c", "docker.io/a.b/c:latest"),
            ("docker.io/localhost/c", "docker.io/localhost/c:latest"),
            ("docker.io/docker.io/c", "docker.io/docker.io/c:latest"),
            ("ghcr.io/x/y:1", "ghcr.io/x/y:1"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.familiar(), expected);
            assert_eq!(expected.parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn short_names_name_no_registry() {
        let at_digest = format!("a/b@sha256:{HEX}");
        for (text, expected) in [
            ("nginx", Some("nginx")),
            ("nginx:1.27", Some("nginx")),
            ("library/nginx:1", Some("library/nginx")),
            (&at_digest, Some("a/b")),
            ("localhost:5000", Some("localhost")),
            ("localhost/a", None),
            ("host.io/a:1", None),
            ("host:5000/a", None),
        ] {
            assert_eq!(Reference::short_name(text), expected, "{text}");
        }
    }

    #[test]
    fn a_new_name_keeps_tag_and_digest() {
        let reference: Reference = format!("nginx:1@sha256:{HEX}").parse().unwrap();
        let renamed = reference.renamed("mirror.io/hub/nginx").unwrap();
        assert_eq!(
            renamed.to_string(),
            format!("mirror.io/hub/nginx:1@sha256:{HEX}")
        );
        for bad in ["docker.io/nginx", "nginx", "mirror.io", "mirror.io/a:b"] {
            assert!(reference.renamed(bad).is_err(), "{bad}");
        }
    }
}
