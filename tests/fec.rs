//! Tests: `--fec`, whose partition repairs the store.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::Value;

use crate::support::small::Small;
use crate::support::vm::{Bench, Vm, printed};
use crate::support::{inspected, output_of, tool};

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: works}
spec:
  restartPolicy: Never
  containers:
  - {name: works, image: tiny, command: [sh, -c, "echo it works"]}
"#;

/// Offset and size of a partition.
fn partition(report: &Value, name: &str) -> (u64, u64) {
    let partitions = report["partitions"].as_array().unwrap();
    let one = partitions.iter().find(|one| one["name"] == name).unwrap();
    (
        one["offset"].as_u64().unwrap(),
        one["size"].as_u64().unwrap(),
    )
}

/// Overwrites a whole block of a partition.
fn damage(disk: &Path, report: &Value, name: &str, block: u64) {
    let file = fs::File::options().write(true).open(disk).unwrap();
    let at = partition(report, name).0 + block * 4096;
    file.write_all_at(&[0xa5; 4096], at).unwrap();
}

#[test]
fn veritysetup_repairs_with_the_disks_partition_and_the_rest_stays_in_its_place() {
    let bench = Bench::new();
    let plain = inspected(&bench.build(POD, "plain.raw", &[]));
    assert_eq!(plain["partitions"].as_array().unwrap().len(), 3);
    assert!(!plain["cmdline"].as_str().unwrap().contains("i2kit.fec"));
    for roots in ["2", "5"] {
        let disk = bench.build(POD, "disk.raw", &[&format!("--fec={roots}")]);
        let report = inspected(&disk);
        assert_eq!(report["inputs"]["fec"].to_string(), roots);
        for name in ["esp", "store", "store-verity"] {
            assert_eq!(partition(&report, name), partition(&plain, name));
        }
        let damaged = 77;
        damage(&disk, &report, "store", damaged);
        let part = |name: &str| {
            let (offset, size) = partition(&report, name);
            let mut bytes = vec![0; usize::try_from(size).unwrap()];
            let file = fs::File::open(&disk).unwrap();
            file.read_exact_at(&mut bytes, offset).unwrap();
            fs::write(bench.path(name), bytes).unwrap();
            bench.path(name).display().to_string()
        };
        let (data, hash, fec) = (part("store"), part("store-verity"), part("store-fec"));
        let root = report["root_hash"].as_str().unwrap();
        let plain = tool("veritysetup", &["verify", &data, &hash, root]);
        assert!(!plain.status.success());
        let (device, roots) = (
            format!("--fec-device={fec}"),
            format!("--fec-roots={roots}"),
        );
        let out = output_of(
            "veritysetup",
            &["verify", &data, &hash, root, &device, &roots],
        );
        assert!(out.contains("repair"), "{out}");
    }
}

/// The parts of the command line's word.
fn word(report: &Value) -> Vec<String> {
    let line = report["cmdline"].as_str().unwrap();
    let word = line
        .split(' ')
        .find_map(|word| word.strip_prefix("i2kit.fec="));
    word.unwrap().split(':').map(str::to_owned).collect()
}

/// Damages a block in nearly every code word, all over the store but where `i2kit run` reads the
/// contract, and the top of the hash tree, without which nothing can be read.
fn damage_each_word(disk: &Path, report: &Value) {
    let word = word(report);
    let (roots, covered): (u64, u64) = (word[1].parse().unwrap(), word[2].parse().unwrap());
    let rounds = covered.div_ceil(255 - roots);
    let data = covered - (partition(report, "store-verity").1 / 4096 - 1);
    let mut damaged = 0;
    for number in 1..rounds {
        let block = number * (2 * rounds + 1);
        // Once for each word: the hash tree's top has one, too.
        if block < data * 4 / 5 && number != data % rounds {
            damage(disk, report, "store", block);
            damaged += 1;
        }
    }
    assert!(damaged + 3 > rounds.min(90), "{damaged} of {rounds}");
    damage(disk, report, "store-verity", 1);
}

#[test]
fn a_guest_repairs_its_store_and_does_without_when_the_partition_is_lost() {
    let bench = Bench::new();
    let disk = bench.build(POD, "disk.raw", &["--fec"]);
    let report = inspected(&disk);
    damage_each_word(&disk, &report);
    let lost = bench.path("lost.raw");
    fs::copy(&disk, &lost).unwrap();
    let (code, console) = Vm::boot(&disk, &[]).end();
    assert_eq!(code, 0, "{console}");
    assert_eq!(printed(&console, "works"), ["it works"], "{console}");

    output_of("sgdisk", &["--delete=4", lost.to_str().unwrap()]);
    let (code, console) = Vm::boot(&lost, &[]).end();
    assert_eq!(code, 70, "{console}");
    assert!(
        console.contains("going on without error correction"),
        "{console}"
    );
}

#[test]
fn a_kernel_that_cannot_repair_is_told_at_build_time() {
    let small = Small::new();
    let output = small
        .build("cache", "disk.raw")
        .arg("--fec")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let expected =
        "use --fec: the base's kernel has no CONFIG_DM_VERITY_FEC\nhint: leave --fec out";
    assert!(text.contains(expected), "{text}");
    let output = small
        .build("cache", "disk.raw")
        .arg("--fec=1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}
