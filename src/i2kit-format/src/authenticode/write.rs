//! The writer: a signature goes behind the file, or away.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::read::{DataDirectory, WinCertificate, check_sum, parts};
use super::{ALIGN, Error, MAX_TABLE, PKCS_SIGNED_DATA, REVISION_2};

/// Puts a PKCS #7 SignedData (DER) behind an unsigned file as its only signature, and sets its
/// checksum. The file is padded with zeros to a multiple of 8 bytes before; its digest stays.
///
/// # Errors
/// [`Error`] when it is no PE32+ file, has gaps or a signature; the file is then as it was.
pub fn attach(file: &mut Vec<u8>, signed_data: &[u8]) -> Result<(), Error> {
    let before = parts(file)?;
    if before.table > 0 {
        return Err(Error::Signed);
    }
    let length = size_of::<WinCertificate>() as u64 + signed_data.len() as u64;
    let start = before.end.next_multiple_of(ALIGN as u64);
    let size = length.next_multiple_of(ALIGN as u64);
    let field = |value: u64| u32::try_from(value).map(U32::new);
    let too_large = |_| Error::TooLarge;
    field(start + size).map_err(too_large)?;
    if size > MAX_TABLE {
        return Err(Error::TooLarge);
    }
    let header = WinCertificate {
        length: field(length).map_err(too_large)?,
        revision: U16::new(REVISION_2),
        certificate_type: U16::new(PKCS_SIGNED_DATA),
    };
    let directory = DataDirectory {
        virtual_address: field(start).map_err(too_large)?,
        size: field(size).map_err(too_large)?,
    };
    file.resize(usize::try_from(start).map_err(too_large)?, 0);
    file.extend(header.as_bytes());
    file.extend(signed_data);
    file.resize(usize::try_from(start + size).map_err(too_large)?, 0);
    put(file, before.directory, directory.as_bytes());
    let sum = check_sum(file)?;
    put(file, before.check_sum, &sum.to_le_bytes());
    Ok(())
}

/// Takes all signatures away and sets the checksum to 0, which says that there is none. Padding
/// that was added for a signature stays; the digest, too.
///
/// # Errors
/// [`Error`] when it is no PE32+ file or has gaps.
pub fn detach(file: &mut Vec<u8>) -> Result<(), Error> {
    let before = parts(file)?;
    file.truncate(usize::try_from(before.end).map_err(|_| Error::TooLarge)?);
    put(file, before.directory, DataDirectory::default().as_bytes());
    put(file, before.check_sum, U32::ZERO.as_bytes());
    Ok(())
}

/// Both fields lie within the headers, as `parts` has seen.
fn put(file: &mut [u8], offset: u64, bytes: &[u8]) {
    let range = usize::try_from(offset).ok().and_then(|start| {
        let end = start.checked_add(bytes.len())?;
        file.get_mut(start..end)
    });
    if let Some(field) = range {
        field.copy_from_slice(bytes);
    }
}
