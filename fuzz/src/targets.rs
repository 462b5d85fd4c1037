//! What is called with any bytes: it answers or refuses, and ends.

use std::fs;
use std::io::Read;

use i2kit::layer::tar::Reader;
use i2kit::manifest::{Input, load};
use i2kit::oci::{Environment, LayoutSource, Platform, Scratch, Source, Sources, TarSplit};
use i2kit_format::{ReadAt, cpio, erofs, fat, gpt, uki, verity};
use sha2::{Digest, Sha256};

/// A target and its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Target; 12] = [
    ("tar", tar),
    ("oci", oci),
    ("archive", archive),
    ("manifest", manifest),
    ("erofs", erofs),
    ("gpt", gpt),
    ("fat", fat),
    ("pe", pe),
    ("cpio", cpio),
    ("verity", verity),
    ("disk", disk),
    ("contract", contract),
];

/// Entries of a tar, their data read.
pub fn tar(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut buffer = [0; 4096];
    while let Ok(Some(header)) = reader.next_entry() {
        let stored: u64 = header.segments.iter().map(|segment| segment.len).sum();
        assert!(header.segments.is_empty() || stored <= header.size);
        while matches!(reader.read_data(&mut buffer), Ok(got) if got > 0) {}
    }
}

/// A layout of up to three documents, NUL between them: index, manifest, config. `@1`, `@2` stand
/// for the digests of the second and the third, `#1`, `#2` for their sizes.
pub fn oci(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let (index, manifest) = (parts.next().unwrap_or(b""), parts.next().unwrap_or(b""));
    let config = parts.next().unwrap_or(b"");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let blobs = folder.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a folder for blobs");
    let put = |bytes: &[u8]| {
        let name = hex::encode(Sha256::digest(bytes));
        fs::write(blobs.join(&name), bytes).expect("a blob");
        (format!("sha256:{name}"), bytes.len().to_string())
    };
    let fill = |text: &[u8], number: char, blob: &(String, String)| {
        let text = String::from_utf8_lossy(text);
        let text = text.replace(&format!("@{number}"), &blob.0);
        text.replace(&format!("\"#{number}\""), &blob.1)
    };
    let config = put(config);
    let manifest = put(fill(manifest, '2', &config).as_bytes());
    let index = fill(index, '1', &manifest);
    fs::write(folder.path().join("index.json"), index).expect("an index");
    fs::write(folder.path().join("oci-layout"), "{}").expect("a layout");
    let Ok(reference) = folder.path().display().to_string().parse() else {
        return;
    };
    let source = LayoutSource::new(reference);
    if let Ok(image) = source.image(&Platform::default()) {
        for layer in &image.layers {
            let _ = source.open(layer).map(|mut blob| blob.read(&mut [0; 16]));
        }
    }
}

/// An archive of images of both kinds, and the lines of a tar-split file.
pub fn archive(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("archive");
    fs::write(&file, data).expect("an archive");
    let scratch = Scratch {
        folder: folder.path().to_owned(),
        limit: 1 << 20,
        ..Scratch::default()
    };
    let sources = Sources::new(scratch, Environment::new([], 0, folder.path()));
    for transport in ["docker-archive", "oci-archive"] {
        let source = sources.open(&format!("{transport}:{}", file.display()));
        let Ok(source) = source else { return };
        if let Ok(image) = source.image(&Platform::default()) {
            for layer in &image.layers {
                let _ = source.open(layer).map(|mut blob| blob.read(&mut [0; 16]));
            }
        }
    }
    let lines = Box::new(std::io::Cursor::new(data.to_vec()));
    let mut tar = TarSplit::new(lines, folder.path()).expect("a folder");
    let mut buffer = [0; 4096];
    // A file's line is shorter than the contents that it stands for.
    for _ in 0..1000 {
        match tar.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(first) => {
                let again = tar.read(&mut buffer).expect_err("an error stays one");
                assert_eq!(first.kind(), again.kind());
                return;
            }
        }
    }
}

/// A manifest.
pub fn manifest(data: &[u8]) {
    let input = Input {
        name: "fuzz.yaml".to_owned(),
        bytes: data.to_vec(),
    };
    if let Err(errors) = load(&[input], None) {
        assert!(!errors.to_string().is_empty());
    }
}

/// An EROFS image, every inode of it.
pub fn erofs(data: &[u8]) {
    let Ok(reader) = erofs::Reader::open(data) else {
        return;
    };
    let _ = reader.read_tree();
    let _ = reader.lookup(b"a/b/../c");
    let mut seen = std::collections::BTreeSet::new();
    let mut pending: Vec<_> = reader.root().into_iter().collect();
    let mut buffer = vec![0; 8192];
    while let Some(inode) = pending.pop() {
        let _ = (
            reader.xattrs(&inode),
            reader.extents(&inode),
            reader.read_link(&inode),
        );
        for offset in [0, inode.size.saturating_sub(10), u64::MAX] {
            let _ = reader.read_file_at(&inode, &mut buffer, offset);
        }
        for entry in reader.read_dir(&inode).into_iter().flatten() {
            if seen.insert(entry.nid) {
                pending.extend(reader.inode(entry.nid));
            }
        }
    }
}

/// A partition table.
pub fn gpt(data: &[u8]) {
    if let Ok(table) = gpt::read(data) {
        for partition in &table.partitions {
            assert!(partition.first_lba <= partition.last_lba);
            let _ = (partition.offset(), partition.size());
        }
    }
}

/// A FAT16 volume.
pub fn fat(data: &[u8]) {
    if let Ok(volume) = fat::read(data) {
        for entry in &volume.entries {
            let len: u64 = entry.extents.iter().map(|extent| extent.len).sum();
            assert_eq!(len, entry.size);
            let end = |extent: &fat::Extent| extent.offset + extent.len;
            assert!(
                entry
                    .extents
                    .iter()
                    .all(|extent| end(extent) <= data.len() as u64)
            );
        }
    }
}

/// A PE file, as a UKI and as the stub of one.
pub fn pe(data: &[u8]) {
    let _ = uki::read(data);
    if let Ok(made) = uki::assemble(data, &[(".cmdline", b"x"), (".linux", b"kernel")]) {
        let image = uki::read(&made).expect("what was made can be read");
        assert!(image.section(".linux").is_some());
    }
}

/// A cpio archive.
pub fn cpio(data: &[u8]) {
    if let Ok(entries) = cpio::read(data) {
        assert!(
            entries
                .iter()
                .all(|entry| data.get(entry.data.clone()).is_some())
        );
    }
}

/// A hash tree over the first half of the data.
pub fn verity(data: &[u8]) {
    let _ = verity::Superblock::parse(data);
    let half = data.len() / 8192 * 4096;
    if let Some((first, second)) = data.split_at_checked(half) {
        let _ = verity::verify(&first.to_vec(), &second.to_vec(), &[0; 32]);
    }
}

/// A whole disk.
pub fn disk(data: &[u8]) {
    let disk = data.to_vec();
    let _ = i2kit::inspect::inspect(&disk as &dyn ReadAt, true);
    let _ = i2kit::inspect::contract(&disk);
    for path in ["", "esp/EFI", "store/containers", "uki"] {
        let _ = i2kit::inspect::list(&disk, path, true);
    }
}

/// `pod.json`, as the guest reads it.
pub fn contract(data: &[u8]) {
    if let Ok(contract) = i2kit_contract::Contract::from_json(data) {
        let json = contract.to_json().expect("what was read can be written");
        let again = i2kit_contract::Contract::from_json(&json).expect("and read again");
        assert_eq!(contract, again);
    }
}
