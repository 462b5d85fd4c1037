//! A base and an image that are built in a moment, and boot nowhere: for tests that build often.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::layout::{self, Compression};
use super::random::Random;
use super::tarball::{Dialect, Item, archive};
use super::{i2kit, samples, tool};

/// A folder with a base, an image of three layers, and room for caches and disks.
pub struct Small {
    folder: tempfile::TempDir,
}

impl Small {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Other users look at it too.
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let small = Self { folder };
        layout::write(
            &small.path("base"),
            &base_layers(&json!({"erofs": ["lz4", "zstd"]}), WITHOUT_FEC),
            &json!({}),
        );
        let layers = [Compression::Gzip, Compression::Zstd, Compression::None];
        let layers = layers.map(|compression| (files(compression as u64), compression));
        layout::write(
            &small.path("image"),
            &layers,
            &json!({"Entrypoint": ["/none"]}),
        );
        small
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Another base in the place of the first, with that record.
    pub fn replace_base(&self, record: &Value) {
        self.replace_layers(&base_layers(record, WITHOUT_FEC));
    }

    /// Another base in the place of the first, whose kernel repairs.
    pub fn replace_base_by_one_with_fec(&self) {
        let record = json!({"erofs": ["lz4", "zstd"]});
        self.replace_layers(&base_layers(&record, "CONFIG_DM_VERITY_FEC=y\n"));
    }

    /// Another base in the place of the first, which has something else in that file, or lacks it.
    pub fn replace_base_file(&self, file: &str, content: Option<&str>) {
        let mut items = boot(&json!({"erofs": ["lz4", "zstd"]}), WITHOUT_FEC);
        items.retain(|item| item.path != file.as_bytes());
        items.extend(content.map(|content| Item::file(file, content)));
        let boot = archive(&items, Dialect::Pax);
        self.replace_layers(&[(boot, Compression::Gzip), (system(), Compression::Gzip)]);
    }

    fn replace_layers(&self, layers: &[(Vec<u8>, Compression)]) {
        fs::remove_dir_all(self.path("base")).unwrap();
        layout::write(&self.path("base"), layers, &json!({}));
    }

    pub fn source(&self, name: &str) -> String {
        format!("oci:{}", self.path(name).display())
    }

    /// The build of a disk with the cache of that name.
    pub fn build(&self, cache: &str, disk: &str) -> Command {
        let mut command = i2kit();
        command.arg("build").arg("--base").arg(self.source("base"));
        command.arg("--from").arg(self.source("image"));
        command.arg("--cache-dir").arg(self.path(cache));
        command.arg("--json").arg("-o").arg(self.path(disk));
        command
    }

    /// Builds a disk with the cache of that name; answers its digest.
    pub fn built(&self, cache: &str, disk: &str) -> String {
        succeeded(&self.build(cache, disk).output().unwrap());
        let digest = layout::sha256(&fs::read(self.path(disk)).unwrap());
        fs::remove_file(self.path(disk)).unwrap();
        digest
    }

    /// `i2kit cache ARGUMENTS` on the cache of that name.
    pub fn cache(&self, cache: &str, arguments: &[&str]) -> Output {
        let mut command = i2kit();
        command.arg("cache").args(arguments).arg("--cache-dir");
        command.arg(self.path(cache)).output().unwrap()
    }
}

pub fn succeeded(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

const WITHOUT_FEC: &str = "# CONFIG_DM_VERITY_FEC is not set\n";

fn base_layers(record: &Value, config: &str) -> [(Vec<u8>, Compression); 2] {
    [
        (
            archive(&boot(record, config), Dialect::Pax),
            Compression::Gzip,
        ),
        (system(), Compression::Gzip),
    ]
}

/// What a base needs to be assembled; the stub is the real one.
fn boot(record: &Value, config: &str) -> Vec<Item> {
    let modules = json!({
        "virtio": [],
        "ec2": [],
        "other": ["kernel/low.ko", "kernel/a/mid-dle.ko", "kernel/high.ko"],
    });
    let by_name = json!({"extra": ["kernel/low.ko", "kernel/extra.ko"]});
    vec![
        Item::dir("boot"),
        Item::file("boot/stub.efi", stub()),
        Item::file("boot/vmlinuz", Random::new(7).bytes(300_000)),
        Item::file("boot/kernel.release", "1.2.3\n"),
        Item::file("boot/config", config),
        Item::file("boot/modules.json", modules.to_string()),
        Item::file("boot/modules-by-name.json", by_name.to_string()),
        Item::dir("boot/modules"),
        Item::file("boot/modules/kernel/low.ko", "low"),
        Item::file("boot/modules/kernel/a/mid-dle.ko", "middle"),
        Item::file("boot/modules/kernel/high.ko", "high"),
        Item::file("boot/modules/kernel/extra.ko", "extra"),
        Item::file("boot/record.json", record.to_string()),
    ]
}

fn stub() -> Vec<u8> {
    let base = samples::base();
    let blobs = Path::new(base.strip_prefix("oci:").unwrap()).join("blobs/sha256");
    let stubs = fs::read_dir(blobs).unwrap().filter_map(|blob| {
        let path = blob.unwrap().path();
        let output = tool("tar", &["-xzOf", path.to_str().unwrap(), "boot/stub.efi"]);
        output.status.success().then_some(output.stdout)
    });
    stubs.last().expect("the base has boot/stub.efi")
}

fn system() -> Vec<u8> {
    let program = Random::new(8).bytes(700_000);
    archive(
        &[Item::dir("system"), Item::file("system/program", program)],
        Dialect::Pax,
    )
}

/// Some 3 MiB in files of all sizes; the last layer has names that fill blocks, too.
fn files(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut items = Vec::new();
    for index in 0..40 {
        let size = random.below(1 << (8 + index % 12));
        let data = random.bytes(usize::try_from(size).unwrap());
        items.push(Item::file(format!("f{seed}-{index}"), data));
    }
    items.push(Item::file(format!("large{seed}"), random.bytes(2 << 20)));
    if seed == Compression::None as u64 {
        items.push(Item::dir("names"));
        let names = (0..150).map(|number| format!("names/name-{number:055}"));
        items.extend(names.map(|name| Item::file(name, "")));
    }
    archive(&items, Dialect::Pax)
}
