//! The bill of materials: what a disk consists of, before it is written in any format.

use crate::{Package, Purl};

/// What a disk consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// The Pod's name.
    pub name: String,
    /// i2kit's version.
    pub tool_version: String,
    /// Seconds since 1970 that stand as the time of creation: there is no clock here.
    pub created: u64,
    /// The base and the containers' images.
    pub parts: Vec<Part>,
}

/// What a part of the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// i2kit's base: kernel, containerd and what they need.
    Base,
    /// A container's image.
    Container,
    /// An image that is a volume.
    Volume,
}

/// An image, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// `base`, or the container's name.
    pub name: String,
    /// The digest of its manifest, `sha256:…`.
    pub digest: String,
    /// The image's package URL.
    pub purl: Purl,
    /// The name of its distribution.
    pub distribution: Option<String>,
    components: Vec<Component>,
    /// What was found and not read.
    pub unread: Vec<Unread>,
}

/// A package and everywhere it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Component {
    pub package: Package,
    pub origins: Vec<String>,
}

/// A database or binary that says what is installed, and could not be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unread {
    /// Its path, without a leading `/`.
    pub path: String,
    /// Why.
    pub reason: String,
}

impl Part {
    /// A part of `packages`, which may come in any order and several times.
    #[must_use]
    pub fn new(kind: PartKind, name: &str, digest: &str, purl: Purl) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            digest: digest.to_owned(),
            purl,
            distribution: None,
            components: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// Puts the packages in, whatever their order; one that several files name is there once.
    #[must_use]
    pub fn with(mut self, mut packages: Vec<Package>, mut unread: Vec<Unread>) -> Self {
        packages.sort();
        for package in packages {
            let origin = package.origin.clone();
            match self.components.last_mut() {
                Some(last) if is_same(&last.package, &package) => {
                    if last.origins.last() != Some(&origin) {
                        last.origins.push(origin);
                    }
                }
                _ => self.components.push(Component {
                    origins: vec![origin],
                    package,
                }),
            }
        }
        unread.sort();
        self.unread = unread;
        self
    }

    /// The packages, sorted, each once, with the first place where it was found.
    pub fn packages(&self) -> impl ExactSizeIterator<Item = &Package> {
        self.components.iter().map(|one| &one.package)
    }

    pub(crate) fn components(&self) -> &[Component] {
        &self.components
    }
}

fn is_same(one: &Package, other: &Package) -> bool {
    (one.ecosystem, &one.name, &one.version, &one.purl)
        == (other.ecosystem, &other.name, &other.version, &other.purl)
        && (&one.licence, &one.source, &one.supplier)
            == (&other.licence, &other.source, &other.supplier)
}
