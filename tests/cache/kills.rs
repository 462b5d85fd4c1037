//! Builds that are killed at moments that a seed decides, each followed by one that is not.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

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

/// Kills a build for each seed; answers how many died and how many of them left a draft.
fn kill_builds(seeds: std::ops::Range<u64>) -> (usize, usize) {
    let small = Small::new();
    let begin = Instant::now();
    let expected = small.built("other", "disk.raw");
    let whole = begin.elapsed();
    let (mut killed, mut left) = (0, 0);
    for seed in seeds {
        let mut random = Random::new(seed);
        let cache = small.path("cache");
        forget(&cache, &mut random);
        // A disk that is there would need no work.
        let _ = fs::remove_file(small.path("killed.raw"));
        let mut command = small.build("cache", "killed.raw");
        command.arg("--keep-blobs");
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = quiet.spawn().unwrap();
        let share = random.below(1000) as f64 / 1000.0;
        // The moment is the point here; nothing is waited for.
        std::thread::sleep(whole.mul_f64(share));
        child.kill().unwrap();
        if !child.wait().unwrap().success() {
            killed += 1;
            left += usize::from(count(&cache.join("v1/tmp")) > 0);
        }
        assert_eq!(small.built("cache", "disk.raw"), expected, "seed {seed}");
        assert_eq!(count(&cache.join("v1/tmp")), 0, "seed {seed}");
        succeeded(&small.cache("cache", &["verify"]));
    }
    (killed, left)
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
