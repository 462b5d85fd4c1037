//! Keeping the cache small: what was used longest ago goes first, what is in use never.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;

use super::draft::retire;
use super::error::Error;
use super::list::version;
use super::lock::{Lock, flock, is_at, open_folder, open_to_lock};
use super::{Cache, FORMAT, Kind, Listed};

/// What a cache may take unless told otherwise; see [`Cache::default_limit`].
pub const DEFAULT_LIMIT: u64 = 20 << 30;

/// What has to go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// The longest unused until the rest takes no more than so many bytes.
    pub max_size: Option<u64>,
    /// What was last used longer ago.
    pub older_than: Option<Duration>,
}

/// What has gone.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// Removed (or to be removed, in a dry run), the longest unused first.
    pub removed: Vec<Listed>,
    /// Should have gone, but somebody uses it, or it is another user's or a newer i2kit's.
    pub kept: Vec<Listed>,
    /// Bytes that are left.
    pub left: u64,
}

impl Collected {
    /// Bytes that were freed.
    #[must_use]
    pub fn freed(&self) -> u64 {
        self.removed.iter().map(|one| one.size).sum()
    }
}

/// What came of an attempt to remove an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Removed,
    Kept,
    /// Somebody else was faster.
    Gone,
}

impl Cache {
    /// The size that a cache is kept under where nobody says another: [`DEFAULT_LIMIT`], but a
    /// quarter of its file system at most.
    #[must_use]
    pub fn default_limit(&self) -> u64 {
        let existing = self.folder().ancestors().find(|path| path.exists());
        let statistics = existing.and_then(|path| rustix::fs::statvfs(path).ok());
        statistics.map_or(DEFAULT_LIMIT, |all| {
            DEFAULT_LIMIT.min(all.f_blocks.saturating_mul(all.f_frsize) / 4)
        })
    }

    /// Removes what `policy` says, as of `now`; in a dry run, only says what that would be.
    ///
    /// # Errors
    /// [`Error`] when the cache cannot be read.
    pub fn gc(&self, policy: &Policy, now: SystemTime, dry_run: bool) -> Result<Collected, Error> {
        if !dry_run {
            self.sweep()?;
        }
        let collected = collect(self.list()?, policy, now, &mut |one| {
            self.evict(one, dry_run)
        });
        if !dry_run {
            self.prune_locks();
        }
        Ok(collected)
    }

    fn evict(&self, listed: &Listed, dry_run: bool) -> Outcome {
        let outcome = match listed.kind {
            Kind::Layer => self.evict_layer(listed, dry_run),
            Kind::Format => self.evict_format(listed, dry_run),
            Kind::Blob | Kind::Document | Kind::Piece => evict_file(listed, dry_run),
        };
        outcome.unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Outcome::Gone,
            // Held by a reader, or another user's.
            _ => Outcome::Kept,
        })
    }

    fn evict_layer(&self, listed: &Listed, dry_run: bool) -> io::Result<Outcome> {
        // Nobody makes it anew meanwhile.
        let Some(_lock) = Lock::try_now(&self.folders().locks.join(&listed.key)) else {
            return Ok(Outcome::Kept);
        };
        let folder = open_folder(&listed.path)?;
        flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
        if !is_at(&folder, &listed.path) {
            return Ok(Outcome::Gone);
        }
        self.retire(listed, dry_run)
    }

    fn evict_format(&self, listed: &Listed, dry_run: bool) -> io::Result<Outcome> {
        match version(listed) {
            // How a newer one is locked is not known here.
            Some(version) if version > FORMAT => Ok(Outcome::Kept),
            _ => self.retire(listed, dry_run),
        }
    }

    fn retire(&self, listed: &Listed, dry_run: bool) -> io::Result<Outcome> {
        if dry_run || retire(&listed.path, &self.folders().tmp)? {
            return Ok(Outcome::Removed);
        }
        Ok(Outcome::Gone)
    }

    /// Removes the locks that nobody holds of entries that are not there.
    fn prune_locks(&self) {
        let Ok(locks) = fs::read_dir(&self.folders().locks) else {
            return;
        };
        for entry in locks.flatten() {
            let is_idle = !self.folders().layers.join(entry.file_name()).exists();
            if is_idle && let Some(lock) = Lock::try_now(&entry.path()) {
                lock.remove();
            }
        }
    }
}

fn evict_file(listed: &Listed, dry_run: bool) -> io::Result<Outcome> {
    let file = open_to_lock(&listed.path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    if !dry_run {
        fs::remove_file(&listed.path)?;
    }
    Ok(Outcome::Removed)
}

/// Lets `evict` remove entries, the longest unused first, as far as the policy asks for it.
fn collect(
    mut entries: Vec<Listed>,
    policy: &Policy,
    now: SystemTime,
    evict: &mut dyn FnMut(&Listed) -> Outcome,
) -> Collected {
    entries.sort_by(|a, b| (a.last_used, a.kind, &a.key).cmp(&(b.last_used, b.kind, &b.key)));
    let mut collected = Collected {
        left: entries.iter().map(|one| one.size).sum(),
        ..Collected::default()
    };
    for entry in entries {
        let age = now.duration_since(entry.last_used).unwrap_or_default();
        let is_old = policy.older_than.is_some_and(|limit| age > limit);
        let is_over = policy.max_size.is_some_and(|limit| collected.left > limit);
        if !is_old && !is_over {
            continue;
        }
        let outcome = evict(&entry);
        if outcome != Outcome::Kept {
            collected.left -= entry.size;
        }
        match outcome {
            Outcome::Removed => collected.removed.push(entry),
            Outcome::Kept => collected.kept.push(entry),
            Outcome::Gone => {}
        }
    }
    collected
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// An entry of the given size, last used so many days after the epoch.
    fn entry(key: &str, size: u64, day: u32) -> Listed {
        Listed {
            kind: Kind::Layer,
            key: key.to_owned(),
            size,
            last_used: SystemTime::UNIX_EPOCH + DAY * day,
            path: key.into(),
        }
    }

    fn keys(entries: &[Listed]) -> Vec<&str> {
        entries.iter().map(|one| one.key.as_str()).collect()
    }

    /// What is removed at day 10.
    fn run(policy: Policy, kept: &str) -> (Vec<String>, Vec<String>, u64) {
        let entries = vec![
            entry("new", 10, 9),
            entry("oldest", 20, 1),
            entry("future", 5, 12),
            entry("old", 40, 3),
        ];
        let now = SystemTime::UNIX_EPOCH + DAY * 10;
        let collected = collect(entries, &policy, now, &mut |one| {
            if one.key == kept {
                Outcome::Kept
            } else {
                Outcome::Removed
            }
        });
        let own = |entries: &[Listed]| keys(entries).into_iter().map(str::to_owned).collect();
        (
            own(&collected.removed),
            own(&collected.kept),
            collected.left,
        )
    }

    fn max_size(size: u64) -> Policy {
        Policy {
            max_size: Some(size),
            older_than: None,
        }
    }

    #[test]
    fn the_longest_unused_goes_first_until_the_rest_fits() {
        assert_eq!(run(max_size(75), ""), (vec![], vec![], 75));
        assert_eq!(run(max_size(74), "").0, ["oldest"]);
        assert_eq!(run(max_size(55), "").0, ["oldest"]);
        assert_eq!(run(max_size(54), "").0, ["oldest", "old"]);
        let (removed, _, left) = run(max_size(0), "");
        assert_eq!((removed.len(), left), (4, 0));
        assert_eq!(removed[3], "future");
        assert_eq!(run(Policy::default(), "").0, [""; 0]);
    }

    #[test]
    fn what_is_in_use_stays_and_the_next_goes_instead() {
        let (removed, kept, left) = run(max_size(54), "oldest");
        assert_eq!(
            (removed, kept, left),
            (vec!["old".to_owned()], vec!["oldest".to_owned()], 35)
        );
    }

    #[test]
    fn older_than_goes_whatever_the_size() {
        let older_than = |days| Policy {
            max_size: None,
            older_than: Some(DAY * days),
        };
        assert_eq!(run(older_than(9), "").0, [""; 0]);
        assert_eq!(run(older_than(8), "").0, ["oldest"]);
        assert_eq!(run(older_than(6), "").0, ["oldest", "old"]);
        // A clock that was set back makes nothing old.
        assert_eq!(run(older_than(0), "").0, ["oldest", "old", "new"]);
        let both = Policy {
            max_size: Some(10),
            ..older_than(8)
        };
        assert_eq!(run(both, "").0, ["oldest", "old", "new"]);
    }

    #[test]
    fn equals_go_in_a_fixed_order() {
        let entries = vec![entry("b", 1, 1), entry("a", 1, 1)];
        let all = collect(entries, &max_size(0), SystemTime::now(), &mut |_| {
            Outcome::Removed
        });
        assert_eq!(keys(&all.removed), ["a", "b"]);
    }
}
