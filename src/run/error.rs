//! What keeps a Pod from running here.

use std::io;
use std::path::PathBuf;

use super::{Loader, PortError};

/// A run that failed before the Pod ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No QEMU.
    #[error("start a virtual machine: {name} is not in PATH")]
    QemuMissing {
        /// The program's name.
        name: String,
    },
    /// No UEFI firmware where distributions keep it.
    #[error("start a virtual machine: no UEFI firmware for x86-64 found")]
    FirmwareMissing,
    /// No UEFI firmware that checks signatures.
    #[error("start a virtual machine: no UEFI firmware with Secure Boot for x86-64 found")]
    SecureFirmwareMissing,
    /// The variable store does not go with the firmware.
    #[error("use variable store {}: {reason}", path.display())]
    Variables {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The machine would not start.
    #[error("start a virtual machine: it needs {least} MiB of memory at least")]
    Memory {
        /// MiB.
        least: u32,
    },
    /// The disk cannot be opened.
    #[error(transparent)]
    Open(#[from] crate::disk::OpenError),
    /// No kernel can be taken from the disk.
    #[error(transparent)]
    Inspect(#[from] crate::inspect::Error),
    /// The kernel cannot be handed over.
    #[error("hand over the kernel: {0}")]
    Kernel(io::Error),
    /// The disk image cannot be read.
    #[error("open disk image {}: {source}", path.display())]
    Disk {
        /// The disk image.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a disk image at all.
    #[error("open disk image {}: not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A host port cannot be had.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The process could not be started or watched.
    #[error("{operation} {}: {source}", program.display())]
    Process {
        /// What was tried.
        operation: &'static str,
        /// QEMU.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The run-time configuration cannot be handed over.
    #[error("hand over the run-time configuration: {0}")]
    Config(io::Error),
    /// The machine cannot be named.
    #[error(transparent)]
    Control(#[from] super::ControlError),
    /// Signals cannot be received.
    #[error("watch for SIGINT and SIGTERM: {0}")]
    Signals(io::Error),
    /// QEMU gave up.
    #[error("QEMU ended by itself ({how}){}", after_colon(words))]
    Qemu {
        /// Exit code or signal.
        how: String,
        /// What it said.
        words: String,
    },
    /// KVM was demanded and doesn't work.
    #[error("KVM does not work on this machine: {reason}")]
    Kvm {
        /// What was seen.
        reason: String,
    },
    /// The VM is gone and nobody knows how the Pod ended.
    #[error("the VM ended ({cause}) before the Pod reported its end")]
    NoStatus {
        /// QMP's `ShutdownCause`.
        cause: String,
    },
}

fn after_colon(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    }
}

impl Error {
    /// The cure, where it is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::QemuMissing { .. } => {
                packages("qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86")
            }
            Self::FirmwareMissing | Self::SecureFirmwareMissing => {
                packages("ovmf", "edk2-ovmf", "edk2-ovmf")
            }
            Self::Variables { .. } => "make it anew: i2kit keys enrol DIR --ovmf FILE".into(),
            Self::Port(error) => return error.hint(),
            Self::Control(error) => return error.hint(),
            Self::Inspect(error) => return error.hint(),
            Self::Memory { least } if *least > Loader::Direct.least_memory_mib() => format!(
                "with --direct-boot {} MiB do",
                Loader::Direct.least_memory_mib()
            ),
            Self::Kvm { .. } => {
                "leave out --accel kvm to fall back to TCG, QEMU's slower translator".into()
            }
            Self::NoStatus { .. } => "the console's last lines say why".into(),
            _ => return None,
        })
    }
}

fn packages(debian: &str, fedora: &str, arch: &str) -> String {
    format!(
        "install it: apt-get install {debian} (Debian, Ubuntu), dnf install {fedora} (Fedora), pacman -S {arch} (Arch)"
    )
}
