//! Which blocks were put into a snapshot: a file that only grows.
//!
//! Each record has its own checksum, so the end that a power loss tore off or filled with zeros is
//! noticed. A block that was put and is not in the file is put again, which does no harm.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::disk::SlabDigest;

/// A record: index (little-endian), SHA-256, CRC-32C of both.
const RECORD: usize = 4 + 32 + 4;
/// The first record's index: its digest is that of the token.
const HEADER: u32 = u32::MAX;

/// The blocks put so far.
#[derive(Clone, Debug)]
pub struct BlockLog {
    file: Arc<File>,
}

impl BlockLog {
    /// Opens the log of the snapshot begun with this token, and reads it. One of another snapshot is
    /// emptied.
    pub(super) fn open(path: &Path, token: &str) -> io::Result<(Self, Vec<(u32, SlabDigest)>)> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut records = sound(&bytes);
        let of_token = (HEADER, Sha256::digest(token).into());
        if records.first() == Some(&of_token) {
            let end = (records.len() * RECORD) as u64;
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))?;
            records.remove(0);
        } else {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(&record(of_token.0, &of_token.1))?;
            records.clear();
        }
        let file = Arc::new(file);
        Ok((Self { file }, records))
    }

    /// Notes a block that was put.
    ///
    /// # Errors
    /// The system's answer.
    pub fn append(&self, index: u32, sha256: &SlabDigest) -> io::Result<()> {
        (&*self.file).write_all(&record(index, sha256))
    }

    /// Waits until all of it is on the disk.
    ///
    /// # Errors
    /// The system's answer.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn record(index: u32, sha256: &SlabDigest) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    let (number, rest) = record.split_at_mut(4);
    number.copy_from_slice(&index.to_le_bytes());
    let (digest, _) = rest.split_at_mut(32);
    digest.copy_from_slice(sha256);
    let (body, crc) = record.split_at_mut(36);
    crc.copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    record
}

/// The records up to the first that is torn.
fn sound(bytes: &[u8]) -> Vec<(u32, SlabDigest)> {
    let (records, _) = bytes.as_chunks::<RECORD>();
    let parse = |bytes: &[u8; RECORD]| {
        let (index, rest) = bytes.split_first_chunk::<4>()?;
        let (sha256, _) = rest.split_first_chunk::<32>()?;
        let index = u32::from_le_bytes(*index);
        (record(index, sha256) == *bytes).then_some((index, *sha256))
    };
    records.iter().map_while(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(path: &Path, token: &str) -> Vec<u32> {
        let (_, blocks) = BlockLog::open(path, token).unwrap();
        blocks.into_iter().map(|(index, _)| index).collect()
    }

    #[test]
    fn a_torn_end_costs_the_blocks_in_it_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blocks");
        let (log, found) = BlockLog::open(&path, "one").unwrap();
        assert!(found.is_empty());
        for index in [7, 3, 70_000] {
            let digest = [u8::try_from(index % 256).unwrap(); 32];
            log.append(index, &digest).unwrap();
        }
        log.sync().unwrap();
        drop(log);
        let whole = std::fs::read(&path).unwrap();
        for len in 0..=whole.len() {
            let records = (len / RECORD).saturating_sub(1);
            for fill in [0, 8, 80] {
                // Lost, or the file's length was written and its bytes were not.
                let mut torn = whole[..len].to_vec();
                torn.extend(vec![0; fill]);
                std::fs::write(&path, &torn).unwrap();
                assert_eq!(blocks(&path, "one"), [7, 3, 70_000][..records], "{len}");
                // What is written next follows what is sound.
                let (log, _) = BlockLog::open(&path, "one").unwrap();
                log.append(5, &[5; 32]).unwrap();
                let (_, found) = BlockLog::open(&path, "one").unwrap();
                assert_eq!(found.len(), records + 1);
                assert_eq!(found.last(), Some(&(5, [5; 32])));
            }
        }
    }

    #[test]
    fn another_snapshots_log_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blocks");
        let (log, _) = BlockLog::open(&path, "one").unwrap();
        log.append(7, &[7; 32]).unwrap();
        assert_eq!(blocks(&path, "one"), [7]);
        assert!(blocks(&path, "two").is_empty());
        assert!(blocks(&path, "one").is_empty());
    }
}
