//! The reader: parts, digest and signatures.

use std::ops::Range;

use sha2::{Digest, Sha256};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{ALIGN, Error, MAX_TABLE};
use crate::ReadAt;
use crate::uki::{CERTIFICATE_TABLE, DATA_DIRECTORY, Headers, OptionalHeader, read_headers};

/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// The start of an entry of the certificate table.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct WinCertificate {
    /// Of the entry, this header included, the padding to 8 bytes not.
    pub length: U32,
    pub revision: U16,
    pub certificate_type: U16,
}

/// `IMAGE_DATA_DIRECTORY`; the certificate table's address is an offset in the file.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct DataDirectory {
    pub virtual_address: U32,
    pub size: U32,
}

const _: () = assert!(size_of::<WinCertificate>() == 8);
const _: () = assert!(size_of::<DataDirectory>() == DATA_DIRECTORY);

/// An entry of the certificate table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// `wRevision`: 0x0200 is the current one.
    pub revision: u16,
    /// `wCertificateType`: 0x0002 is a PKCS #7 SignedData.
    pub certificate_type: u16,
    /// The bytes behind the entry's header.
    pub data: Vec<u8>,
}

impl Certificate {
    /// True for what firmware takes as a signature: PKCS #7, revision 2.0.
    #[must_use]
    pub fn is_pkcs7(&self) -> bool {
        self.revision == super::REVISION_2 && self.certificate_type == super::PKCS_SIGNED_DATA
    }
}

/// Where the parts lie that the digest treats apart.
pub(super) struct Parts {
    /// Of the field `CheckSum`.
    pub check_sum: u64,
    /// Of the certificate table's data directory.
    pub directory: u64,
    /// Where the table starts, or the file ends when there is none.
    pub end: u64,
    /// Bytes of the table.
    pub table: u64,
    /// What the digest covers of the bytes before `end`.
    pub signed: Vec<Range<usize>>,
}

/// Finds the parts of a file whose headers, sections and table leave no gap.
pub(super) fn parts<R: ReadAt + ?Sized>(file: &R) -> Result<Parts, Error> {
    let headers = read_headers(file)?;
    let room = usize::from(headers.coff.size_of_optional_header.get());
    let needed = size_of::<OptionalHeader>() + (CERTIFICATE_TABLE + 1) * DATA_DIRECTORY;
    let directory = headers.certificate_entry().filter(|_| room >= needed);
    let count = headers.optional.number_of_rva_and_sizes.get();
    let directory = directory.ok_or(Error::NoDirectory(count))? as u64;
    let sections_end = sections_end(&headers, file.len())?;
    let mut entry = DataDirectory::default();
    file.read_exact_at(entry.as_mut_bytes(), directory)?;
    let (offset, size) = (entry.virtual_address.get(), entry.size.get());
    let (end, table) = match (u64::from(offset), u64::from(size)) {
        (0, 0) => (file.len(), 0),
        (start, size_of_table)
            if start >= sections_end
                && start.is_multiple_of(ALIGN as u64)
                && (1..=MAX_TABLE).contains(&size_of_table)
                && start + size_of_table == file.len() =>
        {
            (start, size_of_table)
        }
        _ => {
            return Err(Error::Table {
                offset,
                size,
                len: file.len(),
            });
        }
    };
    let signed = headers.signed_ranges(usize::try_from(end).map_err(|_| Error::TooLarge)?);
    Ok(Parts {
        check_sum: headers.check_sum_offset() as u64,
        directory,
        end,
        table,
        signed,
    })
}

/// Where the last section's data ends; each must start where the part before it ends.
fn sections_end(headers: &Headers, len: u64) -> Result<u64, Error> {
    let size = headers.optional.size_of_headers.get();
    let end = headers.section_table_end() as u64;
    if u64::from(size) < end || u64::from(size) > len {
        return Err(Error::SizeOfHeaders { size, end });
    }
    let mut sections: Vec<(u64, u64)> = headers
        .sections
        .iter()
        .map(|section| (section.pointer_to_raw_data, section.size_of_raw_data))
        .filter(|(_, size)| size.get() > 0)
        .map(|(start, size)| (u64::from(start.get()), u64::from(size.get())))
        .collect();
    sections.sort_unstable();
    let mut expected = u64::from(size);
    for (found, size) in sections {
        if found != expected {
            return Err(Error::Gap { expected, found });
        }
        expected = found + size;
    }
    if expected > len {
        return Err(crate::uki::Error::Truncated {
            what: "a section's data",
            len,
        }
        .into());
    }
    Ok(expected)
}

/// The Authenticode SHA-256 of a PE32+ file, signed or not. One whose length is no multiple of 8
/// bytes is hashed as [`attach`](super::attach) leaves it: with zeros behind it.
///
/// # Errors
/// [`Error`] when it is no PE32+ file, has gaps, or cannot be read.
pub fn digest<R: ReadAt + ?Sized>(file: &R) -> Result<[u8; 32], Error> {
    let parts = parts(file)?;
    let mut hash = Sha256::new();
    for Range { start, end } in parts.signed {
        each_chunk(file, start as u64, end as u64, |chunk| hash.update(chunk))?;
    }
    let padding = parts.end.next_multiple_of(ALIGN as u64) - parts.end;
    (0..padding).for_each(|_| hash.update([0]));
    Ok(hash.finalize().into())
}

/// The entries of the certificate table, none for a file that isn't signed.
///
/// # Errors
/// [`Error`] when it is no PE32+ file, or the table makes no sense.
pub fn certificates<R: ReadAt + ?Sized>(file: &R) -> Result<Vec<Certificate>, Error> {
    let parts = parts(file)?;
    let mut table = vec![0; usize::try_from(parts.table).map_err(|_| Error::TooLarge)?];
    file.read_exact_at(&mut table, parts.end)?;
    let mut rest = table.as_slice();
    let mut out = Vec::new();
    while !rest.is_empty() {
        let room = rest.len();
        let bad = |length| Error::Certificate { length, room };
        let (header, _) = WinCertificate::read_from_prefix(rest).map_err(|_| bad(0))?;
        let length = header.length.get();
        let bytes = rest.get(..length as usize).ok_or_else(|| bad(length))?;
        let data = bytes.get(size_of::<WinCertificate>()..);
        out.push(Certificate {
            revision: header.revision.get(),
            certificate_type: header.certificate_type.get(),
            data: data.ok_or_else(|| bad(length))?.to_vec(),
        });
        let next = (length as usize).next_multiple_of(ALIGN);
        rest = rest.get(next..).unwrap_or_default();
    }
    Ok(out)
}

/// What the field `CheckSum` should say: the 16-bit words' sum with its carries added in, the field
/// itself taken as 0, and the file's length (`CheckSumMappedFile` of ImageHlp).
///
/// # Errors
/// [`Error`] when it is no PE32+ file, has gaps, or cannot be read.
pub fn check_sum<R: ReadAt + ?Sized>(file: &R) -> Result<u32, Error> {
    let field = parts(file)?.check_sum;
    let mut sum = 0u64;
    each_chunk(file, 0, file.len(), |chunk| {
        // Chunks start at even offsets.
        let (pairs, last) = chunk.as_chunks::<2>();
        sum += pairs
            .iter()
            .map(|pair| u64::from(u16::from_le_bytes(*pair)))
            .sum::<u64>();
        sum += last.iter().copied().map(u64::from).sum::<u64>();
    })?;
    let mut stored = [0; 4];
    file.read_exact_at(&mut stored, field)?;
    for (at, byte) in (field..).zip(stored) {
        sum -= u64::from(byte) << (8 * (at % 2));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u32::try_from(sum + file.len()).map_err(|_| Error::TooLarge)
}

/// Hands over the bytes `start..end` in pieces.
fn each_chunk<R: ReadAt + ?Sized>(
    file: &R,
    start: u64,
    end: u64,
    mut take: impl FnMut(&[u8]),
) -> Result<(), Error> {
    let mut buffer = vec![0; CHUNK];
    let mut at = start;
    while at < end {
        let len = usize::try_from(end - at).map_or(CHUNK, |left| left.min(CHUNK));
        let chunk = buffer.get_mut(..len).unwrap_or_default();
        file.read_exact_at(chunk, at)?;
        take(chunk);
        at += len as u64;
    }
    Ok(())
}
