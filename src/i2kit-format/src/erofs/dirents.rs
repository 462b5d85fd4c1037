//! Directory blocks: dirents first, names behind them, strictly in byte order.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U64};

use super::format::Dirent;

const BLOCK: usize = 4096;
const DIRENT: usize = size_of::<Dirent>();

/// One name of a directory, `.` and `..` included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) name: &'a [u8],
    pub(super) nid: u64,
    pub(super) file_type: u8,
}

/// How many of `names` each block takes, and the bytes of the last one: known before any nid is.
pub(super) fn split<'a>(names: impl Iterator<Item = &'a [u8]>) -> (Vec<usize>, usize) {
    let (mut counts, mut used) = (Vec::new(), BLOCK + 1);
    for name in names {
        let need = DIRENT + name.len();
        match counts.last_mut() {
            Some(count) if used + need <= BLOCK => {
                *count += 1;
                used += need;
            }
            _ => {
                counts.push(1);
                used = need;
            }
        }
    }
    (counts, used)
}

/// The directory's data: every block but the last filled up with zeros to 4 KiB.
pub(super) fn emit(names: &[Named<'_>], counts: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = names;
    for count in counts {
        out.resize(out.len().next_multiple_of(BLOCK), 0);
        let (block, after) = rest.split_at(*count.min(&rest.len()));
        rest = after;
        let mut nameoff = block.len() * DIRENT;
        for named in block {
            let dirent = Dirent {
                nid: U64::new(named.nid),
                // Below 4096, since the names of one block fit it.
                nameoff: U16::new(u16::try_from(nameoff).unwrap_or(u16::MAX)),
                file_type: named.file_type,
                reserved: 0,
            };
            out.extend_from_slice(dirent.as_bytes());
            nameoff += named.name.len();
        }
        block.iter().for_each(|named| out.extend_from_slice(named.name));
    }
    out
}
