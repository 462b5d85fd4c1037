//! Tests: README's commands.

use std::path::Path;
use std::process::Command;

use crate::support::cloud::{Fake, Settings};
use crate::support::vm::Bench;
use crate::support::{i2kit, samples};

const README: &str = include_str!("../README.md");

/// The lines of README's `sh` blocks, without their comments.
fn commands() -> Vec<String> {
    let blocks = README
        .split("```sh\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap());
    let lines = blocks
        .flat_map(str::lines)
        .map(|line| line.split("   #").next().unwrap().trim());
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The commands run as they stand, but for some that others run: `demo.sh` and `reproduce.sh` are
/// tests of their own, `test.sh` runs this test, and a machine that serves is stopped in the boot
/// tests. The account at AWS is the fake that `fake-aws.sh` runs, in this process.
#[test]
fn every_command_of_the_tour_works() {
    let elsewhere = [
        "scripts/demo.sh",
        "scripts/test.sh",
        "scripts/reproduce.sh",
        "i2kit run nginx.raw -p 8080:80",
        "eval \"$(scripts/fake-aws.sh --background)\"",
        "scripts/fake-aws.sh --stop",
    ];
    let base = samples::base();
    let cache = base
        .strip_prefix("oci:")
        .unwrap()
        .strip_suffix("/i2kit/base")
        .unwrap();
    let bench = Bench::new();
    let binary = Path::new(env!("CARGO_BIN_EXE_i2kit"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let root = env!("CARGO_MANIFEST_DIR");
    for name in ["scripts", "fixtures"] {
        std::os::unix::fs::symlink(format!("{root}/{name}"), bench.path(name)).unwrap();
    }
    let account = Fake::start(Settings::default());
    let commands = commands();
    assert!(commands.len() >= 9, "{commands:?}");
    for command in commands
        .iter()
        .filter(|one| !elsewhere.contains(&one.as_str()))
    {
        let line = command.replace("$HOME/.cache", cache);
        let output = Command::new("bash")
            .args(["-ec", &line])
            .current_dir(bench.folder.path())
            .env("PATH", &path)
            .env("XDG_STATE_HOME", bench.path("state"))
            .envs(account.environment())
            .output();
        let output = output.unwrap();
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// In other folders, by another user, at another time, from other places: always the same bytes.
#[test]
fn a_disk_is_the_same_however_it_is_built() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/reproduce.sh");
    let mut reproduce = Command::new(script);
    reproduce.args(["--i2kit", env!("CARGO_BIN_EXE_i2kit")]);
    let output = reproduce.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    for way in [
        "warm",
        "elsewhere/deep/down",
        "later",
        "registry",
        "bundle",
        "record",
    ] {
        let line = format!("{way}: ");
        assert!(text.contains(&line), "no {way} in {text}");
    }
}

#[test]
#[ignore = "slow: builds in release mode and boots"]
fn the_demo_works() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/demo.sh");
    let output = Command::new(script).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("one Pod"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn readme_names_every_floor() {
    let help = String::from_utf8(i2kit().arg("--help").output().unwrap().stdout).unwrap();
    for command in [
        "build",
        "run",
        "inspect",
        "ls",
        "cache",
        "push",
        "images",
        "prune",
        "fetch",
        "ledger",
        "completions",
        "man",
    ] {
        assert!(
            help.contains(command) && README.contains(command),
            "{command}"
        );
    }
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            let name = format!("`src/{}/`", entry.file_name().to_str().unwrap());
            assert!(
                README.contains(&name),
                "{name} is not in README's floor plan"
            );
        }
    }
}

#[test]
fn the_fake_account_runs_alone() {
    let home = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/fake-aws.sh");
    let i2kit = Path::new(env!("CARGO_BIN_EXE_i2kit"));
    // Examples are built with the tests.
    let program = i2kit.with_file_name("examples").join("fake-aws");
    let line = format!(
        "eval \"$({script} --background --program {})\"; trap '{script} --stop' EXIT; \"$0\" images --json",
        program.display()
    );
    let output = Command::new("bash")
        .args(["-ec", &line])
        .arg(i2kit)
        .env("XDG_CACHE_HOME", home.path())
        .env("XDG_STATE_HOME", home.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "[]\n", "{error}");
}
