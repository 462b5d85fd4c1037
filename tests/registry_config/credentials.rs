//! Credentials in files and with helpers.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use i2kit::oci::registry::{Credential, CredentialError, Keyring, Registries, Settings};

use super::Machine;

/// Base64 of `USER:secret`.
fn auth(user: &str) -> String {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut base64 = Command::new("base64")
        .args(["-w", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    write!(base64.stdin.take().unwrap(), "{user}:secret").unwrap();
    String::from_utf8(base64.wait_with_output().unwrap().stdout).unwrap()
}

fn entry(host: &str, user: &str) -> String {
    format!(
        "{{\"auths\":{{\"{host}\":{{\"auth\":\"{}\"}}}}}}",
        auth(user)
    )
}

fn keyring(settings: Settings) -> Keyring {
    Keyring::new(&Registries::load(settings).unwrap())
}

/// `user:password`, `identity TOKEN`, `registry TOKEN` or nothing.
pub fn reveal(credential: Option<Credential>) -> String {
    match credential {
        None => String::new(),
        Some(Credential::Password { username, password }) => {
            format!("{username}:{}", password.reveal())
        }
        Some(Credential::IdentityToken(token)) => format!("identity {}", token.reveal()),
        Some(Credential::RegistryToken(token)) => format!("registry {}", token.reveal()),
    }
}

fn ask(settings: Settings, host: &str) -> Result<String, CredentialError> {
    let credential = keyring(settings).credential(host, "team/app")?;
    Ok(reveal(credential))
}

#[test]
fn files_are_read_in_order() {
    let mut machine = Machine::new();
    let (runtime, docker) = (machine.at("runtime"), machine.at("docker"));
    let legacy = format!(
        "{{\"https://h.io/v1/\":{{\"auth\":\"{}\"}}}}",
        auth("legacy")
    );
    machine
        .file("home/.dockercfg", &legacy)
        .file("home/.docker/config.json", &entry("h.io", "docker"))
        .file(
            "home/.config/containers/auth.json",
            &entry("h.io", "config"),
        )
        .file("run/containers/1000/auth.json", &entry("h.io", "run"))
        .file("run/containers/0/auth.json", &entry("h.io", "other user"));
    for (path, user) in [
        ("run/containers/1000/auth.json", "run"),
        ("home/.config/containers/auth.json", "config"),
        ("home/.docker/config.json", "docker"),
        ("home/.dockercfg", "legacy"),
    ] {
        let found = ask(machine.settings(), "h.io").unwrap();
        assert_eq!(found, format!("{user}:secret"));
        fs::remove_file(machine.at(path)).unwrap();
    }
    assert_eq!(ask(machine.settings(), "h.io").unwrap(), "");
    // Where variables say.
    machine
        .file("docker/config.json", &entry("h.io", "docker"))
        .file("xdg/containers/auth.json", &entry("h.io", "xdg"))
        .file("runtime/containers/auth.json", &entry("h.io", "runtime"))
        .file("named.json", &entry("h.io", "named"))
        .file("flag.json", &entry("i.io", "flag"));
    let xdg = machine.at("xdg");
    for (name, value, user) in [
        ("DOCKER_CONFIG", docker, "docker"),
        ("XDG_CONFIG_HOME", xdg, "xdg"),
        ("XDG_RUNTIME_DIR", runtime, "runtime"),
        (
            "DOCKER_AUTH_CONFIG",
            PathBuf::from(entry("h.io", "variable")),
            "variable",
        ),
        ("REGISTRY_AUTH_FILE", machine.at("named.json"), "named"),
    ] {
        machine.set(name, value);
        let found = ask(machine.settings(), "h.io").unwrap();
        assert_eq!(found, format!("{user}:secret"));
    }
    // A named file is the only one.
    let mut settings = machine.settings();
    settings.authfile = Some(machine.at("flag.json"));
    assert_eq!(ask(settings.clone(), "i.io").unwrap(), "flag:secret");
    assert_eq!(ask(settings.clone(), "h.io").unwrap(), "");
    settings.authfile = Some(machine.at("none.json"));
    let error = ask(settings, "h.io").unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("none.json: there is no such file"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--authfile"));
}

#[test]
fn the_nearest_entry_and_docker_hubs_names() {
    let machine = Machine::new();
    machine
        .file(
            "home/.config/containers/auth.json",
            &format!(
                "{{\"auths\":{{\"h.io\":{{\"auth\":\"{}\"}},\"h.io/team\":{{\"auth\":\"{}\"}},\"docker.io/team/app\":{{\"identitytoken\":\"i\"}}}}}}",
                auth("host"),
                auth("team")
            ),
        )
        .file("home/.docker/config.json", &entry("https://index.docker.io/v1/", "hub"));
    let keyring = keyring(machine.settings());
    let ask = |host, repository| reveal(keyring.credential(host, repository).unwrap());
    assert_eq!(ask("h.io", "team/app"), "team:secret");
    assert_eq!(ask("h.io", "other/app"), "host:secret");
    assert_eq!(ask("registry-1.docker.io", "team/app"), "identity i");
    assert_eq!(ask("registry-1.docker.io", "library/nginx"), "hub:secret");
    assert_eq!(ask("mirror.io", "library/nginx"), "");
}

/// Writes down what it is asked, and answers by the server's name.
const HELPER: &str = r#"
read -r server
echo "$0 $* $server $PLACE" >> "$ASKED"
case $server in
  user.io) echo '{"ServerURL":"x","Username":"u","Secret":"secret"}' ;;
  token.io) echo '{"Username":"<token>","Secret":"t"}' ;;
  docker.io) echo '{"Username":"podman","Secret":"secret"}' ;;
  none.io | https://index.docker.io/v1/) echo 'credentials not found in native keychain'; exit 1 ;;
  known.io) echo 'no credentials server URL'; exit 1 ;;
  broken.io) echo 'secret'; echo 'secret' >&2; exit 7 ;;
  wrong.io) echo '{"Username":["secret"]}' ;;
  text.io) echo 'secret' ;;
  empty.io) echo '{}' ;;
  slow.io) exec sleep 600 ;;
  large.io) exec cat /dev/zero ;;
esac"#;

fn with_helper() -> Machine {
    let mut machine = Machine::new();
    let asked = machine.at("asked");
    machine
        .program("docker-credential-test", HELPER)
        .set("ASKED", asked)
        .set("PLACE", "here")
        .file("home/.docker/config.json", "{\"credsStore\":\"test\"}");
    machine
}

#[test]
fn a_helper_is_asked_as_docker_asks_it() {
    let machine = with_helper();
    let keyring = keyring(machine.settings());
    for (host, expected) in [
        ("user.io", "u:secret"),
        ("token.io", "identity t"),
        ("none.io", ""),
        ("empty.io", ""),
        ("registry-1.docker.io", "podman:secret"),
        // Nobody is asked twice.
        ("user.io", "u:secret"),
        ("none.io", ""),
    ] {
        let found = keyring.credential(host, "x").unwrap();
        assert_eq!(reveal(found), expected, "{host}");
    }
    let program = machine.at("bin/docker-credential-test");
    let servers = [
        "user.io",
        "token.io",
        "none.io",
        "empty.io",
        "https://index.docker.io/v1/",
        "docker.io",
    ];
    let expected: String = servers
        .iter()
        .map(|server| format!("{} get {server} here\n", program.display()))
        .collect();
    assert_eq!(fs::read_to_string(machine.at("asked")).unwrap(), expected);
}

#[test]
fn a_helper_that_fails_is_told_without_its_words() {
    let machine = with_helper();
    let mut settings = machine.settings();
    settings.program_timeout = Duration::from_millis(300);
    let keyring = keyring(settings);
    let start = Instant::now();
    for (host, part) in [
        ("known.io", "no credentials server URL"),
        ("broken.io", "failed with exit status: 7"),
        ("wrong.io", "line 1 column"),
        ("text.io", "not JSON"),
        ("slow.io", "no answer within 0.3 s"),
        ("large.io", "larger than"),
    ] {
        let error = keyring.credential(host, "x").unwrap_err();
        let shown = format!("{error} {error:?} {:?}", error.hint());
        assert!(shown.contains(part), "{host}: {shown}");
        assert!(!shown.contains("secret"), "{shown}");
        let start = format!("ask docker-credential-test for {host}: ");
        assert!(error.to_string().starts_with(&start), "{error}");
        assert!(
            error
                .hint()
                .unwrap()
                .contains("| docker-credential-test get")
        );
    }
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_helper_that_is_missing_is_named() {
    let mut machine = Machine::new();
    machine.set("PATH", "/usr/bin:/bin").file(
        "home/.docker/config.json",
        "{\"credHelpers\":{\"h.io\":\"none\",\"i.io\":\"../none\"}}",
    );
    let error = ask(machine.settings(), "h.io").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("docker-credential-none for h.io: there is no"),
        "{error}"
    );
    assert!(
        error
            .hint()
            .unwrap()
            .starts_with("install docker-credential-none")
    );
    let error = ask(machine.settings(), "i.io").unwrap_err();
    assert!(error.to_string().ends_with("its name is none"), "{error}");
    assert_eq!(ask(machine.settings(), "j.io").unwrap(), "");
}

#[test]
fn registries_conf_says_who_is_asked() {
    let mut machine = with_helper();
    machine
        .program(
            "docker-credential-other",
            "echo '{\"Username\":\"other\",\"Secret\":\"s\"}'",
        )
        .file("home/.docker/config.json", &entry("none.io", "file"))
        .file(
            "etc/containers/registries.conf",
            "credential-helpers = ['missing', 'test', 'containers-auth.json', 'other']",
        );
    let ask = |host: &str| ask(machine.settings(), host);
    // One that fails is got over as long as another one knows.
    assert_eq!(ask("user.io").unwrap(), "u:secret");
    assert_eq!(ask("none.io").unwrap(), "file:secret");
    assert_eq!(ask("empty.io").unwrap(), "other:s");
    machine.file(
        "etc/containers/registries.conf.d/1.conf",
        "credential-helpers = ['missing', 'containers-auth.json']",
    );
    assert_eq!(ask("none.io").unwrap(), "file:secret");
    let error = ask("user.io").unwrap_err().to_string();
    assert!(error.contains("docker-credential-missing"), "{error}");
}

#[test]
fn files_that_make_no_sense_are_named_without_their_contents() {
    for (text, part) in [
        (
            "{\"auths\":{\"h.io\":{\"auth\":\"secret!\"}}}",
            "entry \"h.io\": auth is not base64",
        ),
        (
            "{\"auths\":{\"h.io\":\"secret\"}}",
            "line 1 column 25: not of the form",
        ),
        ("secret", "line 1 column 1: not JSON"),
    ] {
        let mut machine = Machine::new();
        machine.file("home/.docker/config.json", text);
        let error = ask(machine.settings(), "h.io").unwrap_err();
        let shown = format!("{error} {error:?} {:?}", error.hint());
        assert!(
            shown.contains(part) && shown.contains(".docker/config.json"),
            "{shown}"
        );
        assert!(!shown.contains("secret"), "{shown}");
        fs::remove_file(machine.at("home/.docker/config.json")).unwrap();
        machine.set("DOCKER_AUTH_CONFIG", text);
        let shown = ask(machine.settings(), "h.io").unwrap_err().to_string();
        assert!(
            shown.contains("$DOCKER_AUTH_CONFIG") && !shown.contains("secret"),
            "{shown}"
        );
        assert!(!format!("{:?}", machine.settings()).contains("secret"));
    }
}
