//! Compressing and decompressing one cluster.

use std::io;

use super::format::BLOCK;

/// Bytes of the largest cluster, and of the largest physical cluster: `Z_EROFS_PCLUSTER_MAX_SIZE`,
/// which is `Z_EROFS_ZSTD_MAX_DICT_SIZE` too.
pub const MAX_CLUSTER: usize = 1 << 20;

/// How the clusters of a file system are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `Z_EROFS_COMPRESSION_LZ4`; kernel 5.13 and later.
    Lz4,
    /// `Z_EROFS_COMPRESSION_ZSTD`; kernel 6.10 and later.
    Zstd,
}

impl Algorithm {
    /// Its name, as the kernel's configuration has it, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Its number in the format.
    pub(super) fn id(self) -> u8 {
        match self {
            Self::Lz4 => 0,
            Self::Zstd => 3,
        }
    }

    /// The levels that there are, from quick to small.
    #[must_use]
    pub fn levels(self) -> std::ops::RangeInclusive<i32> {
        match self {
            Self::Lz4 => 1..=12,
            Self::Zstd => 1..=22,
        }
    }

    /// The bytes of a cluster that `blocks` hold: `len` of them, at most [`MAX_CLUSTER`]. None when
    /// they do not decompress to so many.
    #[must_use]
    pub fn decompress(self, blocks: &[u8], len: usize) -> Option<Vec<u8>> {
        if len > MAX_CLUSTER {
            return None;
        }
        // As the kernel does (`z_erofs_fixup_insize`): zeros of the first block are padding.
        let first = blocks.get(..BLOCK).unwrap_or(blocks);
        let padding = first.iter().take_while(|byte| **byte == 0).count();
        let data = blocks.get(padding..)?;
        let out = match self {
            Self::Lz4 => lz4::block::decompress(data, Some(i32::try_from(len).ok()?)).ok()?,
            Self::Zstd => zstd::bulk::decompress(data, len).ok()?,
        };
        (out.len() == len).then_some(out)
    }
}

/// Compresses clusters, one after another. Its output depends on its arguments alone.
pub struct Compressor {
    codec: Codec,
    buffer: Vec<u8>,
}

enum Codec {
    Lz4(lz4::block::CompressionMode),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Compressor {
    /// # Errors
    /// When the library has no such level or no memory.
    pub fn new(algorithm: Algorithm, level: i32) -> io::Result<Self> {
        let codec = match algorithm {
            Algorithm::Lz4 => Codec::Lz4(lz4::block::CompressionMode::HIGHCOMPRESSION(level)),
            Algorithm::Zstd => Codec::Zstd(zstd_compressor(level)?),
        };
        let buffer = Vec::new();
        Ok(Self { codec, buffer })
    }

    /// The cluster as it lies on disk: whole blocks, zeros in front of the compressed bytes. None when
    /// that would take as many blocks as the cluster has itself.
    ///
    /// # Errors
    /// The library's.
    pub fn compress(&mut self, cluster: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let bound = match &self.codec {
            Codec::Lz4(_) => lz4::block::compress_bound(cluster.len())?,
            Codec::Zstd(_) => zstd::zstd_safe::compress_bound(cluster.len()),
        };
        self.buffer.resize(bound, 0);
        let len = match &mut self.codec {
            Codec::Lz4(mode) => {
                lz4::block::compress_to_buffer(cluster, Some(*mode), false, &mut self.buffer)?
            }
            Codec::Zstd(zstd) => zstd.compress_to_buffer(cluster, &mut self.buffer[..])?,
        };
        let blocks = len.div_ceil(BLOCK);
        if blocks >= cluster.len().div_ceil(BLOCK) {
            return Ok(None);
        }
        let mut out = vec![0; blocks.saturating_mul(BLOCK).saturating_sub(len)];
        out.extend_from_slice(self.buffer.get(..len).unwrap_or_default());
        Ok(Some(out))
    }
}

/// zstd's levels look for matches of 5 bytes and more in inputs over 256 KiB. Shorter ones take time,
/// but save more than the next levels do: of programs and libraries 1.3 % at level 12, and 3 % at 16.
fn zstd_compressor(level: i32) -> io::Result<zstd::bulk::Compressor<'static>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    let min_match = match level {
        ..8 => return Ok(compressor),
        8..16 => 4,
        16.. => 3,
    };
    compressor.set_parameter(zstd::zstd_safe::CParameter::MinMatch(min_match))?;
    Ok(compressor)
}
