//! QEMU's fw_cfg (docs/specs/fw_cfg.rst; drivers/firmware/qemu_fw_cfg.c): a file that `-fw_cfg`
//! hands to the guest.

use std::{fs, io, path::Path};

use i2kit_contract::runtime::{FW_CFG_MAX_BYTES, FW_CFG_NAME};

use crate::{
    config::Found,
    fault::{Context, Fault},
};

const BY_NAME: &str = "/sys/firmware/qemu_fw_cfg/by_name";
/// There whenever QEMU has fw_cfg (docs/specs/fw_cfg.rst).
const ACPI_DEVICE: &str = "/sys/bus/acpi/devices/QEMU0002:00";

/// The document, if this is QEMU and it has one for us.
///
/// # Errors
/// It is there and cannot be read, or is longer than it may be.
pub fn find() -> Result<Option<Found>, Error> {
    find_in(Path::new(BY_NAME))
}

/// True when this is QEMU and the kernel has no driver for its fw_cfg: a document would not be
/// seen.
pub fn is_out_of_reach() -> bool {
    Path::new(ACPI_DEVICE).exists() && !Path::new(BY_NAME).exists()
}

/// A document that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel does not give it.
    #[error(transparent)]
    Read(#[from] Fault),
    /// Reading it would take minutes.
    #[error("read QEMU's fw_cfg file {FW_CFG_NAME}: {size} bytes, {FW_CFG_MAX_BYTES} at most")]
    TooLarge {
        /// Its size.
        size: u64,
    },
}

fn find_in(by_name: &Path) -> Result<Option<Found>, Error> {
    let folder = by_name.join(FW_CFG_NAME);
    let size = folder.join("size");
    let size = match fs::read_to_string(&size) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.context("read", size.display())?,
    };
    let size: u64 = size.trim().parse().unwrap_or(u64::MAX);
    if size > FW_CFG_MAX_BYTES as u64 {
        return Err(Error::TooLarge { size });
    }
    let path = folder.join("raw");
    let bytes = fs::read(&path).context("read", path.display())?;
    Ok(Some(Found {
        bytes,
        source: "QEMU's fw_cfg".into(),
        ours: true,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_found_bounded_or_not_there() {
        let folder = std::env::temp_dir().join(format!("i2kit-fw-cfg-{}", std::process::id()));
        assert!(find_in(&folder).unwrap().is_none());
        let place = folder.join(FW_CFG_NAME);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("raw"), "kind: RuntimeConfig").unwrap();
        fs::write(place.join("size"), "19\n").unwrap();
        let found = find_in(&folder).unwrap().unwrap();
        assert_eq!(found.bytes, b"kind: RuntimeConfig");
        fs::write(place.join("size"), "65537\n").unwrap();
        assert!(matches!(
            find_in(&folder),
            Err(Error::TooLarge { size: 65537 })
        ));
        fs::remove_dir_all(folder).unwrap();
    }
}
