//! The reader: every entry of a volume, with where its bytes lie.

use std::collections::VecDeque;

use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, IntoBytes};

use super::disk::{
    ATTR_DIRECTORY, ATTR_LONG_NAME, ATTR_VOLUME_ID, BootSector, DirEntry, END_OF_CHAIN, ENTRY,
    FIRST_CLUSTER, FREE, KANJI, LongEntry, SECTOR, SECTOR_LEN, SECTOR_U16, SIGNATURE,
};
use super::names::{LongName, is_short_name, short_to_text};
use super::{Error, MAX_CLUSTERS, MAX_DIRECTORY, MAX_ENTRIES, MAX_PATH, MIN_CLUSTERS};
use crate::ReadAt;

/// How the entries of a directory for itself and for the one above are called.
const DOTS: [&[u8; 11]; 2] = [b".          ", b"..         "];

/// A volume that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Serial number.
    pub volume_id: u32,
    /// The boot sector's label, without padding; what is not UTF-8 is replaced.
    pub label: String,
    /// Bytes.
    pub size: u64,
    /// Bytes of a cluster.
    pub cluster_size: u32,
    /// All files and directories; a directory before what it holds.
    pub entries: Vec<Entry>,
}

/// A file or a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From the root, `/` between components.
    pub path: String,
    /// A directory, not a file.
    pub directory: bool,
    /// Bytes; 0 for a directory.
    pub size: u64,
    /// Last write, seconds since 1970, its local time taken as UTC.
    pub mtime: i64,
    /// Where its bytes lie, in order; together exactly `size` bytes, none for a directory.
    pub extents: Vec<Extent>,
}

/// A run of bytes of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// From the volume's start, bytes.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

impl Volume {
    /// The entry at a path, as FAT compares names.
    #[must_use]
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        let wanted = path.to_uppercase();
        self.entries
            .iter()
            .find(|entry| entry.path.to_uppercase() == wanted)
    }
}

/// Lists a FAT16 volume.
///
/// # Errors
/// [`Error`] when it is no FAT16 volume of 512-byte sectors, is damaged, or cannot be read.
pub fn read<R: ReadAt + ?Sized>(volume: &R) -> Result<Volume, Error> {
    let boot = boot_sector(volume)?;
    let parts = Parts::of(&boot, volume.len())?;
    let mut fat = vec![U16::ZERO; parts.clusters + usize::from(FIRST_CLUSTER)];
    volume.read_exact_at(fat.as_mut_slice().as_mut_bytes(), parts.fat_offset)?;
    let mut walk = Walk {
        volume,
        used: vec![false; fat.len()],
        fat,
        parts,
        entries: Vec::new(),
        pending: VecDeque::new(),
    };
    let mut root = vec![0; walk.parts.root_size];
    volume.read_exact_at(&mut root, walk.parts.root_offset)?;
    walk.directory(&root, "")?;
    while let Some((path, chain)) = walk.pending.pop_front() {
        let bytes = walk.clusters(&chain, &path)?;
        walk.directory(&bytes, &path)?;
    }
    Ok(Volume {
        volume_id: boot.bs_vol_id.get(),
        label: String::from_utf8_lossy(&boot.bs_vol_lab)
            .trim_end()
            .to_owned(),
        size: walk.parts.size,
        cluster_size: u32::from(boot.bpb_sec_per_clus) * u32::from(SECTOR_U16),
        entries: walk.entries,
    })
}

/// What lies at `offset` of a FAT16 volume, for messages.
///
/// # Errors
/// [`Error`] when it has no boot sector that makes sense.
pub fn structure<R: ReadAt + ?Sized>(volume: &R, offset: u64) -> Result<&'static str, Error> {
    let parts = Parts::of(&boot_sector(volume)?, volume.len())?;
    let second_fat = parts.fat_offset + parts.root_offset.saturating_sub(parts.fat_offset) / 2;
    Ok(match offset {
        _ if offset < parts.fat_offset => "boot sector",
        _ if offset < second_fat => "first FAT",
        _ if offset < parts.root_offset => "second FAT",
        _ if offset < parts.data_offset => "root directory",
        _ => "clusters",
    })
}

fn boot_sector<R: ReadAt + ?Sized>(volume: &R) -> Result<BootSector, Error> {
    if volume.len() < SECTOR {
        return Err(Error::NotFat);
    }
    let mut bytes = [0; SECTOR_LEN];
    volume.read_exact_at(&mut bytes, 0)?;
    let boot = BootSector::read_from_bytes(&bytes).map_err(|_| Error::NotFat)?;
    if boot.signature_word.get() != SIGNATURE || !matches!(boot.bs_jmp_boot, [0xeb | 0xe9, ..]) {
        return Err(Error::NotFat);
    }
    Ok(boot)
}

/// Where a volume's parts lie, in bytes.
struct Parts {
    size: u64,
    fat_offset: u64,
    root_offset: u64,
    root_size: usize,
    data_offset: u64,
    cluster: usize,
    clusters: usize,
}

impl Parts {
    fn of(boot: &BootSector, len: u64) -> Result<Self, Error> {
        let check = |ok: bool, field, value: u64| {
            if ok {
                Ok(())
            } else {
                Err(Error::BootSector { field, value })
            }
        };
        let sector = u64::from(boot.bpb_byts_per_sec.get());
        check(sector == SECTOR, "BPB_BytsPerSec", sector)?;
        let per_cluster = u64::from(boot.bpb_sec_per_clus);
        check(per_cluster.is_power_of_two(), "BPB_SecPerClus", per_cluster)?;
        let reserved = u64::from(boot.bpb_rsvd_sec_cnt.get());
        check(reserved > 0, "BPB_RsvdSecCnt", reserved)?;
        let fats = u64::from(boot.bpb_num_fats);
        check(fats > 0, "BPB_NumFATs", fats)?;
        let fat_size = u64::from(boot.bpb_fat_sz_16.get());
        check(fat_size > 0, "BPB_FATSz16", fat_size)?;

        let sectors_16 = u64::from(boot.bpb_tot_sec_16.get());
        let sectors_32 = u64::from(boot.bpb_tot_sec_32.get());
        let sectors = if sectors_16 > 0 {
            sectors_16
        } else {
            sectors_32
        };
        let size = sectors * SECTOR;
        if size > len {
            return Err(Error::Truncated { volume: size, len });
        }
        let root_size = usize::from(boot.bpb_root_ent_cnt.get()) * ENTRY;
        let root = reserved + fats * fat_size;
        let data = root + (root_size as u64).div_ceil(SECTOR);
        let clusters = sectors.saturating_sub(data) / per_cluster;
        // The count alone tells FAT12, FAT16 and FAT32 apart (specification, section 3.5).
        let clusters = u32::try_from(clusters)
            .ok()
            .filter(|count| (MIN_CLUSTERS..=MAX_CLUSTERS).contains(count))
            .ok_or(Error::NotFat16(clusters))?;
        let entries = u64::from(clusters) + u64::from(FIRST_CLUSTER);
        check(entries * 2 <= fat_size * SECTOR, "BPB_FATSz16", fat_size)?;
        Ok(Self {
            size,
            fat_offset: reserved * SECTOR,
            root_offset: root * SECTOR,
            root_size,
            data_offset: data * SECTOR,
            cluster: usize::from(boot.bpb_sec_per_clus) * SECTOR_LEN,
            clusters: clusters as usize,
        })
    }

    fn cluster_offset(&self, cluster: u16) -> u64 {
        let index = u64::from(cluster.saturating_sub(FIRST_CLUSTER));
        self.data_offset + index * self.cluster as u64
    }
}

struct Walk<'a, R: ?Sized> {
    volume: &'a R,
    parts: Parts,
    fat: Vec<U16>,
    /// Clusters that a chain went through: each belongs to one file, so that the work is bounded
    /// and no directory holds itself.
    used: Vec<bool>,
    entries: Vec<Entry>,
    /// Directories that were named and not yet read, by path, with their clusters: one at a time
    /// lies in memory.
    pending: VecDeque<(String, Vec<u16>)>,
}

impl<R: ReadAt + ?Sized> Walk<'_, R> {
    fn directory(&mut self, bytes: &[u8], path: &str) -> Result<(), Error> {
        let mut long = LongName::default();
        for record in bytes.chunks_exact(ENTRY) {
            let Ok(entry) = DirEntry::read_from_bytes(record) else {
                continue;
            };
            match entry.dir_name {
                [0, ..] => break,
                [FREE, ..] => long = LongName::default(),
                _ if entry.dir_attr & 0x3f == ATTR_LONG_NAME => {
                    if let Ok(part) = LongEntry::read_from_bytes(record) {
                        long.push(&part);
                    }
                }
                name if DOTS.contains(&&name) => long = LongName::default(),
                _ if entry.dir_attr & ATTR_VOLUME_ID != 0 => long = LongName::default(),
                _ => {
                    let name = long.take(&entry.dir_name);
                    self.entry(&entry, name, path)?;
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, long: Option<String>, parent: &str) -> Result<(), Error> {
        if self.entries.len() >= MAX_ENTRIES {
            return Err(Error::TooManyEntries);
        }
        let path = path(parent, &long.map_or_else(|| short_name(entry, parent), Ok)?)?;
        let first = entry.dir_fst_clus_lo.get();
        let chain = if first == 0 {
            Vec::new()
        } else {
            self.chain(first, &path)?
        };
        let directory = entry.dir_attr & ATTR_DIRECTORY != 0;
        let (size, extents) = if directory {
            self.pending.push_back((path.clone(), chain));
            (0, Vec::new())
        } else {
            let size = u64::from(entry.dir_file_size.get());
            (size, self.extents(&chain, size, &path)?)
        };
        self.entries.push(Entry {
            mtime: unix_time(entry.dir_wrt_date.get(), entry.dir_wrt_time.get()),
            path,
            directory,
            size,
            extents,
        });
        Ok(())
    }

    /// The clusters from `first` to the chain's end.
    fn chain(&mut self, first: u16, path: &str) -> Result<Vec<u16>, Error> {
        let mut chain = Vec::new();
        let mut cluster = first;
        while cluster < END_OF_CHAIN {
            let index = usize::from(cluster);
            let error = || Error::Chain {
                path: path.to_owned(),
                cluster,
            };
            let used = self.used.get_mut(index).ok_or_else(error)?;
            if *used || cluster < FIRST_CLUSTER {
                return Err(error());
            }
            *used = true;
            chain.push(cluster);
            cluster = self.fat.get(index).map_or(0, |entry| entry.get());
        }
        Ok(chain)
    }

    /// The clusters' bytes, neighbours joined, cut to the file's size.
    fn extents(&self, chain: &[u16], size: u64, path: &str) -> Result<Vec<Extent>, Error> {
        let cluster = self.parts.cluster as u64;
        let length = chain.len() as u64 * cluster;
        if size.div_ceil(cluster) != chain.len() as u64 {
            return Err(Error::ChainLength {
                path: path.to_owned(),
                size,
                chain: length,
            });
        }
        let mut extents: Vec<Extent> = Vec::new();
        let mut left = size;
        for offset in chain
            .iter()
            .map(|cluster| self.parts.cluster_offset(*cluster))
        {
            let len = left.min(cluster);
            left -= len;
            match extents.last_mut() {
                Some(last) if last.offset + last.len == offset => last.len += len,
                _ => extents.push(Extent { offset, len }),
            }
        }
        Ok(extents)
    }

    /// A directory's bytes.
    fn clusters(&self, chain: &[u16], path: &str) -> Result<Vec<u8>, Error> {
        let size = chain.len() as u64 * self.parts.cluster as u64;
        if size > MAX_DIRECTORY {
            return Err(Error::DirectorySize {
                path: path.to_owned(),
                size,
            });
        }
        let mut bytes = vec![0; chain.len() * self.parts.cluster];
        for (room, cluster) in bytes.chunks_exact_mut(self.parts.cluster).zip(chain) {
            self.volume
                .read_exact_at(room, self.parts.cluster_offset(*cluster))?;
        }
        Ok(bytes)
    }
}

/// The short name of an entry without a long one.
fn short_name(entry: &DirEntry, parent: &str) -> Result<String, Error> {
    let mut short = entry.dir_name;
    if let [first @ KANJI, ..] = &mut short {
        *first = FREE;
    }
    let name = short_to_text(&short, entry.dir_nt_res);
    if is_short_name(&short) {
        Ok(name)
    } else {
        Err(Error::Name {
            path: parent.to_owned(),
            name,
        })
    }
}

fn path(parent: &str, name: &str) -> Result<String, Error> {
    let path = if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}/{name}")
    };
    let units = path.encode_utf16().count();
    if units > MAX_PATH {
        Err(Error::PathLength { path, units })
    } else {
        Ok(path)
    }
}

/// Seconds since 1970 of a FAT date and time (specification, section 6.1).
fn unix_time(date: u16, time: u16) -> i64 {
    let (year, month, day) = (
        date >> 9,
        (date >> 5 & 0xf).clamp(1, 12),
        (date & 0x1f).max(1),
    );
    let seconds = i64::from(time >> 11) * 3600
        + i64::from(time >> 5 & 0x3f) * 60
        + i64::from(time & 0x1f) * 2;
    days_since_1970(1980 + i64::from(year), i64::from(month), i64::from(day)) * 86_400 + seconds
}

/// Days of the Gregorian calendar, counted in years that start in March, so that the leap day is
/// a year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let before_year = year * 365 + year / 4 - year / 100 + year / 400;
    let before_month = (month * 153 + 2) / 5;
    before_year + before_month + day - 1 - 719_468
}
