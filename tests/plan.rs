//! Tests: what a disk would be, and what it shares with an old one.

use std::fs;

use serde_json::{Value, json};

use crate::support::shop::{Shop, layer};
use crate::support::small::succeeded;

/// What differs, without what every other root hash changes.
fn differing(plan: &Value) -> Vec<String> {
    let parts = plan["against"]["differ"].as_array().unwrap().iter();
    let parts = parts.map(|one| one["part"].as_str().unwrap().to_owned());
    let always = [
        "partition table",
        "esp",
        "superblock and records",
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
    let old = shop.build("old.raw", &[]);
    let by_record = shop.plan(&old, &[]);
    let against = &by_record["against"];
    assert_eq!(against["differ"], json!([]));
    assert_eq!(
        (&against["shared"], &against["dropped"]),
        (&against["slabs"], &json!(0))
    );
    assert!(against["slabs"].as_u64().unwrap() > 15, "{against}");
    let record = shop.small.path("old.raw.i2kit.json");
    assert_eq!(shop.plan(&record, &[]), by_record);
    fs::remove_file(record).unwrap();
    assert_eq!(shop.plan(&old, &[]), by_record);
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
    let old = shop.build("old.raw", &[]);
    shop.manifest("A=2");
    let plan = shop.plan(&old, &[]);
    assert_eq!(differing(&plan), Vec::<String>::new(), "{plan:#}");
    let changed = plan["against"]["differ"].as_array().unwrap();
    assert!(changed.iter().any(|one| one["part"] == "esp"), "{plan:#}");

    shop.manifest("A=1");
    shop.image(&[layer(1), layer(2), layer(3)]);
    let plan = shop.plan(&old, &[]);
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
    let plan = shop.plan(&old, &[]);
    let moved = plan["against"]["differ"].as_array().unwrap().iter();
    let moved: u64 = moved.map(|one| one["moved"].as_u64().unwrap()).sum();
    assert!(moved > 3, "{plan:#}");
}

#[test]
fn people_read_what_is_where_and_what_is_dead() {
    let shop = Shop::new();
    let old = shop.build("old.raw", &[]);
    let output = shop
        .command("plan")
        .arg("--against")
        .arg(&old)
        .output()
        .unwrap();
    let text = succeeded(&output);
    for line in [
        "esp\n",
        "superblock and records\n",
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
