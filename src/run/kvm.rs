//! Whether KVM is worth a try. On some machines `/dev/kvm` is there and a guest hangs under it:
//! inside other virtual machines, mostly. A boot finds that out, in bounded time; that it did is
//! remembered until this machine boots anew.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Accel, Accelerator, Error};

pub(super) const DEVICE: &str = "/dev/kvm";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What to try, best first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidates {
    pub(super) list: Vec<Accelerator>,
    /// Why KVM is left out, where that deserves a word.
    pub(super) warning: Option<String>,
}

/// Decides by what was asked for, by whether `device` can be opened, and by what is remembered.
pub(super) fn candidates(accel: Accel, device: &Path, hangs: &Hangs) -> Result<Candidates, Error> {
    let only_tcg = |warning: Option<&str>| Candidates {
        list: vec![Accelerator::Tcg],
        warning: warning.map(str::to_owned),
    };
    if accel == Accel::Tcg {
        return Ok(only_tcg(None));
    }
    let opened = File::options().read(true).write(true).open(device);
    Ok(match (accel, opened) {
        (Accel::Kvm, Err(error)) => {
            return Err(Error::Kvm {
                reason: format!("open {}: {error}", device.display()),
            });
        }
        (Accel::Kvm, Ok(_)) => Candidates {
            list: vec![Accelerator::Kvm],
            warning: None,
        },
        (_, Ok(_)) if hangs.is_known() => only_tcg(Some(
            "a guest hung under KVM since this machine booted: using TCG; --accel kvm tries again",
        )),
        (_, Ok(_)) => Candidates {
            list: vec![Accelerator::Kvm, Accelerator::Tcg],
            warning: None,
        },
        (_, Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => only_tcg(Some(
            "no permission to use /dev/kvm (add yourself to the group kvm): using TCG",
        )),
        (_, Err(_)) => only_tcg(None),
    })
}

/// The memory of a hang: a small file that names this boot of the machine and this QEMU.
#[derive(Clone, Debug)]
pub(super) struct Hangs {
    file: Option<PathBuf>,
    key: String,
}

impl Hangs {
    /// None remembers nothing.
    pub(super) fn new(file: Option<PathBuf>, qemu: &Path) -> Self {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let version = fs::metadata(qemu).map_or((0, 0), |found| (found.len(), found.mtime()));
        Self {
            // Without a boot's name, nothing would ever be forgotten.
            file: file.filter(|_| !boot.is_empty()),
            key: format!("{} {} {version:?}\n", boot.trim(), qemu.display()),
        }
    }

    fn is_known(&self) -> bool {
        self.file
            .as_ref()
            .and_then(|file| fs::read_to_string(file).ok())
            .is_some_and(|text| text == self.key)
    }

    /// What cannot be remembered costs the next run a few seconds.
    pub(super) fn remember(&self) {
        if let Some(file) = &self.file {
            let _ = fs::write(file, &self.key);
        }
    }

    /// KVM works after all.
    pub(super) fn forget(&self) {
        if let Some(file) = &self.file {
            let _ = fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Accelerator::{Kvm, Tcg};

    #[test]
    fn what_is_tried_depends_on_the_device_and_on_what_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let (device, qemu) = (folder.path().join("kvm"), folder.path().join("qemu"));
        let hangs = Hangs::new(Some(folder.path().join("hangs")), &qemu);
        let list = |accel, hangs: &Hangs| {
            candidates(accel, &device, hangs).map(|found| (found.list, found.warning.is_some()))
        };
        assert_eq!(list(Accel::Auto, &hangs).unwrap(), (vec![Tcg], false));
        let error = list(Accel::Kvm, &hangs).unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
        fs::write(&device, "").unwrap();
        assert_eq!(list(Accel::Auto, &hangs).unwrap(), (vec![Kvm, Tcg], false));

        hangs.remember();
        assert_eq!(list(Accel::Auto, &hangs).unwrap(), (vec![Tcg], true));
        assert_eq!(list(Accel::Kvm, &hangs).unwrap(), (vec![Kvm], false));
        // Another QEMU may do better.
        fs::write(&qemu, "new").unwrap();
        let updated = Hangs::new(Some(folder.path().join("hangs")), &qemu);
        assert_eq!(
            list(Accel::Auto, &updated).unwrap(),
            (vec![Kvm, Tcg], false)
        );
        hangs.forget();
        assert_eq!(list(Accel::Auto, &hangs).unwrap(), (vec![Kvm, Tcg], false));
        assert_eq!(list(Accel::Tcg, &hangs).unwrap(), (vec![Tcg], false));
    }

    #[test]
    fn another_boots_hang_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hangs");
        let hangs = Hangs::new(Some(file.clone()), Path::new("/qemu"));
        hangs.remember();
        let text = fs::read_to_string(&file).unwrap();
        let (boot, rest) = text.split_once(' ').unwrap();
        assert_eq!(boot.len(), 36, "{text}");
        fs::write(
            &file,
            format!("00000000-0000-0000-0000-000000000000 {rest}"),
        )
        .unwrap();
        assert!(!hangs.is_known());
    }
}
