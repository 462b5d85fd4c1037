//! Where distributions keep UEFI firmware for QEMU.

use std::path::{Path, PathBuf};

use super::Error;

/// UEFI firmware for x86-64, raw flash images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firmware {
    /// The code, mapped read-only; or code and variables in one.
    pub code: PathBuf,
    /// The template of the variable store; none when `code` holds both.
    pub vars: Option<PathBuf>,
    /// It checks signatures. Its variables can be written in system management mode only, so that
    /// no operating system changes them: the machine must have that.
    pub secure_boot: bool,
}

/// Code and variable store, by distribution. The 4 MiB builds come first: the 2 MiB ones are no
/// longer kept.
const PAIRS: &[(&str, &str)] = &[
    // Debian, Ubuntu
    (
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.fd",
    ),
    // Arch
    (
        "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "/usr/share/edk2/x64/OVMF_VARS.4m.fd",
    ),
    // Fedora, CentOS
    (
        "/usr/share/edk2/ovmf/OVMF_CODE.fd",
        "/usr/share/edk2/ovmf/OVMF_VARS.fd",
    ),
    // openSUSE
    (
        "/usr/share/qemu/ovmf-x86_64-4m-code.bin",
        "/usr/share/qemu/ovmf-x86_64-4m-vars.bin",
    ),
    // Alpine, older Debian
    (
        "/usr/share/OVMF/OVMF_CODE.fd",
        "/usr/share/OVMF/OVMF_VARS.fd",
    ),
    // Gentoo
    (
        "/usr/share/edk2/OvmfX64/OVMF_CODE.fd",
        "/usr/share/edk2/OvmfX64/OVMF_VARS.fd",
    ),
    // QEMU's own build
    (
        "/usr/share/qemu/edk2-x86_64-code.fd",
        "/usr/share/qemu/edk2-i386-vars.fd",
    ),
    (
        "/usr/local/share/qemu/edk2-x86_64-code.fd",
        "/usr/local/share/qemu/edk2-i386-vars.fd",
    ),
];

/// The same with Secure Boot.
const SECURE_PAIRS: &[(&str, &str)] = &[
    // Debian, Ubuntu
    (
        "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.fd",
    ),
    // Arch
    (
        "/usr/share/edk2/x64/OVMF_CODE.secboot.4m.fd",
        "/usr/share/edk2/x64/OVMF_VARS.4m.fd",
    ),
    // Fedora, CentOS
    (
        "/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd",
        "/usr/share/edk2/ovmf/OVMF_VARS.fd",
    ),
    // openSUSE
    (
        "/usr/share/qemu/ovmf-x86_64-smm-code.bin",
        "/usr/share/qemu/ovmf-x86_64-smm-vars.bin",
    ),
];

/// Code and variables in one file: QEMU keeps the variables in memory.
const COMBINED: &[&str] = &["/usr/share/ovmf/OVMF.fd", "/usr/share/qemu/OVMF.fd"];

impl Firmware {
    /// The first one that is installed.
    #[must_use]
    pub fn find() -> Option<Self> {
        Self::find_below(Path::new("/"))
    }

    /// The first with Secure Boot that is installed; its variable store is the template, where
    /// nothing is enrolled.
    #[must_use]
    pub fn find_secure() -> Option<Self> {
        SECURE_PAIRS.iter().find_map(|(code, vars)| {
            let is_there = Path::new(code).is_file() && Path::new(vars).is_file();
            is_there.then(|| Self {
                code: PathBuf::from(code),
                vars: Some(PathBuf::from(vars)),
                secure_boot: true,
            })
        })
    }

    /// The same with another variable store.
    ///
    /// # Errors
    /// [`Error::SecureFirmwareMissing`], and [`Error::Variables`] when the store cannot be read or
    /// is not as long as the firmware's own.
    pub fn secure(vars: &Path) -> Result<Self, Error> {
        let found = Self::find_secure().ok_or(Error::SecureFirmwareMissing)?;
        let len = |path: &Path| {
            let length = std::fs::metadata(path).map(|metadata| metadata.len());
            length.map_err(|source| Error::Variables {
                path: path.to_owned(),
                reason: source.to_string(),
            })
        };
        if let Some(template) = &found.vars
            && len(template)? != len(vars)?
        {
            return Err(Error::Variables {
                path: vars.to_owned(),
                reason: format!("not as long as {}", template.display()),
            });
        }
        Ok(Self {
            vars: Some(vars.to_owned()),
            ..found
        })
    }

    fn find_below(root: &Path) -> Option<Self> {
        let at = |path: &str| {
            let path = root.join(path.trim_start_matches('/'));
            path.is_file().then_some(path)
        };
        let pair = |(code, vars): &(&str, &str)| {
            Some(Self {
                code: at(code)?,
                vars: Some(at(vars)?),
                secure_boot: false,
            })
        };
        PAIRS.iter().find_map(pair).or_else(|| {
            COMBINED.iter().find_map(|code| {
                Some(Self {
                    code: at(code)?,
                    vars: None,
                    secure_boot: false,
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_wins_over_a_combined_file_and_half_a_pair_is_none() {
        let root = tempfile::tempdir().unwrap();
        let touch = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        assert_eq!(Firmware::find_below(root.path()), None);
        touch("usr/share/qemu/OVMF.fd");
        touch("usr/share/OVMF/OVMF_CODE_4M.fd");
        assert_eq!(Firmware::find_below(root.path()).unwrap().vars, None);
        touch("usr/share/OVMF/OVMF_VARS_4M.fd");
        let found = Firmware::find_below(root.path()).unwrap();
        assert!(found.code.ends_with("OVMF_CODE_4M.fd"));
        assert!(found.vars.unwrap().ends_with("OVMF_VARS_4M.fd"));
    }
}
