//! Tests: where layers lie when a disk is built like an old one, and what is left out of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::listing::{self, Listing, Mount};
use crate::support::random::Random;
use crate::support::shop::{Shop, layer};
use crate::support::small::succeeded;
use crate::support::tarball::{Dialect, Item, archive};
use crate::support::{i2kit, inspected};

/// Noise of so many bytes, in one file.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let file = Item::file(format!("noise{seed}"), Random::new(seed).bytes(len));
    archive(&[file], Dialect::Pax)
}

/// Offsets of the regions whose names begin so, by their names.
fn offsets(plan: &Value, prefix: &str) -> BTreeMap<String, u64> {
    let regions = plan["regions"].as_array().unwrap().iter();
    let named = regions.map(|one| {
        let part = one["part"].as_str().unwrap().to_owned();
        (part, one["offset"].as_u64().unwrap())
    });
    named.filter(|(part, _)| part.starts_with(prefix)).collect()
}

/// Layers of which some slab is not where the old disk has it.
fn differing(plan: &Value) -> Vec<String> {
    let parts = plan["against"]["differ"].as_array().unwrap().iter();
    let parts = parts.map(|one| one["part"].as_str().unwrap().to_owned());
    parts.filter(|part| part.starts_with("layer ")).collect()
}

/// Checks a disk, and answers what its container's root holds.
fn contents(disk: &Path) -> Listing {
    let output = i2kit().arg("verify").arg(disk).output().unwrap();
    succeeded(&output);
    // Our own reader goes over all folders, too.
    let store = format!("{}:store", disk.display());
    succeeded(&i2kit().args(["ls", "-R", &store]).output().unwrap());
    listing::of(&Mount::store(disk).path().join("containers/app"))
}

fn inputs(disk: &Path) -> Value {
    inspected(disk)["inputs"].clone()
}

fn like(old: &Path) -> [String; 2] {
    ["--place-like".to_owned(), old.display().to_string()]
}

fn words(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

/// The layer before the last grows: it goes behind, and its hole stays.
#[test]
fn layers_that_an_old_disk_has_keep_their_place() {
    let shop = Shop::new();
    shop.image(&[layer(1), noise(2, 3 << 20), layer(3)]);
    let old = shop.build("old.raw", &[]);
    shop.image(&[layer(1), noise(2, 4 << 20), layer(3)]);
    let before = shop.plan(&old, &[]);
    assert_eq!(differing(&before).len(), 2, "{before:#}");
    let flags = like(&old);
    let plan = shop.plan(&old, &words(&flags));
    let [new] = &differing(&plan)[..] else {
        panic!("{plan:#}")
    };
    let (places, was) = (offsets(&plan, "layer "), offsets(&before, "layer "));
    assert_eq!(places.len(), 4);
    assert!(places[new] > was[new], "{plan:#}");
    assert_eq!(offsets(&plan, "hole").len(), 1, "{plan:#}");

    let disk = shop.build("new.raw", &words(&flags));
    let plain = shop.build("plain.raw", &[]);
    let (kept, plain) = (contents(&disk), contents(&plain));
    assert!(kept == plain && kept.len() > 40);
    // From the disk alone, without its record, the same comes out.
    let bytes = fs::read(&disk).unwrap();
    for file in ["old.raw.i2kit.json", "new.raw", "new.raw.i2kit.json"] {
        fs::remove_file(shop.small.path(file)).unwrap();
    }
    assert!(fs::read(shop.build("new.raw", &words(&flags))).unwrap() == bytes);
    let record = inputs(&disk);
    let kept = record["place_like"]["layers"].as_object().unwrap();
    assert_eq!(kept.len(), 3, "{record:#}");
    for (diff_id, place) in kept {
        assert_eq!(record["layers"][diff_id], *place);
    }
    // The hole is there the next time, too, and the layer that goes back fits it.
    shop.image(&[layer(1), noise(2, 3 << 20), layer(3)]);
    let plan = shop.plan(&disk, &words(&like(&disk)));
    assert_eq!(offsets(&plan, "hole").len(), 0, "{plan:#}");
    assert_eq!(differing(&plan).len(), 1, "{plan:#}");
}

#[test]
fn a_layer_that_shrinks_takes_its_own_hole() {
    let shop = Shop::new();
    shop.image(&[layer(1), noise(2, 3 << 20), layer(3)]);
    let old = shop.build("old.raw", &[]);
    shop.image(&[layer(1), noise(7, 2 << 20), layer(3)]);
    let plan = shop.plan(&old, &words(&like(&old)));
    assert_eq!(differing(&plan).len(), 1, "{plan:#}");
    let hole = offsets(&plan, "hole")["hole"];
    let new = offsets(&plan, "layer ")[&differing(&plan)[0]];
    assert_eq!(hole, new + (4 << 19), "{plan:#}");
}

#[test]
fn too_many_holes_are_not_kept_and_what_is_no_disk_is_refused() {
    let shop = Shop::new();
    shop.image(&[noise(1, 12 << 20), noise(2, 3 << 20)]);
    let old = shop.build("old.raw", &[]);
    shop.image(&[noise(2, 3 << 20)]);
    let plan = shop.plan(&old, &words(&like(&old)));
    let none = shop.plan(&old, &[]);
    assert_eq!(offsets(&plan, "hole").len(), 0, "{plan:#}");
    assert_eq!(offsets(&plan, "layer "), offsets(&none, "layer "));

    let no_disk = shop.small.path("pod.yaml");
    let mut command = shop.command("build");
    command
        .args(like(&no_disk))
        .arg("-o")
        .arg(shop.small.path("x.raw"));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("error: place layers like those of "),
        "{text}"
    );
    assert!(text.contains("hint: it must be a raw disk"), "{text}");
}

/// A partition that keeps its start keeps it when the disk is signed, too.
#[test]
fn partitions_keep_their_starts_and_signing_afterwards_changes_nothing() {
    let shop = Shop::new();
    let old = shop.build("old.raw", &[]);
    let record = shop.small.path("old.raw.i2kit.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    let partitions = json["partitions"].as_array_mut().unwrap();
    let moved: Vec<u64> = partitions
        .iter_mut()
        .map(|one| {
            let offset = one["offset"].as_u64().unwrap();
            let offset = if offset > 1 << 20 {
                offset + (1 << 20)
            } else {
                offset
            };
            one["offset"] = json!(offset);
            offset
        })
        .collect();
    fs::write(&record, json.to_string()).unwrap();
    let flags = like(&record);
    let disk = shop.build("new.raw", &words(&flags));
    let report = inspected(&disk);
    let starts = report["partitions"].as_array().unwrap().iter();
    let starts: Vec<u64> = starts.map(|one| one["offset"].as_u64().unwrap()).collect();
    assert_eq!(starts, moved);
    assert_ne!(fs::read(&old).unwrap(), fs::read(&disk).unwrap());

    let fixture =
        |name: &str| format!("{}/fixtures/secure-boot/{name}", env!("CARGO_MANIFEST_DIR"));
    let (key, certificate) = (fixture("key.pem"), fixture("cert.pem"));
    let sign = ["--sign-key", &key, "--sign-cert", &certificate];
    let signed = shop.build("signed.raw", &[&words(&flags)[..], &sign].concat());
    succeeded(&i2kit().arg("sign").arg(&disk).args(sign).output().unwrap());
    assert!(fs::read(signed).unwrap() == fs::read(disk).unwrap());
}

/// Layers with files that others replace and delete, and many small ones that go away together.
fn wasteful() -> Vec<Vec<u8>> {
    let mut random = Random::new(9);
    let mut text = |len: usize| {
        let words = (0..).flat_map(|_| format!("call {:x};\n", random.below(1 << 20)).into_bytes());
        words.take(len).collect::<Vec<u8>>()
    };
    let mut items = vec![
        Item::file("a-replaced", text(1_500_000)),
        Item::file("b-stays", text(700_001)),
        Item::dir("c-deleted"),
    ];
    let small = (0..400).map(|index| Item::file(format!("c-deleted/{index:03}"), text(2_000)));
    items.extend(small);
    items.push(Item::file("d-stays", text(2_000_000)));
    items.push(Item::file("e-deleted", text(600_000)));
    items.push(Item::file("f-stays", text(300_000)));
    let stay = (0..100).map(|index| Item::file(format!("g{index:03}"), text(2_000)));
    items.extend(stay);
    let upper = [
        Item::file("a-replaced", text(100_000)),
        Item::file(".wh.c-deleted", ""),
        Item::file(".wh.e-deleted", ""),
        Item::file("h-same", text(300_000)),
    ];
    vec![archive(&items, Dialect::Pax), archive(&upper, Dialect::Pax)]
}

/// The build's summary.
fn summary(shop: &Shop, disk: &str, more: &[&str]) -> Value {
    let mut command = shop.command("build");
    command.arg("--json").arg("-o").arg(shop.small.path(disk));
    let output = command.args(more).output().unwrap();
    serde_json::from_str(&succeeded(&output)).unwrap()
}

fn sum(summary: &Value, what: &str) -> u64 {
    let layers = summary["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer[what].as_u64().unwrap()).sum()
}

#[test]
fn compacting_leaves_out_what_no_file_has_and_nothing_else() {
    let shop = Shop::new();
    shop.image(&wasteful());
    for how in [
        "none",
        "lz4,cluster=64K",
        "zstd,cluster=64K",
        "zstd:1,cluster=4K,dedupe",
    ] {
        let compression = ["--compression", how];
        let compact = [&compression[..], &["--compact"]].concat();
        let plain = summary(&shop, "plain.raw", &compression);
        let made = summary(&shop, "compact.raw", &compact);
        assert_eq!(sum(&plain, "dropped"), 0);
        assert_eq!(sum(&made, "dead"), 0);
        let (dead, dropped) = (sum(&plain, "dead"), sum(&made, "dropped"));
        // Slabs are whole, and padding goes away with what is dead.
        assert!(
            dropped + (1 << 19) > dead && dead > 500_000,
            "{how}: {dead} {dropped}"
        );
        assert_eq!(sum(&plain, "size") - sum(&made, "size"), dropped);
        let (disk, other) = (shop.small.path("compact.raw"), shop.small.path("plain.raw"));
        let (ours, plain) = (contents(&disk), contents(&other));
        assert!(ours == plain && ours.len() == 105, "{how}: {}", ours.len());
        assert_eq!(inputs(&disk)["compact"], true);
        // From a cold cache on one processor, too.
        let bytes = fs::read(&disk).unwrap();
        fs::remove_file(&disk).unwrap();
        let cold = shop.small.path(&format!("cold-{how}"));
        let cold = ["-j1", "--cache-dir", cold.to_str().unwrap()];
        let mut command = shop.command("build");
        // The flag may be given once only.
        let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let at = words.iter().position(|word| word == "--cache-dir").unwrap();
        command = i2kit();
        command.args(&words[..at]).args(&words[at + 2..]).args(cold);
        command.env("RAYON_NUM_THREADS", "1").args(&compact);
        succeeded(&command.arg("-o").arg(&disk).output().unwrap());
        assert!(fs::read(&disk).unwrap() == bytes, "{how}");
    }
}

#[test]
fn a_compacted_layer_keeps_its_place_while_the_same_is_dead() {
    let shop = Shop::new();
    let mut layers = wasteful();
    shop.image(&layers);
    let old = shop.build("old.raw", &["--compact"]);
    layers.insert(0, noise(5, 1 << 20));
    shop.image(&layers);
    let flags = [&like(&old)[..], &["--compact".to_owned()]].concat();
    let plan = shop.plan(&old, &words(&flags));
    assert_eq!(differing(&plan).len(), 1, "{plan:#}");
    assert_eq!(offsets(&plan, "layer ").len(), 4, "{plan:#}");
}

/// Compacted slabs are made of others, which are checked first.
#[test]
fn an_altered_layer_is_never_compacted() {
    let shop = Shop::new();
    shop.image(&wasteful());
    let flags = ["--compact", "--compression", "none"];
    let good = shop.build("good.raw", &flags);
    let layers = fs::read_dir(shop.small.path("cache/v1/layers"));
    let mut altered = 0;
    for layer in layers.into_iter().flatten() {
        let path = layer.unwrap().path().join("data");
        let mut bytes = fs::read(&path).unwrap_or_default();
        // The layer below: what is its own lies before what was deleted.
        if bytes.len() > 5 << 20 {
            bytes[1_500_000 + 300_000] ^= 1;
            fs::write(&path, bytes).unwrap();
            altered += 1;
        }
    }
    assert_eq!(altered, 1);
    let mut command = shop.command("build");
    let disk = shop.small.path("again.raw");
    let output = command.args(flags).arg("-o").arg(&disk).output().unwrap();
    succeeded(&output);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("was altered in the cache; converting the layer again"),
        "{text}"
    );
    assert!(fs::read(good).unwrap() == fs::read(disk).unwrap());
}
