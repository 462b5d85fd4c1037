//! Entries of one file: pieces, documents, blobs.
//!
//! What is small is checked whenever it is read. A blob is checked by whoever reads it, who has to
//! hash it anyway.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use sha2::{Digest, Sha256};

use super::Cache;
use super::draft::Draft;
use super::error::{Error, context, is_denied};
use super::lock::{flock, touch};

/// Larger documents do not exist: manifests and configs have at most 8 MiB.
const MAX_DOCUMENT: u64 = 16 << 20;

/// A blob being written. Dropped before [`BlobDraft::commit`], it leaves nothing.
#[derive(Debug)]
pub struct BlobDraft {
    draft: Draft,
    /// Where its bytes go.
    pub file: File,
}

impl BlobDraft {
    /// Makes the draft the entry: the caller has found that its bytes have the digest.
    ///
    /// # Errors
    /// [`Error`] when the rename fails.
    pub fn commit(self) -> Result<(), Error> {
        self.draft.commit_file(FILE)
    }
}

/// The name of the one file in a draft.
const FILE: &str = "file";

impl Draft {
    /// Puts the draft's file in its place, over what was there. Where another user's file may not
    /// be replaced, nothing is kept.
    fn commit_file(self, name: &str) -> Result<(), Error> {
        match fs::rename(self.folder().join(name), self.target()) {
            Err(error) if !is_denied(&error) => Err(context("write to", self.target())(error)),
            _ => Ok(()),
        }
    }
}

impl Cache {
    /// The piece `key`, as it was kept; a damaged one is as good as none.
    #[must_use]
    pub fn piece(&self, key: &str) -> Option<Vec<u8>> {
        let mut file = open_entry(&self.folders().pieces.join(key))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        without_checksum(bytes)
    }

    /// Keeps a piece. Two writers of one key write the same bytes.
    ///
    /// # Errors
    /// [`Error`] when it cannot be written.
    pub fn keep_piece(&self, key: &str, bytes: &[u8]) -> Result<(), Error> {
        let checksum = blake3::hash(bytes);
        self.keep(
            self.folders().pieces.join(key),
            &[bytes, checksum.as_bytes()],
        )
    }

    /// The document (an index, a manifest, a config) that `digest` (`sha256:…`) names; a damaged
    /// one is removed.
    #[must_use]
    pub fn document(&self, digest: &str) -> Option<Vec<u8>> {
        let path = self.folders().documents.join(digits(digest)?);
        let file = open_entry(&path)?;
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT).read_to_end(&mut bytes).ok()?;
        let is_sound = digests_to(&Sha256::digest(&bytes), &path);
        if !is_sound {
            // Removed or not, it is not used.
            let _ = fs::remove_file(&path);
        }
        is_sound.then_some(bytes)
    }

    /// Keeps a document by its digest, unless it is there.
    ///
    /// # Errors
    /// [`Error`] when it cannot be written.
    pub fn keep_document(&self, bytes: &[u8]) -> Result<(), Error> {
        let digest = Sha256::digest(bytes);
        match self.document(&format!("sha256:{}", hex::encode(digest))) {
            Some(_) => Ok(()),
            None => self.keep(self.folders().documents.join(hex::encode(digest)), &[bytes]),
        }
    }

    /// Writes a small file. A cache that may only be read keeps nothing, which harms nobody.
    fn keep(&self, target: PathBuf, parts: &[&[u8]]) -> Result<(), Error> {
        let draft = match self.draft_at(target) {
            Err(error) if error.is_denied() => return Ok(()),
            draft => draft?,
        };
        let path = draft.folder().join(FILE);
        let written = File::create_new(&path)
            .and_then(|mut file| parts.iter().try_for_each(|part| file.write_all(part)));
        written.map_err(context("write to", &path))?;
        draft.commit_file(FILE)
    }

    /// The compressed bytes that `digest` (`sha256:…`) names, as they are there, in use while the
    /// file is open: the reader must check the digest.
    #[must_use]
    pub fn blob(&self, digest: &str) -> Option<File> {
        open_entry(&self.folders().blobs.join(digits(digest)?))
    }

    /// Begins to keep the blob `digest`; None when that is no digest by which it can be kept.
    ///
    /// # Errors
    /// [`Error`] when it cannot be written.
    pub fn draft_blob(&self, digest: &str) -> Result<Option<BlobDraft>, Error> {
        let Some(digits) = digits(digest) else {
            return Ok(None);
        };
        let draft = self.draft_at(self.folders().blobs.join(digits))?;
        let path = draft.folder().join(FILE);
        let file = File::create_new(&path).map_err(context("write to", &path))?;
        Ok(Some(BlobDraft { draft, file }))
    }

    /// Removes a blob that was found damaged, so that it is fetched again.
    pub fn discard_blob(&self, digest: &str) {
        if let Some(digits) = digits(digest) {
            // Removed or not, its reader goes to the source.
            let _ = fs::remove_file(self.folders().blobs.join(digits));
        }
    }
}

/// Opens the file to use it: held against eviction while it is open, and its use noted.
fn open_entry(path: &Path) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let _ = flock(&file, FlockOperation::LockShared);
    touch(&file);
    Some(file)
}

/// The hex digits of a SHA-256 digest, which are the file's name.
fn digits(digest: &str) -> Option<&str> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digest
        .strip_prefix("sha256:")
        .filter(|digits| digits.len() == 64 && digits.bytes().all(is_digit))
}

/// What stands before the BLAKE3 hash of itself.
fn without_checksum(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let body = bytes.len().checked_sub(blake3::OUT_LEN)?;
    let checksum = bytes.split_off(body);
    (*blake3::hash(&bytes).as_bytes() == *checksum).then_some(bytes)
}

fn digests_to(digest: &[u8], path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_str() == Some(&hex::encode(digest)))
}

/// Reads a whole piece; answers whether it is what was kept.
pub(super) fn piece_is_sound(path: &Path) -> io::Result<bool> {
    Ok(without_checksum(fs::read(path)?).is_some())
}

/// Reads a whole blob or document; answers whether it is what its name says.
pub(super) fn digest_is_right(path: &Path) -> io::Result<bool> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digests_to(&hash.finalize(), path)),
            got => hash.update(buffer.get(..got).unwrap_or_default()),
        }
    }
}
