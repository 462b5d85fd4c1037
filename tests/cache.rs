//! Tests: the cache under writers that die, builds that run side by side, damage and full disks.

mod commands;
mod damage;
mod kills;
mod sharing;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::output_of;
use crate::support::vm::Bench;

fn build(bench: &Bench, disk: &Path) -> Command {
    let mut command = bench.command("build");
    command.args(["--from", "nginx", "--json", "-o"]).arg(disk);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn digest(disk: &Path) -> String {
    let text = output_of("sha256sum", &[disk.to_str().unwrap()]);
    text.split(' ').next().unwrap().to_owned()
}

/// Bytes that drafts have so far.
fn drafted(bench: &Bench) -> u64 {
    let Ok(drafts) = fs::read_dir(bench.path("cache/v1/tmp")) else {
        return 0;
    };
    let files = drafts
        .flatten()
        .filter_map(|draft| fs::read_dir(draft.path()).ok());
    files
        .flatten()
        .flatten()
        .filter_map(|file| file.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

/// Kills the build once its drafts have that many bytes; answers whether it came to that.
fn kill_at(bench: &Bench, child: &mut Child, bytes: u64) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if drafted(bench) >= bytes {
            child.kill().unwrap();
            return !child.wait().unwrap().success();
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(Instant::now() < deadline, "the build hangs");
    }
}

#[test]
fn writers_killed_at_any_moment_leave_nothing_false() {
    let bench = Bench::new();
    let mut kills = 0;
    for step in 0..24u64 {
        // Earlier kills may have left whole layers, so later ones come at other places.
        let mut child = build(&bench, &bench.path("killed.raw")).spawn().unwrap();
        kills += u32::from(kill_at(&bench, &mut child, step * (3 << 20)));
        if step % 8 == 7 {
            let _ = fs::remove_dir_all(bench.path("cache/v1/layers"));
        }
    }
    assert!(kills >= 8, "only {kills} builds were killed");
    let disk = bench.path("disk.raw");
    let output = build(&bench, &disk).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert_eq!(fs::read_dir(bench.path("cache/v1/tmp")).unwrap().count(), 0);
    let other = Bench::new();
    let clean = other.path("disk.raw");
    assert!(build(&other, &clean).output().unwrap().status.success());
    assert_eq!(digest(&disk), digest(&clean));
}

#[test]
fn two_builds_at_once_share_the_work() {
    let bench = Bench::new();
    let disks = [bench.path("one.raw"), bench.path("two.raw")];
    let children = disks
        .each_ref()
        .map(|disk| build(&bench, disk).spawn().unwrap());
    let reports = children.map(|child| {
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    });
    let layers = reports
        .each_ref()
        .map(|report| report["layers"].as_array().unwrap());
    assert!(layers[0].len() >= 4 && layers[0].len() == layers[1].len());
    for (one, two) in layers[0].iter().zip(layers[1]) {
        assert_eq!(one["diff_id"], two["diff_id"]);
        let reused = [&one["reused"], &two["reused"]].map(|value| value.as_bool().unwrap());
        assert_ne!(reused[0], reused[1], "made once, reused once: {one}");
    }
    assert_eq!(digest(&disks[0]), digest(&disks[1]));
}

#[test]
fn a_cold_build_needs_less_than_200_mib() {
    let bench = Bench::new();
    let command = build(&bench, &bench.path("disk.raw"));
    let report = bench.path("memory");
    let output = Command::new("/usr/bin/time")
        .args(["-f", "%M", "-o"])
        .arg(&report)
        .arg(command.get_program())
        .args(command.get_args())
        .output()
        .expect("GNU time runs; scripts/setup.sh --test installs it");
    assert!(output.status.success());
    let kib: u64 = fs::read_to_string(report).unwrap().trim().parse().unwrap();
    assert!((10 << 10..200 << 10).contains(&kib), "{kib} KiB");
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let bench = Bench::new();
    fs::write(bench.path("cache"), "a file").unwrap();
    let output = build(&bench, &bench.path("disk.raw")).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("open cache") && error.contains("cache/v1/"),
        "{error}"
    );
    assert!(!bench.path("disk.raw").exists());
}
