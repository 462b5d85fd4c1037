//! Small valid inputs of every target, made by our own writers.

use i2kit::sign::{Certificate, Identity, PrivateKey, Signer};
use i2kit_contract::control::{self, Frame};
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
        "envelope" => vec![envelope()],
        "record" => vec![RECORD.as_bytes().to_vec()],
        "runtime" => texts(&RUNTIME),
        "control" => vec![control_frames()],
        "contract" => texts(&[CONTRACT, CONTRACT_WITH_LIFE]),
        "http" => texts(&HTTP),
        "packages" => package_files(),
        "rpm" => vec![sqlite(&rpm_sample()), ndb(&rpm_sample())],
        "program" => programs(),
        "ledger" => texts(&[LEDGER]),
        "answer" => texts(&[AMIS]),
        _ => Vec::new(),
    }
}

const LEDGER: &str = r#"{"version":1,"subject":{"region":"eu-central-1","disk_digest":"00","name":"web","kms_key":null},
"nonce":"00","attempt":0,"records":[{"entry":{"kind":"snapshot","region":"eu-central-1","token":"t","name":"","id":"snap-1",
"request":{"volume_gib":1,"parent":null,"parent_root_hash":null,"description":"d","tags":[["a","b"]],"kms_key":null,
"timeout_minutes":60}},"at":1,"is_going":false}]}"#;

const AMIS: &str = "<DescribeImagesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId>\
<imagesSet><item><imageId>ami-1</imageId><name>web</name><imageState>available</imageState><rootDeviceName>/dev/xvda</rootDeviceName>\
<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><snapshotId>snap-1</snapshotId><volumeSize>1</volumeSize></ebs></item>\
</blockDeviceMapping><tagSet><item><key>a</key><value>b&amp;c</value></item></tagSet></item></imagesSet><nextToken>n</nextToken>\
</DescribeImagesResponse>";

fn envelope() -> Vec<u8> {
    let sealed = i2kit_sbom::dsse::seal(i2kit_sbom::provenance::PAYLOAD_TYPE, b"{}", "k", |_| {
        Ok::<_, std::convert::Infallible>(b"signature".to_vec())
    });
    sealed
        .map(|sealed| sealed.to_json())
        .expect("a seal")
        .expect("JSON")
}

const RECORD: &str = r#"{"version":3,"inputs_key":"k","size":1048576,"data_bytes":4096,"scratch":0,
"root_hash":"00","disk_digest":"sha256:00","partitions":[{"name":"esp","offset":0,"size":1}],
"layers":[{"diff_id":"sha256:00","place":{"slab":1,"slabs":2},"dead":0,"dropped":0}],"holes":0,"metadata":1,
"uki":[{"name":".linux","sha256":"00"}],"signature":null,"measured_boot":null,"ports":[],
"inputs":{},"slabs":[[0,"0000000000000000000000000000000000000000000000000000000000000000"]]}"#;

/// A document with something of everything, and an empty one in JSON.
const RUNTIME: [&str; 2] = [
    "apiVersion: i2kit.io/v1\nkind: RuntimeConfig\npod: a\nhostname: b\n\
     secrets:\n  db: {data: {k: aGk=}, stringData: {p: text}}\n\
     secretsFrom: {e: 'ssm:/a/b#c', f: 'secretsmanager:d'}\n\
     env: {A: \"1\"}\ncontainers: {c: {env: {B: x}}}\n\
     network: {dhcp4: true, ipv6: auto, addresses: [10.0.0.5/24, 'fd00::5/64'],\n\
     \x20 routes: [{to: default, via: 10.0.0.1}], nameservers: ['::1'], search: [a.b], mtu: 1400}\n\
     proxy: {http: http://p, no: [x]}\ntime: {servers: [t.org]}\n",
    r#"{"apiVersion":"i2kit.io/v1","kind":"RuntimeConfig","pod":"a"}"#,
];

fn control_frames() -> Vec<u8> {
    let frames = [
        Frame::new(1, control::Kind::Open, *b"\"state\""),
        Frame::new(1, control::Kind::Data, *b"text"),
        Frame::number(1, control::Kind::Credit, 4),
        Frame::number(1, control::Kind::Exit, 0),
    ];
    let mut bytes = vec![7];
    bytes.extend(frames.iter().flat_map(Frame::encode));
    bytes
}

const HTTP: [&str; 3] = [
    "GET /readyz?verbose HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:81/a?b\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.0 301 x\nlocation: ../c\n folded\n\n",
];

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

const MANIFESTS: [&str; 5] = [
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {x: y}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: c\n    image: i\n    command: [sh, -c, \"$(A)\"]\n    env: [{name: A, value: \"1\"}]\n    ports: [{containerPort: 80}]\n    resources: {limits: {memory: 64Mi, cpu: 500m}}\n    volumeMounts: [{name: v, mountPath: /v}]\n  volumes: [{name: v, emptyDir: {}}]\n",
    "kind: List\napiVersion: v1\nitems:\n- &d {kind: Deployment, apiVersion: apps/v1, metadata: {name: d}, spec: {template: {metadata: {labels: {}}, spec: {containers: [{name: c, image: i, <<: {tty: no}}]}}}}\n- *d\n",
    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"b\",\"securityContext\":{\"runAsUser\":0440}}]}}\n",
    "name: s\nreplicas: 2\nlabels: {a: b}\ncontainers: {a: i, b: {image: j, args: [x]}}\n",
    "kind: ConfigMap\napiVersion: v1\nmetadata: {name: m}\ndata: {k: v}\nbinaryData: {b: AA==}\n---\nkind: Secret\napiVersion: v1\nmetadata: {name: s}\nstringData: {k: v}\n---\nkind: Pod\napiVersion: v1\nmetadata: {name: p}\nspec:\n  hostAliases: [{ip: 1.1.1.1, hostnames: [a]}]\n  dnsConfig: {nameservers: [1.1.1.1], searches: [a.b], options: [{name: x, value: \"1\"}]}\n  securityContext: {fsGroup: 1, supplementalGroups: [2], sysctls: [{name: a.b, value: c}], seccompProfile: {type: RuntimeDefault}}\n  volumes:\n  - {name: c, configMap: {name: m, items: [{key: k, path: a/b, mode: 0400}]}}\n  - {name: s, secret: {secretName: s, optional: true}}\n  - {name: d, downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}}\n  - {name: h, hostPath: {path: /a, type: File}}\n  - {name: m, emptyDir: {medium: Memory, sizeLimit: 1Mi}}\n  - {name: p, persistentVolumeClaim: {claimName: c}}\n  containers:\n  - name: c\n    image: i\n    envFrom: [{prefix: A_, configMapRef: {name: m}}, {secretRef: {name: t}}]\n    env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: B, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}]\n    securityContext: {capabilities: {add: [ALL], drop: [CHOWN]}}\n    volumeMounts: [{name: m, mountPath: /m, subPathExpr: \"$(A)\", mountPropagation: HostToContainer}]\n",
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

const CONTRACT: &str = r#"{"version":1,"name":"a","hostname":"a","names":{"fqdn":"a.b","aliases":[{"ip":"1.1.1.1","hostnames":["x"]}]},"sysctls":[{"name":"a.b","value":"c"}],"process_namespace":"pod","fs_group":{"gid":1},"restart_policy":"Never","termination_grace_period_seconds":30,"on_failure":"power-off","baked_secrets":{"s":{"k":"00ff"}},"volumes":[{"name":"e"},{"name":"m","source":{"memory":{"size_bytes":1}}},{"name":"f","source":{"files":{"files":[{"path":"p","mode":420,"content":{"text":[{"value":"pod-ip"}]}},{"path":"q","mode":256,"content":{"secret":{"from":{"name":"s","key":"k"},"optional":true}}}],"secrets":[{"name":"s","mode":1}]}}},{"name":"h","source":{"host-path":{"path":"/a","kind":"File"}}},{"name":"c","source":{"claim":{"name":"c"}}}],"containers":[{"name":"c","args":["sh",[{"value":{"secret":{"name":"s","key":"k"}},"otherwise":"x"}]],"env":["A=b",{"name":"B","value":["c",{"value":{"capacity":{"resource":"cpu","divisor":1}}}],"optional":true},{"secret":"s","prefix":"P_"}],"working_dir":"/","stop_signal":15,"user":{"uid":0,"gid":0},"security":{"capabilities":["CAP_CHOWN"],"seccomp":"runtime-default"},"mounts":[{"volume":"e","mount_path":"/e","sub_path":"a","propagation":"HostToContainer"}]}]}"#;

const CONTRACT_WITH_LIFE: &str = r#"{"version":1,"name":"a","hostname":"a","restart_policy":"Never","termination_grace_period_seconds":30,"active_deadline_seconds":5,"on_failure":"reboot","containers":[{"name":"c","args":["sh"],"working_dir":"/","stop_signal":15,"user":{"uid":0,"gid":0},"life":{"restart_policy":"OnFailure","restart_rules":[{"operator":"In","exit_codes":[1]}],"liveness_probe":{"check":{"http-get":{"scheme":"HTTPS","host":"::1","port":1,"path":"/","headers":[{"name":"a","value":"b"}]}},"timeout_seconds":1,"period_seconds":1,"success_threshold":1,"failure_threshold":1},"pre_stop":{"sleep":{"seconds":1}},"termination_message":{"path":"/m","policy":"File"},"tty":true}}]}"#;

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
/// Databases and metadata of packages, each after the number of its kind.
fn package_files() -> Vec<Vec<u8>> {
    let files = [
        "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\nArchitecture: amd64\nSource: glibc (2.36)\n\nPackage: gone\nStatus: deinstall ok config-files\n",
        "P:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\nF:lib\nR:x\n\nP:b\nV:1\n",
        "Metadata-Version: 2.1\nName: A_b\nVersion: 1.0\nClassifier: License :: OSI Approved :: MIT License\n\nName: text\n",
        r#"{"name":"@s/a","version":"1.0.0","licenses":[{"type":"MIT"},"ISC"],"author":{"name":"x"}}"#,
        "Format: https://x/\n\nFiles: *\nLicense: GPL-2+ or Expat\n text\n",
        "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME='a \\' b'\n",
        "1:2.3~rc1-4+b1\n1:2.3-4",
        "deb [ signed-by=/x ] http://h.example/debian bookworm main\n\nTypes: deb\nURIs: http://h.example/\nSuites: a b\nComponents: main\n",
    ];
    let numbered = (0..).zip(files);
    numbered
        .map(|(kind, text)| [&[kind], text.as_bytes()].concat())
        .collect()
}

/// An RPM header: tag, type and value of each entry.
pub fn rpm_header(entries: &[(u32, &str)], epoch: u32) -> Vec<u8> {
    let (mut index, mut data) = (Vec::new(), Vec::new());
    data.extend(epoch.to_be_bytes());
    let mut add = |tag: u32, kind: u32, offset: usize| {
        let offset = u32::try_from(offset).expect("a small header");
        for number in [tag, kind, offset, 1] {
            index.extend(number.to_be_bytes());
        }
    };
    add(1003, 4, 0);
    for (tag, text) in entries {
        add(*tag, 6, data.len());
        data.extend(text.as_bytes());
        data.push(0);
    }
    let len = |bytes: usize| u32::try_from(bytes).expect("a small header").to_be_bytes();
    [&len(index.len() / 16), &len(data.len()), &*index, &*data].concat()
}

fn rpm_sample() -> Vec<u8> {
    let entries = [
        (1000, "bash"),
        (1001, "5.2"),
        (1002, "1.fc40"),
        (1044, "bash-5.2-1.fc40.src.rpm"),
    ];
    rpm_header(&entries, 1)
}

/// A database of one row whose second column is `blob`, of at most 400 bytes.
pub fn sqlite(blob: &[u8]) -> Vec<u8> {
    let number = |number: usize| u8::try_from(number).expect("a small number");
    let varint = |value: usize| vec![number(value >> 7) | 0x80, number(value & 0x7f)];
    let record = |types: &[Vec<u8>], body: &[u8]| {
        let types = types.concat();
        let payload = [&[number(types.len() + 1)], &*types, body].concat();
        [varint(payload.len()), vec![1], payload].concat()
    };
    let page = |start: usize, cell: &[u8]| {
        let mut page = vec![0; 512];
        let at = 512 - cell.len();
        page[at..].copy_from_slice(cell);
        page[start] = 13;
        page[start + 4] = 1;
        for place in [start + 5, start + 8] {
            page[place] = number(at >> 8);
            page[place + 1] = number(at & 0xff);
        }
        page
    };
    let text = |len: usize| varint(13 + 2 * len);
    let types = [text(5), text(8), text(8), vec![1], vec![0]];
    let schema = record(&types, b"tablePackagesPackages\x02");
    let mut first = page(100, &schema);
    first[..16].copy_from_slice(b"SQLite format 3\0");
    first[16] = 2;
    let row = record(&[vec![0], varint(12 + 2 * blob.len())], blob);
    [first, page(0, &row)].concat()
}

/// A database of SUSE's format with one package.
pub fn ndb(blob: &[u8]) -> Vec<u8> {
    let mut out = b"Slot\0\0\0\0\0\0\0\0\0\0\0\0".repeat(256);
    out[..32].fill(0);
    out[..4].copy_from_slice(b"RpmP");
    out[12] = 1;
    // Slot 2: package 1, block 256, as many blocks as it takes.
    let blocks = (16 + blob.len() + 12).div_ceil(16);
    out[36] = 1;
    out[41] = 1;
    out[44..48].copy_from_slice(&u32::try_from(blocks).expect("a small blob").to_le_bytes());
    out.extend(b"BlbS\x01\0\0\0\0\0\0\0");
    out.extend(
        u32::try_from(blob.len())
            .expect("a small blob")
            .to_le_bytes(),
    );
    out.extend(blob);
    out.resize(4096 + 16 * blocks, 0);
    out
}

/// A 64-bit program of one writable segment at 0x1000 that holds `data`, and of `sections` (name,
/// address, bytes).
pub fn elf(data: &[u8], sections: &[(&str, u64, &[u8])]) -> Vec<u8> {
    let mut out = vec![0; 64 + 56];
    let put = |out: &mut Vec<u8>, at: usize, bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(&mut out, 0, b"\x7fELF\x02\x01\x01");
    put(&mut out, 32, &64u64.to_le_bytes());
    put(&mut out, 54, &[56, 0, 1]);
    put(&mut out, 64, &[1, 0, 0, 0, 6]);
    for (at, number) in [(72, 120), (80, 0x1000), (96, data.len() as u64)] {
        put(&mut out, at, &number.to_le_bytes());
    }
    out.extend(data);
    if sections.is_empty() {
        return out;
    }
    let mut names = b"\0".to_vec();
    let mut headers = vec![0; 64];
    let mut header = |name: usize, address: u64, offset: usize, size: usize| {
        let mut one = vec![0; 64];
        put(
            &mut one,
            0,
            &u32::try_from(name).expect("a short name").to_le_bytes(),
        );
        one[4] = 1;
        put(&mut one, 16, &address.to_le_bytes());
        put(&mut one, 24, &(offset as u64).to_le_bytes());
        put(&mut one, 32, &(size as u64).to_le_bytes());
        headers.extend(one);
    };
    for (name, address, bytes) in sections {
        header(names.len(), *address, out.len(), bytes.len());
        names.extend(name.as_bytes());
        names.push(0);
        out.extend(*bytes);
    }
    header(0, 0, out.len(), names.len());
    out.extend(&names);
    let at = out.len() as u64;
    put(&mut out, 40, &at.to_le_bytes());
    put(&mut out, 58, &[64]);
    let count = u8::try_from(sections.len() + 2).expect("few sections");
    put(&mut out, 60, &[count, 0, count - 1]);
    out.extend(headers);
    out
}

/// What Go's linker writes into the data at 0x1000: strings behind the header, or pointers to them.
pub fn go_data(version: &str, modules: &str, is_inline: bool) -> Vec<u8> {
    let framed = format!("0123456789abcdef{modules}0123456789abcdef");
    let mut out = b"\xff Go buildinf:\x08".to_vec();
    out.push(if is_inline { 2 } else { 0 });
    if is_inline {
        out.resize(32, 0);
        for text in [version, &framed] {
            let len = text.len();
            out.push(u8::try_from(len & 0x7f).expect("seven bits") | 0x80);
            out.push(u8::try_from(len >> 7).expect("a short text"));
            out.extend(text.as_bytes());
        }
        // The linker pads it.
        out.push(0);
        return out;
    }
    let (headers, texts) = (0x1000 + 32, 0x1000 + 64);
    for number in [headers, headers + 16] {
        out.extend(u64::to_le_bytes(number));
    }
    let (version_len, modules_len) = (version.len() as u64, framed.len() as u64);
    for number in [texts, version_len, texts + version_len, modules_len] {
        out.extend(u64::to_le_bytes(number));
    }
    out.extend(version.as_bytes());
    out.extend(framed.as_bytes());
    out
}

fn programs() -> Vec<Vec<u8>> {
    let modules = "path\tx.example/a\nmod\tx.example/a\t(devel)\t\ndep\tx.example/b\tv1.0.0\th1:x=\n=>\tx.example/c\tv2.0.0\t\n";
    let inline = go_data("go1.22.1", modules, true);
    let pointers = go_data("go1.12", modules, false);
    let mut zlib = vec![0x78, 0x01, 0x01];
    let json = br#"{"packages":[{"name":"a","version":"1.0.0"},{"name":"b","version":"1.0.0","kind":"build"}]}"#;
    let len = u16::try_from(json.len()).expect("a short text");
    zlib.extend([len.to_le_bytes(), (!len).to_le_bytes()].concat());
    zlib.extend(json);
    vec![
        elf(&inline, &[]),
        elf(&pointers, &[(".go.buildinfo", 0x1000, b"")]),
        elf(b"x", &[(".dep-v0", 0, &zlib)]),
    ]
}
