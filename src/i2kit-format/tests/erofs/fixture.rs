//! Trees to write, with data to point to.

use i2kit_format::erofs::{
    self, Content, Directory, FileData, FileExtent, Inode, InodeId, Metadata, Options, Tree,
};

pub const BLOCK: u64 = 4096;

/// A tree whose files' data is laid out behind block 0.
pub struct Fixture {
    pub tree: Tree,
    /// The image from block 0 on; the first is filled in last.
    pub bytes: Vec<u8>,
}

pub fn metadata(mode: u16) -> Metadata {
    Metadata {
        mode,
        mtime: 1_700_000_000,
        ..Metadata::default()
    }
}

pub fn with_xattrs(mut metadata: Metadata, xattrs: Attributes<'_>) -> Metadata {
    for (name, value) in xattrs {
        metadata
            .xattrs
            .insert(name.as_bytes().into(), (*value).into());
    }
    metadata
}

/// Bytes that differ from block to block.
pub fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(step).collect()
}

impl Fixture {
    pub fn new() -> Self {
        Self {
            tree: Tree::new(metadata(0o755)),
            bytes: vec![0; 4096],
        }
    }

    /// Adds an inode under a name.
    pub fn add(
        &mut self,
        parent: InodeId,
        name: &[u8],
        metadata: Metadata,
        content: Content,
    ) -> InodeId {
        let id = self.tree.add(Inode { metadata, content });
        self.link(parent, name, id);
        id
    }

    pub fn link(&mut self, parent: InodeId, name: &[u8], id: InodeId) {
        assert!(
            self.tree
                .directory_mut(parent)
                .unwrap()
                .insert(name.into(), id)
                .is_none()
        );
    }

    pub fn dir(&mut self, parent: InodeId, name: &[u8], metadata: Metadata) -> InodeId {
        self.add(parent, name, metadata, Content::Directory(Directory::new()))
    }

    /// Lays bytes out at the next block.
    pub fn extent(&mut self, offset: u64, bytes: &[u8]) -> FileExtent {
        let start_block = self.bytes.len() as u64 / BLOCK;
        self.bytes.extend_from_slice(bytes);
        self.bytes
            .resize(self.bytes.len().next_multiple_of(4096), 0);
        FileExtent {
            offset,
            len: bytes.len() as u64,
            start_block,
        }
    }

    pub fn file(
        &mut self,
        parent: InodeId,
        name: &[u8],
        metadata: Metadata,
        bytes: &[u8],
    ) -> InodeId {
        let extents = if bytes.is_empty() {
            vec![]
        } else {
            vec![self.extent(0, bytes)]
        };
        let size = bytes.len() as u64;
        self.add(
            parent,
            name,
            metadata,
            Content::Regular(FileData { size, extents }),
        )
    }

    pub fn symlink(
        &mut self,
        parent: InodeId,
        name: &[u8],
        metadata: Metadata,
        target: &[u8],
    ) -> InodeId {
        self.add(parent, name, metadata, Content::Symlink(target.into()))
    }

    pub fn options(&self) -> Options {
        Options {
            meta_start_block: self.bytes.len() as u64 / BLOCK,
            uuid: *b"\xa0\xa1\xa2\xa3\xa4\xa5\x46\xa7\x88\xa9\xaa\xab\xac\xad\xae\xaf",
            volume_name: *b"fixture\0\0\0\0\0\0\0\0\0",
        }
    }

    /// The whole image.
    pub fn image(&self) -> Vec<u8> {
        let image = erofs::write(&self.tree, &self.options()).unwrap();
        let mut bytes = self.bytes.clone();
        bytes[..4096].copy_from_slice(&image.first_block);
        bytes.extend_from_slice(&image.metadata);
        bytes
    }

    /// What a file must read as.
    pub fn contents(&self, file: &FileData) -> Vec<u8> {
        let mut out = vec![0; file.size as usize];
        for extent in &file.extents {
            let from = (extent.start_block * BLOCK) as usize;
            let (to, len) = (extent.offset as usize, extent.len as usize);
            out[to..to + len].copy_from_slice(&self.bytes[from..from + len]);
        }
        out
    }
}

/// `cap_net_bind_service=ep`, revision 2.
pub const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// `user::rw-,user:1000:r--,group::r--,mask::r--,other::---`.
pub const ACL: &[u8] = b"\x02\0\0\0\
    \x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\
    \x10\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";

/// One of everything.
pub fn rich() -> Fixture {
    let mut fixture = Fixture::new();
    files(&mut fixture);
    sparse_files(&mut fixture);
    metadata_of_all_kinds(&mut fixture);
    special_files(&mut fixture);
    symlinks(&mut fixture);
    directories(&mut fixture);
    attributes(&mut fixture);
    fixture
}

fn files(fixture: &mut Fixture) {
    let dir = fixture.dir(Tree::ROOT, b"files", metadata(0o755));
    for len in [0, 1, 4095, 4096, 4097, 70_000] {
        let name = format!("{len}-bytes");
        fixture.file(
            dir,
            name.as_bytes(),
            metadata(0o644),
            &pattern(len, len as usize),
        );
    }
    let id = fixture.file(dir, b"linked", metadata(0o600), b"three names");
    fixture.link(dir, b"linked-again", id);
    fixture.link(Tree::ROOT, b"linked-elsewhere", id);
    let adjacent = [
        fixture.extent(0, &pattern(1, 8192)),
        fixture.extent(8192, &pattern(2, 4096)),
        fixture.extent(12288, &pattern(3, 100)),
    ];
    regular(fixture, dir, b"adjacent-extents", 12388, &adjacent);
    let (first, second) = (
        fixture.extent(16384, &pattern(4, 5000)),
        fixture.extent(0, &pattern(5, 16384)),
    );
    regular(
        fixture,
        dir,
        b"extents-in-other-order",
        21384,
        &[second, first],
    );
}

fn regular(fixture: &mut Fixture, dir: InodeId, name: &[u8], size: u64, extents: &[FileExtent]) {
    let content = Content::Regular(FileData {
        size,
        extents: extents.to_vec(),
    });
    fixture.add(dir, name, metadata(0o644), content);
}

fn sparse_files(fixture: &mut Fixture) {
    const K64: u64 = 65536;
    let dir = fixture.dir(Tree::ROOT, b"sparse", metadata(0o755));
    regular(fixture, dir, b"all-hole", 10_000_000, &[]);
    regular(fixture, dir, b"a-tebibyte-of-hole", 1 << 40, &[]);
    regular(fixture, dir, b"one-byte-hole", 1, &[]);
    let extent = fixture.extent(K64, &pattern(6, K64 as usize));
    regular(fixture, dir, b"hole-data", 2 * K64, &[extent]);
    let extent = fixture.extent(0, &pattern(7, 100));
    regular(fixture, dir, b"data-hole", 3 * K64 + 5, &[extent]);
    let extents = [
        fixture.extent(K64, &pattern(8, 4096)),
        fixture.extent(5 * K64, &pattern(9, 70_001)),
    ];
    regular(
        fixture,
        dir,
        b"hole-data-hole-data",
        5 * K64 + 70_001,
        &extents,
    );
    let extent = fixture.extent(4096, &pattern(10, 4096));
    regular(fixture, dir, b"4k-hole", 8192 + 7, &[extent]);
}

fn metadata_of_all_kinds(fixture: &mut Fixture) {
    let dir = fixture.dir(Tree::ROOT, b"metadata", metadata(0o1777));
    for (name, mode) in [
        ("setuid", 0o4755),
        ("setgid", 0o2711),
        ("sticky", 0o1644),
        ("none", 0),
    ] {
        fixture.file(dir, name.as_bytes(), metadata(mode), b"mode");
    }
    for (name, uid, gid) in [("big-owner", 70_000, 4_000_000_000), ("owner", 1000, 100)] {
        fixture.file(
            dir,
            name.as_bytes(),
            Metadata {
                uid,
                gid,
                ..metadata(0o640)
            },
            b"owner",
        );
    }
    for (name, mtime, mtime_nsec) in [
        ("before-1970", -1_000_000_000, 999_999_999),
        ("epoch", 0, 1),
        ("after-2038", 5_000_000_000, 123_456_789),
        ("year-1900", -2_208_988_800, 0),
    ] {
        fixture.file(
            dir,
            name.as_bytes(),
            Metadata {
                mtime,
                mtime_nsec,
                ..metadata(0o644)
            },
            b"time",
        );
    }
}

fn special_files(fixture: &mut Fixture) {
    let dir = fixture.dir(Tree::ROOT, b"special", metadata(0o755));
    for (number, (major, minor)) in [(1, 3), (0, 0), (259, 256), (4095, 1_048_575)]
        .into_iter()
        .enumerate()
    {
        let name = |kind| format!("{kind}{number}").into_bytes();
        fixture.add(
            dir,
            &name("char"),
            metadata(0o666),
            Content::CharDevice { major, minor },
        );
        fixture.add(
            dir,
            &name("block"),
            metadata(0o660),
            Content::BlockDevice { major, minor },
        );
    }
    fixture.add(dir, b"fifo", metadata(0o600), Content::Fifo);
    fixture.add(dir, b"socket", metadata(0o700), Content::Socket);
}

fn symlinks(fixture: &mut Fixture) {
    let dir = fixture.dir(Tree::ROOT, b"links", metadata(0o755));
    for len in [1, 100, 2000, 4000, 4032, 4033, 4094, 4095] {
        let name = format!("to-{len}");
        fixture.symlink(
            dir,
            name.as_bytes(),
            metadata(0o777),
            &b"/x".repeat(2048)[..len],
        );
    }
    fixture.symlink(dir, b"not-utf8", metadata(0o777), b"\xff\xfe");
    let labelled = with_xattrs(metadata(0o777), &[("trusted.l", &pattern(11, 3000))]);
    fixture.symlink(
        dir,
        b"with-attribute-inline",
        labelled.clone(),
        &b"y".repeat(900),
    );
    fixture.symlink(
        dir,
        b"with-attribute-in-block",
        labelled,
        &b"y".repeat(1200),
    );
    let labelled = with_xattrs(metadata(0o777), &[("trusted.l", &pattern(12, 9000))]);
    fixture.symlink(dir, b"with-large-attribute", labelled, b"y");
}

fn directories(fixture: &mut Fixture) {
    let dir = fixture.dir(Tree::ROOT, b"directories", metadata(0o755));
    fixture.dir(dir, b"empty", metadata(0o555));
    let odd = fixture.dir(dir, b"odd-names", metadata(0o755));
    let names: [&[u8]; 12] = [
        b"!before-dot",
        b"-",
        b"...",
        b".-",
        b".a",
        b"..b",
        b"\x01",
        b"\xff\xff",
        b" ",
        b"a",
        b"a.",
        "ü".as_bytes(),
    ];
    for name in names {
        fixture.file(odd, name, metadata(0o644), name);
    }
    let long = fixture.dir(dir, b"long-names", metadata(0o755));
    for number in 0..60 {
        let name = format!("{number:0>255}");
        fixture.symlink(long, name.as_bytes(), metadata(0o777), b"t");
    }
    // Dirents and names of one block, of one byte less and of one more: `.` and `..` take 27.
    for (name, last) in [
        ("block-minus-1", 206),
        ("block", 207),
        ("block-plus-1", 208),
    ] {
        let exact = fixture.dir(dir, name.as_bytes(), metadata(0o755));
        for number in 0..35 {
            let name = format!("{number:0>98}");
            fixture.add(exact, name.as_bytes(), metadata(0o644), Content::Fifo);
        }
        fixture.add(exact, &vec![b'z'; last], metadata(0o644), Content::Fifo);
    }
    let mut deep = dir;
    for _ in 0..200 {
        deep = fixture.dir(deep, b"d", metadata(0o755));
    }
    fixture.file(deep, b"bottom", metadata(0o644), b"deep");
}

type Attributes<'a> = &'a [(&'a str, &'a [u8])];

fn attributes(fixture: &mut Fixture) {
    let acl_dir = with_xattrs(metadata(0o750), &[("system.posix_acl_default", ACL)]);
    let dir = fixture.dir(Tree::ROOT, b"attributes", acl_dir);
    let large = pattern(13, 65535);
    let cases: [(&str, Attributes<'_>); 10] = [
        ("capability", &[("security.capability", CAPABILITY)]),
        ("capability-too", &[("security.capability", CAPABILITY)]),
        ("acl", &[("system.posix_acl_access", ACL)]),
        ("empty-value", &[("user.empty", b"")]),
        (
            "several",
            &[
                ("user.a", b"1"),
                ("user.bb", b"22"),
                ("trusted.c", b"333"),
                ("security.d", b"4444"),
            ],
        ),
        (
            "shared-one",
            &[("user.shared", &large[..300]), ("user.own", b"1")],
        ),
        (
            "shared-two",
            &[("user.shared", &large[..300]), ("user.own", b"2")],
        ),
        ("large", &[("user.large", &large)]),
        (
            "three-large",
            &[
                ("user.1", &large),
                ("user.2", &large[1..]),
                ("user.3", &large[2..]),
            ],
        ),
        ("binary", &[("user.\u{fc}", b"\0\xff\0")]),
    ];
    for (name, xattrs) in cases {
        fixture.file(
            dir,
            name.as_bytes(),
            with_xattrs(metadata(0o640), xattrs),
            name.as_bytes(),
        );
    }
    // More shared attributes than an inode can refer to: the rest is its own.
    let many: Vec<(String, Vec<u8>)> = (0..300)
        .map(|n| (format!("user.n{n}"), vec![b'v'; n % 7]))
        .collect();
    let many: Vec<(&str, &[u8])> = many
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    fixture.file(dir, b"many", with_xattrs(metadata(0o644), &many), b"many");
    fixture.file(
        dir,
        b"many-too",
        with_xattrs(metadata(0o644), &many),
        b"many",
    );
    // A chunk map behind attributes.
    let extent = fixture.extent(65536, b"after the hole");
    let content = Content::Regular(FileData {
        size: 65550,
        extents: vec![extent],
    });
    let labelled = with_xattrs(metadata(0o644), &[("user.s", b"sparse")]);
    fixture.add(dir, b"sparse", labelled, content);
}
