//! Reads the whole cache and removes what is damaged, so that it is made or fetched again.

use std::io;

use rayon::prelude::*;

use crate::cache::{self, Cache, Kind, Listed};
use crate::layer;

/// What a look at all entries found.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Those that are as they were written.
    pub sound: Vec<Listed>,
    /// Those that are not.
    pub damaged: Vec<Damaged>,
    /// Those that were not read, and why.
    pub skipped: Vec<(Listed, String)>,
}

/// An entry that is not as it was written.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// Which.
    pub entry: Listed,
    /// What is wrong with it.
    pub reason: String,
    /// False when it is another user's and stays.
    pub removed: bool,
}

enum Verdict {
    Sound,
    Damaged {
        reason: String,
        removed: bool,
    },
    Skipped(String),
    /// Somebody removed it meanwhile.
    Gone,
}

/// Reads every byte of every entry of this format. `progress` hears of the bytes of each entry
/// that is done.
///
/// # Errors
/// [`cache::Error`] when the cache cannot be read, or a damaged entry cannot be removed.
pub fn verify(cache: &Cache, progress: &(dyn Fn(u64) + Sync)) -> Result<Verified, cache::Error> {
    let listed = cache.list()?;
    let verdicts: Vec<(Listed, Verdict)> = listed
        .into_par_iter()
        .map(|entry| {
            let verdict = judge(cache, &entry)?;
            progress(entry.size);
            Ok((entry, verdict))
        })
        .collect::<Result<_, cache::Error>>()?;
    let mut out = Verified::default();
    for (entry, verdict) in verdicts {
        match verdict {
            Verdict::Sound => out.sound.push(entry),
            Verdict::Skipped(why) => out.skipped.push((entry, why)),
            Verdict::Damaged { reason, removed } => out.damaged.push(Damaged {
                entry,
                reason,
                removed,
            }),
            Verdict::Gone => {}
        }
    }
    Ok(out)
}

fn judge(cache: &Cache, entry: &Listed) -> Result<Verdict, cache::Error> {
    match entry.kind {
        Kind::Layer => judge_layer(cache, entry),
        Kind::Format => Ok(Verdict::Skipped("another format".to_owned())),
        Kind::Blob | Kind::Document | Kind::Piece => Ok(judge_file(cache, entry)),
    }
}

fn judge_file(cache: &Cache, entry: &Listed) -> Verdict {
    let reason = match cache.file_is_sound(entry) {
        Ok(true) => return Verdict::Sound,
        Ok(false) => "its bytes were altered".to_owned(),
        Err(error) if is_damage(&error) => error.to_string(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Verdict::Gone,
        Err(error) => return Verdict::Skipped(error.to_string()),
    };
    let removed = cache.discard_file(entry);
    Verdict::Damaged { reason, removed }
}

/// True when a medium lost the bytes. Other errors say nothing of the entry.
fn is_damage(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EIO) || error.kind() == io::ErrorKind::UnexpectedEof
}

fn judge_layer(cache: &Cache, listed: &Listed) -> Result<Verdict, cache::Error> {
    let entry = match cache.hold(listed) {
        Ok(Some(entry)) => entry,
        Ok(None) => return Ok(Verdict::Gone),
        Err(error) => return Ok(Verdict::Skipped(error.to_string())),
    };
    let reason = match layer::verify(entry.folder()) {
        Ok(None) => return Ok(Verdict::Sound),
        Ok(Some(damage)) => damage.to_string(),
        Err(error) if is_damage(&error) => error.to_string(),
        Err(error) => return Ok(Verdict::Skipped(error.to_string())),
    };
    let lock = cache.lock(&listed.key)?;
    let removed = cache.discard(&entry, &lock)?;
    if !removed && !entry.is_in_place() {
        // Somebody else removed it first, or made it anew.
        return Ok(Verdict::Gone);
    }
    Ok(Verdict::Damaged { reason, removed })
}
