//! A registry with images, a base, and machines that build from them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::layout::{self, Compression, sha256};
use crate::support::registry::Registry;
use crate::support::small::{Small, succeeded};
use crate::support::tarball::{Dialect, Item, archive};
use crate::support::{at_home, i2kit};

/// The registry and what is in it.
pub struct Fleet {
    pub registry: Registry,
    pub small: Small,
}

impl Fleet {
    /// The registry has `app/web:latest`, the image that [`Small`] makes.
    pub fn new() -> Self {
        let fleet = Self {
            registry: Registry::start(),
            small: Small::new(),
        };
        fleet.registry.load(&fleet.small.path("image"), "app/web");
        fleet
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.small.path(name)
    }

    pub fn image(&self) -> String {
        format!("{}/app/web:latest", self.registry.host())
    }

    /// A Pod of one container for each of the images.
    pub fn manifest(&self, images: &[String]) -> PathBuf {
        let path = self.path("pod.yaml");
        let mut text =
            "apiVersion: v1\nkind: Pod\nmetadata: {name: app}\nspec:\n  containers:\n".to_owned();
        for (number, image) in images.iter().enumerate() {
            text.push_str(&format!("  - {{name: c{number}, image: \"{image}\"}}\n"));
        }
        fs::write(&path, text).unwrap();
        path
    }

    /// Puts another image under `app/web:latest`.
    pub fn move_tag(&self) {
        let folder = self.path("moved");
        let tar = archive(&[Item::file("new", "new")], Dialect::Pax);
        layout::write(
            &folder,
            &[(tar, Compression::Gzip)],
            &json!({"Entrypoint": ["/new"]}),
        );
        self.registry.load(&folder, "app/web");
    }

    /// `i2kit COMMAND` on the machine of that name, which has a folder, a cache and nothing else of
    /// its own.
    pub fn machine(&self, name: &str, command: &str) -> Command {
        let folder = self.path(name);
        fs::create_dir_all(&folder).unwrap();
        let mut process = i2kit();
        process.arg(command).current_dir(&folder);
        at_home(&mut process, &folder);
        process.arg("--cache-dir").arg(folder.join("cache"));
        process
    }

    /// As [`Self::machine`], with the base named.
    pub fn with_base(&self, name: &str, command: &str) -> Command {
        let mut process = self.machine(name, command);
        process
            .arg("--base")
            .arg(format!("oci:{}", self.path("base").display()));
        process
    }

    /// Builds a disk on that machine; answers its digest and the summary.
    pub fn built(&self, mut build: Command) -> (String, Value) {
        let disk = self.path("disk.raw");
        let output = build.arg("--json").arg("-o").arg(&disk).output().unwrap();
        let summary = serde_json::from_str(&succeeded(&output)).unwrap();
        let digest = sha256(&fs::read(&disk).unwrap());
        fs::remove_file(&disk).unwrap();
        (digest, summary)
    }
}

/// The same command where there is no network.
pub fn without_network(command: &Command) -> Command {
    let mut outer = Command::new("unshare");
    outer.args(["--map-root-user", "--net"]);
    outer.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    outer
}

/// Fails with one message that has all of `expected` in it.
pub fn refused(command: &mut Command, expected: &[&str]) -> String {
    let output: Output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in expected {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    text
}
