//! How a layer's files are stored: plain, or in clusters that are compressed one by one.

use std::fmt;
use std::str::FromStr;

use i2kit_format::erofs::{Algorithm, MAX_CLUSTER, MAX_PHYSICAL_CLUSTER};

const BLOCK: u32 = 4096;

/// Compression of a layer's files. Written as `zstd:3,cluster=1M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// What compresses.
    pub algorithm: Algorithm,
    /// How hard it tries: one of [`Algorithm::levels`].
    pub level: i32,
    /// Bytes that are compressed together: a power of 2, 4 KiB to 1 MiB, of ZSTD to 4 MiB.
    pub cluster_size: u32,
    /// Whether clusters of a layer that have the same bytes are stored once.
    pub dedupe: bool,
}

/// Text that is no compression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write none, lz4, zstd or best, as in zstd:9,cluster=1M")]
pub struct CompressionError(String);

impl Compression {
    /// What is used where nothing else is asked for.
    pub const DEFAULT: Self = Self::of(Algorithm::Zstd);

    /// What makes the smallest disk in a time that one still waits for.
    pub const BEST: Self = Self {
        level: 10,
        cluster_size: 4 << 20,
        dedupe: true,
        ..Self::DEFAULT
    };

    const fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Zstd => Self {
                algorithm,
                level: 3,
                cluster_size: 1 << 20,
                dedupe: false,
            },
            Algorithm::Lz4 => Self {
                algorithm,
                level: 9,
                cluster_size: 64 << 10,
                dedupe: false,
            },
        }
    }

    /// For file names and tags.
    pub(super) fn suffix(&self) -> String {
        let (name, level, size) = (self.algorithm.name(), self.level, self.cluster_size);
        let dedupe = if self.dedupe { ".dedupe" } else { "" };
        format!("-{name}.{level}.{size}{dedupe}")
    }

    /// `text` as `--compression` has it; None for none.
    ///
    /// # Errors
    /// [`CompressionError`] naming what is wrong.
    pub fn parse(text: &str) -> Result<Option<Self>, CompressionError> {
        if text == "none" {
            return Ok(None);
        }
        text.parse().map(Some)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, level, size) = (self.algorithm.name(), self.level, self.cluster_size);
        match size >> 20 {
            0 => write!(formatter, "{name}:{level},cluster={}K", size >> 10),
            size => write!(formatter, "{name}:{level},cluster={size}M"),
        }?;
        formatter.write_str(if self.dedupe { ",dedupe" } else { "" })
    }
}

impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |why: String| CompressionError(why);
        if text == "best" {
            return Ok(Self::BEST);
        }
        let mut settings = text.split(',');
        let kind = settings.next().unwrap_or_default();
        let (name, level) = match kind.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (kind, None),
        };
        let mut out = match name {
            "lz4" => Self::of(Algorithm::Lz4),
            "zstd" => Self::of(Algorithm::Zstd),
            _ => return Err(error(format!("no compression {name:?}"))),
        };
        if let Some(level) = level {
            let levels = out.algorithm.levels();
            out.level = level
                .parse()
                .ok()
                .filter(|level| levels.contains(level))
                .ok_or_else(|| {
                    let (first, last) = (levels.start(), levels.end());
                    error(format!(
                        "no level {level:?} of {name}, from {first} to {last}"
                    ))
                })?;
        }
        for setting in settings {
            if setting == "dedupe" {
                out.dedupe = true;
                continue;
            }
            let size = setting
                .strip_prefix("cluster=")
                .ok_or_else(|| error(format!("no setting {setting:?}")))?;
            let (most, name) = match out.algorithm {
                Algorithm::Zstd => (MAX_CLUSTER, "4M"),
                Algorithm::Lz4 => (MAX_PHYSICAL_CLUSTER, "1M"),
            };
            out.cluster_size = cluster_size(size, most).ok_or_else(|| {
                error(format!(
                    "cluster {size:?} is no power of 2 from 4K to {name}"
                ))
            })?;
        }
        Ok(out)
    }
}

fn cluster_size(text: &str, most: usize) -> Option<u32> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text.strip_prefix(digits)? {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        _ => return None,
    };
    let size = digits.parse::<u32>().ok()?.checked_mul(1 << shift)?;
    let is_good = size.is_power_of_two() && size >= BLOCK && size as usize <= most;
    is_good.then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for (text, expected) in [
            ("zstd", "zstd:3,cluster=1M"),
            ("zstd:19", "zstd:19,cluster=1M"),
            ("zstd,cluster=128K", "zstd:3,cluster=128K"),
            ("lz4:12,cluster=4096", "lz4:12,cluster=4K"),
            ("best", "zstd:10,cluster=4M,dedupe"),
            ("lz4,dedupe,cluster=64K", "lz4:9,cluster=64K,dedupe"),
        ] {
            let parsed: Compression = text.parse().unwrap();
            assert_eq!(parsed.to_string(), expected);
            assert_eq!(expected.parse(), Ok(parsed));
        }
        assert_eq!(Compression::parse("none"), Ok(None));
        assert_eq!(Compression::parse("zstd"), Ok(Some(Compression::DEFAULT)));
        for (text, why) in [
            ("gzip", "no compression \"gzip\""),
            ("zstd:0", "no level \"0\" of zstd, from 1 to 22"),
            ("lz4:13", "from 1 to 12"),
            ("zstd,cluster=8M", "from 4K to 4M"),
            ("lz4,cluster=2M", "from 4K to 1M"),
            ("zstd,cluster=100K", "no power of 2"),
            ("zstd,cluster=99999999999K", "no power of 2"),
            ("zstd,window=1", "no setting \"window=1\""),
            ("zstd:", "no level \"\""),
            ("", "no compression \"\""),
        ] {
            let error = text.parse::<Compression>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
