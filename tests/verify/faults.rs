//! A byte flipped anywhere on a disk is found, and named.

use i2kit::disk::Blob;
use i2kit::inspect::{self, Known};
use serde_json::Value;

use super::disk::{CERTIFICATE, Disk, position, refused};
use crate::support::random::Random;
use crate::support::small::succeeded;

/// Alters a byte for each case; the message must hold all its words.
fn expect(disk: &Disk, more: &[&str], cases: &[(&[usize], &[&str])]) {
    for (at, words) in cases {
        let error = refused(&disk.altered(at, || disk.verify(more)));
        for word in *words {
            assert!(
                error.contains(word),
                "{at:?} {more:?}: no {word:?} in {error}"
            );
        }
    }
    succeeded(&disk.verify(more));
}

#[test]
fn a_sound_disk_holds_whatever_it_is_compared_with() {
    let disk = Disk::new();
    let record = format!("{}.i2kit.json", disk.path.display());
    let text = succeeded(&disk.verify(&["--key", CERTIFICATE, "--record", &record]));
    for line in [
        "partition table: as it was built\n",
        "ESP: nothing but the UKI\n",
        "UKI: signed by the key of CN=i2kit test\n",
        "store: every block matches the UKI's root hash ",
        "error correction: the store's\n",
        "record: every figure is this disk's\n",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    let json: Value = serde_json::from_str(&succeeded(&disk.verify(&["--json"]))).unwrap();
    assert_eq!(
        (&json["fec"], &json["record"]),
        (&Value::Bool(true), &Value::Bool(false))
    );
    assert!(json["inodes"].as_u64().unwrap() > 120, "{json}");
}

#[test]
fn damage_to_the_partition_table_and_the_esp_is_named() {
    let disk = Disk::new();
    let end = disk.bytes.len();
    let esp = disk.partition("esp");
    let [first, second, root, clusters] = disk.fat();
    let table = "verify disk: partition table";
    expect(
        &disk,
        &[],
        &[
            (&[440], &[table, "protective MBR (byte 440 of the disk)"]),
            (&[450], &[table, "protective MBR"]),
            (&[512 + 60], &[table, "primary header"]),
            (&[700], &[table, "primary header"]),
            (&[1024 + 128 + 20], &[table, "primary entry 2 (store)"]),
            (&[1024 + 128 * 9], &[table, "primary entry 10 (unused)"]),
            (&[40 * 512], &[table, "room that no partition has"]),
            (&[end - 512 + 10], &[table, "backup header"]),
            (&[end - 33 * 512], &[table, "backup entry 1 (esp)"]),
            (&[end - (1 << 19)], &[table, "room that no partition has"]),
            (
                &[512 + 60, end - 512 + 60],
                &["read GPT: primary: header CRC32", "backup: header CRC32"],
            ),
            (&[esp.start + 4], &["esp, boot sector"]),
            (
                &[esp.start + 510],
                &["read ESP: read FAT16: no boot sector"],
            ),
            (&[esp.start + 14], &["ESP"]),
            (&[second - 1], &["esp, first FAT"]),
            (&[first + 4], &["read ESP", "cluster chain"]),
            (&[second + 9], &["esp, second FAT"]),
            (&[root + 31], &["esp, root directory"]),
            (&[clusters - 1], &["esp, root directory"]),
            (&[clusters + 14], &["esp, directories or unused clusters"]),
            (&[esp.end - 1], &["esp"]),
        ],
    );
}

#[test]
fn damage_to_the_uki_is_named_by_section_where_there_is_a_record() {
    let disk = Disk::new();
    let record = format!("{}.i2kit.json", disk.path.display());
    let record = ["--record", record.as_str()];
    let sections = disk.sections();
    for name in [".text", ".osrel", ".cmdline", ".uname", ".initrd", ".linux"] {
        assert!(
            sections.iter().any(|(section, _)| section == name),
            "{sections:?}"
        );
    }
    let uki = disk.uki();
    for (name, at) in &sections {
        let words = [
            "verify disk: esp, file EFI/BOOT/BOOTX64.EFI, ",
            name.as_str(),
        ];
        expect(&disk, &record, &[(&[*at], &words)]);
        // In the middle of the command line stands the root hash.
        let words: &[&str] = match name.as_str() {
            ".cmdline" => &[],
            _ => &["BOOTX64.EFI", "altered"],
        };
        expect(&disk, &[], &[(&[*at], words)]);
        let signature = ["verify UKI: it was altered"];
        expect(&disk, &["--key", CERTIFICATE], &[(&[*at], &signature)]);
    }
    expect(
        &disk,
        &record,
        &[
            // A header that nothing reads, the signature's last byte, the magic number.
            (&[uki.start + 30], &["BOOTX64.EFI", "altered"]),
            (&[uki.end - 10], &["BOOTX64.EFI", "altered"]),
            (&[uki.start], &["BOOTX64.EFI, section headers"]),
        ],
    );
}

#[test]
fn damage_to_the_store_is_named_by_file_and_layer() {
    let disk = Disk::new();
    let record = format!("{}.i2kit.json", disk.path.display());
    let record = ["--record", record.as_str()];
    let (store, metadata) = (disk.partition("store"), disk.metadata());
    let verity = disk.partition("store-verity");
    let fec = disk.partition("store-fec");
    let large = disk.data_of("containers/image/large1");
    let block = format!("block {}", (large - store.start) / 4096);
    let name = store.start
        + position(
            &disk.bytes[store.clone()],
            format!("name-{:055}", 3).as_bytes(),
        );
    expect(
        &disk,
        &record,
        &[
            (
                &[store.start + 1030],
                &["verify disk: store", "superblock, block 0"],
            ),
            (&[store.start + 3000], &["verify disk: store", "block 0"]),
            (
                &[large],
                &[
                    "store, layer sha256:",
                    "file /containers/image/large1, data",
                    &block,
                ],
            ),
            (
                &[disk.data_of("pod.json")],
                &["store, file /pod.json, data, block"],
            ),
            (
                &[disk.data_of("inputs.json")],
                &["store, file /inputs.json, data"],
            ),
            (
                &[disk.data_of("sbom.spdx.json")],
                &["store, file /sbom.spdx.json"],
            ),
            (&[metadata + 40], &["store, file /", "inode, block"]),
            (
                &[name],
                &["store, file /containers/image/names, directory entries, block"],
            ),
            (&[verity.start + 20], &["store-verity, superblock, block 0"]),
            (&[verity.start + 45], &["store-verity, superblock, block 0"]),
            (&[verity.start + 4096], &["store-verity, level 1, block 1"]),
            (
                &[verity.start + 8192 + 3],
                &["store-verity, level 0, block 2"],
            ),
            (&[verity.end - 1], &["store-verity, past its end"]),
            (&[fec.start + 4097], &["store-fec, block 1 "]),
            (&[fec.end - 1], &["store-fec, past its end"]),
        ],
    );
    let json = disk.altered(&[large], || disk.verify(&["--json"]));
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["fault"]["part"], "store");
    assert_eq!(json["fault"]["file"], "/containers/image/large1");
    assert_eq!(json["fault"]["offset"], large as u64 / 4096 * 4096);
}

/// No byte of a disk is left out: what is flipped at random is found, too, and its part named.
#[test]
fn a_byte_flipped_anywhere_is_found() {
    let disk = Disk::new();
    let mut random = Random::new(5);
    let check = |bytes: Vec<u8>| inspect::verify(&Blob::bytes(bytes), None, &Known::default());
    check(disk.bytes.clone()).unwrap();
    let parts = ["esp", "store", "store-verity", "store-fec"].map(|name| disk.partition(name));
    for part in parts
        .into_iter()
        .chain(std::iter::once(0..disk.bytes.len()))
    {
        for _ in 0..8 {
            let at = part.start + usize::try_from(random.below(part.len() as u64)).unwrap();
            let mut bytes = disk.bytes.clone();
            bytes[at] ^= 1 << random.below(8);
            let error = check(bytes).unwrap_err().to_string();
            let words = names_of(&disk, at);
            let is_named = words.iter().any(|word| error.contains(word));
            assert!(is_named, "byte {at}, none of {words:?}: {error}");
        }
    }
}

/// What messages call the part at a byte.
fn names_of(disk: &Disk, at: usize) -> &'static [&'static str] {
    let has = |name: &str| disk.partition(name).contains(&at);
    match () {
        () if has("esp") => &["esp", "ESP", "UKI"],
        () if has("store") => &["disk: store,", "read store"],
        () if has("store-verity") => &["disk: store-verity,"],
        () if has("store-fec") => &["disk: store-fec,"],
        () => &["partition table", "GPT"],
    }
}
