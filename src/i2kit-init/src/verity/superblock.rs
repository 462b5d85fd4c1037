//! The superblock at the start of the hash partition (cryptsetup, `lib/verity/verity.c`).
//!
//! It is not covered by the root hash. Nothing in it is trusted: a wrong value yields a table
//! under which every read fails verification.

/// Bytes to read for [`Superblock::parse`].
pub const SIZE: usize = 512;
/// The only block size the builder writes.
pub const BLOCK_SIZE: u32 = 4096;

/// What a dm-verity table needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Number of 4096-byte data blocks.
    pub data_blocks: u64,
    /// Up to 256 bytes.
    pub salt: Vec<u8>,
}

/// A superblock that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer than [`SIZE`] bytes.
    #[error("verity superblock is cut short")]
    Short,
    /// Not `verity\0\0`.
    #[error("no verity superblock")]
    Signature,
    /// A field with a value that this guest does not know.
    #[error("verity superblock: {field} is {found}, expected {expected}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What is there.
        found: String,
        /// What is known.
        expected: &'static str,
    },
}

impl Superblock {
    /// Parses the first [`SIZE`] bytes of the hash partition.
    ///
    /// # Errors
    /// [`Error`] for anything but version 1, hash type 1, SHA-256 and 4096-byte blocks.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.get(..8).ok_or(Error::Short)? != b"verity\0\0" {
            return Err(Error::Signature);
        }
        expect("version", le32(bytes, 8)?, 1, "1")?;
        expect("hash type", le32(bytes, 12)?, 1, "1")?;
        let algorithm = bytes.get(32..64).ok_or(Error::Short)?;
        let name = algorithm
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        if name != b"sha256" {
            return Err(Error::Field {
                field: "algorithm",
                found: String::from_utf8_lossy(name).into_owned(),
                expected: "sha256",
            });
        }
        expect("data block size", le32(bytes, 64)?, BLOCK_SIZE, "4096")?;
        expect("hash block size", le32(bytes, 68)?, BLOCK_SIZE, "4096")?;
        let data_blocks = u64::from(le32(bytes, 72)?) | u64::from(le32(bytes, 76)?) << 32;
        let salt_size = usize::from(u16::from_le_bytes(array(bytes, 80)?));
        if salt_size > 256 {
            return Err(Error::Field {
                field: "salt size",
                found: salt_size.to_string(),
                expected: "at most 256",
            });
        }
        let salt = bytes.get(88..88 + salt_size).ok_or(Error::Short)?.to_vec();
        Ok(Self { data_blocks, salt })
    }
}

fn expect(
    field: &'static str,
    found: u32,
    value: u32,
    expected: &'static str,
) -> Result<(), Error> {
    if found == value {
        return Ok(());
    }
    Err(Error::Field {
        field,
        found: found.to_string(),
        expected,
    })
}

fn le32(bytes: &[u8], offset: usize) -> Result<u32, Error> {
    Ok(u32::from_le_bytes(array(bytes, offset)?))
}

fn array<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N], Error> {
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .ok_or(Error::Short)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = vec![0; SIZE];
        bytes[..8].copy_from_slice(b"verity\0\0");
        bytes[8] = 1;
        bytes[12] = 1;
        bytes[32..38].copy_from_slice(b"sha256");
        bytes[64..68].copy_from_slice(&4096u32.to_le_bytes());
        bytes[68..72].copy_from_slice(&4096u32.to_le_bytes());
        bytes[72..80].copy_from_slice(&0x1_0000_0002u64.to_le_bytes());
        bytes[80] = 2;
        bytes[88..90].copy_from_slice(&[0xab, 0xcd]);
        bytes
    }

    #[test]
    fn a_superblock_is_read() {
        let superblock = Superblock::parse(&sample()).unwrap();
        assert_eq!(superblock.data_blocks, 0x1_0000_0002);
        assert_eq!(superblock.salt, [0xab, 0xcd]);
    }

    #[test]
    fn other_kinds_are_refused_by_field() {
        let mut bytes = sample();
        bytes[64] = 1;
        let error = Superblock::parse(&bytes).unwrap_err();
        assert!(
            error.to_string().contains("data block size is 4097"),
            "{error}"
        );
        assert_eq!(Superblock::parse(&[0; SIZE]), Err(Error::Signature));
        assert_eq!(Superblock::parse(b"verity\0\0"), Err(Error::Short));
    }

    /// The independent oracle: `veritysetup format` writes what this module reads.
    #[test]
    fn what_veritysetup_writes_is_read() {
        let folder = std::env::temp_dir().join(format!("i2kit-verity-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (data, hash) = (folder.join("data"), folder.join("hash"));
        std::fs::write(&data, vec![7u8; 40 * 4096]).unwrap();
        let status = std::process::Command::new("veritysetup")
            .args(["format", "--salt=c0ffee"])
            .args([&data, &hash])
            .stdout(std::process::Stdio::null())
            .status()
            .expect("this test needs veritysetup (Debian package cryptsetup-bin)");
        assert!(status.success());
        let superblock = Superblock::parse(&std::fs::read(&hash).unwrap()).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(superblock.data_blocks, 40);
        assert_eq!(superblock.salt, [0xc0, 0xff, 0xee]);
    }

    proptest! {
        #[test]
        fn no_input_panics(tail in proptest::collection::vec(any::<u8>(), 0..600), keep in 0..SIZE) {
            let _ = Superblock::parse(&tail);
            let mut bytes = sample();
            bytes.truncate(keep);
            bytes.extend(tail);
            let _ = Superblock::parse(&bytes);
        }
    }
}
