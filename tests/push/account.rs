//! A Pod, an account at AWS, and a machine that pushes the one to the other.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use i2kit_format::{ReadAt, SLAB};
use serde_json::Value;

use crate::support::cloud::{Fake, Settings, Volume};
use crate::support::i2kit;
use crate::support::shop::Shop;
use crate::support::small::succeeded;

/// No command takes longer, whatever goes wrong.
pub const LIMIT: Duration = Duration::from_secs(200);
/// Part of all secrets of the account.
const SECRET: &str = "NeverPrinted";

/// The account and the Pod.
pub struct Account {
    pub fake: Fake,
    pub shop: Shop,
    /// Each machine's home and state.
    homes: tempfile::TempDir,
}

impl Account {
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Self {
        Self {
            fake: Fake::start(settings),
            shop: Shop::new(),
            homes: tempfile::tempdir().unwrap(),
        }
    }

    pub fn home(&self, machine: &str) -> PathBuf {
        self.homes.path().join(machine)
    }

    /// `i2kit NAME` on a machine that knows the account and nothing else.
    pub fn on(&self, machine: &str, name: &str) -> Command {
        let mut command = i2kit();
        command.arg(name);
        self.equip(machine, &mut command);
        command
    }

    fn equip(&self, machine: &str, command: &mut Command) {
        let home = self.home(machine);
        fs::create_dir_all(&home).unwrap();
        command.env_clear().envs(self.fake.environment());
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", &home);
        command.env("XDG_STATE_HOME", home.join("state"));
    }

    /// `i2kit push` of the Pod by `one`, which may do what the policy says that it prints for these
    /// flags.
    pub fn push(&self, more: &[&str]) -> Command {
        self.push_on("one", more)
    }

    pub fn push_on(&self, machine: &str, more: &[&str]) -> Command {
        self.allow("push", more);
        let mut command = self.shop.command("push");
        command.arg("--json").args(more);
        self.equip(machine, &mut command);
        command
    }

    /// The account's policy is the one that `i2kit NAME` prints.
    pub fn allow(&self, name: &str, flags: &[&str]) {
        let mut command = i2kit();
        command.arg(name).args(flags).arg("--print-iam-policy");
        let policy: Value = serde_json::from_str(&succeeded(&command.output().unwrap())).unwrap();
        let statements = policy["Statement"].as_array().unwrap().iter();
        let actions = statements.flat_map(|one| one["Action"].as_array().unwrap());
        let actions: BTreeSet<String> = actions
            .map(|one| one.as_str().unwrap().to_owned())
            .collect();
        assert!(actions.len() >= 5, "{policy:#}");
        self.fake
            .change(|settings| settings.allowed = Some(Arc::new(actions)));
    }

    /// The account allows everything.
    pub fn allow_all(&self) {
        self.fake.change(|settings| settings.allowed = None);
    }

    /// Runs a command to its end, which must come in time, and looks for secrets in what it said and
    /// left.
    pub fn run(&self, command: &mut Command) -> Output {
        Running::start(command).end(self)
    }

    /// A push's answer: one for each region.
    pub fn pushed(&self, more: &[&str]) -> Vec<Value> {
        self.answers(&mut self.push(more))
    }

    pub fn answers(&self, command: &mut Command) -> Vec<Value> {
        let output = self.run(command);
        let all: Value = serde_json::from_str(&succeeded(&output)).unwrap();
        all.as_array().unwrap().clone()
    }

    /// The answer of a push to one region.
    pub fn one(&self, more: &[&str]) -> Value {
        let mut answers = self.pushed(more);
        assert_eq!(answers.len(), 1, "{answers:#?}");
        answers.remove(0)
    }

    /// Runs what must fail; answers what it says.
    pub fn refused(&self, command: &mut Command) -> String {
        let output = self.run(command);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("error: "), "{text}");
        text
    }

    /// Changes a line in the upper layer of the Pod's image.
    pub fn change_a_line(&self, line: &str) {
        use crate::support::shop::layer;
        use crate::support::tarball::{Dialect, Item, archive};
        let app = [Item::file("app.conf", line)];
        self.shop
            .image(&[layer(1), layer(2), archive(&app, Dialect::Pax)]);
    }

    /// The disk that the Pod is now.
    pub fn disk(&self, name: &str) -> Disk {
        Disk::of(self.shop.build(name, &[]))
    }

    /// Neither snapshots nor images nor anything in a ledger.
    pub fn assert_nothing_is_left(&self) {
        let images = self.fake.images();
        assert!(images.is_empty(), "{images:#?}");
        let snapshots: Vec<_> = self
            .fake
            .snapshots()
            .into_iter()
            .map(|one| one.id)
            .collect();
        assert!(snapshots.is_empty(), "{snapshots:?}");
        assert!(
            !self.ledger("one").contains("snap-"),
            "{}",
            self.ledger("one")
        );
    }

    /// What `i2kit ledger` says.
    pub fn ledger(&self, machine: &str) -> String {
        let mut command = self.on(machine, "ledger");
        succeeded(&self.run(&mut command))
    }

    /// `i2kit push --abort`.
    pub fn abort(&self, machine: &str) -> Command {
        let mut command = self.on(machine, "push");
        command.arg("--abort");
        command
    }
}

/// A disk's bytes and where its partitions are.
pub struct Disk {
    pub path: PathBuf,
    bytes: Vec<u8>,
    /// Name, start and end.
    parts: Vec<(String, u64, u64)>,
}

impl Disk {
    pub fn of(path: PathBuf) -> Self {
        let record = format!("{}.i2kit.json", path.display());
        let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
        let parts = record["partitions"].as_array().unwrap().iter();
        let parts = parts.map(|one| {
            let number = |name: &str| one[name].as_u64().unwrap();
            let start = number("offset");
            (
                one["name"].as_str().unwrap().to_owned(),
                start,
                start + number("size"),
            )
        });
        Self {
            parts: parts.collect(),
            bytes: fs::read(&path).unwrap(),
            path,
        }
    }

    pub fn gib(&self) -> u64 {
        (self.bytes.len() as u64).div_ceil(1 << 30)
    }

    /// Blocks that a machine reads and that may not be missing: all but zeros of the store.
    pub fn needed(&self) -> usize {
        let blocks = (self.bytes.len() as u64).div_ceil(SLAB);
        let is_needed = |index: &u32| {
            let readers = self.readers(*index);
            let is_read = !readers.is_empty() && readers != ["scratch"];
            let is_zero = self.slab(*index).iter().all(|byte| *byte == 0);
            is_read && !(is_zero && readers == ["store"])
        };
        (0..u32::try_from(blocks).unwrap())
            .filter(is_needed)
            .count()
    }

    /// The block in which a partition begins.
    pub fn start_of(&self, name: &str) -> u32 {
        let found = self.parts.iter().find(|(own, _, _)| own == name);
        u32::try_from(found.unwrap().1 / SLAB).unwrap()
    }

    fn slab(&self, index: u32) -> Vec<u8> {
        let len = usize::try_from(SLAB).unwrap();
        let start = usize::try_from(index).unwrap() * len;
        let end = (start + len).min(self.bytes.len());
        let mut slab = self.bytes.get(start..end).unwrap_or_default().to_vec();
        slab.resize(len, 0);
        slab
    }

    /// The names of what a machine reads of a block: tables and partitions.
    fn readers(&self, index: u32) -> Vec<&str> {
        let (start, end) = (u64::from(index) * SLAB, u64::from(index + 1) * SLAB);
        let is_touched = |(from, to): (u64, u64)| from < end && start < to;
        let len = self.bytes.len() as u64;
        let tables = [("table", 0, 17_408), ("table", len - 16_896, len)];
        let tables = tables.into_iter();
        let parts = self
            .parts
            .iter()
            .map(|(name, from, to)| (name.as_str(), *from, *to));
        let all = tables
            .chain(parts)
            .filter(|(_, from, to)| is_touched((*from, *to)));
        all.map(|(name, _, _)| name).collect()
    }

    /// A machine that starts with this volume reads the disk, wherever it reads: only zeros of the
    /// store, whose hash tree knows them, may be missing.
    pub fn assert_is_on(&self, volume: &Volume) {
        assert_eq!(volume.len(), self.gib() << 30);
        for index in 0..u32::try_from(volume.len() / SLAB).unwrap() {
            let readers = self.readers(index);
            let slab = self.slab(index);
            let is_zero = slab.iter().all(|byte| *byte == 0);
            if readers.is_empty() || readers == ["scratch"] {
                continue;
            }
            if !volume.has(index) {
                assert!(
                    is_zero && readers == ["store"],
                    "block {index} of {readers:?} is missing"
                );
                continue;
            }
            assert!(
                *volume.block(index) == slab,
                "block {index} of {readers:?} is another"
            );
        }
    }
}

/// A command that runs, and what it says.
pub struct Running {
    pub child: Child,
    out: JoinHandle<Vec<u8>>,
    err: JoinHandle<Vec<u8>>,
    start: Instant,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self {
            out: reader(child.stdout.take().unwrap()),
            err: reader(child.stderr.take().unwrap()),
            child,
            start: Instant::now(),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let _ = rustix::process::kill_process(pid, signal);
    }

    /// True when it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it ends; hanging fails the test.
    pub fn end(mut self, account: &Account) -> Output {
        while !self.has_ended() {
            if self.start.elapsed() > LIMIT {
                let _ = self.child.kill();
                let said = self.err.join().unwrap();
                panic!("hangs: {}", String::from_utf8_lossy(&said));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = Output {
            status: self.child.wait().unwrap(),
            stdout: self.out.join().unwrap(),
            stderr: self.err.join().unwrap(),
        };
        for text in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(text);
            assert!(!text.contains(SECRET), "{text}");
        }
        assert_no_secrets(account.homes.path());
        output
    }
}

fn reader(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

fn assert_no_secrets(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_no_secrets(&path);
            continue;
        }
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        // What a test itself wrote there.
        let is_ours = path.file_name().is_some_and(|name| name == "credentials");
        assert!(is_ours || !text.contains(SECRET), "{}", path.display());
    }
}
