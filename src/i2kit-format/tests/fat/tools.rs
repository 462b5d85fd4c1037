//! `fsck.fat` and mtools read what was written, and what they wrote is read.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use i2kit_format::fat;

use crate::support::{finish, pattern, run, text, write_sparse};
use crate::volume::{directories, one, options, rich, volume};

/// What `fsck.fat` counts: files and folders with the label; clusters in use and in all. Any line
/// more than it prints for a sound volume fails the test.
pub fn fsck(path: &Path) -> (usize, u64, u64) {
    let verdict = text(&run("fsck.fat", &["-n"], path));
    let [_, counts] = verdict.lines().collect::<Vec<_>>()[..] else {
        panic!("{verdict}");
    };
    let counts = counts
        .strip_prefix(&format!("{}: ", path.display()))
        .unwrap();
    let (files, clusters) = counts.split_once(" files, ").unwrap();
    let (used, all) = clusters
        .strip_suffix(" clusters")
        .unwrap()
        .split_once('/')
        .unwrap();
    (
        files.parse().unwrap(),
        used.parse().unwrap(),
        all.parse().unwrap(),
    )
}

fn mtools(program: &str, image: &Path, args: &[&str]) -> String {
    let mut command = Command::new(program);
    command.arg("-i").arg(image).args(args);
    text(&finish(command))
}

/// A file's bytes, found by its path.
pub fn mtype(image: &Path, path: &str) -> Vec<u8> {
    let mut command = Command::new("mcopy");
    // Brackets are a pattern to mtools.
    let pattern = path.replace('[', "\\[").replace(']', "\\]");
    command
        .arg("-i")
        .arg(image)
        .arg(format!("::/{pattern}"))
        .arg("-");
    let output = finish(command);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path}: {error}");
    output.stdout
}

/// All files below `folder`, by their paths in it.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(at) = pending.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
                files.insert(name.to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// All files as mtools copies them out.
pub fn copied_out(image: &Path) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    mtools(
        "mcopy",
        image,
        &["-s", "-n", "::/", folder.path().to_str().unwrap()],
    );
    tree(folder.path())
}

#[test]
fn fsck_and_mtools_accept_and_copy_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("volume");
    let mut files = rich();
    // Beyond 16 bits mtools (4.0.32) makes two characters of a pair.
    files.retain(|path, _| !path.contains('🦀'));
    let bytes = volume(&files, &options());
    std::fs::write(&image, &bytes).unwrap();
    let (entries, _, clusters) = fsck(&image);
    assert_eq!(entries, files.len() + directories(&files).len() + 1);
    let read = fat::read(&bytes).unwrap();
    assert_eq!(clusters, cluster_count(&image, read.cluster_size));
    assert!(copied_out(&image) == files);
    for path in ["EFI/BOOT/BOOTX64.EFI", "efi/boot/bootx64.efi"] {
        assert!(mtype(&image, path) == files["EFI/BOOT/BOOTX64.EFI"]);
    }
}

/// What one is called in full is not what another is called in short: who looks for the one would
/// get the other.
#[test]
fn each_file_is_found_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("volume");
    let names = [
        "AAAAAAAAA",
        "AAAAAA~1",
        "aaaaaa~2",
        "AAAAAAAAAA",
        "aaaaaaaaaaa",
        "AAAAA~10",
        "x.y z",
        "X~1.YZ",
        "x~2.yz",
        "X.YZZZ",
    ];
    let files = names.map(|name| (name.to_owned(), name.as_bytes().to_vec()));
    std::fs::write(&image, volume(&files.clone().into(), &options())).unwrap();
    fsck(&image);
    for (name, data) in files {
        assert_eq!(mtype(&image, &name), data, "{name}");
    }
}

/// `fsck.fat -v` of the geometry: clusters of that size in the data area.
fn cluster_count(image: &Path, size: u32) -> u64 {
    let geometry = text(&run("fsck.fat", &["-n", "-v"], image));
    assert!(
        geometry.contains(&format!("{size} bytes per cluster")),
        "{geometry}"
    );
    assert!(geometry.contains("2 FATs, 16 bit entries"), "{geometry}");
    let line = geometry
        .lines()
        .find(|line| line.contains("data clusters"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn fsck_sees_a_fault_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("volume");
    let mut bytes = volume(&rich(), &options());
    // The second FAT differs from the first.
    let fat = u64::from(u16::from_le_bytes([bytes[14], bytes[15]])) * 512;
    let len = u64::from(u16::from_le_bytes([bytes[22], bytes[23]])) * 512;
    bytes[(fat + len) as usize + 4] ^= 1;
    std::fs::write(&image, &bytes).unwrap();
    assert!(!run("fsck.fat", &["-n"], &image).status.success());
}

#[test]
fn label_serial_and_times_are_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("volume");
    std::fs::write(&image, volume(&rich(), &options())).unwrap();
    assert_eq!(
        mtools("mlabel", &image, &["-s", "::"]).trim(),
        "Volume label is I2KIT-ESP"
    );
    let listing = mtools("mdir", &image, &["-a", "::/EFI/BOOT"]);
    assert!(
        listing.contains("Volume Serial Number is 1234-ABCD"),
        "{listing}"
    );
    let file = listing
        .lines()
        .find(|line| line.starts_with("BOOTX64"))
        .unwrap();
    assert!(file.contains("300000 1980-01-01   0:00"), "{listing}");
}

/// The size that fills a partition, and the largest there is.
#[test]
fn volumes_of_many_sizes_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("volume");
    let mib = 1 << 20;
    for size in [
        1, 2, 3, 7, 8, 15, 16, 17, 32, 64, 100, 255, 256, 257, 511, 512, 1024, 2046,
    ] {
        let files = one("EFI/BOOT/BOOTX64.EFI", size * mib - 700_000);
        let layout = fat::plan(&files, &options()).unwrap();
        assert!(layout.size.is_multiple_of(mib));
        write_sparse(&layout, &image);
        let (entries, used, clusters) = fsck(&image);
        assert_eq!(entries, 4);
        // Hardly larger than it must be.
        let needed = (size * mib).max(3 * mib) + 2 * mib;
        assert!(layout.size <= needed, "{size} MiB: {used}/{clusters}");
    }
}

#[test]
fn a_volume_of_mkfs_and_mtools_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("volume");
    let format = ["-F16", "-s", "1", "-n", "FOREIGN", "-i", "CAFE0001", "-C"];
    let mut command = Command::new("mkfs.fat");
    command.args(format).arg(&image).arg("8192");
    text(&finish(command));
    let source = folder.path().join("source");
    let mut files = BTreeMap::new();
    let mut put = |path: &str, data: Vec<u8>| {
        let target = source.join(path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(&target, &data).unwrap();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if !parent.is_empty() && !files.keys().any(|key: &String| key.starts_with(parent)) {
            mtools("mmd", &image, &[&format!("::/{parent}")]);
        }
        let target = target.to_str().unwrap();
        mtools("mcopy", &image, &[target, &format!("::/{path}")]);
        files.insert(path.to_owned(), data);
    };
    // Names of one case need no long entry there: two bits tell the case.
    put("lower.txt", pattern(1, 3000));
    put("UPPER.txt", pattern(2, 5));
    put("lower.TXT2", pattern(3, 5));
    put("Mixed.Txt", pattern(4, 5));
    put("gone", pattern(5, 4000));
    put("sub/a name with spaces", pattern(6, 600));
    mtools("mdel", &image, &["::/gone"]);
    files.remove("gone");
    // In the room of the one that is gone, and then past what follows it: two runs.
    let data = pattern(7, 9000);
    std::fs::write(source.join("torn"), &data).unwrap();
    mtools(
        "mcopy",
        &image,
        &[source.join("torn").to_str().unwrap(), "::/torn"],
    );
    files.insert("torn".to_owned(), data);

    let bytes = std::fs::read(&image).unwrap();
    let volume = fat::read(&bytes).unwrap();
    assert_eq!(
        (volume.label.as_str(), volume.volume_id),
        ("FOREIGN", 0xcafe_0001)
    );
    assert_eq!((volume.size, volume.cluster_size), (8 << 20, 512));
    let read: BTreeMap<String, Vec<u8>> = volume
        .entries
        .iter()
        .filter(|entry| !entry.directory)
        .map(|entry| (entry.path.clone(), crate::random::content(&bytes, entry)))
        .collect();
    assert_eq!(
        read.keys().collect::<Vec<_>>(),
        files.keys().collect::<Vec<_>>()
    );
    assert!(read == files);
    assert!(volume.entry("torn").unwrap().extents.len() > 1);
    assert!(volume.entry("sub").unwrap().directory);
    let year = 365 * 24 * 3600;
    assert!(volume.entry("TORN").unwrap().mtime > 40 * year);
}
