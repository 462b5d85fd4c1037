//! A folder's entries with all that a file system says of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};

use super::samples::oracle;
use super::{inspected, output_of};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `file SHA256`, `dir`, `link TARGET`, `char 1:3`, …
    pub what: String,
    /// With the type's bits masked away.
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, i64),
    pub size: u64,
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// The first path of the same inode, when it has several.
    pub same_as: Option<String>,
}

/// Entries by their escaped path, the root left out.
pub type Listing = BTreeMap<String, Entry>;

/// Lists all below `root`.
pub fn of(root: &Path) -> Listing {
    let mut paths = Vec::new();
    collect(root, &mut paths);
    paths.sort();
    let mut seen = BTreeMap::new();
    let mut listing = Listing::new();
    for path in paths {
        let name = escaped(path.strip_prefix(root).unwrap());
        let mut entry = entry(&path);
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.nlink() > 1 && !metadata.is_dir() {
            let first = seen.entry(metadata.ino()).or_insert_with(|| name.clone());
            entry.same_as = Some(first.clone());
        }
        listing.insert(name, entry);
    }
    listing
}

fn collect(folder: &Path, paths: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), paths);
        }
        paths.push(entry.path());
    }
}

pub fn escaped(path: &Path) -> String {
    path.as_os_str().as_bytes().escape_ascii().to_string()
}

fn entry(path: &Path) -> Entry {
    let metadata = fs::symlink_metadata(path).unwrap();
    let kind = metadata.file_type();
    let (major, minor) = device(metadata.rdev());
    let what = if kind.is_file() {
        format!("file {}", sha256(path))
    } else if kind.is_dir() {
        "dir".to_owned()
    } else if kind.is_symlink() {
        format!("link {}", escaped(&fs::read_link(path).unwrap()))
    } else if kind.is_char_device() {
        format!("char {major}:{minor}")
    } else if kind.is_block_device() {
        format!("block {major}:{minor}")
    } else {
        assert!(kind.is_fifo(), "{}", path.display());
        "fifo".to_owned()
    };
    let has_size = kind.is_file() || kind.is_symlink();
    Entry {
        what,
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        size: if has_size { metadata.len() } else { 0 },
        xattrs: xattrs(path),
        same_as: None,
    }
}

/// glibc's `gnu_dev_major` and `gnu_dev_minor`.
fn device(number: u64) -> (u64, u64) {
    let major = number >> 32 & 0xffff_f000 | number >> 8 & 0xfff;
    let minor = number >> 12 & 0xffff_ff00 | number & 0xff;
    (major, minor)
}

fn sha256(path: &Path) -> String {
    let (mut file, mut hash) = (fs::File::open(path).unwrap(), Sha256::new());
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => break,
            got => hash.update(&buffer[..got]),
        }
    }
    hex::encode(hash.finalize())
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    xattr::list(path)
        .unwrap()
        .map(|name| {
            let value = xattr::get(path, &name).unwrap().unwrap_or_default();
            (name.to_string_lossy().into_owned(), value)
        })
        .collect()
}

/// A file system in a file, mounted until dropped.
pub struct Mount {
    folder: tempfile::TempDir,
}

impl Mount {
    /// Mounts the store of a disk, which `fsck.erofs` must find sound.
    pub fn store(disk: &Path) -> Self {
        let offset = store_offset(disk);
        let partition = tempfile::NamedTempFile::new().unwrap();
        copy_from(disk, offset, partition.path());
        let text = output_of(&oracle("fsck.erofs"), &[partition.path().to_str().unwrap()]);
        // Version 1.5 exits with 0 whatever it finds; what it prints tells.
        assert_eq!(text, "");
        Self::erofs(disk, offset)
    }

    /// Mounts the EROFS at `offset` bytes of `image`.
    pub fn erofs(image: &Path, offset: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args(["-t", "erofs", "-o"])
            .arg(format!("ro,loop,offset={offset}"))
            .args([image, folder.path()])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "mount: {error} (root is needed)");
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.folder.path()).status();
    }
}

fn store_offset(disk: &Path) -> u64 {
    inspected(disk)["partitions"][1]["offset"].as_u64().unwrap()
}

/// The rest of `from`, from `offset` on.
fn copy_from(from: &Path, offset: u64, to: &Path) {
    let (input, output) = (
        format!("if={}", from.display()),
        format!("of={}", to.display()),
    );
    let skip = format!("skip={offset}");
    let flags = ["bs=1M", "iflag=skip_bytes", "conv=sparse", "status=none"];
    output_of("dd", &[&[&input[..], &output, &skip][..], &flags].concat());
}
