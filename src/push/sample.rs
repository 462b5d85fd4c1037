//! Small disks for tests, laid out as i2kit's are.

use i2kit_contract::{LABEL_ESP, LABEL_STORE, LABEL_STORE_VERITY};
use i2kit_format::gpt::{self, SECTOR, types};
use i2kit_format::verity::{Superblock, TreeBuilder, hash_slab};
use i2kit_format::{BLOCK, Guid, SLAB};

use super::source::BLOCK_LEN;

const ALIGN: usize = 1 << 20;

/// A disk in memory.
pub(super) struct Sample {
    pub bytes: Vec<u8>,
    pub root: [u8; 32],
    starts: [usize; 3],
}

impl Sample {
    /// A store whose slabs are zeros where the number is 0, else full of something made of it; `esp` is
    /// what the ESP is full of, and from 2 on it is 2 MiB long.
    pub fn new(slabs: &[u8], esp: u8) -> Self {
        let store: Vec<u8> = slabs.iter().flat_map(|slab| filled(*slab)).collect();
        let level0: Vec<_> = store.chunks(BLOCK_LEN).map(hash_slab).collect();
        let mut builder = TreeBuilder::new();
        level0.iter().for_each(|block| builder.push(block));
        let upper = builder.finish();
        let blocks = store.len() as u64 / BLOCK;
        let mut hash = Superblock::new([1; 16], blocks).to_block().to_vec();
        hash.extend(&upper.blocks);
        level0.iter().for_each(|block| hash.extend(block));
        Self::laid_out(
            &[
                vec![esp; if esp < 2 { ALIGN } else { 2 * ALIGN }],
                store,
                hash,
            ],
            upper.root_hash,
        )
    }

    fn laid_out(parts: &[Vec<u8>; 3], root: [u8; 32]) -> Self {
        let mut bytes = vec![0; ALIGN];
        let mut partitions = Vec::new();
        let mut starts = [0; 3];
        let kinds = [
            (LABEL_ESP, types::ESP, 1),
            (LABEL_STORE, types::ROOT_X86_64, 2),
            (LABEL_STORE_VERITY, types::ROOT_X86_64_VERITY, 3),
        ];
        for (number, (part, (name, type_guid, guid))) in parts.iter().zip(kinds).enumerate() {
            starts[number] = bytes.len();
            let first_lba = bytes.len() as u64 / SECTOR;
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
            partitions.push(gpt::Partition {
                type_guid,
                unique_guid: Guid::from_digest(&[guid; 16]),
                name: name.to_owned(),
                first_lba,
                last_lba: bytes.len() as u64 / SECTOR - 1,
                attributes: 0,
            });
        }
        bytes.resize(bytes.len() + ALIGN, 0);
        let len = bytes.len();
        let guid = Guid::from_digest(&[9; 16]);
        let table = gpt::write(guid, &partitions, len as u64 / SECTOR).unwrap();
        bytes[..table.primary.len()].copy_from_slice(&table.primary);
        bytes[len - table.backup.len()..].copy_from_slice(&table.backup);
        Self {
            bytes,
            root,
            starts,
        }
    }

    /// The first block of the ESP.
    pub fn esp(&self) -> u32 {
        self.first(0)
    }

    /// The first block of the store.
    pub fn store(&self) -> u32 {
        self.first(1)
    }

    /// The first block of the hash partition.
    pub fn hash(&self) -> u32 {
        self.first(2)
    }

    fn first(&self, part: usize) -> u32 {
        u32::try_from(self.starts[part] as u64 / SLAB).unwrap()
    }

    /// A block's bytes.
    pub fn block(&self, number: u32) -> &[u8] {
        let start = number as usize * BLOCK_LEN;
        &self.bytes[start..start + BLOCK_LEN]
    }
}

fn filled(slab: u8) -> Vec<u8> {
    let block = |number: usize| match slab {
        0 => [0; 4096],
        _ => [slab.wrapping_add(u8::try_from(number % 7).unwrap()).max(1); 4096],
    };
    (0..128).flat_map(block).collect()
}
