//! What the tests share: generators, samples and oracles.

pub mod authority;
pub mod aws;
pub mod cloud;
pub mod containerd;
pub mod engine;
pub mod layer;
pub mod layout;
pub mod listing;
pub mod proxy;
pub mod random;
pub mod registry;
pub mod samples;
pub mod segment;
pub mod shop;
pub mod small;
pub mod tarball;
pub mod vm;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a tool; a missing one fails the test by name.
pub fn tool(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}; scripts/setup.sh --test installs it"))
}

/// The tool's whole output; fails the test when the tool fails.
pub fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = tool(program, arguments);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

/// The command under test.
pub fn i2kit() -> Command {
    Command::new(env!("CARGO_BIN_EXE_i2kit"))
}

/// What `i2kit inspect` says of a disk.
pub fn inspected(disk: &Path) -> serde_json::Value {
    let output = i2kit().args(["inspect", "--json"]).arg(disk).output();
    let output = output.unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Another home, and no folders of the one who runs the tests.
pub fn at_home(command: &mut Command, home: impl AsRef<OsStr>) {
    command.env("HOME", home);
    for variable in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"] {
        command.env_remove(variable);
    }
}
