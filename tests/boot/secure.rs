//! Tests: what boots with Secure Boot, and what does not. `i2kit run` ends a machine whose firmware
//! boots nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use i2kit_format::efi::{self, Variable, store};

use super::{ROOM, contains, flip, idle, open, partition, pod};
use crate::support::vm::{Bench, Vm};
use crate::support::{i2kit, output_of};

/// Keys, a variable store that trusts them, and a disk that they signed.
struct Secure {
    bench: Bench,
    disk: PathBuf,
}

/// What the container of the disk tells of how it was started.
const TELLS: &str = "cat /proc/cmdline; ls -a / /run; mount";

impl Secure {
    fn new() -> Self {
        let bench = Bench::new();
        let disk = bench.build(
            &pod("restartPolicy: Never", &[("a", "", TELLS)]),
            "test.raw",
            &ROOM,
        );
        Self::of(bench, disk)
    }

    /// Signs the disk.
    fn of(bench: Bench, disk: PathBuf) -> Self {
        let secure = Self { bench, disk };
        secure.keys("keys");
        secure.sign("keys");
        secure.enrol(&[]);
        secure
    }

    fn path(&self, name: &str) -> String {
        self.bench.path(name).to_str().unwrap().to_owned()
    }

    fn keys(&self, name: &str) {
        run(&["keys", "new", &self.path(name)]);
    }

    fn sign(&self, keys: &str) {
        let disk = self.disk.to_str().unwrap();
        let (key, certificate) = (
            self.path(&format!("{keys}/db.key")),
            self.path(&format!("{keys}/db.crt")),
        );
        run(&[
            "sign",
            disk,
            "--sign-key",
            &key,
            "--sign-cert",
            &certificate,
        ]);
    }

    fn enrol(&self, more: &[&str]) {
        let (keys, vars) = (self.path("keys"), self.path("vars.fd"));
        let words = ["keys", "enrol", &keys, "--ovmf", &vars];
        run(&[&words[..], more].concat());
    }

    fn boot(&self) -> (i32, String) {
        Vm::boot(&self.disk, &["--uefi-vars", &self.path("vars.fd")]).end()
    }

    fn boots(&self) -> String {
        let (code, console) = self.boot();
        assert_eq!(code, 0, "{console}");
        contains(&console, &["Secure Boot is enabled", "i2kit: Pod test"]);
        console
    }

    /// Nothing of the disk runs.
    fn is_refused(&self) {
        let (code, console) = self.boot();
        assert_eq!(code, 70, "{console}");
        contains(
            &console,
            &[
                "Access Denied",
                "error: run the Pod: the firmware refuses the disk's UKI",
            ],
        );
        assert!(!console.contains("EFI stub"), "{console}");
    }

    fn esp(&self) -> String {
        format!(
            "{}@@{}",
            self.disk.display(),
            partition(&self.disk, "esp").0
        )
    }

    /// Where the bytes lie in the disk's ESP.
    fn find(&self, wanted: &[u8]) -> u64 {
        let (start, size) = partition(&self.disk, "esp");
        let bytes = std::fs::read(&self.disk).unwrap();
        let esp = &bytes[..usize::try_from(start + size).unwrap()];
        let found = esp
            .windows(wanted.len())
            .rposition(|window| window == wanted);
        found.unwrap() as u64
    }
}

fn run(words: &[&str]) {
    let output = i2kit().args(words).output().unwrap();
    assert!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The stub copies credentials and system extensions from the ESP to `/.extra` without checking
/// them, Secure Boot or not.
#[test]
fn a_signed_disk_boots_and_what_is_dropped_on_its_esp_takes_no_effect() {
    let secure = Secure::new();
    let file = secure.path("intruder");
    std::fs::write(&file, "intruder").unwrap();
    let esp = secure.esp();
    let extra = "::/EFI/BOOT/BOOTX64.EFI.extra.d";
    output_of(
        "mmd",
        &["-i", &esp, "::/loader", "::/loader/credentials", extra],
    );
    for target in [
        "::/loader/credentials/intruder.cred",
        &format!("{extra}/intruder.cred"),
        &format!("{extra}/intruder.raw"),
    ] {
        output_of("mcopy", &["-i", &esp, &file, target]);
    }
    let console = secure.boots();
    contains(&console, &["i2kit: deleted /.extra unread"]);
    assert!(!console.contains("intruder"), "{console}");
    let output = i2kit().arg("verify").arg(&secure.disk).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("EFI/BOOT/BOOTX64.EFI.extra.d") || said.contains("loader"),
        "{said}"
    );
}

#[test]
#[ignore = "slow: boots"]
fn a_disk_signed_with_rsa_3072_boots() {
    let secure = Secure::new();
    run(&["keys", "new", &secure.path("long"), "--rsa", "3072"]);
    secure.sign("long");
    let (keys, vars) = (secure.path("long"), secure.path("vars.fd"));
    run(&["keys", "enrol", &keys, "--ovmf", &vars]);
    secure.boots();
}

#[test]
fn an_unsigned_disk_is_refused() {
    let bench = Bench::new();
    let disk = idle(&bench, &[]);
    let secure = Secure::of(bench, disk);
    idle(&secure.bench, &[]);
    secure.is_refused();
}

#[test]
fn a_disk_with_an_altered_kernel_is_refused() {
    let secure = Secure::new();
    flip(&secure.disk, secure.find(b"HdrS"));
    secure.is_refused();
}

#[test]
#[ignore = "slow: boots"]
fn a_disk_signed_with_another_key_is_refused() {
    let secure = Secure::new();
    secure.keys("others");
    secure.sign("others");
    secure.is_refused();
}

#[test]
#[ignore = "slow: boots"]
fn a_disk_with_an_altered_command_line_is_refused() {
    let secure = Secure::new();
    flip(&secure.disk, secure.find(b"roothash=") + 9);
    secure.is_refused();
}

#[test]
#[ignore = "slow: boots"]
fn a_disk_with_an_altered_initramfs_is_refused() {
    let secure = Secure::new();
    // The magic number of zstd.
    flip(&secure.disk, secure.find(&[0x28, 0xb5, 0x2f, 0xfd]) + 1000);
    secure.is_refused();
}

#[test]
#[ignore = "slow: boots"]
fn a_disk_with_an_altered_signature_is_refused() {
    let secure = Secure::new();
    // The digest of messageDigest's OID, 1.2.840.113549.1.9.4, is followed by a SET and its value.
    let oid = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
    flip(&secure.disk, secure.find(&oid) + 20);
    secure.is_refused();
}

/// A downgrade: the old disk is signed with the right key, and retired by its UKI's digest.
#[test]
#[ignore = "slow: boots"]
fn a_retired_disk_is_refused_and_the_new_one_boots() {
    let mut secure = Secure::new();
    let old = secure.disk.to_str().unwrap().to_owned();
    secure.enrol(&["--dbx", &old]);
    secure.is_refused();
    let manifest = pod("restartPolicy: Never", &[("a", "", "echo new")]);
    secure.disk = secure.bench.build(&manifest, "new.raw", &[]);
    secure.sign("keys");
    contains(&secure.boots(), &["[a] new"]);
}

#[test]
#[ignore = "slow: boots"]
fn a_flipped_byte_in_a_file_of_a_signed_disk_powers_the_machine_off() {
    let bench = Bench::new();
    // A text of the file is looked for.
    let disk = idle(&bench, &["--compression", "none"]);
    let secure = Secure::of(bench, disk);
    let bytes = std::fs::read(&secure.disk).unwrap();
    let busybox = bytes
        .windows(24)
        .rposition(|window| window.starts_with(b"BusyBox v1."))
        .unwrap() as u64;
    flip(&secure.disk, busybox);
    let (code, console) = secure.boot();
    assert_eq!(code, 70, "{console}");
    contains(&console, &["failed verification: powering off"]);
}

#[test]
#[ignore = "slow: boots"]
fn a_flipped_byte_in_the_superblock_of_a_signed_disk_powers_the_machine_off() {
    let secure = Secure::new();
    flip(&secure.disk, partition(&secure.disk, "store").0);
    let (code, console) = secure.boot();
    assert_eq!(code, 70, "{console}");
    contains(&console, &["block 0 (byte offset 0) failed verification"]);
    assert!(!console.contains("i2kit: Pod test"), "{console}");
}

#[test]
#[ignore = "slow: boots"]
fn a_flipped_byte_in_the_hash_tree_of_a_signed_disk_powers_the_machine_off() {
    let secure = Secure::new();
    flip(
        &secure.disk,
        partition(&secure.disk, "store-verity").0 + 4096,
    );
    let (code, console) = secure.boot();
    assert_eq!(code, 70, "{console}");
    contains(
        &console,
        &["store-verity: hash block 1 (byte offset 4096) failed verification"],
    );
    assert!(!console.contains("i2kit: Pod test"), "{console}");
}

/// The whole store is another one, with a tree that fits: all but the UKI comes from elsewhere.
#[test]
#[ignore = "slow: boots"]
fn a_signed_uki_does_not_take_another_disks_store() {
    let secure = Secure::new();
    let manifest = pod("restartPolicy: Never", &[("a", "", "echo intruder")]);
    let other = secure.bench.build(&manifest, "other.raw", &[]);
    let uki = secure.path("uki.efi");
    output_of(
        "mcopy",
        &["-i", &secure.esp(), "::/EFI/BOOT/BOOTX64.EFI", &uki],
    );
    let other = Secure {
        bench: secure.bench,
        disk: other,
    };
    output_of(
        "mcopy",
        &["-o", "-i", &other.esp(), &uki, "::/EFI/BOOT/BOOTX64.EFI"],
    );
    let (code, console) = other.boot();
    assert_eq!(code, 70, "{console}");
    contains(&console, &["find the store partition: no PARTUUID="]);
    assert!(!console.contains("intruder"), "{console}");
}

/// A boot option whose load options are a command line: the stub takes it, but not with Secure Boot.
#[test]
#[ignore = "slow: boots"]
fn load_options_extend_no_command_line() {
    let secure = Secure::new();
    let vars = secure.path("vars.fd");
    let offer = |path: &str| {
        let bytes = std::fs::read(path).unwrap();
        let offered = store::write(&bytes, &boot_next(&secure.disk)).unwrap();
        std::fs::write(path, offered).unwrap();
    };
    offer(&vars);
    let console = secure.boots();
    contains(
        &console,
        &[
            "starting Boot0099 \"intruder\"",
            "[a] console=tty0 console=ttyS0",
        ],
    );
    assert!(!console.contains("i2kit.intruder"), "{console}");

    // That the option is a good one, the same firmware shows when nothing is enrolled.
    std::fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &vars).unwrap();
    offer(&vars);
    let (_, console) = secure.boot();
    contains(&console, &["i2kit.intruder"]);
}

/// `Boot0099` with load options, and `BootNext`, which has it tried first.
fn boot_next(disk: &Path) -> [Variable; 2] {
    let utf16 = |text: &str| -> Vec<u8> {
        let units = text.encode_utf16().chain([0]);
        units.flat_map(u16::to_le_bytes).collect()
    };
    let (start, size) = partition(disk, "esp");
    let mut guid = [0; 16];
    // The first partition entry's own GUID, as GPT stores it.
    std::os::unix::fs::FileExt::read_exact_at(&open(disk), &mut guid, 1024 + 16).unwrap();
    // HD(1,GPT,…), a file, the end (UEFI 2.10, sections 10.3.5.1 and 10.3.5.4).
    let mut path = [&[4, 1, 42, 0, 1, 0, 0, 0][..], &(start / 512).to_le_bytes()].concat();
    path.extend((size / 512).to_le_bytes());
    path.extend(guid);
    path.extend([2, 2]);
    let file = utf16("\\EFI\\BOOT\\BOOTX64.EFI");
    path.extend([4, 4]);
    path.extend((u16::try_from(file.len()).unwrap() + 4).to_le_bytes());
    path.extend(file);
    path.extend([0x7f, 0xff, 4, 0]);
    let mut option = 1u32.to_le_bytes().to_vec();
    option.extend(u16::try_from(path.len()).unwrap().to_le_bytes());
    option.extend(utf16("intruder"));
    option.extend(path);
    option.extend(utf16("console=ttyS0 i2kit.intruder"));
    [("Boot0099", option), ("BootNext", vec![0x99, 0])].map(|(name, data)| Variable {
        name: name.to_owned(),
        vendor: efi::GLOBAL_VARIABLE,
        attributes: efi::NON_VOLATILE | efi::BOOTSERVICE_ACCESS | efi::RUNTIME_ACCESS,
        time: efi::Time::default(),
        data,
    })
}

/// Newer stubs append what the host says in SMBIOS strings.
#[test]
#[ignore = "slow: boots"]
fn smbios_strings_extend_no_command_line() {
    let secure = Secure::new();
    let qemu = output_of("sh", &["-c", "command -v qemu-system-x86_64"]);
    let folder = secure.bench.path("bin");
    std::fs::create_dir(&folder).unwrap();
    let wrapper = folder.join("qemu-system-x86_64");
    let strings = "type=11,value=io.systemd.stub.kernel-cmdline-extra=i2kit.intruder,value=io.systemd.boot.kernel-cmdline-extra=i2kit.intruder";
    let script = format!(
        "#!/bin/sh\nexec {} \"$@\" -smbios '{strings}'\n",
        qemu.trim()
    );
    std::fs::write(&wrapper, script).unwrap();
    output_of("chmod", &["755", wrapper.to_str().unwrap()]);
    let mut command: Command = i2kit();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).arg("run").arg(&secure.disk);
    command.args(["--timeout", "280", "--uefi-vars", &secure.path("vars.fd")]);
    let (code, console) = Vm::start(command).end();
    assert_eq!(code, 0, "{console}");
    contains(&console, &["Secure Boot is enabled", "[a] console=tty0"]);
    assert!(!console.contains("i2kit.intruder"), "{console}");
}
