//! The store, its hash tree, and the files in it.

use std::collections::BTreeSet;

use i2kit_contract::{LABEL_STORE, LABEL_STORE_VERITY};
use i2kit_format::erofs::{FileType, ReadError, ReadInode, Reader};
use i2kit_format::verity::{self, Superblock};
use i2kit_format::{BLOCK, ReadAt, SLAB};
use rayon::prelude::*;

use super::{Error, Fault, Known, Parts, check_zeros, read};
use crate::assemble::content_uuid;
use crate::disk::Blob;
use crate::inspect::check_blocks;

/// Bytes of a file read at once.
const CHUNK: usize = 1 << 20;

/// The store and its hash tree, whose blocks match the root hash.
pub(super) struct Checked {
    /// What the tree covers.
    pub data: Blob,
    /// The hash partition, whole.
    pub hash: Blob,
}

/// Checks each block of the two partitions.
pub(super) fn check(parts: &Parts<'_>, known: &Known<'_>) -> Result<Checked, Error> {
    let (store, hash) = (parts.part(LABEL_STORE)?, parts.part(LABEL_STORE_VERITY)?);
    let blocks = check_superblock(parts, &store, &hash)?;
    check_blocks(&store, &hash, &parts.root_hash)
        .map_err(|error| fault(parts, &store, known, &error))?;
    let data_len = blocks * BLOCK;
    check_zeros(&store, data_len, LABEL_STORE, parts.start(LABEL_STORE))?;
    let hash_len = verity::hash_blocks(blocks) * BLOCK;
    let start = parts.start(LABEL_STORE_VERITY);
    check_zeros(&hash, hash_len, LABEL_STORE_VERITY, start)?;
    let data = store.part(0, data_len);
    Ok(Checked {
        data: data.ok_or_else(|| Error::Short(LABEL_STORE.to_owned()))?,
        hash,
    })
}

/// The root hash does not cover the superblock, but all of it is known. Answers the data blocks.
fn check_superblock(parts: &Parts<'_>, store: &Blob, hash: &Blob) -> Result<u64, Error> {
    let fault = |reason: String| {
        let fault = Fault::new(LABEL_STORE_VERITY, reason).structure("superblock");
        let fault = fault.block(0);
        Error::from(fault.offset(parts.start(LABEL_STORE_VERITY)))
    };
    let mut block = [0; verity::HASH_BLOCK];
    hash.read_exact_at(&mut block, 0)
        .map_err(read(LABEL_STORE_VERITY))?;
    let found = Superblock::parse(&block).map_err(|error| fault(error.to_string()))?;
    let blocks = found.data_blocks;
    let most = store.len() / BLOCK;
    let is_whole = blocks.is_multiple_of(SLAB / BLOCK);
    if blocks > most || most - blocks > SLAB / BLOCK || !is_whole {
        let reason = format!("{blocks} data blocks, in a partition of {most}");
        return Err(fault(reason));
    }
    let expected = Superblock::new(content_uuid(&parts.root_hash), blocks);
    if expected.to_block() == block {
        return Ok(blocks);
    }
    Err(fault("not as it was built".to_owned()))
}

/// Names the block that does not match.
fn fault(parts: &Parts<'_>, store: &Blob, known: &Known<'_>, error: &verity::Error) -> Error {
    match *error {
        verity::Error::CorruptData { block } => {
            let fault = Fault::new(LABEL_STORE, "it does not match the hash tree");
            let offset = parts.start(LABEL_STORE) + block * BLOCK;
            place(fault.offset(offset), store, block, known).into()
        }
        verity::Error::CorruptHash { level, offset, .. } => {
            let reason = "it does not match the one above, or the root hash";
            let fault = Fault::new(LABEL_STORE_VERITY, reason);
            let fault = fault.structure(format!("level {level}"));
            let fault = fault.block(offset / BLOCK);
            fault
                .offset(parts.start(LABEL_STORE_VERITY) + offset)
                .into()
        }
        _ => Fault::new(LABEL_STORE_VERITY, error.to_string()).into(),
    }
}

/// Says whose a block of the store is, as far as the store can be read.
#[must_use]
pub fn place(fault: Fault, store: &dyn ReadAt, block: u64, known: &Known<'_>) -> Fault {
    let owner = Reader::open(store)
        .ok()
        .and_then(|store| store.owner(block));
    let mut fault = fault.block(block);
    fault.layer = known.layer(block * BLOCK);
    match owner {
        None if block == 0 => fault.structure("superblock"),
        None => fault,
        Some(owner) => fault.file(owner.path).structure(owner.role.to_string()),
    }
}

/// Reads every directory, attribute, link and file; answers how many inodes there are.
pub(super) fn check_tree(store: &Blob) -> Result<u64, Error> {
    let superblock = |reason: String| Fault::new(LABEL_STORE, reason).structure("superblock");
    let reader = Reader::open(store).map_err(|error| superblock(error.to_string()))?;
    let (found, most) = (u64::from(reader.summary().blocks), store.len() / BLOCK);
    if found > most {
        let reason = format!("it has {found} blocks, the hash tree covers {most}");
        return Err(superblock(reason).into());
    }
    let all = walk(&reader)?;
    let bad = all.par_iter().find_map_first(|(path, inode)| {
        let error = check_inode(&reader, inode).err()?;
        Some(in_file(path, &error))
    });
    match bad {
        None => Ok(all.len() as u64),
        Some(fault) => Err(fault.into()),
    }
}

fn check_inode(reader: &Reader<'_, Blob>, inode: &ReadInode) -> Result<(), ReadError> {
    reader.xattrs(inode)?;
    match inode.file_type {
        FileType::Regular => read_whole(reader, inode),
        FileType::Symlink => reader.read_link(inode).map(drop),
        _ => Ok(()),
    }
}

fn in_file(path: &[u8], error: &ReadError) -> Fault {
    Fault::new(LABEL_STORE, error.to_string()).file(shown(path))
}

fn shown(path: &[u8]) -> String {
    let path: &[u8] = if path.is_empty() { b"/" } else { path };
    path.escape_ascii().to_string()
}

/// Every inode, by one of its paths.
fn walk(reader: &Reader<'_, Blob>) -> Result<Vec<(Vec<u8>, ReadInode)>, Error> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    let root = reader.root().map_err(|error| in_file(b"", &error))?;
    let mut pending = vec![(Vec::new(), root)];
    while let Some((path, inode)) = pending.pop() {
        let is_directory = inode.file_type == FileType::Directory;
        let is_new = seen.insert(inode.nid);
        if is_directory && !is_new {
            let fault = Fault::new(LABEL_STORE, "the directory has another name already");
            return Err(fault.file(shown(&path)).into());
        }
        if is_directory {
            pending.extend(below(reader, &path, &inode)?);
        }
        if is_new {
            out.push((path, inode));
        }
    }
    Ok(out)
}

/// What a directory names: each name once and in order, since the kernel searches by halves.
fn below(
    reader: &Reader<'_, Blob>,
    path: &[u8],
    directory: &ReadInode,
) -> Result<Vec<(Vec<u8>, ReadInode)>, Error> {
    let entries = reader.read_dir(directory);
    let entries = entries.map_err(|error| in_file(path, &error))?;
    if !entries.is_sorted_by(|one, next| one.name < next.name) {
        let fault = Fault::new(LABEL_STORE, "names are not in order, or there twice");
        let fault = fault.file(shown(path));
        return Err(fault.structure("directory entries").into());
    }
    let named = entries.into_iter();
    let named = named.filter(|entry| !matches!(&*entry.name, b"." | b".."));
    let named = named.map(|entry| {
        let path = [path, b"/", &*entry.name].concat();
        let inode = reader.inode(entry.nid);
        let inode = inode.map_err(|error| in_file(&path, &error))?;
        Ok((path, inode))
    });
    named.collect()
}

fn read_whole(reader: &Reader<'_, Blob>, inode: &ReadInode) -> Result<(), ReadError> {
    let len = usize::try_from(inode.size).unwrap_or(CHUNK).min(CHUNK);
    let mut buffer = vec![0; len];
    let mut at = 0;
    while at < inode.size {
        let got = reader.read_file_at(inode, &mut buffer, at)?;
        if got == 0 {
            break;
        }
        at += got as u64;
    }
    Ok(())
}
