//! What does not fit is refused, with the path that has it.

use i2kit_format::erofs::{
    self, Content, Directory, FileData, FileExtent, Inode, InodeId, Metadata, Options, Tree,
};

use crate::fixture::{Fixture, metadata, with_xattrs};

const OPTIONS: Options = Options {
    meta_start_block: 100,
    uuid: [0; 16],
    volume_name: [0; 16],
};

/// The error for one inode at `/dir/file`.
fn refused(metadata_of_it: Metadata, content: Content) -> String {
    let mut fixture = Fixture::new();
    let dir = fixture.dir(Tree::ROOT, b"dir", metadata(0o755));
    fixture.add(dir, b"file", metadata_of_it, content);
    let error = erofs::write(&fixture.tree, &OPTIONS).unwrap_err();
    let text = error.to_string();
    text.strip_prefix("EROFS: \"/dir/file\": ")
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

fn file(size: u64, extents: &[(u64, u64, u64)]) -> Content {
    let extent = |&(offset, len, start_block): &_| FileExtent {
        offset,
        len,
        start_block,
    };
    Content::Regular(FileData {
        size,
        extents: extents.iter().map(extent).collect(),
    })
}

#[test]
fn fields_out_of_range() {
    assert_eq!(
        refused(metadata(0o10000), Content::Fifo),
        "mode bits 4096 is out of range"
    );
    let late = Metadata {
        mtime_nsec: 1_000_000_000,
        ..metadata(0)
    };
    assert_eq!(
        refused(late, Content::Fifo),
        "mtime nanoseconds 1000000000 is out of range"
    );
    let device = |major, minor| refused(metadata(0), Content::CharDevice { major, minor });
    assert_eq!(device(4096, 0), "device major 4096 is out of range");
    assert_eq!(device(0, 1 << 20), "device minor 1048576 is out of range");
    let link = |len| refused(metadata(0), Content::Symlink(vec![b'x'; len].into()));
    assert_eq!(link(0), "symlink target length 0 is out of range");
    assert_eq!(link(4096), "symlink target length 4096 is out of range");
    assert_eq!(
        refused(metadata(0), file(1 << 63, &[])),
        "size 9223372036854775808 is out of range"
    );
}

#[test]
fn extents_that_can_not_be() {
    let refused = |size, extents: &[(u64, u64, u64)]| refused(metadata(0o644), file(size, extents));
    let outside = "blocks outside the image's data area";
    assert_eq!(
        refused(4096, &[(0, 4096, 0)]),
        format!("extent at byte 0: {outside}")
    );
    assert_eq!(
        refused(4097, &[(0, 4097, 99)]),
        format!("extent at byte 0: {outside}")
    );
    assert_eq!(
        refused(1, &[(0, 1, u64::MAX)]),
        format!("extent at byte 0: {outside}")
    );
    let order = "extents out of order or past the file's size";
    assert_eq!(
        refused(4096, &[(0, 4097, 1)]),
        format!("extent at byte 0: {order}")
    );
    assert_eq!(
        refused(9000, &[(4096, 4096, 1), (0, 4096, 5)]),
        format!("extent at byte 0: {order}")
    );
    assert_eq!(
        refused(9000, &[(0, 8192, 1), (4096, 4096, 5)]),
        format!("extent at byte 4096: {order}")
    );
    let last = u64::MAX - 4095;
    assert_eq!(
        refused(9, &[(last, 8192, 1)]),
        format!("extent at byte {last}: {order}")
    );
    assert_eq!(
        refused(9000, &[(5, 10, 1)]),
        "extent at byte 5: not aligned to 4 KiB"
    );
    let after_partial = refused(9000, &[(0, 10, 1), (4096, 10, 2)]);
    assert_eq!(after_partial, "extent at byte 4096: not aligned to 4 KiB");
}

#[test]
fn attributes_that_have_no_place() {
    let refused = |name: &str, value: &[u8]| {
        refused(
            with_xattrs(metadata(0o644), &[(name, value)]),
            Content::Fifo,
        )
    };
    let families = "EROFS stores user., trusted., security. and POSIX ACL attributes alone";
    for name in [
        "system.nfs4_acl",
        "lustre.lov",
        "user",
        "system.posix_acl_accessx",
        "",
    ] {
        assert_eq!(
            refused(name, b""),
            format!("attribute {name:?}: {families}")
        );
    }
    let bad = "the name after its prefix must have 1 to 255 bytes, none of them NUL";
    assert_eq!(refused("user.", b""), format!("attribute \"user.\": {bad}"));
    assert!(refused(&format!("user.{}", "n".repeat(256)), b"").ends_with(bad));
    assert!(refused("user.a\0b", b"").ends_with(bad));
    let large = "attribute \"user.v\": its value has 65536 bytes, at most 65535 can be stored";
    assert_eq!(refused("user.v", &vec![0; 65536]), large);
}

/// Shared or not: a value that can't be stored is refused either way.
#[test]
fn a_large_value_of_two_files_is_refused_too() {
    let mut fixture = Fixture::new();
    for name in [b"a", b"b"] {
        let labelled = with_xattrs(metadata(0), &[("user.v", &vec![0; 65536])]);
        fixture.add(Tree::ROOT, name, labelled, Content::Fifo);
    }
    let error = erofs::write(&fixture.tree, &OPTIONS)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("EROFS: \"/a\": attribute \"user.v\""),
        "{error}"
    );
}

#[test]
fn attributes_that_are_too_large_together() {
    let with = |count: usize, last: usize| {
        let mut fixture = Fixture::new();
        let mut all = metadata(0o644);
        for number in 0..count {
            // 8 bytes of record before 65,524 of value: four of these and a header are 20 short.
            let (name, len) = (
                format!("user.{number:04}"),
                if number + 1 == count { last } else { 65_524 },
            );
            all.xattrs
                .insert(name.into_bytes().into(), vec![number as u8; len].into());
        }
        fixture.add(Tree::ROOT, b"f", all, Content::Fifo);
        erofs::write(&fixture.tree, &OPTIONS)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    // The most that i_xattr_icount can say: 12 + 65534 * 4 = 262148.
    let room = 262_148 - 12 - 3 * 65_532 - 8;
    with(4, room).unwrap();
    let error = with(4, room + 1).unwrap_err();
    assert!(
        error.contains("take 262152 bytes, at most 262148 can be stored"),
        "{error}"
    );
}

#[test]
fn names_that_are_none() {
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'n'; 256]] {
        let mut fixture = Fixture::new();
        fixture.add(Tree::ROOT, name, metadata(0), Content::Fifo);
        let error = erofs::write(&fixture.tree, &OPTIONS)
            .unwrap_err()
            .to_string();
        assert!(error.ends_with("not a valid file name"), "{error}");
    }
}

#[test]
fn trees_that_are_none() {
    let refused = |tree: &Tree| erofs::write(tree, &OPTIONS).unwrap_err().to_string();
    let mut fixture = Fixture::new();
    fixture.link(Tree::ROOT, b"ghost", InodeId(7));
    assert_eq!(
        refused(&fixture.tree),
        "EROFS: \"/ghost\": names an inode that is not in the tree"
    );
    let mut fixture = Fixture::new();
    let dir = fixture.dir(Tree::ROOT, b"dir", metadata(0o755));
    fixture.link(dir, b"up", Tree::ROOT);
    assert_eq!(
        refused(&fixture.tree),
        "EROFS: \"/dir/up\": a second name for a directory"
    );
    let mut fixture = Fixture::new();
    let dir = fixture.dir(Tree::ROOT, b"dir", metadata(0o755));
    fixture.link(Tree::ROOT, b"dir2", dir);
    assert_eq!(
        refused(&fixture.tree),
        "EROFS: \"/dir2\": a second name for a directory"
    );
    let mut tree = Tree::new(metadata(0o755));
    tree.get_mut(Tree::ROOT).unwrap().content = Content::Fifo;
    assert_eq!(refused(&tree), "EROFS: the tree has no root directory");
}

#[test]
fn metadata_must_lie_within_the_addresses() {
    let tree = Tree::new(metadata(0o755));
    let at = |meta_start_block| {
        erofs::write(
            &tree,
            &Options {
                meta_start_block,
                ..OPTIONS
            },
        )
    };
    at(1).unwrap();
    at(u64::from(u32::MAX) - 2).unwrap();
    for start in [0, u64::from(u32::MAX) - 1, u64::from(u32::MAX), u64::MAX] {
        let error = at(start).unwrap_err().to_string();
        assert!(
            error.contains(&format!("from block {start}: not within")),
            "{error}"
        );
    }
}

/// A sparse file may claim any size; its map must not take the memory.
#[test]
fn a_map_of_a_hostile_size_is_refused() {
    let far = 1 << 50;
    let text = refused(
        metadata(0),
        file(far + 4096, &[(65536, 4096, 1), (far, 4096, 3)]),
    );
    assert_eq!(text, "from here on metadata would exceed 1073741824 bytes");
}

#[test]
fn inodes_without_a_name_are_not_written() {
    let mut fixture = Fixture::new();
    let before = fixture.image();
    fixture.tree.add(Inode {
        metadata: metadata(0),
        content: Content::Directory(Directory::new()),
    });
    assert!(before == fixture.image());
}
