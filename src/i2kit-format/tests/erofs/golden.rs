//! Small images, byte by byte: a change of the format must be seen and meant.

use std::fmt::Write as _;

use i2kit_format::erofs::{Algorithm, Cluster, Content, Metadata, ReadInode, Reader, Tree};
use sha2::{Digest as _, Sha256};

use crate::compressed::{Kind, Shape, made};
use crate::fixture::{CAPABILITY, Fixture, metadata, with_xattrs};

fn small() -> Fixture {
    let mut fixture = Fixture::new();
    let bin = fixture.dir(Tree::ROOT, b"bin", metadata(0o755));
    let ping = with_xattrs(
        metadata(0o755),
        &[("security.capability", CAPABILITY), ("user.a", b"own")],
    );
    fixture.file(bin, b"ping", ping, &[b'p'; 5000]);
    let pong = with_xattrs(metadata(0o4755), &[("security.capability", CAPABILITY)]);
    let id = fixture.file(bin, b"pong", pong, b"pong");
    fixture.link(Tree::ROOT, b"pong", id);
    fixture.symlink(Tree::ROOT, b"sbin", metadata(0o777), b"bin");
    fixture.add(
        Tree::ROOT,
        b"null",
        metadata(0o666),
        Content::CharDevice { major: 1, minor: 3 },
    );
    let old = Metadata {
        mtime: -1,
        mtime_nsec: 5,
        uid: 70_000,
        gid: 7,
        ..metadata(0o600)
    };
    fixture.file(Tree::ROOT, b"old", old, b"");
    let extent = fixture.extent(65536, b"data");
    let file = i2kit_format::erofs::FileData {
        size: 65540,
        extents: vec![extent],
    };
    fixture.add(
        Tree::ROOT,
        b"sparse",
        metadata(0o644),
        Content::Regular(file),
    );
    fixture
}

/// Its bytes, its blocks and its place.
fn cluster(one: &Cluster) -> String {
    format!(" [{} in {} @{}]", one.len, one.blocks, one.start_block)
}

fn line(reader: &Reader<'_, [u8]>, path: &str, inode: &ReadInode) -> String {
    let mut line = format!(
        "{path} nid={} ino={} {:?} {:04o} nlink={} owner={}:{} size={} mtime={}.{:09}",
        inode.nid,
        inode.ino,
        inode.file_type,
        inode.mode,
        inode.nlink,
        inode.uid,
        inode.gid,
        inode.size,
        inode.mtime,
        inode.mtime_nsec,
    );
    if let Ok(target) = reader.read_link(inode) {
        write!(line, " -> {}", target.escape_ascii()).unwrap();
    }
    if let Some((major, minor)) = inode.device() {
        write!(line, " device={major}:{minor}").unwrap();
    }
    for extent in reader.extents(inode).into_iter().flatten() {
        write!(
            line,
            " [{}+{} @{}]",
            extent.offset, extent.len, extent.start_block
        )
        .unwrap();
    }
    if let Ok(file) = reader.clusters(inode) {
        file.clusters.iter().for_each(|one| line += &cluster(one));
        if let Some(fragment) = file.fragment {
            write!(line, " [fragment @{fragment}]").unwrap();
        }
    }
    for (name, value) in reader.xattrs(inode).unwrap() {
        write!(line, " {}={}", name.escape_ascii(), value.escape_ascii()).unwrap();
    }
    line
}

fn list(reader: &Reader<'_, [u8]>, path: &str, inode: &ReadInode, out: &mut String) {
    writeln!(out, "{}", line(reader, path, inode)).unwrap();
    for entry in reader.read_dir(inode).into_iter().flatten() {
        let name = format!("{path}/{}", entry.name.escape_ascii());
        if matches!(&*entry.name, b"." | b"..") {
            writeln!(out, "{name} nid={}", entry.nid).unwrap();
        } else {
            list(reader, &name, &reader.inode(entry.nid).unwrap(), out);
        }
    }
}

/// All of an image: what the reader says of it, and its digest.
fn dump(bytes: &[u8]) -> String {
    let reader = Reader::open(bytes).unwrap();
    let summary = reader.summary();
    let mut dump = format!(
        "blocks={} inodes={} metadata@{} xattrs@{} root={}\n",
        summary.blocks,
        summary.inodes,
        summary.meta_start_block,
        summary.xattr_start_block,
        summary.root_nid
    );
    if let Some(compression) = reader.compression().unwrap() {
        let (algorithm, size) = (compression.algorithm.name(), compression.cluster_size);
        let packed: String = compression.packed.iter().map(cluster).collect();
        writeln!(dump, "{algorithm} clusters={size} packed:{packed}").unwrap();
    }
    list(&reader, "", &reader.root().unwrap(), &mut dump);
    let digest: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    writeln!(dump, "sha256={digest}").unwrap();
    dump
}

#[test]
fn a_small_image_is_as_it_was() {
    insta::assert_snapshot!(dump(&small().image()));
}

const COMPRESSED_BYTES_CHANGE: &str = "Other bytes for the same files change every disk, and \
    converted layers in caches that bear the same version would not agree with them. \
    If the change is meant (a compressor's new release, say), raise WRITER_VERSION in \
    src/layer/key.rs, then accept the snapshot with INSTA_UPDATE=always.";

#[test]
fn small_compressed_images_are_as_they_were() {
    let files = [
        (Kind::Text, 300_000),
        (Kind::Noise, 10_000),
        (Kind::Zeros, 70_000),
        (Kind::Mixed(9000), 140_000),
        (Kind::Text, 100),
    ];
    for algorithm in [Algorithm::Lz4, Algorithm::Zstd] {
        for (gap, has_fragments) in [(0, true), (1, false)] {
            let shape = Shape {
                algorithm,
                cluster_size: 65_536,
                gap,
                has_fragments,
            };
            let name = algorithm.name();
            let indexes = if gap == 0 { "compact" } else { "full" };
            insta::with_settings!({description => COMPRESSED_BYTES_CHANGE}, {
                insta::assert_snapshot!(format!("{name}_{indexes}"), dump(&made(shape, &files).bytes));
            });
        }
    }
}

#[test]
fn the_order_in_which_a_tree_is_made_is_not_in_the_image() {
    let make = |order: [&[u8]; 3]| {
        let mut fixture = Fixture::new();
        for name in order {
            fixture.symlink(Tree::ROOT, name, metadata(0o777), name);
        }
        fixture.image()
    };
    assert!(make([b"a", b"b", b"c"]) == make([b"c", b"a", b"b"]));
}
