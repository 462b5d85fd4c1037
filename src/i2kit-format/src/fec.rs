//! Forward error correction for dm-verity: Reed-Solomon parity over the data and the hash tree.
//!
//! A code word is 255 bytes, of which the last `roots` are parity. Byte `b` of round `n` takes its
//! other bytes from byte `b` of the blocks `n`, `n + rounds`, `n + 2 * rounds`, … of what is covered,
//! so that a burst of damage hurts each word a little. What lies past the covered blocks counts as
//! zeros. On the device lie the words' parity bytes, word after word, with nothing before them.
//!
//! Sources: Linux `drivers/md/dm-verity-fec.c`, cryptsetup `lib/verity/{verity_fec,rs_encode_char}.c`:
//! symbols of 8 bits, field polynomial 0x11d, first consecutive root 0, primitive element 1.

use std::io;

use crate::ReadAt;

/// Bytes of a code word.
const WORD: usize = 255;
/// Fewest parity bytes of a word that the kernel takes (`DM_VERITY_FEC_MAX_RSN` is 253).
pub const MIN_ROOTS: u8 = 2;
/// Most parity bytes of a word that the kernel takes (`DM_VERITY_FEC_MIN_RSN` is 231).
pub const MAX_ROOTS: u8 = 24;
/// Bytes of a data block, and of a hash block.
const BLOCK: usize = 4096;
/// Rounds that are worked on at a time: their rows and sums stay in a processor's cache.
const ROUNDS_AT_ONCE: u64 = 32;

/// Parity that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More or fewer parity bytes than the kernel takes.
    #[error("plan error correction: {0} roots, {MIN_ROOTS} to {MAX_ROOTS} are possible")]
    Roots(u8),
    /// What is covered is no whole number of blocks, or none.
    #[error("plan error correction: {0} bytes, a whole number of 4096 is needed")]
    Size(u64),
    /// What is covered cannot be read.
    #[error("compute error correction: read at byte {offset}: {source}")]
    Read {
        /// Where, in what is covered.
        offset: u64,
        /// Why.
        source: io::Error,
    },
}

/// Computes the parity of one device, in groups that do not depend on each other.
#[derive(Clone, Debug)]
pub struct Encoder {
    roots: usize,
    blocks: u64,
    rounds: u64,
    /// From the sums at the roots to the parity bytes, row by row.
    matrix: Vec<Vec<u8>>,
}

impl Encoder {
    /// For `len` bytes: the data, then the hash device from the block after its superblock to its
    /// end, as `veritysetup` covers it.
    ///
    /// # Errors
    /// [`Error::Roots`], [`Error::Size`].
    pub fn new(len: u64, roots: u8) -> Result<Self, Error> {
        if !(MIN_ROOTS..=MAX_ROOTS).contains(&roots) {
            return Err(Error::Roots(roots));
        }
        if len == 0 || !len.is_multiple_of(BLOCK as u64) {
            return Err(Error::Size(len));
        }
        let roots = usize::from(roots);
        let blocks = len / BLOCK as u64;
        Ok(Self {
            roots,
            blocks,
            rounds: blocks.div_ceil((WORD - roots) as u64),
            matrix: parity_matrix(roots),
        })
    }

    /// Blocks that are covered: dm-verity's `fec_blocks`.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Bytes of parity: `roots` blocks for each round.
    #[must_use]
    pub fn parity_len(&self) -> u64 {
        self.rounds.saturating_mul(self.roots as u64 * BLOCK as u64)
    }

    /// How many groups there are; their parity, one after another, is the device's.
    #[must_use]
    pub fn groups(&self) -> u64 {
        self.rounds.div_ceil(ROUNDS_AT_ONCE)
    }

    /// The parity of one group. Reads each covered byte of the group once and holds some
    /// `(roots + 1) * 128 KiB`.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn group<R: ReadAt + ?Sized>(&self, group: u64, covered: &R) -> Result<Vec<u8>, Error> {
        let first = group.saturating_mul(ROUNDS_AT_ONCE);
        let rounds = self.rounds.saturating_sub(first).min(ROUNDS_AT_ONCE);
        let width = usize::try_from(rounds).unwrap_or(0) * BLOCK;
        let mut sums = vec![vec![0; width]; self.roots];
        let mut row = vec![0; width];
        for number in 0..(WORD - self.roots) as u64 {
            self.read_row(number * self.rounds + first, covered, &mut row)?;
            for (root, sum) in sums.iter_mut().enumerate() {
                multiply_add(sum, power(root), &row);
            }
        }
        Ok(self.parity(&sums, width))
    }

    /// Fills a row with the blocks from `block` on, zeros past the last.
    fn read_row<R: ReadAt + ?Sized>(
        &self,
        block: u64,
        covered: &R,
        row: &mut [u8],
    ) -> Result<(), Error> {
        let there = self
            .blocks
            .saturating_sub(block)
            .saturating_mul(BLOCK as u64);
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(row.len());
        let (bytes, past) = row.split_at_mut(there);
        past.fill(0);
        if bytes.is_empty() {
            return Ok(());
        }
        let offset = block.saturating_mul(BLOCK as u64);
        let read = covered.read_exact_at(bytes, offset);
        read.map_err(|source| Error::Read { offset, source })
    }

    /// Word by word, from the words' values at the roots.
    fn parity(&self, sums: &[Vec<u8>], width: usize) -> Vec<u8> {
        let mut out = vec![0; width * self.roots];
        let mut column = vec![0; width];
        for (place, factors) in self.matrix.iter().enumerate() {
            column.fill(0);
            for (sum, factor) in sums.iter().zip(factors) {
                add_multiple(&mut column, *factor, sum);
            }
            let places = out.iter_mut().skip(place).step_by(self.roots);
            places.zip(&column).for_each(|(to, from)| *to = *from);
        }
        out
    }
}

/// `2 * x` in the field.
const fn double(x: u8) -> u8 {
    (x << 1) ^ (0x1d & 0u8.wrapping_sub(x >> 7))
}

/// `sum = sum * factor + row`: a step of Horner's rule.
fn multiply_add(sum: &mut [u8], factor: u8, row: &[u8]) {
    let pairs = sum.iter_mut().zip(row);
    match factor {
        1 => pairs.for_each(|(sum, byte)| *sum ^= byte),
        2 => pairs.for_each(|(sum, byte)| *sum = double(*sum) ^ byte),
        _ => pairs.for_each(|(sum, byte)| *sum = multiply(*sum, factor) ^ byte),
    }
}

/// `out += from * factor`.
fn add_multiple(out: &mut [u8], factor: u8, from: &[u8]) {
    let pairs = out.iter_mut().zip(from);
    pairs.for_each(|(out, byte)| *out ^= multiply(*byte, factor));
}

/// The product, without tables: compilers make vector instructions of it.
#[inline]
const fn multiply(mut x: u8, factor: u8) -> u8 {
    let mut out = 0;
    let mut bit = 0;
    while bit < 8 {
        out ^= x & 0u8.wrapping_sub(factor >> bit & 1);
        x = double(x);
        bit += 1;
    }
    out
}

/// `2^exponent`: the roots of the generator are those from 0 on.
fn power(exponent: usize) -> u8 {
    (0..exponent % 255).fold(1, |value, _| double(value))
}

/// `x^254`, which is `1 / x`.
fn inverse(x: u8) -> u8 {
    (0..253).fold(x, |value, _| multiply(value, x))
}

/// A word's value at every root is zero. With `s` for the data's value at a root `a` (Horner over
/// the data alone), the parity bytes `p` satisfy `p(a) = s * a^roots`: this solves for `p`.
fn parity_matrix(roots: usize) -> Vec<Vec<u8>> {
    // Each row: the powers of a root, the highest first, then what the sums are multiplied with.
    let mut rows: Vec<Vec<u8>> = (0..roots)
        .map(|root| {
            let powers = (0..roots).rev().map(|place| power(root * place));
            let sums = (0..roots).map(|other| {
                if other == root {
                    power(root * roots)
                } else {
                    0
                }
            });
            powers.chain(sums).collect()
        })
        .collect();
    for column in 0..roots {
        eliminate(&mut rows, column);
    }
    rows.into_iter()
        .map(|row| row.into_iter().skip(roots).collect())
        .collect()
}

/// One step of Gauss and Jordan. The roots differ, so there is always a row to divide by.
fn eliminate(rows: &mut [Vec<u8>], column: usize) {
    let entry = |row: &Vec<u8>| row.get(column).copied().unwrap_or(0);
    let Some(pivot) =
        (column..rows.len()).find(|at| rows.get(*at).is_some_and(|row| entry(row) != 0))
    else {
        return;
    };
    rows.swap(column, pivot);
    let Some(row) = rows.get_mut(column) else {
        return;
    };
    let scale = inverse(entry(row));
    row.iter_mut()
        .for_each(|value| *value = multiply(*value, scale));
    let pivot = row.clone();
    for (at, row) in rows.iter_mut().enumerate() {
        let factor = entry(row);
        if at != column && factor != 0 {
            add_multiple(row, factor, &pivot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_one() {
        for x in 1..=255 {
            assert_eq!(multiply(x, inverse(x)), 1, "{x}");
            assert_eq!(multiply(x, 2), double(x));
        }
        assert_eq!(double(0x80), 0x1d);
        assert_eq!(power(255), 1);
    }

    /// By hand: with two roots, the parity of a word whose last data byte is 1 is the generator
    /// polynomial without its first coefficient, (x + 1)(x + 2) = x^2 + 3x + 2.
    #[test]
    fn the_last_byte_of_a_word_gives_the_generator() {
        let mut covered = vec![0; 253 * BLOCK];
        covered[252 * BLOCK] = 1;
        let encoder = Encoder::new(covered.len() as u64, 2).unwrap();
        assert_eq!((encoder.groups(), encoder.parity_len()), (1, 8192));
        let parity = encoder.group(0, covered.as_slice()).unwrap();
        assert_eq!(parity[..4], [3, 2, 0, 0]);
        assert_eq!(parity.len(), 8192);
    }

    #[test]
    fn what_the_kernel_does_not_take_is_refused() {
        assert!(matches!(Encoder::new(4096, 1), Err(Error::Roots(1))));
        assert!(matches!(Encoder::new(4096, 25), Err(Error::Roots(25))));
        assert!(matches!(Encoder::new(4095, 2), Err(Error::Size(4095))));
        assert!(matches!(Encoder::new(0, 2), Err(Error::Size(0))));
        let short = vec![0; 4096];
        let error = Encoder::new(8192, 2).unwrap().group(0, short.as_slice());
        assert!(matches!(
            error,
            Err(Error::Read {
                offset: 0 | 4096,
                ..
            })
        ));
    }
}
