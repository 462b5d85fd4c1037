//! The disk: GPT, ESP, store, the store's hash tree and error correction, and room for the scratch partition.

use i2kit_contract::{LABEL_ESP, LABEL_STORE, LABEL_STORE_FEC, LABEL_STORE_VERITY};
use i2kit_format::gpt::{self, types};
use i2kit_format::{Guid, layout};
use sha2::{Digest, Sha256};

use super::boot;
use super::place::Like;
use super::store::{self, Store};
use crate::disk::{Blob, Builder, Disk, OverlapError};

const SECTOR: u64 = 512;
/// Partitions start and end at multiples of this. No specification asks for the ends, but
/// `sgdisk -v` warns of others, and it costs nothing: the next one starts there anyway.
pub(super) const ALIGN: u64 = 1 << 20;
/// GPT attribute bit 60: mount read-only (Discoverable Partitions Specification).
const READ_ONLY: u64 = 1 << 60;

/// Why there is no disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The partition table cannot be written.
    #[error("write GPT: {0}")]
    Gpt(#[from] gpt::Error),
    /// The ESP cannot be laid out.
    #[error(transparent)]
    Esp(#[from] boot::Error),
    /// Two parts overlap: a fault of this module.
    #[error(transparent)]
    Overlap(#[from] OverlapError),
}

/// A disk and where its parts lie.
#[derive(Clone, Debug)]
pub struct Partitioned {
    /// The disk.
    pub disk: Disk,
    /// The partitions in their order.
    pub partitions: Vec<gpt::Partition>,
}

/// Bytes of a partition for so many.
#[must_use]
pub fn partition_len(len: u64) -> u64 {
    len.next_multiple_of(ALIGN)
}

/// Bytes behind the last partition of a disk of `len` that no table takes: room for the scratch
/// partition.
#[must_use]
pub fn free_len(table: &gpt::Table, len: u64) -> u64 {
    let ends = table.partitions.iter().map(|one| one.offset() + one.size());
    len.saturating_sub(ends.max().unwrap_or(0) + ALIGN)
}

/// The error correction's partition.
pub struct Parity {
    /// Its own GUID.
    pub guid: Guid,
    /// Its content, part after part.
    pub parts: Vec<Blob>,
}

/// Lays the disk out. `scratch` bytes stay free behind the last partition. A partition that `like`
/// has starts there, as long as it fits and at most a quarter of the disk up to it stays free for that.
///
/// # Errors
/// [`Error`].
pub fn partition(
    store: Store,
    parity: Option<Parity>,
    uki: Vec<u8>,
    scratch: u64,
    like: &Like,
) -> Result<Partitioned, Error> {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(b"i2kit disk\0")
        .chain_update(store.root_hash)
        .chain_update(Sha256::digest(&uki))
        .finalize()
        .into();
    let [a, b, c, d] = *digest.first_chunk().unwrap_or(&[0; 4]);
    let esp = boot::esp(uki.len() as u64, u32::from_le_bytes([a, b, c, d]))?;
    let (store_guid, verity_guid) = Guid::root_hash_halves(&store.root_hash);
    let mut plan = Plan {
        like,
        next: ALIGN,
        partitions: Vec::new(),
    };
    let esp_at = plan.add(LABEL_ESP, types::ESP, derived(&digest, b"esp"), esp.size, 0);
    let store_at = plan.add(
        LABEL_STORE,
        types::ROOT_X86_64,
        store_guid,
        store.data_len,
        READ_ONLY,
    );
    let verity_at = plan.add(
        LABEL_STORE_VERITY,
        types::ROOT_X86_64_VERITY,
        verity_guid,
        store.hash_len,
        READ_ONLY,
    );
    let parity = parity.map(|Parity { guid, parts }| {
        let len = parts.iter().map(Blob::len).sum();
        let at = plan.add(LABEL_STORE_FEC, types::VERITY_FEC, guid, len, READ_ONLY);
        (at, parts)
    });
    let len = plan.next + scratch.next_multiple_of(ALIGN) + ALIGN;
    let table = gpt::write(derived(&digest, b"disk"), &plan.partitions, len / SECTOR)?;
    let mut disk = Builder::new();
    disk.place(0, Blob::bytes(table.primary))?;
    place_layout(esp, esp_at, &Blob::bytes(uki), &mut disk)?;
    store::place(store.data, store_at, &mut disk)?;
    store::place(store.hash, verity_at, &mut disk)?;
    if let Some((mut at, parity)) = parity {
        for part in parity {
            let len = part.len();
            disk.place(at, part)?;
            at += len;
        }
    }
    disk.place(len - table.backup.len() as u64, Blob::bytes(table.backup))?;
    Ok(Partitioned {
        disk: disk.finish(len),
        partitions: plan.partitions,
    })
}

struct Plan<'a> {
    like: &'a Like,
    next: u64,
    partitions: Vec<gpt::Partition>,
}

impl Plan<'_> {
    /// Adds a partition for `len` bytes; answers where it starts.
    fn add(&mut self, name: &str, type_guid: Guid, guid: Guid, len: u64, attributes: u64) -> u64 {
        let start = self.start(name);
        self.next = start + partition_len(len);
        self.partitions.push(gpt::Partition {
            type_guid,
            unique_guid: guid,
            name: name.to_owned(),
            first_lba: start / SECTOR,
            last_lba: self.next / SECTOR - 1,
            attributes,
        });
        start
    }

    /// Where the next partition starts.
    fn start(&self, name: &str) -> u64 {
        let kept = self.like.partitions.get(name).filter(|old| {
            let free = old.checked_sub(self.next);
            old.is_multiple_of(ALIGN) && free.is_some_and(|free| free <= **old / 4)
        });
        kept.copied().unwrap_or(self.next)
    }
}

fn derived(digest: &[u8; 32], what: &[u8]) -> Guid {
    let hash: [u8; 32] = Sha256::new()
        .chain_update(digest)
        .chain_update(what)
        .finalize()
        .into();
    Guid::from_digest(hash.first_chunk().unwrap_or(&[0; 16]))
}

fn place_layout(
    layout: layout::Layout,
    at: u64,
    input: &Blob,
    disk: &mut Builder,
) -> Result<(), OverlapError> {
    layout.pieces.into_iter().try_for_each(|piece| {
        let blob = match piece.content {
            layout::Content::Bytes(bytes) => Blob::bytes(bytes),
            layout::Content::Input { .. } => input.clone(),
        };
        disk.place(at + piece.offset, blob)
    })
}
