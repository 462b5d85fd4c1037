//! Tests: policies and signatures.

mod contents;
mod cosign;
pub mod signer;
mod skopeo;
mod verdicts;

use std::fs;

use i2kit::oci::policy::{Accepted, Error, Policy, Refusal, Verdict};
use i2kit::oci::signature::{Key, Signatures, Unsigned};
use i2kit::oci::{Image, LayoutSource, Platform, Source};
use serde_json::{Value, json};

use contents::Contents;
use signer::{Pair, Scheme, bundle, layer, payload, refer, statement, tag};

const LATEST: &str = "latest";

/// A layout and the image `latest` in it.
struct Layout {
    folder: tempfile::TempDir,
    source: LayoutSource,
    image: Image,
}

impl Layout {
    fn new(contents: &Contents) -> Self {
        let folder = tempfile::tempdir().unwrap();
        contents.write(folder.path());
        let reference = format!("{}:{LATEST}", folder.path().display());
        let source = LayoutSource::new(reference.parse().unwrap());
        let image = source.image(&Platform::default()).unwrap();
        Self {
            folder,
            source,
            image,
        }
    }

    fn check(&self, policy: &str, reference: &str) -> Result<Verdict, Error> {
        self.check_with(policy, reference, &self.source)
    }

    fn check_with(
        &self,
        policy: &str,
        reference: &str,
        signatures: &dyn Signatures,
    ) -> Result<Verdict, Error> {
        let policy = Policy::parse("test.json", policy.as_bytes())?;
        policy.check("docker", reference, &self.image, signatures)
    }
}

fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

/// A policy whose default is one requirement.
fn requires(requirement: &Value) -> String {
    json!({"default": [requirement]}).to_string()
}

fn signed_by(pair: &Pair, identity: &str) -> Value {
    json!({"type": "sigstoreSigned", "keyPath": pair.public(), "signedIdentity": {"type": identity}})
}

/// An image with a signature by `pair` under its tag, of the name `reference`.
fn signed_image(pair: &Pair, reference: &str) -> Contents {
    let mut contents = Contents::default();
    let image = contents.image(Some(LATEST), "amd64");
    let payload = payload(reference, digest(&image));
    let signature = pair.sign_base64(payload.as_bytes());
    let layer = layer(&mut contents, &payload, &signature);
    contents.signatures(Some(&tag(digest(&image))), &[layer], &json!({}));
    contents
}

/// What a refused image's error says.
fn refused(verdict: Result<Verdict, Error>) -> String {
    match verdict.unwrap_err() {
        error @ Error::Refused { .. } => error.to_string(),
        other => panic!("{other}"),
    }
}

#[test]
fn every_kind_of_key() {
    let p384 = "EC -pkeyopt ec_paramgen_curve:P-384";
    let rsa = "RSA -pkeyopt rsa_keygen_bits:2048";
    for (algorithm, scheme) in [
        (
            "EC -pkeyopt ec_paramgen_curve:P-256",
            Scheme::Digest("-sha256"),
        ),
        (p384, Scheme::Digest("-sha256")),
        (p384, Scheme::Digest("-sha384")),
        ("ED25519", Scheme::Raw),
        (rsa, Scheme::Digest("-sha256")),
        (rsa, Scheme::Pss),
    ] {
        let pair = Pair::new(algorithm);
        let key = Key::from_pem(&fs::read(pair.public()).unwrap()).unwrap();
        assert_eq!(
            key.fingerprint().to_string(),
            pair.fingerprint(),
            "{algorithm}"
        );
        let signature = pair.sign(scheme, b"message");
        assert!(key.made(&signature, b"message"), "{algorithm}");
        assert!(!key.made(&signature, b"other message"), "{algorithm}");
        assert!(!key.made(&signature[1..], b"message"), "{algorithm}");
        assert!(!key.made(b"", b"message"), "{algorithm}");
        let other = Pair::new(algorithm);
        let other = Key::from_pem(&fs::read(other.public()).unwrap()).unwrap();
        assert!(!other.made(&signature, b"message"), "{algorithm}");
        if algorithm == rsa {
            let same = Key::from_pem(&fs::read(pair.public_pkcs1()).unwrap()).unwrap();
            assert_eq!(same.fingerprint(), key.fingerprint());
            assert!(same.made(&signature, b"message"));
        }
    }
}

/// sigstore reads the two numbers of an ECDSA signature without ASN.1 too (IEEE P1363).
#[test]
fn an_ecdsa_signature_as_two_numbers() {
    for (curve, size) in [("P-256", 32), ("P-384", 48)] {
        let pair = Pair::new(&format!("EC -pkeyopt ec_paramgen_curve:{curve}"));
        let digest = if size == 32 { "-sha256" } else { "-sha384" };
        let asn1 = pair.sign(Scheme::Digest(digest), b"message");
        let key = Key::from_pem(&fs::read(pair.public()).unwrap()).unwrap();
        // SEQUENCE { INTEGER r, INTEGER s }, all lengths of one byte.
        let (mut at, mut fixed) = (2, Vec::new());
        while at < asn1.len() {
            let len = usize::from(asn1[at + 1]);
            let number = &asn1[at + 2..at + 2 + len];
            let number = &number[len.saturating_sub(size)..];
            fixed.extend(vec![0; size - number.len()]);
            fixed.extend(number);
            at += 2 + len;
        }
        assert!(key.made(&fixed, b"message"), "{curve}");
        assert!(!key.made(&fixed, b"other"), "{curve}");
    }
}

#[test]
fn what_is_no_key() {
    let pem = |pair: &Pair| fs::read_to_string(pair.public()).unwrap();
    let (one, other) = (pem(&Pair::p256()), pem(&Pair::p256()));
    let p521 = pem(&Pair::new("EC -pkeyopt ec_paramgen_curve:P-521"));
    let small = pem(&Pair::new("RSA -pkeyopt rsa_keygen_bits:1024"));
    let x25519 = pem(&Pair::new("X25519"));
    let cases = [
        (format!("{one}{other}"), "more than one"),
        (one.replace("PUBLIC KEY", "CERTIFICATE"), "CERTIFICATE"),
        (one.replace("PUBLIC KEY", "PRIVATE KEY"), "PRIVATE KEY"),
        (p521, "1.3.132.0.35"),
        (small, "RSA of 1024 bits"),
        (x25519, "1.3.101.110"),
        ("hello".to_owned(), "no public key"),
        (String::new(), "no public key"),
        (one.replace("MFkw", "MFkx"), "no public key"),
    ];
    for (text, expected) in cases {
        let error = Key::from_pem(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // Words before it are allowed, as in a file with a comment.
    assert!(Key::from_pem(format!("our key\n{one}").as_bytes()).is_ok());
}

#[test]
fn a_verdict_says_what_was_believed() {
    let pair = Pair::p256();
    let layout = Layout::new(&signed_image(&pair, "h.example/ns/app:1"));
    let policy = json!({
        "default": [{"type": "reject"}],
        "transports": {"docker": {"h.example/ns": [
            {"type": "insecureAcceptAnything"},
            {"type": "sigstoreSigned", "keyDatas": [Pair::p256().data(), pair.data()]},
        ]}},
    });
    let verdict = layout
        .check(&policy.to_string(), "h.example/ns/app:1")
        .unwrap();
    assert_eq!(verdict.rule, "transports.docker.\"h.example/ns\"");
    let manifest = layout.image.manifest.digest;
    let signature = Accepted::Signature {
        key: "keyDatas[1]".to_owned(),
        fingerprint: pair.fingerprint().parse().unwrap(),
        signed: manifest,
        name: Some("h.example/ns/app:1".to_owned()),
        place: format!("tag {}, layer 0", tag(&manifest.to_string())),
    };
    assert_eq!(verdict.accepted, [Accepted::Anything, signature]);
}

#[test]
fn a_refusal_names_the_image_the_rule_and_the_key() {
    let (pair, other) = (Pair::p256(), Pair::p256());
    let layout = Layout::new(&signed_image(&pair, "h.example/app:1"));
    let policy = |requirement: Value| {
        json!({
            "default": [{"type": "reject"}],
            "transports": {"docker": {"h.example": [
                {"type": "insecureAcceptAnything"}, requirement,
            ]}},
        })
        .to_string()
    };
    let by = |pair: &Pair| json!({"type": "sigstoreSigned", "keyPath": pair.public()});
    let check = |requirement| refused(layout.check(&policy(requirement), "h.example/app"));
    let start = "check image docker:h.example/app:latest against transports.docker.\"h.example\"[1] \
                 of test.json: ";
    let key = |pair: &Pair| format!("{} ({})", pair.public(), pair.fingerprint());
    let place = format!(
        "tag {}, layer 0",
        tag(&layout.image.manifest.digest.to_string())
    );

    let error = check(by(&other));
    let reason = format!(
        "no signature by {} is accepted: {place}: made by none of the keys",
        key(&other)
    );
    assert_eq!(error, format!("{start}{reason}"));
    let error = check(by(&pair));
    let reason = format!(
        "no signature by {} is accepted: {place}: of \"h.example/app:1\", and \
         h.example/app:latest is wanted",
        key(&pair)
    );
    assert_eq!(error, format!("{start}{reason}"));
    let missing = json!({"type": "sigstoreSigned", "keyPath": "/no/such.pub"});
    let expected = "read key /no/such.pub: No such file or directory (os error 2)";
    assert_eq!(check(missing), format!("{start}{expected}"));
    let gpg = json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"});
    let expected = "signedBy (GPG) is not supported: keys only";
    assert_eq!(check(gpg), format!("{start}{expected}"));
    let rekor =
        json!({"type": "sigstoreSigned", "keyPath": pair.public(), "rekorPublicKeyPath": "/r"});
    let expected = "sigstoreSigned with a Rekor key is not supported: keys only";
    assert_eq!(check(rekor), format!("{start}{expected}"));
    assert_eq!(
        check(json!({"type": "reject"})),
        format!("{start}it rejects every image")
    );
}

#[test]
fn rules_that_no_image_can_meet_are_known_before_anything_is_read() {
    let text = r#"{"default":[{"type":"reject"}],"transports":{"docker":{"a.example":[{"type":"insecureAcceptAnything"}]}}}"#;
    let policy = Policy::parse("test.json", text.as_bytes()).unwrap();
    assert!(policy.rule("docker", "a.example/x").is_ok());
    let error = policy.rule("docker", "b.example/x").unwrap_err();
    assert!(
        matches!(&error, Error::Refused { reason, .. } if matches!(**reason, Refusal::Rejected))
    );
    let error = policy.rule("docker", "B/x").unwrap_err();
    assert!(matches!(error, Error::Image { .. }), "{error}");
    let error = policy.rule("ftp", "a.example/x").unwrap_err();
    assert!(error.to_string().contains("unknown transport"), "{error}");
}

#[test]
fn a_policy_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.json");
    let error = Policy::load(&path).unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error}");
    fs::write(&path, r#"{"default":[{"type":"reject"}]}"#).unwrap();
    assert!(Policy::load(&path).is_ok());
    fs::write(&path, r#"{"default":[{"type":"rejected"}]}"#).unwrap();
    let error = Policy::load(&path).unwrap_err().to_string();
    let start = format!("parse policy {}: ", path.display());
    assert!(
        error.starts_with(&start) && error.contains("line 1"),
        "{error}"
    );
    fs::write(&path, " ".repeat(2 << 20)).unwrap();
    let error = Policy::load(&path).unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[test]
fn images_without_names_need_exact_ones() {
    let pair = Pair::p256();
    let layout = Layout::new(&signed_image(&pair, "h.example/app:1"));
    let path = layout.folder.path().display().to_string();
    let check = |identity: Value| {
        let requirement = json!({
            "type": "sigstoreSigned",
            "keyPath": pair.public(),
            "signedIdentity": identity,
        });
        let policy = Policy::parse("test.json", requires(&requirement).as_bytes()).unwrap();
        policy.check("oci", &path, &layout.image, &layout.source)
    };
    let exact = json!({"type": "exactRepository", "dockerRepository": "h.example/app"});
    assert_eq!(check(exact).unwrap().rule, "default");
    let error = refused(check(json!({"type": "matchRepository"})));
    assert!(error.contains("transport oci have no name"), "{error}");
    // A rule for the folder, and for transports that carry no signatures.
    let rules = json!({
        "default": [{"type": "reject"}],
        "transports": {
            "oci": {path.as_str(): [{"type": "insecureAcceptAnything"}]},
            "docker-archive": {"": [signed_by(&pair, "matchDigest")]},
        },
    });
    let policy = Policy::parse("test.json", rules.to_string().as_bytes()).unwrap();
    let verdict = policy
        .check("oci", &path, &layout.image, &layout.source)
        .unwrap();
    assert_eq!(verdict.accepted, [Accepted::Anything]);
    assert!(
        policy
            .check("dir", &path, &layout.image, &layout.source)
            .is_err()
    );
    let error = refused(policy.check("docker-archive", "a.tar", &layout.image, &Unsigned));
    assert!(error.contains("no signature; one by "), "{error}");
}

#[test]
fn a_digest_must_be_the_images() {
    let pair = Pair::p256();
    let layout = Layout::new(&signed_image(&pair, "h.example/app:1"));
    let policy = requires(&signed_by(&pair, "matchRepoDigestOrExact"));
    let own = format!("h.example/app@{}", layout.image.manifest.digest);
    assert!(layout.check(&policy, &own).is_ok());
    let other = format!("h.example/app@sha256:{}", "0".repeat(64));
    let error = refused(layout.check(&policy, &other));
    assert!(
        error.contains("and the reference names sha256:0000"),
        "{error}"
    );
}

/// Makes a bundle for the image of that descriptor.
type Make<'a> = &'a dyn Fn(&Value) -> Value;

/// What is signed by the right key, and is no signature of the image.
#[test]
fn bundles_that_say_something_else() {
    let pair = Pair::p256();
    let check = |make: Make<'_>| {
        let mut contents = Contents::default();
        let image = contents.image(Some(LATEST), "amd64");
        let bundle = make(&image);
        refer(&mut contents, &image, &bundle);
        let policy = requires(&signed_by(&pair, "matchDigest"));
        Layout::new(&contents).check(&policy, "h.example/app:1")
    };
    let good = |image: &Value| bundle(&pair, &statement(digest(image), signer::SIGNS));
    assert!(check(&good).is_ok());
    let other = format!("sha256:{}", "0".repeat(64));
    let edit = |image: &Value, pointer: &str, value: Value| {
        let mut bundle = good(image);
        *bundle.pointer_mut(pointer).unwrap() = value;
        bundle
    };
    let sbom = |image: &Value| {
        bundle(
            &pair,
            &statement(digest(image), "https://spdx.dev/Document"),
        )
    };
    let message = |algorithm: &str| {
        json!({
            "mediaType": signer::BUNDLE,
            "verificationMaterial": {"publicKey": {}},
            "messageSignature": {
                "messageDigest": {"algorithm": algorithm, "digest": "aGk="},
                "signature": pair.sign_base64(b"other"),
            },
        })
    };
    let cases: [(Make<'_>, &str); 11] = [
        (
            &|_| message("SHA2_256"),
            "of sha256:6869, not of this image",
        ),
        (&|_| message("SHA2_512"), "hashed by \"SHA2_512\""),
        (&sbom, "an attestation of \"https://spdx.dev/Document\""),
        (
            &|_| bundle(&pair, &statement(&other, signer::SIGNS)),
            "of sha256:0000",
        ),
        (
            &|image| edit(image, "/mediaType", json!("application/json")),
            "unknown type",
        ),
        (
            &|image| edit(image, "/dsseEnvelope/payloadType", json!("text/plain")),
            "unknown type",
        ),
        (
            &|image| edit(image, "/dsseEnvelope/signatures", json!([])),
            "one signature",
        ),
        (
            &|image| edit(image, "/dsseEnvelope/payload", json!("e30=")),
            "made by none",
        ),
        (
            &|image| edit(image, "/dsseEnvelope", json!(null)),
            "neither an envelope",
        ),
        (
            &|image| edit(image, "/dsseEnvelope/signatures/0/sig", json!("!")),
            "not base64",
        ),
        (
            &|image| {
                edit(
                    image,
                    "/verificationMaterial",
                    json!({"certificate": {"rawBytes": ""}}),
                )
            },
            "",
        ),
    ];
    for (make, expected) in cases {
        match expected {
            // The key decides alone.
            "" => assert!(check(make).is_ok()),
            _ => {
                let error = refused(check(make));
                assert!(error.contains(expected), "{error}");
            }
        }
    }
}

/// Both schemes at once, and what is broken in one keeps the other from nothing.
#[test]
fn one_good_signature_is_enough() {
    let (pair, other) = (Pair::p256(), Pair::p256());
    let mut contents = signed_image(&other, "h.example/app");
    let image = contents.manifests[0].bytes.clone();
    let image = json!({
        "mediaType": contents::MANIFEST,
        "digest": crate::support::layout::sha256(&image),
        "size": image.len(),
    });
    let good = bundle(&pair, &statement(digest(&image), signer::SIGNS));
    refer(&mut contents, &image, &json!("not a bundle"));
    let good = refer(&mut contents, &image, &good);
    let layout = Layout::new(&contents);
    let policy = requires(&signed_by(&pair, "matchDigest"));
    let verdict = layout.check(&policy, "h.example/app:1").unwrap();
    let [Accepted::Signature { place, .. }] = verdict.accepted.as_slice() else {
        panic!("{verdict:?}");
    };
    assert_eq!(*place, format!("referrer {}, layer 0", digest(&good)));
}

#[test]
fn sizes_and_numbers_are_bounded() {
    let pair = Pair::p256();
    let mut contents = Contents::default();
    let image = contents.image(Some(LATEST), "amd64");
    let payload = payload("h.example/app", digest(&image));
    let signature = pair.sign_base64(payload.as_bytes());
    let good = layer(&mut contents, &payload, &signature);
    let bad = layer(&mut contents, &payload, "AAAA");
    let tag = tag(digest(&image));
    let mut check = |layers: &[Value]| {
        contents.signatures(Some(&tag), layers, &json!({}));
        let layout = Layout::new(&contents);
        contents.manifests.pop();
        let policy = requires(&signed_by(&pair, "matchRepository"));
        layout.check(&policy, "h.example/app:1")
    };
    let mut large = good.clone();
    large["size"] = json!(2 << 20);
    let error = refused(check(&[large]));
    assert!(error.contains("2097152 bytes, more than 262144"), "{error}");
    let mut short = good.clone();
    short["size"] = json!(1);
    let error = refused(check(&[short]));
    assert!(error.contains("bytes where 1 should be"), "{error}");
    let mut layers = vec![bad; 99];
    layers.push(good.clone());
    assert!(check(&layers).is_ok());
    layers.insert(0, layers[0].clone());
    layers.push(good);
    let error = refused(check(&layers));
    assert!(
        error.contains("no more than 100 signatures are looked at"),
        "{error}"
    );
}
