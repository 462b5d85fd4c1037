//! Which bytes of a PE file its Authenticode digest covers.

use super::Error;
use super::disk::DATA_DIRECTORY;
use super::read::read_headers;

/// The parts of a PE file that its Authenticode digest covers, in order: the headers without the
/// checksum and the certificate table's entry, the sections by their place in the file, then what
/// follows them up to the certificate table. Firmware measures the same
/// (EDK2 `SecurityPkg/Tcg/Tcg2Dxe/MeasureBootPeCoff.c`). Signers first pad a file to 8 bytes.
///
/// # Errors
/// [`Error`] when it is no PE32+ file or a part runs past its end.
pub fn signed_parts(file: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let headers = read_headers(file)?;
    let header_end = headers.optional.size_of_headers.get() as usize;
    let in_headers = headers.signed_ranges(header_end).into_iter();
    let in_headers = in_headers.map(|range| part(file, range.start, range.end));
    let mut parts = in_headers.collect::<Result<Vec<_>, _>>()?;
    let mut sections: Vec<(usize, usize)> = headers
        .sections
        .iter()
        .map(|one| {
            (
                one.pointer_to_raw_data.get() as usize,
                one.size_of_raw_data.get() as usize,
            )
        })
        .filter(|(_, len)| *len > 0)
        .collect();
    sections.sort_by_key(|(start, _)| *start);
    let mut hashed = header_end;
    for (start, len) in sections {
        parts.push(part(file, start, start.saturating_add(len))?);
        hashed = hashed.saturating_add(len);
    }
    // As EDK2 has it, by the sum of what was hashed, whatever gaps there are.
    let entry = headers.certificate_entry();
    let table = entry.map_or(Ok(0), |entry| table_len(file, entry))?;
    if hashed < file.len() {
        let end = file.len().checked_sub(table).filter(|end| *end >= hashed);
        parts.push(part(file, hashed, end.ok_or_else(|| truncated(file))?)?);
    }
    Ok(parts)
}

fn table_len(file: &[u8], entry: usize) -> Result<usize, Error> {
    let size = part(file, entry + 4, entry + DATA_DIRECTORY)?;
    let size = size
        .first_chunk()
        .map_or(0, |size| u32::from_le_bytes(*size));
    Ok(size as usize)
}

fn part(file: &[u8], start: usize, end: usize) -> Result<&[u8], Error> {
    file.get(start..end).ok_or_else(|| truncated(file))
}

fn truncated(file: &[u8]) -> Error {
    Error::Truncated {
        what: "a part that is signed",
        len: file.len() as u64,
    }
}
