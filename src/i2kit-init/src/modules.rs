//! Kernel modules, loaded in the order of the initramfs's list.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use rustix::{io::Errno, system::finit_module};

use crate::fault::{Context, Fault};

/// How one module's loading ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In the kernel now.
    Loaded,
    /// It was there already.
    Present,
    /// The hardware it drives is not there.
    NoDevice,
}

/// Loads every module of the list; a missing list means a kernel with everything built in.
/// Returns how many were loaded anew.
///
/// # Errors
/// The list cannot be read or a module not be loaded.
pub fn load_all(list: &Path) -> Result<usize, Fault> {
    let text = match fs::read_to_string(list) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(Fault::new("read", list.display(), error)),
    };
    let mut loaded = 0;
    for path in paths(&text) {
        if load(Path::new(path))? == Outcome::Loaded {
            loaded += 1;
        }
    }
    Ok(loaded)
}

fn paths(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn load(path: &Path) -> Result<Outcome, Fault> {
    let file = File::open(path).context("open kernel module", path.display())?;
    outcome(finit_module(&file, c"", 0)).context("load kernel module", path.display())
}

fn outcome(result: Result<(), Errno>) -> Result<Outcome, Errno> {
    match result {
        Ok(()) => Ok(Outcome::Loaded),
        Err(Errno::EXIST) => Ok(Outcome::Present),
        // ptp_kvm says so where the hypervisor is another one, or does not tell the time.
        Err(Errno::NODEV | Errno::NXIO | Errno::OPNOTSUPP) => Ok(Outcome::NoDevice),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_keeps_its_order_and_skips_blanks() {
        let list = "/lib/a.ko\n\n  /lib/b.ko \n# dependency first\n/lib/c.ko";
        assert_eq!(
            paths(list).collect::<Vec<_>>(),
            ["/lib/a.ko", "/lib/b.ko", "/lib/c.ko"]
        );
    }

    #[test]
    fn only_presence_and_missing_hardware_are_forgiven() {
        assert_eq!(outcome(Err(Errno::EXIST)), Ok(Outcome::Present));
        assert_eq!(outcome(Err(Errno::NODEV)), Ok(Outcome::NoDevice));
        assert_eq!(outcome(Err(Errno::NOENT)), Err(Errno::NOENT));
    }

    #[test]
    fn a_missing_list_is_an_empty_one_and_a_missing_module_is_named() {
        let folder = std::env::temp_dir().join(format!("i2kit-modules-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let list = folder.join("modules");
        assert_eq!(load_all(&list).unwrap(), 0);
        fs::write(&list, "/nonexistent/virtio_blk.ko\n").unwrap();
        let error = load_all(&list).unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/virtio_blk.ko"),
            "{error}"
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
