//! Trees that chance makes come back as they were.

use i2kit_format::erofs::{Content, Directory, FileData, InodeId, Metadata, Reader, Tree};
use proptest::prelude::*;

use crate::canonical::canonical;
use crate::fixture::{self, Fixture};

/// One more name in a tree.
#[derive(Clone, Debug)]
struct Step {
    parent: prop::sample::Index,
    name: Vec<u8>,
    metadata: Metadata,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Content(Content),
    /// Blocks of data and of hole, by turns, and bytes after them.
    File(Vec<(u8, u8)>, u16),
    Link(prop::sample::Index),
}

fn attribute() -> impl Strategy<Value = (Box<[u8]>, Box<[u8]>)> {
    let prefix = prop::sample::select(vec!["user.", "trusted.", "security."]);
    let value = prop_oneof![
        prop::sample::select(vec![&b"one"[..], b"two"]).prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..2000),
    ];
    (prefix, "[a-c]{1,2}", value).prop_map(|(prefix, rest, value)| {
        (format!("{prefix}{rest}").into_bytes().into(), value.into())
    })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let xattrs = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(attribute(), 1..4)];
    (
        0..=0o7777u16,
        any::<u32>(),
        any::<u32>(),
        any::<i64>(),
        0..1_000_000_000u32,
        xattrs,
    )
        .prop_map(|(mode, uid, gid, mtime, mtime_nsec, xattrs)| {
            let xattrs = xattrs.into_iter().collect();
            Metadata {
                mode,
                uid,
                gid,
                mtime,
                mtime_nsec,
                xattrs,
            }
        })
}

fn kind() -> impl Strategy<Value = Kind> {
    let target = prop_oneof![1..100usize, 1..=4095usize]
        .prop_map(|len| Content::Symlink(vec![b't'; len].into()));
    let numbers = (0..4096u32, 0..1u32 << 20);
    prop_oneof![
        4 => Just(Kind::Content(Content::Directory(Directory::new()))),
        2 => target.prop_map(Kind::Content),
        1 => numbers.clone().prop_map(|(major, minor)| Kind::Content(Content::CharDevice { major, minor })),
        1 => numbers.prop_map(|(major, minor)| Kind::Content(Content::BlockDevice { major, minor })),
        1 => Just(Kind::Content(Content::Fifo)),
        1 => Just(Kind::Content(Content::Socket)),
        4 => (prop::collection::vec((0..5u8, 0..40u8), 0..4), 0..5000u16).prop_map(|(runs, rest)| Kind::File(runs, rest)),
        2 => any::<prop::sample::Index>().prop_map(Kind::Link),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let byte = any::<u8>().prop_map(|byte| if matches!(byte, 0 | b'/') { b'_' } else { byte });
    let name = prop_oneof![
        prop::collection::vec(byte.clone(), 1..8),
        prop::collection::vec(byte, 200..=255),
    ];
    (any::<prop::sample::Index>(), name, metadata(), kind()).prop_map(
        |(parent, name, metadata, kind)| Step {
            parent,
            name,
            metadata,
            kind,
        },
    )
}

fn build(steps: Vec<Step>) -> Fixture {
    let mut fixture = Fixture::new();
    let (mut directories, mut files): (Vec<InodeId>, Vec<InodeId>) = (vec![Tree::ROOT], vec![]);
    for step in steps {
        let parent = *step.parent.get(&directories);
        let taken = fixture
            .tree
            .directory(parent)
            .unwrap()
            .contains_key(&*step.name);
        if taken || matches!(&*step.name, b"." | b"..") {
            continue;
        }
        match step.kind {
            Kind::Link(which) if !files.is_empty() => {
                fixture.link(parent, &step.name, *which.get(&files))
            }
            Kind::Link(_) => {}
            Kind::Content(content) => {
                let is_directory = matches!(content, Content::Directory(_));
                let id = fixture.add(parent, &step.name, step.metadata, content);
                if is_directory {
                    directories.push(id)
                } else {
                    files.push(id)
                }
            }
            Kind::File(runs, rest) => {
                let content = Content::Regular(file(&mut fixture, &runs, rest));
                files.push(fixture.add(parent, &step.name, step.metadata, content));
            }
        }
    }
    fixture
}

fn file(fixture: &mut Fixture, runs: &[(u8, u8)], rest: u16) -> FileData {
    let mut data = FileData::default();
    for &(blocks, hole) in runs {
        let bytes = fixture::pattern(data.size, usize::from(blocks) * 4096);
        data.extents.push(fixture.extent(data.size, &bytes));
        data.size += (u64::from(blocks) + u64::from(hole)) * 4096;
    }
    let bytes = fixture::pattern(data.size, rest.into());
    data.extents.push(fixture.extent(data.size, &bytes));
    data.extents.retain(|extent| extent.len > 0);
    data.size += u64::from(rest);
    data
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn what_is_written_is_read(steps in prop::collection::vec(step(), 0..120)) {
        let fixture = build(steps);
        let bytes = fixture.image();
        let reader = Reader::open(bytes.as_slice()).unwrap();
        let read = reader.read_tree().unwrap();
        prop_assert_eq!(canonical(&fixture.tree), canonical(&read));
        contents(&fixture, &reader, Tree::ROOT, b"");
    }
}

fn contents(fixture: &Fixture, reader: &Reader<'_, [u8]>, id: InodeId, path: &[u8]) {
    for (name, &child) in fixture.tree.directory(id).into_iter().flatten() {
        let path = [path, b"/", name].concat();
        if let Content::Regular(file) = &fixture.tree.get(child).unwrap().content {
            let inode = reader.lookup(&path).unwrap().unwrap();
            let mut bytes = vec![0xaa; file.size as usize + 10];
            assert_eq!(
                reader.read_file_at(&inode, &mut bytes, 0).unwrap() as u64,
                file.size
            );
            assert!(bytes[..file.size as usize] == fixture.contents(file));
        }
        contents(fixture, reader, child, &path);
    }
}

#[test]
fn one_of_everything_is_read() {
    let fixture = fixture::rich();
    let bytes = fixture.image();
    let read = Reader::open(bytes.as_slice()).unwrap().read_tree().unwrap();
    let (wanted, read) = (canonical(&fixture.tree), canonical(&read));
    assert_eq!(wanted.len(), read.len());
    for (path, node) in &wanted {
        assert_eq!(Some(node), read.get(path), "{}", path.escape_ascii());
    }
}
