//! Signed provenance, with openssl to compare with.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use serde_json::Value;

use super::disk::{CERTIFICATE, Disk, KEY, refused};
use crate::support::i2kit;
use crate::support::small::succeeded;

fn shell(folder: &Path, line: &str) {
    let output = Command::new("bash")
        .args(["-ec", line])
        .current_dir(folder)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {error}");
}

fn envelope(path: &Path) -> (Value, Vec<u8>, Vec<u8>) {
    let envelope: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let decode = |value: &Value| {
        let text = value.as_str().unwrap();
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap()
    };
    let payload = decode(&envelope["payload"]);
    let signature = decode(&envelope["signatures"][0]["sig"]);
    (envelope, payload, signature)
}

#[test]
fn the_key_that_signs_the_disk_signs_its_provenance_and_openssl_agrees() {
    let disk = Disk::new();
    let folder = disk.small.path("");
    let sealed = disk.small.path("disk.raw.provenance.dsse.json");
    let (json, payload, signature) = envelope(&sealed);
    assert_eq!(json["payloadType"], "application/vnd.in-toto+json");
    assert_eq!(
        payload,
        fs::read(disk.small.path("disk.raw.provenance.json")).unwrap()
    );
    fs::write(disk.small.path("payload"), &payload).unwrap();
    fs::write(disk.small.path("signature"), &signature).unwrap();
    // The pre-authentication encoding, by the protocol's own words: lengths in decimal.
    shell(
        &folder,
        &format!(
            "type=application/vnd.in-toto+json; \
             {{ printf 'DSSEv1 %d %s %d ' ${{#type}} $type $(stat -c %s payload); cat payload; }} >signed; \
             openssl x509 -in {CERTIFICATE} -noout -pubkey >public; \
             openssl dgst -sha256 -verify public -signature signature signed; \
             test $(openssl x509 -in {CERTIFICATE} -outform der | sha256sum | cut -d' ' -f1) = {}",
            json["signatures"][0]["keyid"].as_str().unwrap()
        ),
    );
    // Every way to sign gives the same envelope.
    let binary = env!("CARGO_BIN_EXE_i2kit");
    shell(
        &folder,
        &format!(
            "{binary} sign disk.raw.provenance.json --digest-only | xxd -r -p >digest; \
             openssl pkeyutl -sign -inkey {KEY} -pkeyopt digest:sha256 -in digest -out raw; \
             {binary} sign disk.raw.provenance.json --attach raw --sign-cert {CERTIFICATE} -o detached.json; \
             {binary} sign disk.raw.provenance.json -o command.json --sign-cert {CERTIFICATE} \
               --sign-command 'openssl pkeyutl -sign -inkey {KEY}'; \
             cmp detached.json disk.raw.provenance.dsse.json; \
             cmp command.json disk.raw.provenance.dsse.json"
        ),
    );
    let sealed = sealed.to_str().unwrap();
    let text = succeeded(&disk.verify(&["--key", CERTIFICATE, "--provenance", sealed]));
    assert!(text.contains("provenance: about this disk\n"), "{text}");
}

#[test]
fn provenance_of_another_disk_or_key_is_refused() {
    let disk = Disk::new();
    let path = |name: &str| disk.small.path(name).display().to_string();
    let (plain, sealed) = (
        path("disk.raw.provenance.json"),
        path("disk.raw.provenance.dsse.json"),
    );
    succeeded(&disk.verify(&["--provenance", &plain]));
    let refusal = |more: &[&str]| refused(&disk.verify(more));
    let error = refusal(&["--provenance", &sealed]);
    assert!(
        error.contains("name the certificate of its key with --key"),
        "{error}"
    );
    let error = refusal(&["--provenance", &plain, "--key", CERTIFICATE]);
    assert!(error.contains("it is not signed"), "{error}");
    let text = fs::read_to_string(&plain).unwrap();
    let named = text.split("\"sha256\": \"").nth(1).unwrap();
    let digest = named.split('"').next().unwrap();
    fs::write(path("other.json"), text.replace(digest, &"0".repeat(64))).unwrap();
    let error = refusal(&["--provenance", &path("other.json")]);
    assert!(
        error.contains(&format!("the disk's SHA-256 is {digest}")),
        "{error}"
    );

    // Another statement in the envelope, and another key's signature.
    let (mut json, payload, _) = envelope(Path::new(&sealed));
    let other = String::from_utf8(payload)
        .unwrap()
        .replace(digest, &"0".repeat(64));
    json["payload"] = base64::engine::general_purpose::STANDARD
        .encode(other)
        .into();
    fs::write(path("forged.json"), json.to_string()).unwrap();
    let error = refusal(&["--key", CERTIFICATE, "--provenance", &path("forged.json")]);
    assert!(
        error.contains("none of its signatures is by the key"),
        "{error}"
    );
    let sign = |arguments: &[&str]| {
        let output = i2kit().arg("sign").args(arguments).output().unwrap();
        succeeded(&output);
    };
    succeeded(
        &i2kit()
            .args(["keys", "new", &path("keys")])
            .output()
            .unwrap(),
    );
    let (key, certificate) = (path("keys/db.key"), path("keys/db.crt"));
    let by_other = path("by-other.json");
    sign(&[
        &plain,
        "-o",
        &by_other,
        "--sign-key",
        &key,
        "--sign-cert",
        &certificate,
    ]);
    let error = refusal(&["--key", CERTIFICATE, "--provenance", &by_other]);
    assert!(
        error.contains("none of its signatures is by the key"),
        "{error}"
    );
}
