//! Compressed files, as the kernel and this reader see them.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use i2kit_format::erofs::{
    Algorithm, Cluster, CompressedFile, Compression, Compressor, Content, Error, ExtentError,
    Reader, Tree,
};
use proptest::prelude::*;

use crate::canonical::canonical;
use crate::fixture::{self, BLOCK, Fixture, metadata};
use crate::kernel::Mount;

/// How an image is made.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub algorithm: Algorithm,
    pub cluster_size: usize,
    /// Blocks between clusters, which indexes must then name one by one.
    pub gap: usize,
    /// Whether tails and small files become fragments.
    pub has_fragments: bool,
}

/// What a file's bytes are like.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Text,
    Noise,
    Zeros,
    /// Text and noise, by turns of that many bytes.
    Mixed(usize),
}

/// Files, by name, and an image of them.
pub struct Made {
    files: Vec<(String, Vec<u8>)>,
    fixture: Fixture,
    pub bytes: Vec<u8>,
}

fn contents(kind: Kind, seed: u64, len: usize) -> Vec<u8> {
    match kind {
        Kind::Noise => fixture::pattern(seed, len),
        Kind::Zeros => vec![0; len],
        Kind::Text => {
            let words = (0..).flat_map(|number: u64| {
                format!("line {} of {seed}, ", number * number % 9973).into_bytes()
            });
            words.take(len).collect()
        }
        Kind::Mixed(turn) => {
            let (text, noise) = (
                contents(Kind::Text, seed, len),
                contents(Kind::Noise, seed, len),
            );
            let pick = |at: usize| {
                if (at / turn).is_multiple_of(2) {
                    text[at]
                } else {
                    noise[at]
                }
            };
            (0..len).map(pick).collect()
        }
    }
}

/// Packs files as a layer is packed.
struct Packer {
    shape: Shape,
    fixture: Fixture,
    compressor: Compressor,
    packed: Vec<u8>,
}

impl Packer {
    fn new(shape: Shape) -> Self {
        let level = *shape.algorithm.levels().start() + 2;
        Self {
            shape,
            fixture: Fixture::new(),
            compressor: Compressor::new(shape.algorithm, level).unwrap(),
            packed: Vec::new(),
        }
    }

    fn cluster(&mut self, bytes: &[u8]) -> Cluster {
        let gap = vec![0xee; self.shape.gap * 4096];
        self.fixture.bytes.extend(gap);
        let compressed = self.compressor.compress(bytes).unwrap();
        let extent = self
            .fixture
            .extent(0, compressed.as_deref().unwrap_or(bytes));
        Cluster {
            len: bytes.len() as u32,
            blocks: extent.len.div_ceil(BLOCK) as u32,
            start_block: extent.start_block,
        }
    }

    fn file(&mut self, name: &str, bytes: &[u8]) {
        let mut file = CompressedFile {
            size: bytes.len() as u64,
            ..CompressedFile::default()
        };
        for chunk in bytes.chunks(self.shape.cluster_size) {
            if chunk.len() < self.shape.cluster_size && self.shape.has_fragments {
                file.fragment = Some(self.packed.len() as u64);
                self.packed.extend(chunk);
            } else {
                file.clusters.push(self.cluster(chunk));
            }
        }
        let content = Content::Compressed(file);
        self.fixture
            .add(Tree::ROOT, name.as_bytes(), metadata(0o644), content);
    }

    fn finish(mut self) -> Fixture {
        let mut packed = std::mem::take(&mut self.packed);
        packed.resize(packed.len().next_multiple_of(4096), 0);
        let chunks = packed.chunks(self.shape.cluster_size);
        let packed = chunks.map(|chunk| self.cluster(chunk)).collect();
        self.fixture.tree.compression = Some(Compression {
            algorithm: self.shape.algorithm,
            cluster_size: self.shape.cluster_size as u32,
            packed,
        });
        self.fixture
    }
}

pub fn made(shape: Shape, files: &[(Kind, usize)]) -> Made {
    let mut packer = Packer::new(shape);
    let mut out = Vec::new();
    for (number, (kind, len)) in files.iter().enumerate() {
        let (name, bytes) = (
            format!("{number:03}"),
            contents(*kind, number as u64 + 1, *len),
        );
        packer.file(&name, &bytes);
        out.push((name, bytes));
    }
    let fixture = packer.finish();
    Made {
        files: out,
        bytes: fixture.image(),
        fixture,
    }
}

fn read_back(made: &Made) {
    let reader = Reader::open(made.bytes.as_slice()).unwrap();
    for (name, wanted) in &made.files {
        let inode = reader.lookup(name.as_bytes()).unwrap().unwrap();
        let mut bytes = vec![0xaa; wanted.len() + 10];
        let len = reader.read_file_at(&inode, &mut bytes, 0).unwrap();
        assert_eq!(len, wanted.len(), "{name}");
        assert!(bytes[..len] == *wanted, "{name}");
        for at in (0..wanted.len()).step_by(50_021) {
            let mut some = [0; 100];
            let len = reader.read_file_at(&inode, &mut some, at as u64).unwrap();
            assert!(
                some[..len] == wanted[at..wanted.len().min(at + 100)],
                "{name} at {at}"
            );
        }
    }
    let read = reader.read_tree().unwrap();
    let is_used = made.files.iter().any(|(_, bytes)| !bytes.is_empty());
    assert_eq!(read.compression.is_some(), is_used);
}

/// All of every file, and pieces of it in no order, from a cold cache.
fn mounted(made: &Made) {
    let mount = Mount::new(&made.bytes);
    for (name, wanted) in made.files.iter().rev() {
        let path = mount.root().join(name);
        let file = fs::File::open(&path).unwrap();
        for at in (0..wanted.len()).rev().step_by(70_001) {
            let mut some = vec![0; 5000.min(wanted.len() - at)];
            file.read_exact_at(&mut some, at as u64).unwrap();
            assert!(some == wanted[at..at + some.len()], "{name} at {at}");
        }
        assert!(fs::read(&path).unwrap() == *wanted, "{name}");
    }
}

const EDGES: [usize; 16] = [
    0,
    1,
    4095,
    4096,
    4097,
    8192,
    65_535,
    65_536,
    65_537,
    131_072,
    135_168,
    200_000,
    262_143,
    262_144,
    1 << 20,
    3_300_000,
];

fn every_kind() -> Vec<(Kind, usize)> {
    let kinds = [
        Kind::Text,
        Kind::Noise,
        Kind::Zeros,
        Kind::Mixed(150_000),
        Kind::Mixed(9000),
    ];
    let of = |kind: Kind| EDGES.into_iter().map(move |len| (kind, len));
    kinds.into_iter().flat_map(of).collect()
}

fn shapes() -> Vec<Shape> {
    let mut out = Vec::new();
    for algorithm in [Algorithm::Lz4, Algorithm::Zstd] {
        for cluster_size in [4096, 16_384, 131_072, 1 << 20] {
            let gaps = if algorithm == Algorithm::Lz4 {
                [(0, false), (1, true)]
            } else {
                [(0, true), (2, false)]
            };
            for (gap, has_fragments) in gaps {
                out.push(Shape {
                    algorithm,
                    cluster_size,
                    gap,
                    has_fragments,
                });
            }
        }
    }
    out
}

#[test]
fn the_kernel_and_the_reader_see_every_kind_of_file() {
    for shape in shapes() {
        let made = made(shape, &every_kind());
        read_back(&made);
        mounted(&made);
    }
}

#[test]
fn an_image_without_fragments_reads_back_as_the_same_tree() {
    let shape = Shape {
        algorithm: Algorithm::Zstd,
        cluster_size: 16_384,
        gap: 0,
        has_fragments: true,
    };
    let made = made(
        shape,
        &[
            (Kind::Text, 100_000),
            (Kind::Zeros, 5000),
            (Kind::Text, 16_384),
        ],
    );
    let read = Reader::open(made.bytes.as_slice())
        .unwrap()
        .read_tree()
        .unwrap();
    assert_eq!(canonical(&made.fixture.tree), canonical(&read));
    assert_eq!(made.fixture.tree.compression, read.compression);
}

#[test]
fn clusters_that_files_share() {
    for algorithm in [Algorithm::Lz4, Algorithm::Zstd] {
        let shape = Shape {
            algorithm,
            cluster_size: 131_072,
            gap: 0,
            has_fragments: false,
        };
        let mut packer = Packer::new(shape);
        let bytes = contents(Kind::Text, 1, 131_072);
        let shared = packer.cluster(&bytes);
        let other = contents(Kind::Noise, 2, 131_072);
        let plain = packer.cluster(&other);
        let mut files = Vec::new();
        for (name, clusters) in [
            ("twice", vec![shared, shared]),
            ("between", vec![plain, shared, plain, shared]),
        ] {
            let file = CompressedFile {
                size: clusters.len() as u64 * 131_072,
                clusters: clusters.clone(),
                fragment: None,
            };
            let content = Content::Compressed(file);
            let fixture = &mut packer.fixture;
            fixture.add(Tree::ROOT, name.as_bytes(), metadata(0o644), content);
            let of = |cluster: &Cluster| if *cluster == shared { &bytes } else { &other };
            files.push((
                name.to_owned(),
                clusters.iter().flat_map(of).copied().collect(),
            ));
        }
        let fixture = packer.finish();
        let made = Made {
            files,
            bytes: fixture.image(),
            fixture,
        };
        read_back(&made);
        mounted(&made);
        extracted(&crate::tools::recent("fsck.erofs"), &made);
    }
}

/// The packed inode of many layers is larger than 4 GiB: the offset's upper half has a place of its
/// own.
#[test]
fn fragments_beyond_4_gib() {
    let shape = Shape {
        algorithm: Algorithm::Zstd,
        cluster_size: 1 << 20,
        gap: 0,
        has_fragments: true,
    };
    let mut packer = Packer::new(shape);
    let zeros = packer.cluster(&vec![0; 1 << 20]);
    let small = contents(Kind::Text, 5, 9000);
    let large = contents(Kind::Text, 6, (2 << 20) + 70_000);
    packer.file("small", &small);
    packer.file("large", &large);
    let before = 4100u64;
    let mut fixture = packer.finish();
    for name in [&b"small"[..], b"large"] {
        let id = fixture.tree.directory(Tree::ROOT).unwrap()[name];
        let Content::Compressed(file) = &mut fixture.tree.get_mut(id).unwrap().content else {
            unreachable!()
        };
        *file.fragment.as_mut().unwrap() += before << 20;
    }
    let compression = fixture.tree.compression.as_mut().unwrap();
    // One cluster of zeros, named again and again.
    let repeated = std::iter::repeat_n(zeros, before as usize);
    compression.packed.splice(0..0, repeated);
    let made = Made {
        files: vec![("small".to_owned(), small), ("large".to_owned(), large)],
        bytes: fixture.image(),
        fixture,
    };
    read_back(&made);
    mounted(&made);
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Text),
        Just(Kind::Noise),
        Just(Kind::Zeros),
        (1..300_000usize).prop_map(Kind::Mixed),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let algorithm = prop_oneof![Just(Algorithm::Lz4), Just(Algorithm::Zstd)];
    (algorithm, 12..=20u32, 0..3usize, any::<bool>()).prop_map(
        |(algorithm, bits, gap, has_fragments)| Shape {
            algorithm,
            cluster_size: 1 << bits,
            gap,
            has_fragments,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn what_chance_makes_is_read(
        shape in shape(),
        files in prop::collection::vec((kind(), 0..600_000usize), 0..8),
    ) {
        let made = made(shape, &files);
        read_back(&made);
        mounted(&made);
    }
}

#[test]
fn what_the_format_has_no_place_for_is_refused() {
    let shape = Shape {
        algorithm: Algorithm::Zstd,
        cluster_size: 16_384,
        gap: 0,
        has_fragments: true,
    };
    let spoil = |how: &dyn Fn(&mut CompressedFile)| {
        let mut made = made(shape, &[(Kind::Text, 40_000)]);
        let id = made.fixture.tree.directory(Tree::ROOT).unwrap()[&b"000"[..]];
        let Content::Compressed(file) = &mut made.fixture.tree.get_mut(id).unwrap().content else {
            unreachable!()
        };
        how(file);
        let options = made.fixture.options();
        match i2kit_format::erofs::write(&made.fixture.tree, &options).unwrap_err() {
            Error::Extent { source, .. } => source,
            other => panic!("{other}"),
        }
    };
    assert_eq!(spoil(&|file| file.fragment = None), ExtentError::Order);
    assert_eq!(spoil(&|file| file.size += 100_000), ExtentError::Outside);
    assert_eq!(spoil(&|file| file.size = 32_768), ExtentError::Order);
    assert_eq!(
        spoil(&|file| file.clusters[0].len = 0),
        ExtentError::Cluster
    );
    assert_eq!(
        spoil(&|file| file.clusters[0].blocks = 5),
        ExtentError::Cluster
    );
    assert_eq!(
        spoil(&|file| file.clusters[0].len = 20_000),
        ExtentError::Cluster
    );
    assert_eq!(
        spoil(&|file| file.clusters[0].len = 16_000),
        ExtentError::Alignment
    );
    assert_eq!(
        spoil(&|file| file.clusters[1].start_block = 1 << 30),
        ExtentError::Outside
    );
    assert_eq!(
        spoil(&|file| file.clusters[1].start_block = 0),
        ExtentError::Outside
    );
    let mut made = made(shape, &[(Kind::Text, 40_000)]);
    made.fixture.tree.compression.as_mut().unwrap().cluster_size = 5000;
    let options = made.fixture.options();
    let error = i2kit_format::erofs::write(&made.fixture.tree, &options).unwrap_err();
    assert!(
        matches!(error, Error::ClusterSize { size: 5000 }),
        "{error}"
    );
}

/// A cluster whose bytes were altered is an error and never other bytes than those that were read.
#[test]
fn an_altered_map_or_cluster_is_an_error_or_other_bytes_and_never_a_panic() {
    let shape = Shape {
        algorithm: Algorithm::Zstd,
        cluster_size: 16_384,
        gap: 0,
        has_fragments: true,
    };
    let made = made(shape, &[(Kind::Text, 100_000), (Kind::Mixed(9000), 50_000)]);
    let metadata = made.fixture.bytes.len();
    let mut errors = 0;
    for at in (1024..1200).chain(metadata..made.bytes.len()) {
        let mut bytes = made.bytes.clone();
        bytes[at] ^= 0x55;
        let Ok(reader) = Reader::open(bytes.as_slice()) else {
            errors += 1;
            continue;
        };
        errors += usize::from(reader.read_tree().is_err());
        for (name, _) in &made.files {
            if let Ok(Some(inode)) = reader.lookup(name.as_bytes()) {
                let mut some = vec![0; 70_000];
                errors += usize::from(reader.read_file_at(&inode, &mut some, 5).is_err());
            }
        }
    }
    assert!(errors > 300, "{errors}");
}

/// erofs-utils 1.5 knows LZ4 and no fragments.
#[test]
fn fsck_checks_and_extracts_lz4() {
    let shape = Shape {
        algorithm: Algorithm::Lz4,
        cluster_size: 65_536,
        gap: 0,
        has_fragments: false,
    };
    let made = made(shape, &every_kind());
    extracted(Path::new("fsck.erofs"), &made);
}

#[test]
fn a_recent_fsck_checks_and_extracts_fragments() {
    for (algorithm, gap) in [
        (Algorithm::Zstd, 0),
        (Algorithm::Zstd, 1),
        (Algorithm::Lz4, 0),
    ] {
        let shape = Shape {
            algorithm,
            cluster_size: 131_072,
            gap,
            has_fragments: true,
        };
        let made = made(shape, &every_kind());
        extracted(&crate::tools::recent("fsck.erofs"), &made);
    }
}

fn extracted(fsck: &Path, made: &Made) {
    let dir = tempfile::tempdir().unwrap();
    let (image, target) = (dir.path().join("image"), dir.path().join("out"));
    fs::write(&image, &made.bytes).unwrap();
    let extract = format!("--extract={}", target.display());
    let output = Command::new(fsck)
        .arg(extract)
        .arg(&image)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    for (name, wanted) in &made.files {
        assert!(fs::read(target.join(name)).unwrap() == *wanted, "{name}");
    }
}
