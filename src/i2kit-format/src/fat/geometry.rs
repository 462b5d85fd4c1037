//! How large a volume and its parts are.

use zerocopy::FromZeros;
use zerocopy::little_endian::{U16, U32};

use super::disk::{BootSector, ENTRY, FIRST_CLUSTER, FIXED_DISK, SECTOR, SECTOR_U16, SIGNATURE};
use super::tree::ROOT_ENTRIES;
use super::{Error, MAX_CLUSTERS, MIN_CLUSTERS};

/// A volume's size is a multiple of this, so that it fills a partition.
const ROUND: u64 = 1 << 20;
/// Cluster counts this near to a limit are avoided: some drivers miscount there (specification,
/// section 3.5).
const MARGIN: u32 = 16;
const FEWEST: u64 = (MIN_CLUSTERS + MARGIN) as u64;
const MOST: u64 = (MAX_CLUSTERS - MARGIN) as u64;
/// The data region starts at a page, and clusters are pages when the size allows, so that files
/// can be cloned into place.
const PAGE: u64 = 4096;
/// Bytes of a cluster, the better ones first; larger ones than the last are not understood
/// everywhere.
const CLUSTERS: [u64; 7] = [PAGE, 2048, 1024, SMALLEST, 8192, 16384, LARGEST];
const SMALLEST: u64 = 512;
const LARGEST: u64 = 32768;
/// The last whole MiB with fewer than [`MOST`] of the largest clusters.
const LARGEST_VOLUME: u64 = 2047 << 20;
pub(super) const FATS: u8 = 2;
pub(super) const ROOT_SIZE: u64 = ROOT_ENTRIES as u64 * ENTRY as u64;

/// A volume's parts. All sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// Of the whole volume, a multiple of 1 MiB.
    pub size: u64,
    /// Of one cluster.
    pub cluster: u64,
    /// Of the boot sector and the reserved sectors after it.
    pub reserved: u64,
    /// Of one FAT.
    pub fat: u64,
}

impl Geometry {
    /// The best geometry that has room for these files and directories (lengths in bytes).
    pub fn of(lengths: &[u64], min_size: u64) -> Result<Self, Error> {
        CLUSTERS
            .into_iter()
            .find_map(|cluster| Self::with_cluster(cluster, lengths, min_size))
            .ok_or_else(|| {
                let clusters = lengths.iter().map(|len| len.div_ceil(LARGEST));
                let needed = clusters.fold(0_u64, u64::saturating_add);
                Error::VolumeTooLarge {
                    size: needed.saturating_mul(LARGEST).max(min_size),
                    max: Self::most_data(),
                }
            })
    }

    /// Bytes of all clusters of the largest volume.
    fn most_data() -> u64 {
        Self::with_size(LARGEST_VOLUME, LARGEST).clusters() * LARGEST
    }

    fn with_cluster(cluster: u64, lengths: &[u64], min_size: u64) -> Option<Self> {
        let needed = lengths
            .iter()
            .try_fold(0_u64, |n, len| n.checked_add(len.div_ceil(cluster)))?;
        // A volume too small for FAT16 grows until its smallest clusters are enough.
        let needed = if cluster == SMALLEST {
            needed.max(FEWEST)
        } else {
            needed
        };
        if needed > MOST {
            return None;
        }
        let mut size = min_size
            .max(needed * cluster)
            .checked_next_multiple_of(ROUND)?;
        while size <= LARGEST_VOLUME {
            let geometry = Self::with_size(size, cluster);
            if geometry.clusters() >= needed {
                let fits = (FEWEST..=MOST).contains(&geometry.clusters());
                return fits.then_some(geometry);
            }
            size += ROUND;
        }
        None
    }

    fn with_size(size: u64, cluster: u64) -> Self {
        // As if there were nothing but clusters: a few entries too many.
        let entries = size / cluster + u64::from(FIRST_CLUSTER);
        let fat = (entries * 2).next_multiple_of(SECTOR);
        let before_data = SECTOR + u64::from(FATS) * fat + ROOT_SIZE;
        let reserved = SECTOR + before_data.next_multiple_of(PAGE) - before_data;
        Self {
            size,
            cluster,
            reserved,
            fat,
        }
    }

    /// Where the first cluster lies.
    fn data_offset(&self) -> u64 {
        self.reserved + u64::from(FATS) * self.fat + ROOT_SIZE
    }

    fn clusters(&self) -> u64 {
        self.size.saturating_sub(self.data_offset()) / self.cluster
    }

    /// Where a cluster lies.
    pub fn cluster_offset(&self, cluster: u16) -> u64 {
        self.data_offset() + u64::from(cluster.saturating_sub(FIRST_CLUSTER)) * self.cluster
    }

    pub fn boot_sector(&self, volume_id: u32, label: [u8; 11]) -> Result<BootSector, Error> {
        let too_large = || Error::VolumeTooLarge {
            size: self.size,
            max: Self::most_data(),
        };
        let sectors = u32::try_from(self.size / SECTOR).map_err(|_| too_large())?;
        let sectors_16 = u16::try_from(sectors).ok();
        let field = |bytes: u64| {
            u16::try_from(bytes / SECTOR)
                .map(U16::new)
                .map_err(|_| too_large())
        };
        Ok(BootSector {
            // A jump over the BPB; firmware without UEFI would then halt in the zeros' stead.
            bs_jmp_boot: [0xeb, 0x3c, 0x90],
            bs_oem_name: *b"I2KIT   ",
            bpb_byts_per_sec: U16::new(SECTOR_U16),
            bpb_sec_per_clus: u8::try_from(self.cluster / SECTOR).map_err(|_| too_large())?,
            bpb_rsvd_sec_cnt: field(self.reserved)?,
            bpb_num_fats: FATS,
            bpb_root_ent_cnt: U16::new(ROOT_ENTRIES),
            bpb_tot_sec_16: U16::new(sectors_16.unwrap_or(0)),
            bpb_media: FIXED_DISK,
            bpb_fat_sz_16: field(self.fat)?,
            bpb_sec_per_trk: U16::new(63),
            bpb_num_heads: U16::new(255),
            bpb_tot_sec_32: U32::new(if sectors_16.is_some() { 0 } else { sectors }),
            bs_drv_num: 0x80,
            bs_boot_sig: 0x29,
            bs_vol_id: U32::new(volume_id),
            bs_vol_lab: label,
            bs_fil_sys_type: *b"FAT16   ",
            signature_word: U16::new(SIGNATURE),
            ..BootSector::new_zeroed()
        })
    }
}
