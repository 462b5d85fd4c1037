//! One cache folder, several processes, users and umasks.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::support::at_home;
use crate::support::layout::sha256;
use crate::support::small::{Small, succeeded};

#[test]
fn builds_succeed_while_everything_unused_is_evicted() {
    let small = Small::new();
    let expected = small.built("other", "disk.raw");
    let done = AtomicBool::new(false);
    let (removed, kept) = std::thread::scope(|scope| {
        let evictor = scope.spawn(|| {
            let (mut removed, mut kept) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                let text = succeeded(&small.cache("cache", &["gc", "--max-size", "0"]));
                removed += text.matches("removed layer").count();
                kept += text.matches("kept, in use or not ours: layer").count();
                // Enough was seen of both.
                if removed >= 20 && kept >= 20 {
                    done.store(true, Ordering::Relaxed);
                }
            }
            (removed, kept)
        });
        let builders = ["one.raw", "two.raw"].map(|disk| {
            let (small, expected, done) = (&small, &expected, &done);
            scope.spawn(move || {
                for round in 0..40 {
                    assert_eq!(&small.built("cache", disk), expected, "{disk} {round}");
                    if round >= 8 && done.load(Ordering::Relaxed) {
                        break;
                    }
                }
            })
        });
        let results = builders.map(std::thread::ScopedJoinHandle::join);
        done.store(true, Ordering::Relaxed);
        results.into_iter().for_each(Result::unwrap);
        evictor.join().unwrap()
    });
    assert!(
        removed >= 20 && kept >= 20,
        "{removed} removed, {kept} kept"
    );
}

/// The build as another user, with a umask. It writes its disk where everybody may.
fn build_as(small: &Small, uid: u32, umask: &str, disk: &str) -> Output {
    let build = small.build("cache", disk);
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("umask {umask}; exec \"$0\" \"$@\""));
    // The group is everybody's here.
    shell.arg(small.path("i2kit")).args(build.get_args());
    shell.uid(uid).gid(2000);
    at_home(&mut shell, "/nonexistent");
    shell.output().unwrap()
}

fn reused(output: &Output) -> Vec<bool> {
    let report: Value = serde_json::from_str(&succeeded(output)).unwrap();
    let layers = report["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| layer["reused"].as_bool().unwrap())
        .collect()
}

/// A folder whose group is everybody's; only root can make other users' processes.
fn shared() -> Small {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test runs as root"
    );
    let small = Small::new();
    fs::copy(env!("CARGO_BIN_EXE_i2kit"), small.path("i2kit")).unwrap();
    for folder in ["cache", "disks"] {
        let path = small.path(folder);
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(0), Some(2000)).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o2775)).unwrap();
    }
    small
}

fn owners(folder: &Path) -> Vec<u32> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().metadata().unwrap().uid())
        .collect()
}

#[test]
fn users_of_one_group_share_the_work() {
    let small = shared();
    let first = build_as(&small, 2001, "002", "disks/one.raw");
    assert!(reused(&first).iter().all(|reused| !reused));
    let second = build_as(&small, 2002, "002", "disks/two.raw");
    assert!(reused(&second).iter().all(|reused| *reused));
    let digest = |name| sha256(&fs::read(small.path(name)).unwrap());
    assert_eq!(digest("disks/one.raw"), digest("disks/two.raw"));
    // The second user may evict what the first made, and does not own.
    let mut gc = Command::new(small.path("i2kit"));
    gc.args(["cache", "gc", "--max-size", "0", "--cache-dir"]);
    gc.arg(small.path("cache")).uid(2002).gid(2000);
    let text = succeeded(&gc.output().unwrap());
    assert!(
        text.contains("removed layer") && text.contains("0 B left"),
        "{text}"
    );
    assert!(owners(&small.path("cache/v1/layers")).is_empty());
}

#[test]
fn what_another_user_keeps_private_is_as_good_as_absent() {
    let small = shared();
    // Folders of the group, entries of the first user alone.
    succeeded(&build_as(&small, 2003, "002", "disks/zero.raw"));
    succeeded(&small.cache("cache", &["gc", "--max-size", "0"]));
    succeeded(&build_as(&small, 2001, "077", "disks/one.raw"));
    let layers = small.path("cache/v1/layers");
    assert!(owners(&layers).iter().all(|uid| *uid == 2001));
    for disk in ["disks/two.raw", "disks/three.raw"] {
        let second = build_as(&small, 2002, "002", disk);
        assert!(reused(&second).iter().all(|reused| !reused));
        let digest = |name| sha256(&fs::read(small.path(name)).unwrap());
        assert_eq!(digest("disks/one.raw"), digest(disk));
    }
    assert!(owners(&layers).iter().all(|uid| *uid == 2001));
    assert_eq!(fs::read_dir(small.path("cache/v1/tmp")).unwrap().count(), 0);
    let mut verify = Command::new(small.path("i2kit"));
    verify.args(["cache", "verify", "--cache-dir"]);
    let output = verify.arg(small.path("cache")).uid(2002).gid(2000).output();
    let text = succeeded(&output.unwrap());
    assert!(
        text.contains("skipped layer") && text.contains("; 0 damaged"),
        "{text}"
    );
    // The first user still has it all.
    let first = build_as(&small, 2001, "077", "disks/four.raw");
    assert!(reused(&first).iter().all(|reused| *reused));
}

#[test]
fn a_cache_that_may_only_be_read_serves_what_it_has() {
    let small = shared();
    succeeded(&build_as(&small, 2001, "022", "disks/one.raw"));
    let second = build_as(&small, 2002, "022", "disks/two.raw");
    assert!(reused(&second).iter().all(|reused| *reused));
    // What is small and missing is made again, and not kept.
    for folder in ["pieces", "documents"] {
        fs::remove_dir_all(small.path("cache/v1").join(folder)).unwrap();
    }
    let second = build_as(&small, 2002, "022", "disks/again.raw");
    assert!(reused(&second).iter().all(|reused| *reused));
    succeeded(&small.cache("cache", &["gc", "--max-size", "0"]));
    let third = build_as(&small, 2002, "022", "disks/three.raw");
    let error = String::from_utf8_lossy(&third.stderr);
    assert_eq!(third.status.code(), Some(1), "{error}");
    assert!(
        error.contains("write to cache") && error.contains("--cache-dir"),
        "{error}"
    );
    assert!(!small.path("disks/three.raw").exists());
}
