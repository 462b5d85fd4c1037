//! The writer.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::Error;
use super::disk::{
    CERTIFICATE_TABLE, DATA_DIRECTORY, OptionalHeader, READ_ONLY_DATA, SectionHeader,
};
use super::read::{Headers, read_headers};
use crate::ReadAt;
use crate::layout::{Content, Layout, Piece};
use crate::read_at::Window;

/// New sections start at page boundaries in memory and in the file: the stub of Debian 12 has a
/// SectionAlignment of 512 bytes, but firmware protects pages, and an aligned kernel can be
/// cloned into the disk instead of copied.
const PAGE: u64 = 4096;

/// A section to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSection {
    /// With its dot: `.linux`. 1 to 8 bytes.
    pub name: String,
    /// Bytes, at least 1.
    pub size: u64,
}

/// Plans a UKI: the stub, then the sections in the given order; section `i` is input `i` of the
/// layout. Put `.linux` last: newer stubs run the kernel in place, and its decompressor writes
/// past the section's end.
///
/// The stub's symbol table and signature are dropped: nothing loads the former, the latter would
/// be wrong; and so the file has no gap between sections, over which tools disagree when they
/// compute what a signature covers. The checksum is 0: UEFI does not look at it.
///
/// # Errors
/// [`Error`] when the stub is no PE32+ file, a name is bad, taken or given twice, or there is no
/// room for the section headers.
pub fn plan(stub: &[u8], sections: &[NewSection]) -> Result<Layout, Error> {
    let headers = read_headers(stub)?;
    check_directories(&headers)?;
    check_names(&headers, sections)?;
    let new = place(&headers, sections, stub)?;
    let head = head(stub, &headers, &new)?;

    let mut pieces = vec![Piece {
        offset: 0,
        content: Content::Bytes(head),
    }];
    for (index, (header, section)) in new.iter().zip(sections).enumerate() {
        pieces.push(Piece {
            offset: u64::from(header.pointer_to_raw_data.get()),
            content: Content::Input {
                index,
                size: section.size,
            },
        });
    }
    Ok(Layout {
        size: file_end(&headers.sections).max(file_end(&new)),
        pieces,
    })
}

/// A whole UKI in memory.
///
/// # Errors
/// Those of [`plan`].
pub fn assemble(stub: &[u8], sections: &[(&str, &[u8])]) -> Result<Vec<u8>, Error> {
    let new: Vec<NewSection> = sections
        .iter()
        .map(|(name, data)| NewSection {
            name: (*name).to_owned(),
            size: data.len() as u64,
        })
        .collect();
    let inputs: Vec<Window<'_, [u8]>> = sections
        .iter()
        .filter_map(|(_, data)| Window::new(*data, 0, data.len() as u64))
        .collect();
    let inputs: Vec<&dyn ReadAt> = inputs.iter().map(|input| input as &dyn ReadAt).collect();
    Ok(plan(stub, &new)?.fill(&inputs)?)
}

/// The data directories end before the section table.
fn check_directories(headers: &Headers) -> Result<(), Error> {
    let size = headers.coff.size_of_optional_header.get();
    let count = headers.optional.number_of_rva_and_sizes.get();
    let room = usize::from(size).saturating_sub(size_of::<OptionalHeader>()) / DATA_DIRECTORY;
    if count as usize > room {
        Err(Error::DataDirectories { size, count })
    } else {
        Ok(())
    }
}

fn check_names(headers: &Headers, sections: &[NewSection]) -> Result<(), Error> {
    let mut seen: Vec<[u8; 8]> = headers
        .sections
        .iter()
        .map(|section| section.name)
        .collect();
    for NewSection { name, size } in sections {
        let raw = raw_name(name)?;
        if seen.contains(&raw) {
            return Err(Error::DuplicateSection(name.clone()));
        }
        if *size == 0 {
            return Err(Error::EmptySection(name.clone()));
        }
        seen.push(raw);
    }
    Ok(())
}

fn raw_name(name: &str) -> Result<[u8; 8], Error> {
    let error = || Error::SectionName(name.to_owned());
    // A slash and a number stand for a longer name elsewhere in the file.
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
    if name.is_empty() || name.starts_with('/') || !printable {
        return Err(error());
    }
    let mut raw = [0; 8];
    raw.get_mut(..name.len())
        .ok_or_else(error)?
        .copy_from_slice(name.as_bytes());
    Ok(raw)
}

/// Gives each new section its place in memory and in the file.
fn place(
    headers: &Headers,
    sections: &[NewSection],
    stub: &[u8],
) -> Result<Vec<SectionHeader>, Error> {
    let OptionalHeader {
        file_alignment,
        section_alignment,
        ..
    } = headers.optional;
    let (file, section) = (file_alignment.get(), section_alignment.get());
    if !file.is_power_of_two() || !section.is_power_of_two() {
        return Err(Error::Alignment { file, section });
    }
    let memory_alignment = u64::from(section).max(PAGE);
    let file_alignment = u64::from(file).max(PAGE);
    let mut offset = file_end(&headers.sections);
    if offset > stub.len() as u64 {
        return Err(Error::Truncated {
            what: "a section's data",
            len: stub.len() as u64,
        });
    }
    offset = offset.next_multiple_of(u64::from(file));
    let mut address = memory_end(&headers.sections);
    let mut placed = Vec::with_capacity(sections.len());
    for section in sections {
        address = address.next_multiple_of(memory_alignment);
        // Padded so that the next one starts at a page, wherever the stub's last one ended.
        let end = offset.checked_add(section.size).ok_or(Error::TooLarge)?;
        let end = end
            .checked_next_multiple_of(file_alignment)
            .ok_or(Error::TooLarge)?;
        placed.push(SectionHeader {
            name: raw_name(&section.name)?,
            virtual_size: field(section.size)?,
            virtual_address: field(address)?,
            size_of_raw_data: field(end - offset)?,
            pointer_to_raw_data: field(offset)?,
            pointer_to_relocations: U32::ZERO,
            pointer_to_linenumbers: U32::ZERO,
            number_of_relocations: U16::ZERO,
            number_of_linenumbers: U16::ZERO,
            characteristics: U32::new(READ_ONLY_DATA),
        });
        address += section.size;
        offset = end;
    }
    Ok(placed)
}

fn field(value: u64) -> Result<U32, Error> {
    u32::try_from(value)
        .map(U32::new)
        .map_err(|_| Error::TooLarge)
}

fn file_end(sections: &[SectionHeader]) -> u64 {
    let ends = sections
        .iter()
        .filter(|section| section.size_of_raw_data.get() > 0)
        .map(|section| {
            u64::from(section.pointer_to_raw_data.get()) + u64::from(section.size_of_raw_data.get())
        });
    ends.max().unwrap_or(0)
}

fn memory_end(sections: &[SectionHeader]) -> u64 {
    let ends = sections.iter().map(|section| {
        // Some linkers leave VirtualSize 0.
        let size = match section.virtual_size.get() {
            0 => section.size_of_raw_data.get(),
            size => size,
        };
        u64::from(section.virtual_address.get()) + u64::from(size)
    });
    ends.max().unwrap_or(0)
}

/// The stub with changed headers, up to where the first new section starts.
fn head(stub: &[u8], headers: &Headers, new: &[SectionHeader]) -> Result<Vec<u8>, Error> {
    check_room(stub, headers, new)?;
    let truncated = || Error::Truncated {
        what: "the headers",
        len: stub.len() as u64,
    };
    let end = usize::try_from(file_end(&headers.sections)).map_err(|_| Error::TooLarge)?;
    let mut head = stub.get(..end).ok_or_else(truncated)?.to_vec();

    let mut coff = headers.coff;
    let count = headers.sections.len() + new.len();
    coff.number_of_sections = U16::new(u16::try_from(count).map_err(|_| Error::TooLarge)?);
    coff.pointer_to_symbol_table = U32::ZERO;
    coff.number_of_symbols = U32::ZERO;
    put(&mut head, headers.coff_offset, coff.as_bytes()).ok_or_else(truncated)?;

    let optional = optional_header(headers, new)?;
    put(&mut head, headers.optional_offset(), optional.as_bytes()).ok_or_else(truncated)?;
    if optional.number_of_rva_and_sizes.get() as usize > CERTIFICATE_TABLE {
        let directories = headers.optional_offset() + size_of::<OptionalHeader>();
        let certificates = directories + CERTIFICATE_TABLE * DATA_DIRECTORY;
        put(&mut head, certificates, &[0; DATA_DIRECTORY]).ok_or_else(truncated)?;
    }
    put(&mut head, headers.section_table_end(), new.as_bytes()).ok_or_else(truncated)?;
    Ok(head)
}

/// New section headers go between the old ones and the first section's data, over zeros only.
fn check_room(stub: &[u8], headers: &Headers, new: &[SectionHeader]) -> Result<(), Error> {
    let start = headers.section_table_end();
    let first_data = headers
        .sections
        .iter()
        .filter(|section| section.size_of_raw_data.get() > 0);
    let first_data = first_data
        .map(|section| section.pointer_to_raw_data.get())
        .min();
    let size_of_headers = headers.optional.size_of_headers.get();
    let end = first_data.unwrap_or(0).min(size_of_headers) as usize;
    let room = stub.get(start..end).map_or(0, |bytes| {
        bytes.iter().take_while(|byte| **byte == 0).count()
    });
    let needed = size_of_val(new);
    if needed > room {
        Err(Error::NoHeaderRoom { needed, room })
    } else {
        Ok(())
    }
}

fn optional_header(headers: &Headers, new: &[SectionHeader]) -> Result<OptionalHeader, Error> {
    let mut optional = headers.optional;
    let raw: u64 = new
        .iter()
        .map(|section| u64::from(section.size_of_raw_data.get()))
        .sum();
    let data = u64::from(optional.size_of_initialized_data.get()).saturating_add(raw);
    optional.size_of_initialized_data = field(data)?;
    let alignment = u64::from(optional.section_alignment.get()).max(PAGE);
    let end = memory_end(&headers.sections).max(memory_end(new));
    optional.size_of_image = field(end.next_multiple_of(alignment))?;
    optional.check_sum = U32::ZERO;
    Ok(optional)
}

fn put(buffer: &mut [u8], offset: usize, bytes: &[u8]) -> Option<()> {
    let end = offset.checked_add(bytes.len())?;
    buffer.get_mut(offset..end)?.copy_from_slice(bytes);
    Some(())
}
