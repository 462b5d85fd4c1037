//! ndb's `Packages.db`, SUSE's default (RPM, `lib/backend/ndb/rpmpkg.c`): a header and pages of slots,
//! then blobs in blocks of 16 bytes. Numbers are little-endian.

use i2kit_format::ReadAt;

use super::MAX_HEADER;
use crate::Error;

/// The file starts with it.
pub const MAGIC: [u8; 4] = *b"RpmP";
const SLOT_MAGIC: &[u8] = b"Slot";
const BLOB_MAGIC: &[u8] = b"BlbS";
const PAGE: usize = 4096;
const SLOT: usize = 16;
const BLOCK: u64 = 16;
/// The first slots' room is the file's header.
const HEADER: usize = 32;

fn bad(reason: &'static str) -> Error {
    Error::format("package database (ndb)", reason)
}

/// Calls `each` with every package's header.
///
/// # Errors
/// [`Error`] when the database is damaged; what `each` answers.
pub fn blobs(
    file: &dyn ReadAt,
    each: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut header = [0; HEADER];
    if file.len() < HEADER as u64 {
        return Err(bad("it ends early"));
    }
    file.read_exact_at(&mut header, 0)?;
    if number(&header, 4) != 0 {
        return Err(bad("its version is not 0"));
    }
    let pages = u64::from(number(&header, 12));
    if pages > file.len() / PAGE as u64 {
        return Err(bad("its slots run past the end"));
    }
    // Blobs lie apart, so together they are no longer than the file.
    let mut room = file.len();
    let mut page = vec![0; PAGE];
    for number in 0..pages {
        file.read_exact_at(&mut page, number * PAGE as u64)?;
        let skipped = if number == 0 { HEADER } else { 0 };
        for slot in page.get(skipped..).unwrap_or_default().chunks_exact(SLOT) {
            if !slot.starts_with(SLOT_MAGIC) {
                return Err(bad("a slot is none"));
            }
            if let Some(blob) = blob(file, slot)? {
                let left = room.checked_sub(blob.len() as u64);
                room = left.ok_or(bad("blobs overlap"))?;
                each(&blob)?;
            }
        }
    }
    Ok(())
}

/// The blob that a slot (magic, package number, block, count of blocks) names, if it names one.
fn blob(file: &dyn ReadAt, slot: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let (package, block, count) = (number(slot, 4), number(slot, 8), number(slot, 12));
    if block == 0 {
        return Ok(None);
    }
    let (start, room) = (u64::from(block) * BLOCK, u64::from(count) * BLOCK);
    let mut head = [0; 16];
    if start + room > file.len() || room < 16 {
        return Err(bad("a blob runs past the end"));
    }
    file.read_exact_at(&mut head, start)?;
    let len = u64::from(number(&head, 12));
    if !head.starts_with(BLOB_MAGIC) || number(&head, 4) != package {
        return Err(bad("a blob is not the slot's"));
    }
    if len > room - 16 || len > MAX_HEADER {
        return Err(bad("a blob is too large"));
    }
    let mut out = vec![0; usize::try_from(len).map_err(|_| bad("a blob is too large"))?];
    file.read_exact_at(&mut out, start + 16)?;
    Ok(Some(out))
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
