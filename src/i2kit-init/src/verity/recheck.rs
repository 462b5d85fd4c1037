//! With error correction the kernel may log a hash block as corrupted and repair it all the same: to
//! repair one, `fec_read_bufs` (`drivers/md/dm-verity-fec.c`) looks up digests that lie in the very
//! block, and gives up on that only, with the message, at its fourth recursion. So a reported block
//! is tried again: what can be read has been repaired and has matched its digest.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use crate::kmsg::Corruption;

const BLOCK: usize = 4096;
/// Digests in a hash block.
const FAN_OUT: u64 = 128;

/// Reads blocks of the store again.
#[derive(Debug)]
pub struct Recheck {
    mapped: File,
    data_blocks: u64,
}

impl Recheck {
    /// For the mapped device; past the page cache, which may hold what was read long ago.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn new(mapped: &Path, data_blocks: u64) -> io::Result<Self> {
        let mapped = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(mapped)?;
        Ok(Self {
            mapped,
            data_blocks,
        })
    }

    /// True when the block, or one below it in the hash tree, can be read.
    pub fn is_repaired(&self, corruption: &Corruption) -> bool {
        let block = if corruption.metadata {
            first_below(corruption.block, self.data_blocks)
        } else {
            Some(corruption.block)
        };
        block.is_some_and(|block| self.read(block).is_ok())
    }

    fn read(&self, block: u64) -> io::Result<()> {
        // O_DIRECT wants an aligned buffer.
        let mut buffer = vec![0; 2 * BLOCK];
        let start = buffer.as_ptr().align_offset(BLOCK);
        let aligned = buffer
            .get_mut(start..)
            .and_then(|rest| rest.get_mut(..BLOCK));
        let aligned = aligned.ok_or(io::ErrorKind::InvalidInput)?;
        self.mapped
            .read_exact_at(aligned, block.saturating_mul(BLOCK as u64))
    }
}

/// The first data block below a hash block, whose number counts from the hash device's start: the
/// superblock, then the levels from the top.
fn first_below(hash_block: u64, data_blocks: u64) -> Option<u64> {
    let mut levels = Vec::new();
    let (mut below, mut covers) = (data_blocks, 1u64);
    while below > 1 {
        below = below.div_ceil(FAN_OUT);
        covers = covers.checked_mul(FAN_OUT)?;
        levels.push((below, covers));
    }
    let mut index = hash_block.checked_sub(1)?;
    for (blocks, covers) in levels.into_iter().rev() {
        match index.checked_sub(blocks) {
            Some(rest) => index = rest,
            None => return index.checked_mul(covers),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_blocks_stand_above_data_blocks() {
        // 20,000 data blocks: 1 block, 2 blocks, 157 blocks of digests.
        for (hash_block, data_block) in [
            (0, None),
            (1, Some(0)),
            (2, Some(0)),
            (3, Some(128 * 128)),
            (4, Some(0)),
            (5, Some(128)),
            (160, Some(156 * 128)),
            (161, None),
        ] {
            assert_eq!(first_below(hash_block, 20_000), data_block, "{hash_block}");
        }
        assert_eq!(first_below(1, 1), None);
        assert_eq!(first_below(u64::MAX, u64::MAX), None);
    }

    #[test]
    fn what_can_be_read_is_repaired() {
        let path = std::env::temp_dir().join(format!("i2kit-recheck-{}", std::process::id()));
        std::fs::write(&path, [7; 2 * BLOCK]).unwrap();
        let recheck = Recheck {
            mapped: File::open(&path).unwrap(),
            data_blocks: 2,
        };
        let at = |block, metadata| recheck.is_repaired(&Corruption { block, metadata });
        assert!(at(1, false) && at(1, true));
        assert!(!at(2, false) && !at(2, true));
        std::fs::remove_file(path).unwrap();
    }
}
