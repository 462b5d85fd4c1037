//! What a disk is made of, as a push sees it.

use std::collections::BTreeSet;

use super::esp::Esp;
use super::index::Index;
use super::snapshot::Error;
use super::source::Source;

/// A disk's blocks.
#[derive(Clone, Debug)]
pub struct Own {
    /// What lies in each.
    pub index: Index,
    /// Those that may hold something.
    pub written: BTreeSet<u32>,
    /// What its ESP holds.
    pub esp: Esp,
}

impl Own {
    /// Reads the disk's partition table and hash tree, which tell nothing of its ESP.
    ///
    /// # Errors
    /// [`Error`] when it cannot be read, or is none of i2kit's.
    pub fn read(source: &dyn Source, root_hash: &[u8; 32]) -> Result<Self, Error> {
        let index = Index::read(source, root_hash)?;
        let slabs = source.written_slabs()?.into_iter();
        Ok(Self {
            index,
            written: slabs.filter_map(|slab| u32::try_from(slab).ok()).collect(),
            esp: Esp::default(),
        })
    }

    /// With what its ESP holds.
    #[must_use]
    pub fn with_esp(mut self, esp: Esp) -> Self {
        self.index.tell(&esp.range(), esp.blocks());
        Self { esp, ..self }
    }
}
