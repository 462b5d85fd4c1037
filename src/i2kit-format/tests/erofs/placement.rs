//! Where things lie: what the layout promises.

use i2kit_format::erofs::{self, Content, FileData, FileExtent, Inode, Options, Reader, Tree};

use crate::fixture::{self, Fixture, metadata, with_xattrs};

#[test]
fn metadata_is_whole_blocks_and_the_root_comes_first() {
    let fixture = fixture::rich();
    let image = erofs::write(&fixture.tree, &fixture.options()).unwrap();
    assert_eq!(image.metadata.len() % 4096, 0);
    let bytes = fixture.image();
    let reader = Reader::open(bytes.as_slice()).unwrap();
    assert_eq!(reader.summary().root_nid, 2);
    assert_eq!(
        u64::from(reader.summary().blocks) * 4096,
        bytes.len() as u64
    );
}

#[test]
fn an_attribute_of_two_files_is_stored_once() {
    let value = fixture::pattern(1, 1000);
    let with = |files: u32| {
        let mut fixture = Fixture::new();
        for number in 0..files {
            let labelled = with_xattrs(metadata(0o644), &[("user.same", &value)]);
            fixture.add(
                Tree::ROOT,
                number.to_string().as_bytes(),
                labelled,
                Content::Fifo,
            );
        }
        let image = erofs::write(&fixture.tree, &fixture.options()).unwrap();
        image
            .metadata
            .windows(1000)
            .filter(|window| *window == value)
            .count()
    };
    assert_eq!((with(1), with(2), with(50)), (1, 1, 1));
}

/// Bytes of metadata in use for a file of these extents (offset, length).
fn metadata_of(size: u64, extents: &[(u64, u64)]) -> usize {
    let mut tree = Tree::new(metadata(0o755));
    let mut next = 1;
    let place = |&(offset, len): &(u64, u64)| {
        let extent = FileExtent {
            offset,
            len,
            start_block: next,
        };
        next += len.div_ceil(4096) + 1;
        extent
    };
    let extents = extents.iter().map(place).collect();
    let content = Content::Regular(FileData { size, extents });
    let id = tree.add(Inode {
        metadata: metadata(0o644),
        content,
    });
    tree.directory_mut(Tree::ROOT)
        .unwrap()
        .insert(b"f"[..].into(), id);
    let options = Options {
        meta_start_block: 1 << 20,
        uuid: [0; 16],
        volume_name: [0; 16],
    };
    let metadata = erofs::write(&tree, &options).unwrap().metadata;
    metadata.iter().rposition(|byte| *byte != 0).unwrap()
}

#[test]
fn chunks_are_as_large_as_the_extents_allow() {
    const M: u64 = 1 << 20;
    // 64 MiB at multiples of 1 MiB: a map of 64 entries and not of 16,384.
    let coarse = metadata_of(64 * M, &[(0, 32 * M), (33 * M, 31 * M)]);
    let fine = metadata_of(64 * M, &[(0, 32 * M), (33 * M + 4096, 31 * M - 4096)]);
    assert!(coarse < 1024, "{coarse}");
    assert!(fine > 60_000, "{fine}");
}

#[test]
fn contiguous_extents_need_no_map() {
    let mut fixture = fixture::rich();
    let bytes = fixture.image();
    let reader = Reader::open(bytes.as_slice()).unwrap();
    let inode = reader.lookup(b"files/adjacent-extents").unwrap().unwrap();
    assert_eq!(reader.extents(&inode).unwrap().len(), 1);
    // Without any sparse file the image does without the chunk feature.
    for name in [&b"sparse"[..], b"attributes", b"files"] {
        fixture.tree.directory_mut(Tree::ROOT).unwrap().remove(name);
    }
    let image = erofs::write(&fixture.tree, &fixture.options()).unwrap();
    assert_eq!(image.first_block[1024 + 80..1024 + 84], [0; 4]);
}

#[test]
fn inodes_of_a_directory_stand_together() {
    let mut fixture = Fixture::new();
    for dir in 0..20 {
        let id = fixture.dir(Tree::ROOT, format!("d{dir:02}").as_bytes(), metadata(0o755));
        for file in 0..20 {
            fixture.file(id, format!("f{file:02}").as_bytes(), metadata(0o644), b"x");
        }
    }
    let bytes = fixture.image();
    let reader = Reader::open(bytes.as_slice()).unwrap();
    for dir in 0..20 {
        let inode = reader
            .lookup(format!("d{dir:02}").as_bytes())
            .unwrap()
            .unwrap();
        let entries = reader.read_dir(&inode).unwrap();
        let files = entries.iter().filter(|entry| entry.name.starts_with(b"f"));
        let nids: Vec<u64> = files.map(|entry| entry.nid).collect();
        assert!(nids.last().unwrap() - nids[0] <= 2 * 20, "{nids:?}");
    }
}

#[test]
fn subtrees_follow_each_other_in_the_order_of_names() {
    let mut fixture = Fixture::new();
    for dir in ["a", "b", "c"] {
        let id = fixture.dir(Tree::ROOT, dir.as_bytes(), metadata(0o755));
        let below = fixture.dir(id, b"below", metadata(0o755));
        fixture.symlink(below, b"link", metadata(0o777), b"t");
    }
    let bytes = fixture.image();
    let reader = Reader::open(bytes.as_slice()).unwrap();
    let nid = |path: &str| reader.lookup(path.as_bytes()).unwrap().unwrap().nid;
    let order = [
        "a",
        "b",
        "c",
        "a/below",
        "a/below/link",
        "b/below",
        "b/below/link",
        "c/below",
        "c/below/link",
    ];
    assert!(order.map(nid).is_sorted(), "{:?}", order.map(nid));
}
