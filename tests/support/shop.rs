//! A Pod whose image and manifest change from build to build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::i2kit;
use super::layout::{self, Compression};
use super::random::Random;
use super::small::{Small, succeeded};
use super::tarball::{Dialect, Item, archive};

/// A Pod of one container, whose image can be changed.
pub struct Shop {
    pub small: Small,
}

impl Shop {
    /// A Pod whose image has two layers.
    pub fn new() -> Self {
        let shop = Self {
            small: Small::new(),
        };
        shop.image(&[layer(1), layer(2)]);
        shop.manifest("A=1");
        shop
    }

    /// Gives the image these layers.
    pub fn image(&self, layers: &[Vec<u8>]) {
        let path = self.small.path("app");
        let _ = fs::remove_dir_all(&path);
        let layers: Vec<_> = layers
            .iter()
            .map(|one| (one.clone(), Compression::Gzip))
            .collect();
        layout::write(&path, &layers, &json!({"Entrypoint": ["/none"]}));
    }

    /// Gives the container that variable.
    pub fn manifest(&self, variable: &str) {
        let (name, value) = variable.split_once('=').unwrap();
        let image = format!("oci:{}", self.small.path("app").display());
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app"},
            "spec": {"containers": [{
                "name": "app", "image": image, "env": [{"name": name, "value": value}],
            }]},
        });
        fs::write(self.small.path("pod.yaml"), pod.to_string()).unwrap();
    }

    /// `i2kit NAME` of the Pod.
    pub fn command(&self, name: &str) -> Command {
        let mut command = i2kit();
        command
            .arg(name)
            .arg("--base")
            .arg(format!("oci:{}", self.small.path("base").display()));
        command.arg("-f").arg(self.small.path("pod.yaml"));
        command.arg("--cache-dir").arg(self.small.path("cache"));
        command
    }

    /// Builds a disk with more flags.
    pub fn build(&self, disk: &str, more: &[&str]) -> PathBuf {
        let path = self.small.path(disk);
        let mut command = self.command("build");
        command.arg("-q").arg("-o").arg(&path).args(more);
        succeeded(&command.output().unwrap());
        path
    }

    /// What a disk with more flags would share with an old one.
    pub fn plan(&self, old: &Path, more: &[&str]) -> Value {
        let mut command = self.command("plan");
        command.arg("--json").arg("--against").arg(old).args(more);
        let output = command.output();
        let plan: Value = serde_json::from_str(&succeeded(&output.unwrap())).unwrap();
        plan
    }
}

/// Some 3 MB in files of all sizes, one of which all layers have.
pub fn layer(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut items = vec![Item::file("shared", random.bytes(3_000_000))];
    for index in 0..30 {
        let size = usize::try_from(random.below(1 << (8 + index % 10))).unwrap();
        items.push(Item::file(format!("f{seed}-{index}"), random.bytes(size)));
    }
    items.push(Item::file(format!("large{seed}"), random.bytes(2 << 20)));
    archive(&items, Dialect::Pax)
}
