//! What the firmware and the kernel need: initramfs, UKI and the ESP that holds it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use i2kit_contract::MODULES_LIST;
use i2kit_format::erofs::InodeId;
use i2kit_format::{ReadAt, cpio, fat, layout, uki};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::cmdline;
use super::merged::{self, Merged};
use crate::cache::{self, Cache};
use crate::layer::ConvertedLayer;

/// The kernel, the stub and the initramfs are bounded by what an ESP holds.
const MAX_FILE: u64 = 256 << 20;
/// Takes some 80 ms, once for each base.
const ZSTD_LEVEL: i32 = 6;
/// Changes whenever the same inputs make another initramfs.
const INITRAMFS_VERSION: &str = "i2kit initramfs 1, zstd 6";
/// In the base: target → its modules in load order.
const TARGETS: &str = "boot/modules.json";
/// In the base: name of a module → what to load for it, in order.
const BY_NAME: &str = "boot/modules-by-name.json";
/// What the kernel is built with when dm-verity repairs.
const FEC_OPTION: &str = "CONFIG_DM_VERITY_FEC";
/// In the UKI's os-release: the image's version.
pub const IMAGE_VERSION: &str = "IMAGE_VERSION";
type Table = BTreeMap<String, Vec<String>>;
/// `i2kit-init`, as `build.rs` built it.
static INIT: &[u8] = include_bytes!(env!("I2KIT_INIT"));

/// Names the guest's program in the inputs record: another one makes another disk.
#[must_use]
pub fn init_digest() -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(INIT)))
}

/// Why there is nothing to boot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The base image lacks a file.
    #[error("read base image: it has no {path}")]
    Missing {
        /// Its path in the base image.
        path: String,
    },
    /// A file of the base image cannot be read.
    #[error("read base image: {0}")]
    Read(#[from] merged::Error),
    /// A table or the record makes no sense.
    #[error("parse {path} of the base image: {source}")]
    Json {
        /// Its path in the base image.
        path: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The base has no such target.
    #[error("find target {target} in the base image: it has {}", known.join(", "))]
    Target {
        /// What was asked for.
        target: String,
        /// What is there.
        known: Vec<String>,
    },
    /// The base's kernel cannot read files that are compressed so.
    #[error("compress with {algorithm}: the base image's kernel reads EROFS with {}", if known.is_empty() { "no compression".to_owned() } else { known.join(", ") })]
    Compression {
        /// What was asked for.
        algorithm: &'static str,
        /// What the base's record names.
        known: Vec<String>,
    },
    /// The base carries no such module.
    #[error("find module {name} in the base image: it carries {}", known.join(", "))]
    Module {
        /// What was asked for.
        name: String,
        /// What is there.
        known: Vec<String>,
    },
    /// The command line cannot be used.
    #[error(transparent)]
    Cmdline(#[from] cmdline::Error),
    /// The base's kernel cannot repair.
    #[error("use --fec: the base's kernel has no {FEC_OPTION}")]
    NoFec,
    /// The initramfs cannot be laid out.
    #[error("write initramfs: {0}")]
    Cpio(#[from] cpio::Error),
    /// The initramfs cannot be compressed or filled.
    #[error("write initramfs: {0}")]
    Fill(#[from] layout::Error),
    /// The initramfs cannot be compressed.
    #[error("compress initramfs: {0}")]
    Compress(std::io::Error),
    /// The compressed initramfs cannot be kept.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// The UKI cannot be assembled.
    #[error("write UKI: {0}")]
    Uki(#[from] uki::Error),
    /// The ESP cannot be laid out.
    #[error("write ESP: {0}")]
    Fat(#[from] fat::Error),
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } | Self::Json { .. } => Some(
                "a base image has boot/ and system/: scripts/build-base.sh makes one".to_owned(),
            ),
            Self::Compression { known, .. } => Some(match known.first() {
                Some(known) => format!("--compression {known}, or none"),
                None => "--compression none".to_owned(),
            }),
            Self::Module { .. } => Some(
                "scripts/build-base.sh --module NAME makes a base that carries it, too".to_owned(),
            ),
            Self::NoFec => Some("leave --fec out, or use a base whose kernel has it".to_owned()),
            Self::Cmdline(error) => error.hint(),
            Self::Uki(error) => error.hint(),
            Self::Cache(error) => error.hint(),
            _ => None,
        }
    }
}

/// The base image, merged: read, never placed as such.
pub struct Base<'a> {
    /// Its layers.
    pub layers: &'a [Arc<ConvertedLayer>],
    /// Where it was merged.
    pub merged: &'a Merged,
    /// Its root.
    pub root: InodeId,
}

impl Base<'_> {
    fn file(&self, path: &str) -> Result<Vec<u8>, Error> {
        let found = self.merged.read(self.root, path, MAX_FILE)?;
        found.ok_or_else(|| Error::Missing {
            path: path.to_owned(),
        })
    }

    /// `boot/record.json`, as it is.
    ///
    /// # Errors
    /// [`Error`] when it is missing or no JSON.
    pub fn record(&self) -> Result<serde_json::Value, Error> {
        self.json("boot/record.json")
    }

    /// Whether the kernel reads what the layers are compressed with, by `record`.
    ///
    /// # Errors
    /// [`Error::Compression`] when it does not.
    pub fn check_compression(&self, record: &serde_json::Value) -> Result<(), Error> {
        let Some(compression) = &self.merged.tree.compression else {
            return Ok(());
        };
        let algorithm = compression.algorithm.name();
        let names = record.get("erofs").and_then(serde_json::Value::as_array);
        let names = names.into_iter().flatten().filter_map(|name| name.as_str());
        let known: Vec<String> = names.map(str::to_owned).collect();
        if known.iter().any(|name| name == algorithm) {
            return Ok(());
        }
        Err(Error::Compression { algorithm, known })
    }

    /// That the kernel can use error correction, as its configuration says.
    ///
    /// # Errors
    /// [`Error::NoFec`] when it cannot; what [`Error`] there is for a base without a configuration.
    pub fn check_fec(&self) -> Result<(), Error> {
        let config = self.file("boot/config")?;
        let has = |line: &[u8]| line.strip_prefix(FEC_OPTION.as_bytes()) == Some(b"=y");
        if config.split(|byte| *byte == b'\n').any(has) {
            return Ok(());
        }
        Err(Error::NoFec)
    }

    fn json<T: DeserializeOwned>(&self, path: &'static str) -> Result<T, Error> {
        let bytes = self.file(path)?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Json { path, source })
    }

    /// The modules of all targets and those that are named, dependencies first, each once.
    fn modules(&self, wanted: &Modules<'_>) -> Result<Vec<String>, Error> {
        let targets: Table = self.json(TARGETS)?;
        let mut out: Vec<String> = Vec::new();
        for target in wanted.targets {
            let modules = targets.get(target).ok_or_else(|| Error::Target {
                target: target.clone(),
                known: targets.keys().cloned().collect(),
            })?;
            add(&mut out, modules);
        }
        if !wanted.named.is_empty() {
            let by_name = self.by_name(&targets)?;
            for name in wanted.named {
                let modules = by_name.get(&plain(name)).ok_or_else(|| Error::Module {
                    name: name.clone(),
                    known: by_name.keys().cloned().collect(),
                })?;
                add(&mut out, modules);
            }
        }
        Ok(out)
    }

    /// What to load for each module that the base carries, it itself last. A base without a table
    /// of that has the targets' only: what a module needs stands before it.
    fn by_name(&self, targets: &Table) -> Result<Table, Error> {
        let mut out = match self.merged.lookup(self.root, Path::new(BY_NAME)) {
            Some(_) => self.json(BY_NAME)?,
            None => Table::new(),
        };
        for modules in targets.values() {
            for (at, path) in modules.iter().enumerate() {
                out.entry(module_name(path))
                    .or_insert_with(|| modules.iter().take(at + 1).cloned().collect());
            }
        }
        Ok(out)
    }
}

fn add(out: &mut Vec<String>, modules: &[String]) {
    for module in modules {
        if !out.contains(module) {
            out.push(module.clone());
        }
    }
}

/// `dm_verity` for `kernel/drivers/md/dm-verity.ko`, as `lsmod` has it.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    plain(file.strip_suffix(".ko").unwrap_or(file))
}

/// A module's name may be written with dashes, too.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

/// Which modules the initramfs carries.
#[derive(Clone, Copy, Debug)]
pub struct Modules<'a> {
    /// All of these targets'.
    pub targets: &'a [String],
    /// And these, with what they need.
    pub named: &'a [String],
}

/// What a UKI is made of, but for the command line.
pub struct Boot {
    stub: Vec<u8>,
    kernel: Vec<u8>,
    release: Vec<u8>,
    initramfs: Vec<u8>,
    /// Names all of these: the base's layers, the modules and the guest's program decide them.
    pub identity: String,
}

/// Reads the base's parts, and makes the initramfs with the `modules` unless `cache` has it.
///
/// # Errors
/// [`Error`] when the base lacks a part.
pub fn read(base: &Base<'_>, modules: &Modules<'_>, cache: &Cache) -> Result<Boot, Error> {
    let (identity, initramfs) = kept_initramfs(base, modules, cache)?;
    Ok(Boot {
        stub: base.file("boot/stub.efi")?,
        kernel: base.file("boot/vmlinuz")?,
        release: base.file("boot/kernel.release")?,
        initramfs,
        identity,
    })
}

/// What the UKI says it is (os-release(5)).
#[must_use]
pub fn os_release(image_version: Option<u64>) -> String {
    let mut out = String::from("ID=i2kit\nNAME=i2kit\nPRETTY_NAME=\"i2kit\"\n");
    if let Some(version) = image_version {
        out.push_str(&format!("{IMAGE_VERSION}={version}\n"));
    }
    out
}

impl Boot {
    /// The whole UKI.
    ///
    /// # Errors
    /// [`Error::Uki`] when the stub is no PE file or has no room.
    pub fn uki(&self, os_release: &str, cmdline: &str) -> Result<Vec<u8>, Error> {
        let sections: [(&str, &[u8]); 5] = [
            (".osrel", os_release.as_bytes()),
            (".cmdline", cmdline.as_bytes()),
            (".uname", self.release.trim_ascii()),
            (".initrd", &self.initramfs),
            (".linux", &self.kernel),
        ];
        Ok(uki::assemble(&self.stub, &sections)?)
    }
}

/// The initramfs, compressed once for all builds of the same base, modules and init, and its key.
fn kept_initramfs(
    base: &Base<'_>,
    modules: &Modules<'_>,
    cache: &Cache,
) -> Result<(String, Vec<u8>), Error> {
    let modules = base.modules(modules)?;
    let mut hash = Sha256::new_with_prefix(INITRAMFS_VERSION);
    let layers = base.layers.iter().map(|layer| layer.diff_id.as_str());
    let init = init_digest();
    for part in layers
        .chain(modules.iter().map(String::as_str))
        .chain([init.as_str()])
    {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let key = format!("initramfs-{}", hex::encode(hash.finalize()));
    if let Some(bytes) = cache.piece(&key) {
        return Ok((key, bytes));
    }
    let bytes = initramfs(base, modules)?;
    cache.keep_piece(&key, &bytes)?;
    Ok((key, bytes))
}

/// The initramfs: init, the modules and the list of them, compressed with zstd.
fn initramfs(base: &Base<'_>, modules: Vec<String>) -> Result<Vec<u8>, Error> {
    let mut archive = Archive::default();
    for folder in [
        "dev",
        "etc",
        "etc/i2kit",
        "lib",
        "lib/modules",
        "proc",
        "run",
        "sys",
    ] {
        archive.add(folder.to_owned(), 0o755, cpio::Kind::Directory);
    }
    let console = cpio::Kind::CharDevice { major: 5, minor: 1 };
    archive.add("dev/console".to_owned(), 0o600, console);
    archive.file("init".to_owned(), 0o755, INIT.to_vec());
    let mut list = String::new();
    for module in modules {
        let name = module.rsplit('/').next().unwrap_or_default();
        let path = format!("lib/modules/{name}");
        list.push_str(&format!("/{path}\n"));
        archive.file(path, 0o644, base.file(&format!("boot/modules/{module}"))?);
    }
    archive.file(MODULES_LIST.to_owned(), 0o644, list.into_bytes());
    zstd::encode_all(&*archive.fill()?, ZSTD_LEVEL).map_err(Error::Compress)
}

/// Entries and the bytes of those that are files.
#[derive(Default)]
struct Archive {
    entries: Vec<cpio::Entry>,
    files: Vec<Vec<u8>>,
}

impl Archive {
    fn add(&mut self, path: String, mode: u16, kind: cpio::Kind) {
        self.entries.push(cpio::Entry { path, mode, kind });
    }

    fn file(&mut self, path: String, mode: u16, bytes: Vec<u8>) {
        let kind = cpio::Kind::Regular {
            input: self.files.len(),
            size: bytes.len() as u64,
        };
        self.files.push(bytes);
        self.add(path, mode, kind);
    }

    fn fill(&self) -> Result<Vec<u8>, Error> {
        let inputs: Vec<&dyn ReadAt> = self.files.iter().map(|file| file as &dyn ReadAt).collect();
        Ok(cpio::plan(&self.entries)?.fill(&inputs)?)
    }
}

/// The ESP's layout; its only input is the UKI.
///
/// # Errors
/// [`Error::Fat`] when the UKI does not fit.
pub fn esp(uki_len: u64, volume_id: u32) -> Result<layout::Layout, Error> {
    let files = [fat::NewFile {
        path: "EFI/BOOT/BOOTX64.EFI".to_owned(),
        size: uki_len,
    }];
    let options = fat::Options {
        volume_id,
        label: "ESP".to_owned(),
        min_size: 0,
    };
    Ok(fat::plan(&files, &options)?)
}
