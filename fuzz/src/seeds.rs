//! Small valid inputs of every target, made by our own writers.

use i2kit::sign::{Certificate, Identity, PrivateKey, Signer};
use i2kit_format::erofs::{
    Algorithm, Cluster, CompressedFile, Compression, Compressor, Content, Directory, FileData,
    FileExtent, Inode, Metadata, Options, Tree, write,
};
use i2kit_format::guid::Guid;
use i2kit_format::{ReadAt, cpio, efi, fat, gpt, layout, verity};

use super::tarball::{Dialect, Item, Kind, archive};

/// The seeds of the target of that name; none for an unknown one.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "tar" => tars(),
        "oci" => vec![OCI.join("\0").into_bytes()],
        "reference" => texts(&REFERENCES),
        "registries" => texts(&REGISTRIES),
        "credentials" => texts(&CREDENTIALS),
        "manifest" => texts(&MANIFESTS),
        "archive" => archives(),
        "policy" => POLICIES
            .iter()
            .map(|parts| parts.join("\0").into_bytes())
            .collect(),
        "erofs" => vec![erofs(), compressed_erofs()],
        "gpt" => vec![gpt_disk()],
        "fat" => vec![fat_volume()],
        "pe" => vec![pe()],
        "authenticode" => vec![pe(), signed_pe()],
        "signature" => vec![[CERTIFICATE, b"\0", &signed_pe()].concat(), KEY.to_vec()],
        "variables" => vec![variables()],
        "cpio" => vec![cpio_archive()],
        "verity" => vec![hash_tree()],
        "disk" => vec![gpt_disk()],
        "contract" => vec![CONTRACT.as_bytes().to_vec()],
        _ => Vec::new(),
    }
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn tars() -> Vec<Vec<u8>> {
    let long = "n".repeat(150);
    let plain = vec![
        Item::dir("d"),
        Item::file("d/f", "data"),
        Item::symlink("s", &long),
        Item::link("h", "d/f"),
        Item::new("c", Kind::Char(1, 3)),
        Item::file(&long, "x").owner(5_000_000, 1),
    ];
    let mut extended = plain.clone();
    extended.push(Item::file("x", "y").xattr("user.a", "b").mtime(-5, 7));
    extended.push(Item::file("z", "").record("LIBARCHIVE.xattr.user.a", "aGk="));
    let sparse = Item::file("sparse", "0123456789")
        .record("GNU.sparse.major", "1")
        .record("GNU.sparse.map", "0,4,100,6")
        .record("GNU.sparse.size", "200");
    vec![
        archive(&plain, Dialect::Gnu),
        archive(&extended, Dialect::Pax),
        archive(&[sparse], Dialect::Pax),
    ]
}

fn archives() -> Vec<Vec<u8>> {
    let config = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#;
    let manifest = r#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["b/layer.tar"]}]"#;
    let docker = [
        Item::file("c.json", config),
        Item::dir("a"),
        Item::file("a/layer.tar", ""),
        Item::symlink("b/layer.tar", "../a/layer.tar"),
        Item::file("manifest.json", manifest),
    ];
    let layout = [
        Item::file("oci-layout", "{}"),
        Item::file("index.json", OCI[0]),
        Item::link("blobs/sha256/x", "./index.json"),
    ];
    let split = "{\"type\":2,\"payload\":\"YWJj\",\"position\":0}\n\
                 {\"type\":1,\"name\":\"archive\",\"size\":191,\"payload\":\"AA==\"}\n\
                 {\"type\":1,\"name_raw\":\"YXJjaGl2ZQ==\",\"payload\":null}\n\
                 {\"type\":1,\"name\":\"../archive\",\"size\":191}\n";
    vec![
        archive(&docker, Dialect::Gnu),
        archive(&layout, Dialect::Pax),
        split.as_bytes().to_vec(),
    ]
}

const OCI: [&str; 3] = [
    r##"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"@1","size":"#1","annotations":{"org.opencontainers.image.ref.name":"latest"}}]}"##,
    r##"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"@2","size":"#2"},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"@2","size":"#2"}]}"##,
    r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"],"Cmd":["x"]},"rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#,
];

const REFERENCES: [&str; 5] = [
    "nginx:1.27",
    "index.docker.io/a/b-c__d.e",
    "localhost:5000/x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "[2001:db8::1]:443/library/x:T_1",
    "docker.io/a.b/c",
];

const REGISTRIES: [&str; 2] = [
    "unqualified-search-registries = ['x.io']\ncredential-helpers = ['y']\n[aliases]\n'nginx' = 'a.io/b'\n[[registry]]\nprefix = 'a.io/x'\nlocation = 'b.io:5000/z'\ninsecure = true\n[[registry.mirror]]\nlocation = 'c.io'\npull-from-mirror = 'tag-only'\n[[registry]]\nprefix = '*.a.io'\nblocked = false\n[[registry]]\nlocation = 'docker.io'\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = 'd.io/e'\n",
    "server = 'https://a.io'\nskip_verify = true\n[host.'http://b.io:5000/c/v2/d']\noverride_path = true\ncapabilities = ['pull', 'resolve']\nca = ['x', '/y']\nclient = [['z', 'w']]\n[host.'https://e.io']\n",
];

const CREDENTIALS: [&str; 2] = [
    r#"{"auths":{"a.io/x":{"auth":"dTpw"},"https://index.docker.io/v1/":{"identitytoken":"t"},"b.io":{}},"credsStore":"s"}"#,
    r#"{"auths":{"a.io":{"username":"u","password":"p"},"docker.io/x":{"registrytoken":"r"}},"credHelpers":{"docker.io":"h"}}"#,
];

const MANIFESTS: [&str; 3] = [
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {x: y}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: c\n    image: i\n    command: [sh, -c, \"$(A)\"]\n    env: [{name: A, value: \"1\"}]\n    ports: [{containerPort: 80}]\n    resources: {limits: {memory: 64Mi, cpu: 500m}}\n    volumeMounts: [{name: v, mountPath: /v}]\n  volumes: [{name: v, emptyDir: {}}]\n",
    "kind: List\napiVersion: v1\nitems:\n- &d {kind: Deployment, apiVersion: apps/v1, metadata: {name: d}, spec: {template: {metadata: {labels: {}}, spec: {containers: [{name: c, image: i, <<: {tty: no}}]}}}}\n- *d\n",
    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"b\",\"securityContext\":{\"runAsUser\":0440}}]}}\n",
];

const PAYLOAD: &str = r#"{"critical":{"identity":{"docker-reference":"h.example/ns/app:1"},"image":{"docker-manifest-digest":"@DIGEST"},"type":"cosign container image signature"},"optional":null}"#;
const STATEMENT: &str = r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"@HEX"},"annotations":{}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}"#;
const BUNDLE: &str = r#"{"mediaType":"application/vnd.dev.sigstore.bundle+json;version=0.2","verificationMaterial":{"publicKey":{"hint":"x"}},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"RBNvo1WzZ4oRRq0W9+hknpT7T8If537DEMBg9hyq/4o="},"signature":"aGk="}}"#;
const POLICIES: [[&str; 4]; 4] = [
    [
        r#"{"default":[{"type":"sigstoreSigned","keyData":"@KEY"}]}"#,
        PAYLOAD,
        STATEMENT,
        BUNDLE,
    ],
    [
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"*.example":[{"type":"sigstoreSigned","keyDatas":["@KEY"],"signedIdentity":{"type":"matchDigest"}}]},"oci":{"/a":[{"type":"insecureAcceptAnything"}]}}}"#,
        "h.example/other:1",
        STATEMENT,
        BUNDLE,
    ],
    [
        r#"{"default":[{"type":"sigstoreSigned","keyData":"@KEY","signedIdentity":{"type":"remapIdentity","prefix":"h.example","signedPrefix":"x"}}],"transports":{"docker-daemon":{"":[{"type":"sigstoreSigned","keyData":"@KEY","signedIdentity":{"type":"exactRepository","dockerRepository":"h.example/ns/app"}}]}}}"#,
        PAYLOAD,
        "",
        "{}",
    ],
    [
        r#"{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"},{"type":"sigstoreSigned","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"},"rekorPublicKeyPath":"/r"}]}"#,
        "",
        "",
        "",
    ],
];

const CONTRACT: &str = r#"{"version":1,"name":"a","hostname":"a","restart_policy":"Never","termination_grace_period_seconds":30,"on_failure":"power-off","containers":[{"name":"c","args":["sh"],"env":["A=b"],"working_dir":"/","stop_signal":15,"user":{"uid":0,"gid":0}}]}"#;

fn erofs() -> Vec<u8> {
    let metadata = |mode| {
        let xattrs = [(b"user.a"[..].into(), b"value"[..].into())];
        Metadata {
            mode,
            mtime: 7,
            xattrs: xattrs.into_iter().collect(),
            ..Metadata::default()
        }
    };
    let mut tree = Tree::new(metadata(0o755));
    let extent = FileExtent {
        offset: 4096,
        len: 100,
        start_block: 1,
    };
    let file = Content::Regular(FileData {
        size: 5000,
        extents: vec![extent],
    });
    let contents = [
        (&b"file"[..], file),
        (b"link", Content::Symlink(b"target"[..].into())),
        (b"dir", Content::Directory(Directory::new())),
        (b"null", Content::CharDevice { major: 1, minor: 3 }),
    ];
    for (name, content) in contents {
        let id = tree.add(Inode {
            metadata: metadata(0o644),
            content,
        });
        if let Some(root) = tree.directory_mut(Tree::ROOT) {
            root.insert(name.into(), id);
        }
    }
    let options = Options {
        meta_start_block: 2,
        uuid: [1; 16],
        volume_name: *b"seed\0\0\0\0\0\0\0\0\0\0\0\0",
    };
    let image = write(&tree, &options).expect("a small tree");
    let mut out = image.first_block.to_vec();
    out.resize(2 * 4096, 5);
    out.extend(image.metadata);
    out
}

/// A file of two clusters and a tail, and a small one; both ends lie in the packed inode.
fn compressed_erofs() -> Vec<u8> {
    let mut tree = Tree::new(Metadata::default());
    let bytes = b"seed ".repeat(1700);
    let mut compressor = Compressor::new(Algorithm::Zstd, 1).expect("a level");
    let blocks = compressor
        .compress(&bytes[..8192])
        .expect("a small cluster");
    let blocks = blocks.expect("text");
    let cluster = |start_block| Cluster {
        len: 8192,
        blocks: 1,
        start_block,
    };
    let files = [
        (16_384 + 100, vec![cluster(1), cluster(2)], 0),
        (50, Vec::new(), 100),
    ];
    for (name, (size, clusters, fragment)) in [&b"large"[..], b"small"].into_iter().zip(files) {
        let content = Content::Compressed(CompressedFile {
            size,
            clusters,
            fragment: Some(fragment),
        });
        let id = tree.add(Inode {
            metadata: Metadata::default(),
            content,
        });
        if let Some(root) = tree.directory_mut(Tree::ROOT) {
            root.insert(name.into(), id);
        }
    }
    tree.compression = Some(Compression {
        algorithm: Algorithm::Zstd,
        cluster_size: 8192,
        packed: vec![cluster(3)],
    });
    let options = Options {
        meta_start_block: 4,
        uuid: [1; 16],
        volume_name: *b"seed\0\0\0\0\0\0\0\0\0\0\0\0",
    };
    let image = write(&tree, &options).expect("a small tree");
    let mut out = image.first_block.to_vec();
    (0..3).for_each(|_| out.extend(&blocks));
    out.extend(image.metadata);
    out
}

fn gpt_disk() -> Vec<u8> {
    let partition = |number: u8, first_lba, last_lba| gpt::Partition {
        type_guid: gpt::types::ESP,
        unique_guid: Guid::from_digest(&[number; 16]),
        name: format!("part {number}"),
        first_lba,
        last_lba,
        attributes: 0,
    };
    let partitions = [partition(1, 40, 47), partition(2, 48, 55)];
    let table = gpt::write(Guid::from_digest(&[9; 16]), &partitions, 96).expect("a small table");
    let mut disk = table.primary;
    disk.resize(96 * 512 - table.backup.len(), 0);
    disk.extend(table.backup);
    disk
}

fn filled(layout: &layout::Layout, inputs: &[&dyn ReadAt]) -> Vec<u8> {
    layout.fill(inputs).expect("inputs as planned")
}

fn fat_volume() -> Vec<u8> {
    let files = [("EFI/BOOT/BOOTX64.EFI", 700), ("a longer name.text", 0)];
    let files = files.map(|(path, size)| fat::NewFile {
        path: path.to_owned(),
        size,
    });
    let options = fat::Options {
        volume_id: 1,
        label: "ESP".to_owned(),
        min_size: 0,
    };
    let layout = fat::plan(&files, &options).expect("a small volume");
    filled(&layout, &[&vec![7; 700], &Vec::new()])
}

fn cpio_archive() -> Vec<u8> {
    let entry = |path: &str, kind| cpio::Entry {
        path: path.to_owned(),
        mode: 0o755,
        kind,
    };
    let entries = [
        entry("d", cpio::Kind::Directory),
        entry("d/f", cpio::Kind::Regular { input: 0, size: 3 }),
        entry("s", cpio::Kind::Symlink("d/f".to_owned())),
    ];
    let layout = cpio::plan(&entries).expect("a small archive");
    filled(&layout, &[&b"abc".to_vec()])
}

fn hash_tree() -> Vec<u8> {
    let mut out = vec![3; 4096];
    out.extend(verity::Superblock::new([1; 16], 1).to_block());
    out
}

/// The least PE32+ file: headers and one section.
pub fn pe() -> Vec<u8> {
    let mut out = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(to) = out.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    };
    put(0, b"MZ");
    put(60, &64u32.to_le_bytes());
    put(64, b"PE\0\0");
    put(68, &0x8664u16.to_le_bytes());
    put(70, &1u16.to_le_bytes());
    put(84, &240u16.to_le_bytes());
    put(86, &0x22u16.to_le_bytes());
    // The optional header: magic, alignments, sizes, data directories.
    put(88, &0x20bu16.to_le_bytes());
    put(88 + 32, &4096u32.to_le_bytes());
    put(88 + 36, &512u32.to_le_bytes());
    put(88 + 56, &8192u32.to_le_bytes());
    put(88 + 60, &512u32.to_le_bytes());
    put(88 + 108, &16u32.to_le_bytes());
    // The section.
    put(328, b".text\0\0\0");
    put(336, &16u32.to_le_bytes());
    put(340, &4096u32.to_le_bytes());
    put(344, &512u32.to_le_bytes());
    put(348, &512u32.to_le_bytes());
    put(364, &0x6000_0020u32.to_le_bytes());
    out
}

/// A key that signs nothing but tests, and its certificate.
const KEY: &[u8] = include_bytes!("../../fixtures/secure-boot/key.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../fixtures/secure-boot/cert.pem");

fn signed_pe() -> Vec<u8> {
    let certificate = Certificate::from_pem(CERTIFICATE).expect("a certificate");
    let key = PrivateKey::from_pem(KEY).expect("a key");
    let identity = Identity::new(certificate, Signer::Key(key)).expect("they match");
    let mut image = pe();
    identity
        .sign(&mut image)
        .expect("an image that can be signed");
    image
}

/// A store of 1 KiB with two variables.
pub fn variables() -> Vec<u8> {
    let variable = |name: &str, data: &[u8]| efi::Variable {
        name: name.to_owned(),
        vendor: efi::GLOBAL_VARIABLE,
        attributes: efi::NON_VOLATILE | efi::BOOTSERVICE_ACCESS,
        time: efi::Time::default(),
        data: data.to_vec(),
    };
    let written = efi::store::write(&empty_store(), &[variable("a", b"1"), variable("bc", b"")]);
    written.expect("room for two variables")
}

/// The volume's header, the store's, and erased flash.
pub fn empty_store() -> Vec<u8> {
    let mut out = vec![0xff; 1024];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(to) = out.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    };
    put(0, &[0; 72]);
    let volume = Guid::from_u128(0xfff12b8d_7696_4c8b_a985_2747075b4f50);
    put(16, &volume.to_mixed_endian());
    put(32, &1024u64.to_le_bytes());
    put(40, b"_FVH");
    put(48, &72u16.to_le_bytes());
    let store = Guid::from_u128(0xaaf32c78_947b_439a_a180_2e144ec37792);
    put(72, &store.to_mixed_endian());
    put(88, &900u32.to_le_bytes());
    put(92, &[0x5a, 0xfe, 0, 0, 0, 0, 0, 0]);
    out
}
