//! The ESP and the UKI in it.

use i2kit_contract::LABEL_ESP;
use i2kit_format::read_at::Window;
use i2kit_format::{ReadAt, fat, gpt, uki as pe};

use super::{Error, window};
use crate::assemble::boot::IMAGE_VERSION;

/// Where the UKI lies in the ESP.
pub(super) const UKI_PATH: &str = "EFI/BOOT/BOOTX64.EFI";
/// A UKI is read up to this size.
const MAX_UKI: u64 = 1 << 30;

/// The UKI's bytes.
///
/// # Errors
/// [`Error`] when the disk has none in one piece.
pub fn uki(disk: &dyn ReadAt) -> Result<Vec<u8>, Error> {
    let esp = window(disk, &gpt::read(disk)?, LABEL_ESP)?;
    bytes(&uki_window(&esp, &fat::read(&esp)?)?)
}

/// The store's root hash, as the UKI of a disk names it. Reads little of the UKI.
///
/// # Errors
/// [`Error`] when the disk has no UKI in one piece, or that names none.
pub fn disk_root_hash(disk: &dyn ReadAt) -> Result<[u8; 32], Error> {
    let esp = window(disk, &gpt::read(disk)?, LABEL_ESP)?;
    root_hash(&uki_window(&esp, &fat::read(&esp)?)?)
}

/// The bytes of the file that is a UKI.
pub(super) fn bytes(file: &dyn ReadAt) -> Result<Vec<u8>, Error> {
    let len = file.len();
    if len > MAX_UKI {
        return Err(Error::TooLarge {
            name: UKI_PATH.to_owned(),
            size: len,
        });
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)
        .map_err(|source| Error::Read {
            what: UKI_PATH.to_owned(),
            source,
        })?;
    Ok(bytes)
}

/// A UKI's kernel command line.
///
/// # Errors
/// [`Error`] when the UKI has none, or cannot be read.
pub fn cmdline(uki: &dyn ReadAt) -> Result<String, Error> {
    section(uki, &pe::read(uki)?, ".cmdline")
}

/// The store's root hash, as a UKI's command line names it.
///
/// # Errors
/// [`Error::NoRootHash`], or what keeps the UKI from being read.
pub fn root_hash(uki: &dyn ReadAt) -> Result<[u8; 32], Error> {
    let named = named_root_hash(&cmdline(uki)?).ok_or(Error::NoRootHash)?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(named, &mut bytes).map_err(|_| Error::NoRootHash)?;
    Ok(bytes)
}

/// Checks that the UKI calls the image version `least` at least, which says something once its
/// signature was checked.
///
/// # Errors
/// [`Error::Version`], or what keeps the UKI from being read.
pub fn check_version(disk: &dyn ReadAt, least: u64) -> Result<(), Error> {
    match image_version(&uki(disk)?)? {
        Some(found) if found >= least => Ok(()),
        found => Err(Error::Version { found, least }),
    }
}

/// The image's version, by the UKI's os-release; none where it tells no number.
fn image_version(uki: &dyn ReadAt) -> Result<Option<u64>, Error> {
    let os_release = section(uki, &pe::read(uki)?, ".osrel")?;
    let prefix = format!("{IMAGE_VERSION}=");
    let mut lines = os_release.lines();
    Ok(lines.find_map(|line| line.strip_prefix(&prefix)?.parse().ok()))
}

/// Nothing but the UKI and the folders that lead to it is there.
pub(super) fn check_alone(volume: &fat::Volume) -> Result<(), Error> {
    let leads = |path: &str| {
        let rest = UKI_PATH.strip_prefix(path);
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let intruder = volume.entries.iter().find(|entry| {
        let path = entry.path.to_uppercase();
        let belongs = if entry.directory {
            leads(&path)
        } else {
            path == UKI_PATH
        };
        !belongs
    });
    match intruder {
        Some(entry) => Err(Error::Intruder(format!("{:?}", entry.path))),
        None => Ok(()),
    }
}

/// Where the UKI lies.
pub(super) fn uki_window<'a>(
    esp: &'a Window<'a, dyn ReadAt + 'a>,
    volume: &fat::Volume,
) -> Result<Window<'a, Window<'a, dyn ReadAt + 'a>>, Error> {
    let entry = volume.entry(UKI_PATH).ok_or(Error::NoUki)?;
    let [extent] = entry.extents.as_slice() else {
        return Err(Error::NoUki);
    };
    Window::new(esp, extent.offset, entry.size).ok_or(Error::NoUki)
}

pub(super) fn section(file: &dyn ReadAt, image: &pe::Image, name: &str) -> Result<String, Error> {
    let missing = || Error::NoFile(name.to_owned());
    let found = image.section(name).ok_or_else(missing)?;
    let len = usize::try_from(found.size)
        .ok()
        .filter(|len| *len < 1 << 16)
        .ok_or_else(missing)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, found.offset)
        .map_err(|source| Error::Read {
            what: name.to_owned(),
            source,
        })?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_end_matches(['\0', '\n']).to_owned())
}

/// The root hash that a command line names.
pub(super) fn named_root_hash(cmdline: &str) -> Option<String> {
    let prefix = format!("{}=", i2kit_contract::CMDLINE_ROOT_HASH);
    cmdline
        .split_whitespace()
        .find_map(|word| word.strip_prefix(&prefix))
        .map(str::to_owned)
}
