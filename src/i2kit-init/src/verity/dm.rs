//! Device-mapper's ioctls (`include/uapi/linux/dm-ioctl.h`), as far as one verity target needs.

use std::{
    fs::{File, OpenOptions},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use crate::{
    cmdline::RootHash,
    fault::{Context, Fault},
    verity::superblock::{BLOCK_SIZE, Superblock},
};

const CONTROL: &str = "/dev/mapper/control";
/// `sizeof(struct dm_ioctl)`.
const HEADER: usize = 312;
/// `sizeof(struct dm_target_spec)`.
const TARGET: usize = 40;
/// Lengths of `name`, `uuid` and `target_type` with their terminating zeros.
const NAME_LEN: usize = 128;
const TYPE_LEN: usize = 16;

const DM_READONLY_FLAG: u32 = 1;
const DM_DEV_CREATE: u32 = 3;
const DM_DEV_SUSPEND: u32 = 6;
const DM_TABLE_LOAD: u32 = 9;

/// The verity target's length and parameters
/// (`Documentation/admin-guide/device-mapper/verity.rst`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    sectors: u64,
    params: String,
}

/// The device with a verity target's parity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FecDevice {
    /// Its node.
    pub device: PathBuf,
    /// Parity bytes of a code word of 255.
    pub roots: u8,
    /// Blocks of data and hash device that it covers.
    pub blocks: u64,
}

impl FecDevice {
    /// Eight words of the table.
    fn params(&self) -> String {
        format!(
            " use_fec_from_device {} fec_roots {} fec_blocks {} fec_start 0",
            self.device.display(),
            self.roots,
            self.blocks
        )
    }
}

impl Table {
    /// The store's table. `ignore_zero_blocks`: a block whose digest is that of zeros reads as
    /// zeros whatever the disk holds, since cloud disks may return anything for a block never
    /// written. The hash tree starts in the block after the superblock.
    /// With `fec` the kernel repairs what does not match its digest, and checks it again.
    pub fn verity(
        data: &Path,
        hash: &Path,
        superblock: &Superblock,
        root: RootHash,
        fec: Option<&FecDevice>,
    ) -> Self {
        let salt: String = match superblock.salt.as_slice() {
            [] => "-".into(),
            salt => salt.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        Self {
            sectors: superblock
                .data_blocks
                .saturating_mul(u64::from(BLOCK_SIZE / 512)),
            params: format!(
                "1 {} {} {BLOCK_SIZE} {BLOCK_SIZE} {} 1 sha256 {} {salt} {} ignore_zero_blocks{}",
                data.display(),
                hash.display(),
                superblock.data_blocks,
                root.hex(),
                if fec.is_some() { 9 } else { 1 },
                fec.map(FecDevice::params).unwrap_or_default(),
            ),
        }
    }
}

/// Creates a read-only mapped device and returns its node in `/dev`, which devtmpfs makes.
///
/// # Errors
/// The device-mapper is missing or refuses the table.
pub fn create(name: &str, table: &Table) -> Result<PathBuf, Fault> {
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open(CONTROL)
        .context("open", CONTROL)?;
    let mut header = request(name, 0, 0);
    ioctl(&control, DM_DEV_CREATE, &mut header).context("create mapped device", name)?;
    let minor = minor_of(&header);
    let mut load = table_request(name, table);
    ioctl(&control, DM_TABLE_LOAD, &mut load).context("load verity table", &table.params)?;
    // Without DM_SUSPEND_FLAG the call resumes, which makes the loaded table the live one.
    let mut resume = request(name, DM_READONLY_FLAG, 0);
    ioctl(&control, DM_DEV_SUSPEND, &mut resume).context("activate mapped device", name)?;
    Ok(PathBuf::from(format!("/dev/dm-{minor}")))
}

fn request(name: &str, flags: u32, target_count: u32) -> Vec<u8> {
    let mut bytes = vec![0u8; HEADER];
    put32(&mut bytes, 0, 4); // version 4.0.0: any kernel since 2.6.15 takes it
    put32(&mut bytes, 12, u32::try_from(HEADER).unwrap_or(u32::MAX)); // data_size
    put32(&mut bytes, 16, u32::try_from(HEADER).unwrap_or(u32::MAX)); // data_start
    put32(&mut bytes, 20, target_count);
    put32(&mut bytes, 28, flags);
    put(&mut bytes, 48, name.as_bytes(), NAME_LEN - 1);
    bytes
}

fn table_request(name: &str, table: &Table) -> Vec<u8> {
    let mut bytes = request(name, DM_READONLY_FLAG, 1);
    let params = table.params.as_bytes();
    // Parameters end with a zero and the next target would be 8-byte aligned.
    let spec_len = (TARGET + params.len() + 1).next_multiple_of(8);
    bytes.resize(HEADER + spec_len, 0);
    put(&mut bytes, HEADER + 8, &table.sectors.to_le_bytes(), 8); // length; sector_start is 0
    put32(
        &mut bytes,
        HEADER + 20,
        u32::try_from(spec_len).unwrap_or(u32::MAX),
    ); // next
    put(&mut bytes, HEADER + 24, b"verity", TYPE_LEN - 1);
    put(&mut bytes, HEADER + TARGET, params, params.len());
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    put32(&mut bytes, 12, size);
    bytes
}

/// Low 32 bits of `dev` in the kernel's encoding: minor bits 0-7 and 20-31, major 8-19.
fn minor_of(header: &[u8]) -> u32 {
    let dev = header
        .get(40..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u32::from_le_bytes(*bytes));
    (dev & 0xff) | ((dev >> 12) & 0xf_ff00)
}

fn put32(bytes: &mut [u8], offset: usize, value: u32) {
    put(bytes, offset, &value.to_le_bytes(), 4);
}

/// Copies at most `limit` bytes of `value` to `offset`; the buffers here are always long enough.
fn put(bytes: &mut [u8], offset: usize, value: &[u8], limit: usize) {
    if let Some(rest) = bytes.get_mut(offset..) {
        for (to, from) in rest.iter_mut().zip(value.iter().take(limit)) {
            *to = *from;
        }
    }
}

fn ioctl(control: &File, number: u32, buffer: &mut [u8]) -> std::io::Result<()> {
    // _IOWR(0xfd, number, struct dm_ioctl)
    let code = 3 << 30 | 312 << 16 | 0xfd << 8 | libc::c_ulong::from(number);
    // SAFETY: the header's data_size, set by `request` and `table_request`, is the buffer's
    // length, and the kernel neither reads nor writes beyond it.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), code, buffer.as_mut_ptr()) };
    if result < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table_with(fec: Option<&FecDevice>) -> Table {
        let superblock = Superblock {
            data_blocks: 5,
            salt: Vec::new(),
        };
        let root = RootHash::parse(&"0f".repeat(32)).unwrap();
        Table::verity(
            Path::new("/dev/vda2"),
            Path::new("/dev/vda3"),
            &superblock,
            root,
            fec,
        )
    }

    fn table() -> Table {
        table_with(None)
    }

    #[test]
    fn the_table_has_the_kernels_words_in_order() {
        let table = table();
        assert_eq!(table.sectors, 40);
        let hash = "0f".repeat(32);
        assert_eq!(
            table.params,
            format!("1 /dev/vda2 /dev/vda3 4096 4096 5 1 sha256 {hash} - 1 ignore_zero_blocks")
        );
    }

    #[test]
    fn error_correction_adds_eight_words() {
        let fec = FecDevice {
            device: "/dev/vda4".into(),
            roots: 2,
            blocks: 7,
        };
        let params = table_with(Some(&fec)).params;
        let expected = " - 9 ignore_zero_blocks use_fec_from_device /dev/vda4 fec_roots 2 \
                        fec_blocks 7 fec_start 0";
        assert!(params.ends_with(expected), "{params}");
        let optional = params.split(' ').skip_while(|word| *word != "9").skip(1);
        assert_eq!(optional.count(), 9);
    }

    #[test]
    fn the_buffer_has_the_kernels_layout() {
        let table = table();
        let bytes = table_request("store", &table);
        assert_eq!(bytes.len() % 8, 0);
        let word =
            |offset: usize| u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap());
        assert_eq!(word(12) as usize, bytes.len());
        assert_eq!(word(16), 312);
        assert_eq!(word(20), 1);
        assert_eq!(word(28), DM_READONLY_FLAG);
        assert_eq!(&bytes[48..54], b"store\0");
        assert_eq!(word(312 + 8), 40);
        assert_eq!(word(312 + 20) as usize, bytes.len() - 312);
        assert_eq!(&bytes[336..343], b"verity\0");
        assert!(bytes[352..].starts_with(table.params.as_bytes()));
        assert_eq!(bytes[352 + table.params.len()], 0);
    }

    #[test]
    fn minors_above_255_are_decoded() {
        let mut header = vec![0; HEADER];
        put32(&mut header, 40, 0x0010_fe01);
        assert_eq!(minor_of(&header), 0x101);
    }
}
