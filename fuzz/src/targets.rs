//! What is called with any bytes: it answers or refuses, and ends.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::Path;

use i2kit::layer::tar::Reader;
use i2kit::manifest::{Input, load};
use i2kit::oci::policy::Policy;
use i2kit::oci::registry::{Hosts, Keyring, Registries, RegistriesConf, Settings};
use i2kit::oci::signature::{Key, Signatures};
use i2kit::oci::{
    self, Document, Image, LayoutSource, LocalSources, Platform, Reference, Scratch, Source,
    TarSplit,
};
use i2kit::sign;
use i2kit_contract::control::{Decoder, MAX_DATA};
use i2kit_contract::runtime::RuntimeConfig;
use i2kit_format::{ReadAt, authenticode, cpio, efi, erofs, fat, gpt, pcr, uki, verity};
use i2kit_sbom::{Bill, Binary, Distribution, Package, Part, PartKind, oci_purl};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest};
use sha2::{Digest, Sha256};

/// A target and its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: &[Target] = &[
    ("tar", tar),
    ("oci", oci),
    ("archive", archive),
    ("reference", reference),
    ("registries", registries),
    ("credentials", credentials),
    ("manifest", manifest),
    ("policy", policy),
    ("erofs", erofs),
    ("gpt", gpt),
    ("fat", fat),
    ("pe", pe),
    ("authenticode", authenticode),
    ("signature", signature),
    ("variables", variables),
    ("cpio", cpio),
    ("verity", verity),
    ("disk", disk),
    ("contract", contract),
    ("envelope", envelope),
    ("record", record),
    ("runtime", runtime),
    ("control", control),
    ("http", http),
    ("packages", packages),
    ("rpm", rpm),
    ("program", program),
    #[cfg(feature = "cli")]
    ("ledger", ledger),
    #[cfg(feature = "cli")]
    ("answer", answer),
];

/// Entries of a tar, their data read.
pub fn tar(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut buffer = [0; 4096];
    while let Ok(Some(header)) = reader.next_entry() {
        let stored: u64 = header.segments.iter().map(|segment| segment.len).sum();
        assert!(header.segments.is_empty() || stored <= header.size);
        while matches!(reader.read_data(&mut buffer), Ok(got) if got > 0) {}
    }
}

/// A layout of up to three documents, NUL between them: index, manifest, config. `@1`, `@2` stand
/// for the digests of the second and the third, `#1`, `#2` for their sizes.
pub fn oci(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let (index, manifest) = (parts.next().unwrap_or(b""), parts.next().unwrap_or(b""));
    let config = parts.next().unwrap_or(b"");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let blobs = folder.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a folder for blobs");
    let put = |bytes: &[u8]| {
        let name = hex::encode(Sha256::digest(bytes));
        fs::write(blobs.join(&name), bytes).expect("a blob");
        (format!("sha256:{name}"), bytes.len().to_string())
    };
    let fill = |text: &[u8], number: char, blob: &(String, String)| {
        let text = String::from_utf8_lossy(text);
        let text = text.replace(&format!("@{number}"), &blob.0);
        text.replace(&format!("\"#{number}\""), &blob.1)
    };
    let config = put(config);
    let manifest = put(fill(manifest, '2', &config).as_bytes());
    let index = fill(index, '1', &manifest);
    fs::write(folder.path().join("index.json"), index).expect("an index");
    fs::write(folder.path().join("oci-layout"), "{}").expect("a layout");
    let Ok(reference) = folder.path().display().to_string().parse() else {
        return;
    };
    let source = LayoutSource::new(reference);
    if let Ok(image) = source.image(&Platform::default()) {
        for layer in &image.layers {
            let _ = source.open(layer).map(|mut blob| blob.read(&mut [0; 16]));
        }
    }
}

/// An image's name: what either form of it shows means the same.
pub fn reference(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(reference) = text.parse::<Reference>() else {
        return;
    };
    for shown in [reference.to_string(), reference.familiar()] {
        let again = shown.parse::<Reference>().expect("what is shown is a name");
        assert_eq!(again, reference, "{shown}");
        assert_eq!(again.to_string(), reference.to_string());
    }
}

/// What a policy asks for, and finds: up to four parts, NUL between them. The policy, where `@KEY`
/// stands for a key in base64; a simple signing payload and an in-toto statement, where `@DIGEST`
/// and `@HEX` stand for the image's digest, both of which that key signs; a bundle.
pub fn policy(data: &[u8]) {
    let _ = Key::from_pem(data);
    let text = |part: Option<&[u8]>| String::from_utf8_lossy(part.unwrap_or(b"")).into_owned();
    let mut parts = data.splitn(4, |byte| *byte == 0);
    let signer = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
    let rules = text(parts.next()).replace("@KEY", &base64(pem(&signer).as_bytes()));
    let Ok(policy) = Policy::parse("fuzz", rules.as_bytes()) else {
        return;
    };
    let manifest = document(b"{}");
    let fill = |part: String| {
        let part = part.replace("@DIGEST", &manifest.digest.to_string());
        part.replace("@HEX", &manifest.digest.hex())
    };
    let (payload, statement) = (fill(text(parts.next())), fill(text(parts.next())));
    let reference = payload.lines().next().unwrap_or("").to_owned();
    let kept = Kept::new(&signer, &payload, &statement, parts.next().unwrap_or(b""));
    let image = Image {
        index: None,
        config_document: document(b"{}"),
        manifest,
        config: ImageConfiguration::default(),
        layers: Vec::new(),
    };
    for (transport, reference) in [
        ("docker", "h.example/ns/app:1"),
        ("docker", reference.as_str()),
        ("docker-daemon", "app"),
        ("docker-archive", "app.tar"),
        ("containers-storage", "[overlay@/s]app"),
        ("oci", "/"),
    ] {
        if let Err(error) = policy.check(transport, reference, &image, &kept) {
            assert!(!error.to_string().is_empty());
        }
    }
}

fn document(bytes: &[u8]) -> Document {
    Document {
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        digest: oci::Digest::of(bytes),
        bytes: bytes.to_vec(),
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

/// The public key's PEM: RFC 8410's SubjectPublicKeyInfo around 32 bytes.
fn pem(signer: &ring::signature::Ed25519KeyPair) -> String {
    use ring::signature::KeyPair as _;
    let mut der = hex::decode("302a300506032b6570032100").expect("hex");
    der.extend(signer.public_key().as_ref());
    let body = base64(&der);
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

/// Signatures in memory: the blobs by their digests.
struct Kept {
    blobs: std::collections::BTreeMap<String, Vec<u8>>,
    tagged: Vec<u8>,
    referrer: Descriptor,
}

impl Kept {
    fn new(
        signer: &ring::signature::Ed25519KeyPair,
        payload: &str,
        statement: &str,
        bundle: &[u8],
    ) -> Self {
        let mut blobs = std::collections::BTreeMap::new();
        let mut put = |media_type: &str, bytes: &[u8]| {
            let digest = oci::Digest::of(bytes).to_string();
            let descriptor = format!(
                r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#,
                bytes.len()
            );
            blobs.insert(digest, bytes.to_vec());
            descriptor
        };
        let signature = base64(signer.sign(payload.as_bytes()).as_ref());
        let layer = put(
            "application/vnd.dev.cosign.simplesigning.v1+json",
            payload.as_bytes(),
        );
        let annotated =
            format!(r#","annotations":{{"dev.cosignproject.cosign/signature":"{signature}"}}}}"#);
        let tagged = manifest_of(&[layer.replace('}', &annotated)]);
        let kind = "application/vnd.in-toto+json";
        let message = format!(
            "DSSEv1 {} {kind} {} {statement}",
            kind.len(),
            statement.len()
        );
        let signed = format!(
            r#"{{"mediaType":"{BUNDLE}","verificationMaterial":{{}},"dsseEnvelope":{{"payload":"{}","payloadType":"{kind}","signatures":[{{"sig":"{}"}}]}}}}"#,
            base64(statement.as_bytes()),
            base64(signer.sign(message.as_bytes()).as_ref())
        );
        let bundles = [put(BUNDLE, bundle), put(BUNDLE, signed.as_bytes())];
        let manifest_type = "application/vnd.oci.image.manifest.v1+json";
        let referrer = put(manifest_type, &manifest_of(&bundles));
        Self {
            referrer: serde_json::from_str(&referrer).expect("a descriptor"),
            blobs,
            tagged,
        }
    }

    fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>, oci::Error> {
        let found = self.blobs.get(&descriptor.digest().to_string());
        Ok(found.cloned().unwrap_or_default())
    }
}

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn manifest_of(layers: &[String]) -> Vec<u8> {
    let layers = layers.join(",");
    let config = format!(
        r#"{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{}","size":2}}"#,
        oci::Digest::of(b"{}")
    );
    let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#);
    serde_json::from_str::<ImageManifest>(&text).expect("a manifest");
    text.into_bytes()
}

impl Signatures for Kept {
    fn tagged(&self, _: &str) -> Result<Option<Vec<u8>>, oci::Error> {
        Ok(Some(self.tagged.clone()))
    }

    fn referrers(&self, _: &oci::Digest) -> Result<Vec<Descriptor>, oci::Error> {
        Ok(vec![self.referrer.clone()])
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, oci::Error> {
        self.read(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, oci::Error> {
        self.read(descriptor)
    }
}

/// `registries.conf` and `hosts.toml`: each image is somewhere or refused, the registry after its
/// mirrors.
pub fn registries(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let path = Path::new("registries");
    for for_all in [false, true] {
        let _ = Hosts::parse(path, &text, for_all);
    }
    let Ok(conf) = RegistriesConf::parse(path, &text) else {
        return;
    };
    let mut again = conf.clone();
    again.merge(conf.clone());
    assert_eq!(again, conf);
    let registries = Registries::new(settings([]), conf);
    for name in ["nginx", "a.io/x/y:1", "b.a.io:5000/x", "localhost:1/a/b"] {
        let reference = registries.reference(name).expect("a name");
        let Ok(endpoints) = registries.endpoints(&reference) else {
            continue;
        };
        let last = endpoints.last().expect("a place");
        assert!(!last.is_mirror && last.by_tag);
        assert!(endpoints.iter().all(|one| !one.repository.is_empty()));
    }
}

/// `config.json` with credentials; programs that it names are not there.
pub fn credentials(data: &[u8]) {
    let text = String::from_utf8_lossy(data).replace('\0', "");
    let settings = settings([("DOCKER_AUTH_CONFIG".into(), text.into())]);
    let keyring = Keyring::new(&Registries::new(settings, RegistriesConf::default()));
    for host in ["a.io", "registry-1.docker.io"] {
        if let Err(error) = keyring.credential(host, "x/y") {
            assert!(!error.to_string().contains('\n'));
        }
    }
}

/// Of a machine without files.
fn settings<const N: usize>(variables: [(OsString, OsString); N]) -> Settings {
    Settings::new(oci::Environment::new(variables, 0, "/dev/null"))
}

/// An archive of images of both kinds, and the lines of a tar-split file.
pub fn archive(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("archive");
    fs::write(&file, data).expect("an archive");
    let scratch = Scratch {
        folder: folder.path().to_owned(),
        limit: 1 << 20,
        ..Scratch::default()
    };
    let sources = LocalSources::new(scratch, oci::Environment::new([], 0, folder.path()));
    for transport in ["docker-archive", "oci-archive"] {
        let source = sources.open(&format!("{transport}:{}", file.display()));
        let Ok(source) = source else { return };
        if let Ok(image) = source.image(&Platform::default()) {
            for layer in &image.layers {
                let _ = source.open(layer).map(|mut blob| blob.read(&mut [0; 16]));
            }
        }
    }
    let lines = Box::new(std::io::Cursor::new(data.to_vec()));
    let mut tar = TarSplit::new(lines, folder.path()).expect("a folder");
    let mut buffer = [0; 4096];
    // A file's line is shorter than the contents that it stands for.
    for _ in 0..1000 {
        match tar.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(first) => {
                let again = tar.read(&mut buffer).expect_err("an error stays one");
                assert_eq!(first.kind(), again.kind());
                return;
            }
        }
    }
}

/// A manifest.
pub fn manifest(data: &[u8]) {
    let input = Input {
        name: "fuzz.yaml".to_owned(),
        bytes: data.to_vec(),
    };
    if let Err(errors) = load(&[input], None) {
        assert!(!errors.to_string().is_empty());
    }
}

/// An EROFS image, every inode of it.
pub fn erofs(data: &[u8]) {
    let Ok(reader) = erofs::Reader::open(data) else {
        return;
    };
    let _ = reader.read_tree();
    let _ = reader.lookup(b"a/b/../c");
    let mut seen = std::collections::BTreeSet::new();
    let mut pending: Vec<_> = reader.root().into_iter().collect();
    let mut buffer = vec![0; 8192];
    while let Some(inode) = pending.pop() {
        let _ = (
            reader.xattrs(&inode),
            reader.extents(&inode),
            reader.read_link(&inode),
        );
        for offset in [0, inode.size.saturating_sub(10), u64::MAX] {
            let _ = reader.read_file_at(&inode, &mut buffer, offset);
        }
        for entry in reader.read_dir(&inode).into_iter().flatten() {
            if seen.insert(entry.nid) {
                pending.extend(reader.inode(entry.nid));
            }
        }
    }
}

/// A partition table.
pub fn gpt(data: &[u8]) {
    if let Ok(table) = gpt::read(data) {
        for partition in &table.partitions {
            assert!(partition.first_lba <= partition.last_lba);
            let _ = (partition.offset(), partition.size());
        }
    }
}

/// A FAT16 volume.
pub fn fat(data: &[u8]) {
    if let Ok(volume) = fat::read(data) {
        for entry in &volume.entries {
            let len: u64 = entry.extents.iter().map(|extent| extent.len).sum();
            assert_eq!(len, entry.size);
            let end = |extent: &fat::Extent| extent.offset + extent.len;
            assert!(
                entry
                    .extents
                    .iter()
                    .all(|extent| end(extent) <= data.len() as u64)
            );
        }
    }
}

/// A PE file, as a UKI and as the stub of one.
pub fn pe(data: &[u8]) {
    let _ = uki::read(data);
    if let Ok(parts) = uki::signed_parts(data) {
        // Headers and sections may overlap; none is made up.
        assert!(parts.iter().all(|part| part.len() <= data.len()));
    }
    let _ = pcr::Stub::of(data);
    let _ = pcr::kernel_image(data, &[".linux", ".cmdline"], pcr::Bank::Sha256);
    let _ = pcr::boot_manager_code(data, true, pcr::Bank::Sha384);
    if let Ok(made) = uki::assemble(data, &[(".cmdline", b"x"), (".linux", b"kernel")]) {
        let image = uki::read(&made).expect("what was made can be read");
        assert!(image.section(".linux").is_some());
    }
}

/// A PE file, as what a signature covers.
pub fn authenticode(data: &[u8]) {
    let _ = authenticode::certificates(data);
    let Ok(digest) = authenticode::digest(data) else {
        return;
    };
    let mut image = data.to_vec();
    authenticode::detach(&mut image).expect("what has a digest can lose its signature");
    assert_eq!(authenticode::digest(&image).expect("a digest"), digest);
    authenticode::attach(&mut image, b"signature").expect("and get another one");
    assert_eq!(authenticode::digest(&image).expect("a digest"), digest);
    let found = authenticode::certificates(&image).expect("a table");
    assert!(matches!(found.as_slice(), [one] if one.data == b"signature"));
}

/// A certificate in PEM, NUL, and a signed PE file.
pub fn signature(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == 0);
    let (pem, image) = data.split_at(at.unwrap_or(data.len()));
    let _ = sign::PrivateKey::from_pem(pem);
    if let Ok(certificate) = sign::Certificate::from_pem(pem) {
        let _ = sign::verify(image.get(1..).unwrap_or_default(), &certificate);
    }
}

/// A variable store: what is read can be written and read again.
pub fn variables(data: &[u8]) {
    let Ok(found) = efi::store::read(data) else {
        return;
    };
    if let Ok(written) = efi::store::write(data, &[]) {
        assert_eq!(efi::store::read(&written).expect("a store"), found);
    }
}

/// A cpio archive.
pub fn cpio(data: &[u8]) {
    if let Ok(entries) = cpio::read(data) {
        assert!(
            entries
                .iter()
                .all(|entry| data.get(entry.data.clone()).is_some())
        );
    }
}

/// A hash tree over the first half of the data.
pub fn verity(data: &[u8]) {
    let _ = verity::Superblock::parse(data);
    let half = data.len() / 8192 * 4096;
    if let Some((first, second)) = data.split_at_checked(half) {
        let _ = verity::verify(&first.to_vec(), &second.to_vec(), &[0; 32]);
    }
}

/// A whole disk.
pub fn disk(data: &[u8]) {
    let disk = data.to_vec();
    let _ = i2kit::inspect::inspect(&disk as &dyn ReadAt, true);
    let _ = i2kit::inspect::contract(&disk);
    let blob = i2kit::disk::Blob::bytes(data.to_vec());
    let _ = i2kit::inspect::verify(&blob, None, &i2kit::inspect::Known::default());
    for path in ["", "esp/EFI", "store/containers", "uki"] {
        let _ = i2kit::inspect::list(&disk, path, true);
    }
}

/// A DSSE envelope, whichever key signed it.
pub fn envelope(data: &[u8]) {
    use i2kit_sbom::dsse::Envelope;
    use i2kit_sbom::provenance::PAYLOAD_TYPE;
    let _ = Envelope::open(data, PAYLOAD_TYPE, |_, _| true);
}

/// An outputs record.
pub fn record(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("record");
    fs::write(&path, data).expect("a file");
    if let Ok(record) = i2kit::output::OutputsRecord::read(&path) {
        let _ = record.digests();
    }
}

/// A push's ledger.
#[cfg(feature = "cli")]
pub fn ledger(data: &[u8]) {
    if let Ok(entries) = i2kit::push::ledger::parse(data) {
        assert!(entries.iter().all(|entry| entry.is_same(entry)));
    }
}

/// An answer of EC2.
#[cfg(feature = "cli")]
pub fn answer(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = i2kit::push::cloud::Ami::of_answer(text);
    }
}

/// `pod.json`, as the guest reads it.
pub fn contract(data: &[u8]) {
    if let Ok(contract) = i2kit_contract::Contract::from_json(data) {
        let json = contract.to_json().expect("what was read can be written");
        let again = i2kit_contract::Contract::from_json(&json).expect("and read again");
        assert_eq!(contract, again);
    }
}

/// A run-time configuration, as the guest reads it.
pub fn runtime(data: &[u8]) {
    if let Ok(config) = RuntimeConfig::parse(data) {
        let json = config.to_json().expect("what was read can be written");
        assert_eq!(RuntimeConfig::parse(&json).expect("and read again"), config);
        let env = config.environment("a", &["A=b".to_owned()]);
        assert!(env.iter().all(|one| one.contains('=')));
    }
}

/// Frames of the control channel, in pieces whose length the first byte tells.
pub fn control(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else {
        return;
    };
    let mut decoder = Decoder::default();
    for piece in bytes.chunks(usize::from(*size).max(1)) {
        let Ok(frames) = decoder.push(piece) else {
            return;
        };
        for frame in frames {
            assert!(frame.data.len() <= MAX_DATA);
            let again = Decoder::default().push(&frame.encode());
            assert_eq!(again.expect("what was read can be read"), [frame]);
        }
    }
}

// The guest is a program without a library: its pure parts are taken as they are.
#[path = "../../src/i2kit-init/src/http/mod.rs"]
mod guest_http;
#[path = "../../src/i2kit-init/src/pod/probe/location.rs"]
mod guest_location;

/// Heads of HTTP messages as PID 1 reads them, and where a redirect leads.
pub fn http(data: &[u8]) {
    use guest_http::{request, response};
    let _ = request::parse(data);
    if let Ok(Some(head)) = response::parse(data) {
        assert!(head.len <= data.len() && (100..1000).contains(&head.status));
        let from = guest_location::Place {
            scheme: i2kit_contract::Scheme::Http,
            port: 80,
            path: "/a/b".into(),
        };
        let location = head.location.unwrap_or_default();
        if let Some(place) = guest_location::follow(&from, [127, 0, 0, 1].into(), &location) {
            assert!(place.path.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(place.path.starts_with('/'));
            assert!(!place.url([127, 0, 0, 1].into()).is_empty());
        }
    }
}

/// Databases and metadata of packages, by the number of their kind; what they name is written.
pub fn packages(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let distribution = Distribution::parse(b"ID=debian");
    let found = match kind {
        0 => i2kit_sbom::dpkg::packages(data, &distribution, "x"),
        1 => i2kit_sbom::apk::packages(data, &distribution, "x"),
        2 => Vec::from_iter(i2kit_sbom::python::package(data, "x")),
        3 => Vec::from_iter(i2kit_sbom::node::package(data, "x").ok().flatten()),
        4 => {
            let _ = i2kit_sbom::copyright::licence(data);
            return;
        }
        5 => {
            let _ = Distribution::parse(data).qualifier();
            return;
        }
        6 => {
            let text = String::from_utf8_lossy(data);
            let (one, other) = text.split_once('\n').unwrap_or((&text, ""));
            let order = i2kit_sbom::debian_version::compare(one, other);
            let reverse = i2kit_sbom::debian_version::compare(other, one);
            assert_eq!(order, reverse.reverse());
            return;
        }
        7 => {
            let _ = i2kit_sbom::apt::one_line_sources(&String::from_utf8_lossy(data));
            let _ = i2kit_sbom::apt::stanza_sources(data);
            let mut index = i2kit_sbom::apt::Index::default();
            index.add(data);
            let _ = index.judge("linux-image-6.1.0-1-amd64", "1");
            return;
        }
        _ => return,
    };
    written(found);
}

/// RPM's databases, either format.
pub fn rpm(data: &[u8]) {
    let found = i2kit_sbom::rpm::packages(&data.to_vec(), &Distribution::default(), "x");
    written(found.unwrap_or_default());
}

/// Programs and what compilers leave in them.
pub fn program(data: &[u8]) {
    let file = data.to_vec();
    if let Ok(Some(binary)) = Binary::open(&file) {
        written(binary.packages("x").unwrap_or_default());
    }
}

/// Whatever packages are called, papers come of them.
fn written(packages: Vec<Package>) {
    let part = Part::new(PartKind::Container, "c", "", oci_purl("x", "sha256:1"));
    let bill = Bill {
        name: "p".to_owned(),
        tool_version: String::new(),
        created: 0,
        parts: vec![part.with(packages, Vec::new())],
    };
    for json in [
        i2kit_sbom::spdx::write(&bill),
        i2kit_sbom::cyclonedx::write(&bill),
    ] {
        let json = json.expect("papers are JSON");
        serde_json::from_slice::<serde_json::Value>(&json).expect("papers are JSON");
    }
}
