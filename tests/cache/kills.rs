//! Builds that are killed at moments that a seed decides, each followed by one that is not.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::sources::fleet::Fleet;
use crate::support::random::Random;
use crate::support::small::{Small, succeeded};

/// What the next build has to do anew: everything, or what a seed decides.
fn forget(cache: &Path, random: &mut Random) {
    if random.below(4) == 0 {
        let _ = fs::remove_dir_all(cache);
    }
    for folder in ["layers", "pieces", "blobs/sha256", "documents/sha256"] {
        let entries = fs::read_dir(cache.join("v1").join(folder));
        for entry in entries.into_iter().flatten().flatten() {
            if random.below(2) == 0 {
                let path = entry.path();
                let removed = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
                removed.unwrap();
            }
        }
    }
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// What is killed, and how one sees that it did no harm.
struct Victim<'a> {
    cache: PathBuf,
    /// What it takes when nobody kills it.
    whole: Duration,
    command: &'a dyn Fn() -> Command,
    /// Does it again, to the end.
    again: &'a dyn Fn(u64),
}

impl Victim<'_> {
    /// Kills it once for each seed; answers how many died and how many of them left a draft.
    fn kill(&self, seeds: Range<u64>) -> (usize, usize) {
        let drafts = || count(&self.cache.join("v1/tmp"));
        let (mut killed, mut left) = (0, 0);
        for seed in seeds {
            let mut random = Random::new(seed);
            forget(&self.cache, &mut random);
            let mut command = (self.command)();
            let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = quiet.spawn().unwrap();
            let share = random.below(1000) as f64 / 1000.0;
            // The moment is the point here; nothing is waited for.
            std::thread::sleep(self.whole.mul_f64(share));
            child.kill().unwrap();
            if !child.wait().unwrap().success() {
                killed += 1;
                left += usize::from(drafts() > 0);
            }
            (self.again)(seed);
            assert_eq!(drafts(), 0, "seed {seed}");
            let mut verify = crate::support::i2kit();
            verify.args(["cache", "verify", "--cache-dir"]);
            succeeded(&verify.arg(&self.cache).output().unwrap());
        }
        (killed, left)
    }
}

fn kill_builds(seeds: Range<u64>) -> (usize, usize) {
    let small = Small::new();
    let begin = Instant::now();
    let expected = small.built("other", "disk.raw");
    let victim = Victim {
        cache: small.path("cache"),
        whole: begin.elapsed(),
        command: &|| {
            // A disk that is there would need no work.
            let _ = fs::remove_file(small.path("killed.raw"));
            let mut command = small.build("cache", "killed.raw");
            command.arg("--keep-blobs");
            command
        },
        again: &|seed| assert_eq!(small.built("cache", "disk.raw"), expected, "seed {seed}"),
    };
    victim.kill(seeds)
}

/// Pulls from a registry; what was pulled then makes a disk without a connection.
fn kill_pulls(seeds: Range<u64>) -> (usize, usize) {
    let fleet = Fleet::new();
    let manifest = fleet.manifest(&[fleet.image()]);
    let pull = |machine: &str| {
        let mut pull = fleet.machine(machine, "pull");
        pull.arg(fleet.image()).arg("--keep-blobs").arg("-q");
        pull
    };
    let build = |machine: &str| {
        let mut build = fleet.with_base(machine, "build");
        build.args(["--offline", "-f"]).arg(&manifest);
        fleet.built(build).0
    };
    let begin = Instant::now();
    succeeded(&pull("other").output().unwrap());
    let whole = begin.elapsed();
    let expected = build("other");
    let victim = Victim {
        cache: fleet.path("one/cache"),
        whole,
        command: &|| pull("one"),
        again: &|seed| {
            succeeded(&pull("one").output().unwrap());
            assert_eq!(build("one"), expected, "seed {seed}");
        },
    };
    victim.kill(seeds)
}

#[test]
fn a_build_killed_at_any_of_40_moments_harms_no_later_one() {
    let (killed, left) = kill_builds(0..40);
    assert!(killed >= 15 && left >= 5, "{killed} killed, {left} left");
}

#[test]
#[ignore = "slow: 200 builds are killed"]
fn a_build_killed_at_any_of_200_moments_harms_no_later_one() {
    let (killed, left) = kill_builds(1000..1200);
    assert!(killed >= 80 && left >= 30, "{killed} killed, {left} left");
}

#[test]
fn a_pull_killed_at_any_of_40_moments_harms_no_later_one() {
    let (killed, left) = kill_pulls(0..40);
    assert!(killed >= 15 && left >= 5, "{killed} killed, {left} left");
}

#[test]
#[ignore = "slow: 200 pulls are killed"]
fn a_pull_killed_at_any_of_200_moments_harms_no_later_one() {
    let (killed, left) = kill_pulls(1000..1200);
    assert!(killed >= 80 && left >= 30, "{killed} killed, {left} left");
}

/// An eviction that is killed leaves no entry that is half there.
#[test]
fn a_gc_killed_at_any_moment_leaves_whole_entries() {
    let small = Small::new();
    let expected = small.built("cache", "disk.raw");
    for seed in 0..15 {
        let mut command = crate::support::i2kit();
        command.args(["cache", "gc", "--max-size", "0", "--cache-dir"]);
        let quiet = command.arg(small.path("cache")).stdout(Stdio::null());
        let mut child = quiet.spawn().unwrap();
        std::thread::sleep(Duration::from_micros(Random::new(seed).below(15_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        succeeded(&small.cache("cache", &["verify"]));
        assert_eq!(small.built("cache", "disk.raw"), expected, "seed {seed}");
        assert_eq!(count(&small.path("cache/v1/tmp")), 0, "seed {seed}");
    }
}
