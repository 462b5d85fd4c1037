//! A volume that was made of a snapshot.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;

use i2kit_format::ReadAt;

use super::super::random::Random;

/// A volume. A block that the snapshot lacks has whatever bytes: other ones in every volume.
pub struct Volume {
    blocks: BTreeMap<u32, Arc<Vec<u8>>>,
    block_size: usize,
    len: u64,
    seed: u64,
}

impl Volume {
    pub fn new(blocks: BTreeMap<u32, Arc<Vec<u8>>>, block_size: u32, gib: u64) -> Self {
        Self {
            blocks,
            block_size: usize::try_from(block_size).unwrap(),
            len: gib << 30,
            seed: RandomState::new().hash_one(gib),
        }
    }

    /// True when the snapshot has that block.
    pub fn has(&self, index: u32) -> bool {
        self.blocks.contains_key(&index)
    }

    /// A block's bytes.
    pub fn block(&self, index: u32) -> Arc<Vec<u8>> {
        match self.blocks.get(&index) {
            Some(block) => Arc::clone(block),
            None => {
                let mut random = Random::new(self.seed ^ u64::from(index));
                Arc::new(random.bytes(self.block_size))
            }
        }
    }
}

impl ReadAt for Volume {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if offset + buf.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = self.block_size as u64;
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let block = self.block(u32::try_from(at / size).unwrap());
            let from = usize::try_from(at % size).unwrap();
            let len = rest.len().min(self.block_size - from);
            let (part, more) = rest.split_at_mut(len);
            part.copy_from_slice(&block[from..from + len]);
            at += len as u64;
            rest = more;
        }
        Ok(())
    }
}
