//! The variable store of EDK II's firmware, OVMF's for one: a firmware volume whose first part is
//! a list of variables (`MdeModulePkg/Include/Guid/VariableFormat.h`).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, IntoBytes};

use super::Variable;
use super::disk::{AuthenticatedVariableHeader, FirmwareVolumeHeader, VariableStoreHeader};
use crate::Guid;

/// `gEfiSystemNvDataFvGuid`.
const NV_DATA_VOLUME: Guid = Guid::from_u128(0xfff12b8d_7696_4c8b_a985_2747075b4f50);
/// `gEfiAuthenticatedVariableGuid`.
const AUTHENTICATED: Guid = Guid::from_u128(0xaaf32c78_947b_439a_a180_2e144ec37792);
const VOLUME_SIGNATURE: &[u8; 4] = b"_FVH";
/// `VARIABLE_STORE_FORMATTED` and `VARIABLE_STORE_HEALTHY`.
const FORMATTED: u8 = 0x5a;
const HEALTHY: u8 = 0xfe;
/// `VARIABLE_DATA`.
const START_ID: u16 = 0x55aa;
/// `VAR_ADDED`; deleting a variable clears more bits.
const ADDED: u8 = 0x3f;
/// `VAR_ADDED & VAR_IN_DELETED_TRANSITION`: being replaced, and still what counts.
const REPLACED: u8 = 0x3e;
/// Erased flash.
const ERASED: u8 = 0xff;
/// Variables start at multiples of this.
const ALIGN: usize = 4;

/// A store that cannot be read or has no room.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("read variable store: no firmware volume of variables starts the file")]
    NoVolume,
    #[error("read variable store: its variables are not authenticated ones")]
    NotAuthenticated,
    #[error("read variable store: it is not formatted, or not healthy")]
    Unhealthy,
    #[error("read variable store: {what} runs past the end")]
    Truncated { what: &'static str },
    #[error("read variable store: the variable at byte {0} has a name that is no UTF-16")]
    Name(usize),
    #[error("write variable store: {needed} bytes of variables, there is room for {room}")]
    Full { needed: usize, room: usize },
}

impl Error {
    /// The cure, where one is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoVolume | Self::NotAuthenticated | Self::Unhealthy => Some(
                "take the template that comes with the firmware: OVMF_VARS_4M.fd of Debian's ovmf"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// The part of the file that holds variables.
fn region(file: &[u8]) -> Result<std::ops::Range<usize>, Error> {
    let (volume, _) = FirmwareVolumeHeader::read_from_prefix(file).map_err(|_| Error::NoVolume)?;
    if volume.file_system_guid != NV_DATA_VOLUME.to_mixed_endian()
        || &volume.signature != VOLUME_SIGNATURE
    {
        return Err(Error::NoVolume);
    }
    let start = usize::from(volume.header_length.get());
    let truncated = |what| move || Error::Truncated { what };
    let rest = file.get(start..).ok_or_else(truncated("the header"))?;
    let (header, _) = VariableStoreHeader::read_from_prefix(rest)
        .map_err(|_| truncated("the store's header")())?;
    if header.signature != AUTHENTICATED.to_mixed_endian() {
        return Err(Error::NotAuthenticated);
    }
    if header.format != FORMATTED || header.state != HEALTHY {
        return Err(Error::Unhealthy);
    }
    let first = start + size_of::<VariableStoreHeader>();
    let end = start + header.size.get() as usize;
    let fits = first <= end && end <= file.len();
    fits.then_some(first.next_multiple_of(ALIGN)..end)
        .ok_or_else(truncated("the store"))
}

/// The variables that count, in the store's order.
///
/// # Errors
/// [`Error`] when it is no such store.
pub fn read(file: &[u8]) -> Result<Vec<Variable>, Error> {
    let region = region(file)?;
    let mut at = region.start;
    let mut out: Vec<(u8, Variable)> = Vec::new();
    while let Some(bytes) = file.get(at..region.end) {
        let Ok((header, rest)) = AuthenticatedVariableHeader::read_from_prefix(bytes) else {
            break;
        };
        if header.start_id.get() != START_ID {
            break;
        }
        let (name_size, data_size) = (header.name_size.get(), header.data_size.get());
        let truncated = Error::Truncated { what: "a variable" };
        let Some((name, rest)) = rest.split_at_checked(name_size as usize) else {
            return Err(truncated);
        };
        let data = rest.get(..data_size as usize).ok_or(truncated)?;
        if matches!(header.state, ADDED | REPLACED) {
            let variable = variable(&header, name, data).ok_or(Error::Name(at))?;
            out.push((header.state, variable));
        }
        let len = size_of::<AuthenticatedVariableHeader>() + name.len() + data.len();
        at = (at + len).next_multiple_of(ALIGN);
    }
    let names: Vec<_> = out
        .iter()
        .filter(|(state, _)| *state == ADDED)
        .map(|(_, one)| (one.name.clone(), one.vendor))
        .collect();
    let counts = |(state, one): &(u8, Variable)| {
        *state == ADDED || !names.contains(&(one.name.clone(), one.vendor))
    };
    Ok(out
        .into_iter()
        .filter(counts)
        .map(|(_, variable)| variable)
        .collect())
}

fn variable(header: &AuthenticatedVariableHeader, name: &[u8], data: &[u8]) -> Option<Variable> {
    let (units, rest) = name.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    let (end, units) = units.split_last()?;
    let name = String::from_utf16(units).ok()?;
    (rest.is_empty() && *end == 0 && !name.contains('\0')).then(|| Variable {
        name,
        vendor: Guid::from_mixed_endian(header.vendor_guid),
        attributes: header.attributes.get(),
        time: header.time_stamp.into(),
        data: data.to_vec(),
    })
}

/// The store with `variables` in it; those of the same names are replaced, others stay.
///
/// # Errors
/// [`Error`] when `file` is no such store or has no room.
pub fn write(file: &[u8], variables: &[Variable]) -> Result<Vec<u8>, Error> {
    let region = region(file)?;
    let is_new = |old: &Variable| {
        variables
            .iter()
            .any(|new| new.name == old.name && new.vendor == old.vendor)
    };
    let mut all = read(file)?;
    all.retain(|old| !is_new(old));
    let mut bytes = Vec::new();
    for variable in all.iter().chain(variables) {
        bytes.resize(bytes.len().next_multiple_of(ALIGN), ERASED);
        append(&mut bytes, variable);
    }
    let (needed, room) = (bytes.len(), region.len());
    let mut out = file.to_vec();
    let target = out.get_mut(region).unwrap_or_default();
    let Some((used, free)) = target.split_at_mut_checked(needed) else {
        return Err(Error::Full { needed, room });
    };
    used.copy_from_slice(&bytes);
    free.fill(ERASED);
    Ok(out)
}

fn append(out: &mut Vec<u8>, variable: &Variable) {
    let units = variable.name.encode_utf16().chain([0]);
    let name: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
    let field = |len: usize| U32::new(u32::try_from(len).unwrap_or(u32::MAX));
    let header = AuthenticatedVariableHeader {
        start_id: U16::new(START_ID),
        state: ADDED,
        reserved: 0,
        attributes: U32::new(variable.attributes),
        monotonic_count: U64::ZERO,
        time_stamp: variable.time.into(),
        pub_key_index: U32::ZERO,
        name_size: field(name.len()),
        data_size: field(variable.data.len()),
        vendor_guid: variable.vendor.to_mixed_endian(),
    };
    out.extend(header.as_bytes());
    out.extend(name);
    out.extend(&variable.data);
}
