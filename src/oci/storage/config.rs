//! Where the user's store is: `storage.conf` (containers-storage.conf(5)) and its defaults.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::{Environment, Error};
use super::store::Place;

/// The system's store.
const SYSTEM: &str = "/var/lib/containers/storage";
/// Where a user's lies below the folder for data.
const USER: &str = "containers/storage";

#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    storage: Storage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Storage {
    driver: String,
    graphroot: String,
    rootless_storage_path: String,
    imagestore: String,
    options: Options,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    additionalimagestores: Vec<String>,
}

/// The user's store, then those with further images, in the order in which they are searched.
pub(super) fn places(environment: &Environment) -> Result<Vec<Place>, Error> {
    let (file, is_users) = read(environment)?;
    let storage = file.storage;
    let driver = environment.text("STORAGE_DRIVER");
    let driver = driver.unwrap_or(&storage.driver).to_owned();
    let driver = Some(driver).filter(|driver| !driver.is_empty());
    let set = |text: &String| Some(expand(text, environment)).filter(|text| !text.is_empty());
    let root = match environment.outer_uid() {
        0 => set(&storage.graphroot).map(|root| environment.system(&root)),
        // The system's file speaks of the system's store.
        _ => set(&storage.graphroot)
            .filter(|_| is_users)
            .or_else(|| set(&storage.rootless_storage_path))
            .map(PathBuf::from)
            .or_else(|| user_store(environment)),
    };
    let root = root.unwrap_or_else(|| environment.system(SYSTEM));
    let further = storage.options.additionalimagestores.iter();
    let further = further.chain([&storage.imagestore]).filter_map(set);
    let further: Vec<_> = further.map(|path| environment.system(&path)).collect();
    let roots = std::iter::once(root).chain(further);
    Ok(roots
        .map(|root| Place {
            root,
            driver: driver.clone(),
        })
        .collect())
}

fn user_store(environment: &Environment) -> Option<PathBuf> {
    let data = environment.xdg("XDG_DATA_HOME", ".local/share")?;
    Some(data.join(USER))
}

/// The file that counts, and whether it is the user's own.
fn read(environment: &Environment) -> Result<(File, bool), Error> {
    let own = match environment.outer_uid() {
        0 => environment.path("XDG_CONFIG_HOME").map(Path::to_owned),
        _ => environment.config_home(),
    };
    let named = environment
        .path("CONTAINERS_STORAGE_CONF")
        .map(Path::to_owned);
    let candidates = [
        (named, true),
        (
            own.map(|folder| folder.join("containers/storage.conf")),
            true,
        ),
        (
            Some(environment.system("/etc/containers/storage.conf")),
            false,
        ),
        (
            Some(environment.system("/usr/share/containers/storage.conf")),
            false,
        ),
    ];
    for (path, is_users) in candidates {
        let Some(path) = path else { continue };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::Read { path, source }),
        };
        let file = toml::from_str(&text).map_err(|error| Error::Malformed {
            what: "configuration",
            object: path.display().to_string(),
            reason: error.message().to_owned(),
        })?;
        return Ok((file, is_users));
    }
    Ok((File::default(), false))
}

/// `$HOME`, `$USER` and `$UID` in a path.
fn expand(path: &str, environment: &Environment) -> String {
    let variable = |name| environment.text(name).unwrap_or_default();
    path.replace("$HOME", variable("HOME"))
        .replace("$USER", variable("USER"))
        .replace("$UID", &environment.outer_uid().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stores of user `uid` whose home is `home` below `root`.
    fn roots(root: &Path, uid: u32, more: &[(&str, &str)]) -> Vec<PathBuf> {
        let home = root.join("home").display().to_string();
        let more = more
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let variables = [("HOME".into(), home.into())].into_iter().chain(more);
        let environment = Environment::new(variables, uid, root);
        let places = places(&environment).unwrap();
        places.into_iter().map(|place| place.root).collect()
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn the_store_of_root_and_of_a_user() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let user = root.join("home/.local/share/containers/storage");
        let system = root.join("var/lib/containers/storage");
        assert_eq!(roots(root, 0, &[]), [system]);
        assert_eq!(roots(root, 1000, &[]), std::slice::from_ref(&user));
        // As in podman unshare.
        let unshared = [("_CONTAINERS_ROOTLESS_UID", "1000")];
        assert_eq!(roots(root, 0, &unshared), std::slice::from_ref(&user));
        assert_eq!(
            roots(root, 1000, &[("XDG_DATA_HOME", "/data")]),
            [PathBuf::from("/data/containers/storage")]
        );
        write(
            root,
            "etc/containers/storage.conf",
            "[storage]\ndriver='overlay'\ngraphroot='/big'\n[storage.options]\n\
             additionalimagestores=['/shared']\n",
        );
        let shared = root.join("shared");
        assert_eq!(roots(root, 0, &[]), [root.join("big"), shared.clone()]);
        assert_eq!(roots(root, 1000, &[]), [user, shared]);
        write(
            root,
            "home/.config/containers/storage.conf",
            "[storage]\ngraphroot='$HOME/$UID'\n",
        );
        assert_eq!(roots(root, 1000, &[]), [root.join("home/1000")]);
        assert_eq!(roots(root, 0, &[]).len(), 2);
        write(
            root,
            "mine.conf",
            "[storage]\nrootless_storage_path='/fast/$UID'\n",
        );
        let named = root.join("mine.conf").display().to_string();
        let named = [("CONTAINERS_STORAGE_CONF", named.as_str())];
        assert_eq!(roots(root, 1000, &named), [PathBuf::from("/fast/1000")]);
    }

    #[test]
    fn a_broken_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "etc/containers/storage.conf", "[storage\n");
        let environment = Environment::new([], 0, folder.path());
        let error = places(&environment).unwrap_err().to_string();
        assert!(error.contains("etc/containers/storage.conf"), "{error}");
    }
}
