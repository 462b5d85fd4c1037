//! Which files of a root say what is installed.

use i2kit_format::ReadAt;

use crate::{Binary, Distribution, Error, Package, apk, dpkg, node, python, rpm};

/// A package's own metadata is read up to this size, bytes.
pub const MAX_METADATA: u64 = 4 << 20;
/// A database of text is read up to this size, bytes: some 50,000 packages.
pub const MAX_DATABASE: u64 = 128 << 20;
/// No program is smaller that has anything to tell.
const MIN_BINARY: u64 = 4096;

/// A kind of file that says what is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// dpkg's status file or a part of it.
    Dpkg,
    /// apk's database.
    Apk,
    /// RPM's database, SQLite or ndb.
    Rpm,
    /// RPM's database, Berkeley DB: known, not read.
    RpmBerkeley,
    /// What SQLite has not yet moved into RPM's database: known, not read.
    RpmLog,
    /// A Python package's metadata.
    Python,
    /// A Node package's metadata.
    Node,
    /// A program, which may be Go's or Rust's.
    Binary,
}

/// Folders of RPM's database: RPM's own, Fedora's, and that of ostree.
const RPM: [&str; 3] = ["var/lib/rpm/", "usr/lib/sysimage/rpm/", "usr/share/rpm/"];

impl Origin {
    /// What the regular file at `path` (without a leading `/`) is, if it is any of these.
    #[must_use]
    pub fn of(path: &str, is_executable: bool, size: u64) -> Option<Self> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let known = match name {
            "status" if folder == "var/lib/dpkg" => Some(Self::Dpkg),
            "installed" if folder.ends_with("lib/apk/db") => Some(Self::Apk),
            "METADATA" if folder.ends_with(".dist-info") => Some(Self::Python),
            "PKG-INFO" if folder.ends_with(".egg-info") => Some(Self::Python),
            "package.json" if is_node_package(folder) => Some(Self::Node),
            _ if folder == "var/lib/dpkg/status.d" && !name.ends_with(".md5sums") => {
                Some(Self::Dpkg)
            }
            _ if name.ends_with(".egg-info") => Some(Self::Python),
            _ => rpm_file(path),
        };
        known
            .filter(|_| size > 0)
            .or_else(|| (is_executable && size >= MIN_BINARY).then_some(Self::Binary))
    }

    /// The packages that the file at `path` names.
    ///
    /// # Errors
    /// [`Error`] when it is damaged, too large or of a format that is not read.
    pub fn packages(
        self,
        file: &dyn ReadAt,
        path: &str,
        distribution: &Distribution,
    ) -> Result<Vec<Package>, Error> {
        Ok(match self {
            Self::Dpkg => dpkg::packages(&whole(file, MAX_DATABASE)?, distribution, path),
            Self::Apk => apk::packages(&whole(file, MAX_DATABASE)?, distribution, path),
            Self::Rpm => rpm::packages(file, distribution, path)?,
            Self::RpmBerkeley => {
                return Err(Error::format("database that is read", "Berkeley DB is not"));
            }
            Self::RpmLog => {
                return Err(Error::format(
                    "database that is read",
                    "SQLite's log is not",
                ));
            }
            Self::Python => {
                let bytes = whole(file, MAX_METADATA)?;
                python::package(&bytes, path).into_iter().collect()
            }
            Self::Node => {
                let bytes = whole(file, MAX_METADATA)?;
                node::package(&bytes, path)?.into_iter().collect()
            }
            Self::Binary => match Binary::open(file)? {
                Some(binary) => binary.packages(path)?,
                None => Vec::new(),
            },
        })
    }
}

fn rpm_file(path: &str) -> Option<Origin> {
    match RPM.iter().find_map(|folder| path.strip_prefix(folder))? {
        "rpmdb.sqlite" | "Packages.db" => Some(Origin::Rpm),
        "rpmdb.sqlite-wal" => Some(Origin::RpmLog),
        "Packages" => Some(Origin::RpmBerkeley),
        _ => None,
    }
}

/// `…node_modules/NAME` or `…node_modules/@SCOPE/NAME`.
fn is_node_package(folder: &str) -> bool {
    let mut parts = folder.rsplit('/');
    let (_name, above) = (parts.next(), parts.next());
    match above {
        Some("node_modules") => true,
        Some(scope) if scope.starts_with('@') => parts.next() == Some("node_modules"),
        _ => false,
    }
}

fn whole(file: &dyn ReadAt, max: u64) -> Result<Vec<u8>, Error> {
    let bad = || Error::format("file that is read", "it is too large");
    let len = Some(file.len()).filter(|len| *len <= max).ok_or_else(bad)?;
    let mut out = vec![0; usize::try_from(len).map_err(|_| bad())?];
    file.read_exact_at(&mut out, 0)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let of = |path| Origin::of(path, false, 1);
        for (path, origin) in [
            ("var/lib/dpkg/status", Some(Origin::Dpkg)),
            ("opt/var/lib/dpkg/status", None),
            ("var/lib/dpkg/status.d/libc6", Some(Origin::Dpkg)),
            ("var/lib/dpkg/status.d/libc6.md5sums", None),
            ("lib/apk/db/installed", Some(Origin::Apk)),
            ("usr/lib/apk/db/installed", Some(Origin::Apk)),
            ("var/lib/rpm/rpmdb.sqlite", Some(Origin::Rpm)),
            ("usr/lib/sysimage/rpm/Packages.db", Some(Origin::Rpm)),
            ("var/lib/rpm/Packages", Some(Origin::RpmBerkeley)),
            ("var/lib/rpm/rpmdb.sqlite-wal", Some(Origin::RpmLog)),
            (
                "usr/lib/python3/x-1.dist-info/METADATA",
                Some(Origin::Python),
            ),
            ("usr/lib/python3/x.egg-info", Some(Origin::Python)),
            ("app/node_modules/a/package.json", Some(Origin::Node)),
            ("app/node_modules/@s/a/package.json", Some(Origin::Node)),
            ("app/node_modules/a/lib/package.json", None),
            ("app/package.json", None),
        ] {
            assert_eq!(of(path), origin, "{path}");
        }
        assert_eq!(Origin::of("usr/bin/x", true, 5000), Some(Origin::Binary));
        assert_eq!(Origin::of("usr/bin/x", true, 50), None);
        assert_eq!(Origin::of("var/lib/dpkg/status", false, 0), None);
    }
}
