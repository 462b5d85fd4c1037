//! Under which key the cache has a layer.

use super::{Compression, ConvertedLayer};
use crate::cache::{self, Cache};

/// Part of every key: raised whenever the same layer would be written otherwise.
const WRITER_VERSION: u32 = 5;

/// What a key is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyParts {
    /// The layer's diffID, `sha256:…`.
    pub diff_id: String,
    /// The version of the writer.
    pub writer: u32,
    /// How files are compressed, as `zstd.3.1048576`; empty when they are not, or were not known.
    pub compression: String,
}

/// The cache's key of a layer: its diffID, the writer's version, and the options that change bytes.
pub(super) fn key(diff_id: &str, compression: Option<Compression>) -> String {
    let diff_id = diff_id.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    format!("{diff_id}-w{WRITER_VERSION}{}", suffix(compression))
}

/// Names this writer in locks and shared caches: the same layer becomes the same converted layer.
#[must_use]
pub fn writer(compression: Option<Compression>) -> String {
    format!("i2kit-layer-{WRITER_VERSION}{}", suffix(compression))
}

fn suffix(compression: Option<Compression>) -> String {
    compression.map_or_else(String::new, |one| one.suffix())
}

impl KeyParts {
    /// Takes a key apart, a former writer's too.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        let (diff_id, writer) = key.rsplit_once("-w")?;
        let (writer, compression) = writer.split_once('-').unwrap_or((writer, ""));
        Some(Self {
            diff_id: format!("sha256:{}", diff_id.strip_prefix("sha256-")?),
            writer: writer.parse().ok()?,
            compression: compression.to_owned(),
        })
    }
}

/// Notes that the layer is used, where the cache has it.
pub fn touch(cache: &Cache, diff_id: &str, compression: Option<Compression>) {
    drop(cache.find(&key(diff_id, compression)));
}

/// Removes a layer whose data was found damaged, so that it is converted again.
///
/// # Errors
/// [`cache::Error`] when it cannot be removed.
pub fn discard(cache: &Cache, layer: &ConvertedLayer) -> Result<(), cache::Error> {
    let lock = cache.lock(&key(&layer.diff_id, layer.compression))?;
    cache.discard(&layer.entry, &lock).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_apart_into_what_it_was_made_of() {
        let diff_id = format!("sha256:{}", "0a".repeat(32));
        for (compression, name) in [(None, ""), (Some(Compression::DEFAULT), "zstd.3.1048576")] {
            let parts = KeyParts::of(&key(&diff_id, compression)).unwrap();
            assert_eq!(parts.diff_id, diff_id);
            assert_eq!((parts.writer, &*parts.compression), (WRITER_VERSION, name));
        }
        for other in ["", "x", "sha512-00-w1", "sha256-00", "sha256-00-wx"] {
            assert_eq!(KeyParts::of(other), None, "{other}");
        }
    }
}
