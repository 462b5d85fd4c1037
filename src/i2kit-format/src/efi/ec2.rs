//! The `UefiData` of EC2's RegisterImage, but for compression and Base64, as awslabs/python-uefivars
//! reads and writes it (`aws.py`):
//!
//! ```text
//! "AMZNUEFI"  u32 CRC-32C of all that follows  u32 version 0
//! zlib:       u64 count, then for each variable
//!             name (UTF-8) and data, each behind a u64 with its length;
//!             vendor GUID; u32 attributes; and when those ask for authentication:
//!             EFI_TIME, a digest of 32 bytes behind a u64 with its length
//! ```
//!
//! All numbers are little-endian. The zlib stream may use a preset dictionary; one without says so
//! in its header and is read all the same.

use zerocopy::IntoBytes;

use super::disk::EfiTime;
use super::{TIME_BASED_AUTHENTICATED, Variable};

const MAGIC: &[u8; 8] = b"AMZNUEFI";
const VERSION: u32 = 0;
/// Of the certificate that signed the variable; none is known of one that was just made.
const NO_DIGEST: [u8; 32] = [0; 32];

/// What goes into the zlib stream.
#[must_use]
pub fn entries(variables: &[Variable]) -> Vec<u8> {
    let mut out = (variables.len() as u64).to_le_bytes().to_vec();
    let sized = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.extend((bytes.len() as u64).to_le_bytes());
        out.extend(bytes);
    };
    for variable in variables {
        sized(&mut out, variable.name.as_bytes());
        sized(&mut out, &variable.data);
        out.extend(variable.vendor.to_mixed_endian());
        out.extend(variable.attributes.to_le_bytes());
        if variable.attributes & TIME_BASED_AUTHENTICATED != 0 {
            out.extend(EfiTime::from(variable.time).as_bytes());
            sized(&mut out, &NO_DIGEST);
        }
    }
    out
}

/// The file's bytes, to be written in Base64, around the zlib stream of [`entries`].
#[must_use]
pub fn wrap(zlib: &[u8]) -> Vec<u8> {
    let mut rest = VERSION.to_le_bytes().to_vec();
    rest.extend(zlib);
    let mut out = MAGIC.to_vec();
    out.extend(crc32c::crc32c(&rest).to_le_bytes());
    out.extend(rest);
    out
}
