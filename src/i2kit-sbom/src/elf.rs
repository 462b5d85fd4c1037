//! ELF files (System V ABI, chapter 4): the sections that compilers leave notes in, and memory as a
//! program would see it. Read piecemeal, since programs may be large.

use i2kit_format::ReadAt;

use crate::{Error, Package, go, rust};

/// Programs have some 40 sections and 15 segments.
const MAX_HEADERS: u64 = 4096;
/// Section names of a program take some 500 bytes.
const MAX_NAMES: u64 = 1 << 20;
/// A section of notes, or a string of them, is read up to this size.
pub(crate) const MAX_NOTES: u64 = 16 << 20;

const PT_LOAD: u32 = 1;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const SHT_NOBITS: u32 = 8;

fn bad(reason: &'static str) -> Error {
    Error::format("program (ELF)", reason)
}

/// A program or library.
pub struct Binary<'a> {
    file: &'a dyn ReadAt,
    order: Order,
    sections: Vec<Section>,
    segments: Vec<Segment>,
}

/// How numbers are written.
#[derive(Clone, Copy)]
struct Order {
    is_64: bool,
    is_big: bool,
}

struct Section {
    name: Vec<u8>,
    address: u64,
    offset: u64,
    /// 0 for a section without bytes in the file.
    size: u64,
}

struct Segment {
    flags: u32,
    offset: u64,
    address: u64,
    size: u64,
}

impl Order {
    fn number(self, bytes: &[u8]) -> u64 {
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.is_big {
            bytes.iter().fold(0, fold)
        } else {
            bytes.iter().rev().fold(0, fold)
        }
    }

    /// The number of `len` bytes at `at`; 0 past the end.
    fn at(self, bytes: &[u8], at: usize, len: usize) -> u64 {
        self.number(bytes.get(at..at + len).unwrap_or_default())
    }

    /// The same, of one place in 32-bit files and another in 64-bit ones, as long as an address.
    fn address(self, bytes: &[u8], at_32: usize, at_64: usize) -> u64 {
        if self.is_64 {
            self.at(bytes, at_64, 8)
        } else {
            self.at(bytes, at_32, 4)
        }
    }

    fn word(self, bytes: &[u8], at_32: usize, at_64: usize) -> u32 {
        let at = if self.is_64 { at_64 } else { at_32 };
        u32::try_from(self.at(bytes, at, 4)).unwrap_or(0)
    }
}

impl<'a> Binary<'a> {
    /// Reads the headers; `None` when the file is no ELF file.
    ///
    /// # Errors
    /// [`Error`] when its headers make no sense or cannot be read.
    pub fn open(file: &'a dyn ReadAt) -> Result<Option<Self>, Error> {
        let mut header = [0; 64];
        let len = usize::try_from(file.len()).unwrap_or(64).min(64);
        let read = header.get_mut(..len).unwrap_or_default();
        file.read_exact_at(read, 0)?;
        if len < 52 || !header.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        let order = Order {
            is_64: header.get(4) == Some(&2),
            is_big: header.get(5) == Some(&2),
        };
        let mut binary = Self {
            file,
            order,
            sections: Vec::new(),
            segments: Vec::new(),
        };
        binary.read_segments(&header)?;
        binary.read_sections(&header)?;
        Ok(Some(binary))
    }

    /// What its compiler wrote down: the modules of a Go program, the crates of one that
    /// cargo-auditable built. Empty for others.
    ///
    /// # Errors
    /// [`Error`] when such notes are there and make no sense.
    pub fn packages(&self, origin: &str) -> Result<Vec<Package>, Error> {
        let mut out = go::packages(self, origin)?;
        out.extend(rust::packages(self, origin)?);
        Ok(out)
    }

    fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, Error> {
        let end = offset
            .checked_add(len)
            .filter(|end| *end <= self.file.len());
        end.ok_or(bad("a part runs past the end"))?;
        let mut out = vec![0; usize::try_from(len).map_err(|_| bad("a part is too large"))?];
        self.file.read_exact_at(&mut out, offset)?;
        Ok(out)
    }

    /// A table of headers: its bytes and the length of each.
    fn table(
        &self,
        offset: u64,
        count: u64,
        len: u64,
        least: u64,
    ) -> Result<(Vec<u8>, usize), Error> {
        if offset == 0 || count == 0 {
            return Ok((Vec::new(), 1));
        }
        if count > MAX_HEADERS || len < least || len > 4096 {
            return Err(bad("a table of headers has no sensible size"));
        }
        let size = usize::try_from(len).unwrap_or(1);
        Ok((self.read(offset, count * len)?, size))
    }

    fn read_segments(&mut self, header: &[u8]) -> Result<(), Error> {
        let order = self.order;
        let offset = order.address(header, 28, 32);
        let (at_len, least) = if order.is_64 { (54, 56) } else { (42, 32) };
        let (len, count) = (order.at(header, at_len, 2), order.at(header, at_len + 2, 2));
        let (table, size) = self.table(offset, count, len, least)?;
        for one in table.chunks_exact(size) {
            if order.word(one, 0, 0) == PT_LOAD {
                self.segments.push(Segment {
                    flags: order.word(one, 24, 4),
                    offset: order.address(one, 4, 8),
                    address: order.address(one, 8, 16),
                    size: order.address(one, 16, 32),
                });
            }
        }
        Ok(())
    }

    fn read_sections(&mut self, header: &[u8]) -> Result<(), Error> {
        let order = self.order;
        let offset = order.address(header, 32, 40);
        let (at_len, least) = if order.is_64 { (58, 64) } else { (46, 40) };
        let (len, count) = (order.at(header, at_len, 2), order.at(header, at_len + 2, 2));
        let names_at = usize::try_from(order.at(header, at_len + 4, 2)).unwrap_or(0);
        let (table, size) = self.table(offset, count, len, least)?;
        let place = |one: &[u8]| {
            let has_bytes = order.word(one, 4, 4) != SHT_NOBITS;
            let size = order.address(one, 20, 32);
            (order.address(one, 16, 24), if has_bytes { size } else { 0 })
        };
        let Some(names) = table.chunks_exact(size).nth(names_at) else {
            return Ok(());
        };
        let (names_offset, names_len) = place(names);
        let names = self.read(names_offset, names_len.min(MAX_NAMES))?;
        for one in table.chunks_exact(size) {
            let start = usize::try_from(order.word(one, 0, 0)).unwrap_or(usize::MAX);
            let name = names.get(start..).unwrap_or_default();
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            let (offset, size) = place(one);
            // The names that anything here asks for are short.
            let name = name.get(..name.len().min(64)).unwrap_or_default().to_vec();
            self.sections.push(Section {
                name,
                address: order.address(one, 12, 16),
                offset,
                size,
            });
        }
        Ok(())
    }

    /// The bytes of a section, if there is one of that name.
    pub(crate) fn section(&self, name: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let Some(found) = self.sections.iter().find(|one| one.name == name) else {
            return Ok(None);
        };
        if found.size > MAX_NOTES {
            return Err(bad("a section of notes is too large"));
        }
        self.read(found.offset, found.size).map(Some)
    }

    /// The address of a section.
    pub(crate) fn address_of(&self, name: &[u8]) -> Option<u64> {
        let found = self.sections.iter().find(|one| one.name == name);
        found.map(|one| one.address)
    }

    /// The address of the first writable data, in a file without section headers.
    pub(crate) fn unnamed_data(&self) -> Option<u64> {
        let mut segments = self.segments.iter();
        let found = segments.find(|one| one.flags & (PF_X | PF_W) == PF_W);
        found
            .filter(|_| self.sections.is_empty())
            .map(|one| one.address)
    }

    /// Up to `len` bytes of memory at `address`, as far as the file holds them.
    pub(crate) fn memory(&self, address: u64, len: u64) -> Result<Vec<u8>, Error> {
        let within = |one: &&Segment| one.address <= address && address - one.address < one.size;
        let Some(found) = self.segments.iter().find(within) else {
            return Ok(Vec::new());
        };
        let skipped = address - found.address;
        let offset = found.offset.checked_add(skipped);
        let offset = offset.ok_or(bad("a segment runs past the end"))?;
        self.read(offset, len.min(found.size - skipped).min(MAX_NOTES))
    }
}
