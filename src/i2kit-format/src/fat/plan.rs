//! The writer: boot sector, FATs and directories in one buffer, then each file in one piece.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros, IntoBytes};

use super::disk::{
    ATTR_ARCHIVE, ATTR_DIRECTORY, ATTR_VOLUME_ID, DirEntry, EPOCH_DATE, FIRST_CLUSTER, FIXED_DISK,
    LAST,
};
use super::geometry::{FATS, Geometry, ROOT_SIZE};
use super::tree::{Child, Slot, Tree};
use super::{Error, names};
use crate::layout::{Content, Layout, Piece};

/// A file to place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Relative, `/` between components: `EFI/BOOT/BOOTX64.EFI`. Directories come of themselves.
    pub path: String,
    /// Bytes, below 4 GiB.
    pub size: u64,
}

/// What else a volume has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Serial number; derive it from content.
    pub volume_id: u32,
    /// Label: 1 to 11 of A-Z, 0-9, space, `-` and `_`; not `NO NAME`, which means that there is
    /// none.
    pub label: String,
    /// The volume has at least this many bytes. It grows to what the files and FAT16 need
    /// (about 2 MiB) and to a whole number of MiB.
    pub min_size: u64,
}

/// Plans a volume that holds these files; file `i` is input `i` of the layout, in one piece.
/// All times are 1980-01-01, FAT's epoch.
///
/// # Errors
/// [`Error`] when a path or the label is bad, a path is there twice, or the files do not fit
/// into the 2 GiB of a FAT16 volume.
pub fn plan(files: &[NewFile], options: &Options) -> Result<Layout, Error> {
    let label = label(&options.label)?;
    let tree = Tree::new(files)?;
    let slots = tree.directories.iter().map(|directory| directory.slots());
    let slots = slots.collect::<Result<Vec<_>, _>>()?;
    let sizes = tree
        .directories
        .iter()
        .zip(&slots)
        .map(|(dir, slots)| dir.size(slots));
    let sizes = sizes.collect::<Result<Vec<_>, _>>()?;
    // The root has its own place before the clusters.
    let below_root = sizes.iter().skip(1).copied();
    let lengths: Vec<u64> = below_root
        .chain(files.iter().map(|file| file.size))
        .collect();
    let geometry = Geometry::of(&lengths, options.min_size)?;
    let chains = chains(&lengths, geometry.cluster)?;
    let (directory_chains, file_chains) = chains.split_at(sizes.len().saturating_sub(1));
    let volume = Volume {
        tree: &tree,
        files,
        geometry,
        directory_chains,
        file_chains,
    };

    let mut meta = geometry
        .boot_sector(options.volume_id, label)?
        .as_bytes()
        .to_vec();
    pad(&mut meta, geometry.reserved)?;
    let table = table(&chains);
    for fat in 1..=u64::from(FATS) {
        meta.extend(&table);
        pad(&mut meta, geometry.reserved + fat * geometry.fat)?;
    }
    for (index, slots) in slots.iter().enumerate() {
        meta.extend(volume.directory(index, slots, label));
        let end = meta.len() as u64;
        let root_end = geometry.cluster_offset(FIRST_CLUSTER);
        let clusters = end
            .saturating_sub(root_end)
            .next_multiple_of(geometry.cluster);
        pad(&mut meta, root_end + clusters)?;
    }
    Ok(Layout {
        size: geometry.size,
        pieces: volume.pieces(meta),
    })
}

fn label(text: &str) -> Result<[u8; 11], Error> {
    let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b" -_".contains(&b);
    let mut label = [b' '; 11];
    match label.get_mut(..text.len()) {
        Some(room) if text.bytes().all(allowed) && is_label(text) => {
            room.copy_from_slice(text.as_bytes());
            Ok(label)
        }
        _ => Err(Error::Label(text.to_owned())),
    }
}

/// True for what can stand as a label: not nothing, not what stands for no label. `fsck.fat`
/// takes no leading space.
fn is_label(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(' ') && text.trim_end() != "NO NAME"
}

fn pad(buffer: &mut Vec<u8>, len: u64) -> Result<(), Error> {
    let too_large = Error::VolumeTooLarge {
        size: len,
        max: usize::MAX as u64,
    };
    buffer.resize(usize::try_from(len).map_err(|_| too_large)?, 0);
    Ok(())
}

/// A contiguous run of clusters; `first` is 0 when there are none.
#[derive(Clone, Copy)]
struct Chain {
    first: u16,
    count: u16,
}

/// One chain after the other, without gaps.
fn chains(lengths: &[u64], cluster: u64) -> Result<Vec<Chain>, Error> {
    let mut next = FIRST_CLUSTER;
    let mut chains = Vec::with_capacity(lengths.len());
    for len in lengths {
        let too_large = || Error::VolumeTooLarge {
            size: *len,
            max: u64::from(u16::MAX) * cluster,
        };
        let count = u16::try_from(len.div_ceil(cluster)).map_err(|_| too_large())?;
        chains.push(Chain {
            first: if count == 0 { 0 } else { next },
            count,
        });
        next = next.checked_add(count).ok_or_else(too_large)?;
    }
    Ok(chains)
}

/// The entries of a FAT that are in use.
fn table(chains: &[Chain]) -> Vec<u8> {
    // The first two entries: the media descriptor, and "cleanly unmounted, no errors".
    let mut entries = vec![u16::from(FIXED_DISK) | 0xff00, LAST];
    for chain in chains.iter().filter(|chain| chain.count > 0) {
        let last = chain.first + (chain.count - 1);
        entries.extend((chain.first..last).map(|cluster| cluster + 1));
        entries.push(LAST);
    }
    entries
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect()
}

struct Volume<'a> {
    tree: &'a Tree,
    files: &'a [NewFile],
    geometry: Geometry,
    /// Of all directories but the root.
    directory_chains: &'a [Chain],
    file_chains: &'a [Chain],
}

impl Volume<'_> {
    fn pieces(&self, meta: Vec<u8>) -> Vec<Piece> {
        let files = self.files.iter().zip(self.file_chains).enumerate();
        let files = files
            .filter(|(_, (file, _))| file.size > 0)
            .map(|(index, (file, chain))| Piece {
                offset: self.geometry.cluster_offset(chain.first),
                content: Content::Input {
                    index,
                    size: file.size,
                },
            });
        std::iter::once(Piece {
            offset: 0,
            content: Content::Bytes(meta),
        })
        .chain(files)
        .collect()
    }

    fn directory(&self, index: usize, slots: &[Slot<'_>], label: [u8; 11]) -> Vec<u8> {
        let mut bytes = Vec::new();
        if index == 0 {
            bytes.extend(entry(label, ATTR_VOLUME_ID, 0, 0).as_bytes());
        } else {
            let parent = self
                .tree
                .directories
                .get(index)
                .map_or(0, |directory| directory.parent);
            bytes.extend(dots(b".", self.directory_cluster(index)).as_bytes());
            bytes.extend(dots(b"..", self.directory_cluster(parent)).as_bytes());
        }
        for slot in slots {
            if slot.short.needs_long {
                bytes.extend(names::long_entries(slot.name, &slot.short.bytes).as_bytes());
            }
            bytes.extend(self.slot_entry(slot).as_bytes());
        }
        bytes
    }

    /// 0 for the root, which is what `..` in a directory below it holds.
    fn directory_cluster(&self, index: usize) -> u16 {
        let chain = index
            .checked_sub(1)
            .and_then(|index| self.directory_chains.get(index));
        chain.map_or(0, |chain| chain.first)
    }

    fn slot_entry(&self, slot: &Slot<'_>) -> DirEntry {
        match slot.child {
            Child::Directory(index) => entry(
                slot.short.bytes,
                ATTR_DIRECTORY,
                self.directory_cluster(index),
                0,
            ),
            Child::File(index) => {
                let first = self.file_chains.get(index).map_or(0, |chain| chain.first);
                // The tree refused files of 4 GiB and more.
                let size = self
                    .files
                    .get(index)
                    .and_then(|file| u32::try_from(file.size).ok());
                entry(slot.short.bytes, ATTR_ARCHIVE, first, size.unwrap_or(0))
            }
        }
    }
}

fn dots(name: &[u8], cluster: u16) -> DirEntry {
    let mut bytes = [b' '; 11];
    bytes
        .iter_mut()
        .zip(name)
        .for_each(|(room, byte)| *room = *byte);
    entry(bytes, ATTR_DIRECTORY, cluster, 0)
}

fn entry(name: [u8; 11], attributes: u8, cluster: u16, size: u32) -> DirEntry {
    DirEntry {
        dir_name: name,
        dir_attr: attributes,
        dir_crt_date: U16::new(EPOCH_DATE),
        dir_lst_acc_date: U16::new(EPOCH_DATE),
        dir_wrt_date: U16::new(EPOCH_DATE),
        dir_fst_clus_lo: U16::new(cluster),
        dir_file_size: U32::new(size),
        ..DirEntry::new_zeroed()
    }
}

const _: () = assert!(ROOT_SIZE.is_multiple_of(super::disk::SECTOR));
