//! Tests: the PCRs that a build expects, against `systemd-measure` and a TPM.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use i2kit_format::pcr::{Bank, SecureBoot, secure_boot_policy};
use serde_json::Value;

use crate::support::output_of;
use crate::support::vm::{Bench, printed};

/// Reads what the firmware and the stub have measured.
const READ: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: read}
spec:
  restartPolicy: Never
  containers:
  - name: read
    image: tiny
    command: [sh, -c]
    args: ["cd /sys/class/tpm/tpm0; for r in sha256/4 sha256/7 sha256/11 sha384/4 sha384/7 sha384/11; do echo $r $(cat pcr-$r); done"]
"#;

fn built(bench: &Bench, name: &str) -> Value {
    let output = bench.try_build(READ, &bench.path(name), &["--json"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn systemd_measure_calculates_the_same_pcr_11() {
    let bench = Bench::new();
    let summary = built(&bench, "disk.raw");
    let measured = &summary["measured_boot"];
    let record = fs::read(bench.path("disk.raw.i2kit.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(&record["measured_boot"], measured);
    assert!(
        measured["stub"].as_str().unwrap().starts_with("252."),
        "{measured}"
    );
    let sections = [".linux", ".osrel", ".cmdline", ".initrd"];
    assert_eq!(measured["sections"], serde_json::json!(sections));

    let offset = &summary["partitions"][0]["offset"];
    let esp = format!("{}@@{offset}", bench.path("disk.raw").display());
    let uki = bench.path("uki");
    let uki = uki.to_str().unwrap();
    output_of("mcopy", &["-i", &esp, "::/EFI/BOOT/BOOTX64.EFI", uki]);
    let mut options = Vec::new();
    for section in sections {
        let file = bench.path(section);
        let dump = format!("{section}={}", file.display());
        output_of(
            "objcopy",
            &["-O", "binary", "--dump-section", &dump, uki, "/dev/null"],
        );
        options.push(format!(
            "--{}={}",
            section.trim_start_matches('.'),
            file.display()
        ));
    }
    for bank in ["sha256", "sha384"] {
        let mut measure = Command::new("/usr/lib/systemd/systemd-measure");
        measure
            .args(["calculate", "--phase=:", "--json=short"])
            .args(&options);
        let output = measure.arg(format!("--bank={bank}")).output();
        let output = output.expect("systemd-measure: scripts/setup.sh --test installs it");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(measured[bank]["pcr11"], json[bank][0]["hash"], "{json}");
    }
    // The record's values are told again when there is nothing to build.
    let again = built(&bench, "disk.raw");
    assert_eq!(again["unchanged"], true);
    assert_eq!(&again["measured_boot"], measured);
}

/// An emulated TPM 2.0, killed when dropped.
struct Tpm {
    process: Child,
    socket: String,
}

impl Tpm {
    fn start(folder: &Path) -> Self {
        let (state, socket) = (folder.join("tpm"), folder.join("tpm.sock"));
        fs::create_dir(&state).unwrap();
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--tpmstate"])
            .arg(format!("dir={}", state.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("swtpm: scripts/setup.sh --test installs it");
        let socket = socket.display().to_string();
        Self { process, socket }
    }

    /// QEMU tries once: it must be there.
    fn wait(&self) {
        for _ in 0..500 {
            if Path::new(&self.socket).exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("swtpm has no socket");
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The console of a machine with a TPM and that firmware.
fn boot(bench: &Bench, disk: &Path, machine: &str, code: &str, vars: &str) -> String {
    let tpm = Tpm::start(bench.folder.path());
    tpm.wait();
    let mut qemu = Command::new("timeout");
    qemu.args([
        "280",
        "qemu-system-x86_64",
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
    ]);
    qemu.args([
        "-display", "none", "-serial", "stdio", "-m", "1024", "-smp", "2",
    ]);
    qemu.args(["-machine", machine, "-accel", "tcg,thread=single"]);
    qemu.args(["-cpu", "max,la57=off", "-device", "virtio-rng-pci"]);
    qemu.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
    for (unit, mode, file) in [(0, "readonly=on", code), (1, "snapshot=on", vars)] {
        let flash = format!("if=pflash,unit={unit},format=raw,{mode},file=/usr/share/OVMF/{file}");
        qemu.args(["-drive", &flash]);
    }
    let drive = format!(
        "if=none,id=disk,format=raw,snapshot=on,file={}",
        disk.display()
    );
    qemu.args([
        "-drive",
        &drive,
        "-device",
        "virtio-blk-pci,drive=disk,bootindex=1",
    ]);
    qemu.args(["-chardev", &format!("socket,id=tpm,path={}", tpm.socket)]);
    qemu.args([
        "-tpmdev",
        "emulator,id=tpm0,chardev=tpm",
        "-device",
        "tpm-crb,tpmdev=tpm0",
    ]);
    let output = qemu.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).replace('\r', "")
}

/// The register as the guest read it, lower-case hex.
fn register(console: &str, name: &str) -> String {
    let lines = printed(console, "read");
    let line = lines.iter().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap_or_else(|| panic!("no {name} in:\n{console}"));
    value.trim().to_ascii_lowercase()
}

#[test]
fn a_tpm_holds_what_the_build_expects() {
    let bench = Bench::new();
    let summary = built(&bench, "disk.raw");
    let measured = &summary["measured_boot"];
    let disk = bench.path("disk.raw");
    let console = boot(
        &bench,
        &disk,
        "q35,smm=off",
        "OVMF_CODE_4M.fd",
        "OVMF_VARS_4M.fd",
    );
    for bank in ["sha256", "sha384"] {
        for pcr in ["4", "11"] {
            let expected = &measured[bank][format!("pcr{pcr}")];
            let found = register(&console, &format!("{bank}/{pcr} "));
            assert_eq!(expected, &found, "{bank} {pcr}: {measured}\n{console}");
        }
    }
}

/// A variable's content in a store of OVMF's: `AUTHENTICATED_VARIABLE_HEADER` of EDK2's
/// `VariableFormat.h` (60 bytes, live ones in state 0x3f), then name and data.
fn variable<'a>(store: &'a [u8], name: &str) -> &'a [u8] {
    let name: Vec<u8> = format!("{name}\0")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let word = |at: usize| u32::from_le_bytes(store[at..at + 4].try_into().unwrap()) as usize;
    let starts = store.windows(3).enumerate();
    let starts = starts.filter(|(_, window)| *window == [0xaa, 0x55, 0x3f]);
    let mut found = starts.filter_map(|(at, _)| {
        let data = at + 60 + word(at + 36);
        let is_it = store.get(at + 60..data) == Some(&name[..]);
        is_it.then(|| &store[data..data + word(at + 40)])
    });
    found.next().unwrap()
}

/// Debian's OVMF comes with variables whose `PK`, `KEK` and `db` hold one key, and with the key.
#[test]
fn a_tpm_holds_what_is_expected_under_secure_boot() {
    let bench = Bench::new();
    let summary = built(&bench, "disk.raw");
    let (disk, path) = (bench.path("disk.raw"), |name: &str| {
        bench.path(name).display().to_string()
    });
    let esp = format!("{}@@{}", disk.display(), summary["partitions"][0]["offset"]);
    let (uki, signed, key) = (path("uki"), path("signed"), path("key"));
    output_of("mcopy", &["-i", &esp, "::/EFI/BOOT/BOOTX64.EFI", &uki]);
    let snakeoil = "/usr/share/ovmf/PkKek-1-snakeoil";
    let from = format!("{snakeoil}.key");
    output_of(
        "openssl",
        &[
            "rsa",
            "-in",
            &from,
            "-passin",
            "pass:snakeoil",
            "-out",
            &key,
        ],
    );
    let certificate = format!("{snakeoil}.pem");
    output_of(
        "sbsign",
        &[
            "--key",
            &key,
            "--cert",
            &certificate,
            "--output",
            &signed,
            &uki,
        ],
    );
    output_of("mdel", &["-i", &esp, "::/EFI/BOOT/BOOTX64.EFI"]);
    output_of("mcopy", &["-i", &esp, &signed, "::/EFI/BOOT/BOOTX64.EFI"]);
    let (code, vars) = ("OVMF_CODE_4M.snakeoil.fd", "OVMF_VARS_4M.snakeoil.fd");
    let console = boot(&bench, &disk, "q35,smm=on", code, vars);

    let store = fs::read(format!("/usr/share/OVMF/{vars}")).unwrap();
    let db = variable(&store, "db");
    let authority = &db[28..];
    let state = SecureBoot {
        enabled: true,
        pk: variable(&store, "PK"),
        kek: variable(&store, "KEK"),
        db,
        dbx: variable(&store, "dbx"),
        authorities: &[authority],
    };
    for (name, bank) in [("sha256", Bank::Sha256), ("sha384", Bank::Sha384)] {
        let measured = &summary["measured_boot"][name];
        let found = |pcr: &str| register(&console, &format!("{name}/{pcr} "));
        assert_eq!(measured["pcr11"], found("11"), "{console}");
        let expected = secure_boot_policy(&state, bank);
        assert_eq!(hex::encode(expected.value()), found("7"), "{console}");
        assert_eq!(measured["pcr4_secure_boot"], found("4"), "{console}");
    }
}
