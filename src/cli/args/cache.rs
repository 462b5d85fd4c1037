//! `i2kit cache`, as clap sees it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

/// `i2kit cache`.
#[derive(Debug, Args)]
pub struct Cache {
    /// The cache folder (default: $XDG_CACHE_HOME/i2kit)
    #[arg(long, value_name = "DIR", global = true)]
    pub cache_dir: Option<PathBuf>,
    /// What to do with it.
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List the entries, those that gc would remove first on top
    ///
    /// A layer is a converted layer, named by its diffID and the version of the writer. A blob is
    /// a layer as it was compressed (--keep-blobs), a document an index, manifest or config, both
    /// named by their digest. A piece is a small result of work. A format is the whole folder of
    /// another version of the cache.
    Ls(Ls),
    /// Say what the cache takes, by kind, and its limit
    Du(Du),
    /// Read everything and compare it with its digests; remove what is damaged
    ///
    /// Builds check what they use anyway; this finds damage before they do. What was removed is
    /// made or fetched again when a build needs it. Exit code 1 when something was damaged.
    Verify(Verify),
    /// Remove what was used longest ago
    ///
    /// Removes entries, the longest unused first, until the cache takes no more than --max-size,
    /// and all that were not used for --older-than. What a running build uses stays. Examples:
    ///   i2kit cache gc                     down to the default limit, as after each build
    ///   i2kit cache gc --max-size 5GiB
    ///   i2kit cache gc --older-than 30d --max-size none
    ///   i2kit cache gc --max-size 0        everything that nobody uses
    #[command(verbatim_doc_comment)]
    Gc(Gc),
    /// Print the cache folder's path
    Path,
}

/// `i2kit cache ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// Print JSON: an array of {kind, key, size, last_used (seconds since 1970), diff_id, writer}
    #[arg(long)]
    pub json: bool,
}

/// `i2kit cache du`.
#[derive(Debug, Args)]
pub struct Du {
    /// The limit that builds are given (default: 20 GiB, at most a quarter of the file system)
    #[arg(long = "cache-max-size", value_name = "SIZE", value_parser = limit)]
    pub limit: Option<Limit>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `i2kit cache verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `i2kit cache gc`.
#[derive(Debug, Args)]
pub struct Gc {
    /// What the cache may take: SIZE or none (default: 20 GiB, at most a quarter of the file
    /// system)
    #[arg(long, value_name = "SIZE", value_parser = limit)]
    pub max_size: Option<Limit>,
    /// Also remove what was not used for this long: a number of s, m, h, d or w, as in 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub older_than: Option<Duration>,
    /// Only say what would be removed
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// A bound on a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So many bytes.
    Bytes(u64),
    /// No bound.
    None,
}

pub fn limit(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit::None);
    }
    super::size(text).map(Limit::Bytes)
}

/// A whole number and its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    const BAD: &str = "not a duration such as 12h or 7d";
    let unit = text.char_indices().next_back().map_or(0, |(at, _)| at);
    let (number, unit) = text.split_at(unit);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        "w" => 7 * 24 * 3600,
        _ => return Err(BAD.to_owned()),
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BAD.to_owned());
    }
    let number: u64 = number.parse().map_err(|_| BAD)?;
    let all = number.checked_mul(seconds).ok_or(BAD)?;
    Ok(Duration::from_secs(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let seconds = |text| duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("0s"), Ok(0));
        assert_eq!(seconds("90m"), Ok(5400));
        assert_eq!(seconds("12h"), Ok(43_200));
        assert_eq!(seconds("7d"), Ok(604_800));
        assert_eq!(seconds("2w"), Ok(1_209_600));
        for bad in [
            "",
            "d",
            "7",
            "7 d",
            "+7d",
            "-7d",
            "1.5h",
            "7y",
            "7dé",
            "é",
            "99999999999999999d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits() {
        assert_eq!(limit("none"), Ok(Limit::None));
        assert_eq!(limit("0"), Ok(Limit::Bytes(0)));
        assert_eq!(limit("5GiB"), Ok(Limit::Bytes(5 << 30)));
        assert!(limit("some").is_err());
    }
}
