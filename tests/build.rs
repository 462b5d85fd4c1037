//! Tests: the disk that a build writes, before anything boots it.

use std::process::Command;

use serde_json::json;

use crate::support::samples::oracle;
use crate::support::small::Small;
use crate::support::vm::Bench;
use crate::support::{i2kit, output_of};

const NGINX: &str = include_str!("../fixtures/manifests/nginx.yaml");

fn digest(path: &std::path::Path) -> String {
    output_of("sha256sum", &[path.to_str().unwrap()])
        .split(' ')
        .next()
        .unwrap()
        .to_owned()
}

#[test]
fn other_projects_tools_accept_the_disk() {
    let bench = Bench::new();
    let disk = bench.build(NGINX, "disk.raw", &["--scratch", "64MiB"]);
    let path = disk.to_str().unwrap();
    let text = output_of("sgdisk", &["-v", path]);
    assert!(text.contains("No problems found"), "{text}");
    let text = output_of("systemd-dissect", &["--no-pager", path]);
    assert!(
        text.contains("bootable system for UEFI") && text.contains("root-verity"),
        "{text}"
    );

    let report = i2kit()
        .args(["inspect", "--verify", "--json"])
        .arg(&disk)
        .output()
        .unwrap();
    assert!(
        report.status.success(),
        "{}",
        String::from_utf8_lossy(&report.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let root = report["root_hash"].as_str().unwrap();
    let part = |index: usize, name: &str| {
        let one = &report["partitions"][index];
        let (offset, size) = (
            one["offset"].as_u64().unwrap(),
            one["size"].as_u64().unwrap(),
        );
        let out = bench.path(name);
        let (input, output) = (format!("if={path}"), format!("of={}", out.display()));
        let (skip, count) = (format!("skip={offset}"), format!("count={size}"));
        output_of(
            "dd",
            &[
                &input,
                &output,
                &skip,
                &count,
                "bs=1M",
                "iflag=skip_bytes,count_bytes",
                "status=none",
            ],
        );
        out.to_str().unwrap().to_owned()
    };
    let (esp, store, verity) = (part(0, "esp"), part(1, "store"), part(2, "verity"));
    output_of("veritysetup", &["verify", &store, &verity, root]);
    output_of("fsck.fat", &["-n", &esp]);
    let text = output_of(&oracle("fsck.erofs"), &[&store]);
    // Version 1.5 exits with 0 whatever it finds; what it prints tells.
    assert_eq!(text, "");
    let uki = bench.path("uki");
    output_of(
        "mcopy",
        &["-i", &esp, "::/EFI/BOOT/BOOTX64.EFI", uki.to_str().unwrap()],
    );
    let text = output_of("objdump", &["-h", uki.to_str().unwrap()]);
    for section in [".osrel", ".cmdline", ".uname", ".initrd", ".linux"] {
        assert!(text.contains(section), "no {section} in {text}");
    }
    let initrd = bench.path("initrd");
    let dump = format!(".initrd={}", initrd.display());
    output_of(
        "objcopy",
        &[
            "-O",
            "binary",
            "--dump-section",
            &dump,
            uki.to_str().unwrap(),
            "/dev/null",
        ],
    );
    let list = output_of(
        "sh",
        &["-c", &format!("zstd -dc < {} | cpio -t", initrd.display())],
    );
    for name in [
        "init",
        "dev/console",
        "lib/modules/ena.ko",
        "lib/modules/dm-verity.ko",
    ] {
        assert!(list.lines().any(|line| line == name), "no {name} in {list}");
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let bench = Bench::new();
    let first = bench.build(NGINX, "one.raw", &["-j", "1"]);
    let other = Bench::new();
    let file = other.path("elsewhere.yaml");
    std::fs::write(&file, NGINX).unwrap();
    let second = other.path("two.raw");
    // Another folder, cache, umask, locale, time zone, thread count.
    let mut shell = Command::new("sh");
    let command = other.command("build");
    shell
        .arg("-c")
        .arg("umask 077; exec \"$0\" \"$@\"")
        .arg(command.get_program())
        .args(command.get_args());
    shell
        .arg("-f")
        .arg(&file)
        .arg("-o")
        .arg(&second)
        .args(["-j", "4"]);
    shell
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("TZ", "Asia/Kathmandu")
        .env("RAYON_NUM_THREADS", "1")
        .current_dir(other.folder.path());
    assert!(shell.status().unwrap().success());
    assert_eq!(digest(&first), digest(&second));
    // From a warm cache, too.
    std::fs::remove_file(&first).unwrap();
    let third = bench.build(NGINX, "one.raw", &[]);
    assert_eq!(digest(&third), digest(&second));
}

#[test]
fn a_base_whose_kernel_lacks_the_compression_is_refused() {
    let small = Small::new();
    let build = |compression: &str| {
        let mut build = small.build("cache", "disk.raw");
        let output = build.args(["--compression", compression]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), error)
    };
    for compression in ["none", "lz4:1", "zstd:1,cluster=4K", "zstd"] {
        assert_eq!(
            build(compression),
            (Some(0), String::new()),
            "{compression}"
        );
    }
    small.replace_base(&json!({"erofs": ["lz4"]}));
    let (code, error) = build("zstd:2");
    assert_eq!(code, Some(1), "{error}");
    assert!(
        error.contains("compress with zstd: the base image's kernel reads EROFS with lz4\nhint: --compression lz4"),
        "{error}"
    );
    assert_eq!(build("lz4").0, Some(0));
    small.replace_base(&json!({}));
    let (code, error) = build("zstd:2");
    assert_eq!(code, Some(1), "{error}");
    assert!(
        error.contains("with no compression\nhint: --compression none"),
        "{error}"
    );
    let (code, error) = build("zstd:99");
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("no level \"99\" of zstd, from 1 to 22"),
        "{error}"
    );
    let (code, error) = build("zstd,cluster=8M");
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("cluster \"8M\" is no power of 2 from 4K to 4M"),
        "{error}"
    );
}

#[test]
fn a_base_that_cannot_boot_is_refused() {
    let small = Small::new();
    let no_stub =
        "read base image: it has no boot/stub.efi\nhint: a base image has boot/ and system/";
    for (file, content, words) in [
        ("boot/stub.efi", None, no_stub),
        ("boot/stub.efi", Some("MZ"), "write UKI: "),
        (
            "boot/vmlinuz",
            None,
            "read base image: it has no boot/vmlinuz",
        ),
        (
            "boot/modules.json",
            Some("["),
            "parse boot/modules.json of the base image",
        ),
        (
            "boot/modules/kernel/low.ko",
            None,
            "it has no boot/modules/kernel/low.ko",
        ),
    ] {
        small.replace_base_file(file, content);
        let mut build = small.build("cache", "disk.raw");
        let output = build.arg("--target=other").output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{file}: {error}");
        assert!(error.contains(words), "{file}: {error}");
        assert!(!small.path("disk.raw").exists());
    }
}

#[test]
fn an_unchanged_disk_is_not_written_again_and_a_touched_one_is() {
    let bench = Bench::new();
    let build = || {
        let out = bench.try_build(NGINX, &bench.path("disk.raw"), &["--json"]);
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap()
    };
    assert_eq!(build()["unchanged"], false);
    assert_eq!(build()["unchanged"], true);
    std::fs::File::options()
        .append(true)
        .open(bench.path("disk.raw"))
        .unwrap()
        .set_len(1)
        .unwrap();
    let again = build();
    assert_eq!(again["unchanged"], false);
    assert!(
        again["layers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|layer| layer["reused"] == true)
    );
}

#[test]
fn a_flipped_bit_in_the_cache_never_becomes_a_disk() {
    let bench = Bench::new();
    let disk = bench.build(NGINX, "disk.raw", &[]);
    let good = digest(&disk);
    for entry in std::fs::read_dir(bench.path("cache/v1/layers")).unwrap() {
        let data = entry.unwrap().path().join("data");
        let mut bytes = std::fs::read(&data).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&data, bytes).unwrap();
        std::fs::remove_file(&disk).unwrap();
        bench.build(NGINX, "disk.raw", &[]);
        assert_eq!(digest(&disk), good);
    }
}

#[test]
fn a_tiny_container_needs_little_and_shared_layers_lie_once() {
    let bench = Bench::new();
    let one = bench.path("one.raw");
    let status = bench
        .command("build")
        .args(["--from", "tiny", "-o"])
        .arg(&one)
        .status()
        .unwrap();
    assert!(status.success());
    let size = std::fs::metadata(&one).unwrap().len();
    assert!(size <= 96 << 20, "{size} bytes");
    let twice = "apiVersion: v1\nkind: Pod\nmetadata: {name: twice}\nspec:\n  containers:\n  - {name: a, image: tiny}\n  - {name: b, image: tiny}\n";
    let two = bench.build(twice, "two.raw", &[]);
    assert!(std::fs::metadata(&two).unwrap().len() <= size + (1 << 20));
    let list = i2kit()
        .arg("ls")
        .arg(format!("{}:store/containers", two.display()))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&list.stdout).lines().count(), 2);
}
