//! The running kernel mounts what was written, and sees what the tree says.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use i2kit_format::erofs::{Content, Inode, InodeId, Tree};

use crate::fixture::{self, Fixture, metadata};

/// A mounted image, until dropped.
pub struct Mount {
    dir: tempfile::TempDir,
}

impl Mount {
    pub fn new(image: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (file, target) = (dir.path().join("image"), dir.path().join("mnt"));
        fs::write(&file, image).unwrap();
        fs::create_dir(&target).unwrap();
        let output = Command::new("mount")
            .args(["-t", "erofs", "-o", "ro,loop"])
            .args([&file, &target])
            .output()
            .expect("mount must be installed");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "mounting needs root and a kernel with EROFS: {error}"
        );
        Self { dir }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.root()).status();
    }
}

/// Compares every path of the tree with the mount.
struct Comparison<'a> {
    fixture: &'a Fixture,
    /// `st_ino` of each inode.
    numbers: BTreeMap<InodeId, u64>,
    links: BTreeMap<InodeId, u64>,
}

impl<'a> Comparison<'a> {
    fn new(fixture: &'a Fixture) -> Self {
        let mut links = BTreeMap::new();
        count_links(&fixture.tree, Tree::ROOT, &mut links);
        Self {
            fixture,
            numbers: BTreeMap::new(),
            links,
        }
    }

    fn directory(&mut self, id: InodeId, path: &Path) {
        self.entry(id, path);
        let names = self.fixture.tree.directory(id).unwrap();
        let seen: BTreeSet<Vec<u8>> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_vec())
            .collect();
        let wanted: BTreeSet<Vec<u8>> = names.keys().map(|name| name.to_vec()).collect();
        assert_eq!(seen, wanted, "{}", path.display());
        for (name, &child) in names {
            let path = path.join(OsStr::from_bytes(name));
            if self.fixture.tree.directory(child).is_some() {
                self.directory(child, &path);
            } else {
                self.entry(child, &path);
            }
        }
    }

    fn entry(&mut self, id: InodeId, path: &Path) {
        let (shown, inode) = (path.display(), self.fixture.tree.get(id).unwrap());
        let stat = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let metadata = &inode.metadata;
        let (type_bits, rdev) = type_and_rdev(inode);
        assert_eq!(
            stat.mode(),
            type_bits | u32::from(metadata.mode),
            "{shown}: mode"
        );
        assert_eq!(
            (stat.uid(), stat.gid()),
            (metadata.uid, metadata.gid),
            "{shown}: owner"
        );
        let time = (metadata.mtime, i64::from(metadata.mtime_nsec));
        assert_eq!((stat.mtime(), stat.mtime_nsec()), time, "{shown}: mtime");
        assert_eq!(stat.nlink(), self.links[&id], "{shown}: nlink");
        assert_eq!(stat.rdev(), rdev, "{shown}: rdev");
        let number = *self.numbers.entry(id).or_insert(stat.ino());
        assert_eq!(stat.ino(), number, "{shown}: inode number of a hard link");
        assert_ne!(stat.ino(), 0, "{shown}: inode number");
        self.attributes(inode, path);
        match &inode.content {
            Content::Regular(file) => {
                assert_eq!(stat.size(), file.size, "{shown}: size");
                if file.size < 1 << 30 {
                    let bytes = fs::read(path).unwrap();
                    assert!(bytes == self.fixture.contents(file), "{shown}: contents");
                } else {
                    assert!(file.extents.is_empty(), "{shown}: too large to compare");
                    for offset in [0, (1 << 30) - 50, file.size / 2, file.size - 100] {
                        let mut bytes = [0xaa; 100];
                        fs::File::open(path)
                            .unwrap()
                            .read_exact_at(&mut bytes, offset)
                            .unwrap();
                        assert_eq!(bytes, [0; 100], "{shown}: at byte {offset}");
                    }
                }
            }
            Content::Symlink(target) => {
                assert_eq!(stat.size(), target.len() as u64, "{shown}: size");
                let read = fs::read_link(path).unwrap().into_os_string().into_vec();
                assert!(read == **target, "{shown}: target");
            }
            _ => {}
        }
    }

    fn attributes(&self, inode: &Inode, path: &Path) {
        let mut seen = BTreeMap::new();
        for name in xattr::list(path).unwrap() {
            let value = xattr::get(path, &name).unwrap();
            seen.insert(
                name.into_vec().into_boxed_slice(),
                value.unwrap().into_boxed_slice(),
            );
        }
        assert!(
            seen == inode.metadata.xattrs,
            "{}: attributes {:?}",
            path.display(),
            seen.keys()
        );
    }
}

/// Two and one for each subdirectory; of other files, one for each name.
fn count_links(tree: &Tree, id: InodeId, links: &mut BTreeMap<InodeId, u64>) {
    links.insert(id, 2);
    for &child in tree.directory(id).unwrap().values() {
        if tree.directory(child).is_some() {
            count_links(tree, child, links);
            *links.get_mut(&id).unwrap() += 1;
        } else {
            *links.entry(child).or_default() += 1;
        }
    }
}

fn type_and_rdev(inode: &Inode) -> (u32, u64) {
    match inode.content {
        Content::Directory(_) => (0o040_000, 0),
        Content::Regular(_) | Content::Compressed(_) => (0o100_000, 0),
        Content::Symlink(_) => (0o120_000, 0),
        Content::CharDevice { major, minor } => (0o020_000, rdev(major, minor)),
        Content::BlockDevice { major, minor } => (0o060_000, rdev(major, minor)),
        Content::Fifo => (0o010_000, 0),
        Content::Socket => (0o140_000, 0),
    }
}

/// glibc's `makedev`.
fn rdev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    ((major & 0xfff) << 8) | ((major & !0xfff) << 32) | (minor & 0xff) | ((minor & !0xff) << 12)
}

fn compare(fixture: &Fixture) {
    let mount = Mount::new(&fixture.image());
    Comparison::new(fixture).directory(Tree::ROOT, &mount.root());
}

#[test]
fn the_kernel_sees_one_of_everything() {
    compare(&fixture::rich());
}

#[test]
fn the_kernel_sees_an_empty_tree() {
    compare(&Fixture::new());
}

#[test]
fn the_kernel_finds_each_of_100_000_names() {
    let mut fixture = Fixture::new();
    let id = fixture.file(Tree::ROOT, b"target", metadata(0o644), b"one inode");
    let dir = fixture.dir(Tree::ROOT, b"many", metadata(0o755));
    for number in 0..100_000 {
        fixture.link(
            dir,
            format!("{:x}-{number}", number * 7919 % 65_536).as_bytes(),
            id,
        );
    }
    let mount = Mount::new(&fixture.image());
    let many = mount.root().join("many");
    let wanted = fs::metadata(mount.root().join("target")).unwrap();
    assert_eq!(wanted.nlink(), 100_001);
    assert_eq!(fs::read_dir(&many).unwrap().count(), 100_000);
    for name in fixture.tree.directory(dir).unwrap().keys() {
        let stat = fs::metadata(many.join(OsStr::from_bytes(name))).unwrap();
        assert_eq!(stat.ino(), wanted.ino());
    }
    assert!(!many.join("0-100000").exists());
}
