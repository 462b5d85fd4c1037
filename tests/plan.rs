//! Tests: what a disk would be, and what it shares with an old one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::i2kit;
use crate::support::layout::{self, Compression};
use crate::support::random::Random;
use crate::support::small::{Small, succeeded};
use crate::support::tarball::{Dialect, Item, archive};

/// A Pod of one container, whose image can be changed.
struct Shop {
    small: Small,
}

impl Shop {
    fn new() -> Self {
        let shop = Self {
            small: Small::new(),
        };
        shop.image(&[layer(1), layer(2)]);
        shop.manifest("A=1");
        shop
    }

    fn image(&self, layers: &[Vec<u8>]) {
        let path = self.small.path("app");
        let _ = fs::remove_dir_all(&path);
        let layers: Vec<_> = layers
            .iter()
            .map(|one| (one.clone(), Compression::Gzip))
            .collect();
        layout::write(&path, &layers, &json!({"Entrypoint": ["/none"]}));
    }

    fn manifest(&self, variable: &str) {
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

    fn command(&self, name: &str) -> Command {
        let mut command = i2kit();
        command
            .arg(name)
            .arg("--base")
            .arg(format!("oci:{}", self.small.path("base").display()));
        command.arg("-f").arg(self.small.path("pod.yaml"));
        command.arg("--cache-dir").arg(self.small.path("cache"));
        command
    }

    fn build(&self, disk: &str) -> PathBuf {
        let path = self.small.path(disk);
        succeeded(
            &self
                .command("build")
                .arg("-q")
                .arg("-o")
                .arg(&path)
                .output()
                .unwrap(),
        );
        path
    }

    fn plan(&self, old: &PathBuf) -> Value {
        let output = self
            .command("plan")
            .arg("--json")
            .arg("--against")
            .arg(old)
            .output();
        let plan: Value = serde_json::from_str(&succeeded(&output.unwrap())).unwrap();
        plan
    }
}

/// Some 3 MB in files of all sizes, one of which all layers have.
fn layer(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut items = vec![Item::file("shared", random.bytes(3_000_000))];
    for index in 0..30 {
        let size = usize::try_from(random.below(1 << (8 + index % 10))).unwrap();
        items.push(Item::file(format!("f{seed}-{index}"), random.bytes(size)));
    }
    items.push(Item::file(format!("large{seed}"), random.bytes(2 << 20)));
    archive(&items, Dialect::Pax)
}

/// What differs, without what every other root hash changes.
fn differing(plan: &Value) -> Vec<String> {
    let parts = plan["against"]["differ"].as_array().unwrap().iter();
    let parts = parts.map(|one| one["part"].as_str().unwrap().to_owned());
    let always = [
        "partition table",
        "esp",
        "superblock",
        "contract and records",
        "metadata",
        "hash tree",
    ];
    parts
        .filter(|part| !always.contains(&part.as_str()))
        .collect()
}

#[test]
fn the_same_disk_is_shared_whole_and_a_record_says_what_the_disk_does() {
    let shop = Shop::new();
    let old = shop.build("old.raw");
    let by_record = shop.plan(&old);
    let against = &by_record["against"];
    assert_eq!(against["differ"], json!([]));
    assert_eq!(
        (&against["shared"], &against["dropped"]),
        (&against["slabs"], &json!(0))
    );
    assert!(against["slabs"].as_u64().unwrap() > 15, "{against}");
    let record = shop.small.path("old.raw.i2kit.json");
    assert_eq!(shop.plan(&record), by_record);
    fs::remove_file(record).unwrap();
    assert_eq!(shop.plan(&old), by_record);
    assert_eq!(
        fs::read_dir(shop.small.path("cache/v1/tmp"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_changed_variable_changes_no_layer_and_an_appended_layer_moves_none() {
    let shop = Shop::new();
    let old = shop.build("old.raw");
    shop.manifest("A=2");
    let plan = shop.plan(&old);
    assert_eq!(differing(&plan), Vec::<String>::new(), "{plan:#}");
    let changed = plan["against"]["differ"].as_array().unwrap();
    assert!(changed.iter().any(|one| one["part"] == "esp"), "{plan:#}");

    shop.manifest("A=1");
    shop.image(&[layer(1), layer(2), layer(3)]);
    let plan = shop.plan(&old);
    let differ = differing(&plan);
    let [new] = differ.as_slice() else {
        panic!("{plan:#}")
    };
    let layers = plan["regions"].as_array().unwrap().iter();
    let layers: Vec<_> = layers
        .filter(|region| region["part"].as_str().unwrap().starts_with("layer "))
        .collect();
    assert_eq!(layers.len(), 4, "{plan:#}");
    assert_eq!(layers[3]["part"], **new);
    // A layer that goes away from before others moves them.
    shop.image(&[layer(2)]);
    let plan = shop.plan(&old);
    let moved = plan["against"]["differ"].as_array().unwrap().iter();
    let moved: u64 = moved.map(|one| one["moved"].as_u64().unwrap()).sum();
    assert!(moved > 3, "{plan:#}");
}

#[test]
fn people_read_what_is_where_and_what_is_dead() {
    let shop = Shop::new();
    let old = shop.build("old.raw");
    let output = shop
        .command("plan")
        .arg("--against")
        .arg(&old)
        .output()
        .unwrap();
    let text = succeeded(&output);
    for line in [
        "esp\n",
        "superblock\n",
        "contract and records\n",
        "metadata\n",
        "hash tree\n",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    // `shared` of the first layer lies below that of the second.
    let layers: Vec<_> = text
        .lines()
        .filter(|line| line.contains("  layer sha256:"))
        .collect();
    assert_eq!(layers.len(), 3, "{text}");
    let dead: Vec<_> = layers.iter().map(|line| line.contains(" dead")).collect();
    assert_eq!(dead, [false, true, false], "{text}");
    assert!(layers[1].contains(" 2.00 MiB dead"), "{text}");
    assert!(
        text.ends_with(&format!("slabs are those of {}\n", old.display())),
        "{text}"
    );
    let none = shop
        .command("plan")
        .arg("--against")
        .arg("nowhere.raw")
        .output()
        .unwrap();
    assert_eq!(none.status.code(), Some(1));
}
