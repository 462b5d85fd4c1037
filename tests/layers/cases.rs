//! The odd layers.

use crate::support::tarball::{Dialect, Item};

/// What another tool makes of it.
pub enum Verdict {
    Same,
    /// Something else, and why.
    Differs(&'static str),
}

/// An image.
pub struct Case {
    pub name: &'static str,
    pub layers: Vec<(Vec<Item>, Dialect)>,
    pub containerd: Verdict,
    pub umoci: Verdict,
}

fn case(name: &'static str, layers: Vec<Vec<Item>>) -> Case {
    let layers = layers.into_iter();
    Case {
        name,
        layers: layers.map(|items| (items, Dialect::Pax)).collect(),
        containerd: Verdict::Same,
        umoci: Verdict::Same,
    }
}

impl Case {
    fn containerd_differs(mut self, why: &'static str) -> Self {
        self.containerd = Verdict::Differs(why);
        self
    }

    fn umoci_differs(mut self, why: &'static str) -> Self {
        self.umoci = Verdict::Differs(why);
        self
    }

    fn gnu(mut self) -> Self {
        self.layers
            .iter_mut()
            .for_each(|(_, dialect)| *dialect = Dialect::Gnu);
        self
    }
}

fn file(path: impl AsRef<[u8]>) -> Item {
    Item::file(path, "data")
}

fn dir(path: impl AsRef<[u8]>) -> Item {
    Item::dir(path)
}

/// Those that every tool takes.
pub fn all() -> Vec<Case> {
    [
        whiteouts(),
        links(),
        replacements(),
        paths(),
        metadata(),
        names(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn whiteouts() -> Vec<Case> {
    let lower = || {
        vec![
            dir("a"),
            file("a/x"),
            file("a/y"),
            dir("a/d"),
            file("a/d/z"),
            file("top"),
        ]
    };
    vec![
        case(
            "whiteout-file",
            vec![lower(), vec![file("a/.wh.x"), file(".wh.top")]],
        ),
        case("whiteout-dir", vec![lower(), vec![file(".wh.a")]]),
        case(
            "whiteout-then-new",
            vec![lower(), vec![file(".wh.a"), dir("a"), file("a/new")]],
        ),
        case(
            "whiteout-of-nothing",
            vec![lower(), vec![file("a/.wh.none"), file("none/.wh.x")]],
        )
        .umoci_differs("it makes no parents for a whiteout"),
        case(
            "whiteout-non-empty",
            vec![lower(), vec![Item::file("a/.wh.x", "not empty").mode(0)]],
        ),
        case(
            "opaque-first",
            vec![
                lower(),
                vec![dir("a"), file("a/.wh..wh..opq"), file("a/new")],
            ],
        ),
        case(
            "opaque-last",
            vec![
                lower(),
                vec![dir("a"), file("a/new"), file("a/.wh..wh..opq")],
            ],
        ),
        case(
            "opaque-deep",
            vec![
                lower(),
                vec![dir("a/d"), file("a/d/new"), file("a/.wh..wh..opq")],
            ],
        ),
        case(
            "opaque-root",
            vec![lower(), vec![file("kept"), file(".wh..wh..opq")]],
        ),
        case(
            "whiteout-through-link",
            vec![
                [lower(), vec![Item::symlink("s", "a/d")]].concat(),
                vec![file("s/.wh.z")],
            ],
        ),
        case(
            "whiteout-of-a-link",
            vec![
                [lower(), vec![Item::symlink("s", "a")]].concat(),
                vec![file(".wh.s")],
            ],
        ),
    ]
}

fn links() -> Vec<Case> {
    let lower = || vec![file("a").owner(5, 6), dir("d"), file("d/b")];
    vec![
        case(
            "link-same-layer",
            vec![vec![file("a"), Item::link("b", "a"), Item::link("c", "b")]],
        ),
        case(
            "link-across-layers",
            vec![lower(), vec![Item::link("d/c", "a").owner(5, 6)]],
        ),
        case(
            "link-slashes",
            vec![
                lower(),
                vec![Item::link("c", "/d/../a".replace("d/../", "")).owner(5, 6)],
            ],
        ),
        case(
            "link-of-replaced",
            vec![
                lower(),
                vec![Item::link("c", "a").owner(5, 6), Item::file("a", "new")],
            ],
        ),
        case(
            "link-replaced-later",
            vec![
                lower(),
                vec![Item::link("c", "a").owner(5, 6)],
                vec![Item::file("c", "other")],
            ],
        ),
        case(
            "link-over-file",
            vec![lower(), vec![Item::link("d/b", "a").owner(5, 6)]],
        ),
        case(
            "link-changes-owner",
            vec![lower(), vec![Item::link("c", "a").owner(9, 9).mode(0o4711)]],
        )
        .umoci_differs("a hard link's entry changes no metadata"),
        case(
            "link-to-symlink",
            vec![vec![Item::symlink("s", "nowhere"), Item::link("t", "s")]],
        ),
        case(
            "link-through-symlink",
            vec![
                lower(),
                vec![Item::symlink("s", "d"), Item::link("c", "s/b")],
            ],
        ),
        case(
            "link-of-device",
            vec![vec![
                Item::new("n", crate::support::tarball::Kind::Char(1, 3)),
                Item::link("m", "n"),
            ]],
        ),
        case(
            "link-survives-whiteout",
            vec![
                lower(),
                vec![Item::link("c", "a").owner(5, 6)],
                vec![file(".wh.a")],
            ],
        ),
        case(
            "link-drops-capability",
            vec![
                vec![file("a").xattr("security.capability", CAPABILITY)],
                vec![Item::link("b", "a")],
            ],
        )
        .umoci_differs("a hard link's entry changes no metadata"),
    ]
}

/// `cap_net_bind_service=ep`, `struct vfs_cap_data` revision 2.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn replacements() -> Vec<Case> {
    let lower = || {
        vec![
            dir("d").mode(0o700),
            file("d/in"),
            file("f"),
            Item::symlink("s", "d"),
            Item::new("p", crate::support::tarball::Kind::Fifo),
        ]
    };
    vec![
        case(
            "file-over-dir",
            vec![lower(), vec![Item::file("d", "now a file")]],
        ),
        case("dir-over-file", vec![lower(), vec![dir("f"), file("f/in")]]),
        case(
            "dir-over-symlink",
            vec![lower(), vec![dir("s"), file("s/in")]],
        ),
        case(
            "symlink-over-dir",
            vec![lower(), vec![Item::symlink("d", "f")]],
        ),
        case("file-over-fifo", vec![lower(), vec![file("p")]]),
        case(
            "dir-metadata-only",
            vec![lower(), vec![dir("d").mode(0o1777).owner(3, 4).mtime(9, 0)]],
        ),
        case(
            "dir-metadata-xattrs",
            vec![
                vec![dir("d").xattr("user.one", "1")],
                vec![dir("d").xattr("user.two", "2")],
            ],
        )
        .umoci_differs("a directory's entry removes attributes of the layers below"),
        case(
            "duplicates",
            vec![vec![
                Item::file("x", "first"),
                Item::file("x", "second, longer"),
                Item::symlink("y", "one"),
                Item::symlink("y", "two"),
                Item::file("z", "file"),
                Item::symlink("z", "link"),
            ]],
        ),
        case(
            "replaced-thrice",
            vec![
                lower(),
                vec![dir("f")],
                vec![Item::symlink("f", "d")],
                vec![Item::file("f", "end")],
            ],
        ),
    ]
}

fn paths() -> Vec<Case> {
    let lower = || {
        vec![
            dir("usr"),
            dir("usr/lib"),
            Item::symlink("lib", "usr/lib"),
            Item::symlink("abs", "/usr/lib"),
            Item::symlink("up", "../../../usr"),
            Item::symlink("chain", "abs"),
            Item::symlink("dangling", "made/up"),
        ]
    };
    vec![
        case(
            "missing-parents",
            vec![vec![file("m/n/o"), dir("q/r").mode(0o711)]],
        ),
        case(
            "below-symlink",
            vec![
                lower(),
                vec![file("lib/x"), file("abs/y"), file("up/z"), file("chain/w")],
            ],
        ),
        case("below-dangling", vec![lower(), vec![file("dangling/x")]]),
        case(
            "duplicate-through-symlink",
            vec![
                lower(),
                vec![
                    Item::file("usr/lib/x", "direct"),
                    Item::file("lib/x", "through"),
                ],
            ],
        ),
        case(
            "symlink-changes-midway",
            vec![
                lower(),
                vec![file("lib/x"), Item::symlink("lib", "usr"), file("lib/y")],
            ],
        ),
        case(
            "dots-and-slashes",
            vec![vec![
                dir("./"),
                dir("./a/"),
                file("./a//b"),
                file("/c"),
                file("a/./d"),
            ]],
        ),
        case(
            "symlink-targets",
            vec![vec![
                Item::symlink("a", "../../../../etc/passwd"),
                Item::symlink("b", "/"),
                Item::symlink("c", "c"),
                Item::symlink("d", "x//y/../z/"),
            ]],
        ),
        case(
            "dir-through-symlink",
            vec![lower(), vec![dir("lib/sub").mode(0o750), file("lib/sub/f")]],
        ),
    ]
}

fn metadata() -> Vec<Case> {
    use crate::support::tarball::Kind;
    let long = vec![b'v'; 3000];
    vec![
        case(
            "owners",
            vec![vec![
                file("a").owner(65_536, 4_000_000_000),
                dir("d").owner(100_000, 100_001),
                Item::symlink("s", "a").owner(70_000, 1),
            ]],
        ),
        case(
            "owners-gnu",
            vec![vec![file("a").owner(65_536, 4_000_000_000)]],
        )
        .gnu(),
        case(
            "modes",
            vec![vec![
                file("suid").mode(0o4755).owner(1, 1),
                file("sgid").mode(0o2755).owner(1, 1),
                dir("sticky").mode(0o1777),
                dir("sgid-dir").mode(0o2770),
                file("none").mode(0),
                dir("closed").mode(0),
                file("type-bits").mode(0o100_640),
            ]],
        ),
        case(
            "xattrs",
            vec![vec![
                file("cap").xattr("security.capability", CAPABILITY),
                file("user").xattr("user.a", "1"),
                dir("dir").xattr("user.a", b"binary\0\n\xff"),
                file("long").xattr("user.long", &long),
                file("equals").xattr("user.a=b", "c=d"),
            ]],
        ),
        case(
            "xattrs-trusted",
            vec![vec![
                file("a").xattr("trusted.t", "1"),
                dir("d").xattr("trusted.t", "2"),
                Item::symlink("s", "a").xattr("trusted.t", "on a link"),
                Item::new("p", Kind::Fifo).xattr("trusted.t", "on a fifo"),
            ]],
        )
        .containerd_differs("it sets no trusted attributes"),
        case(
            "xattrs-overlay",
            vec![vec![dir("d").xattr("trusted.overlay.opaque", "y")]],
        ),
        case(
            "xattrs-libarchive",
            vec![vec![
                file("a").record("LIBARCHIVE.xattr.user.a%20b", "aGVsbG8"),
                file("both")
                    .record("LIBARCHIVE.xattr.user.a", "aGVsbG8=")
                    .xattr("user.a", "from SCHILY"),
            ]],
        )
        .containerd_differs("it knows no LIBARCHIVE records")
        .umoci_differs("it knows no LIBARCHIVE records"),
        case("xattrs-empty", vec![vec![file("a").xattr("user.a", "")]])
            .umoci_differs("it takes an empty PAX value for none"),
        case(
            "xattrs-shared",
            vec![
                (0..20)
                    .map(|index| {
                        file(format!("f{index}")).xattr("user.shared", "the same everywhere")
                    })
                    .collect(),
            ],
        ),
        case(
            "devices",
            vec![vec![
                Item::new("null", Kind::Char(1, 3)).mode(0o666),
                Item::new("large", Kind::Char(4095, 1_048_575)),
                Item::new("disk", Kind::Block(259, 70_000)).owner(0, 6),
                Item::new("fifo", Kind::Fifo).mode(0o640),
            ]],
        ),
        case(
            "times",
            vec![vec![
                file("nanoseconds").mtime(1_234_567_890, 123_456_789),
                file("after-2038").mtime(3_000_000_000, 1),
                file("after-2106").mtime(5_000_000_000, 0),
                file("epoch").mtime(0, 0),
                Item::symlink("link", "x").mtime(77, 5),
                dir("dir").mtime(1_000_000_000, 999_999_999),
            ]],
        ),
        case(
            "times-before-1970",
            vec![vec![
                file("a").mtime(-1, 0),
                file("b").mtime(-1000, 500_000_000),
                dir("d").mtime(-5, 0),
            ]],
        ),
        case(
            "times-gnu",
            vec![vec![
                file("a").mtime(-1000, 0),
                file("b").mtime(9_000_000_000, 0),
            ]],
        )
        .gnu(),
    ]
}

fn names() -> Vec<Case> {
    let long = |len: usize| "n".repeat(len);
    // 15 x 255 + 15 slashes + 150 bytes.
    let deep = format!("{}{}", format!("{}/", long(255)).repeat(15), long(150));
    let not_utf8 = b"caf\xe9/\xff\xfe";
    vec![
        case(
            "names-long",
            vec![vec![
                file(long(255)),
                dir(long(254)),
                file(format!("{}/{}", long(254), long(255))),
            ]],
        ),
        case(
            "names-long-gnu",
            vec![vec![
                file(long(255)),
                Item::symlink("s", long(255)),
                file(long(100)),
                file(long(101)),
            ]],
        )
        .gnu(),
        case(
            "names-deep",
            vec![vec![
                file(&deep),
                Item::symlink("s", &deep),
                Item::symlink("t", "t".repeat(4000)),
            ]],
        ),
        case(
            "names-deep-gnu",
            vec![vec![Item::symlink("t", "t".repeat(4000))]],
        )
        .gnu(),
        case(
            "names-not-utf8",
            vec![vec![
                file(not_utf8),
                file(b"\x01\x7f \\ \""),
                Item::symlink(b"\xf0", b"\xf1"),
            ]],
        ),
        case(
            "names-not-utf8-long",
            vec![vec![file([0xff; 120]), Item::symlink("s", [0xfe; 120])]],
        ),
        case(
            "names-like-whiteouts",
            vec![vec![file(".wh"), file("a.wh.b"), file("wh.x")]],
        ),
    ]
}

/// What is refused, with the entry's name as the message must have it.
pub fn refused() -> Vec<(&'static str, Case)> {
    vec![
        (
            "a file as a parent",
            case("f/x", vec![vec![file("f"), file("f/x")]]),
        ),
        (
            "a hard link to nothing",
            case("x", vec![vec![Item::link("x", "none")]]),
        ),
        (
            "a hard link to a directory",
            case("x", vec![vec![dir("d"), Item::link("x", "d")]]),
        ),
        (
            "endless symlinks",
            case(
                "a/x",
                vec![vec![
                    Item::symlink("a", "b"),
                    Item::symlink("b", "a"),
                    file("a/x"),
                ]],
            ),
        ),
    ]
}
