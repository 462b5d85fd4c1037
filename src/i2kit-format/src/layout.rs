//! A planned file: small buffers made here, and the places where the caller's inputs go.
//!
//! Writers that wrap large files (FAT, cpio, UKI) return one of these, so that a kernel or an
//! initramfs is never copied into memory: the disk puts its extents where the layout says.
//! Layouts nest: a layout may be the input of another.

use crate::ReadAt;

/// A file of `size` bytes, made of pieces. What no piece covers reads as zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Length of the whole, bytes.
    pub size: u64,
    /// Ascending by offset, never overlapping, never empty, none past `size`.
    pub pieces: Vec<Piece>,
}

/// A run of bytes of a [`Layout`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it starts in the whole, bytes.
    pub offset: u64,
    /// What lies there.
    pub content: Content,
}

/// What a [`Piece`] holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The whole of one of the inputs that the layout was planned for.
    Input {
        /// Its index in the list that was given to the planner.
        index: usize,
        /// Its length, bytes.
        size: u64,
    },
}

impl Content {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Input { size, .. } => *size,
        }
    }

    /// True when there are no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A layout that cannot be filled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller has fewer inputs than the layout was planned for.
    #[error("fill layout: input {index} is missing")]
    MissingInput {
        /// Which one.
        index: usize,
    },
    /// An input changed its length after the layout was planned.
    #[error("fill layout: input {index} has {found} bytes, was planned with {planned}")]
    InputSize {
        /// Which one.
        index: usize,
        /// Bytes it has now.
        found: u64,
        /// Bytes it had when the layout was planned.
        planned: u64,
    },
    /// More bytes than this machine can address.
    #[error("fill layout: {size} bytes do not fit into memory")]
    TooLarge {
        /// Length of the whole, bytes.
        size: u64,
    },
    /// An input cannot be read.
    #[error("fill layout: read input {index}: {source}")]
    Read {
        /// Which one.
        index: usize,
        /// Why.
        source: std::io::Error,
    },
}

impl Layout {
    /// Where the input lies in the whole, bytes; `None` for an empty input, which lies nowhere.
    #[must_use]
    pub fn input_offset(&self, input: usize) -> Option<u64> {
        self.pieces.iter().find_map(|piece| match piece.content {
            Content::Input { index, .. } if index == input => Some(piece.offset),
            _ => None,
        })
    }

    /// All bytes in one buffer: for tests and small files.
    ///
    /// # Errors
    /// [`Error`] when the inputs are not those that the layout was planned for.
    pub fn fill(&self, inputs: &[&dyn ReadAt]) -> Result<Vec<u8>, Error> {
        let too_large = || Error::TooLarge { size: self.size };
        let size = usize::try_from(self.size).map_err(|_| too_large())?;
        let mut out = Vec::new();
        out.try_reserve_exact(size).map_err(|_| too_large())?;
        out.resize(size, 0);
        for piece in &self.pieces {
            let start = usize::try_from(piece.offset).map_err(|_| too_large())?;
            let len = usize::try_from(piece.content.len()).map_err(|_| too_large())?;
            let end = start.checked_add(len).ok_or_else(too_large)?;
            let room = out.get_mut(start..end).ok_or_else(too_large)?;
            match &piece.content {
                Content::Bytes(bytes) => room.copy_from_slice(bytes),
                Content::Input { index, size } => read_input(inputs, *index, *size, room)?,
            }
        }
        Ok(out)
    }
}

fn read_input(
    inputs: &[&dyn ReadAt],
    index: usize,
    planned: u64,
    room: &mut [u8],
) -> Result<(), Error> {
    let input = inputs.get(index).ok_or(Error::MissingInput { index })?;
    if input.len() != planned {
        return Err(Error::InputSize {
            index,
            found: input.len(),
            planned,
        });
    }
    input
        .read_exact_at(room, 0)
        .map_err(|source| Error::Read { index, source })
}
