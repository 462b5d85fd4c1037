//! Tests: `--kernel-arg`, `--module`, `--extension`.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::sources::fleet::{Fleet, refused, without_network};
use crate::support::layout::{self, Compression};
use crate::support::small::{Small, succeeded};
use crate::support::tarball::{Dialect, Item, archive};
use crate::support::vm::{Bench, Vm, printed};
use crate::support::{i2kit, output_of};

/// An extension of two layers: the upper one takes away a file of the base and one of the lower.
fn extension(folder: &std::path::Path) {
    let lower = archive(
        &[
            Item::dir("opt"),
            Item::file("opt/agent", "agent"),
            Item::file("opt/old", "old"),
        ],
        Dialect::Pax,
    );
    let upper = archive(
        &[
            Item::file(".wh.program", ""),
            Item::file("opt/.wh.old", ""),
            Item::file("opt/new", "new"),
        ],
        Dialect::Pax,
    );
    let layers = [(lower, Compression::Gzip), (upper, Compression::Zstd)];
    layout::write(folder, &layers, &json!({}));
}

fn inspect(disk: &std::path::Path) -> Value {
    let output = i2kit()
        .args(["inspect", "--verify", "--json"])
        .arg(disk)
        .output();
    serde_json::from_str(&succeeded(&output.unwrap())).unwrap()
}

/// Paths of the initramfs and its list of modules.
fn initramfs(small: &Small, disk: &std::path::Path) -> (Vec<String>, String) {
    let offset = inspect(disk)["partitions"][0]["offset"].to_string();
    let (uki, initrd) = (small.path("uki"), small.path("initrd"));
    let esp = format!("{}@@{offset}", disk.display());
    let uki = uki.to_str().unwrap();
    output_of(
        "mcopy",
        &["-no", "-i", &esp, "::/EFI/BOOT/BOOTX64.EFI", uki],
    );
    let dump = format!(".initrd={}", initrd.display());
    let options = ["-O", "binary", "--dump-section", &dump, uki, "/dev/null"];
    output_of("objcopy", &options);
    let unpack = format!("zstd -qdc < {} | cpio --quiet", initrd.display());
    let list = output_of("sh", &["-c", &format!("{unpack} -t")]);
    let to = small.path("unpacked");
    fs::create_dir_all(&to).unwrap();
    let script = format!("cd {} && {unpack} -idu etc/i2kit/modules", to.display());
    output_of("sh", &["-c", &script]);
    (
        list.lines().map(str::to_owned).collect(),
        fs::read_to_string(to.join("etc/i2kit/modules")).unwrap(),
    )
}

#[test]
fn a_build_adds_arguments_modules_and_extensions_and_records_them() {
    let small = Small::new();
    extension(&small.path("extension"));
    let source = format!("oci:{}", small.path("extension").display());
    let disk = small.path("disk.raw");
    let build = |more: &[&str]| {
        let output = small
            .build("cache", "disk.raw")
            .args(more)
            .output()
            .unwrap();
        let summary: Value = serde_json::from_str(&succeeded(&output)).unwrap();
        assert_eq!(summary["unchanged"], false, "{more:?}");
        inspect(&disk)
    };
    let plain = build(&[]);
    assert_eq!(plain["inputs"]["extensions"], json!([]));

    let report = build(&["--kernel-arg", "quiet", "--kernel-arg=x=\"a b\""]);
    let line = plain["cmdline"]
        .as_str()
        .unwrap()
        .split("roothash=")
        .next()
        .unwrap();
    let found = report["cmdline"].as_str().unwrap();
    assert!(
        found.starts_with(&format!("quiet x=\"a b\" {line}")),
        "{found}"
    );
    assert_eq!(
        report["inputs"]["kernel_args"],
        json!(["quiet", "x=\"a b\""])
    );

    let report = build(&["--module", "extra", "--module", "mid_dle"]);
    assert_eq!(report["inputs"]["modules"], json!(["extra", "mid_dle"]));
    let (files, list) = initramfs(&small, &disk);
    assert_eq!(
        list,
        "/lib/modules/low.ko\n/lib/modules/extra.ko\n/lib/modules/mid-dle.ko\n"
    );
    assert!(files.iter().any(|file| file == "lib/modules/extra.ko"));

    let report = build(&["--extension", &source]);
    let recorded = &report["inputs"]["extensions"][0];
    // No folder of the builder stands in it.
    assert_eq!(recorded["image"], "oci:extension");
    assert_eq!(recorded["layers"].as_array().unwrap().len(), 2);
    let path = format!("{}:store/system", disk.display());
    let list = succeeded(&i2kit().args(["ls", "-R", &path]).output().unwrap());
    let has = |name: &str| list.lines().any(|line| line.trim_end().ends_with(name));
    assert!(has("opt/agent") && has("opt/new"), "{list}");
    assert!(!has("opt/old") && !has("program"), "{list}");
}

#[test]
fn what_cannot_be_added_is_refused() {
    let small = Small::new();
    let refused = |more: &[&str], expected: &str| {
        let output = small
            .build("cache", "disk.raw")
            .args(more)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(expected), "no {expected:?} in {text}");
        assert!(!small.path("disk.raw").exists());
    };
    refused(
        &["--kernel-arg", "roothash=12"],
        "i2kit itself sets roothash",
    );
    refused(&["--kernel-arg", "a\nb"], "byte 0x0a at 1");
    let long = "x".repeat(1900);
    refused(
        &["--kernel-arg", &long],
        "bytes, the kernel takes at most 2047\nhint: leave out",
    );
    refused(
        &["--module", "nothing"],
        "find module nothing in the base image: it carries extra, high, low, mid_dle\nhint: ",
    );
    refused(&["--extension", "oci:/nonexistent"], "/nonexistent");
}

#[test]
fn locks_and_bundles_hold_extensions() {
    let fleet = Fleet::new();
    extension(&fleet.path("extension"));
    fleet.registry.load(&fleet.path("extension"), "app/agent");
    let agent = format!("{}/app/agent:latest", fleet.registry.host());
    let manifest = fleet.manifest(&[fleet.image()]);
    let with = |mut command: Command| {
        command
            .arg("-f")
            .arg(&manifest)
            .args(["--extension", &agent]);
        command
    };
    let (disk, _) = fleet.built(with(fleet.with_base("one", "build")));
    succeeded(&with(fleet.with_base("one", "lock")).output().unwrap());
    let text = fs::read_to_string(fleet.path("one/i2kit.lock")).unwrap();
    assert!(
        text.contains(&format!("extensions = [\"{agent}\"]")),
        "{text}"
    );
    let mut locked = with(fleet.with_base("one", "build"));
    locked.arg("--locked");
    assert_eq!(fleet.built(locked).0, disk);
    let mut other = fleet.with_base("one", "build");
    other
        .arg("-f")
        .arg(&manifest)
        .args(["--locked", "--extension", "other"]);
    other.arg("-o").arg(fleet.path("other.raw"));
    refused(&mut other, &["\"other\" in i2kit.lock: it is not there"]);

    let bundle = fleet.path("app.bundle.tar");
    let mut write = with(fleet.with_base("one", "bundle"));
    succeeded(&write.arg("-o").arg(&bundle).output().unwrap());
    // Whoever builds from the bundle needs to name nothing.
    let mut build = fleet.machine("air-gapped", "build");
    build.arg("--bundle").arg(&bundle);
    assert_eq!(fleet.built(without_network(&build)).0, disk);
}

const LOOK: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: look}
spec:
  restartPolicy: Never
  volumes: [{name: data, emptyDir: {}}]
  containers:
  - name: look
    image: tiny
    command: [sh, -c]
    args: ["cat /proc/cmdline; grep virtio_net /proc/modules; stat -f -c 'block %S' /data"]
    volumeMounts: [{name: data, mountPath: /data}]
"#;

/// The target ec2 has no driver for QEMU's network card: `--module` brings it. The guest's
/// `mkfs.ext4` reads `/etc/mke2fs.conf` of system/: the extension lays its own over the base's.
#[test]
fn a_guest_has_the_argument_the_module_and_the_extensions_file() {
    let bench = Bench::new();
    let conf = "[defaults]\nbase_features = extent,filetype,has_journal,sparse_super\n\
                blocksize = 2048\ninode_size = 256\n";
    let tar = archive(&[Item::file("etc/mke2fs.conf", conf)], Dialect::Pax);
    let layers = [(tar, Compression::Gzip)];
    layout::write(&bench.path("extension"), &layers, &json!({}));
    let source = format!("agent=oci:{}", bench.path("extension").display());
    let options = [
        "--target=ec2",
        "--module=virtio_net",
        "--kernel-arg=i2kit_test=yes",
        "--extension=agent",
        "--scratch=128MiB",
        "--image",
        &source,
    ];
    let disk = bench.build(LOOK, "look.raw", &options);
    let (code, console) = Vm::boot(&disk, &["--disk-bus", "nvme"]).end();
    assert_eq!(code, 0, "{console}");
    let lines = printed(&console, "look");
    let has = |text: &str| lines.iter().any(|line| line.starts_with(text));
    assert!(has("i2kit_test=yes console=tty0"), "{console}");
    assert!(has("virtio_net "), "{console}");
    assert!(has("block 2048"), "{console}");
}
