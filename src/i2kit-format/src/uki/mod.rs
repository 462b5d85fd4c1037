//! Unified kernel images: systemd's EFI stub with more PE sections (UAPI.5, "Unified Kernel
//! Image"; PE/COFF specification, revision 11).
//!
//! The stub finds `.linux`, `.initrd`, `.cmdline`, `.osrel` and `.uname` by name in its own
//! loaded image and takes a section's length from `VirtualSize`
//! (systemd `src/boot/efi/{stub,pe}.c`).

mod disk;
mod plan;
mod read;
mod signed;

pub(crate) use disk::{CERTIFICATE_TABLE, DATA_DIRECTORY, OptionalHeader};
pub use plan::{NewSection, assemble, plan};
pub(crate) use read::{Headers, read_headers};
pub use read::{Image, Section, read};
pub use signed::signed_parts;

/// A PE file that cannot be read or extended.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("read PE: {0}")]
    Io(#[from] std::io::Error),
    #[error("read PE: no \"MZ\" and \"PE\" signatures")]
    NotPe,
    #[error("read PE: {what} ends past the file's {len} bytes")]
    Truncated { what: &'static str, len: u64 },
    #[error("read PE: optional header has magic {0:#06x}, only PE32+ (0x020b) is read")]
    NotPe32Plus(u16),
    #[error("read PE: optional header has {0} bytes, PE32+ has 112 at least")]
    OptionalHeader(u16),
    #[error("read PE: optional header of {size} bytes has no room for {count} data directories")]
    DataDirectories { size: u16, count: u32 },
    #[error("read PE: FileAlignment {file}, SectionAlignment {section}")]
    Alignment { file: u32, section: u32 },
    #[error(
        "assemble UKI: section name {0:?} is not 1 to 8 printable ASCII bytes, the first one no \
         slash"
    )]
    SectionName(String),
    #[error("assemble UKI: two sections {0:?}")]
    DuplicateSection(String),
    #[error("assemble UKI: section {0:?} is empty")]
    EmptySection(String),
    #[error("assemble UKI: {needed} bytes of section headers, the stub has room for {room}")]
    NoHeaderRoom { needed: usize, room: usize },
    #[error("assemble UKI: past the 4 GiB that a PE file can address")]
    TooLarge,
    #[error("assemble UKI: {0}")]
    Fill(#[from] crate::layout::Error),
}

impl Error {
    /// The cure, where one is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotPe | Self::NotPe32Plus(_) => {
                Some("the stub is systemd's linuxx64.efi.stub or linuxaa64.efi.stub".to_owned())
            }
            Self::NoHeaderRoom { .. } => Some(
                "link the stub with larger headers, or take one that has no UKI sections yet"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
