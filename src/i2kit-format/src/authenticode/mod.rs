//! Authenticode: what a signature of a PE file covers, and the table that holds signatures
//! (Microsoft, "Windows Authenticode Portable Executable Signature Format", 2008; PE/COFF
//! specification, revision 11, "The Attribute Certificate Table").
//!
//! The digest leaves out the checksum, the table and the table's data directory. The specification
//! hashes headers and sections, then what lies behind them, by sums of sizes; tools read that
//! differently where sections leave gaps or overlap. Such files are refused: in all others every
//! byte but the three is covered, whoever computes it (EDK II `DxeImageVerificationLib`).

mod read;
mod write;

pub use read::{Certificate, certificates, check_sum, digest};
pub use write::{attach, detach};

use crate::uki;

/// Table and entries start at multiples of this.
const ALIGN: usize = 8;
/// `WIN_CERT_REVISION_2_0`.
const REVISION_2: u16 = 0x0200;
/// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
const PKCS_SIGNED_DATA: u16 = 0x0002;
/// Bytes of a table that is read: signatures take some KiB.
const MAX_TABLE: u64 = 1 << 20;

/// A PE file that cannot be signed, or whose signatures cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(transparent)]
    Pe(#[from] uki::Error),
    #[error("read PE: {0}")]
    Io(#[from] std::io::Error),
    #[error("read PE: {0} data directories, a signature needs the fifth")]
    NoDirectory(u32),
    #[error("read PE: SizeOfHeaders is {size}, the headers end at {end}")]
    SizeOfHeaders { size: u32, end: u64 },
    #[error("read PE: section data at {found}, the part before it ends at {expected}")]
    Gap { expected: u64, found: u64 },
    #[error("read PE: certificate table at {offset}, {size} bytes, in a file of {len}")]
    Table { offset: u32, size: u32, len: u64 },
    #[error("read PE: certificate of {length} bytes where {room} are left in the table")]
    Certificate { length: u32, room: usize },
    #[error("sign PE: it has a signature already")]
    Signed,
    #[error("sign PE: past the 4 GiB that a PE file can address")]
    TooLarge,
}
