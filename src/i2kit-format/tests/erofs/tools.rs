//! erofs-utils read what was written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use i2kit_format::erofs::{Content, Tree};

use crate::fixture::{self, Fixture, metadata};

pub fn run(tool: &str, args: &[&str], image: &Path) -> Output {
    Command::new(tool)
        .args(args)
        .arg(image)
        .output()
        .unwrap_or_else(|error| panic!("{tool} (package erofs-utils) must be installed: {error}"))
}

/// A tool of a recent erofs-utils.
pub fn recent(tool: &str) -> PathBuf {
    let xdg = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache");
    let path = xdg
        .unwrap_or_else(home)
        .join("i2kit/oracles/bin")
        .join(tool);
    let shown = path.display();
    assert!(path.exists(), "no {shown}: run scripts/build-oracles.sh");
    path
}

fn text(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}{err}");
    format!("{out}{err}")
}

/// `Key: value` lines of `dump.erofs`.
fn value<'t>(text: &'t str, key: &str) -> &'t str {
    let line = text.lines().find(|line| line.trim_start().starts_with(key));
    line.unwrap_or_else(|| panic!("no {key:?} in {text}"))
        .split_once(':')
        .unwrap()
        .1
        .trim()
}

/// `fsck.erofs` 1.5 checks holes but leaves them out of what it extracts (a file that is one hole
/// comes out empty), so that sparse files are left to the kernel.
fn without_holes() -> Fixture {
    let mut fixture = fixture::rich();
    let root = fixture.tree.directory_mut(Tree::ROOT).unwrap();
    root.remove(&b"sparse"[..]).unwrap();
    let attributes = root[&b"attributes"[..]];
    fixture
        .tree
        .directory_mut(attributes)
        .unwrap()
        .remove(&b"sparse"[..])
        .unwrap();
    fixture
}

/// The exit status of `fsck.erofs` 1.5 is 0 for a wrong checksum too; what it prints tells.
#[test]
fn fsck_finds_no_fault_and_sees_one_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let mut bytes = fixture::rich().image();
    fs::write(&image, &bytes).unwrap();
    assert_eq!(text(&run("fsck.erofs", &[], &image)), "");
    bytes[1024 + 60] ^= 1;
    fs::write(&image, &bytes).unwrap();
    let output = text(&run("fsck.erofs", &[], &image));
    assert!(
        output.contains("failed to verify superblock checksum"),
        "{output}"
    );
}

#[test]
fn fsck_extracts_every_file() {
    let dir = tempfile::tempdir().unwrap();
    let (image, target) = (dir.path().join("image"), dir.path().join("out"));
    let fixture = without_holes();
    fs::write(&image, fixture.image()).unwrap();
    text(&run(
        "fsck.erofs",
        &[&format!("--extract={}", target.display())],
        &image,
    ));
    for part in ["files", "metadata", "attributes"] {
        let id = fixture.tree.directory(Tree::ROOT).unwrap()[part.as_bytes()];
        for (name, &child) in fixture.tree.directory(id).unwrap() {
            let name = String::from_utf8_lossy(name).into_owned();
            let Content::Regular(file) = &fixture.tree.get(child).unwrap().content else {
                continue;
            };
            let extracted = fs::read(target.join(part).join(&name)).unwrap();
            assert!(extracted == fixture.contents(file), "{part}/{name}");
        }
    }
    let link = fs::read_link(target.join("links/to-4095")).unwrap();
    assert_eq!(link.as_os_str().len(), 4095);
}

#[test]
fn dump_shows_the_superblock() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let fixture = fixture::rich();
    let bytes = fixture.image();
    fs::write(&image, &bytes).unwrap();
    let output = text(&run("dump.erofs", &["-s"], &image));
    assert_eq!(value(&output, "Filesystem magic number"), "0xE0F5E1E2");
    assert_eq!(
        value(&output, "Filesystem blocks"),
        (bytes.len() / 4096).to_string()
    );
    assert_eq!(value(&output, "Filesystem root nid"), "2");
    assert_eq!(
        value(&output, "Filesystem inode metadata start block"),
        fixture.options().meta_start_block.to_string()
    );
    assert!(
        value(&output, "Filesystem features").contains("sb_csum"),
        "{output}"
    );
    assert!(
        value(&output, "Filesystem features").contains("mtime"),
        "{output}"
    );
    assert!(
        value(&output, "Filesystem features").contains("chunked_file"),
        "{output}"
    );
}

#[test]
fn dump_shows_where_a_file_lies() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let mut fixture = Fixture::new();
    fixture.file(Tree::ROOT, b"padding", metadata(0o644), &[1; 5 * 4096]);
    fixture.file(Tree::ROOT, b"file", metadata(0o644), &[2; 9000]);
    fs::write(&image, fixture.image()).unwrap();
    let output = text(&run("dump.erofs", &["--path=/file", "-e"], &image));
    // Blocks 6 to 8.
    assert!(output.contains("24576..     36864 |   12288"), "{output}");
}
