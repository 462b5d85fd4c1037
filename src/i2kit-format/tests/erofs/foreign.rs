//! The reader reads what `mkfs.erofs` wrote: compact inodes, inline data, indexes of 8 bytes.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use i2kit_format::erofs::{FileType, Reader};

use crate::fixture::pattern;

fn source(dir: &Path) {
    fs::create_dir_all(dir.join("sub/deeper")).unwrap();
    for len in [0usize, 1, 4000, 4096, 9000, 200_000] {
        fs::write(dir.join(format!("sub/{len}")), pattern(len as u64, len)).unwrap();
    }
    let mut sparse = vec![0; 1 << 20];
    sparse[700_000..700_100].fill(7);
    fs::write(dir.join("sparse"), sparse).unwrap();
    fs::set_permissions(dir.join("sparse"), fs::Permissions::from_mode(0o4751)).unwrap();
    symlink("sub/4000", dir.join("link")).unwrap();
    fs::hard_link(dir.join("sub/9000"), dir.join("sub/deeper/hard")).unwrap();
    for name in ["sub/1", "sub/4000", "sub/deeper"] {
        xattr::set(dir.join(name), "trusted.shared", b"the same value").unwrap();
        xattr::set(dir.join(name), "trusted.own", name.as_bytes()).unwrap();
    }
}

fn compare<R: i2kit_format::ReadAt + ?Sized>(reader: &Reader<'_, R>, dir: &Path, at: &str) {
    let inode = reader
        .lookup(at.as_bytes())
        .unwrap()
        .unwrap_or_else(|| panic!("{at} is missing"));
    let path = dir.join(at);
    let stat = fs::symlink_metadata(&path).unwrap();
    assert_eq!(u32::from(inode.mode), stat.mode() & 0o7777, "{at}");
    assert_eq!((inode.uid, inode.gid), (stat.uid(), stat.gid()), "{at}");
    assert_eq!(u64::from(inode.nlink), stat.nlink(), "{at}");
    for (name, value) in reader.xattrs(&inode).unwrap() {
        let name = String::from_utf8(name.into()).unwrap();
        assert_eq!(
            xattr::get(&path, &name).unwrap().unwrap(),
            *value,
            "{at}: {name}"
        );
    }
    match inode.file_type {
        FileType::Regular => {
            let mut bytes = vec![0xaa; stat.size() as usize + 1];
            let len = reader.read_file_at(&inode, &mut bytes, 0).unwrap();
            assert!(bytes[..len] == fs::read(&path).unwrap(), "{at}");
            let mut middle = [0; 100];
            let from = stat.size() / 2;
            let len = reader.read_file_at(&inode, &mut middle, from).unwrap();
            assert_eq!(
                middle[..len],
                bytes[from as usize..from as usize + len],
                "{at}"
            );
        }
        FileType::Symlink => {
            let target = fs::read_link(&path).unwrap();
            assert_eq!(
                reader.read_link(&inode).unwrap(),
                target.as_os_str().as_encoded_bytes()
            );
        }
        FileType::Directory => {
            let entries = reader.read_dir(&inode).unwrap();
            assert_eq!(
                entries.len(),
                fs::read_dir(&path).unwrap().count() + 2,
                "{at}"
            );
            for entry in entries
                .iter()
                .filter(|entry| !matches!(&*entry.name, b"." | b".."))
            {
                let name = std::str::from_utf8(&entry.name).unwrap();
                compare(reader, dir, format!("{at}/{name}").trim_start_matches('/'));
            }
        }
        _ => panic!("{at}: {:?}", inode.file_type),
    }
}

fn check(options: &[&str], xattrs: usize) {
    let dir = tempfile::tempdir().unwrap();
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    source(&tree);
    let mut args = options.to_vec();
    let (image_text, tree_text) = (image.to_str().unwrap(), tree.to_str().unwrap());
    args.extend(["--quiet", image_text]);
    let output = crate::tools::run("mkfs.erofs", &args, Path::new(tree_text));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let bytes = fs::read(&image).unwrap();
    let reader = Reader::open(bytes.as_slice()).unwrap();
    compare(&reader, &tree, "");
    let inode = reader.lookup(b"sub/deeper").unwrap().unwrap();
    assert_eq!(reader.xattrs(&inode).unwrap().len(), xattrs);
}

#[test]
fn compact_inodes_with_inline_data_and_shared_attributes() {
    check(&["-T0", "-x1"], 2);
}

#[test]
fn extended_inodes_without_attributes() {
    check(&["-Eforce-inode-extended", "-x-1"], 0);
}

#[test]
fn chunks_with_8_byte_indexes() {
    check(&["--chunksize=4096", "-Eforce-chunk-indexes"], 2);
}

#[test]
fn chunks_with_4_byte_addresses() {
    check(&["--chunksize=65536"], 2);
}

#[test]
fn clusters_that_begin_within_a_block_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    fs::create_dir(&tree).unwrap();
    let text: String = (0..20_000).map(|number| format!("{number} ")).collect();
    fs::write(tree.join("text"), text).unwrap();
    let args = ["-zlz4hc", "-C65536", "--quiet", image.to_str().unwrap()];
    assert!(
        crate::tools::run("mkfs.erofs", &args, &tree)
            .status
            .success()
    );
    let bytes = fs::read(&image).unwrap();
    let reader = Reader::open(bytes.as_slice()).unwrap();
    let inode = reader.lookup(b"text").unwrap().unwrap();
    let error = reader.clusters(&inode).unwrap_err().to_string();
    assert!(error.contains("begins within a block"), "{error}");
    assert!(error.contains("is not supported"), "{error}");
}
