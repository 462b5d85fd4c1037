//! Folders with a registry's certificates, named for its `host[:port]`: `*.crt` are authorities,
//! `NAME.cert` with `NAME.key` is the client's (containers-certs.d(5), Docker's "Verify repository
//! client with certificates").

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::settings::{SettingsError, is_missing};
use super::{Environment, Tls};

/// The certificates for `host` in the first of the usual folders that has some for it: Podman's of
/// the user and of the system, then Docker's.
pub(super) fn find(environment: &Environment, host: &str) -> Result<Option<Tls>, SettingsError> {
    let users = |folder: Option<PathBuf>, path: &str| Some(folder?.join(path));
    let home = environment.home().map(|home| home.join(".config"));
    let folders = [
        users(home, "containers/certs.d"),
        Some(environment.system("etc/containers/certs.d")),
        users(environment.config_home(), "docker/certs.d"),
        Some(environment.system("etc/docker/certs.d")),
    ];
    for folder in folders.into_iter().flatten() {
        if let Some(tls) = read(&folder.join(host))? {
            return Ok(Some(tls));
        }
    }
    Ok(None)
}

/// The certificates of one folder; `None` where there is no such folder, or none for this user.
pub(super) fn read(folder: &Path) -> Result<Option<Tls>, SettingsError> {
    let names = match names(folder) {
        Err(error) if is_missing(&error) || error.kind() == ErrorKind::PermissionDenied => {
            return Ok(None);
        }
        names => names.map_err(|source| SettingsError::Read {
            path: folder.to_owned(),
            source,
        })?,
    };
    let with = |extension: &'static str| {
        let names = names.iter().map(Path::new);
        names.filter(move |name| name.extension().is_some_and(|found| found == extension))
    };
    let bad = |reason| {
        Err(SettingsError::Certificates {
            path: folder.to_owned(),
            reason,
        })
    };
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        let is_alone = |name: &&Path| !names.contains(name.with_extension(other).as_os_str());
        if let Some(name) = with(one).find(is_alone) {
            return bad(format!("{} has no .{other} beside it", name.display()));
        }
    }
    let mut clients = with("cert");
    let client = clients.next().map(|name| {
        let certificate = folder.join(name);
        let key = certificate.with_extension("key");
        (certificate, key)
    });
    if let Some(second) = clients.next() {
        return bad(format!(
            "{} is a second client certificate, and there can be one",
            second.display()
        ));
    }
    Ok(Some(Tls {
        authorities: with("crt").map(|name| folder.join(name)).collect(),
        client,
        skip_verify: false,
    }))
}

fn names(folder: &Path) -> std::io::Result<BTreeSet<OsString>> {
    let entries = fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.file_name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_holds_authorities_and_a_client() {
        let folder = folder(&["b.crt", "a.crt", "client.cert", "client.key", "README"]);
        let at = |name: &str| folder.path().join(name);
        let expected = Tls {
            authorities: vec![at("a.crt"), at("b.crt")],
            client: Some((at("client.cert"), at("client.key"))),
            skip_verify: false,
        };
        assert_eq!(read(folder.path()).unwrap(), Some(expected));
        assert_eq!(read(&at("none")).unwrap(), None);
        assert_eq!(read(&at("README")).unwrap(), None);
    }

    #[test]
    fn half_a_client_and_two_are_refused() {
        for (names, part) in [
            (&["c.cert"][..], "c.cert has no .key"),
            (&["c.key", "a.crt"], "c.key has no .cert"),
            (
                &["a.cert", "a.key", "b.cert", "b.key"],
                "b.cert is a second",
            ),
        ] {
            let error = read(folder(names).path()).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn the_first_folder_counts() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let variables = [
            ("HOME".into(), at("home").into()),
            ("XDG_CONFIG_HOME".into(), at("xdg").into()),
        ];
        let environment = Environment::new(variables, 0, root.path());
        let mut expected = None;
        for path in [
            "etc/docker/certs.d",
            "xdg/docker/certs.d",
            "etc/containers/certs.d",
            "home/.config/containers/certs.d",
        ] {
            assert_eq!(find(&environment, "h.io:5000").unwrap(), expected, "{path}");
            let folder = at(path).join("h.io:5000");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("ca.crt"), "").unwrap();
            expected = Some(Tls {
                authorities: vec![folder.join("ca.crt")],
                ..Tls::default()
            });
        }
        assert_eq!(find(&environment, "h.io:5000").unwrap(), expected);
        assert_eq!(find(&environment, "h.io").unwrap(), None);
    }
}
