//! What brings the guest's kernel into memory.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use i2kit_format::uki;

use super::{Error, Firmware};
use crate::disk::FileDisk;
use crate::inspect;

/// What brings the guest's kernel into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loader {
    /// UEFI firmware starts the disk's UKI, as on a cloud's machine; none takes the first that
    /// [`Firmware::find`] finds.
    Firmware(Option<Firmware>),
    /// QEMU starts the kernel that is in the disk's UKI. Nothing checks a signature and nothing is
    /// measured, but it is quicker, and the kernel unpacks itself where the firmware would be.
    Direct,
}

impl Loader {
    /// MiB of memory below which the guest does not get far.
    #[must_use]
    pub fn least_memory_mib(&self) -> u32 {
        match self {
            // The kernel's EFI stub wants 56 MiB in one piece, beside three copies of the UKI.
            Self::Firmware(_) => 256,
            Self::Direct => 128,
        }
    }

    /// Finds the firmware, or takes the UKI on `disk` apart.
    pub(super) fn settle(&self, disk: &Path) -> Result<Settled, Error> {
        match self {
            Self::Firmware(chosen) => chosen
                .clone()
                .or_else(Firmware::find)
                .map(Settled::Firmware)
                .ok_or(Error::FirmwareMissing),
            Self::Direct => Kernel::of(disk).map(Settled::Kernel),
        }
    }
}

/// A loader with all that it needs.
pub(super) enum Settled {
    Firmware(Firmware),
    Kernel(Kernel),
}

impl Settled {
    /// Descriptors that QEMU must inherit.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        match self {
            Self::Firmware(_) => Vec::new(),
            Self::Kernel(kernel) => vec![kernel.image.as_raw_fd(), kernel.initrd.as_raw_fd()],
        }
    }
}

/// The parts of a UKI that a kernel is started from: files without names, in memory.
pub(super) struct Kernel {
    pub(super) image: OwnedFd,
    pub(super) initrd: OwnedFd,
    pub(super) cmdline: String,
}

impl Kernel {
    fn of(disk: &Path) -> Result<Self, Error> {
        let uki = inspect::uki(&FileDisk::open(disk)?)?;
        let image = uki::read(uki.as_slice()).map_err(inspect::Error::from)?;
        let part = |name: &str| -> Result<&[u8], Error> {
            let part = image.section(name).and_then(|part| part.bytes(&uki));
            part.ok_or_else(|| inspect::Error::NoFile(name.to_owned()).into())
        };
        Ok(Self {
            image: in_memory("i2kit-kernel", part(".linux")?).map_err(Error::Kernel)?,
            initrd: in_memory("i2kit-initrd", part(".initrd")?).map_err(Error::Kernel)?,
            cmdline: inspect::cmdline(&uki)?,
        })
    }
}

/// A file without a name, in memory: it goes with the last process that has it open.
pub(super) fn in_memory(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create(
        name,
        rustix::fs::MemfdFlags::CLOEXEC,
    )?);
    file.write_all(content)?;
    Ok(file.into())
}
