//! As much of SQLite's file format (sqlite.org/fileformat2.html) as it takes to read one column of one
//! table from front to back. Numbers are big-endian. A write-ahead log beside the file is not read.

use i2kit_format::ReadAt;

use super::MAX_HEADER;
use crate::Error;

const MAGIC: &[u8] = b"SQLite format 3\0";
/// The first page starts with the file's header.
const FILE_HEADER: usize = 100;
/// A table that is deeper has more rows than there are.
const MAX_DEPTH: usize = 20;
const INTERIOR_TABLE: u8 = 5;
const LEAF_TABLE: u8 = 13;

fn bad(reason: &'static str) -> Error {
    Error::format("database (SQLite)", reason)
}

/// Calls `each` with the column `column` (from 0) of every row of `table`, where it is text or a
/// blob.
///
/// # Errors
/// [`Error`] when there is no such table or the file is damaged; what `each` answers.
pub fn blobs(
    file: &dyn ReadAt,
    table: &[u8],
    column: usize,
    each: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let database = Database::open(file)?;
    let mut root = None;
    // The schema: type, name, table name, root page, SQL.
    database.walk(1, &mut |row| {
        let row = Row::parse(row)?;
        if row.bytes(0) == Some(b"table") && row.bytes(1) == Some(table) {
            root = row.number(3);
        }
        Ok(())
    })?;
    let root = root.and_then(|page| u32::try_from(page).ok());
    let root = root.ok_or(bad("it has no such table"))?;
    database.walk(root, &mut |row| match Row::parse(row)?.bytes(column) {
        Some(bytes) => each(bytes),
        None => Ok(()),
    })
}

struct Database<'a> {
    file: &'a dyn ReadAt,
    page_size: usize,
    /// Of a page, without what is reserved at its end.
    usable: usize,
    pages: u64,
}

type Each<'e> = &'e mut dyn FnMut(&[u8]) -> Result<(), Error>;

impl<'a> Database<'a> {
    fn open(file: &'a dyn ReadAt) -> Result<Self, Error> {
        let mut header = [0; FILE_HEADER];
        if file.len() < FILE_HEADER as u64 {
            return Err(bad("it ends early"));
        }
        file.read_exact_at(&mut header, 0)?;
        if !header.starts_with(MAGIC) {
            return Err(bad("it begins otherwise"));
        }
        let page_size = match short(&header, 16) {
            // 65536 has no place in two bytes.
            1 => 65_536,
            size if size >= 512 && size.is_power_of_two() => size,
            _ => return Err(bad("its page size is none")),
        };
        let usable = page_size - usize::from(header[20]);
        if usable < 480 {
            return Err(bad("its pages have no room"));
        }
        Ok(Self {
            file,
            page_size,
            usable,
            pages: file.len() / page_size as u64,
        })
    }

    /// A page, counted from 1.
    fn page(&self, number: u32) -> Result<Vec<u8>, Error> {
        let index = u64::from(number).checked_sub(1);
        let index = index.filter(|index| *index < self.pages);
        let index = index.ok_or(bad("a page is past the end"))?;
        let mut out = vec![0; self.page_size];
        self.file
            .read_exact_at(&mut out, index * self.page_size as u64)?;
        out.truncate(self.usable);
        Ok(out)
    }

    /// Calls `each` with the payload of every row below the page `root`. Each page is visited once
    /// at most, so that a loop ends.
    fn walk(&self, root: u32, each: Each<'_>) -> Result<(), Error> {
        let mut visits = self.pages;
        // Rows lie apart, so together they are no longer than the file.
        let mut room = self.file.len();
        let mut stack = vec![(root, 0)];
        while let Some((number, depth)) = stack.pop() {
            visits = visits.checked_sub(1).ok_or(bad("pages form a loop"))?;
            if depth > MAX_DEPTH {
                return Err(bad("pages form a loop"));
            }
            let page = self.page(number)?;
            let start = if number == 1 { FILE_HEADER } else { 0 };
            let kind = page.get(start).copied();
            let header_len = match kind {
                Some(LEAF_TABLE) => 8,
                Some(INTERIOR_TABLE) => 12,
                _ => return Err(bad("a page is not the table's")),
            };
            let cells = page.get(start + header_len..).unwrap_or_default();
            let cells = cells.chunks_exact(2).take(short(&page, start + 3));
            let cells = cells.map(|pointer| page.get(short(pointer, 0)..).unwrap_or_default());
            if kind == Some(LEAF_TABLE) {
                for cell in cells {
                    let payload = self.payload(cell, room)?;
                    room -= payload.len() as u64;
                    each(&payload)?;
                }
                continue;
            }
            let below = cells.map(|cell| long(cell, 0));
            let mut below: Vec<u32> = below.chain([long(&page, start + 8)]).collect();
            below.reverse();
            stack.extend(below.into_iter().map(|page| (page, depth + 1)));
        }
        Ok(())
    }

    /// A leaf cell's payload: its length, the row's number, the bytes, and the first of the pages on
    /// which they go on where they are many.
    fn payload(&self, cell: &[u8], room: u64) -> Result<Vec<u8>, Error> {
        let cut = || bad("a row is cut off");
        let (len, rest) = varint(cell).ok_or_else(cut)?;
        let (_, rest) = varint(rest).ok_or_else(cut)?;
        if len > MAX_HEADER || len > room {
            return Err(bad("a row is too large"));
        }
        let len = usize::try_from(len).map_err(|_| bad("a row is too large"))?;
        let local = self.local(len);
        let mut out = rest.get(..local).ok_or_else(cut)?.to_vec();
        let mut next = if local < len { long(rest, local) } else { 0 };
        while out.len() < len {
            let page = self.page(next)?;
            next = long(&page, 0);
            let more = page.get(4..).ok_or_else(cut)?;
            out.extend(more.iter().take(len - out.len()));
        }
        Ok(out)
    }

    /// How much of a payload lies in its cell (section 1.6, "Cell Payload Overflow Pages").
    fn local(&self, len: usize) -> usize {
        let most = self.usable - 35;
        if len <= most {
            return len;
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let fitted = least + (len - least) % (self.usable - 4);
        if fitted <= most { fitted } else { least }
    }
}

/// A record: the length of its header, the type of each column, the columns.
struct Row<'a> {
    columns: Vec<(u64, &'a [u8])>,
}

impl<'a> Row<'a> {
    fn parse(row: &'a [u8]) -> Result<Self, Error> {
        let cut = || bad("a row's columns are cut off");
        let (header_len, _) = varint(row).ok_or_else(cut)?;
        let header_len = usize::try_from(header_len).map_err(|_| cut())?;
        let (header, mut body) = row.split_at_checked(header_len).ok_or_else(cut)?;
        let (_, mut types) = varint(header).ok_or_else(cut)?;
        let mut columns = Vec::new();
        while !types.is_empty() {
            let (kind, rest) = varint(types).ok_or_else(cut)?;
            types = rest;
            let len = match kind {
                0..=4 => kind,
                5 => 6,
                6 | 7 => 8,
                8..=11 => 0,
                // 12 and on are blobs, 13 and on texts.
                _ => (kind - 12) / 2,
            };
            let len = usize::try_from(len).map_err(|_| cut())?;
            let (value, rest) = body.split_at_checked(len).ok_or_else(cut)?;
            columns.push((kind, value));
            body = rest;
        }
        Ok(Self { columns })
    }

    fn bytes(&self, column: usize) -> Option<&'a [u8]> {
        let (kind, value) = self.columns.get(column)?;
        (*kind >= 12).then_some(*value)
    }

    fn number(&self, column: usize) -> Option<u64> {
        let (kind, value) = self.columns.get(column)?;
        match kind {
            1..=6 => Some(
                value
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
            ),
            9 => Some(1),
            _ => None,
        }
    }
}

/// Up to nine bytes, seven bits in each but the ninth, the most significant first.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for at in 0..9 {
        let byte = *bytes.get(at)?;
        if at == 8 {
            return Some((value << 8 | u64::from(byte), bytes.get(9..)?));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

fn short(bytes: &[u8], at: usize) -> usize {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| usize::from(u16::from_be_bytes(*bytes)))
}

fn long(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
