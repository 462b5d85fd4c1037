//! Tests: what users say about registries, as files of theirs and of the system.

use std::fs;
use std::path::{Path, PathBuf};

use i2kit::oci::Environment;
use i2kit::oci::Reference;
use i2kit::oci::registry::{Endpoint, Registries, Scheme, Settings, SettingsError};

use crate::support;

mod credentials;
mod ecr;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The files of a machine and its user, in a folder.
struct Machine {
    root: tempfile::TempDir,
    variables: Vec<(String, String)>,
    uid: u32,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home").display().to_string();
        Self {
            root,
            variables: vec![("HOME".to_owned(), home)],
            uid: 1000,
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn set(&mut self, name: &str, value: impl AsRef<Path>) -> &mut Self {
        let value = value.as_ref().display().to_string();
        self.variables.retain(|(other, _)| other != name);
        self.variables.push((name.to_owned(), value));
        self
    }

    /// A program in a folder of `PATH`.
    fn program(&mut self, name: &str, script: &str) -> &mut Self {
        let path = format!("bin/{name}");
        self.file(&path, &format!("#!/bin/sh\n{script}\n"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(self.at(&path), mode).unwrap();
        let folders = format!("{}:/usr/bin:/bin", self.at("bin").display());
        self.set("PATH", folders)
    }

    fn settings(&self) -> Settings {
        let variables = self.variables.iter();
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        Settings::new(Environment::new(variables, self.uid, self.root.path()))
    }

    fn registries(&self) -> Registries {
        Registries::load(self.settings()).unwrap()
    }
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// `URL [mirror] [by digest] [any certificate] [authority …] [client …]`, files by their names.
fn show(endpoint: &Endpoint) -> String {
    let scheme = match endpoint.scheme {
        Scheme::Https => "https",
        Scheme::Http => "http",
    };
    let mut out = format!(
        "{scheme}://{}{}/v2/{}",
        endpoint.host, endpoint.prefix, endpoint.repository
    );
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let marks = [
        (endpoint.is_mirror, " mirror"),
        (!endpoint.by_tag, " by digest"),
        (endpoint.tls.skip_verify, " any certificate"),
    ];
    for (is_there, mark) in marks {
        if is_there {
            out += mark;
        }
    }
    for authority in &endpoint.tls.authorities {
        out += &format!(" authority {}", name(authority));
    }
    if let Some((certificate, key)) = &endpoint.tls.client {
        out += &format!(" client {} {}", name(certificate), name(key));
    }
    out
}

fn endpoints(registries: &Registries, text: &str) -> Vec<String> {
    let all = registries.endpoints(&reference(text)).unwrap();
    all.iter().map(show).collect()
}

fn error(registries: &Registries, text: &str) -> SettingsError {
    registries.endpoints(&reference(text)).unwrap_err()
}

#[test]
fn without_settings_a_registry_is_where_its_name_says() {
    let registries = Machine::new().registries();
    for (text, expected) in [
        ("nginx", "https://registry-1.docker.io/v2/library/nginx"),
        ("ghcr.io/x/y:1", "https://ghcr.io/v2/x/y"),
        ("h.io:5000/x", "https://h.io:5000/v2/x"),
        ("localhost:5000/x", "http://localhost:5000/v2/x"),
        ("127.0.0.1:80/x", "http://127.0.0.1:80/v2/x"),
        ("[::1]:5000/x", "http://[::1]:5000/v2/x"),
        ("localhost/x", "https://localhost/v2/x"),
        ("127.0.0.1:443/x", "https://127.0.0.1:443/v2/x"),
    ] {
        assert_eq!(endpoints(&registries, text), [expected], "{text}");
    }
}

#[test]
fn flags_say_whom_to_trust_and_whom_to_speak_to_in_the_clear() {
    let mut settings = Machine::new().settings();
    settings.plain_http = vec!["h.io:5000".to_owned(), "localhost:7".to_owned()];
    settings.registry_ca = vec!["/ca.pem".into()];
    let registries = Registries::load(settings).unwrap();
    for (text, expected) in [
        ("h.io:5000/x", "http://h.io:5000/v2/x"),
        ("h.io/x", "https://h.io/v2/x authority ca.pem"),
        // Whoever has an authority for the machine itself has TLS there.
        (
            "localhost:5000/x",
            "https://localhost:5000/v2/x authority ca.pem",
        ),
        ("localhost:7/x", "http://localhost:7/v2/x"),
    ] {
        assert_eq!(endpoints(&registries, text), [expected], "{text}");
    }
}

#[test]
fn certificates_are_found_by_the_registrys_name() {
    let machine = Machine::new();
    machine
        .file("etc/docker/certs.d/h.io:5000/ca.crt", "")
        .file("etc/containers/certs.d/docker.io/hub.crt", "")
        .file("home/.config/containers/certs.d/localhost:5000/c.cert", "")
        .file("home/.config/containers/certs.d/localhost:5000/c.key", "");
    let mut settings = machine.settings();
    settings.registry_ca = vec!["/own.pem".into()];
    let registries = Registries::load(settings).unwrap();
    for (text, expected) in [
        (
            "h.io:5000/x",
            "https://h.io:5000/v2/x authority ca.crt authority own.pem",
        ),
        ("h.io/x", "https://h.io/v2/x authority own.pem"),
        (
            "nginx",
            "https://registry-1.docker.io/v2/library/nginx authority hub.crt authority own.pem",
        ),
        (
            "localhost:5000/x",
            "https://localhost:5000/v2/x authority own.pem client c.cert c.key",
        ),
    ] {
        assert_eq!(endpoints(&registries, text), [expected], "{text}");
    }
    machine.file("etc/docker/certs.d/bad.io/c.key", "");
    let error = error(&registries, "bad.io/x").to_string();
    assert!(error.contains("bad.io: c.key has no .cert"), "{error}");
}

/// What `registries.conf` can say, the manual's example among it.
const CONF: &str = r#"
unqualified-search-registries = ["example.com"]

[[registry]]
prefix = "example.com/foo"
location = "internal-registry-for-example.com/bar"
[[registry.mirror]]
location = "example-mirror-0.local/mirror-for-foo"
[[registry.mirror]]
location = "example-mirror-1.local/mirrors/foo"
insecure = true

[[registry]]
location = "registry.com"
mirror-by-digest-only = true
[[registry.mirror]]
location = "mirror.registry.com"

[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "hub.local:5000/hub"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.local"
pull-from-mirror = "tag-only"
[[registry.mirror]]
location = "evil.local"
[[registry.mirror]]
location = "all.local"
pull-from-mirror = "all"

[[registry]]
location = "evil.local"
blocked = true

[[registry]]
prefix = "front.local"
location = "evil.local/x"
blocked = true

[[registry]]
prefix = "hidden.local"
location = "evil.local"
blocked = true

[[registry]]
prefix = "*.lab"
insecure = true
[[registry.mirror]]
location = "lab.local"

[[registry]]
prefix = "flag.lab"
location = "flag.lab"
insecure = true

[[registry]]
prefix = "bad.local"
location = "docker.io"
"#;

#[test]
fn mirrors_come_first_as_registries_conf_has_them() {
    let machine = Machine::new();
    machine.file("etc/containers/registries.conf", CONF);
    let mut settings = machine.settings();
    settings.plain_http = vec!["flag.lab".to_owned()];
    let registries = Registries::load(settings).unwrap();
    let at_digest = |name: &str| format!("{name}@{DIGEST}");
    for (text, expected) in [
        (
            "example.com/foo/image:latest".to_owned(),
            &[
                "https://example-mirror-0.local/v2/mirror-for-foo/image mirror",
                "https://example-mirror-1.local/v2/mirrors/foo/image mirror any certificate",
                "http://example-mirror-1.local/v2/mirrors/foo/image mirror",
                "https://internal-registry-for-example.com/v2/bar/image",
            ][..],
        ),
        (
            "example.com/food".to_owned(),
            &["https://example.com/v2/food"],
        ),
        (
            "registry.com/image".to_owned(),
            &["https://registry.com/v2/image"],
        ),
        (
            at_digest("registry.com/image:1"),
            &[
                "https://mirror.registry.com/v2/image mirror by digest",
                "https://registry.com/v2/image",
            ],
        ),
        (
            "nginx".to_owned(),
            &[
                "https://tags.local/v2/library/nginx mirror",
                "https://all.local/v2/library/nginx mirror",
                "https://registry-1.docker.io/v2/library/nginx",
            ],
        ),
        (
            at_digest("nginx"),
            &[
                "https://hub.local:5000/v2/hub/library/nginx mirror by digest",
                "https://all.local/v2/library/nginx mirror",
                "https://registry-1.docker.io/v2/library/nginx",
            ],
        ),
        (
            "a.b.lab/x".to_owned(),
            &[
                "https://lab.local/v2/x mirror",
                "https://a.b.lab/v2/x mirror any certificate",
                "http://a.b.lab/v2/x",
            ],
        ),
        ("flag.lab/x".to_owned(), &["http://flag.lab/v2/x"]),
    ] {
        assert_eq!(endpoints(&registries, &text), expected, "{text}");
    }
    let error = error(&registries, "bad.local/x").to_string();
    assert!(
        error.contains("\"docker.io\" of") && error.contains("full name"),
        "{error}"
    );
}

#[test]
fn what_is_blocked_names_the_file() {
    let machine = Machine::new();
    machine
        .file("etc/containers/registries.conf", CONF)
        .file(
            "etc/containers/registries.conf.d/50-more.conf",
            "[[registry]]\nprefix = 'ok.local'\nlocation = 'front.local/y'\n[[registry]]\nlocation = 'a.local/b'\nblocked = true",
        );
    let registries = machine.registries();
    for (text, prefix, file) in [
        ("evil.local/x", "evil.local", "registries.conf"),
        ("evil.local:5000/x", "evil.local", "registries.conf"),
        ("front.local/x", "front.local", "registries.conf"),
        ("ok.local/x", "front.local", "registries.conf"),
        ("a.local/b/c", "a.local/b", "50-more.conf"),
    ] {
        let error = error(&registries, text);
        let shown = error.to_string();
        assert!(matches!(error, SettingsError::Blocked { .. }), "{shown}");
        assert!(
            shown.contains(&format!("{prefix} is blocked by")),
            "{shown}"
        );
        assert!(shown.ends_with(file), "{shown}");
        assert!(error.hint().unwrap().contains(file));
    }
    assert_eq!(
        endpoints(&registries, "a.local/bc"),
        ["https://a.local/v2/bc"]
    );
}

#[test]
fn a_short_name_is_docker_hubs_unless_it_has_an_alias() {
    let mut machine = Machine::new();
    machine
        .file(
            "etc/containers/registries.conf",
            "unqualified-search-registries = ['other.io']\n[aliases]\n'fedora' = 'registry.fedoraproject.org/fedora'\n'hub' = 'docker.io/busybox'\n'gone' = 'a.io/gone'\n'team/app' = 'h.io:5000/team/app'",
        )
        .file("etc/containers/registries.conf.d/9.conf", "[aliases]\n'gone' = ''")
        .file(
            "home/.cache/containers/short-name-aliases.conf",
            "[aliases]\n'hub' = 'quay.io/hub'",
        );
    let show = |machine: &Machine, text: &str| {
        let reference = machine.registries().reference(text);
        reference.unwrap().to_string()
    };
    let at_digest = format!("fedora:40@{DIGEST}");
    for (text, expected) in [
        ("nginx", "docker.io/library/nginx:latest".to_owned()),
        (
            "fedora",
            "registry.fedoraproject.org/fedora:latest".to_owned(),
        ),
        (
            &at_digest,
            format!("registry.fedoraproject.org/fedora:40@{DIGEST}"),
        ),
        (
            "docker.io/fedora",
            "docker.io/library/fedora:latest".to_owned(),
        ),
        (
            "library/fedora",
            "docker.io/library/fedora:latest".to_owned(),
        ),
        ("gone", "docker.io/library/gone:latest".to_owned()),
        ("team/app:2", "h.io:5000/team/app:2".to_owned()),
        ("hub", "quay.io/hub:latest".to_owned()),
    ] {
        assert_eq!(show(&machine, text), expected, "{text}");
    }
    // Root's choices are elsewhere.
    machine.uid = 0;
    assert_eq!(show(&machine, "hub"), "docker.io/library/busybox:latest");
    machine.file(
        "var/cache/containers/short-name-aliases.conf",
        "[aliases]\n'hub' = 'root.io/hub'",
    );
    assert_eq!(show(&machine, "hub"), "root.io/hub:latest");
    assert!(machine.registries().reference("Nginx").is_err());
    // containerd knows no aliases.
    let mut settings = machine.settings();
    settings.registry_hosts = Some(machine.at("etc"));
    let registries = Registries::load(settings).unwrap();
    let reference = registries.reference("fedora").unwrap();
    assert_eq!(reference.to_string(), "docker.io/library/fedora:latest");
}

#[test]
fn the_users_file_stands_for_the_systems_and_the_variable_for_both() {
    let mut machine = Machine::new();
    let location = |to: &str| format!("[[registry]]\nprefix = 'h.io'\nlocation = '{to}'");
    let found = |machine: &Machine| endpoints(&machine.registries(), "h.io/x").remove(0);
    for (path, to) in [
        ("etc/containers/registries.conf", "a.io"),
        ("etc/containers/registries.conf.d/20-b.conf", "b.io"),
        ("etc/containers/registries.conf.d/10-z.conf", "b.io"),
        ("home/.config/containers/registries.conf.d/00.conf", "c.io"),
    ] {
        machine.file(path, &location(to));
        assert_eq!(found(&machine), format!("https://{to}/v2/x"), "{path}");
    }
    machine
        .file("etc/containers/registries.conf.d/99.conf.off", "no TOML")
        .file("etc/containers/registries.conf.d/99.conf/x", "no TOML");
    fs::remove_file(machine.at("home/.config/containers/registries.conf.d/00.conf")).unwrap();
    assert_eq!(found(&machine), "https://b.io/v2/x");
    machine.file("home/.config/containers/registries.conf", &location("u.io"));
    assert_eq!(found(&machine), "https://u.io/v2/x");
    machine.file("named.conf", &location("n.io"));
    let named = machine.at("named.conf");
    machine.set("CONTAINERS_REGISTRIES_CONF", &named);
    assert_eq!(
        found(&machine),
        "https://b.io/v2/x",
        "with the system's folder"
    );
    fs::remove_dir_all(machine.at("etc")).unwrap();
    assert_eq!(found(&machine), "https://n.io/v2/x");
    fs::remove_file(&named).unwrap();
    let error = Registries::load(machine.settings())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("read ") && error.contains("named.conf"),
        "{error}"
    );
}

/// skopeo says which places it tries, and in which order.
#[test]
fn skopeo_tries_the_same_places() {
    const SKOPEO_CONF: &str = r#"
        [[registry]]
        prefix = "example.invalid/foo"
        location = "127.0.0.1:1/bar"
        insecure = true
        [[registry.mirror]]
        location = "127.0.0.1:2/mirror-for-foo"
        [[registry.mirror]]
        location = "127.0.0.1:3/digests"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "127.0.0.1:4"
        insecure = true
        pull-from-mirror = "tag-only"
        [[registry]]
        prefix = "example.invalid/foo/bar"
        location = "127.0.0.1:5/b"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "127.0.0.1:6/b"
        [[registry]]
        prefix = "*.example.invalid"
        [[registry.mirror]]
        location = "127.0.0.1:7/all"
        [[registry]]
        location = "127.0.0.1:6/blocked"
        blocked = true
    "#;
    let machine = Machine::new();
    let folder = "home/.config/containers";
    machine
        .file(&format!("{folder}/registries.conf"), SKOPEO_CONF)
        .file(
            &format!("{folder}/registries.conf.d/1.conf"),
            "[[registry]]\nprefix = 'docker.io/library'\nlocation = '127.0.0.1:8/hub'\n[[registry]]\nprefix='docker.io/library/debian'\nlocation='127.0.0.1:9'",
        )
        .file(
            &format!("{folder}/registries.conf.d/2.conf"),
            "[[registry]]\nprefix = 'docker.io/library/debian'\nlocation = '127.0.0.1:8/debian'",
        );
    let registries = machine.registries();
    for name in [
        "example.invalid/foo/image:1",
        &format!("example.invalid/foo/image@{DIGEST}"),
        "example.invalid/foo/bar",
        "example.invalid/foo/bar/x:2",
        &format!("example.invalid/foo/bar/x@{DIGEST}"),
        "example.invalid/foobar:3",
        "a.b.example.invalid/x",
        "a.example.invalid:5000/x",
        "docker.io/nginx",
        "nginx:1.27",
        "debian",
        "debian/x",
    ] {
        let reference = reference(name);
        let mut ours: Vec<String> = Vec::new();
        // What makes no name is an error for both.
        for endpoint in registries.endpoints(&reference).unwrap_or_default() {
            let host = endpoint.host.replace("registry-1.docker.io", "docker.io");
            let suffix = reference.to_string().replacen(&reference.name(), "", 1);
            ours.push(format!("{host}/{}{suffix}", endpoint.repository));
        }
        // An insecure place is two endpoints: TLS, then HTTP.
        ours.dedup();
        assert_eq!(skopeo_tries(&machine, name), ours, "{name}");
    }
}

/// The references in `Trying to access "…"`.
fn skopeo_tries(machine: &Machine, name: &str) -> Vec<String> {
    let home = format!("HOME={}", machine.at("home").display());
    let place = format!("docker://{name}");
    let arguments = ["-i", &home, "skopeo", "--debug", "inspect", &place];
    let output = support::tool("env", &arguments);
    let log = String::from_utf8_lossy(&output.stderr).replace("\\\"", "\"");
    let tried = log.split("Trying to access \"").skip(1);
    tried
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

#[test]
fn hosts_toml_is_used_when_it_is_named() {
    let machine = Machine::new();
    machine
        .file("etc/containers/registries.conf", "no TOML")
        .file("etc/docker/certs.d/plain.io/ca.crt", "")
        .file(
            "d/docker.io/hosts.toml",
            "server = 'https://docker.io'\n[host.'https://m.local:5000/hub']\ncapabilities = ['pull']\nca = 'm.crt'\n[host.'http://h.local']\n[host.'https://proxy.local/v2/dockerhub']\noverride_path = true\nclient = [['c.cert', 'c.key']]",
        )
        .file("d/h.io_5000_/hosts.toml", "skip_verify = true")
        .file("d/h.io:5000/hosts.toml", "no TOML")
        .file("d/certs.io:1/a.crt", "")
        .file("d/localhost:5000/hosts.toml", "[host.'http://localhost:6000']\nskip_verify = true\n[host.'http://127.0.0.1:80']\nskip_verify = true")
        .file("d/self.io/hosts.toml", "[host.'https://self.io']")
        .file("d/bad.io/hosts.toml", "ca = 1");
    let registries = |machine: &Machine| {
        let mut settings = machine.settings();
        settings.registry_hosts = Some(machine.at("d"));
        settings.registry_ca = vec!["/own.pem".into()];
        settings.plain_http = vec!["h.local".to_owned()];
        Registries::load(settings).unwrap()
    };
    for (text, expected) in [
        (
            "nginx",
            &[
                "https://m.local:5000/hub/v2/library/nginx mirror by digest authority m.crt authority own.pem",
                "http://h.local/v2/library/nginx mirror",
                "https://proxy.local/v2/dockerhub/library/nginx mirror authority own.pem client c.cert c.key",
                "https://registry-1.docker.io/v2/library/nginx authority own.pem",
            ][..],
        ),
        (
            "h.io:5000/x",
            &["https://h.io:5000/v2/x any certificate authority own.pem"],
        ),
        (
            "certs.io:1/x",
            &["https://certs.io:1/v2/x authority a.crt authority own.pem"],
        ),
        ("plain.io/x", &["https://plain.io/v2/x authority own.pem"]),
        ("h.local/x", &["http://h.local/v2/x"]),
        (
            "localhost:5000/x",
            &[
                "https://localhost:6000/v2/x mirror any certificate authority own.pem",
                "http://localhost:6000/v2/x mirror",
                "http://127.0.0.1:80/v2/x mirror",
                "https://localhost:5000/v2/x authority own.pem",
            ],
        ),
        (
            "self.io/x",
            &[
                "https://self.io/v2/x authority own.pem",
                "https://self.io/v2/x authority own.pem",
            ],
        ),
    ] {
        assert_eq!(endpoints(&registries(&machine), text), expected, "{text}");
    }
    let bad = error(&registries(&machine), "bad.io/x").to_string();
    assert!(bad.contains("d/bad.io/hosts.toml: ca is"), "{bad}");
    machine.file("d/_default/hosts.toml", "[host.'https://all.local']");
    assert_eq!(
        endpoints(&registries(&machine), "other.io/x"),
        [
            "https://all.local/v2/x mirror by digest authority own.pem",
            "https://other.io/v2/x authority own.pem",
        ]
    );
    let mut settings = machine.settings();
    settings.registry_hosts = Some(machine.at("none"));
    let error = Registries::load(settings).unwrap_err().to_string();
    assert!(
        error.starts_with("read ") && error.contains("/none:"),
        "{error}"
    );
}
