//! Where an image comes from, as policies name it: its scope and those around it, most specific
//! first (containers-policy.json(5), Supported transports and their scopes).

use std::path::Path;

use super::Error;
use super::name::{Name, is_hex};

/// An image by its transport and reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// `docker`, `oci`, …
    pub transport: String,
    /// The scopes that hold it, the narrowest first; the transport's default is not among them.
    pub scopes: Vec<String>,
    /// The reference, for the transports whose references are Docker's.
    pub name: Option<Name>,
}

impl Origin {
    /// The origin of the image `reference` of `transport`.
    ///
    /// # Errors
    /// [`Error::Image`] for an unknown transport or a reference that is none.
    pub fn parse(transport: &str, reference: &str) -> Result<Self, Error> {
        let error = |reason: String| Error::Image {
            image: format!("{transport}:{reference}"),
            reason,
        };
        let named = |text: &str| expanded(text).map_err(|reason| error(reason.to_owned()));
        let (scopes, name) = match transport {
            "docker" => {
                let name = named(reference.strip_prefix("//").unwrap_or(reference))?;
                (around_name(&name), Some(name))
            }
            "docker-daemon" if is_id(reference) => (Vec::new(), None),
            "docker-daemon" => {
                let name = named(reference)?;
                (around_name(&name), Some(name))
            }
            "oci" | "oci-archive" => (around_path(reference).map_err(error)?, None),
            "dir" => (around_path(reference).map_err(error)?, None),
            "docker-archive" => (Vec::new(), None),
            "containers-storage" => {
                let (store, image) = store(reference).map_err(|reason| error(reason.to_owned()))?;
                let (name, id) = stored(image).map_err(|reason| error(reason.to_owned()))?;
                (around_stored(store, name.as_ref(), id), name)
            }
            _ => return Err(error("unknown transport".to_owned())),
        };
        Ok(Self {
            transport: transport.to_owned(),
            scopes,
            name,
        })
    }
}

/// Why a policy may not have this scope for this transport. Transports that i2kit doesn't know may
/// have any: a machine's policy is not refused for what other programs pull.
pub(super) fn scope_error(transport: &str, scope: &str) -> Option<&'static str> {
    match transport {
        _ if scope.is_empty() => None,
        "oci" | "oci-archive" | "dir" => match scope {
            "/" => Some("the default scope is \"\""),
            _ if !scope.starts_with('/') => Some("not an absolute path"),
            _ if !is_clean(scope) => Some("not a path in its shortest form"),
            _ => None,
        },
        "docker-archive" => Some("only the default scope \"\" is known for it"),
        "docker-daemon" if is_id(scope) => Some("an image ID is no scope"),
        "containers-storage" => store(scope).err(),
        _ => None,
    }
}

/// The reference, with the tag `latest` where it has neither tag nor digest. A tag beside a digest
/// goes: the digest says which image it is, and the tag could lie.
fn expanded(text: &str) -> Result<Name, &'static str> {
    let mut name = Name::parse(text)?;
    if name.digest.is_some() {
        name.tag = None;
    } else if name.tag.is_none() {
        name.tag = Some("latest".to_owned());
    }
    Ok(name)
}

/// The image itself, its repository, namespaces, host, and the domains around the host.
fn around_name(name: &Name) -> Vec<String> {
    let mut scopes = vec![name.to_string()];
    scopes.extend(around(&name.repository).map(str::to_owned));
    let host = name.repository.split(['/', ':']).next().unwrap_or("");
    let dots = host.match_indices('.').map(|(at, _)| at + 1);
    scopes.extend(dots.filter_map(|at| Some(format!("*.{}", host.get(at..)?))));
    scopes
}

/// `a/b/c`, `a/b`, `a`.
fn around(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| Some(path.rsplit_once('/')?.0))
}

/// The path without symlinks and the folders around it, the root left out.
fn around_path(path: &str) -> Result<Vec<String>, String> {
    let path = Path::new(path)
        .canonicalize()
        .map_err(|error| error.to_string())?;
    let path = path.to_str().ok_or("its path is not UTF-8")?;
    let folders = around(path).take_while(|folder| !folder.is_empty() && *folder != "/");
    Ok(folders.map(str::to_owned).collect())
}

fn is_clean(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    parts.all(|part| !matches!(part, "" | "." | ".."))
}

/// `sha256:…`, an image's ID.
fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or("");
    digits.len() == 64 && is_hex(digits)
}

/// Splits `[driver@root]image`; the store is needed to find its scopes.
fn store(text: &str) -> Result<(&str, &str), &'static str> {
    const NO_STORE: &str = "no [DRIVER@ROOT] or [ROOT] of a store before it";
    let rest = text.strip_prefix('[').ok_or(NO_STORE)?;
    let (store, image) = rest.split_once(']').ok_or(NO_STORE)?;
    // The run root and options are no part of a scope.
    let store = store.split('+').next().unwrap_or(store);
    let root = store.split_once('@').map_or(store, |(_, root)| root);
    match root.starts_with('/') && !store.starts_with('@') {
        true => Ok((store, image)),
        false => Err(NO_STORE),
    }
}

/// Splits `name`, `name@ID` or `@ID`.
fn stored(image: &str) -> Result<(Option<Name>, Option<&str>), &'static str> {
    let (name, id) = match image.rsplit_once('@') {
        Some((name, id)) if id.len() == 64 && is_hex(id) => (name, Some(id)),
        _ => (image, None),
    };
    match (name, id) {
        ("", None) => Err("no image after the store"),
        ("", id) => Ok((None, id)),
        _ => Ok((Some(expanded(name)?), id)),
    }
}

fn around_stored(store: &str, name: Option<&Name>, id: Option<&str>) -> Vec<String> {
    let root = store.split_once('@').map_or(store, |(_, root)| root);
    let named = name.map(Name::to_string).unwrap_or_default();
    let mut scopes = Vec::new();
    if let Some(id) = id {
        scopes.push(format!("[{store}]{named}@{id}"));
    }
    if let Some(name) = name {
        scopes.push(format!("[{store}]{named}"));
        scopes.extend(around(&name.repository).map(|one| format!("[{store}]{one}")));
    }
    scopes.push(format!("[{store}]"));
    scopes.push(format!("[{root}]"));
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(transport: &str, reference: &str) -> Vec<String> {
        Origin::parse(transport, reference).unwrap().scopes
    }

    #[test]
    fn scopes_of_a_registry_image() {
        let found = scopes("docker", "//reg.example.com:5000/ns/app:1");
        let expected = [
            "reg.example.com:5000/ns/app:1",
            "reg.example.com:5000/ns/app",
            "reg.example.com:5000/ns",
            "reg.example.com:5000",
            "*.example.com",
            "*.com",
        ];
        assert_eq!(found, expected);
        let expected = [
            "docker.io/library/nginx:latest",
            "docker.io/library/nginx",
            "docker.io/library",
            "docker.io",
            "*.io",
        ];
        assert_eq!(scopes("docker", "nginx"), expected);
        assert_eq!(scopes("docker-daemon", "nginx"), expected);
    }

    #[test]
    fn a_digest_takes_the_tags_place() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let origin = Origin::parse("docker", &format!("nginx:1@{digest}")).unwrap();
        let name = origin.name.unwrap();
        assert_eq!(
            name.to_string(),
            format!("docker.io/library/nginx@{digest}")
        );
    }

    #[test]
    fn scopes_of_a_path_are_folders_without_links() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let found = scopes("oci", &format!("{}/../link", link.display()));
        assert_eq!(found.first().unwrap(), &real.display().to_string());
        assert_eq!(found.get(1).map(Path::new), real.parent());
        assert!(found.iter().all(|scope| scope.len() > 1), "{found:?}");
        assert_eq!(scopes("dir", "/"), Vec::<String>::new());
        assert!(Origin::parse("oci", "/no/such/folder").is_err());
    }

    #[test]
    fn scopes_of_a_store() {
        let id = "a".repeat(64);
        let found = scopes("containers-storage", &format!("[overlay@/s+/run]a/b@{id}"));
        let expected = [
            &format!("[overlay@/s]docker.io/a/b:latest@{id}"),
            "[overlay@/s]docker.io/a/b:latest",
            "[overlay@/s]docker.io/a/b",
            "[overlay@/s]docker.io/a",
            "[overlay@/s]docker.io",
            "[overlay@/s]",
            "[/s]",
        ];
        assert_eq!(found, expected);
        for bad in ["a/b", "[overlay]a", "[@/s]a", "[/s]"] {
            assert!(Origin::parse("containers-storage", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn scopes_that_a_policy_may_not_have() {
        let id = format!("sha256:{}", "0".repeat(64));
        let bad = [
            ("oci", "/"),
            ("oci", "a/b"),
            ("dir", "/a/"),
            ("oci-archive", "/a/../b"),
            ("docker-archive", "/a"),
            ("docker-daemon", id.as_str()),
            ("containers-storage", "docker.io/a"),
        ];
        for (transport, scope) in bad {
            assert!(
                scope_error(transport, scope).is_some(),
                "{transport} {scope}"
            );
            assert!(scope_error(transport, "").is_none());
        }
        assert!(scope_error("atomic", "anything at all").is_none());
        assert!(scope_error("docker", "*.example.com").is_none());
    }
}
