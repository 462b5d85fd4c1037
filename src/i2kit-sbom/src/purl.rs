//! Package URLs (package-url/purl-spec).

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a component may hold as it is: letters, digits, `.`, `-`, `_`, `~`, and `:`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');

/// Versions and qualifiers may hold slashes, too: nothing is divided by them there.
const WITH_SLASH: &AsciiSet = &ENCODED.remove(b'/');

/// A package URL in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purl(String);

impl Purl {
    /// `pkg:KIND/NAMESPACE/NAME@VERSION?QUALIFIERS`; an empty part is left out. Slashes divide the
    /// namespace. Qualifiers must come sorted by key; those without a value are left out.
    #[must_use]
    pub fn new(
        kind: &str,
        namespace: &str,
        name: &str,
        version: &str,
        qualifiers: &[(&str, &str)],
    ) -> Self {
        let mut out = format!("pkg:{kind}/");
        for segment in namespace.split('/').filter(|one| !one.is_empty()) {
            out.extend(utf8_percent_encode(segment, ENCODED));
            out.push('/');
        }
        out.extend(utf8_percent_encode(name, ENCODED));
        if !version.is_empty() {
            out.push('@');
            out.extend(utf8_percent_encode(version, WITH_SLASH));
        }
        let mut before = '?';
        for (key, value) in qualifiers.iter().filter(|(_, value)| !value.is_empty()) {
            out.push(before);
            out.push_str(key);
            out.push('=');
            out.extend(utf8_percent_encode(value, WITH_SLASH));
            before = '&';
        }
        Self(out)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Purl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A container image: the last part of its repository's name, its manifest's digest, and the
/// repository as qualifier (purl-spec, type `oci`). `repository` has neither tag nor digest.
#[must_use]
pub fn oci(repository: &str, digest: &str) -> Purl {
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let url = if repository.contains('/') {
        repository
    } else {
        ""
    };
    let name = name.to_lowercase();
    Purl::new("oci", "", &name, digest, &[("repository_url", url)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_encoded() {
        let purl = Purl::new(
            "deb",
            "debian",
            "libstdc++6",
            "1:12.2.0-14+deb12u1~x",
            &[("arch", "amd64"), ("distro", "debian-12"), ("empty", "")],
        );
        assert_eq!(
            purl.as_str(),
            "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1~x?arch=amd64&distro=debian-12"
        );
        let purl = Purl::new("npm", "@angular", "core", "", &[]);
        assert_eq!(purl.as_str(), "pkg:npm/%40angular/core");
    }
}
