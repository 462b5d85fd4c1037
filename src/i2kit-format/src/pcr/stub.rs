//! PCR 11: what systemd-stub measures of the UKI that it is part of.

use super::{Bank, Pcr};
use crate::uki::{self, Error};

/// How the stub's `.sdmagic` section starts and ends (`src/boot/stub.c`, `SD_MAGIC`).
const MAGIC: [&str; 2] = ["#### LoaderInfo: systemd-stub ", " ####"];
/// A version is some tens of bytes.
const MAX_MAGIC: u64 = 256;
/// Zeros past a section's bytes in the file; linkers and i2kit leave less than a page out.
const MAX_PADDING: u64 = 1 << 20;

/// The sections that the stub measures, in its order, and the version that brought the order.
/// `.pcrsig` signs the result and is never measured.
const MEASURED: [(u32, &[&str]); 4] = [
    (
        252,
        &[
            ".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".pcrpkey",
        ],
    ),
    (
        254,
        &[
            ".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".uname", ".sbat",
            ".pcrpkey",
        ],
    ),
    (
        256,
        &[
            ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname",
            ".sbat", ".pcrpkey",
        ],
    ),
    (
        257,
        &[
            ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname",
            ".sbat", ".pcrpkey", ".profile", ".dtbauto", ".hwids",
        ],
    ),
];

/// Which stub a UKI starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// As it names itself, with the distribution's revision: `252.39-1~deb12u2`.
    pub version: String,
    /// The part before the first dot.
    pub major: u32,
}

impl Stub {
    /// The stub of a UKI, or of a stub alone; `None` for one that is not systemd's.
    ///
    /// # Errors
    /// [`Error`] when it is no PE32+ file.
    pub fn of(uki: &[u8]) -> Result<Option<Self>, Error> {
        let image = uki::read(uki)?;
        let section = image
            .section(".sdmagic")
            .filter(|one| one.size <= MAX_MAGIC);
        let bytes = section.and_then(|one| one.bytes(uki));
        Ok(bytes.and_then(Self::parse))
    }

    fn parse(magic: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(magic).ok()?.trim_end_matches('\0');
        let [start, end] = MAGIC;
        let version = text.strip_prefix(start)?.strip_suffix(end)?;
        let digits = version.find(|one: char| !one.is_ascii_digit());
        let (major, _) = version.split_at(digits.unwrap_or(version.len()));
        Some(Self {
            version: version.to_owned(),
            major: major.parse().ok()?,
        })
    }

    /// The sections that it measures, in its order; `None` for one older than 252, which has
    /// another scheme.
    #[must_use]
    pub fn measured_sections(&self) -> Option<&'static [&'static str]> {
        let known = MEASURED.iter().rev();
        let mut known = known.filter(|(since, _)| *since <= self.major);
        known.next().map(|(_, sections)| *sections)
    }
}

/// PCR 11 once the stub has run, before anything in the initramfs extends it, and the sections that
/// went in: for each that the UKI has, its name with a NUL, then its bytes as they are loaded
/// (`VirtualSize`, padded with zeros past the file's). This is what `systemd-measure calculate
/// --phase=:` prints.
///
/// # Errors
/// [`Error`] when it is no PE32+ file.
pub fn kernel_image(
    uki: &[u8],
    measured: &[&'static str],
    bank: Bank,
) -> Result<(Pcr, Vec<&'static str>), Error> {
    let image = uki::read(uki)?;
    let mut pcr = Pcr::new(bank);
    let mut sections = Vec::new();
    for name in measured {
        let Some(section) = image.section(name).filter(|one| one.virtual_size > 0) else {
            continue;
        };
        let truncated = || Error::Truncated {
            what: "a section's data",
            len: uki.len() as u64,
        };
        let stored = section.bytes(uki).ok_or_else(truncated)?;
        let padding = u64::from(section.virtual_size).saturating_sub(section.size);
        if padding > MAX_PADDING {
            return Err(truncated());
        }
        pcr.measure([name.as_bytes(), &[0]]);
        pcr.measure(std::iter::once(stored).chain(zeros(padding)));
        sections.push(*name);
    }
    Ok((pcr, sections))
}

/// So many zero bytes, in parts.
fn zeros<'a>(mut len: u64) -> impl Iterator<Item = &'a [u8]> {
    static ZEROS: [u8; 4096] = [0; 4096];
    std::iter::from_fn(move || {
        let part = len.min(ZEROS.len() as u64);
        len -= part;
        let part = ZEROS.get(..usize::try_from(part).ok()?)?;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_names_its_version() {
        let magic = b"#### LoaderInfo: systemd-stub 252.39-1~deb12u2 ####\0";
        let stub = Stub::parse(magic).unwrap();
        assert_eq!((&*stub.version, stub.major), ("252.39-1~deb12u2", 252));
        assert_eq!(stub.measured_sections().unwrap().len(), 7);
        for (magic, sections) in [("253", 7), ("255.1", 9), ("256~rc1", 10), ("260", 13)] {
            let magic = format!("{}{magic}{}", MAGIC[0], MAGIC[1]);
            let stub = Stub::parse(magic.as_bytes()).unwrap();
            assert_eq!(stub.measured_sections().unwrap().len(), sections);
            assert_eq!(stub.measured_sections().unwrap()[0], ".linux");
        }
        let old = Stub::parse(b"#### LoaderInfo: systemd-stub 249 ####").unwrap();
        assert_eq!(old.measured_sections(), None);
        for none in [
            "",
            "#### LoaderInfo: systemd-boot 252 ####",
            "#### LoaderInfo: systemd-stub x ####",
        ] {
            assert_eq!(Stub::parse(none.as_bytes()), None);
        }
    }

    #[test]
    fn zeros_are_as_many_as_asked_for() {
        for len in [0, 1, 4095, 4096, 4097, 10_000] {
            assert_eq!(zeros(len).map(<[u8]>::len).sum::<usize>() as u64, len);
        }
    }
}
