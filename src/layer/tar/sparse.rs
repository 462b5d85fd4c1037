//! Sparse files: GNU's old format, and the map of PAX 1.0.

use super::header::{BLOCK, number};

/// Maps may have this many segments.
const MAX_SEGMENTS: usize = 1 << 20;

/// A run of a sparse file that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where in the file, bytes.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// A 24-byte record; `None` when it is unused.
pub(super) fn segment(record: &[u8]) -> Result<Option<Segment>, &'static str> {
    let Some((offset, len)) = record.split_at_checked(12) else {
        return Ok(None);
    };
    if offset.first() == Some(&0) {
        return Ok(None);
    }
    let part = |field| u64::try_from(number(field)?).map_err(|_| "a sparse segment is negative");
    Ok(Some(Segment {
        offset: part(offset)?,
        len: part(len)?,
    }))
}

/// Reads a block of further records; answers whether another block follows.
pub(super) fn extended(
    block: &[u8; BLOCK],
    segments: &mut Vec<Segment>,
) -> Result<bool, &'static str> {
    let (records, rest) = block.split_at(21 * 24);
    for record in records.chunks_exact(24) {
        segments.extend(segment(record)?);
    }
    if segments.len() > MAX_SEGMENTS {
        return Err("a sparse file has more than 1,048,576 segments");
    }
    Ok(rest.first().is_some_and(|byte| *byte != 0))
}

/// Refuses segments that overlap, run past the file or do not add up to what is stored; drops
/// empty ones.
pub(super) fn check(
    segments: Vec<Segment>,
    size: u64,
    stored: u64,
) -> Result<Vec<Segment>, &'static str> {
    let (mut end, mut sum) = (0u64, 0u64);
    for one in &segments {
        let after = one
            .offset
            .checked_add(one.len)
            .ok_or("a sparse segment overflows")?;
        if one.offset < end || after > size {
            return Err("sparse segments overlap or run past the file");
        }
        end = after;
        sum += one.len;
    }
    if sum != stored {
        return Err("sparse segments do not add up to the stored data");
    }
    Ok(segments.into_iter().filter(|one| one.len > 0).collect())
}

/// Decimal lines: a count, then offset and length of each segment.
#[derive(Default)]
pub(super) struct MapParser {
    numbers: Vec<u64>,
    current: Option<u64>,
}

impl MapParser {
    /// Takes the next block; answers the segments once the map is whole.
    pub(super) fn feed(&mut self, block: &[u8]) -> Result<Option<Vec<Segment>>, &'static str> {
        for byte in block {
            match (byte, self.current) {
                (b'0'..=b'9', current) => {
                    let digit = u64::from(byte - b'0');
                    let value = current.unwrap_or(0).checked_mul(10);
                    let value = value.and_then(|value| value.checked_add(digit));
                    self.current = Some(value.ok_or("a sparse map's number is too large")?);
                }
                (b'\n', Some(value)) => {
                    self.numbers.push(value);
                    self.current = None;
                    if let Some(segments) = self.whole()? {
                        return Ok(Some(segments));
                    }
                }
                _ => return Err("a sparse map is not decimal lines"),
            }
        }
        Ok(None)
    }

    fn whole(&self) -> Result<Option<Vec<Segment>>, &'static str> {
        let Some((count, rest)) = self.numbers.split_first() else {
            return Ok(None);
        };
        let count = usize::try_from(*count)
            .ok()
            .filter(|count| *count <= MAX_SEGMENTS);
        let count = count.ok_or("a sparse file has more than 1,048,576 segments")?;
        Ok((rest.len() == 2 * count).then(|| pairs(rest)))
    }
}

/// Offset and length, alternating.
pub(super) fn pairs(numbers: &[u64]) -> Vec<Segment> {
    let pairs = numbers.chunks_exact(2);
    pairs
        .filter_map(|pair| match pair {
            [offset, len] => Some(Segment {
                offset: *offset,
                len: *len,
            }),
            _ => None,
        })
        .collect()
}
