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

/// Modules that do with a processor's own instructions what the kernel does without them. Where an
/// emulator plays the processor, they are the slower way: SHA-256 by emulated AVX2 reaches 15 MB/s,
/// the kernel's C code 27 MB/s, and dm-verity hashes all that a boot reads.
const FOR_REAL_PROCESSORS: &[&str] = &["sha256-ssse3.ko"];

/// Loads every module of the list that is of use on this processor; a missing list means a kernel
/// with everything built in. Returns how many were loaded anew.
///
/// # Errors
/// The list cannot be read or a module not be loaded.
pub fn load_all(list: &Path, emulated: bool) -> Result<usize, Fault> {
    let text = match fs::read_to_string(list) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(Fault::new("read", list.display(), error)),
    };
    let mut loaded = 0;
    for path in paths(&text).filter(|path| is_of_use(path, emulated)) {
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

fn is_of_use(path: &str, emulated: bool) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    !(emulated && FOR_REAL_PROCESSORS.contains(&name))
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
    fn instructions_of_a_real_processor_are_left_to_real_processors() {
        let sha256 = "/lib/modules/sha256-ssse3.ko";
        assert!(is_of_use(sha256, false));
        assert!(!is_of_use(sha256, true));
        assert!(is_of_use("/lib/modules/erofs.ko", true));
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
        assert_eq!(load_all(&list, false).unwrap(), 0);
        fs::write(&list, "/nonexistent/virtio_blk.ko\n").unwrap();
        let error = load_all(&list, false).unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/virtio_blk.ko"),
            "{error}"
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
