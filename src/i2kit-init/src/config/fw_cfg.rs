//! QEMU's fw_cfg (docs/specs/fw_cfg.rst; drivers/firmware/qemu_fw_cfg.c): a file that `-fw_cfg`
//! hands to the guest.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use i2kit_contract::runtime::{FW_CFG_NAME, MAX_BYTES};

use crate::{
    config::Found,
    fault::{Context, Fault},
};

const BY_NAME: &str = "/sys/firmware/qemu_fw_cfg/by_name";

/// The document, if this is QEMU and it has one for us.
///
/// # Errors
/// It is there and cannot be read.
pub fn find() -> Result<Option<Found>, Fault> {
    find_in(Path::new(BY_NAME))
}

fn find_in(by_name: &Path) -> Result<Option<Found>, Fault> {
    let path = by_name.join(FW_CFG_NAME).join("raw");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::new("open", path.display(), error)),
    };
    // One byte more than allowed tells that it is too much. The kernel reads from the start for
    // each page, so a read is as short as the document.
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .context("read", path.display())?;
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
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("raw"), "kind: RuntimeConfig").unwrap();
        assert_eq!(
            find_in(&folder).unwrap().unwrap().bytes,
            b"kind: RuntimeConfig"
        );
        std::fs::write(place.join("raw"), vec![b' '; 2 * MAX_BYTES]).unwrap();
        assert_eq!(
            find_in(&folder).unwrap().unwrap().bytes.len(),
            MAX_BYTES + 1
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}
