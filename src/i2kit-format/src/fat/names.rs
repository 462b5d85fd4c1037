//! Short (8.3) and long names.

use std::collections::{BTreeMap, BTreeSet};

use zerocopy::little_endian::U16;

use super::disk::{ATTR_LONG_NAME, LAST_LONG_ENTRY, LOWER_BASE, LOWER_EXTENSION, LongEntry};

/// UTF-16 units in one long-name entry.
const UNITS: usize = 13;
/// The most units of a long name.
const MAX_UNITS: usize = 255;

/// True for a name that FAT can hold and that is not `.` or `..`.
pub(super) fn is_valid(name: &str) -> bool {
    let forbidden = |c: char| c < ' ' || c == '\x7f' || "\"*/:<>?\\|".contains(c);
    (1..=MAX_UNITS).contains(&name.encode_utf16().count())
        && !name.contains(forbidden)
        && !name.ends_with(['.', ' '])
        && !name.starts_with(' ')
}

/// A short name, and whether a long one must stand beside it.
pub(super) struct ShortName {
    pub bytes: [u8; 11],
    pub needs_long: bool,
}

/// Gives the names of one directory their short ones.
pub(super) struct Shortener<'a> {
    /// All names of the directory as FAT compares them: who looks for a name must not find
    /// another that is called so in short.
    folded: &'a BTreeSet<String>,
    taken: BTreeSet<[u8; 11]>,
    /// The number that is tried next behind a base, as the tail cuts it, and an extension: all
    /// before it are taken.
    next: BTreeMap<(String, String), u32>,
}

impl<'a> Shortener<'a> {
    /// `folded` are the directory's names in upper case.
    pub fn new(folded: &'a BTreeSet<String>) -> Self {
        Self {
            folded,
            taken: BTreeSet::new(),
            next: BTreeMap::new(),
        }
    }

    /// The short name of `name`. `None` when all numbered tails are taken.
    pub fn shorten(&mut self, name: &str) -> Option<ShortName> {
        if let Some(bytes) = exact(name) {
            return Some(ShortName {
                bytes,
                needs_long: false,
            });
        }
        let (base, extension) = match name.trim_start_matches('.').rsplit_once('.') {
            Some((base, extension)) => (base, extension),
            None => (name, ""),
        };
        let bytes = self.tailed(&basis(base, 8), &basis(extension, 3), &name.to_uppercase())?;
        Some(ShortName {
            bytes,
            needs_long: true,
        })
    }

    /// `base~NUMBER.extension` with the first number that is free; `own` is the long name in
    /// upper case, which may be the same.
    fn tailed(&mut self, base: &str, extension: &str, own: &str) -> Option<[u8; 11]> {
        for digits in 1..=6 {
            let base: String = base.chars().take(7 - digits as usize).collect();
            let key = (base, extension.to_owned());
            let mut number = *self.next.get(&key).unwrap_or(&10_u32.pow(digits - 1));
            while number < 10_u32.pow(digits) {
                let bytes = join(
                    format!("{}~{number}", key.0).as_bytes(),
                    extension.as_bytes(),
                );
                number += 1;
                let text = short_to_text(&bytes, 0);
                let free = text == own || !self.folded.contains(&text);
                if free && self.taken.insert(bytes) {
                    self.next.insert(key, number);
                    return Some(bytes);
                }
            }
            self.next.insert(key, number);
        }
        None
    }
}

/// The name itself, when it is a short one.
fn exact(name: &str) -> Option<[u8; 11]> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let fits = (1..=8).contains(&base.len()) && extension.len() <= 3;
    let plain = base.chars().chain(extension.chars()).all(is_short);
    (fits && plain && !name.ends_with('.')).then(|| join(base.as_bytes(), extension.as_bytes()))
}

fn is_short(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || "!#$%&'()-@^_`{}~".contains(c)
}

/// What of `text` a short name may hold: upper case, `_` for what it can't, no dots and spaces.
fn basis(text: &str, max: usize) -> String {
    text.chars()
        .filter(|c| !matches!(c, '.' | ' '))
        .map(|c| c.to_ascii_uppercase())
        .map(|c| if is_short(c) { c } else { '_' })
        .take(max)
        .collect()
}

fn join(base: &[u8], extension: &[u8]) -> [u8; 11] {
    let mut bytes = [b' '; 11];
    let (base_room, extension_room) = bytes.split_at_mut(8);
    base_room
        .iter_mut()
        .zip(base)
        .for_each(|(room, byte)| *room = *byte);
    extension_room
        .iter_mut()
        .zip(extension)
        .for_each(|(room, byte)| *room = *byte);
    bytes
}

/// The checksum that ties long entries to their short one.
pub(super) fn checksum(short: &[u8; 11]) -> u8 {
    short
        .iter()
        .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// How many long-name entries `name` takes.
pub(super) fn long_entry_count(name: &str) -> usize {
    name.encode_utf16().count().div_ceil(UNITS)
}

/// The long-name entries of `name`, in the order of the disk: the last part first.
pub(super) fn long_entries(name: &str, short: &[u8; 11]) -> Vec<LongEntry> {
    let mut units: Vec<u16> = name.encode_utf16().collect();
    let count = units.len().div_ceil(UNITS);
    // A NUL ends the name, then all ones; neither when it fills its entries exactly.
    if !units.len().is_multiple_of(UNITS) {
        units.push(0);
        units.resize(count * UNITS, 0xffff);
    }
    let parts = units.chunks(UNITS).zip(1_u8..=20).rev();
    parts
        .map(|(part, order)| {
            let last = usize::from(order) == count;
            long_entry(
                part,
                if last { order | LAST_LONG_ENTRY } else { order },
                checksum(short),
            )
        })
        .collect()
}

fn long_entry(part: &[u16], order: u8, checksum: u8) -> LongEntry {
    let mut entry = LongEntry {
        ldir_ord: order,
        ldir_name1: [U16::ZERO; 5],
        ldir_attr: ATTR_LONG_NAME,
        ldir_type: 0,
        ldir_chksum: checksum,
        ldir_name2: [U16::ZERO; 6],
        ldir_fst_clus_lo: U16::ZERO,
        ldir_name3: [U16::ZERO; 2],
    };
    let rooms = entry.ldir_name1.iter_mut().chain(&mut entry.ldir_name2);
    for (room, unit) in rooms.chain(&mut entry.ldir_name3).zip(part) {
        room.set(*unit);
    }
    entry
}

/// Collects a long name from its entries, as they come in a directory.
#[derive(Default)]
pub(super) struct LongName {
    /// Parts, the last first.
    parts: Vec<[u16; UNITS]>,
    /// The order that comes next; 0 when the name is whole.
    next: u8,
    checksum: u8,
}

impl LongName {
    /// Takes the next entry; one out of order drops what came before.
    pub fn push(&mut self, entry: &LongEntry) {
        let order = entry.ldir_ord & !LAST_LONG_ENTRY;
        if entry.ldir_ord & LAST_LONG_ENTRY != 0 && (1..=20).contains(&order) {
            *self = Self {
                parts: Vec::new(),
                next: order,
                checksum: entry.ldir_chksum,
            };
        }
        if order == 0 || order != self.next || entry.ldir_chksum != self.checksum {
            *self = Self::default();
            return;
        }
        let units = entry
            .ldir_name1
            .iter()
            .chain(&entry.ldir_name2)
            .chain(&entry.ldir_name3);
        let mut part = [0; UNITS];
        part.iter_mut()
            .zip(units)
            .for_each(|(room, unit)| *room = unit.get());
        self.parts.push(part);
        self.next -= 1;
    }

    /// The name, if it is whole and belongs to this short one. Leaves nothing behind.
    pub fn take(&mut self, short: &[u8; 11]) -> Option<String> {
        let this = std::mem::take(self);
        if this.parts.is_empty() || this.next != 0 || this.checksum != checksum(short) {
            return None;
        }
        let units = this.parts.iter().rev().flatten().copied();
        let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
        String::from_utf16(&units)
            .ok()
            .filter(|name| is_valid(name) && name != "." && name != "..")
    }
}

/// True for a short name that can be: no control characters and none that FAT keeps for itself,
/// a base that is not empty. What is not ASCII belongs to some code page.
pub(super) fn is_short_name(short: &[u8; 11]) -> bool {
    let forbidden = |byte: &u8| *byte < b' ' || b"\"*+,./:;<=>?[\\]|\x7f".contains(byte);
    !short.iter().any(forbidden) && !short.starts_with(b" ")
}

/// A short name as text; bytes that are not ASCII are replaced. Two bits of `cases` (`DIR_NTRes`)
/// say that base and extension are in lower case, which saves a long entry.
pub(super) fn short_to_text(short: &[u8; 11], cases: u8) -> String {
    let (base, extension) = short.split_at(8);
    let text = |bytes: &[u8], lower: u8| {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_end_matches(' ');
        if cases & lower == 0 {
            text.to_owned()
        } else {
            text.to_ascii_lowercase()
        }
    };
    let (base, extension) = (text(base, LOWER_BASE), text(extension, LOWER_EXTENSION));
    if extension.is_empty() {
        base
    } else {
        format!("{base}.{extension}")
    }
}
