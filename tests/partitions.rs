//! Tests: the disk's partitions, as the Discoverable Partitions Specification (DPS) and UEFI want
//! them and as other projects' tools see them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::vm::Bench;
use crate::support::{output_of, tool};

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;

fn disk(bench: &Bench) -> PathBuf {
    let disk = bench.path("disk.raw");
    let mut command = bench.command("build");
    command.args(["--from", "tiny", "-o"]).arg(&disk);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    disk
}

fn sfdisk(disk: &Path) -> Value {
    // A damaged first table is a line of its error output.
    let output = tool("sfdisk", &["--json", disk.to_str().unwrap()]);
    assert!(output.status.success());
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["partitiontable"].take()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// Copies a partition out; answers where to.
fn copy_out(bench: &Bench, disk: &Path, partition: &Value) -> String {
    let mut bytes = vec![0; usize::try_from(number(&partition["size"]) * SECTOR).unwrap()];
    let start = number(&partition["start"]) * SECTOR;
    File::open(disk)
        .unwrap()
        .read_exact_at(&mut bytes, start)
        .unwrap();
    let path = bench.path(partition["name"].as_str().unwrap());
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The value behind `Key:` in a tool's output.
fn field<'t>(text: &'t str, key: &str) -> &'t str {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_else(|| panic!("no {key:?} in {text}"))
        .trim()
}

/// The root hash as `veritysetup` computes it from the store alone.
fn root_hash(bench: &Bench, store: &str, verity: &str) -> String {
    let superblock = output_of("veritysetup", &["dump", verity]);
    let blocks = format!("--data-blocks={}", field(&superblock, "Data blocks:"));
    let again = bench.path("again");
    std::fs::write(&again, b"").unwrap();
    let again = again.to_str().unwrap();
    let made = output_of(
        "veritysetup",
        &["format", "--salt=-", &blocks, store, again],
    );
    field(&made, "Root hash:").to_owned()
}

/// 32 hex digits as a GUID's text.
fn guid(digits: &str) -> String {
    let (a, b, c, d, e) = (
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..32],
    );
    format!("{a}-{b}-{c}-{d}-{e}").to_uppercase()
}

#[test]
fn types_ids_flags_and_places_are_those_of_the_specifications() {
    let bench = Bench::new();
    let disk = disk(&bench);
    let verdict = output_of("sgdisk", &["-v", disk.to_str().unwrap()]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    for word in ["Caution", "Warning", "Problem:"] {
        assert!(!verdict.contains(word), "{verdict}");
    }
    let table = sfdisk(&disk);
    let partitions = table["partitions"].as_array().unwrap();
    let [_, store, verity] = partitions.as_slice() else {
        panic!("{table}");
    };
    let (store, verity) = (
        copy_out(&bench, &disk, store),
        copy_out(&bench, &disk, verity),
    );
    let root = root_hash(&bench, &store, &verity);

    // DPS: "Root Partition (amd64/x86_64)", "Root Verity Partition (amd64/x86_64)"; the first and
    // the last 128 bits of the root hash; flag 60 for both.
    let wanted = [
        ("esp", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", None, None),
        (
            "store",
            "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
            Some(guid(&root[..32])),
            Some("GUID:60"),
        ),
        (
            "store-verity",
            "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5",
            Some(guid(&root[32..])),
            Some("GUID:60"),
        ),
    ];
    let mut end = MIB;
    for (partition, (name, kind, id, flags)) in partitions.iter().zip(wanted) {
        assert_eq!(partition["name"], name);
        assert_eq!(partition["type"], kind, "{name}");
        assert_eq!(partition["attrs"].as_str(), flags, "{name}");
        if let Some(id) = id {
            assert_eq!(partition["uuid"], id, "{name}");
        }
        let start = number(&partition["start"]) * SECTOR;
        assert_eq!(start, end, "{name}");
        end = start + number(&partition["size"]) * SECTOR;
        assert!(end.is_multiple_of(MIB), "{name} ends at {end}");
    }
    // What the guest gives to the scratch partition later starts there.
    let len = std::fs::metadata(&disk).unwrap().len();
    assert_eq!(len, end + MIB);
}

/// `systemd-dissect` takes a root hash only where both ids derive from it.
#[test]
fn systemd_finds_root_and_verity_by_the_root_hash() {
    let bench = Bench::new();
    let disk = disk(&bench);
    let path = disk.to_str().unwrap();
    let table = sfdisk(&disk);
    let hex = |index: usize| {
        let id = table["partitions"][index]["uuid"].as_str().unwrap();
        id.replace('-', "").to_lowercase()
    };
    let root = hex(1) + &hex(2);
    let dissect = |root: &str| {
        let hash = format!("--root-hash={root}");
        tool("systemd-dissect", &["--json=short", &hash, path])
    };
    let found = dissect(&root);
    let error = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success(), "{error}");
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(found["useBootableUefi"], true);
    let seen: Vec<[Value; 5]> = found["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| {
            ["designator", "rw", "fstype", "architecture", "verity"].map(|key| mount[key].clone())
        })
        .collect();
    let null = Value::Null;
    let text = |text: &str| Value::from(text);
    assert_eq!(
        seen,
        [
            [
                text("root"),
                text("ro"),
                text("erofs"),
                text("x86-64"),
                text("yes")
            ],
            [
                text("esp"),
                text("rw"),
                text("vfat"),
                null.clone(),
                null.clone()
            ],
            [
                text("root-verity"),
                text("ro"),
                text("DM_verity_hash"),
                text("x86-64"),
                null
            ],
        ]
    );
    // A digit of either half.
    for at in [0, 63] {
        let mut other = root.clone();
        let digit = if &root[at..=at] == "0" { "1" } else { "0" };
        other.replace_range(at..=at, digit);
        assert!(!dissect(&other).status.success(), "{other}");
    }
}

#[test]
fn the_backup_table_stands_in_for_the_first_and_the_mbr_covers_all() {
    let bench = Bench::new();
    let disk = disk(&bench);
    let len = std::fs::metadata(&disk).unwrap().len();
    let file = File::options().read(true).write(true).open(&disk).unwrap();
    let mut mbr = [0; 512];
    file.read_exact_at(&mut mbr, 0).unwrap();
    let sectors = u32::try_from(len / SECTOR - 1).unwrap().to_le_bytes();
    // UEFI 2.10, table 5-4: from LBA 1 to the end, and nothing else.
    let record = [
        [0, 0, 2, 0],
        [0xee, 0xff, 0xff, 0xff],
        [1, 0, 0, 0],
        sectors,
    ]
    .concat();
    assert_eq!(mbr[446..462], record);
    assert!(
        mbr[..446]
            .iter()
            .chain(&mbr[462..510])
            .all(|byte| *byte == 0)
    );
    assert_eq!(mbr[510..], [0x55, 0xaa]);

    let mut last = [0; 8];
    file.read_exact_at(&mut last, len - SECTOR).unwrap();
    assert_eq!(&last, b"EFI PART");
    let good = sfdisk(&disk);
    file.write_all_at(&[0; 512], SECTOR).unwrap();
    let report = crate::support::i2kit()
        .arg("inspect")
        .arg(&disk)
        .output()
        .unwrap();
    assert!(
        report.status.success(),
        "{}",
        String::from_utf8_lossy(&report.stderr)
    );
    assert_eq!(sfdisk(&disk), good);
}
