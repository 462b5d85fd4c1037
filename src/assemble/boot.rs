//! What the firmware and the kernel need: initramfs, UKI and the ESP that holds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use i2kit_contract::{CMDLINE_ON_FAILURE, CMDLINE_ROOT_HASH, FailurePolicy, MODULES_LIST};
use i2kit_format::erofs::InodeId;
use i2kit_format::{ReadAt, cpio, fat, layout, uki};
use sha2::{Digest, Sha256};

use super::merged::{self, Merged};
use crate::cache::{self, Cache};
use crate::layer::ConvertedLayer;

/// The kernel, the stub and the initramfs are bounded by what an ESP holds.
const MAX_FILE: u64 = 256 << 20;
/// Takes some 80 ms, once for each base.
const ZSTD_LEVEL: i32 = 6;
/// Changes whenever the same inputs make another initramfs.
const INITRAMFS_VERSION: &str = "i2kit initramfs 1, zstd 6";
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
    /// `boot/modules.json` makes no sense.
    #[error("parse boot/modules.json of the base image: {0}")]
    Modules(#[from] serde_json::Error),
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
            Self::Missing { .. } | Self::Modules(_) => Some(
                "a base image has boot/ and system/: scripts/build-base.sh makes one".to_owned(),
            ),
            Self::Compression { known, .. } => Some(match known.first() {
                Some(known) => format!("--compression {known}, or none"),
                None => "--compression none".to_owned(),
            }),
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
        Ok(serde_json::from_slice(&self.file("boot/record.json")?)?)
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

    /// The modules of all `targets`, dependencies first, each once.
    fn modules(&self, targets: &[String]) -> Result<Vec<String>, Error> {
        let table: BTreeMap<String, Vec<String>> =
            serde_json::from_slice(&self.file("boot/modules.json")?)?;
        let mut out: Vec<String> = Vec::new();
        for target in targets {
            let modules = table.get(target).ok_or_else(|| Error::Target {
                target: target.clone(),
                known: table.keys().cloned().collect(),
            })?;
            let new: Vec<_> = modules
                .iter()
                .filter(|one| !out.contains(one))
                .cloned()
                .collect();
            out.extend(new);
        }
        Ok(out)
    }
}

/// What a UKI is made of, but for the command line.
pub struct Boot {
    stub: Vec<u8>,
    kernel: Vec<u8>,
    release: Vec<u8>,
    initramfs: Vec<u8>,
}

/// Reads the base's parts, and makes the initramfs with the modules of all `targets` unless
/// `cache` has it.
///
/// # Errors
/// [`Error`] when the base lacks a part.
pub fn read(base: &Base<'_>, targets: &[String], cache: &Cache) -> Result<Boot, Error> {
    Ok(Boot {
        stub: base.file("boot/stub.efi")?,
        kernel: base.file("boot/vmlinuz")?,
        release: base.file("boot/kernel.release")?,
        initramfs: kept_initramfs(base, targets, cache)?,
    })
}

impl Boot {
    /// The whole UKI.
    ///
    /// # Errors
    /// [`Error::Uki`] when the stub is no PE file or has no room.
    pub fn uki(&self, root_hash: &[u8; 32], on_failure: FailurePolicy) -> Result<Vec<u8>, Error> {
        let cmdline = cmdline(root_hash, on_failure);
        let os_release = "ID=i2kit\nNAME=i2kit\nPRETTY_NAME=\"i2kit\"\n";
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

/// The kernel command line. The last console is the one that `/dev/console` means. A kernel that
/// panics cannot power off: it reboots after a second, whatever the policy, rather than hang. And it
/// must not panic because an emulated timer ticks late on a busy host (`no_timer_check`; under
/// KVM, Hyper-V and VMware a kernel leaves that check out by itself).
fn cmdline(root_hash: &[u8; 32], on_failure: FailurePolicy) -> String {
    let root_hash = hex::encode(root_hash);
    let on_failure = match on_failure {
        FailurePolicy::PowerOff => "power-off",
        FailurePolicy::Reboot => "reboot",
    };
    format!(
        "console=tty0 console=ttyS0 loglevel=4 panic=1 no_timer_check \
         {CMDLINE_ROOT_HASH}={root_hash} {CMDLINE_ON_FAILURE}={on_failure}"
    )
}

/// The initramfs, compressed once for all builds of the same base, targets and init.
fn kept_initramfs(base: &Base<'_>, targets: &[String], cache: &Cache) -> Result<Vec<u8>, Error> {
    let mut hash = Sha256::new_with_prefix(INITRAMFS_VERSION);
    let layers = base.layers.iter().map(|layer| layer.diff_id.as_str());
    let init = init_digest();
    for part in layers
        .chain(targets.iter().map(String::as_str))
        .chain([init.as_str()])
    {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let key = format!("initramfs-{}", hex::encode(hash.finalize()));
    if let Some(bytes) = cache.piece(&key) {
        return Ok(bytes);
    }
    let bytes = initramfs(base, targets)?;
    cache.keep_piece(&key, &bytes)?;
    Ok(bytes)
}

/// The initramfs: init, the targets' modules and the list of them, compressed with zstd.
fn initramfs(base: &Base<'_>, targets: &[String]) -> Result<Vec<u8>, Error> {
    let modules = base.modules(targets)?;
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
