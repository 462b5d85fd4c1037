//! The reader.

use std::ops::Range;

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::Error;
use super::disk::{
    CERTIFICATE_TABLE, CoffHeader, DATA_DIRECTORY, DOS_MAGIC, E_LFANEW, OptionalHeader, PE_MAGIC,
    PE32_PLUS, SectionHeader,
};
use crate::ReadAt;

/// What a PE file's headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `IMAGE_FILE_MACHINE_*`: 0x8664 is x86-64, 0xaa64 64-bit Arm.
    pub machine: u16,
    /// In the file's order.
    pub sections: Vec<Section>,
}

impl Image {
    /// The first section of that name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

/// One section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// At most 8 bytes; what is not UTF-8 is replaced.
    pub name: String,
    /// Where its bytes lie in the file; inside the file, with `size`.
    pub offset: u64,
    /// Bytes, without the padding to the file's alignment.
    pub size: u64,
    /// Where it is loaded, relative to the image's start.
    pub virtual_address: u32,
    /// Bytes once it is loaded: at least `size`, zeros past it.
    pub virtual_size: u32,
}

impl Section {
    /// Its bytes in the file that it was read from; none in a shorter one.
    #[must_use]
    pub fn bytes<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        let start = usize::try_from(self.offset).ok()?;
        let size = usize::try_from(self.size).ok()?;
        file.get(start..)?.get(..size)
    }
}

/// The headers, with their places in the file.
pub(crate) struct Headers {
    pub coff_offset: usize,
    pub coff: CoffHeader,
    pub optional: OptionalHeader,
    pub sections: Vec<SectionHeader>,
}

impl Headers {
    pub fn optional_offset(&self) -> usize {
        self.coff_offset + size_of::<CoffHeader>()
    }

    /// Where `CheckSum` lies in the file.
    pub fn check_sum_offset(&self) -> usize {
        self.optional_offset() + std::mem::offset_of!(OptionalHeader, check_sum)
    }

    /// Where the certificate table's data directory lies in the file, if there are as many.
    pub fn certificate_entry(&self) -> Option<usize> {
        let count = self.optional.number_of_rva_and_sizes.get() as usize;
        let directories = self.optional_offset() + size_of::<OptionalHeader>();
        (count > CERTIFICATE_TABLE).then_some(directories + CERTIFICATE_TABLE * DATA_DIRECTORY)
    }

    /// What of the file's first `end` bytes, all headers among them, an Authenticode digest covers:
    /// not the checksum and the certificate table's data directory, which signing changes.
    pub fn signed_ranges(&self, end: usize) -> Vec<Range<usize>> {
        let check_sum = self.check_sum_offset();
        let after_sum = check_sum + size_of::<U32>();
        match self.certificate_entry() {
            None => vec![0..check_sum, after_sum..end],
            Some(entry) => {
                let after_entry = entry + DATA_DIRECTORY;
                vec![0..check_sum, after_sum..entry, after_entry..end]
            }
        }
    }

    pub fn section_table_offset(&self) -> usize {
        self.optional_offset() + usize::from(self.coff.size_of_optional_header.get())
    }

    pub fn section_table_end(&self) -> usize {
        self.section_table_offset() + self.sections.len() * size_of::<SectionHeader>()
    }
}

/// Lists the sections of a PE32+ file, a UKI for one.
///
/// # Errors
/// [`Error`] when it is no PE32+ file, when headers or a section's bytes run past its end, or
/// when it cannot be read.
pub fn read<R: ReadAt + ?Sized>(file: &R) -> Result<Image, Error> {
    let headers = read_headers(file)?;
    let sections = headers
        .sections
        .iter()
        .map(|header| section(header, file.len()));
    Ok(Image {
        machine: headers.coff.machine.get(),
        sections: sections.collect::<Result<_, _>>()?,
    })
}

fn section(header: &SectionHeader, len: u64) -> Result<Section, Error> {
    let offset = u64::from(header.pointer_to_raw_data.get());
    // The loader pads with zeros up to VirtualSize; in the file there is no more than this.
    let size = u64::from(header.virtual_size.get().min(header.size_of_raw_data.get()));
    if size > 0 && offset + size > len {
        return Err(Error::Truncated {
            what: "a section's data",
            len,
        });
    }
    let name: Vec<u8> = header
        .name
        .iter()
        .copied()
        .take_while(|byte| *byte != 0)
        .collect();
    Ok(Section {
        name: String::from_utf8_lossy(&name).into_owned(),
        offset,
        size,
        virtual_address: header.virtual_address.get(),
        virtual_size: header.virtual_size.get(),
    })
}

pub(crate) fn read_headers<R: ReadAt + ?Sized>(file: &R) -> Result<Headers, Error> {
    let coff_offset = find_coff(file)?;
    let coff: CoffHeader = record(file, coff_offset, "the COFF header")?;
    let optional_offset = coff_offset + size_of::<CoffHeader>() as u64;
    let optional_size = coff.size_of_optional_header.get();
    let optional: OptionalHeader = record(file, optional_offset, "the optional header")?;
    if optional.magic.get() != PE32_PLUS {
        return Err(Error::NotPe32Plus(optional.magic.get()));
    }
    if usize::from(optional_size) < size_of::<OptionalHeader>() {
        return Err(Error::OptionalHeader(optional_size));
    }
    let table = optional_offset + u64::from(optional_size);
    let sections = (0..u64::from(coff.number_of_sections.get()))
        .map(|i| {
            record(
                file,
                table + i * size_of::<SectionHeader>() as u64,
                "the section table",
            )
        })
        .collect::<Result<_, _>>()?;
    let coff_offset = usize::try_from(coff_offset).map_err(|_| Error::TooLarge)?;
    Ok(Headers {
        coff_offset,
        coff,
        optional,
        sections,
    })
}

/// Follows the MS-DOS header to the COFF header.
fn find_coff<R: ReadAt + ?Sized>(file: &R) -> Result<u64, Error> {
    if file.len() < (E_LFANEW + size_of::<U32>()) as u64 {
        return Err(Error::NotPe);
    }
    let dos_magic: [u8; 2] = record(file, 0, "the MS-DOS header")?;
    let e_lfanew: U32 = record(file, E_LFANEW as u64, "the MS-DOS header")?;
    let pe_offset = u64::from(e_lfanew.get());
    let pe_magic: [u8; 4] = record(file, pe_offset, "the PE signature")?;
    if &dos_magic != DOS_MAGIC || &pe_magic != PE_MAGIC {
        return Err(Error::NotPe);
    }
    Ok(pe_offset + PE_MAGIC.len() as u64)
}

fn record<T: FromBytes + zerocopy::IntoBytes + zerocopy::Immutable, R: ReadAt + ?Sized>(
    file: &R,
    offset: u64,
    what: &'static str,
) -> Result<T, Error> {
    let mut value = T::new_zeroed();
    let end = offset.checked_add(size_of::<T>() as u64);
    if end.is_none_or(|end| end > file.len()) {
        return Err(Error::Truncated {
            what,
            len: file.len(),
        });
    }
    file.read_exact_at(value.as_mut_bytes(), offset)?;
    Ok(value)
}
