//! What a Debian mirror offers: apt's sources (sources.list(5)), the index of packages, and which
//! installed packages it has newer versions of.

use std::collections::BTreeMap;

use crate::deb822;
use crate::debian_version::compare;

/// A part of a mirror.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Archive {
    /// The mirror's URL, without a slash at its end.
    pub uri: String,
    /// The suite: `bookworm-security`.
    pub suite: String,
    /// The component: `main`.
    pub component: String,
}

impl Archive {
    /// The URL of its index of packages for `architecture`.
    #[must_use]
    pub fn index_url(&self, architecture: &str) -> String {
        let (uri, suite, component) = (&self.uri, &self.suite, &self.component);
        format!("{uri}/dists/{suite}/{component}/binary-{architecture}/Packages.xz")
    }
}

/// The archives of binary packages in lines of a sources.list.
#[must_use]
pub fn one_line_sources(text: &str) -> Vec<Archive> {
    let mut out = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line
            .strip_prefix("deb")
            .filter(|rest| rest.starts_with([' ', '\t']))
        else {
            continue;
        };
        let rest = rest.trim_start();
        // Options stand in brackets.
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']').map_or("", |(_, rest)| rest),
            None => rest,
        };
        let mut words = rest.split_whitespace();
        if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
            out.extend(archives([uri], [suite], words));
        }
    }
    out
}

/// The archives of binary packages in a file of stanzas (`*.sources`).
#[must_use]
pub fn stanza_sources(bytes: &[u8]) -> Vec<Archive> {
    let fields = ["Types", "URIs", "Suites", "Components", "Enabled"];
    let mut out = Vec::new();
    for stanza in deb822::stanzas(bytes, &fields) {
        let words = |name| stanza.get(name).unwrap_or_default().split_whitespace();
        let is_off = matches!(stanza.get("Enabled"), Some("no" | "false" | "off" | "0"));
        if words("Types").any(|one| one == "deb") && !is_off {
            out.extend(archives(
                words("URIs"),
                words("Suites"),
                words("Components"),
            ));
        }
    }
    out
}

fn archives<'a>(
    uris: impl IntoIterator<Item = &'a str>,
    suites: impl IntoIterator<Item = &'a str>,
    components: impl Iterator<Item = &'a str>,
) -> Vec<Archive> {
    let (suites, components) = (Vec::from_iter(suites), Vec::from_iter(components));
    let mut out = Vec::new();
    for uri in uris {
        for suite in &suites {
            out.extend(components.iter().map(|component| Archive {
                uri: uri.trim_end_matches('/').to_owned(),
                suite: (*suite).to_owned(),
                component: (*component).to_owned(),
            }));
        }
    }
    out
}

/// A package that an index has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Its version.
    pub version: String,
    /// `Depends`.
    depends: String,
}

/// The newest of each package that the mirrors have.
#[derive(Clone, Debug, Default)]
pub struct Index(BTreeMap<String, Offered>);

impl Index {
    /// Adds an index of packages, uncompressed.
    pub fn add(&mut self, packages: &[u8]) {
        for stanza in deb822::stanzas(packages, &["Package", "Version", "Depends"]) {
            let (Some(name), Some(version)) = (stanza.get("Package"), stanza.get("Version")) else {
                continue;
            };
            let is_newer = self
                .0
                .get(name)
                .is_none_or(|known| compare(&known.version, version).is_lt());
            if is_newer {
                let offered = Offered {
                    version: version.to_owned(),
                    depends: stanza.get("Depends").unwrap_or_default().to_owned(),
                };
                self.0.insert(name.to_owned(), offered);
            }
        }
    }

    /// What there is in the place of an installed package.
    #[must_use]
    pub fn judge(&self, name: &str, version: &str) -> Judgement {
        let successor = self.kernel(name).filter(|newer| *newer != name);
        let newer = successor.and_then(|name| Some((name, self.0.get(name)?)));
        if let Some((name, offered)) =
            newer.filter(|(_, one)| compare(version, &one.version).is_lt())
        {
            return Judgement::Outdated {
                available: offered.version.clone(),
                successor: Some(name.to_owned()),
            };
        }
        match self.0.get(name) {
            None => Judgement::Gone,
            Some(offered) if compare(version, &offered.version).is_lt() => Judgement::Outdated {
                available: offered.version.clone(),
                successor: None,
            },
            Some(_) => Judgement::Current,
        }
    }

    /// A kernel's version is part of its package's name (`linux-image-6.12.9+deb12-cloud-amd64`), so
    /// what follows it is the package that its series' or flavour's meta package needs.
    fn kernel(&self, name: &str) -> Option<&str> {
        let rest = name.strip_prefix("linux-image-")?;
        let (version, flavour) = rest.split_once('-')?;
        let mut numbers = version.splitn(3, '.');
        let (major, minor) = (numbers.next()?, numbers.next()?);
        // Before Debian 12's backports the ABI's number stood between the two.
        let bare = flavour.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
        let metas = [
            format!("linux-image-{major}.{minor}-{flavour}"),
            format!("linux-image-{bare}"),
        ];
        let meta = metas.iter().find_map(|meta| self.0.get(meta))?;
        let mut needed = meta.depends.split(',').map(str::trim);
        let needed = needed.find(|one| one.starts_with("linux-image-"))?;
        needed.split(' ').next()
    }
}

/// How an installed package stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// There is none newer.
    Current,
    /// There is a newer one.
    Outdated {
        /// Its version.
        available: String,
        /// Its name, where that is another.
        successor: Option<String>,
    },
    /// The mirror has no such package any more.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_sources() {
        let lines = "# x\ndeb [arch=amd64 signed-by=/k] http://h/debian/ bookworm main contrib # y\ndeb-src http://h/debian bookworm main\ndebx\n";
        let found = one_line_sources(lines);
        let urls: Vec<_> = found.iter().map(|one| one.index_url("amd64")).collect();
        assert_eq!(
            urls,
            [
                "http://h/debian/dists/bookworm/main/binary-amd64/Packages.xz",
                "http://h/debian/dists/bookworm/contrib/binary-amd64/Packages.xz"
            ]
        );
        let stanzas = b"Types: deb deb-src\nURIs: http://h/a\nSuites: s t\nComponents: main\nSigned-By:\n -----BEGIN\n\nEnabled: no\nTypes: deb\nURIs: http://h/b\nSuites: s\nComponents: main\n";
        let found = stanza_sources(stanzas);
        let names: Vec<_> = found.iter().map(|one| (&*one.uri, &*one.suite)).collect();
        assert_eq!(names, [("http://h/a", "s"), ("http://h/a", "t")]);
    }

    #[test]
    fn newer_gone_and_succeeded() {
        let mut index = Index::default();
        index.add(b"Package: a\nVersion: 1.0-1\n\nPackage: linux-image-6.12-cloud-amd64\nVersion: 6.12.9-1\nDepends: linux-base, linux-image-6.12.9+deb12-cloud-amd64 (= 6.12.9-1)\n\nPackage: linux-image-6.12.9+deb12-cloud-amd64\nVersion: 6.12.9-1\n");
        index.add(b"Package: a\nVersion: 1.0-1+deb12u1\n\nPackage: a\nVersion: 0.9\n");
        let outdated = |available: &str, successor: Option<&str>| Judgement::Outdated {
            available: available.to_owned(),
            successor: successor.map(str::to_owned),
        };
        assert_eq!(index.judge("a", "1.0-1"), outdated("1.0-1+deb12u1", None));
        assert_eq!(index.judge("a", "1.0-1+deb12u1"), Judgement::Current);
        assert_eq!(index.judge("a", "1:0"), Judgement::Current);
        assert_eq!(index.judge("b", "1"), Judgement::Gone);
        let newer = "linux-image-6.12.9+deb12-cloud-amd64";
        let old = "linux-image-6.12.8+deb12-cloud-amd64";
        assert_eq!(
            index.judge(old, "6.12.8-1"),
            outdated("6.12.9-1", Some(newer))
        );
        assert_eq!(index.judge(newer, "6.12.9-1"), Judgement::Current);
    }
}
