//! containerd's `hosts.toml` (containerd `docs/hosts.md`; read as `core/remotes/docker/config` does).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Value;
use toml::de::{DeTable, DeValue};

use super::settings::{SettingsError, malformed, parse_toml, read};
use super::{Scheme, Tls, certificates};
use crate::oci::reference::is_domain;

/// The places to ask for a registry's images, in order; the registry itself is last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(pub(super) Vec<Host>);

/// One place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// Where it is; `None` for the registry under its own name.
    pub url: Option<HostUrl>,
    /// It may be asked what a tag means.
    pub by_tag: bool,
    /// The certificates that the file names for it.
    pub tls: Option<Tls>,
}

/// `scheme://host/prefix/v2/namespace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostUrl {
    pub scheme: Scheme,
    pub host: String,
    /// What comes before `/v2/`: empty, or a path that begins with `/`.
    pub prefix: String,
    /// What comes before a repository's name: empty, or a path that ends with `/`.
    pub namespace: String,
}

#[derive(Deserialize)]
struct Document {
    server: Option<String>,
    #[serde(default)]
    host: BTreeMap<String, HostTable>,
    #[serde(flatten)]
    root: HostTable,
}

#[derive(Deserialize)]
struct HostTable {
    #[serde(default)]
    capabilities: Vec<String>,
    ca: Option<Value>,
    client: Option<Value>,
    skip_verify: Option<bool>,
    #[serde(default)]
    override_path: bool,
    /// May hold secrets, and is not looked into.
    header: Option<IgnoredAny>,
}

impl Hosts {
    /// What the folder `root` says of the registry `domain`: its own `hosts.toml` or that of
    /// `_default`, or certificates without one.
    pub(super) fn load(root: &Path, domain: &str) -> Result<Self, SettingsError> {
        let with_port = domain
            .rsplit_once(':')
            .map(|(host, port)| format!("{host}_{port}_"));
        let names = with_port.into_iter().chain([domain.to_owned()]);
        for name in names.chain(["_default".to_owned()]) {
            let folder = root.join(&name);
            if !folder.is_dir() {
                continue;
            }
            let path = folder.join("hosts.toml");
            return match read(&path)?.filter(|text| !text.is_empty()) {
                Some(text) => Self::parse(&path, &text, name == "_default"),
                None => Ok(Self::only(certificates::read(&folder)?)),
            };
        }
        Ok(Self::only(None))
    }

    /// The registry itself and nothing else.
    fn only(tls: Option<Tls>) -> Self {
        Self(vec![Host {
            url: None,
            by_tag: true,
            tls,
        }])
    }

    /// One file. `for_all` is true for a file that is not of one registry: since its mirrors
    /// cannot be told which registry is meant, they are asked by digest only.
    ///
    /// # Errors
    /// [`SettingsError::Parse`] for TOML that is none, for a setting that makes no sense, and for
    /// what i2kit can't do: headers, several client certificates, an API without `/v2/`.
    pub fn parse(path: &Path, text: &str, for_all: bool) -> Result<Self, SettingsError> {
        let mut document: Document = parse_toml(path, text)?;
        let mut out = Vec::new();
        for name in in_order(text) {
            let Some(table) = document.host.remove(&name) else {
                continue;
            };
            // A login in its URL is not shown.
            let shown = name.rsplit('@').next().unwrap_or_default();
            let bad = |reason| malformed(path, format!("host {shown:?}: {reason}"));
            let host = host(Some(&name), &table, path).map_err(bad)?;
            out.extend(host.map(|host| Host {
                by_tag: host.by_tag && !for_all,
                ..host
            }));
        }
        let bad = |reason| malformed(path, reason);
        out.extend(host(document.server.as_deref(), &document.root, path).map_err(bad)?);
        Ok(Self(out))
    }
}

/// The hosts as they stand in the file, which is the order they are asked in.
fn in_order(text: &str) -> Vec<String> {
    let Ok(root) = DeTable::parse(text) else {
        return Vec::new();
    };
    let Some(DeValue::Table(hosts)) = root.get_ref().get("host").map(|host| host.get_ref()) else {
        return Vec::new();
    };
    let keys = hosts.keys();
    let mut out: Vec<_> = keys
        .map(|key| (key.span().start, key.get_ref().to_string()))
        .collect();
    out.sort();
    out.into_iter().map(|(_, name)| name).collect()
}

/// A place; `None` for one that nothing may be pulled from.
fn host(url: Option<&str>, table: &HostTable, path: &Path) -> Result<Option<Host>, String> {
    if table.header.is_some() {
        return Err("header is not supported".to_owned());
    }
    let Some(by_tag) = may_pull(&table.capabilities)? else {
        return Ok(None);
    };
    let folder = path.parent().unwrap_or(path);
    Ok(Some(Host {
        url: url
            .map(|url| parse_url(url, table.override_path))
            .transpose()?,
        by_tag,
        tls: tls(table, folder)?,
    }))
}

/// Whether tags may be asked for; `None` where nothing may be pulled.
fn may_pull(capabilities: &[String]) -> Result<Option<bool>, String> {
    let (mut pull, mut resolve) = (capabilities.is_empty(), capabilities.is_empty());
    for capability in capabilities {
        match capability.to_lowercase().as_str() {
            "pull" => pull = true,
            "resolve" => resolve = true,
            "push" | "referrers" => {}
            _ => return Err(format!("unknown capability {capability:?}")),
        }
    }
    match (pull, resolve) {
        (false, true) => Err("capability resolve without pull is not supported".to_owned()),
        (false, false) => Ok(None),
        (true, resolve) => Ok(Some(resolve)),
    }
}

fn parse_url(text: &str, override_path: bool) -> Result<HostUrl, String> {
    let (scheme, rest) = match text.split_once("://") {
        None => (Scheme::Https, text),
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("http", rest)) => (Scheme::Http, rest),
        Some((other, _)) => return Err(format!("unknown scheme {other:?}")),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    // What is refused is not shown: it may be a login.
    if !is_domain(host) {
        return Err("its URL has no host name, or more than that".to_owned());
    }
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
    let segments: Vec<_> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if segments.contains(&"..") || !path.bytes().all(is_plain) {
        return Err("its URL's path is none".to_owned());
    }
    let version = if override_path {
        segments.iter().position(|part| *part == "v2")
    } else {
        // Where it is left out, it comes last.
        let last = segments.last().is_some_and(|part| *part == "v2");
        Some(segments.len() - usize::from(last))
    };
    let Some(version) = version else {
        return Err("override_path without /v2 in the path is not supported".to_owned());
    };
    let (before, after) = segments.split_at_checked(version).unwrap_or_default();
    let prefix = before.iter().map(|part| format!("/{part}"));
    let namespace = after.iter().skip(1).map(|part| format!("{part}/"));
    Ok(HostUrl {
        scheme,
        host: host.to_owned(),
        prefix: prefix.collect(),
        namespace: namespace.collect(),
    })
}

/// What the table says of certificates; `None` where it says nothing.
fn tls(table: &HostTable, folder: &Path) -> Result<Option<Tls>, String> {
    if table.ca.is_none() && table.client.is_none() && table.skip_verify.is_none() {
        return Ok(None);
    }
    let authorities = match &table.ca {
        None => Vec::new(),
        Some(ca) => strings(ca).ok_or("ca is neither a path nor a list of paths")?,
    };
    let client = match &table.client {
        None => None,
        Some(value) => Some(client(value)?),
    };
    Ok(Some(Tls {
        authorities: authorities.iter().map(|path| folder.join(path)).collect(),
        client: client.map(|(one, other)| (folder.join(one), folder.join(other))),
        skip_verify: table.skip_verify.unwrap_or(false),
    }))
}

fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(one) => Some(vec![one]),
        Value::Array(all) => all.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// Certificate and key: a path where both are in one file, a list of such a path, or a list of a
/// pair of paths.
fn client(value: &Value) -> Result<(&str, &str), String> {
    let one = match value {
        Value::Array(all) => match all.as_slice() {
            [one] => one,
            _ => return Err("client is not one certificate".to_owned()),
        },
        one => one,
    };
    match strings(one).as_deref() {
        Some([one] | [one, ""]) => Ok((one, one)),
        Some([one, other]) => Ok((one, other)),
        _ => Err("client is neither a path nor a pair of paths".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/d/h.io/hosts.toml";

    fn parse(text: &str) -> Result<Hosts, SettingsError> {
        Hosts::parse(Path::new(PATH), text, false)
    }

    fn url(text: &str, override_path: bool) -> Result<HostUrl, String> {
        parse_url(text, override_path)
    }

    /// containerd's `TestParseHostFile`, as far as it says where images are pulled from.
    #[test]
    fn hosts_are_asked_in_order_and_the_server_last() {
        let hosts = parse(
            r#"
            server = "https://test-default.registry"
            ca = "/etc/path/default"

            [host."https://mirror.registry"]
              capabilities = ["pull"]
              ca = "mirror.pem"
              skip_verify = false
            [host."https://a.registry/us"]
              capabilities = ["Pull", "resolve"]
              skip_verify = true
            [host."http://push.registry"]
              capabilities = ["push"]
            [host."http://mirror.registry"]
              client = [["client.cert", "/c/client.key"]]
            [host."https://test-2.registry:5000"]
              client = "/etc/certs/client.pem"
              dial_timeout = "3s"
            [host."b.registry/v2/dockerhub/"]
              override_path = true
              client = [["one.pem", ""]]
            "#,
        )
        .unwrap();
        let show = |host: &Host| {
            let url = host.url.as_ref().unwrap();
            let tls = host.tls.as_ref().map_or(String::new(), |tls| {
                let paths = tls.authorities.iter();
                let client = tls.client.iter().flat_map(|(one, other)| [one, other]);
                let paths: Vec<_> = paths
                    .chain(client)
                    .map(|path| path.display().to_string())
                    .collect();
                format!(" {} {}", paths.join(","), tls.skip_verify)
            });
            format!(
                "{:?} {} {}/v2/{} {}{tls}",
                url.scheme, url.host, url.prefix, url.namespace, host.by_tag
            )
        };
        let shown: Vec<_> = hosts.0.iter().map(show).collect();
        assert_eq!(
            shown,
            [
                "Https mirror.registry /v2/ false /d/h.io/mirror.pem false",
                "Https a.registry /us/v2/ true  true",
                "Http mirror.registry /v2/ true /d/h.io/client.cert,/c/client.key false",
                "Https test-2.registry:5000 /v2/ true /etc/certs/client.pem,/etc/certs/client.pem false",
                "Https b.registry /v2/dockerhub/ true /d/h.io/one.pem,/d/h.io/one.pem false",
                "Https test-default.registry /v2/ true /etc/path/default false",
            ]
        );
    }

    #[test]
    fn without_a_server_it_is_the_registry() {
        let hosts = parse("skip_verify = true").unwrap();
        let [host] = hosts.0.as_slice() else {
            panic!("{hosts:?}");
        };
        assert!(host.url.is_none() && host.by_tag);
        assert!(host.tls.as_ref().unwrap().skip_verify);
        let hosts = parse("capabilities = ['push']\n[host.'http://m.io']").unwrap();
        assert_eq!(hosts.0.len(), 1);
        // What stands for all registries cannot know what a tag means in one.
        let text = "[host.'http://m.io']";
        let hosts = Hosts::parse(Path::new(PATH), text, true).unwrap();
        let by_tag: Vec<_> = hosts.0.iter().map(|host| host.by_tag).collect();
        assert_eq!(by_tag, [false, true]);
    }

    #[test]
    fn paths_are_read_as_containerd_does() {
        let parts = |text: &str, override_path| {
            let url = url(text, override_path).unwrap();
            (url.host, url.prefix, url.namespace)
        };
        for (text, override_path, prefix, namespace) in [
            ("h.io", false, "", ""),
            ("h.io/", false, "", ""),
            ("h.io/v2", false, "", ""),
            ("h.io//us/./v2/", false, "/us", ""),
            ("h.io/v2/us", false, "/v2/us", ""),
            ("h.io/v2", true, "", ""),
            ("h.io/a/b/v2/c/d", true, "/a/b", "c/d/"),
        ] {
            let expected = ("h.io".to_owned(), prefix.to_owned(), namespace.to_owned());
            assert_eq!(parts(text, override_path), expected, "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, part) in [
            ("server = ", "line 1: "),
            ("[host.'ftp://a.io']", "unknown scheme"),
            ("[host.'https://']", "no host name"),
            ("[host.'https://user:secret@a.io']", "no host name"),
            ("[host.'https://a.io/../b']", "path"),
            ("[host.'https://a.io/b?c=d']", "path"),
            ("[host.'https://a.io']\noverride_path = true", "without /v2"),
            (
                "[host.'https://a.io/b']\noverride_path = true",
                "without /v2",
            ),
            ("capabilities = ['fly']", "unknown capability"),
            ("capabilities = ['resolve']", "resolve without pull"),
            ("ca = 1", "ca is"),
            ("ca = [1]", "ca is"),
            ("client = ['a', 'b']", "not one certificate"),
            ("client = [['a', 'b', 'c']]", "neither a path"),
            ("client = 1", "neither a path"),
            (
                "[header]\nauthorization = 'secret'",
                "header is not supported",
            ),
            (
                "[host.'https://a.io'.header]\nx = ['secret']",
                "header is not",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
