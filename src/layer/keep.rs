//! Keeping a layer's compressed bytes in the cache while they stream past.

use std::io::{self, Read, Write};

use crate::cache::{self, BlobDraft, Cache};

/// A copy being made, and why it failed if it did.
pub(super) struct Keeper {
    draft: BlobDraft,
    failed: Option<io::Error>,
}

impl Keeper {
    /// Begins the copy; None when the digest is none that it could be kept by.
    pub(super) fn begin(cache: &Cache, digest: &str) -> Result<Option<Self>, cache::Error> {
        let draft = cache.draft_blob(digest)?;
        Ok(draft.map(|draft| Self {
            draft,
            failed: None,
        }))
    }

    /// Why the copy is not whole.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// Keeps the copy, whose bytes were found to have the digest.
    pub(super) fn commit(self) -> Result<(), cache::Error> {
        self.draft.commit()
    }
}

/// Copies what is read from `inner`, where it is to be kept.
pub(super) struct Tee<'a, R> {
    pub(super) inner: R,
    pub(super) keeper: Option<&'a mut Keeper>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buf)?;
        if let Some(keeper) = &mut self.keeper {
            let bytes = buf.get(..got).unwrap_or_default();
            if let Err(error) = keeper.draft.file.write_all(bytes) {
                keeper.failed = Some(error);
                return Err(io::Error::other("not kept"));
            }
        }
        Ok(got)
    }
}
