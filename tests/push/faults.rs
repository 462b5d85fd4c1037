//! Pushes while everything goes wrong now and then: an image that is the disk, or nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::account::{Account, Disk, Running};
use crate::support::cloud::{Plan, Settings};
use crate::support::random::Random;
use crate::support::small::succeeded;

/// Runs at a time: they wait more than they work.
const WORKERS: usize = 4;

/// How many runs: 200 with `I2KIT_TEST_FAULTS=200`.
fn runs() -> u64 {
    let asked = std::env::var("I2KIT_TEST_FAULTS");
    asked.map_or(40, |text| text.parse().unwrap())
}

/// Whether something goes wrong now and then.
fn set_faults(account: &Account, plan: Option<Plan>) {
    account.fake.change(|settings| settings.faults = plan);
}

/// How an account of that seed behaves.
fn settings(random: &mut Random) -> Settings {
    let mut settings = Settings {
        latency: Duration::from_millis(random.below(20)),
        consistency: Duration::from_millis(random.below(2) * random.below(800)),
        completing: Duration::from_millis(random.below(300)),
        pending_image: Duration::from_millis(random.below(300)),
        empty_pages: random.below(2) == 0,
        complete_once: random.below(2) == 0,
        images_fail: random.below(8) == 0,
        snapshots_fail: random.below(10) == 0,
        ..Settings::default()
    };
    settings.rates.put = 50 + u32::try_from(random.below(950)).unwrap();
    settings
}

fn plan(seed: u64, random: &mut Random) -> Plan {
    let mut plan = Plan::new(seed);
    plan.internal = random.below(60);
    plan.throttle = random.below(60);
    plan.reset = random.below(60);
    plan.slow = random.below(30);
    // A hang takes as long as an attempt may: a few seeds are enough.
    if random.below(20) == 0 {
        (plan.hang, plan.hangs) = (30, 2);
    }
    plan
}

/// What came of a run.
#[derive(Default)]
struct Tally {
    succeeded: AtomicU64,
    failed: AtomicU64,
    killed: AtomicU64,
}

/// One disk, and the one before it.
struct Disks {
    old: Disk,
    new: Disk,
}

fn run(disks: &Disks, seed: u64, tally: &Tally) {
    let mut random = Random::new(seed);
    let behaviour = settings(&mut random);
    let fails = (behaviour.images_fail, behaviour.snapshots_fail);
    let account = Account::with(behaviour);
    let plan = plan(seed, &mut random);
    let push = |disk: &Disk| {
        let mut command = account.on("one", "push");
        command.arg(&disk.path).args(["--json", "--name", "app"]);
        command
    };
    if random.below(2) == 0 {
        account.fake.change(|settings| {
            (settings.images_fail, settings.snapshots_fail) = (false, false);
        });
        succeeded(&account.run(&mut push(&disks.old)));
        account.fake.change(|settings| {
            (settings.images_fail, settings.snapshots_fail) = fails;
        });
        account.fake.forget();
    }
    let before = (account.fake.images().len(), account.fake.snapshots().len());
    set_faults(&account, Some(plan));
    let dies = random.below(2) == 0;
    let mut running = Running::start(&mut push(&disks.new));
    if dies {
        let moment = random.below(2 * disks.new.needed() as u64);
        while account.fake.total() < moment && !running.has_ended() {
            std::thread::sleep(Duration::from_millis(1));
        }
        running.signal(Signal::KILL);
    }
    let mut output = running.end(&account);
    if output.status.code().is_none() {
        tally.killed.fetch_add(1, Ordering::Relaxed);
        if random.below(2) == 0 {
            // Somebody tries again.
            output = account.run(&mut push(&disks.new));
        }
    }
    if output.status.success() {
        tally.succeeded.fetch_add(1, Ordering::Relaxed);
        let answers: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let ami = answers[0]["ami"].as_str().unwrap();
        disks.new.assert_is_on(&account.fake.launch(ami));
        assert_eq!(account.fake.images().len(), before.0 + 1, "seed {seed}");
        assert_eq!(account.fake.snapshots().len(), before.1 + 1, "seed {seed}");
    } else {
        tally.failed.fetch_add(1, Ordering::Relaxed);
        resolve(&account, seed);
        let error = String::from_utf8_lossy(&output.stderr);
        let left: Vec<_> = account
            .fake
            .snapshots()
            .into_iter()
            .map(|one| one.id)
            .collect();
        assert_eq!(
            account.fake.images().len(),
            before.0,
            "seed {seed}: {error}"
        );
        assert_eq!(left.len(), before.1, "seed {seed}: {left:?}: {error}");
    }
    set_faults(&account, None);
    let ledger = account.ledger("one");
    assert!(
        !ledger.contains("snap-") && !ledger.contains("ami-"),
        "seed {seed}: {ledger}"
    );
}

/// What is left is removed, even when a try or two at that fail.
fn resolve(account: &Account, seed: u64) {
    for _ in 0..3 {
        if account.run(&mut account.abort("one")).status.success() {
            return;
        }
    }
    set_faults(account, None);
    let output = account.run(&mut account.abort("one"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "seed {seed}: {error}");
}

#[test]
fn whatever_goes_wrong_there_is_an_image_or_nothing() {
    let built = Account::new();
    built.change_a_line("old");
    let old = built.disk("old.raw");
    built.change_a_line("new");
    let disks = Disks {
        old,
        new: built.disk("new.raw"),
    };
    let (next, tally, begin) = (AtomicU64::new(0), Tally::default(), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs() {
                        return;
                    }
                    run(&disks, 7000 + seed, &tally);
                }
            });
        }
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (succeeded, failed) = (count(&tally.succeeded), count(&tally.failed));
    let killed = count(&tally.killed);
    println!(
        "{succeeded} succeeded, {failed} failed, {killed} killed, {:?}",
        begin.elapsed()
    );
    assert_eq!(succeeded + failed, runs());
    assert!(
        succeeded >= runs() / 4 && killed >= runs() / 8,
        "{succeeded} and {killed}"
    );
}
