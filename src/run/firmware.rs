//! Where distributions keep UEFI firmware for QEMU.

use std::path::{Path, PathBuf};

/// UEFI firmware for x86-64 without Secure Boot, raw flash images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firmware {
    /// The code, mapped read-only; or code and variables in one.
    pub code: PathBuf,
    /// The template of the variable store; none when `code` holds both.
    pub vars: Option<PathBuf>,
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

/// Code and variables in one file: QEMU keeps the variables in memory.
const COMBINED: &[&str] = &["/usr/share/ovmf/OVMF.fd", "/usr/share/qemu/OVMF.fd"];

impl Firmware {
    /// The first one that is installed.
    #[must_use]
    pub fn find() -> Option<Self> {
        Self::find_below(Path::new("/"))
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
            })
        };
        PAIRS.iter().find_map(pair).or_else(|| {
            COMBINED.iter().find_map(|code| {
                Some(Self {
                    code: at(code)?,
                    vars: None,
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
