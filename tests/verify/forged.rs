//! Disks whose hashes all fit, and which hold what i2kit never writes.

use std::fs;
use std::ops::Range;

use i2kit::assemble::place::Like;
use i2kit::assemble::{content_uuid, resign};
use i2kit::disk::Blob;
use i2kit::inspect::{self, Known};
use i2kit_format::erofs::Reader;
use i2kit_format::verity::{self, Superblock, TreeBuilder};
use i2kit_format::{ReadAt as _, SLAB, gpt};

use super::disk::{Disk, position};
use crate::support::small::succeeded;

/// Builds a disk without compression, signature and error correction.
fn plain() -> Disk {
    let disk = Disk::built(&["--compression", "none", "--image-version", "7"]);
    succeeded(&disk.verify(&[]));
    disk
}

/// The disk with its store altered, and with the hash tree, UKI and partition table that a builder
/// gives it.
fn forged(disk: &Disk, alter: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let (store, hash) = (disk.partition("store"), disk.partition("store-verity"));
    let mut bytes = disk.bytes.clone();
    let superblock = Superblock::parse(&bytes[hash.clone()][..4096]).unwrap();
    let data_len = usize::try_from(superblock.data_blocks * 4096).unwrap();
    let data = &mut bytes[store.start..store.start + data_len];
    alter(data);
    let slabs = data.chunks(usize::try_from(SLAB).unwrap());
    let level0: Vec<_> = slabs.map(verity::hash_slab).collect();
    let mut tree = TreeBuilder::new();
    level0.iter().for_each(|block| tree.push(block));
    let upper = tree.finish();
    let superblock = Superblock::new(content_uuid(&upper.root_hash), superblock.data_blocks);
    let tree = [&superblock.to_block(), &*upper.blocks, &level0.concat()].concat();
    bytes[hash.start..hash.start + tree.len()].copy_from_slice(&tree);

    let mut uki = bytes[disk.uki()].to_vec();
    let old = hex::encode(inspect::root_hash(&uki).unwrap());
    let at = position(&uki, old.as_bytes());
    uki[at..at + old.len()].copy_from_slice(hex::encode(upper.root_hash).as_bytes());
    let found = Blob::bytes(bytes);
    let table = gpt::read(&found).unwrap();
    let made = resign::lay_out(&found, &table, uki, upper.root_hash, &Like::default()).unwrap();
    let mut out = vec![0; usize::try_from(made.disk.len()).unwrap()];
    made.disk.read_exact_at(&mut out, 0).unwrap();
    out
}

/// What `verify` says of the disk with its store altered.
fn refusal(disk: &Disk, alter: impl FnOnce(&mut [u8])) -> String {
    let forged = Blob::bytes(forged(disk, alter));
    let verified = inspect::verify(&forged, None, &Known::default());
    verified.unwrap_err().to_string()
}

/// Writes `new` over the only `old`, which is as long, in the range.
fn replace(store: &mut [u8], range: Range<usize>, old: &[u8], new: &[u8]) {
    let within = &mut store[range];
    let at = position(within, old);
    within[at..at + new.len()].copy_from_slice(new);
}

/// CRC-32C of EROFS's superblock: its block from there on, the field itself zero.
fn seal_superblock(store: &mut [u8]) {
    store[1028..1032].fill(0);
    let crc = store[1024..4096].iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 * (crc & 1))
        })
    });
    store[1028..1032].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn a_store_that_is_forged_and_not_altered_holds() {
    let disk = plain();
    assert!(forged(&disk, |_| {}) == disk.bytes);
    // So the damage below is what is refused, and not the forging.
    let same = forged(&disk, seal_superblock);
    assert!(same == disk.bytes);
}

#[test]
fn papers_that_do_not_fit_the_disk_are_named() {
    let disk = plain();
    let metadata = disk.metadata() - disk.partition("store").start;
    for (old, new, words) in [
        (
            r#""kernel_args": []"#,
            r#""kernel_args": 12"#,
            "store, file /inputs.json: kernel_args: ",
        ),
        (
            "\"power-off\",\n  \"containers\"",
            "\"power-of!\",\n  \"containers\"",
            "store, file /pod.json: parse contract: ",
        ),
        (
            "\"power-off\",\n  \"containers\"",
            "\"reboot\"   ,\n  \"containers\"",
            "esp, file EFI/BOOT/BOOTX64.EFI, .cmdline: not what the inputs record gives",
        ),
        (
            r#""image_version": 7"#,
            r#""image_version": 8"#,
            "esp, file EFI/BOOT/BOOTX64.EFI, .osrel: not what the inputs record gives",
        ),
        (
            r#""pod": "image""#,
            r#""pod": "imagf""#,
            "store, file /inputs.json: pod is imagf, should be image",
        ),
        (
            r#""control": false"#,
            r#""control":  true"#,
            "store, file /pod.json: control is false, not what inputs.json says",
        ),
        (
            r#""spdxVersion": "SPDX-2.3""#,
            r#""spdxVersion": "SPDX-9.3""#,
            "store, file /sbom.spdx.json: spdxVersion is SPDX-9.3, should be SPDX-2.3",
        ),
        (
            r#""specVersion": "1.6""#,
            r#""specVersion": "1.5""#,
            "store, file /sbom.cdx.json: specVersion is 1.5, should be 1.6",
        ),
    ] {
        let error = refusal(&disk, |store| {
            replace(store, 0..metadata, old.as_bytes(), new.as_bytes());
        });
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn structures_that_do_not_fit_the_disk_are_named() {
    let disk = plain();
    let start = disk.partition("store").start;
    let metadata = disk.metadata() - start;
    let store = disk.bytes[disk.partition("store")].to_vec();
    let reader = Reader::open(&store).unwrap();
    let inode = |path: &str| {
        let nid = reader.lookup(path.as_bytes()).unwrap().unwrap().nid;
        metadata + usize::try_from(nid * 32).unwrap()
    };
    let (large, names) = (
        inode("containers/image/large2"),
        inode("containers/image/names"),
    );
    let blocks = u32::try_from(store.len() / 4096).unwrap();
    let error = refusal(&disk, |store| {
        store[1060..1064].copy_from_slice(&(blocks + 1).to_le_bytes());
        seal_superblock(store);
    });
    let words = format!(
        "store, superblock: it has {} blocks, the hash tree covers ",
        blocks + 1
    );
    assert!(error.contains(&words), "{error}");

    let name = |number: u32| format!("name-{number:055}").into_bytes();
    let end = store.len();
    type Alter<'a> = &'a dyn Fn(&mut [u8]);
    let cases: [(Alter<'_>, &str); 6] = [
        (
            // The type in `i_mode`.
            &|store| store[large + 5] = 0xf0,
            "store, file /containers/image/large2: ",
        ),
        (
            // `i_size`, past its chunk map.
            &|store| store[large + 11] = 0x40,
            "store, file /containers/image/large2: ",
        ),
        (
            &|store| store[names + 5] = 0xf0,
            "store, file /containers/image/names: ",
        ),
        (
            &|store| replace(store, metadata..end, &name(7), &name(9)),
            "store, file /containers/image/names, directory entries: names are not in order",
        ),
        (
            &|store| replace(store, metadata..end, b"large2", b"lar\0e2"),
            "store, file /containers/image: ",
        ),
        (
            // The first name's inode, behind `.` and `..`, is the directory's own.
            &|store| {
                let first = metadata + position(&store[metadata..], &name(0));
                let nid = first / 4096 * 4096 + 24;
                let own = u64::try_from((names - metadata) / 32).unwrap();
                store[nid..nid + 8].copy_from_slice(&own.to_le_bytes());
            },
            "the directory has another name already",
        ),
    ];
    for (alter, words) in cases {
        let error = refusal(&disk, alter);
        assert!(error.contains(words), "{words}: {error}");
    }
}

/// The table is sound, and a partition is not where the store is.
#[test]
fn a_store_over_its_partition_is_named() {
    let disk = plain();
    let table = gpt::read(&disk.bytes).unwrap();
    let with = |alter: &dyn Fn(&mut Vec<gpt::Partition>)| {
        let mut partitions = table.partitions.clone();
        alter(&mut partitions);
        let lbas = disk.bytes.len() as u64 / 512;
        let table = gpt::write(table.disk_guid, &partitions, lbas).unwrap();
        let mut bytes = disk.bytes.clone();
        bytes[..table.primary.len()].copy_from_slice(&table.primary);
        let backup = bytes.len() - table.backup.len();
        bytes[backup..].copy_from_slice(&table.backup);
        fs::write(&disk.path, &bytes).unwrap();
        super::disk::refused(&disk.verify(&[]))
    };
    let error = with(&|all| all[1].last_lba -= 2048);
    assert!(error.contains("verify disk: "), "{error}");
    let error = with(&|all| all[1].first_lba += 2048);
    assert!(error.contains("verify disk: "), "{error}");
    let error = with(&|all| all[2].last_lba = all[2].first_lba + 7);
    assert!(error.contains("verify disk: "), "{error}");
    let error = with(&|all| drop(all.remove(1)));
    assert!(
        error.contains("find partition store: the disk has none"),
        "{error}"
    );
    let short = &disk.bytes[..disk.partition("store").end - 4096];
    fs::write(&disk.path, short).unwrap();
    let error = super::disk::refused(&disk.verify(&[]));
    assert!(error.contains("it runs past the disk's end"), "{error}");
}
