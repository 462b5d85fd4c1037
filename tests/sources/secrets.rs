//! Logins show nowhere: not in what commands print, not in what they write.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::json;

use super::fleet::Fleet;
use crate::support::output_of;
use crate::support::registry::http::Response;
use crate::support::registry::{Auth, Fault, Registry, Rule, TOKEN, Tokens, basic, pair};
use crate::support::small::Small;

const PASSWORD: &str = "hunter2-password";
const WRONG: &str = "hunter2-mistyped";
const SIGNATURE: &str = "hunter2-signature";

/// Everything that was printed and written.
#[derive(Default)]
struct Evidence {
    pieces: Vec<(String, Vec<u8>)>,
}

impl Evidence {
    fn run(&mut self, mut command: Command, succeeds: bool) {
        let what = format!("{command:?}");
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        let text = String::from_utf8_lossy(&stderr);
        assert_eq!(status.success(), succeeds, "{what}: {text}");
        self.pieces.push((format!("stdout of {what}"), stdout));
        self.pieces.push((format!("stderr of {what}"), stderr));
    }

    fn files(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => self.files(&path),
                false => self
                    .pieces
                    .push((path.display().to_string(), fs::read(&path).unwrap())),
            }
        }
    }

    /// Who says one of `secrets`.
    fn who_says(&self, secrets: &[String]) -> Vec<&str> {
        let says = |bytes: &[u8], secret: &str| {
            bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes())
        };
        let pieces = self.pieces.iter();
        pieces
            .filter(|(_, bytes)| secrets.iter().any(|secret| says(bytes, secret)))
            .map(|(what, _)| what.as_str())
            .collect()
    }
}

fn login(fleet: &Fleet, name: &str, password: &str) -> String {
    let path = fleet.path(name);
    let text = json!({"auths": {fleet.registry.host(): {"auth": pair("me", password)}}});
    fs::write(&path, text.to_string()).unwrap();
    path.display().to_string()
}

/// A command with a login and a proxy that has one; nothing here goes through that.
fn command(fleet: &Fleet, name: &str, arguments: &[&str]) -> Command {
    let needs_base = matches!(name, "lock" | "build" | "bundle");
    let mut command = match needs_base {
        true => fleet.with_base("one", name),
        false => fleet.machine("one", name),
    };
    command.args(arguments);
    command.env(
        "HTTPS_PROXY",
        format!("http://me:{PASSWORD}@proxy.invalid:3128"),
    );
    command
}

#[test]
fn no_command_prints_or_writes_a_secret() {
    let tokens: Arc<Tokens> = Arc::default();
    tokens.user("me", PASSWORD);
    let fleet = Fleet {
        registry: Registry::sharing(&tokens),
        small: Small::new(),
    };
    fleet.registry.load(&fleet.path("image"), "app/web");
    fleet.registry.set_auth(Auth::Bearer { realm: None });
    let (good, bad) = (
        login(&fleet, "good.json", PASSWORD),
        login(&fleet, "bad.json", WRONG),
    );
    let (key, image) = (fleet.path("cache.key").display().to_string(), fleet.image());
    output_of(
        "openssl",
        &["genpkey", "-algorithm", "ed25519", "-out", &key],
    );
    let manifest = fleet
        .manifest(std::slice::from_ref(&image))
        .display()
        .to_string();
    let shared = format!("{}/team/cache", fleet.registry.host());
    let good = ["--authfile", &good];
    let mut evidence = Evidence::default();
    let mut run = |name: &str, arguments: &[&str], succeeds: bool| {
        evidence.run(command(&fleet, name, arguments), succeeds);
    };

    for (name, arguments) in [
        ("resolve", vec![&*image, "--json"]),
        ("pull", vec![&*image, "--keep-blobs"]),
        ("lock", vec!["--convert", "-f", &manifest]),
        ("bundle", vec!["-f", &manifest, "-o", "app.bundle.tar"]),
        ("build", vec!["--locked", "-f", &manifest, "-o", "disk.raw"]),
    ] {
        run(name, &[&good[..], &arguments].concat(), true);
        run(
            name,
            &[&["--authfile", &*bad], &arguments[..]].concat(),
            name == "build",
        );
    }
    let to = ["--cache-to", &shared, "--cache-key", &key];
    let build = [
        "-f",
        &*manifest,
        "-o",
        "shared.raw",
        "--json",
        "--progress",
        "json",
    ];
    run("build", &[&good[..], &to, &build].concat(), true);
    // Words of a registry that repeats what it was told, and a signed URL on the way.
    let signed = fleet
        .registry
        .url(&format!("/nowhere?X-Signature={SIGNATURE}"));
    let echo = format!("not {PASSWORD}, {}", basic("me", PASSWORD));
    for answer in [
        Response::error(403, "DENIED", &echo),
        Response::new(307).with("Location", &signed),
    ] {
        fleet
            .registry
            .script([Rule::new("/v2/", Fault::Answer(answer))]);
        run("resolve", &[&good[..], &["--json", &image]].concat(), false);
    }

    evidence.files(&fleet.path("one"));
    assert!(evidence.pieces.len() > 40, "{}", evidence.pieces.len());
    let key = fs::read_to_string(fleet.path("cache.key")).unwrap();
    let mut secrets = [PASSWORD, WRONG, SIGNATURE, TOKEN]
        .map(str::to_owned)
        .to_vec();
    secrets.extend([
        pair("me", PASSWORD),
        pair("me", WRONG),
        key.lines().nth(1).unwrap().to_owned(),
    ]);
    assert_eq!(evidence.who_says(&secrets), Vec::<&str>::new());
    // The search would find them.
    evidence.files(&fleet.path(""));
    assert_eq!(evidence.who_says(&secrets).len(), 3);
}
