//! Tests: keys, signatures of disks and what firmware is given, against the tools of others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use i2kit::sign::{self, Bits, Certificate, Identity, PrivateKey, Signer};
use i2kit_format::{authenticode, uki};

use crate::support::vm::Bench;
use crate::support::{i2kit, output_of, samples};

const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/secure-boot/key.pem");
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/secure-boot/cert.pem");

const MANIFEST: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: test}\nspec:\n  \
                        containers: [{name: a, image: tiny}]\n";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Runs i2kit in the folder; answers what it said.
fn works(folder: &Path, words: &str) -> String {
    let output = attempt(folder, words);
    assert!(output.status.success(), "{words}: {}", said(&output));
    said(&output)
}

/// The error that it ends with.
fn fails(folder: &Path, words: &str) -> String {
    let output = attempt(folder, words);
    assert_eq!(output.status.code(), Some(1), "{words}: {}", said(&output));
    said(&output)
}

fn attempt(folder: &Path, words: &str) -> Output {
    let words = words.split(' ');
    i2kit().args(words).current_dir(folder).output().unwrap()
}

fn shell(folder: &Path, line: &str) -> String {
    let output = Command::new("bash")
        .args(["-ec", line])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {}", said(&output));
    said(&output)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A PE file of a stub and a kernel.
fn image() -> Vec<u8> {
    uki::assemble(&crate::seeds::pe(), &[(".linux", &[7; 9000])]).unwrap()
}

fn identity() -> Identity {
    let certificate = Certificate::from_pem(&fs::read(CERTIFICATE).unwrap()).unwrap();
    let key = PrivateKey::from_pem(&fs::read(KEY).unwrap()).unwrap();
    Identity::new(certificate, Signer::Key(key)).unwrap()
}

#[test]
fn new_keys_are_what_openssl_takes_and_are_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    works(at, "keys new a/keys");
    works(at, "keys new long --rsa 3072 --name Example,Inc. --days 9");
    assert_eq!(mode(&at.join("a/keys")), 0o700);
    for (keys, bits, subject) in [("a/keys", 2048, "i2kit"), ("long", 3072, "Example,Inc.")] {
        for name in ["PK", "KEK", "db"] {
            let (key, certificate) = (format!("{keys}/{name}.key"), format!("{keys}/{name}.crt"));
            assert_eq!(mode(&at.join(&key)), 0o600);
            let text = shell(at, &format!("openssl x509 -noout -text -in {certificate}"));
            assert!(text.contains(&format!("({bits} bit)")), "{text}");
            assert!(
                text.contains("Version: 3") && text.contains("CA:FALSE"),
                "{text}"
            );
            let name = format!("subject=CN = \"?{subject} {name}\"?$");
            shell(
                at,
                &format!("openssl x509 -noout -subject -in {certificate} | grep -E '{name}'"),
            );
            shell(
                at,
                &format!("openssl verify -check_ss_sig -CAfile {certificate} {certificate}"),
            );
            shell(at, &format!("openssl rsa -check -noout -in {key}"));
            let public = "openssl x509 -noout -pubkey -in";
            shell(
                at,
                &format!("cmp <({public} {certificate}) <(openssl pkey -pubout -in {key})"),
            );
        }
    }
    let before = fs::read(at.join("long/db.key")).unwrap();
    fs::remove_file(at.join("long/PK.crt")).unwrap();
    let error = fails(at, "keys new long");
    assert!(
        error.contains("write long/PK.key: it is there already"),
        "{error}"
    );
    assert_eq!(fs::read(at.join("long/db.key")).unwrap(), before);
    let serials = shell(
        at,
        "for i in a/keys/*.crt; do openssl x509 -noout -serial -in $i; done | sort -u | wc -l",
    );
    assert_eq!(serials.trim(), "3");
}

/// The same disk whoever signs, and whenever: while it is built or afterwards.
#[test]
fn every_way_to_sign_gives_the_same_disk_and_other_tools_take_its_signature() {
    let bench = Bench::new();
    let at = bench.folder.path();
    let with = format!("--sign-cert={CERTIFICATE}");
    let command = format!("--sign-command=openssl pkeyutl -sign -inkey {KEY}");
    let key = format!("--sign-key={KEY}");
    let plain = bench.build(MANIFEST, "plain.raw", &["--scratch", "64MiB"]);
    let built = bench.build(MANIFEST, "built.raw", &["--scratch", "64MiB", &with, &key]);
    let signed = fs::read(&built).unwrap();
    assert!(signed != fs::read(&plain).unwrap());
    bench.build(
        MANIFEST,
        "command.raw",
        &["--scratch", "64MiB", &with, &command],
    );
    works(at, &format!("sign plain.raw -o beside.raw {key} {with}"));
    shell(at, "cp plain.raw detached.raw; cp plain.raw again.raw");
    let binary = env!("CARGO_BIN_EXE_i2kit");
    shell(
        at,
        &format!(
            "{binary} sign detached.raw --digest-only | xxd -r -p >digest; \
         openssl pkeyutl -sign -inkey {KEY} -pkeyopt digest:sha256 -in digest -out signature; \
         {binary} sign detached.raw --attach signature {with}; \
         {binary} keys new others; \
         {binary} sign again.raw --sign-key others/db.key --sign-cert others/db.crt; \
         {binary} sign again.raw {key} {with}"
        ),
    );
    for name in ["command", "beside", "detached", "again"] {
        assert!(
            fs::read(at.join(format!("{name}.raw"))).unwrap() == signed,
            "{name}"
        );
    }
    // The record of the signed disk is the build's: nothing is left to do.
    let output = bench.try_build(
        MANIFEST,
        &at.join("beside.raw"),
        &["--scratch", "64MiB", &with, &key],
    );
    assert!(said(&output).contains("unchanged"), "{}", said(&output));
    let output = bench.try_build(MANIFEST, &built, &["--scratch", "64MiB", &with, &command]);
    assert!(
        !said(&output).contains("unchanged"),
        "another signer: {}",
        said(&output)
    );

    works(at, &format!("verify built.raw --key {CERTIFICATE}"));
    shell(at, "mcopy -i built.raw@@1M ::EFI/BOOT/BOOTX64.EFI uki");
    let text = shell(at, &format!("sbverify --cert {CERTIFICATE} uki"));
    assert!(text.contains("Signature verification OK"), "{text}");
    let text = shell(
        at,
        &format!("osslsigncode verify -CAfile {CERTIFICATE} -in uki"),
    );
    assert!(
        !text.contains("alculated PE checksum") && !text.contains("MISMATCH"),
        "{text}"
    );
    let text = output_of("pesign", &["-S", "-i", at.join("uki").to_str().unwrap()]);
    assert!(
        text.contains("i2kit test") && text.contains("No signing time"),
        "{text}"
    );
}

#[test]
fn a_signature_is_as_it_was() {
    let mut image = image();
    identity().sign(&mut image).unwrap();
    let found = authenticode::certificates(&image).unwrap();
    let digest = i2kit::oci::Digest::of(&found[0].data).to_string();
    assert_eq!(
        digest,
        "sha256:e083f4dfeb73e91485c11df52a2616239c78e3e85503ca9ae8d76238e1e2c66c"
    );
}

#[test]
fn signatures_of_other_tools_are_verified() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("image"), image()).unwrap();
    let certificate = Certificate::from_pem(&fs::read(CERTIFICATE).unwrap()).unwrap();
    assert!(matches!(
        sign::verify(&image(), &certificate),
        Err(sign::Error::Unsigned)
    ));
    shell(
        at,
        &format!("sbsign --key {KEY} --cert {CERTIFICATE} --output sbsign image"),
    );
    shell(
        at,
        &format!(
            "osslsigncode sign -h sha256 -key {KEY} -certs {CERTIFICATE} -in image -out osslsigncode"
        ),
    );
    for name in ["sbsign", "osslsigncode"] {
        let mut image = fs::read(at.join(name)).unwrap();
        sign::verify(&image, &certificate).unwrap_or_else(|error| panic!("{name}: {error}"));
        // Each byte of what was signed, and of the signature's last part, counts.
        let place = image.windows(9).position(|found| found == [7; 9]).unwrap();
        let end = image.len() - 60;
        for at in [place, end] {
            image[at] ^= 1;
            assert!(sign::verify(&image, &certificate).is_err(), "{name} {at}");
            image[at] ^= 1;
        }
    }
}

/// Every bit of the table: none makes the signature another's, or a panic.
#[test]
fn a_damaged_signature_is_none() {
    let mut image = image();
    identity().sign(&mut image).unwrap();
    let certificate = Certificate::from_pem(&fs::read(CERTIFICATE).unwrap()).unwrap();
    sign::verify(&image, &certificate).unwrap();
    let signature = authenticode::certificates(&image).unwrap()[0].data.clone();
    let start = image
        .windows(signature.len())
        .position(|found| found == signature)
        .unwrap();
    let covered = |image: &[u8]| sign::verify(image, &certificate).is_ok();
    let mut harmless = 0;
    for at in start..start + signature.len() {
        image[at] ^= 1;
        harmless += usize::from(covered(&image));
        image[at] ^= 1;
    }
    // The copy of the certificate, versions and the signer's name and number: the key that is
    // trusted is the one that was given.
    assert!(
        harmless < signature.len() - 256 - 100,
        "{harmless} of {}",
        signature.len()
    );
}

/// What cannot sign is told by file, and nothing of a key is.
#[test]
fn keys_that_cannot_sign_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let bench = Bench::new();
    let disk = bench.build(MANIFEST, "disk.raw", &[]);
    let before = fs::read(&disk).unwrap();
    std::os::unix::fs::symlink(&disk, at.join("disk.raw")).unwrap();
    shell(
        at,
        &format!(
            "cp {CERTIFICATE} cert.pem; cp {KEY} key.pem; chmod 600 *.pem; \
         openssl rsa -traditional -in key.pem -out pkcs1.pem; \
         openssl pkey -aes128 -passout pass:x -in key.pem -out locked.pem; \
         openssl rsa -traditional -aes128 -passout pass:x -in key.pem -out locked1.pem; \
         for bits in 1024 4096; do openssl req -x509 -newkey rsa:$bits -nodes -keyout $bits.key -out $bits.crt -subj /CN=x; done; \
         openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out ec.key; \
         openssl req -x509 -key ec.key -out ec.crt -subj /CN=x; \
         openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.crt -subj /CN=x; \
         echo nothing >empty.pem; sed '3d' key.pem >torn.pem; chmod 600 *"
        ),
    );
    works(
        at,
        "sign disk.raw -o signed.raw --sign-key pkcs1.pem --sign-cert cert.pem",
    );
    // Text and keys may stand beside a certificate.
    shell(
        at,
        "(cat key.pem; openssl x509 -text -in cert.pem) >all.pem; chmod 600 all.pem",
    );
    works(
        at,
        "sign disk.raw -o again.raw --sign-key all.pem --sign-cert all.pem",
    );
    shell(at, "cmp signed.raw again.raw");
    let cases = [
        (
            "--sign-key locked.pem --sign-cert cert.pem",
            "locked.pem: parse key: it is encrypted",
        ),
        (
            "--sign-key locked1.pem --sign-cert cert.pem",
            "locked1.pem: parse key: it is encrypted",
        ),
        (
            "--sign-key 1024.key --sign-cert cert.pem",
            "1024.key: use key: RSA of 1024 bits",
        ),
        (
            "--sign-key 4096.key --sign-cert cert.pem",
            "4096.key: use key: RSA of 4096 bits",
        ),
        (
            "--sign-key key.pem --sign-cert 4096.crt",
            "4096.crt: use key: RSA of 4096 bits",
        ),
        (
            "--sign-key ec.key --sign-cert cert.pem",
            "ec.key: parse key: not a sound RSA key",
        ),
        (
            "--sign-key torn.pem --sign-cert cert.pem",
            "torn.pem: parse key: not a sound RSA key",
        ),
        (
            "--sign-key key.pem --sign-cert ec.crt",
            "ec.crt: use certificate: its key is not RSA",
        ),
        (
            "--sign-key empty.pem --sign-cert cert.pem",
            "empty.pem: parse key: no PEM",
        ),
        (
            "--sign-key key.pem --sign-cert empty.pem",
            "empty.pem: parse certificate: no PEM",
        ),
        (
            "--sign-key other.key --sign-cert cert.pem",
            "key and certificate do not belong together",
        ),
        (
            "--sign-key none.pem --sign-cert cert.pem",
            "read none.pem: No such file",
        ),
        (
            "--sign-command=false --sign-cert cert.pem",
            "run \"false\": exit status: 1",
        ),
        (
            "--sign-command=cat --sign-cert cert.pem",
            "the signature is not one of the certificate's key",
        ),
        (
            "--attach cert.pem --sign-cert cert.pem",
            "the signature is not one of the certificate's key",
        ),
        ("--sign-cert cert.pem", "a certificate signs nothing"),
    ];
    let secret = fs::read_to_string(at.join("key.pem")).unwrap();
    let secret: Vec<&str> = secret.lines().filter(|line| line.len() > 40).collect();
    for (words, expected) in cases {
        let error = fails(at, &format!("sign disk.raw {words}"));
        assert!(error.contains(expected), "{words}: {error}");
        assert!(!secret.iter().any(|line| error.contains(line)), "{words}");
    }
    assert!(
        fs::read(&disk).unwrap() == before,
        "a failed signature changes nothing"
    );
    let hint = fails(
        at,
        "sign disk.raw --sign-key locked.pem --sign-cert cert.pem",
    );
    assert!(hint.contains("hint: let another program sign"), "{hint}");
}

#[test]
fn a_key_that_others_can_read_and_a_certificate_out_of_its_time_are_warned_of() {
    let bench = Bench::new();
    let at = bench.folder.path();
    bench.build(MANIFEST, "disk.raw", &[]);
    let old = sign::generate("old", Bits::Rsa2048, Duration::from_secs(1_000_000_000), 1).unwrap();
    fs::write(at.join("key"), &old.key).unwrap();
    fs::write(at.join("cert"), &old.certificate).unwrap();
    fs::set_permissions(at.join("key"), fs::Permissions::from_mode(0o640)).unwrap();
    let words = "sign disk.raw -o signed.raw --sign-key key --sign-cert cert";
    let text = works(at, words);
    assert!(
        text.contains("warning: others can read the key key (mode 0640)"),
        "{text}"
    );
    assert!(
        text.contains("warning: the certificate cert ended at 2001-09-10T01:46:40Z"),
        "{text}"
    );
    assert!(!works(at, &format!("{words} -q")).contains("warning"));
    works(at, "verify signed.raw --key cert");
}

/// The version is under the signature; other tools read it where os-release(5) has it.
#[test]
fn verify_refuses_versions_below_the_floor() {
    let bench = Bench::new();
    let at = bench.folder.path();
    shell(at, &format!("cp {CERTIFICATE} cert"));
    let flags = [
        format!("--sign-key={KEY}"),
        format!("--sign-cert={CERTIFICATE}"),
        "--image-version=7".to_owned(),
    ];
    bench.build(MANIFEST, "disk.raw", &[&flags[0], &flags[1], &flags[2]]);
    bench.build(MANIFEST, "none.raw", &[&flags[0], &flags[1]]);
    for version in ["0", "7"] {
        works(
            at,
            &format!("verify disk.raw --key cert --min-version {version}"),
        );
    }
    for (disk, found) in [
        ("disk.raw", "the disk is version 7"),
        ("none.raw", "the disk has none"),
    ] {
        let error = fails(at, &format!("verify {disk} --key cert --min-version 8"));
        let expected = format!("verify version: {found}, at least 8 is wanted");
        assert!(error.contains(&expected), "{error}");
        assert!(error.contains("hint: take a newer disk"), "{error}");
    }
    // Without a key it would be anybody's word.
    let output = attempt(at, "verify disk.raw --min-version 7");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--key <CERT>"), "{}", said(&output));
    let report: serde_json::Value =
        serde_json::from_str(&works(at, "inspect --json disk.raw")).unwrap();
    assert_eq!(report["inputs"]["image_version"], 7);
    uki_of(at);
    let text = shell(
        at,
        "objcopy -O binary --only-section=.osrel uki osrel; cat osrel",
    );
    assert!(text.lines().any(|line| line == "IMAGE_VERSION=7"), "{text}");
}

/// The first thing that is wrong, by name.
#[test]
fn verify_names_what_is_wrong() {
    let bench = Bench::new();
    let at = bench.folder.path();
    let flags = [
        format!("--sign-key={KEY}"),
        format!("--sign-cert={CERTIFICATE}"),
    ];
    let disk = bench.build(MANIFEST, "disk.raw", &[&flags[0], &flags[1]]);
    shell(
        at,
        &format!(
            "cp {CERTIFICATE} cert; {} keys new others",
            env!("CARGO_BIN_EXE_i2kit")
        ),
    );
    let text = works(at, "verify disk.raw --key cert");
    assert!(
        text.contains("UKI: signed by the key of CN=i2kit test"),
        "{text}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&works(at, "verify disk.raw --json")).unwrap();
    assert_eq!(json["signed_by"], serde_json::Value::Null);
    let error = fails(at, "verify disk.raw --key others/db.crt");
    assert!(
        error.contains("its signature is not by the certificate's key"),
        "{error}"
    );

    let good = fs::read(&disk).unwrap();
    let place = |wanted: &[u8]| {
        good.windows(wanted.len())
            .position(|found| found == wanted)
            .unwrap()
    };
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(&disk, bytes).unwrap();
    };
    changed(place(b"HdrS"));
    let error = fails(at, "verify disk.raw --key cert");
    assert!(
        error.contains("it was altered: its digest is not the one that was signed"),
        "{error}"
    );
    // A compressed cluster of the store: the last one's frame.
    let frame = [0x28, 0xb5, 0x2f, 0xfd];
    let cluster = good.windows(4).rposition(|found| found == frame);
    changed(cluster.unwrap());
    let error = fails(at, "verify disk.raw --key cert");
    assert!(error.contains("block"), "{error}");
    for file in [
        "::/loader.conf",
        "::/EFI/BOOT/x.cred",
        "::/EFI/BOOT/BOOTIA32.EFI",
    ] {
        fs::write(&disk, &good).unwrap();
        shell(at, &format!("mcopy -i disk.raw@@1M cert {file}"));
        let error = fails(at, "verify disk.raw --key cert");
        let name = format!("it holds \"{}\"", &file[3..]);
        assert!(error.contains(&name), "{error}");
        assert!(
            fails(
                at,
                "sign disk.raw --sign-key others/db.key --sign-cert others/db.crt"
            )
            .contains(&name)
        );
    }
    fs::write(&disk, &good).unwrap();
    shell(at, "mmd -i disk.raw@@1M ::/loader");
    assert!(fails(at, "verify disk.raw").contains("it holds \"loader\""));
}

/// A disk and its UKI, a folder of keys; and what the tools read of the enrolled variables.
#[test]
fn enrolled_keys_are_read_by_other_tools() {
    let bench = Bench::new();
    let at = bench.folder.path();
    bench.build(MANIFEST, "disk.raw", &[]);
    let digest = hex::encode(authenticode::digest(&uki_of(at)).unwrap());
    let other = "ab".repeat(32);
    works(at, "keys new keys");
    let enrol =
        format!("keys enrol keys --db {CERTIFICATE} --dbx disk.raw --dbx uki --dbx {other}");
    works(at, &format!("{enrol} --ovmf vars.fd --ec2 data"));
    works(at, &format!("{enrol} --ovmf again.fd --ec2 again"));
    assert_eq!(
        fs::read(at.join("vars.fd")).unwrap(),
        fs::read(at.join("again.fd")).unwrap()
    );
    assert_eq!(
        fs::read(at.join("data")).unwrap(),
        fs::read(at.join("again")).unwrap()
    );
    let template = fs::metadata("/usr/share/OVMF/OVMF_VARS_4M.fd")
        .unwrap()
        .len();
    assert_eq!(fs::metadata(at.join("vars.fd")).unwrap().len(), template);

    let virt = samples::python_oracle("virt-fw-vars");
    for (file, switch) in [("vars.fd", true), ("data", false)] {
        let text = shell(at, &format!("{virt} -i {file} --print --verbose"));
        for expected in [
            "subject CN=i2kit PK",
            "subject CN=i2kit KEK",
            "subject CN=i2kit db",
            "subject CN=i2kit test",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(
            text.contains("name=dbx") && text.contains("count=3"),
            "{text}"
        );
        assert_eq!(
            text.contains("SecureBootEnable") && text.contains("bool: ON"),
            switch,
            "{text}"
        );
    }
    let uefivars = samples::python_oracle("uefivars");
    shell(
        at,
        &format!(
            "{uefivars} -i aws -I data -o json -O data.json; {uefivars} -i edk2 -I vars.fd -o json -O vars.json"
        ),
    );
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(at.join(name)).unwrap()).unwrap()
    };
    let of = |json: &serde_json::Value, name: &str| -> serde_json::Value {
        let found = json["variables"].as_array().unwrap().iter();
        found.clone().find(|one| one["name"] == name).unwrap()["data"].clone()
    };
    let (data, vars) = (read("data.json"), read("vars.json"));
    for name in ["PK", "KEK", "db", "dbx"] {
        assert_eq!(of(&data, name), of(&vars, name), "{name}");
    }
    let dbx = of(&data, "dbx");
    let dbx = dbx.as_str().unwrap();
    assert_eq!(
        dbx.matches(&digest).count(),
        2,
        "the disk's and the UKI's are one: {dbx}"
    );
    assert!(dbx.contains(&other));
}

fn uki_of(folder: &Path) -> Vec<u8> {
    shell(folder, "mcopy -i disk.raw@@1M ::EFI/BOOT/BOOTX64.EFI uki");
    fs::read(folder.join("uki")).unwrap()
}

#[test]
fn what_cannot_be_enrolled_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    works(at, "keys new keys");
    fs::write(at.join("zeros"), vec![0; 540_672]).unwrap();
    let error = fails(at, "keys enrol keys --ovmf out --template zeros");
    assert!(
        error.contains("zeros: read variable store: no firmware volume"),
        "{error}"
    );
    let error = fails(at, "keys enrol keys --ovmf out --dbx zeros");
    assert!(error.contains("read partition table"), "{error}");
    let error = fails(at, "keys enrol keys --ovmf out --dbx 12ab");
    assert!(error.contains("open disk 12ab"), "{error}");
    let error = fails(at, "keys enrol nowhere --ovmf out");
    assert!(error.contains("read nowhere/PK.crt"), "{error}");
    assert!(!at.join("out").exists());
    // A store of another firmware's.
    fs::write(at.join("short.fd"), "short").unwrap();
    let vars = at.join("short.fd");
    let error = i2kit::run::Firmware::secure(&vars).unwrap_err().to_string();
    assert!(error.contains("short.fd: not as long as"), "{error}");
}
